//! `entoptic score`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use entoptic::analysis::{Judge, Pixels, altered, noise, pixels};
use entoptic::evaluate::Moments;
use serde_json::{Value, json};

use super::args::{Global, NormalizeArg};
use super::models::{Judges, Models};
use super::networks::{Loaded, check_normalize, load, open, shared_classes};
use super::progress::Watcher;
use super::score_numbers::{
    Numbers, Scores, judge_numbers, mean, object, pixel_numbers, quantile, spectrum_rows, table,
};
use super::score_report::Report;
use super::subjects::{Maker, Subject, files, labels, readable, say_broken};

#[derive(Args)]
pub struct ScoreArgs {
    /// Pictures, or folders of them, also with a folder for each class
    #[arg(required_unless_present = "photographs", value_name = "PICTURE|FOLDER")]
    pub pictures: Vec<PathBuf>,
    /// The networks that judge; best also those that had no part in making the pictures
    #[command(flatten)]
    pub judges: Models<Judges>,
    /// Class: index, synset or name; by default what each picture was made to show, else the class that its folder is named
    /// after, else the one that its own name begins with
    #[arg(long)]
    pub class: Option<String>,
    /// Photographs to compare with, brought to the size of the first picture: a picture, a folder, or a folder with one for
    /// each class; of each class as many count as a set has pictures, at least 8. Without pictures: what photographs are like
    #[arg(long, value_name = "FOLDER")]
    pub photographs: Option<PathBuf>,
    /// Look at pictures at this side, rather than as they are
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub size: Option<u32>,
    /// What pixel values become before the first layer; by default what each judge was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Show every picture, also of more than 16
    #[arg(long)]
    pub each: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Fewest and most pictures of noise that others are compared with: one is like the other, also to batch norms.
pub const NOISE: usize = 2;
const MOST_NOISE: usize = 16;

/// Fewest photographs of a class that others are compared with, where there are as many.
const PHOTOGRAPHS: usize = 8;

pub fn run(global: &Global, args: ScoreArgs) -> anyhow::Result<()> {
    if args.pictures.is_empty() {
        return photographs_alone(global, &args);
    }
    let files = files(global, &args.pictures)?;
    let photographs = args.photographs.iter().map(|path| self::files(global, std::slice::from_ref(path)));
    let photographs = photographs.collect::<anyhow::Result<Vec<_>>>().context("--photographs")?.concat();
    let device = open(global)?;
    let networks = load(global, &device, &args.judges.models)?;
    check_normalize(global, &device, &networks, args.normalize, &args.pictures[0])?;
    let judges = networks.iter().map(|Loaded { network, head, trained_with, .. }| {
        let normalize = args.normalize.map_or(*trained_with, Into::into);
        Judge::new(&device, (network, *head), normalize, global.check_finite)
    });
    let judges = judges.collect();
    let mut bench = Bench { global, networks: &networks, judges, args: &args, done: 0, all: 0 };

    let classes = networks.first().map(|loaded| &loaded.network.classes);
    let mut subjects = readable(global, &files, &args.pictures, |file| Subject::read(file, args.size, classes))?;
    bench.settle(&mut subjects)?;
    let wanted = wanted(&subjects);
    let [_, _, h, w] = subjects[0].picture.shape.0;
    let photographs = bench.photographs(&photographs, h.min(w) as u32, &wanted)?;
    let noises = wanted.values().sum::<usize>().clamp(NOISE, MOST_NOISE);
    let shown = || wanted.keys().cloned().cycle();
    let noises: Vec<Subject> = (0..)
        .zip(shown())
        .take(noises)
        .map(|(seed, class)| {
            let picture = noise(seed, h, w);
            Subject { name: "noise".into(), picture, class, maker: None, run: Value::Null, recipe: None }
        })
        .collect();

    bench.all = subjects.len() + photographs.len() + noises.len();
    let mut watcher = Watcher::new(global, "")?;
    let pictures = bench.score(subjects, &mut watcher)?;
    let noises = bench.score(noises, &mut watcher)?;
    let photographs = bench.score(photographs, &mut watcher)?;
    drop(watcher);
    let report = Report { bench: &bench, pictures, noises, photographs };
    if args.json {
        println!("{:#}", report.json());
    } else {
        report.tables();
    }
    Ok(())
}

/// How many pictures of each class a set has at most: those of one maker.
fn wanted(subjects: &[Subject]) -> BTreeMap<Option<String>, usize> {
    let mut counts: BTreeMap<(Option<&str>, &Option<String>), usize> = BTreeMap::new();
    for subject in subjects {
        let maker = subject.maker.as_ref().map(|maker| maker.label.as_str());
        *counts.entry((maker, &subject.class)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, class), count) in counts {
        let known: &mut usize = most.entry(class.clone()).or_default();
        *known = count.max(*known);
    }
    most
}

/// What pixels of photographs are like, and their spectrum.
fn photographs_alone(global: &Global, args: &ScoreArgs) -> anyhow::Result<()> {
    let path = args.photographs.as_ref().context("give pictures, or --photographs")?;
    let files = files(global, std::slice::from_ref(path)).context("--photographs")?;
    let measured = |file: &Path| -> anyhow::Result<Subject> { Subject::read(file, args.size, None) };
    let all: Vec<Pixels> = readable(global, &files, std::slice::from_ref(path), measured)?
        .iter()
        .map(|subject| pixels(&subject.picture))
        .collect();
    let numbers: Vec<Numbers> = all.iter().map(pixel_numbers).collect();
    let each: Vec<&Numbers> = numbers.iter().collect();
    let rows = [mean(&numbers), quantile(&each, 0.05), quantile(&each, 0.95)];
    let spectrum = spectrum_rows(&all);
    if args.json {
        let [mean, low, high] = rows.map(|numbers| object(&numbers));
        let row = |(frequency, power): (f64, f64)| json!({ "frequency": frequency, "log_power": power });
        let spectrum: Vec<Value> = spectrum.into_iter().map(row).collect();
        let count = files.len();
        println!(
            "{:#}",
            json!({ "photographs": { "count": count, "mean": mean, "low": low, "high": high, "spectrum": spectrum } })
        );
        return Ok(());
    }
    let names = ["mean", "5 %", "95 %"].map(str::to_owned);
    table(&format!("{} photographs", files.len()), &names.into_iter().zip(rows).collect::<Vec<_>>());
    println!("\n# cycles per pixel, mean logarithm of power");
    spectrum.iter().for_each(|(frequency, power)| println!("{frequency:.4}\t{power:.4}"));
    Ok(())
}

/// Who judges.
pub struct Bench<'a> {
    global: &'a Global,
    pub networks: &'a [Loaded],
    pub judges: Vec<Judge<'a>>,
    pub args: &'a ScoreArgs,
    done: usize,
    all: usize,
}

/// A picture that has been judged.
pub struct Entry {
    pub name: String,
    pub class: Option<String>,
    pub maker: Option<Maker>,
    pub scores: Scores,
    /// At the batch norms of each judge.
    pub moments: Vec<Vec<Moments>>,
}

impl Bench<'_> {
    /// Settles the class of each picture by its name in the first judge's list.
    fn settle(&self, subjects: &mut [Subject]) -> anyhow::Result<()> {
        let Some(first) = self.networks.first() else { return Ok(()) };
        if self.args.class.as_ref().is_some_and(|text| text.parse::<usize>().is_ok()) {
            shared_classes(self.networks)?;
        }
        for subject in subjects {
            let Some(text) = self.args.class.as_ref().or(subject.class.as_ref()) else {
                bail!(
                    "{}: neither the file nor its name tells what it shows; give --class, or put it into a folder named \
                     after its class",
                    subject.name
                );
            };
            let index = first.network.classes.find(text).with_context(|| subject.name.clone())?;
            subject.class = Some(first.network.classes.name(index).to_owned());
        }
        Ok(())
    }

    /// The photographs to compare with, up to as many of each class as a set of pictures has.
    fn photographs(
        &self,
        files: &[PathBuf],
        side: u32,
        wanted: &BTreeMap<Option<String>, usize>,
    ) -> anyhow::Result<Vec<Subject>> {
        let classes = self.networks.first().map(|loaded| &loaded.network.classes);
        let folder = |file: &Path| file.parent().and_then(Path::file_name)?.to_str().map(str::to_owned);
        let mut by_class: BTreeMap<Option<String>, Vec<&PathBuf>> = BTreeMap::new();
        for file in files {
            let index = folder(file).zip(classes).and_then(|(name, classes)| classes.find(&name).ok());
            let class = index.zip(classes).map(|(index, classes)| classes.name(index).to_owned());
            by_class.entry(class).or_default().push(file);
        }
        // A plain folder is one of the pictures' class, when they have one.
        if let (Some(plain), [only]) = (by_class.remove(&None), &wanted.keys().collect::<Vec<_>>()[..]) {
            by_class.entry((*only).clone()).or_default().extend(plain);
        }
        let (mut chosen, mut broken) = (vec![], vec![]);
        for (class, &count) in wanted {
            let known = by_class.get(class).map_or(&[][..], Vec::as_slice);
            let count = count.max(PHOTOGRAPHS).min(known.len());
            for index in 0..count {
                match Subject::read(known[index * known.len() / count], Some(side), None) {
                    Ok(subject) => chosen.push(Subject { class: class.clone(), maker: None, ..subject }),
                    Err(error) => broken.push(format!("{error:#}")),
                }
            }
        }
        say_broken(self.global, &broken);
        if chosen.is_empty() && !files.is_empty() {
            bail!(
                "--photographs: none is of a class that the pictures show; give a folder with a folder for each class, \
                 named after it"
            );
        }
        if !files.is_empty() {
            self.global.say(format_args!("photographs to compare with: {} of {}", chosen.len(), files.len()));
        }
        Ok(chosen)
    }

    fn score(&mut self, subjects: Vec<Subject>, watcher: &mut Watcher) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(subjects.len());
        for Subject { name, picture, class, maker, .. } in subjects {
            let altered = if self.judges.is_empty() { picture.clone() } else { altered(&picture) };
            let (mut judges, mut moments) = (vec![], vec![]);
            for (judge, Loaded { network, .. }) in self.judges.iter_mut().zip(self.networks) {
                let index = network.classes.find(class.as_deref().unwrap_or_default())?;
                let (judged, at_norms) = judge.judge(&altered, index)?;
                judges.push(judge_numbers(&judged));
                moments.push(at_norms);
            }
            let scores = Scores { pixels: pixel_numbers(&pixels(&picture)), judges };
            entries.push(Entry { name, class, maker, scores, moments });
            self.done += 1;
            watcher.show(self.done, self.all, "", &entries[entries.len() - 1].name);
            if watcher.stopped() {
                bail!("stopped after {} of {} pictures", self.done, self.all);
            }
        }
        Ok(entries)
    }

    /// A judge's name among the others.
    pub fn label(&self, judge: usize) -> String {
        labels(self.networks).swap_remove(judge)
    }

    /// Whether a judge had no part in a picture; nothing where nobody knows who made it.
    pub fn held_out(&self, judge: usize, entry: &Entry) -> Option<bool> {
        Some(!entry.maker.as_ref()?.checksums.contains(&self.networks[judge].network.checksum))
    }
}
