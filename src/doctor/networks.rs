//! Whole networks: stored answers, the same bits twice, memory as planned.

use std::ops::ControlFlow;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::cases::hashed;
use super::row::{Row, Tally, Verdict};
use crate::device::{Device, Program};
use crate::evaluate::{self, Scene};
use crate::measure;
use crate::nets::{Head, Network, Normalize, Structure};
use crate::objective::{Form, Objective, Place, Term, class_input};
use crate::synthesis::octave::Stream;
use crate::synthesis::recipe::Recipe;
use crate::synthesis::stage::{Stage, StepRule};
use crate::synthesis::{Job, run};
use crate::tensor::{Array, Shape};
use crate::weights::demo;
use crate::{Error, Result};

/// How many times what PyTorch's own f32 is off by the engine may be: orders of sums differ, and the networks that were
/// measured are the same.
const FACTOR: f64 = 8.0;

/// No bound on a whole network is tighter.
const FLOOR: f64 = 2e-6;

/// Made by `demo_networks.py`, beside this file.
const STORED: &str = include_str!("demo_networks.json");

#[derive(Deserialize)]
struct Stored {
    class: usize,
    networks: Vec<Answers>,
}

/// What a network answers to a picture, in f64.
#[derive(Deserialize)]
struct Answers {
    name: String,
    side: usize,
    picture: u64,
    logits: Vec<f64>,
    logits_gap: f64,
    places: Vec<usize>,
    gradient: Vec<f64>,
    length: f64,
    gradient_gap: f64,
}

/// What a short run made.
#[derive(Default)]
pub(super) struct Run {
    pub picture: Option<Array>,
}

impl Run {
    /// SHA-256 of its numbers, empty where there is none.
    pub fn digest(&self) -> String {
        let Some(picture) = &self.picture else { return String::new() };
        let bytes: Vec<u8> = picture.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Looks at everything.
///
/// # Errors
/// Those of the device.
pub(super) fn examine(device: &Device, tally: &mut Tally, made: &mut Run) -> Result<()> {
    let stored: Stored = serde_json::from_str(STORED).expect("the stored answers are part of the program");
    for answers in &stored.networks {
        let network = load(device, &answers.name)?;
        stored_answers(device, &network, answers, stored.class, tally)?;
        if answers.name == "resnet50" {
            memory(device, &network, tally)?;
            made.picture = Some(generation(device, &network, tally)?);
        }
    }
    Ok(())
}

fn load(device: &Device, name: &str) -> Result<Network> {
    let structure: Structure = name.trim_end_matches("-plain").parse().expect("stored answers are of known networks");
    let checkpoint = demo(name)?.expect("stored answers are of networks in the program");
    Network::load(device, &structure, &checkpoint, name)
}

fn scene(network: &Network, class: usize) -> Scene<'_> {
    Scene {
        objective: Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] },
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), class as f32))],
        ..Scene::of(vec![network], Normalize::Imagenet)
    }
}

fn bits(array: &Array) -> Vec<u32> {
    array.values.iter().map(|value| value.to_bits()).collect()
}

/// Logits and gradient against the stored ones, and twice.
fn stored_answers(
    device: &Device,
    network: &Network,
    answers: &Answers,
    class: usize,
    tally: &mut Tally,
) -> Result<()> {
    let shape = Shape::new(1, 3, answers.side, answers.side);
    let picture = Array::new(shape, hashed(answers.picture, shape.elements()).map(|u| u as f32).collect());
    let scene = scene(network, class);
    let logits = || evaluate::outputs(device, &scene, &picture, &[Place::Logits(0, Head::Main)], false);
    let gradient = || Ok::<_, Error>(evaluate::gradient(device, &scene, &picture, false)?.gradient);
    let (found, found_gradient) = (logits()?, gradient()?);
    let off = distance(&found[0].values, &answers.logits);
    let size = answers.logits.iter().map(|v| v * v).sum::<f64>().sqrt();
    let what = format!("network {}", answers.name);
    let at = format!("{:?}", shape);
    let share = off / size / (FACTOR * answers.logits_gap).max(FLOOR);
    tally.rows.push(Row::once(&what, "logits", share, at.clone()));

    let kept: Vec<f32> = answers.places.iter().map(|&place| found_gradient.values[place]).collect();
    // Some elements of the gradient are a sample: their share of the whole distance.
    let whole = answers.length * (kept.len() as f64 / found_gradient.values.len() as f64).sqrt();
    let length = found_gradient.values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let bound = (FACTOR * answers.gradient_gap).max(FLOOR);
    let share = distance(&kept, &answers.gradient) / whole / bound;
    let share = share.max((length - answers.length).abs() / answers.length / bound);
    tally.rows.push(Row::once(&what, "gradient of the picture", share, at));

    let again = [bits(&logits()?[0]), bits(&gradient()?)] == [bits(&found[0]), bits(&found_gradient)];
    tally.rows.push(same(&what, "the same bits twice", again));
    Ok(())
}

fn same(what: &str, variant: &str, same: bool) -> Row {
    match same {
        true => Row { cases: 2, ..Row::of(what, variant, Verdict::Right, "") },
        false => Row { cases: 2, ..Row::of(what, variant, Verdict::Wrong, "bits differ from one time to the next") },
    }
}

/// The length of the difference; a value that is not finite is infinitely far.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let off = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
    if off.is_finite() { off } else { f64::INFINITY }
}

/// Bytes that a uniform may take at most, so that each begins where adapters want it.
const UNIFORM: u64 = 256;

/// What a gradient takes of the device against what its plan says, and that replays take nothing.
fn memory(device: &Device, network: &Network, tally: &mut Tally) -> Result<()> {
    let what = format!("memory of {}", network.structure);
    let (recording, derived) = measure::record(device, network, true, Shape::new(1, 3, 96, 96))?;
    let plan = Program::plan_for(device, &recording)?;
    let mut externals = network.buffers().clone();
    externals.extend(network.parameters().derive(device, &derived)?);
    Program::provide(device, &recording, &mut externals)?;
    device.wait("doctor")?;
    let before = device.counters();
    let mut program = Program::prepare(device, "doctor", &recording, &externals)?;
    program.run()?;
    device.wait("doctor")?;
    let ready = device.counters();
    for _ in 0..3 {
        program.run()?;
    }
    device.wait("doctor")?;
    let after = device.counters();
    let planned = plan.shared_bytes() + plan.constant_bytes;
    let taken = (ready.buffer_bytes - before.buffer_bytes) as u64;
    // Drivers round buffers up, and each launch has numbers of its own.
    let buffers = (ready.buffers - before.buffers) as u64;
    let allowed = planned + UNIFORM * (program.dispatches() as u64 + buffers + 1);
    let at = format!("{planned} bytes planned, {taken} taken, {} launches", program.dispatches());
    let row = match taken >= plan.slots.iter().map(|slot| slot.bytes).sum::<u64>() {
        true => Row::once(&what, "as planned", taken as f64 / allowed as f64, at),
        false => Row { at, ..Row::of(&what, "as planned", Verdict::Wrong, "less is taken than is used") },
    };
    tally.rows.push(row);
    let replays = if after == ready {
        Row { cases: 3, ..Row::of(&what, "replays take none", Verdict::Right, "") }
    } else {
        Row::of(&what, "replays take none", Verdict::Wrong, format!("{ready:?} before, {after:?} after"))
    };
    tally.rows.push(replays);
    Ok(())
}

/// A short run of everything that a step can hold, twice.
fn generation(device: &Device, network: &Network, tally: &mut Tally) -> Result<Array> {
    let mut recipe = Recipe::named("demo")?;
    recipe.init.size = 40;
    recipe.stages = vec![Stage {
        crop: Some(32),
        step: StepRule::Normalized,
        clamp: Some([0.0, 1.0]),
        l2: 1e-4,
        sigma: [0.8, 0.4],
        ..Stage::new(STEPS, [0.02, 0.01])
    }];
    let job = Job {
        scene: scene(network, CLASS),
        recipe,
        streams: vec![Stream { seed: 1, picture: CLASS as u64 }],
        start: None,
        check_finite: false,
        report_every: STEPS as usize,
        frame_every: None,
    };
    let make = || Ok::<_, Error>(run(device, &job, &mut |_| ControlFlow::Continue(()))?.pictures);
    let (first, again) = (make()?, make()?);
    let what = format!("generation of {STEPS} steps");
    let finite = first.values.iter().all(|value| value.is_finite());
    tally.rows.push(match finite {
        true => same(&what, "the same bits twice", bits(&first) == bits(&again)),
        false => Row::of(&what, "the same bits twice", Verdict::Wrong, "the picture is not finite"),
    });
    Ok(first)
}

const STEPS: u32 = 12;
const CLASS: usize = 8;
