//! `entoptic score`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::analysis::{Judged, Pixels, eight_bit, judge, noise, pixels};
use entoptic::device::Device;
use entoptic::nets::Normalize;
use entoptic::picture;
use entoptic::tensor::Array;
use serde_json::{Map, Value, json};

use super::args::{Global, ScoreArgs};
use super::networks::{Loaded, file_name, load, open, shared_classes};

/// Pictures of noise that others are compared with.
const NOISE: u64 = 2;

/// Smaller pictures have no spectrum to speak of.
const MIN_SIDE: usize = 16;

pub fn run(global: &Global, args: ScoreArgs) -> anyhow::Result<()> {
    let files = files(&args.pictures)?;
    let read = |file: &PathBuf| read(file, args.size);
    let pictures = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let [_, _, h, w] = pictures[0].shape.0;
    let photographs = match &args.photographs {
        Some(path) => {
            let files = self::files(std::slice::from_ref(path)).context("--photographs")?;
            let read = |file: &PathBuf| self::read(file, Some(h.min(w) as u32));
            files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?
        }
        None => vec![],
    };
    let device = open(global)?;
    let judges = load(global, &device, &args.judges.models)?;
    let bench =
        Bench { global, device: &device, classes: classes(&judges, &args.class)?, judges: &judges, args: &args };

    let scores = bench.scores(&pictures)?;
    let names = files.iter().map(|file| file.display().to_string());
    let mut rows: Vec<(String, Scores)> = names.zip(scores.iter().cloned()).collect();
    let mean = Scores::mean(&scores);
    let noises: Vec<Array> = (0..NOISE).map(|seed| noise(seed, h, w)).collect();
    let mut baselines = vec![("noise", Scores::mean(&bench.scores(&noises)?))];
    if !photographs.is_empty() {
        baselines.push(("photographs", Scores::mean(&bench.scores(&photographs)?)));
    }
    if args.json {
        let pictures: Vec<Value> = rows
            .iter()
            .map(|(file, scores)| {
                let mut value = bench.json(scores);
                value["file"] = json!(file);
                value
            })
            .collect();
        let baselines: Map<_, _> =
            baselines.iter().map(|(name, scores)| ((*name).into(), bench.json(scores))).collect();
        let class = judges[0].network.classes.name(bench.classes[0]);
        let all = json!({ "class": class, "pictures": pictures, "mean": bench.json(&mean), "baselines": baselines });
        println!("{all:#}");
        return Ok(());
    }
    if rows.len() > 1 {
        rows.push(("mean".into(), mean));
    }
    rows.extend(baselines.into_iter().map(|(name, scores)| (name.to_owned(), scores)));
    table("pixels", rows.iter().map(|(name, scores)| (name, &scores.pixels)));
    for (index, loaded) in judges.iter().enumerate() {
        println!();
        let network = &loaded.network;
        let title = format!("{} ({})", network.architecture, file_name(Path::new(&network.source)));
        table(&title, rows.iter().map(|(name, scores)| (name, &scores.judges[index])));
    }
    Ok(())
}

/// Who judges, and for which class.
struct Bench<'a> {
    global: &'a Global,
    device: &'a Device,
    judges: &'a [Loaded],
    /// The class in each judge's own list.
    classes: Vec<usize>,
    args: &'a ScoreArgs,
}

impl Bench<'_> {
    fn scores(&self, pictures: &[Array]) -> anyhow::Result<Vec<Scores>> {
        pictures.iter().map(|picture| self.score(picture)).collect()
    }

    fn score(&self, picture: &Array) -> anyhow::Result<Scores> {
        let judged = |(Loaded { network, head, trained_with, .. }, &class): (&Loaded, &usize)| {
            let normalize: Normalize = self.args.normalize.map_or(*trained_with, Into::into);
            let check = self.global.check_finite;
            Ok(judge_numbers(&judge(self.device, (network, *head), normalize, picture, class, check)?))
        };
        let judges = self.judges.iter().zip(&self.classes).map(judged).collect::<anyhow::Result<_>>()?;
        Ok(Scores { pixels: pixel_numbers(&pixels(picture)), judges })
    }

    fn json(&self, scores: &Scores) -> Value {
        let object = |numbers: &Numbers| -> Map<String, Value> {
            numbers.iter().map(|&(name, value)| (name.replace(' ', "_"), json!(value))).collect()
        };
        let judges = self.judges.iter().zip(&scores.judges).map(|(loaded, numbers)| {
            let network = &loaded.network;
            let mut value = object(numbers);
            value.insert("network".into(), json!(network.architecture.name()));
            value.insert("weights".into(), json!(file_name(Path::new(&network.source))));
            value.insert("sha256".into(), json!(network.checksum));
            Value::Object(value)
        });
        json!({ "pixels": object(&scores.pixels), "judges": judges.collect::<Vec<_>>() })
    }
}

/// Named numbers, always the same names in the same order.
type Numbers = Vec<(&'static str, f64)>;

#[derive(Clone)]
struct Scores {
    pixels: Numbers,
    judges: Vec<Numbers>,
}

impl Scores {
    fn mean(all: &[Scores]) -> Scores {
        let mean = |of: &dyn Fn(&Scores) -> &Numbers| -> Numbers {
            let names = of(&all[0]).iter().enumerate();
            let sum = |index: usize| all.iter().map(|scores| of(scores)[index].1).sum::<f64>();
            names.map(|(index, (name, _))| (*name, sum(index) / all.len() as f64)).collect()
        };
        let judges = (0..all[0].judges.len()).map(|judge| mean(&|scores| &scores.judges[judge])).collect();
        Scores { pixels: mean(&|scores| &scores.pixels), judges }
    }
}

fn pixel_numbers(pixels: &Pixels) -> Numbers {
    vec![
        ("slope", pixels.spectrum.slope),
        ("fine", pixels.spectrum.fine),
        ("variation", pixels.variation),
        ("saturated", pixels.saturation),
        ("chroma", pixels.chroma),
    ]
}

fn judge_numbers(judged: &Judged) -> Numbers {
    vec![
        ("top 1", f64::from(u8::from(judged.rank < 1))),
        ("top 5", f64::from(u8::from(judged.rank < 5))),
        ("probability", judged.probability),
        ("margin", judged.margin),
        ("stability", judged.stability),
        ("worst", judged.worst),
        ("statistics", judged.statistics),
    ]
}

fn table<'a>(title: &str, rows: impl Iterator<Item = (&'a String, &'a Numbers)>) {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).chain([title.chars().count()]).max().unwrap_or(0);
    let names: String = rows[0].1.iter().map(|(name, _)| format!("{name:>13}")).collect();
    println!("{title:<width$}{names}");
    for (name, numbers) in rows {
        let cell = |&(_, value): &(&str, f64)| match value.is_nan() {
            true => format!("{:>13}", "-"),
            false => format!("{value:>13.4}"),
        };
        println!("{name:<width$}{}", numbers.iter().map(cell).collect::<String>());
    }
}

/// The class in each judge's list. A name means the same in all of them; an index only where the lists are the same.
fn classes(judges: &[Loaded], text: &str) -> anyhow::Result<Vec<usize>> {
    if text.parse::<usize>().is_ok() {
        shared_classes(judges)?;
    }
    judges.iter().map(|Loaded { network, .. }| Ok(network.classes.find(text)?)).collect()
}

/// The files named, and the pictures in the folders named, in the order of their names.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("reading folder {}", path.display()))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        let known = ["png", "jpg", "jpeg"];
        found.retain(|file| {
            file.extension().is_some_and(|end| known.iter().any(|known| end.eq_ignore_ascii_case(known)))
        });
        if found.is_empty() {
            bail!("{}: there is no .png or .jpg file in it", path.display());
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// One picture as an 8-bit file holds it, brought to a side if one is given.
fn read(path: &Path, side: Option<u32>) -> anyhow::Result<Array> {
    let read = picture::read(path)?;
    let [n, _, h, w] = read.shape.0;
    if n != 1 || h.min(w) < MIN_SIDE {
        bail!("{}: {n} of {w} x {h} pixels, one of at least {MIN_SIDE} x {MIN_SIDE} is judged", path.display());
    }
    let read = eight_bit(&read);
    Ok(match side {
        Some(side) if (h, w) != (side as usize, side as usize) => picture::fit(&read, side as usize),
        _ => read,
    })
}
