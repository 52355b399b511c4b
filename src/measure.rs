//! How fast networks, single kernels and the adapter itself are: warm-up, repeats, medians.
//!
//! Not here: which networks at which sizes, tables.

use std::collections::HashMap;
use std::time::Instant;

use crate::Result;
use crate::device::{BufferId, BufferSpec, Device, Dispatch, Externals, Program, Recorder, Recording, Source};
use crate::evaluate::PICTURE;
use crate::nets::{Architecture, BatchNormMode, Head, Network, Normalize};
use crate::objective::{Form, Objective, Term};
use crate::ops::{Peak, Sgd};
use crate::tape::{Request, Tape};
use crate::tensor::Shape;
use crate::training::{Goal, Optimiser, Setup, TrainStep};

/// What a network does for a batch of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Logits.
    Forward,
    /// Logits, and the gradient of a class with respect to the pictures.
    InputGradient,
    /// Logits, gradients of all weights with batch statistics, and a step of SGD with momentum.
    Training,
}

impl Pass {
    /// Every pass.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::InputGradient, Pass::Training];

    /// As tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::InputGradient => "forward + input gradient",
            Pass::Training => "training step",
        }
    }
}

/// How long something takes, and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Seconds of making it ready and doing it once.
    pub first: f64,
    /// Seconds of doing it again: median.
    pub median: f64,
    /// Longest less shortest.
    pub spread: f64,
    /// Seconds that the calling thread computed meanwhile, to encode and to submit; none where the system does not tell.
    pub host: Option<f64>,
    /// Floating-point operations as kernels count them; none where they are not known.
    pub flops: Option<u64>,
    /// Kernel launches.
    pub dispatches: usize,
    /// Memory that the plan takes, weights included.
    pub bytes: u64,
}

/// How long one kernel of a recording takes.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTiming {
    /// The first layer that launches it, and the kernel.
    pub label: String,
    /// Launches of it, with the same sizes, in the recording.
    pub count: usize,
    /// Seconds of one launch: median.
    pub seconds: f64,
    /// Floating-point operations of one launch.
    pub flops: u64,
    /// Bytes of the buffers that one launch binds: what it reads and writes, or more where it sees only a part of one.
    pub bytes: u64,
}

/// What an adapter does at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Additions and multiplications a second that depend on no memory.
    pub flops: f64,
    /// Bytes a second that a copy of a large buffer reads and writes.
    pub bytes: f64,
}

/// A network of full size, 1000 classes and random weights: speed does not depend on their values.
///
/// # Errors
/// Those of the device.
pub fn network(device: &Device, architecture: Architecture) -> Result<Network> {
    let weights = crate::training::initial_weights(architecture, 1.0, CLASSES, 0)?;
    let classes = crate::classes::ClassList::unnamed(CLASSES);
    Network::from_arrays(device, architecture, &weights, classes, architecture.name())
}

const CLASSES: usize = 1000;

/// A pass of a network over pictures [N, 3, H, W] as a recording, which takes them as [`PICTURE`] and their classes as
/// [`class_input`](crate::objective::class_input) 0. A training step is more than one recording and is not given.
///
/// # Errors
/// Those of [`Network::forward`].
pub fn record(device: &Device, network: &Network, gradient: bool, pictures: Shape) -> Result<Recording> {
    let mut tape = Tape::default();
    let x = tape.input(PICTURE, pictures);
    let outputs = network.forward(&mut tape, x, BatchNormMode::Folded, &[], &[])?;
    let objective = Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] };
    let loss = objective.record(&mut tape, x, &[outputs])?.total;
    let request = match gradient {
        true => Request { keep: vec![loss], loss: Some(loss), wrt: vec![x] },
        false => Request { keep: vec![loss], ..Request::default() },
    };
    let mut recorder = Recorder::new(device.tuning());
    tape.record(&mut recorder, &request)?;
    Ok(recorder.finish())
}

/// Times a pass over black pictures [N, 3, H, W], the first time and `repeats` times more.
///
/// # Errors
/// Those of [`Network::forward`] and of the device.
pub fn pass(device: &Device, network: &Network, pass: Pass, pictures: Shape, repeats: usize) -> Result<Timing> {
    let started = Instant::now();
    if pass == Pass::Training {
        let optimiser = Optimiser::Sgd(Sgd { momentum: 0.9, weight_decay: 0.0, nesterov: false });
        let setup = Setup {
            student: network,
            goal: Goal::Labels { smoothing: 0.0 },
            normalize: Normalize::Source,
            batch_norm: BatchNormMode::Batch,
            pictures,
            check_finite: false,
        };
        let mut step = TrainStep::prepare(device, &setup, Some(optimiser), &vec![0.0; repeats + 1])?;
        let (bytes, dispatches) = (step.plan().0.total_bytes(), step.plan().1);
        let timing = time(device, started, repeats, || step.run())?;
        return Ok(Timing { dispatches, bytes, ..timing });
    }
    let recording = record(device, network, pass == Pass::InputGradient, pictures)?;
    let mut externals = network.buffers().clone();
    externals.extend(network.folded(device)?);
    Program::provide(device, &recording, &mut externals)?;
    let mut program = Program::prepare(device, pass.name(), &recording, &externals)?;
    let timing = time(device, started, repeats, || program.run())?;
    Ok(Timing {
        flops: Some(recording.flops()),
        dispatches: program.dispatches(),
        bytes: program.plan().total_bytes(),
        ..timing
    })
}

/// Times work that is submitted to a device; `started` is when it began to be made ready.
fn time(device: &Device, started: Instant, repeats: usize, mut submit: impl FnMut() -> Result<()>) -> Result<Timing> {
    let mut once = || {
        submit()?;
        device.wait("measurement")
    };
    once()?;
    let first = started.elapsed().as_secs_f64();
    let (mut times, host) = (Vec::new(), thread_seconds());
    for _ in 0..repeats.max(1) {
        let started = Instant::now();
        once()?;
        times.push(started.elapsed().as_secs_f64());
    }
    let host = thread_seconds().zip(host).map(|(now, before)| (now - before) / times.len() as f64);
    let (median, spread) = median(&mut times);
    Ok(Timing { first, median, spread, host, flops: None, dispatches: 0, bytes: 0 })
}

/// Median, and longest less shortest.
fn median(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1] - times[0])
}

/// Times every different kernel launch of a recording by itself, the costliest of all its launches first.
///
/// # Errors
/// Those of the device.
pub fn kernels(device: &Device, recording: &Recording, repeats: usize) -> Result<Vec<KernelTiming>> {
    let mut different: Vec<(&Dispatch, usize)> = Vec::new();
    let mut places = HashMap::new();
    for dispatch in &recording.dispatches {
        let bytes: Vec<u64> = dispatch.bindings.iter().map(|(_, id)| recording.buffers[id.index()].bytes).collect();
        let same = (&dispatch.kernel, &dispatch.params, dispatch.workgroups, bytes);
        let place = *places.entry(same).or_insert(different.len());
        match different.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => different.push((dispatch, 1)),
        }
    }
    let timing = |(dispatch, count): (&Dispatch, usize)| {
        let buffer = |id: BufferId| &recording.buffers[id.index()];
        let bytes = dispatch.bindings.iter().map(|(_, id)| buffer(*id).bytes).sum();
        let seconds = alone(device, recording, dispatch, repeats)?;
        Ok(KernelTiming { label: dispatch.label.clone(), count, seconds, flops: dispatch.flops, bytes })
    };
    let mut timings = different.into_iter().map(timing).collect::<Result<Vec<KernelTiming>>>()?;
    timings.sort_by(|a, b| b.total().total_cmp(&a.total()));
    Ok(timings)
}

impl KernelTiming {
    /// Seconds of all its launches.
    pub fn total(&self) -> f64 {
        self.seconds * self.count as f64
    }
}

/// A launch shorter than this is repeated within one submission, so that the submission's own time does not matter.
const LONG_ENOUGH: f64 = 0.02;

/// Most repeats of a launch in one submission.
const MOST: usize = 200;

/// Seconds of one launch, its buffers being zero.
fn alone(device: &Device, recording: &Recording, dispatch: &Dispatch, repeats: usize) -> Result<f64> {
    let unused = device.buffer("unused", 16)?;
    let mut externals = Externals::new();
    let mut buffers = Vec::new();
    for (index, spec) in recording.buffers.iter().enumerate() {
        let used = dispatch.bindings.iter().any(|(_, id)| id.index() == index);
        buffers.push(match spec.source {
            // What it would find in the others does not matter for its speed.
            Source::Constant(_) if used => spec.clone(),
            // Those that it does not see keep their places in the list.
            _ => {
                let buffer = if used { device.buffer(&spec.label, spec.bytes)? } else { unused.clone() };
                let (name, bytes) = (index.to_string(), buffer.bytes);
                externals.insert(name.clone(), buffer);
                BufferSpec { label: spec.label.clone(), bytes, source: Source::External(name) }
            }
        });
    }
    let times = |launches: usize, repeats: usize| -> Result<f64> {
        let recording = Recording { buffers: buffers.clone(), dispatches: vec![dispatch.clone(); launches] };
        let mut program = Program::prepare(device, &dispatch.label, &recording, &externals)?;
        Ok(time(device, Instant::now(), repeats, || program.run())?.median / launches as f64)
    };
    let once = times(1, 1)?;
    let launches = ((LONG_ENOUGH / once.max(1e-9)) as usize).clamp(1, MOST);
    times(launches, repeats)
}

/// Measures an adapter.
///
/// # Errors
/// Those of the device.
pub fn peaks(device: &Device) -> Result<Peaks> {
    let vectors = 1 << 22; // 64 MiB, more than any cache
    let mut copy = Recorder::new(device.tuning());
    let [x, y] = ["x", "y"].map(|name| copy.external(name, 16 * vectors as u64));
    Peak::copy(&mut copy, x, y, vectors);
    let seconds = run_alone(device, &copy.finish())?;
    let bytes = 2.0 * 16.0 * vectors as f64 / seconds;

    // As many rounds as take long enough on this adapter, from a number that takes no time anywhere.
    let (vectors, mut rounds) = (1 << 16, 16);
    loop {
        let mut recorder = Recorder::new(device.tuning());
        let out = recorder.external("out", 16 * vectors as u64);
        Peak::multiply_add(&mut recorder, out, vectors, rounds);
        let recording = recorder.finish();
        let seconds = run_alone(device, &recording)?;
        if seconds > LONG_ENOUGH || rounds >= 1 << 16 {
            return Ok(Peaks { flops: recording.flops() as f64 / seconds, bytes });
        }
        rounds *= 4;
    }
}

/// Shortest of a few: a peak is what is possible.
fn run_alone(device: &Device, recording: &Recording) -> Result<f64> {
    let mut externals = Externals::new();
    Program::provide(device, recording, &mut externals)?;
    let mut program = Program::prepare(device, "peak", recording, &externals)?;
    let mut shortest = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        program.run()?;
        device.wait("peak")?;
        shortest = shortest.min(started.elapsed().as_secs_f64());
    }
    Ok(shortest)
}

/// Seconds that this thread has computed so far, where the system tells.
pub fn thread_seconds() -> Option<f64> {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    schedule.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds * 1e-9)
}

/// Most memory that the process has had in RAM so far, in bytes, where the system tells.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    kibibytes?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
