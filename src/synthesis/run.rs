//! The loop: stages, steps, changes of size.

use std::ops::ControlFlow;

use super::canvas::Canvases;
use super::octave::{Schedule, Stream, initial};
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
    schedule.check(&job.recipe, job.streams.len())?;
    let start = start(job)?;
    let mut canvas = Canvases::new(device, &start)?;
    let mut finished = Finished { pictures: start, steps: 0, loss: vec![], measured: vec![] };
    for (index, (stage, numbers)) in job.recipe.stages.iter().zip(schedule.stages()).enumerate() {
        canvas.resize(device, numbers.size_at(0) as usize, stage.resize.mode())?;
        let mut from = 0;
        while from < numbers.steps.len() {
            let size = numbers.size_at(from);
            let to = (from + 1..numbers.steps.len()).find(|&i| numbers.size_at(i) != size);
            let to = to.unwrap_or(numbers.steps.len());
            let steps = &numbers.steps[from..to];
            let of = (finished.steps, schedule.steps());
            let mut program = canvas.each(device, |parts| {
                StepPrograms::prepare(device, &job.scene, stage, steps, of, parts, job.check_finite)
            })?;
            let (plan, dispatches, parts) = program.plan();
            let _ = observer(Event::Prepared { size: size as usize, plan, dispatches, parts });
            let end = finished.steps + steps.len();
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
                        return Ok(finished);
                    }
                }
            }
            if let Some(pad) = stage.pad {
                canvas.pad(device, pad.width as usize, pad.value as f32)?;
            } else {
                canvas.resize(device, numbers.size_at(to) as usize, ResizeMode::Nearest)?;
            }
            from = to;
        }
    }
    finished.pictures = canvas.download(device)?;
    Ok(finished)
}

impl Job<'_> {
    /// Steps from one on until a report or a frame.
    fn steps_to_next_look(&self, done: usize) -> usize {
        let looks = [Some(self.report_every), self.frame_every].into_iter().flatten();
        looks.map(|every| every.max(1) - done % every.max(1)).min().expect("there are always reports")
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
