//! `entoptic compare`: sets of pictures, seen by several networks.

mod data;
mod page;
mod pictures;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::analysis::{Comparison, Shown, compare};
use entoptic::files::{self, Lock, TEMPORARY};
use entoptic::nets::BatchNormMode;
use entoptic::tape::Tape;
use entoptic::tensor::{Array, Shape};
use tempfile::TempDir;

use super::events::print_path;
use super::messages::shown;
use super::models::Models;
use super::networks::{Loaded, check_normalize, file_name, load, open, shared_classes};
use super::options::{Global, NormalizeArg};
use super::progress::Watcher;
use super::subjects::{self, labels, say_cut};
use pictures::{About, Eyes, Picture, Seen, Source};

#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub models: Models,
    /// A set of pictures: a folder, also one with a folder for each class; several, one after another. What a
    /// picture shows is told by its texts, else by its folder, else by the beginning of its name
    #[arg(long, required = true, num_args = 1.., value_name = "FOLDER")]
    pub pictures: Vec<PathBuf>,
    /// Folder for the report: index.html, its pictures, and the numbers as .csv and .npy; an earlier report in it is replaced
    #[arg(long, short, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Two channels of a layer as axes, such as inception5a:0,4: the mean of each over a picture; may be given again
    #[arg(long, value_name = "LAYER:A,B")]
    pub axes: Vec<Axes>,
    /// Bring pictures to this side, rather than look at them as they are
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub size: Option<u32>,
    /// Pictures that are looked at together
    #[arg(long, default_value_t = 16, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// What pixel values become before the first layer; by default what each network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Put the pictures into index.html too, which then stands alone
    #[arg(long)]
    pub single_file: bool,
}

/// Two channels of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axes {
    pub layer: String,
    pub channels: [usize; 2],
}

impl FromStr for Axes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once(':').and_then(|(layer, channels)| {
            let (a, b) = channels.split_once(',')?;
            Some(Axes { layer: layer.to_owned(), channels: [a.trim().parse().ok()?, b.trim().parse().ok()?] })
        });
        parts.filter(|axes| !axes.layer.is_empty()).ok_or("a layer and two of its channels, as in inception5a:0,4")
    }
}

/// A folder of pictures.
pub struct Set {
    /// The networks that made them, where these are the same for all; else the folder's name.
    pub label: String,
    pub folder: PathBuf,
}

/// Two channels of one network.
pub struct Plane {
    pub network: usize,
    pub axes: Axes,
    /// Means of both, by picture.
    pub points: Vec<[f32; 2]>,
}

/// Everything that a report tells.
pub struct Report<'a> {
    pub networks: &'a [Loaded],
    pub labels: Vec<String>,
    pub sets: Vec<Set>,
    pub pictures: Vec<About>,
    /// By network: logits of all pictures, one after another.
    pub logits: Vec<Vec<f32>>,
    pub planes: Vec<Plane>,
    pub comparison: Comparison,
    /// What could not be read, and why.
    pub skipped: Vec<String>,
}

pub fn run(global: &Global, args: CompareArgs) -> anyhow::Result<()> {
    let stage = Stage::new(&args.out)?;
    let sets = args.pictures.iter().map(|path| subjects::files(global, std::slice::from_ref(path)));
    let sets = sets.collect::<anyhow::Result<Vec<_>>>().context("--pictures")?;
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let classes = shared_classes(&networks)?.clone();
    check_normalize(global, &device, &networks, args.normalize, &args.pictures[0])?;
    let mut planes = planes(&networks, &args.axes)?;
    let of = |network| planes.iter().filter(move |plane: &&Plane| plane.network == network);
    let layers = |network| of(network).map(|plane| plane.axes.layer.clone()).collect();
    let layers: Vec<Vec<String>> = (0..networks.len()).map(layers).collect();

    let source = Source {
        files: sets.into_iter().enumerate().flat_map(|(set, files)| files.into_iter().map(move |f| (set, f))).collect(),
        side: args.size,
        classes: classes.clone(),
        embed: args.single_file,
    };
    let eyes = Eyes {
        device: &device,
        networks: &networks,
        normalize: args.normalize.map(Into::into),
        layers: &layers,
        batch: args.batch as usize,
        check_finite: global.check_finite,
        ready: None,
    };
    let files = if args.single_file { None } else { Some(stage.path()) };
    let Gathered { pictures, logits, skipped } = gather(global, source, eyes, &mut planes, files)?;
    if let Some(set) = (0..args.pictures.len()).find(|&set| pictures.iter().all(|about| about.set != set)) {
        bail!("--pictures {}: none of its pictures can be compared", args.pictures[set].display());
    }
    let shown: Vec<Shown> = pictures.iter().map(|about| Shown { class: about.class, set: about.set }).collect();
    let sets = named(&args.pictures, &pictures);
    let comparison = compare(&shown, sets.len(), classes.len(), &logits);
    let labels = labels(&networks);
    let report = Report { networks: &networks, labels, sets, pictures, logits, planes, comparison, skipped };
    let data = data::write(&report, &stage.path().join("data"))?;
    page::write(&report, &data, &stage.path().join(INDEX))?;
    settle(&stage, &args.out).with_context(|| format!("writing {}", args.out.display()))?;
    report.say(global);
    print_path(&args.out.join(INDEX))
}

/// Pictures that all networks have seen.
struct Gathered {
    pictures: Vec<About>,
    logits: Vec<Vec<f32>>,
    skipped: Vec<String>,
}

/// Reads all pictures and shows them to the networks. The files of a page are written on the way, if there is a folder for
/// them.
fn gather(
    global: &Global,
    source: Source,
    mut eyes: Eyes,
    planes: &mut [Plane],
    files: Option<&Path>,
) -> anyhow::Result<Gathered> {
    let all = source.files.len();
    let mut done = Gathered { pictures: vec![], logits: vec![vec![]; eyes.networks.len()], skipped: vec![] };
    let mut waiting: Vec<Picture> = vec![];
    let mut watcher = Watcher::new(global, "")?;
    let mut pictures = source.read_all();
    loop {
        let read = match pictures.next() {
            Some(Ok(picture)) => {
                let name = picture.about.file.display().to_string();
                watcher.aside(|| say_cut(global, &name, picture.cut));
                Some(picture)
            }
            Some(Err(error)) => {
                let why = format!("{error:#}");
                watcher.say(&format!("skipped: {why}"));
                done.skipped.push(why);
                continue;
            }
            None => None,
        };
        let other = |read: &Picture| waiting.first().is_some_and(|first| first.pixels.shape != read.pixels.shape);
        let full = waiting.len() >= eyes.batch || read.as_ref().is_none_or(other);
        if full && !waiting.is_empty() {
            let pixels: Vec<&Array> = waiting.iter().map(|picture| &picture.pixels).collect();
            let seen = eyes.see(&pixels)?;
            for (picture, seen) in waiting.drain(..).zip(seen) {
                done.add(picture.about, seen, planes, files)?;
            }
            let known = done.pictures.len();
            let file = &done.pictures[known - 1].file;
            watcher.show(known + done.skipped.len(), all, "", &file_name(file));
            if watcher.stopped() {
                bail!("stopped after {known} of {all} pictures; no report is written");
            }
        }
        match read {
            Some(read) => waiting.push(read),
            None => break,
        }
    }
    if done.pictures.is_empty() {
        bail!("none of {all} pictures can be compared; the first one: {}", done.skipped[0]);
    }
    Ok(done)
}

impl Gathered {
    fn add(&mut self, about: About, seen: Vec<Seen>, planes: &mut [Plane], files: Option<&Path>) -> anyhow::Result<()> {
        for (network, Seen { logits, means }) in seen.into_iter().enumerate() {
            if !logits.iter().all(|logit| logit.is_finite()) {
                let file = about.file.display();
                bail!("{file}: network {network} answers with numbers that are not finite; --check-finite tells where");
            }
            self.logits[network].extend(logits);
            for (plane, means) in planes.iter_mut().filter(|plane| plane.network == network).zip(means) {
                plane.points.push(plane.axes.channels.map(|channel| means[channel]));
            }
        }
        let mut about = about;
        if let Some(folder) = files {
            let index = self.pictures.len();
            let small = folder.join(page::small(index));
            let large = folder.join(page::large(index, &about.file));
            for path in [&small, &large] {
                fs::create_dir_all(path.parent().expect("files of a page lie in folders"))?;
            }
            fs::write(&small, std::mem::take(&mut about.small)).with_context(|| small.display().to_string())?;
            fs::copy(&about.file, &large).with_context(|| about.file.display().to_string())?;
        }
        self.pictures.push(about);
        Ok(())
    }
}

/// The channels asked for, of each network that has the layer.
fn planes(networks: &[Loaded], wanted: &[Axes]) -> anyhow::Result<Vec<Plane>> {
    let mut planes = vec![];
    for axes in wanted {
        let mut unknown = None;
        let before = planes.len();
        for (index, Loaded { network, .. }) in networks.iter().enumerate() {
            let mut tape = Tape::default();
            // Large enough for every network.
            let [h, w] = network.structure.sides().unwrap_or([299; 2]);
            let x = tape.input("picture", Shape::new(1, network.structure.colours(), h, w));
            let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[])?;
            match outputs.tap(&axes.layer) {
                Ok(var) => {
                    let count = tape.shape(var).c();
                    if let Some(channel) = axes.channels.iter().find(|channel| **channel >= count) {
                        let Axes { layer, .. } = axes;
                        bail!("--axes: {layer} of {} has {count} channels, there is no {channel}", network.source);
                    }
                    planes.push(Plane { network: index, axes: axes.clone(), points: vec![] });
                }
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        if let Some(error) = unknown.filter(|_| planes.len() == before) {
            return Err(error).context("--axes");
        }
    }
    Ok(planes)
}

/// The sets' names: no two are the same.
fn named(folders: &[PathBuf], pictures: &[About]) -> Vec<Set> {
    let mut sets: Vec<Set> = vec![];
    for (set, folder) in folders.iter().enumerate() {
        let mut makers = pictures.iter().filter(|about| about.set == set).map(|about| about.maker.as_ref());
        let first = makers.next().flatten().filter(|first| makers.all(|maker| maker == Some(*first)));
        let name = folder.canonicalize().map_or_else(|_| file_name(folder), |folder| file_name(&folder));
        let plain = first.map_or_else(|| name.clone(), |maker| maker.label.clone());
        let taken = |label: &String| sets.iter().any(|set| set.label == *label);
        let candidates = [plain.clone(), format!("{plain} ({name})")].into_iter();
        let mut candidates = candidates.chain((2..).map(|count| format!("{plain} ({name}, {count})")));
        let label = candidates.find(|label| !taken(label)).expect("one of endlessly many is free");
        sets.push(Set { label, folder: folder.clone() });
    }
    sets
}

const INDEX: &str = "index.html";

/// What a report's folder holds.
const PARTS: [&str; 4] = [INDEX, "data", "pictures", "small"];

/// A folder inside the report's, in which the report is made before it is put in place, by one process at a time.
struct Stage {
    folder: TempDir,
    /// Until it is removed.
    lock: Option<Lock>,
}

impl Stage {
    /// Makes the report's folder, in which nothing may stand but an earlier report.
    fn new(out: &Path) -> anyhow::Result<Stage> {
        if out.exists() && !out.is_dir() {
            bail!("--out {}: is a file; name a folder", out.display());
        }
        fs::create_dir_all(out).with_context(|| format!("making folder {}", out.display()))?;
        let there = PARTS.iter().find(|part| out.join(part).exists());
        let index = String::from_utf8(files::read(&out.join(INDEX)).unwrap_or_default()).unwrap_or_default();
        if let Some(part) = there.filter(|_| !index.contains(page::MARK)) {
            bail!("--out {}: there is already {part}, of something else; name another folder", out.display());
        }
        let Some(lock) = Lock::take(&out.join(".lock"))? else {
            bail!("--out {}: another process is at work in it; wait for it, or name another folder", out.display());
        };
        files::check_writable(&out.join(INDEX))?;
        let writing = || format!("writing to {}", out.display());
        // What a process has left that was killed.
        for entry in fs::read_dir(out).with_context(writing)?.flatten() {
            let temporary = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
            if temporary && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(entry.path()).with_context(writing)?;
            }
        }
        let folder = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(out).with_context(writing)?;
        Ok(Stage { folder, lock: Some(lock) })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.lock.take().into_iter().for_each(Lock::remove);
    }
}

/// Puts a finished report in the place of an earlier one; its page goes first and comes last.
fn settle(stage: &Stage, out: &Path) -> std::io::Result<()> {
    for part in PARTS {
        let old = out.join(part);
        if old.is_dir() {
            fs::remove_dir_all(old)?;
        } else if old.exists() {
            fs::remove_file(old)?;
        }
    }
    for part in PARTS.iter().rev().filter(|part| stage.path().join(part).exists()) {
        fs::rename(stage.path().join(part), out.join(part))?;
    }
    Ok(())
}

impl Report<'_> {
    /// Whether a network had a part in a picture; nothing where nobody knows who made it.
    pub fn had_part(&self, network: usize, about: &About) -> Option<bool> {
        Some(about.maker.as_ref()?.checksums.contains(&self.networks[network].network.checksum))
    }

    /// Whether a network had a part in all pictures of a set.
    pub fn made(&self, network: usize, set: usize) -> bool {
        let mut pictures = self.pictures.iter().filter(|about| about.set == set).peekable();
        pictures.peek().is_some() && pictures.all(|about| self.had_part(network, about) == Some(true))
    }

    /// Makers and judges, for the terminal.
    fn say(&self, global: &Global) {
        let rows: Vec<(String, String)> = (0..self.sets.len())
            .flat_map(|set| (0..self.networks.len()).map(move |network| (set, network)))
            .map(|(set, network)| {
                let own = if self.made(network, set) { " (had a part)" } else { "" };
                let meeting = &self.comparison.meetings[set][network];
                let numbers = format!(
                    "{:>9}{:>8.4}{:>8.4}{:>13.4}{:>9.2}",
                    meeting.pictures,
                    meeting.top_1,
                    meeting.top_5,
                    meeting.probability,
                    meeting.rank + 1.0
                );
                (format!("{}, {}{own}", self.sets[set].label, self.labels[network]), numbers)
            })
            .collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("maker, judge".len());
        println!("{:<width$} pictures   top 1   top 5  probability     rank", "maker, judge");
        rows.iter().for_each(|(name, numbers)| println!("{:<width$}{numbers}", shown(name)));
        if !self.skipped.is_empty() {
            let (skipped, all) = (self.skipped.len(), self.skipped.len() + self.pictures.len());
            global.say(format_args!("skipped {skipped} of {all} pictures; the page lists them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_a_layer_and_two_channels() {
        let axes = |layer: &str, channels| Axes { layer: layer.into(), channels };
        assert_eq!("inception5a:0,4".parse(), Ok(axes("inception5a", [0, 4])));
        assert_eq!("layer1.0.conv2: 7, 7".parse(), Ok(axes("layer1.0.conv2", [7, 7])));
        for text in ["inception5a", "inception5a:0", ":0,1", "a:0,1,2", "a:-1,2", "a:0,b"] {
            assert!(text.parse::<Axes>().is_err(), "{text}");
        }
    }
}
