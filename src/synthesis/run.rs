//! The loop: stages, steps, changes of size.

use std::ops::{ControlFlow, Range};

use super::canvas::Canvases;
use super::octave::{Schedule, StageNumbers, Stream, initial};
use super::recipe::Recipe;
use super::stage::Resize as ResizeKind;
use super::step::StepPrograms;
use crate::device::{Device, Plan};
use crate::evaluate::Scene;
use crate::ops::ResizeMode;
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

/// What a run makes.
pub struct Job<'a> {
    /// Networks and objective; inputs for as many pictures as there are streams.
    pub scene: Scene<'a>,
    /// How.
    pub recipe: Recipe,
    /// Where each picture's random numbers come from.
    pub streams: Vec<Stream>,
    /// What to start from instead of noise: [1, 3, S, S] or [N, 3, S, S].
    pub start: Option<Array>,
    /// Look for NaN and infinity in every layer after every step; slow.
    pub check_finite: bool,
    /// Steps between two reports.
    pub report_every: usize,
    /// Steps between two frames of a film; none for no film.
    pub frame_every: Option<usize>,
}

/// How far a run is.
pub struct Progress<'a> {
    /// Steps done.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Stage, counted from 1.
    pub stage: usize,
    /// Side of the picture, in pixels.
    pub size: usize,
    /// Loss of each picture before the last step.
    pub loss: &'a [f32],
    /// The objective's first number of each picture, a logit for class objectives.
    pub measured: &'a [f32],
}

/// Something that happens during a run.
pub enum Event<'a> {
    /// Steps at a size begin: memory and launches of one of them.
    Prepared {
        /// Side of the picture, in pixels.
        size: usize,
        /// Where the memory goes.
        plan: &'a Plan,
        /// Kernel launches of a step.
        dispatches: usize,
        /// Parts of the batch that are done one after another, for the device cannot hold all pictures at a time.
        parts: usize,
    },
    /// Some steps are done.
    Progress(Progress<'a>),
    /// The pictures [N, 3, S, S] as they are now, for a film.
    Frame(&'a Array),
}

/// Told of events; ends the run early with [`ControlFlow::Break`].
pub type Observer<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// What a run has made.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The pictures [N, 3, S, S], not clamped.
    pub pictures: Array,
    /// Steps done; fewer than the recipe has when the observer ended the run.
    pub steps: usize,
    /// Loss of each picture before the last step.
    pub loss: Vec<f32>,
    /// The objective's first number of each picture before the last step.
    pub measured: Vec<f32>,
    /// What the step rule remembers between the last step and the next, which only a run that was stopped needs: Adam's two
    /// moments, in the shape of the pictures.
    pub memory: Vec<Array>,
}

/// Makes pictures.
///
/// # Errors
/// [`Error::Recipe`] for a recipe that cannot be run, [`Error::TooSmall`] for a network that cannot see so small a window,
/// [`Error::NotFinite`] with `check_finite`, those of the device.
pub fn run(device: &Device, job: &Job, observer: Observer) -> Result<Finished> {
    run_schedule(device, job, &Schedule::new(&job.recipe, &job.streams)?, observer)
}

/// [`run`] with the numbers of all steps given, rather than drawn from the job's streams.
///
/// # Errors
/// As [`run`], and those of [`Schedule::check`].
pub fn run_schedule(device: &Device, job: &Job, schedule: &Schedule, observer: Observer) -> Result<Finished> {
    run_steps(device, job, schedule, None, observer)
}

/// Goes on with a run of the same job that the observer has ended, as if it had never stopped: to the same bits.
///
/// # Errors
/// As [`run`]; [`Error::Shape`] when the pictures or the memory are not those of the job at that step.
pub fn resume(device: &Device, job: &Job, from: &Finished, observer: Observer) -> Result<Finished> {
    run_steps(device, job, &Schedule::new(&job.recipe, &job.streams)?, Some(from), observer)
}

fn run_steps(
    device: &Device,
    job: &Job,
    schedule: &Schedule,
    from: Option<&Finished>,
    observer: Observer,
) -> Result<Finished> {
    schedule.check(&job.recipe, job.streams.len())?;
    let begun = from.map_or(0, |from| from.steps);
    let mut finished = match from {
        Some(from) => from.clone(),
        None => Finished { pictures: start(job)?, steps: 0, loss: vec![], measured: vec![], memory: vec![] },
    };
    let mut canvas = Canvases::new(device, &finished.pictures)?;
    // Steps of the whole run before the stage.
    let mut before = 0;
    for (index, (stage, numbers)) in job.recipe.stages.iter().zip(schedule.stages()).enumerate() {
        if begun <= before {
            canvas.resize(device, numbers.size_at(0) as usize, stage.resize.mode())?;
        }
        for Range { start: first, end } in segments(numbers) {
            let size = numbers.size_at(first);
            let done = begun.saturating_sub(before + first).min(end - first);
            if begun > before + end {
                continue;
            }
            if done > 0 {
                check_stopped(job, from, size as usize)?;
            }
            let steps = &numbers.steps[first..end];
            if done < steps.len() {
                let run = (before + first, schedule.steps());
                let mut program = canvas.each(device, |parts| {
                    StepPrograms::prepare(device, &job.scene, stage, steps, run, parts, job.check_finite)
                })?;
                if let Some(from) = from.filter(|_| done > 0) {
                    program.skip(done, &from.memory)?;
                }
                let (plan, dispatches, parts) = program.plan();
                let _ = observer(Event::Prepared { size: size as usize, plan, dispatches, parts });
                let end = before + end;
                while finished.steps < end {
                    let count = job.steps_to_next_look(finished.steps).min(end - finished.steps);
                    program.run(finished.steps, count)?;
                    finished.steps += count;
                    let last = finished.steps == schedule.steps();
                    if job.frame_every.is_some_and(|every| last || finished.steps.is_multiple_of(every.max(1))) {
                        let _ = observer(Event::Frame(&canvas.download(device)?));
                    }
                    if last || finished.steps.is_multiple_of(job.report_every.max(1)) {
                        (finished.loss, finished.measured) = program.last()?;
                        let progress = Progress {
                            step: finished.steps,
                            steps: schedule.steps(),
                            stage: index + 1,
                            size: size as usize,
                            loss: &finished.loss,
                            measured: &finished.measured,
                        };
                        if observer(Event::Progress(progress)).is_break() {
                            finished.pictures = canvas.download(device)?;
                            finished.memory = program.memory()?;
                            return Ok(finished);
                        }
                    }
                }
            }
            if let Some(pad) = stage.pad {
                canvas.pad(device, pad.width as usize, pad.value as f32)?;
            } else {
                canvas.resize(device, numbers.size_at(end) as usize, ResizeMode::Nearest)?;
            }
        }
        before += numbers.steps.len();
    }
    finished.pictures = canvas.download(device)?;
    finished.memory = vec![];
    Ok(finished)
}

impl Job<'_> {
    /// Steps from one on until a report or a frame.
    fn steps_to_next_look(&self, done: usize) -> usize {
        let looks = [Some(self.report_every), self.frame_every].into_iter().flatten();
        looks.map(|every| every.max(1) - done % every.max(1)).min().expect("there are always reports")
    }
}

/// Bytes that a job takes on the device at its largest size, without anything being allocated.
///
/// # Errors
/// As [`run`]; [`Error::BufferLimit`] when one buffer would be larger than the adapter allows.
pub fn memory(device: &Device, job: &Job) -> Result<u64> {
    let schedule = Schedule::new(&job.recipe, &job.streams)?;
    let (mut before, mut most) = (0, 0);
    for (stage, numbers) in job.recipe.stages.iter().zip(schedule.stages()) {
        let largest = segments(numbers).into_iter().max_by_key(|segment| numbers.size_at(segment.start));
        if let Some(Range { start, end }) = largest {
            let side = numbers.size_at(start) as usize;
            let shape = Shape::new(job.streams.len(), 3, side, side);
            let run = (before + start, schedule.steps());
            let plan = StepPrograms::plan_for(device, &job.scene, stage, &numbers.steps[start..end], run, shape)?;
            most = most.max(plan.total_bytes());
        }
        before += numbers.steps.len();
    }
    Ok(most)
}

/// The steps of a stage, cut where the size of the picture changes.
fn segments(numbers: &StageNumbers) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut from = 0;
    while from < numbers.steps.len() {
        let size = numbers.size_at(from);
        let end = (from + 1..numbers.steps.len()).find(|&i| numbers.size_at(i) != size);
        let end = end.unwrap_or(numbers.steps.len());
        segments.push(from..end);
        from = end;
    }
    segments
}

/// Whether what a stopped run left can be what this job had made of pictures of that size.
fn check_stopped(job: &Job, from: Option<&Finished>, side: usize) -> Result<()> {
    let expected = Shape::new(job.streams.len(), 3, side, side);
    let found = from.into_iter().flat_map(|from| [&from.pictures].into_iter().chain(&from.memory));
    match found.map(|array| array.shape).find(|shape| *shape != expected) {
        Some(found) => Err(Error::shape("resume", "pictures", expected, found)),
        None => Ok(()),
    }
}

/// The pictures before the first step.
fn start(job: &Job) -> Result<Array> {
    let n = job.streams.len();
    match &job.start {
        None => {
            let pictures =
                job.streams.iter().map(|&stream| initial(&job.recipe, stream)).collect::<Result<Vec<_>>>()?;
            let [_, c, h, w] = pictures[0].shape.0;
            Ok(Array::new(Shape::new(n, c, h, w), pictures.into_iter().flat_map(|picture| picture.values).collect()))
        }
        Some(given) if given.shape.n() == n => Ok(given.clone()),
        Some(given) if given.shape.n() == 1 => {
            let [_, c, h, w] = given.shape.0;
            Ok(Array::new(Shape::new(n, c, h, w), given.values.repeat(n)))
        }
        Some(given) => Err(Error::shape("start", "number of pictures", format!("1 or {n}"), given.shape.n())),
    }
}

impl ResizeKind {
    fn mode(self) -> ResizeMode {
        match self {
            ResizeKind::Bilinear => ResizeMode::Bilinear { antialias: true },
            ResizeKind::BilinearNoAntialias => ResizeMode::Bilinear { antialias: false },
            ResizeKind::Nearest => ResizeMode::Nearest,
        }
    }
}
