//! The experiments of the source on the demo networks, with the figures by which they are judged, and a sheet of pictures.
//!
//! `cargo bench --bench experiments -- [--photographs FOLDER] [--out FOLDER]`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{BatchNormMode, Head, Network, Normalize, Structure};
use entoptic::objective::{Form, Objective, Place, Term, class_input, goal_input};
use entoptic::ops::{Metric, Sgd};
use entoptic::picture;
use entoptic::report::contact_sheet;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Job, run};
use entoptic::tensor::{Array, Shape};
use entoptic::training::{self, Lesson, Optimiser, TeacherLoss};
use entoptic::weights::demo;

const CLASSES: usize = 10;
const SEED: u64 = 7;

/// Steps and learning rate of the training experiment.
const TRAINING_STEPS: usize = 1000;
const TRAINING_RATE: f32 = 1e-5;

fn main() -> Result<()> {
    let mut photographs = None;
    let mut out = PathBuf::from("target/experiments");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--photographs" => photographs = arguments.next().map(PathBuf::from),
            "--out" => out = arguments.next().context("--out takes a folder")?.into(),
            _ => {} // what cargo adds
        }
    }
    std::fs::create_dir_all(&out)?;
    let bench = Bench::open()?;
    println!("adapter: {}", bench.device.adapter());
    let by_googlenet = bench.pictures(&out, photographs.as_deref())?;
    bench.training(&by_googlenet.picture(0))
}

/// The two networks, and the device they are on.
struct Bench {
    device: Device,
    resnet: Network,
    googlenet: Network,
    started: Instant,
}

impl Bench {
    fn open() -> Result<Self> {
        let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
        let device = Device::open(&choice)?;
        let resnet = load(&device, &"resnet50".parse().map_err(anyhow::Error::msg)?, "r")?;
        let googlenet = load(&device, &"googlenet".parse().map_err(anyhow::Error::msg)?, "g")?;
        Ok(Bench { device, resnet, googlenet, started: Instant::now() })
    }

    /// One picture for each class, all in one batch, as they would be saved.
    fn make(&self, recipe: &str, networks: &[&Network], terms: Vec<Term>, goal: Option<&Array>) -> Result<Array> {
        let every_class = Array::new(Shape::per_picture(CLASSES), (0..CLASSES).map(|class| class as f32).collect());
        let mut inputs = vec![(class_input(0), every_class)];
        inputs.extend(goal.map(|goal| (goal_input(0), goal.clone())));
        let objective = Objective { terms };
        let job = Job {
            scene: Scene { networks: networks.to_vec(), normalize: Normalize::Imagenet, objective, inputs },
            recipe: Recipe::named(recipe)?,
            streams: (0..CLASSES as u64).map(|picture| Stream { seed: SEED, picture }).collect(),
            start: None,
            check_finite: false,
            report_every: usize::MAX,
            frame_every: None,
        };
        let pictures = run(&self.device, &job, &mut |_| std::ops::ControlFlow::Continue(()))?.pictures;
        eprintln!("{recipe}, {} network(s): done at {:.0} s", networks.len(), self.started.elapsed().as_secs_f64());
        let saved = |value: &f32| (value.clamp(0.0, 1.0) * 255.0).round() / 255.0;
        Ok(Array::new(pictures.shape, pictures.values.iter().map(saved).collect()))
    }

    fn logits(&self, network: &Network, pictures: &Array) -> Result<Vec<Vec<f32>>> {
        let scene = Scene::of(vec![network], Normalize::Imagenet);
        let logits = outputs(&self.device, &scene, pictures, &[Place::Logits(0, Head::Main)], false)?.remove(0);
        Ok((0..pictures.shape.n()).map(|n| logits.picture(n).values).collect())
    }

    /// Makes and judges all pictures; returns GoogLeNet's.
    fn pictures(&self, out: &Path, photographs: Option<&Path>) -> Result<Array> {
        let (r, g) = (&self.resnet, &self.googlenet);
        let class = |network, form, weight| Term::class(network, Head::Main, form, weight);
        let alone = || vec![class(0, Form::Apart(200.0), 1.0)];
        let by_googlenet = self.make("demo", &[g], alone(), None)?;
        let by_resnet = self.make("demo", &[r], alone(), None)?;
        let joint = vec![class(0, Form::Lacking(200.0), 0.5), class(1, Form::Lacking(400.0), 0.5)];
        let joint = self.make("demo", &[r, g], joint, None)?;
        let difference = vec![class(0, Form::Lacking(200.0), 2.0), class(1, Form::Lacking(400.0), -2.0)];
        let difference = self.make("demo", &[g, r], difference, None)?;
        let rows = [
            ("GoogLeNet", &by_googlenet),
            ("ResNet50", &by_resnet),
            ("joint", &joint),
            ("difference (ResNet50 lowered)", &difference),
        ];
        println!("\n| picture made by | under GoogLeNet: top-1, mean probability | under ResNet50 |\n|---|---|---|");
        for (name, pictures) in rows {
            println!("| {name} | {} | {} |", self.judged(g, pictures)?, self.judged(r, pictures)?);
        }
        let (matched, report) = self.matches(g, &by_resnet)?;
        println!("\nmatch, GoogLeNet aiming at its outputs on ResNet50's pictures: {report}");
        let seen = match photographs {
            None => {
                println!("match, photographs: none given (--photographs FOLDER)");
                None
            }
            Some(folder) => {
                let aims = photograph_batch(folder, by_resnet.shape.h())?;
                let (seen, report) = self.matches(g, &aims)?;
                println!("match, GoogLeNet aiming at its outputs on photographs: {report}");
                Some([aims, seen])
            }
        };
        let mut sheet = vec![&by_googlenet, &by_resnet, &joint, &difference, &matched];
        sheet.extend(seen.iter().flatten());
        let path = out.join("sheet.png");
        let rows: Vec<Vec<Array>> =
            sheet.iter().map(|row| (0..CLASSES).map(|column| row.picture(column)).collect()).collect();
        picture::write_png(&path, &contact_sheet(&rows, None), &[])?;
        println!("\npictures: {}", path.display());
        Ok(by_googlenet)
    }

    /// Pictures that bring a network's outputs to those on `aims`, and how near they come.
    fn matches(&self, network: &Network, aims: &Array) -> Result<(Array, String)> {
        let goals = self.logits(network, aims)?;
        let goal = Array::new(Shape::new(CLASSES, CLASSES, 1, 1), goals.concat());
        let terms = Objective::reach(Place::Logits(0, Head::Main), Metric::L1, 0.05).terms;
        let recipe = Recipe::named("demo-match")?;
        let matched = self.make(&recipe.name, &[network], terms, Some(&goal))?;
        let noise = (0..CLASSES as u64).map(|picture| {
            let noise = initial(&recipe, Stream { seed: SEED, picture })?;
            Ok(picture::fit(&noise, aims.shape.h()))
        });
        let (before, after) = (self.logits(network, &stacked(noise)?)?, self.logits(network, &matched)?);
        let mut shares: Vec<f64> =
            (0..CLASSES).map(|n| distance(&after[n], &goals[n]) / distance(&before[n], &goals[n])).collect();
        let nearest = |n: usize| {
            (0..CLASSES)
                .min_by(|&a, &b| distance(&after[n], &goals[a]).total_cmp(&distance(&after[n], &goals[b])))
                .is_some_and(|goal| goal == n)
        };
        let own = (0..CLASSES).filter(|&n| nearest(n)).count();
        shares.sort_by(f64::total_cmp);
        let median = (shares[CLASSES / 2 - 1] + shares[CLASSES / 2]) / 2.0;
        let [median, least, most] = [median, shares[0], shares[CLASSES - 1]].map(|share| 100.0 * share);
        let report = format!(
            "L1 distance falls to {median:.1} % of its start (median; {least:.1} to {most:.1} %); the nearest of the ten \
             goals is its own for {own}/{CLASSES}"
        );
        Ok((matched, report))
    }

    /// How many pictures a network takes for their class, and the probability that it gives the class on average.
    fn judged(&self, network: &Network, pictures: &Array) -> Result<String> {
        let logits = self.logits(network, pictures)?;
        let (mut hits, mut mean) = (0, 0.0);
        for (class, logits) in logits.iter().enumerate() {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|x| f64::from(x - top).exp()).sum();
            hits += usize::from(logits[class] == top);
            mean += f64::from(logits[class] - top).exp() / sum / CLASSES as f64;
        }
        Ok(format!("{hits}/{CLASSES}, {mean:.2}"))
    }

    /// The student's outputs for one picture brought to the teacher's.
    fn training(&self, picture: &Array) -> Result<()> {
        let student = load(&self.device, &"resnet50".parse().map_err(anyhow::Error::msg)?, "student")?;
        let loss = TeacherLoss::Distance(Metric::SumOfSquares);
        let job = training::Job {
            student: &student,
            lesson: Lesson::Teacher { teacher: &self.googlenet, pictures: picture, loss },
            normalize: Normalize::Imagenet,
            batch_norm: BatchNormMode::Frozen,
            batch: 1,
            side: picture.shape.h(),
            optimiser: Optimiser::Sgd(Sgd::default()),
            rate: TRAINING_RATE,
            schedule: training::Schedule::Constant,
            steps: TRAINING_STEPS,
            seed: SEED,
            state: None,
            report_every: TRAINING_STEPS,
            check_finite: false,
            checkpoint_every: None,
        };
        let losses = training::run(&self.device, &job, &mut |_| Ok(ControlFlow::Continue(())))?.losses;
        let (first, last) = (losses[0], losses[TRAINING_STEPS - 1]);
        let reached = losses.iter().position(|loss| *loss <= first / 15.0);
        println!(
            "\ntraining ResNet50 towards GoogLeNet on GoogLeNet's picture of class 0, sum of squares, rate \
             {TRAINING_RATE:e}, {TRAINING_STEPS} steps: J {first:.4} to {last:.4}, {:.1} times less; 15 times less {}",
            first / last,
            reached.map_or("never".into(), |step| format!("after {step} steps"))
        );
        Ok(())
    }
}

fn load(device: &Device, architecture: &Structure, id: &str) -> Result<Network> {
    let checkpoint = demo(architecture.name())?.context("a demo network")?;
    Ok(Network::load(device, architecture, &checkpoint, id)?)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).abs()).sum()
}

fn stacked(pictures: impl Iterator<Item = Result<Array>>) -> Result<Array> {
    let pictures = pictures.collect::<Result<Vec<_>>>()?;
    let [_, c, h, w] = pictures[0].shape.0;
    let shape = Shape::new(pictures.len(), c, h, w);
    Ok(Array::new(shape, pictures.into_iter().flat_map(|picture| picture.values).collect()))
}

/// The first ten photographs of a folder, in the order of their names.
fn photograph_batch(folder: &Path, side: usize) -> Result<Array> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    stacked(paths.iter().take(CLASSES).map(|path| Ok(picture::fit(&picture::read(path)?, side))))
}
