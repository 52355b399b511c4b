//! A whole step of making a picture: window, network, gradient, descent, blur; and the first one of a fresh process.
//!
//! `cargo bench --bench step -- [NETWORK...] [--batch 1] [--steps 3] [--repeats 3] [--cold]`
//! The recipe is the network's own for published checkpoints, at its first size. Prints a table for `results/`: seconds of a
//! step, and of the host's own work in it, to encode and to submit. `--cold` measures in processes of their own, from
//! their start to the end of the first step: with the driver's cache of shaders empty, and filled by the one before.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::Scene;
use entoptic::measure::{network, peak_resident, thread_seconds};
use entoptic::nets::{Head, Structure};
use entoptic::objective::{Form, Objective, Term, class_input};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Job, run};
use entoptic::tensor::{Array, Shape};

/// Steps between two looks at the clock, long enough for the reading of a loss not to matter.
const STEPS: usize = 3;

/// What a process of its own is told.
const ONE: &str = "--one-step";

fn main() -> Result<()> {
    let (mut names, mut batch, mut group, mut repeats) = (Vec::new(), 1, STEPS, 3);
    let (mut cold, mut one) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).context("a number follows");
        match argument.as_str() {
            "--batch" => batch = number()?,
            "--steps" => group = number()?,
            "--repeats" => repeats = number()?,
            "--cold" => cold = true,
            ONE => one = true,
            name if !name.starts_with('-') => names.push(name.parse::<Structure>().map_err(anyhow::Error::msg)?),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = entoptic::measure::usual();
    }
    if cold {
        return starts(&names);
    }
    let device = Device::open(&std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default())?;
    if one {
        return names.into_iter().try_for_each(|name| steps(&device, &name, 1, 1, 1).map(drop));
    }
    println!("{}; {group} steps, {repeats} times\n", device.adapter());
    println!("| network | px | batch | parts | launches | plan, MiB | step, s | spread, s | host, ms |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for architecture in names {
        let Steps { size, parts, dispatches, bytes, looks } = steps(&device, &architecture, batch, group, repeats + 1)?;
        let mut times: Vec<f64> = looks.windows(2).map(|pair| (pair[1].0 - pair[0].0) / group as f64).collect();
        let host = looks[0].1.zip(looks[repeats].1).map(|(from, to)| 1e3 * (to - from) / (group * repeats) as f64);
        times.sort_by(f64::total_cmp);
        println!(
            "| {architecture} | {size} | {batch} | {parts} | {dispatches} | {} | {:.3} | {:.3} | {} |",
            bytes >> 20,
            times[times.len() / 2],
            times[times.len() - 1] - times[0],
            host.map_or("-".to_owned(), |host| format!("{host:.2}")),
        );
    }
    if let Some(bytes) = peak_resident() {
        println!("\nPeak resident set of the process: {} MiB.", bytes >> 20);
    }
    Ok(())
}

/// What a run has shown.
struct Steps {
    size: usize,
    parts: usize,
    dispatches: usize,
    bytes: u64,
    /// Seconds since the start, and of the thread's own work, after each group of steps.
    looks: Vec<(f64, Option<f64>)>,
}

/// Runs `groups` groups of steps on so many pictures.
fn steps(device: &Device, architecture: &Structure, batch: usize, group: usize, groups: usize) -> Result<Steps> {
    let network = network(device, architecture)?;
    let mut recipe = Recipe::named(architecture.name())?;
    recipe.stages.truncate(1);
    recipe.stages[0].iterations = (group * groups) as u32;
    let scene = Scene {
        objective: Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] },
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(batch), 11.0))],
        ..Scene::of(vec![&network], recipe.normalize)
    };
    let job = Job {
        scene,
        recipe,
        streams: (0..batch as u64).map(|seed| Stream { seed, picture: 0 }).collect(),
        start: None,
        check_finite: false,
        report_every: group,
        frame_every: None,
    };
    let (started, mut shown) = (Instant::now(), Steps { size: 0, parts: 0, dispatches: 0, bytes: 0, looks: vec![] });
    run(device, &job, &mut |event| {
        match event {
            Event::Prepared { size, plan, dispatches, parts } => {
                (shown.size, shown.bytes, shown.dispatches) = (size, plan.total_bytes(), dispatches);
                shown.parts = parts;
            }
            Event::Progress(_) => shown.looks.push((started.elapsed().as_secs_f64(), thread_seconds())),
            Event::Frame(_) | Event::Dead { .. } | Event::Kept(_) => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(shown)
}

/// Starts processes of this program that do one step each.
fn starts(names: &[Structure]) -> Result<()> {
    println!("| network | empty cache, s | filled cache, s |");
    println!("|---|---|---|");
    for architecture in names {
        let folder = tempfile::tempdir()?;
        let start = || -> Result<f64> {
            let started = Instant::now();
            let mut command = Command::new(std::env::current_exe()?);
            // Mesa's name for it; other drivers keep their caches where they like, and then both figures are the same.
            let command = command.args([architecture.name(), ONE]).env("MESA_SHADER_CACHE_DIR", folder.path());
            ensure!(command.status()?.success(), "{architecture}: a step failed");
            Ok(started.elapsed().as_secs_f64())
        };
        println!("| {architecture} | {:.2} | {:.2} |", start()?, start()?);
    }
    Ok(())
}
