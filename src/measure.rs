//! How fast networks, single kernels and the adapter itself are: warm-up, repeats, medians.
//!
//! Not here: which networks at which sizes, tables.

use std::collections::HashMap;
use std::time::Instant;

use crate::Result;
use crate::device::{BufferSpec, Device, Dispatch, Externals, Program, Recorder, Recording, Source};
use crate::evaluate::PICTURE;
use crate::nets::{BatchNormMode, Head, Network, Normalize, Structure};
use crate::objective::{Form, Objective, Term};
use crate::ops::{Peak, Sgd};
use crate::tape::{Derived, Request, Tape};
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Its place in [`different`].
    pub place: usize,
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

/// The networks that are measured where none is named.
pub fn usual() -> Vec<Structure> {
    ["resnet50", "googlenet", "inception_v3"].map(|name| name.parse().expect("a network of the zoo")).into()
}

/// A network of full size, 1000 classes and random weights: speed does not depend on their values.
///
/// # Errors
/// Those of the device.
pub fn network(device: &Device, structure: &Structure) -> Result<Network> {
    let weights = crate::training::initial_weights(structure, 1.0, CLASSES, 0)?;
    let classes = crate::classes::ClassList::unnamed(CLASSES);
    Network::from_arrays(device, structure, &weights, classes, structure.name())
}

const CLASSES: usize = 1000;

/// A pass of a network over pictures [N, 3, H, W] as a recording, which takes them as [`PICTURE`] and their classes as
/// [`class_input`](crate::objective::class_input) 0, and the derived weights that it reads. A training step is more than one
/// recording and is not given.
///
/// # Errors
/// Those of [`Network::forward`].
pub fn record(
    device: &Device,
    network: &Network,
    gradient: bool,
    pictures: Shape,
) -> Result<(Recording, Vec<Derived>)> {
    let mut tape = Tape::default();
    let x = tape.input(PICTURE, pictures);
    let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[Head::Main], &[])?;
    let objective = Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] };
    let loss = objective.record(&mut tape, x, &[outputs])?.total;
    let request = match gradient {
        true => Request { keep: vec![loss], loss: Some(loss), wrt: vec![x] },
        false => Request { keep: vec![loss], ..Request::default() },
    };
    let mut recorder = Recorder::new(device.tuning());
    let derived = tape.record(&mut recorder, &request)?.derived;
    Ok((recorder.finish(), derived))
}

/// Times a pass over black pictures [N, 3, H, W], the first time and `repeats` times more.
///
/// # Errors
/// Those of [`Network::forward`] and of the device.
pub fn pass(device: &Device, network: &Network, pass: Pass, pictures: Shape, repeats: usize) -> Result<Timing> {
    let mut ready = Ready::pass(device, network, pass, pictures)?;
    let mut timing = ready.timing.clone();
    let host = thread_seconds();
    let mut times = (0..repeats.max(1)).map(|_| ready.run()).collect::<Result<Vec<f64>>>()?;
    timing.host = thread_seconds().zip(host).map(|(now, before)| (now - before) / times.len() as f64);
    (timing.median, timing.spread) = median(&mut times);
    Ok(timing)
}

/// Work that has run once and can run again and again.
pub struct Ready<'a> {
    device: &'a Device,
    work: Work,
    /// Launches that one run of the work repeats.
    launches: usize,
    /// What is known after the first time.
    pub timing: Timing,
}

enum Work {
    Program(Box<Program>),
    Training(Box<TrainStep>),
}

impl<'a> Ready<'a> {
    /// A pass over black pictures [N, 3, H, W].
    ///
    /// # Errors
    /// Those of [`Network::forward`] and of the device.
    pub fn pass(device: &'a Device, network: &Network, pass: Pass, pictures: Shape) -> Result<Self> {
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
            let step = TrainStep::prepare(device, &setup, Some(optimiser), &[0.0; MOST_TRAINING_STEPS])?;
            let (bytes, dispatches) = (step.plan().0.total_bytes(), step.plan().1);
            let timing = Timing { dispatches, bytes, ..Timing::default() };
            return Ready::new(device, started, Work::Training(Box::new(step)), 1, timing);
        }
        let (recording, derived) = record(device, network, pass == Pass::InputGradient, pictures)?;
        let mut externals = network.buffers().clone();
        externals.extend(network.parameters().derive(device, &derived)?);
        Program::provide(device, &recording, &mut externals)?;
        let program = Program::prepare(device, pass.name(), &recording, &externals)?;
        let timing = Timing {
            flops: Some(recording.flops()),
            dispatches: program.dispatches(),
            bytes: program.plan().total_bytes(),
            ..Timing::default()
        };
        Ready::new(device, started, Work::Program(Box::new(program)), 1, timing)
    }

    fn new(device: &'a Device, started: Instant, work: Work, launches: usize, timing: Timing) -> Result<Self> {
        let mut ready = Ready { device, work, launches, timing };
        ready.run()?;
        ready.timing.first = started.elapsed().as_secs_f64();
        Ok(ready)
    }

    /// Does it once more. Returns seconds, from before it is submitted until the device is done; of one launch, for
    /// a kernel by itself.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&mut self) -> Result<f64> {
        let started = Instant::now();
        match &mut self.work {
            Work::Program(program) => program.run()?,
            Work::Training(step) => step.run()?,
        }
        self.device.wait("measurement")?;
        Ok(started.elapsed().as_secs_f64() / self.launches as f64)
    }
}

/// Steps for which a measured training has a rate.
const MOST_TRAINING_STEPS: usize = 1 << 14;

/// Median, and longest less shortest.
fn median(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1] - times[0])
}

/// The different kernel launches of a recording, and how often each is in it.
pub fn different(recording: &Recording) -> Vec<(&Dispatch, usize)> {
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
    different
}

/// Times every different kernel launch of a recording by itself, the costliest of all its launches first.
///
/// # Errors
/// Those of the device.
pub fn kernels(device: &Device, recording: &Recording, repeats: usize) -> Result<Vec<KernelTiming>> {
    let timing = |(place, (dispatch, count)): (usize, (&Dispatch, usize))| {
        let mut ready = Ready::kernel(device, recording, dispatch)?;
        let mut times = (0..repeats.max(1)).map(|_| ready.run()).collect::<Result<Vec<f64>>>()?;
        Ok(KernelTiming {
            place,
            label: dispatch.label.clone(),
            count,
            seconds: median(&mut times).0,
            flops: dispatch.flops,
            bytes: ready.timing.bytes,
        })
    };
    let mut timings =
        different(recording).into_iter().enumerate().map(timing).collect::<Result<Vec<KernelTiming>>>()?;
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

impl<'a> Ready<'a> {
    /// One kernel launch of a recording, its buffers being zero, as often in a submission as makes it long enough to measure.
    /// The bytes of its timing are those of the buffers that the launch binds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn kernel(device: &'a Device, recording: &Recording, dispatch: &Dispatch) -> Result<Self> {
        let unused = device.buffer("unused", 16)?;
        let mut externals = Externals::new();
        let mut buffers = Vec::new();
        let mut bytes = 0;
        for (index, spec) in recording.buffers.iter().enumerate() {
            let uses = dispatch.bindings.iter().filter(|(_, id)| id.index() == index).count();
            bytes += spec.bytes * uses as u64;
            buffers.push(match spec.source {
                // What it would find in the others does not matter for its speed.
                Source::Constant(_) if uses > 0 => spec.clone(),
                // Those that it does not see keep their places in the list.
                _ => {
                    let buffer = if uses > 0 { device.buffer(&spec.label, spec.bytes)? } else { unused.clone() };
                    let (name, bytes) = (index.to_string(), buffer.bytes);
                    externals.insert(name.clone(), buffer);
                    BufferSpec { label: spec.label.clone(), bytes, source: Source::External(name) }
                }
            });
        }
        let repeated = |launches: usize| {
            let started = Instant::now();
            let recording = Recording { buffers: buffers.clone(), dispatches: vec![dispatch.clone(); launches] };
            let program = Program::prepare(device, &dispatch.label, &recording, &externals)?;
            let timing = Timing { flops: Some(dispatch.flops), dispatches: launches, bytes, ..Timing::default() };
            Ready::new(device, started, Work::Program(Box::new(program)), launches, timing)
        };
        let once = repeated(1)?.run()?;
        repeated(((LONG_ENOUGH / once.max(1e-9)) as usize).clamp(1, MOST))
    }
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
