//! Long runs of making a picture: whether memory stays flat, the picture finite and the speed what it was.
//!
//! `cargo bench --bench long_run -- TINY|NETWORK STEPS [RUNS]`: that many runs, one after the other, in a process of their
//! own. Prints a row of the table that `scripts/long_run.sh` makes, and fails when memory grows, the picture is not finite or
//! steps come to take more than 5 % longer than they did. TINY is a ResNet50 of a tenth of the channels with new weights, at 32
//! pixels; a demo network is run at 128. Growth is the slope of a least-squares line over all samples but those of the first
//! tenth, while caches fill, of the run in which it is largest; speed is that of the first and of the last fifth of these, of
//! the run whose change is the median: one burst of the machine's other work lasts as long as a fifth of 300 steps.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use entoptic::classes::ClassList;
use entoptic::device::{AdapterChoice, Counters, Device};
use entoptic::evaluate::Scene;
use entoptic::nets::{Network, Normalize, Structure};
use entoptic::objective::{Objective, class_input};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::stage::{Stage, StepRule};
use entoptic::synthesis::{Event, Job, run};
use entoptic::tensor::{Array, Shape};
use entoptic::training::initial_weights;
use entoptic::weights::demo;

/// Looks at memory and clocks in a run.
const SAMPLES: usize = 100;

/// What allocators and a driver's threads may keep for themselves over a whole run.
const SLACK: f64 = 4.0 * (1 << 20) as f64;

/// Share by which a step may become slower.
const SLOWER: f64 = 0.05;

struct Sample {
    step: f64,
    /// Seconds on the clock.
    wall: f64,
    /// Seconds of all processors.
    work: f64,
    resident: f64,
    counters: Counters,
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let name = words.next().context("TINY or a demo network must be named")?;
    let steps: u32 = words.next().and_then(|steps| steps.parse().ok()).context("a number of steps follows")?;
    let runs: usize = words.next().map_or(Ok(1), |runs| runs.parse())?;
    let device = Device::open(&std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default())?;
    let (network, side) = if name == "TINY" {
        let arrays = initial_weights(&"resnet50".parse().map_err(anyhow::Error::msg)?, 0.1, 10, 1)?;
        (
            Network::from_arrays(
                &device,
                &"resnet50".parse().map_err(anyhow::Error::msg)?,
                &arrays,
                ClassList::unnamed(10),
                "0",
            )?,
            32,
        )
    } else {
        let architecture: Structure = name.parse().map_err(anyhow::Error::msg)?;
        let weights = demo(&name)?.context("there is no such demo network")?;
        (Network::load(&device, &architecture, &weights, "0")?, 128)
    };
    let mut recipe = Recipe::named("demo")?;
    recipe.init.size = side;
    // The same work at every step: no stage ends, no blur stops.
    let stage = Stage { step: StepRule::Normalized, clamp: Some([0.0, 1.0]), ..Stage::new(steps, [0.01, 0.01]) };
    recipe.stages = vec![Stage { crop: Some(side - side / 8), sigma: [0.4, 0.4], flip: true, ..stage }];
    let inputs = vec![(class_input(0), Array::filled(Shape::per_picture(1), 8.0))];
    let objective = Objective::class(200.0, true);
    let job = Job {
        scene: Scene { objective, inputs, ..Scene::of(vec![&network], Normalize::Imagenet) },
        recipe,
        streams: vec![Stream { seed: 1, picture: 8 }],
        start: None,
        check_finite: false,
        report_every: (steps as usize / SAMPLES).max(1),
        frame_every: None,
    };
    let mut measured = (0..runs).map(|_| Measured::of(&device, &job)).collect::<Result<Vec<Measured>>>()?;
    let most = |of: fn(&Measured) -> f64| measured.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (memory, device_memory, more) =
        (most(|run| run.memory), most(|run| run.device_memory), most(|run| run.objects));
    let resident = [measured[0].resident[0], measured[measured.len() - 1].resident[1]];
    let finite = measured.iter().all(|run| run.finite);
    let held = measured[0].held;
    let mut median = |of: fn(&Measured) -> [f64; 2]| {
        measured.sort_by(|a, b| change(of(a)).total_cmp(&change(of(b))));
        of(&measured[measured.len() / 2])
    };
    let (rates, costs) = (median(|run| run.rates), median(|run| run.costs));
    println!(
        "| {name} | {side} | {runs} x {steps} | {:.1} to {:.1} | {memory:.2} | {:.2}, {device_memory:.0} | {more} | {} | {:.2} to {:.2} ({:+.1} %) | {:.2} to {:.2} ({:+.1} %) |",
        resident[0] / 1e6,
        resident[1] / 1e6,
        held / 1e6,
        if finite { "yes" } else { "no" },
        rates[0],
        rates[1],
        100.0 * change(rates),
        costs[0],
        costs[1],
        100.0 * change(costs),
    );
    ensure!(finite, "the picture is not finite");
    ensure!(memory * f64::from(steps) <= SLACK, "the resident set grows by {memory} bytes a step");
    ensure!(resident[1] - resident[0] <= SLACK, "the resident set grows from run to run");
    ensure!(device_memory == 0.0 && more == 0.0, "the device holds more and more");
    ensure!(change(costs) <= SLOWER, "a step costs more and more");
    ensure!(change(rates) >= -SLOWER, "steps take longer and longer; does the machine do anything else?");
    Ok(())
}

/// By what share the second of two numbers is more than the first.
fn change([from, to]: [f64; 2]) -> f64 {
    to / from - 1.0
}

/// What one run shows. Pairs are its start, caches filled, and its end.
struct Measured {
    finite: bool,
    resident: [f64; 2],
    /// Bytes of the resident set more with each step.
    memory: f64,
    /// Bytes of buffers on the device at the start.
    held: f64,
    /// Bytes of buffers more with each step.
    device_memory: f64,
    /// Buffers, bind groups and pipelines more at the end.
    objects: f64,
    /// Steps a second.
    rates: [f64; 2],
    /// Milliseconds of all processors a step.
    costs: [f64; 2],
}

impl Measured {
    fn of(device: &Device, job: &Job) -> Result<Measured> {
        let (begun, mut samples) = (Instant::now(), Vec::with_capacity(2 * SAMPLES));
        let finished = run(device, job, &mut |event| {
            if let Event::Progress(progress) = event {
                samples.push(Sample::now(progress.step, begun, device));
            }
            ControlFlow::Continue(())
        })?;
        let settled = &samples[samples.len() / 10..];
        let (first, last) = (&settled[0], &settled[settled.len() - 1]);
        let slope = |of: fn(&Sample) -> f64| slope(settled.iter().map(|sample| (sample.step, of(sample))));
        let objects = |counters: &Counters| (counters.buffers + counters.bind_groups + counters.pipelines) as f64;
        let fifth = settled.len() / 5;
        let ends = [&settled[..=fifth], &settled[settled.len() - 1 - fifth..]];
        Ok(Measured {
            finite: finished.pictures.values.iter().all(|value| value.is_finite()),
            resident: [first.resident, last.resident],
            memory: slope(|sample| sample.resident),
            held: first.counters.buffer_bytes as f64,
            device_memory: slope(|sample| sample.counters.buffer_bytes as f64),
            objects: objects(&last.counters) - objects(&first.counters),
            rates: ends.map(|part| rate(part, |sample| sample.wall)),
            costs: ends.map(|part| 1e3 / rate(part, |sample| sample.work)),
        })
    }
}

impl Sample {
    fn now(step: usize, begun: Instant, device: &Device) -> Sample {
        let (resident, work) = process();
        Sample { step: step as f64, wall: begun.elapsed().as_secs_f64(), work, resident, counters: device.counters() }
    }
}

/// Bytes of this process in memory, and seconds that all its threads have worked. Linux alone tells.
fn process() -> (f64, f64) {
    // Hundredths of a second on every Linux there is; the fields before are counted from the end of the name.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("long runs are measured on Linux only");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a name in brackets").split(' ').collect();
    let field = |at: usize| fields[at].parse::<f64>().expect("a number");
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: f64 = resident.and_then(|kilobytes| kilobytes.trim().parse().ok()).expect("a number");
    (resident * 1024.0, (field(11) + field(12)) / TICKS)
}

/// Steps a second between the first and the last of some samples.
fn rate(samples: &[Sample], clock: impl Fn(&Sample) -> f64) -> f64 {
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    (last.step - first.step) / (clock(last) - clock(first))
}

/// Slope of the least-squares line through some points.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count() as f64;
    let mean = |of: fn((f64, f64)) -> f64| points.clone().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (products, squares) = points
        .fold((0.0, 0.0), |(products, squares), (a, b)| (products + (a - x) * (b - y), squares + (a - x).powi(2)));
    products / squares
}
