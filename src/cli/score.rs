//! `entoptic score`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use entoptic::analysis::{Judge, Pixels, noise, pixels};
use entoptic::picture;
use entoptic::tensor::Array;
use serde_json::{Value, json};

use super::models::{Judges, Models};
use super::networks::{Loaded, check_normalize, load, open};
use super::options::{Global, NormalizeArg};
use super::progress::Watcher;
use super::score_bench::{Bench, MOST_NOISE, NOISE};
use super::score_numbers::{Numbers, mean, object, pixel_numbers, quantile, spectrum_rows, table};
use super::score_report::Report;
use super::subjects::{Subject, files, readable};

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
    /// Look at pictures at this side; by default judges look at that of their training, where it is known, and the numbers of
    /// pixels are those of the pictures as they are
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
    let mut bench =
        Bench { global, networks: &networks, judges, size: args.size, class: args.class.as_deref(), done: 0, all: 0 };

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
            Subject { name: "noise".into(), picture, cut: None, class, maker: None, run: Value::Null, recipe: None }
        })
        .collect();

    bench.all = subjects.len() + photographs.len() + noises.len();
    let mut watcher = Watcher::new(global, "")?;
    let resized = |_, picture: &Array, side| picture::scale(picture, side);
    let pictures = bench.score(subjects, &mut watcher, resized)?;
    // Noise that is resized is no longer white.
    let noises = bench.score(noises, &mut watcher, |seed, _, side| noise(seed as u64, side, side))?;
    let photographs = bench.score(photographs, &mut watcher, resized)?;
    drop(watcher);
    let report = Report { bench: &bench, each: args.each, pictures, noises, photographs };
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
