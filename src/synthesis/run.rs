//! The loop: stages, steps, changes of size.

use std::ops::{ControlFlow, Range};

use super::canvas::Canvases;
use super::octave::{Schedule, StageNumbers, StepNumbers, Stream, initial};
use super::parametrisation::{Colour, Parametrisation};
use super::recipe::Recipe;
use super::stage::{Resize as ResizeKind, Stage};
use super::step::{Segment, StepPrograms};
use crate::device::{Device, Plan};
use crate::evaluate::{DeadEnd, Scene, dead_end};
use crate::ops::ResizeMode;
use crate::picture;
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// What a run makes.
pub struct Job<'a> {
    /// Networks and objective; inputs for as many pictures as there are streams. How pixel values are given to the networks is
    /// the recipe's to say.
    pub scene: Scene<'a>,
    /// How.
    pub recipe: Recipe,
    /// Where each picture's random numbers come from.
    pub streams: Vec<Stream>,
    /// What to start from instead of noise: [1, 3, H, W] or [N, 3, H, W]; the pictures keep its shape.
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
    /// The shorter side of the picture, in pixels.
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
        /// The shorter side of the picture, in pixels.
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
    /// The pictures [N, 3, H, W] as they are now, for a film.
    Frame(&'a Array),
    /// No gradient has come from the networks to any picture for a while.
    Dead {
        /// Steps done when it was first seen.
        since: usize,
        /// Where it ends.
        end: DeadEnd,
    },
    /// The run is about to end with an error: this is what it had made at the last report, when all was well. It holds no
    /// memory of the step rule.
    Kept(&'a Finished),
}

/// Told of events; ends the run early with [`ControlFlow::Break`].
pub type Observer<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// What a run has made.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The pictures [N, 3, H, W], not clamped.
    pub pictures: Array,
    /// Steps done; fewer than the recipe has when the observer ended the run.
    pub steps: usize,
    /// Loss of each picture before the first step.
    pub first_loss: Vec<f32>,
    /// Loss of each picture before the last step.
    pub loss: Vec<f32>,
    /// The objective's first number of each picture before the last step.
    pub measured: Vec<f32>,
    /// What the step rule remembers between the last step and the next, which only a run that was stopped needs: Adam's two
    /// moments, in the shape of what is optimised.
    pub memory: Vec<Array>,
    /// What is optimised where that is not the pictures themselves, likewise only of a run that was stopped.
    pub parameters: Option<Array>,
}

/// Makes pictures.
///
/// # Errors
/// [`Error::Recipe`] for a recipe that cannot be run, [`Error::TooSmall`] for a network that cannot see so small a window,
/// [`Error::NotFinite`] when a report finds no picture left whose loss and pixels are numbers, with `check_finite` at the step
/// and with the layer; those of the device. What was good at the last report goes to the observer before: [`Event::Kept`].
pub fn run(device: &Device, job: &Job, observer: Observer) -> Result<Finished> {
    run_schedule(device, job, &job.schedule()?, observer)
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
    run_steps(device, job, &job.schedule()?, Some(from), observer)
}

fn run_steps(
    device: &Device,
    job: &Job,
    schedule: &Schedule,
    from: Option<&Finished>,
    observer: Observer,
) -> Result<Finished> {
    let mut watch = RunWatch::default();
    let ended = watched_steps(device, job, schedule, from, &mut watch, observer);
    if let (Err(_), Some(kept)) = (&ended, watch.kept) {
        let _ = observer(Event::Kept(&kept.finished()));
    }
    ended
}

fn watched_steps(
    device: &Device,
    job: &Job,
    schedule: &Schedule,
    from: Option<&Finished>,
    watch: &mut RunWatch,
    observer: Observer,
) -> Result<Finished> {
    schedule.check(&job.recipe, job.streams.len())?;
    let begun = from.map_or(0, |from| from.steps);
    let mut finished = match from {
        Some(from) => from.clone(),
        None => Finished {
            pictures: start(job)?,
            steps: 0,
            first_loss: vec![],
            loss: vec![],
            measured: vec![],
            memory: vec![],
            parameters: None,
        },
    };
    from.map_or(Ok(()), |from| check_parametrised(job, from))?;
    let scene = job.scene();
    check_windows(job, schedule)?;
    let parametrisation = job.parametrisation();
    let extent = [finished.pictures.shape.h(), finished.pictures.shape.w()];
    let parameters = finished.parameters.take().unwrap_or_else(|| parametrisation.encode(&finished.pictures));
    let mut canvas = Canvases::new(device, parametrisation, &parameters, extent)?;
    // Steps of the whole run before the stage.
    let mut before = 0;
    for (index, (stage, numbers)) in job.recipe.stages.iter().zip(schedule.stages()).enumerate() {
        if begun <= before {
            canvas.resize(device, numbers.extent_at(0), stage.resize.mode())?;
        }
        for Range { start: first, end } in segments(numbers) {
            let (size, extent) = (numbers.size_at(first), numbers.extent_at(first));
            let done = begun.saturating_sub(before + first).min(end - first);
            if begun > before + end {
                continue;
            }
            if done > 0 {
                check_stopped(job, from, extent)?;
            }
            let steps = &numbers.steps[first..end];
            if done < steps.len() {
                let segment = job.segment(stage, steps, (before + first, schedule.steps()));
                let mut program = canvas
                    .each(device, |parts| StepPrograms::prepare(device, &scene, segment, parts, job.check_finite))?;
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
                        let report = program.report()?;
                        (finished.loss, finished.measured) = (report.loss, report.measured);
                        if finished.first_loss.is_empty() {
                            finished.first_loss = report.first;
                        }
                        let odd = report.odd.map(|step| finished.steps - program.done() + step);
                        watch.keep(device, &mut canvas, &program, &finished, odd)?;
                        if let Some((since, end)) = watch.look_for_dead_end(device, job, stage.crop)? {
                            let _ = observer(Event::Dead { since, end });
                        }
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
                            finished.parameters = canvas.parameters(device)?;
                            return Ok(finished);
                        }
                    }
                }
                if finished.first_loss.is_empty() {
                    finished.first_loss = program.report()?.first;
                }
            }
            if let Some(pad) = stage.pad {
                canvas.pad(device, pad.width as usize, pad.value as f32)?;
            } else {
                canvas.resize(device, numbers.extent_at(end), ResizeMode::Nearest)?;
            }
        }
        before += numbers.steps.len();
    }
    finished.pictures = canvas.download(device)?;
    finished.memory = vec![];
    Ok(finished)
}

impl<'a> Job<'a> {
    /// The scene with the recipe's pixel values.
    fn scene(&self) -> Scene<'a> {
        Scene { normalize: self.recipe.normalize, ..self.scene.clone() }
    }

    /// The numbers of its steps, for pictures of the shape of those that it starts from.
    fn schedule(&self) -> Result<Schedule> {
        let shape =
            self.start.as_ref().map_or([1, 1], |start| [start.shape.h(), start.shape.w()].map(|side| side as u32));
        Schedule::of_shape(&self.recipe, &self.streams, shape)
    }

    /// Some steps of a stage, the first of which is the first of `run` among its second.
    fn segment<'s>(&'s self, stage: &'s Stage, steps: &'s [StepNumbers], run: (usize, usize)) -> Segment<'s> {
        Segment { stage, parametrisation: self.parametrisation(), steps, run }
    }

    /// How its pictures are made of numbers: as the recipe says; but grey pictures have no colours that could vary apart.
    fn parametrisation(&self) -> Parametrisation {
        match self.scene.is_grey() {
            true => Parametrisation { colour: Colour::Rgb, ..self.recipe.parametrisation },
            false => self.recipe.parametrisation,
        }
    }

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
    let schedule = job.schedule()?;
    let (mut before, mut most) = (0, 0);
    for (stage, numbers) in job.recipe.stages.iter().zip(schedule.stages()) {
        let largest = segments(numbers).into_iter().max_by_key(|segment| numbers.size_at(segment.start));
        if let Some(Range { start, end }) = largest {
            let [h, w] = numbers.extent_at(start).map(|side| side as usize);
            let shape = Shape::new(job.streams.len(), 3, h, w);
            let segment = job.segment(stage, &numbers.steps[start..end], (before + start, schedule.steps()));
            let plan = StepPrograms::plan_for(device, &job.scene(), segment, shape)?;
            most = most.max(plan.total_bytes());
        }
        before += numbers.steps.len();
    }
    Ok(most)
}

/// Whether the networks can see the smallest window of every stage: before the first step, not when that stage begins.
fn check_windows(job: &Job, schedule: &Schedule) -> Result<()> {
    let mut before = 0;
    for (stage, numbers) in job.recipe.stages.iter().zip(schedule.stages()) {
        let smallest = segments(numbers).into_iter().min_by_key(|segment| numbers.window_at(segment.start));
        if let Some(Range { start, end }) = smallest {
            let [h, w] = numbers.extent_at(start).map(|side| side as usize);
            let segment = job.segment(stage, &numbers.steps[start..end], (before + start, schedule.steps()));
            let shape = Shape::new(job.streams.len(), 3, h, w);
            StepPrograms::check(&job.scene, segment, shape)?;
        }
        before += numbers.steps.len();
    }
    Ok(())
}

/// The steps of a stage, cut where the size of the picture changes.
fn segments(numbers: &StageNumbers) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut from = 0;
    while from < numbers.steps.len() {
        let extent = numbers.extent_at(from);
        let end = (from + 1..numbers.steps.len()).find(|&i| numbers.extent_at(i) != extent);
        let end = end.unwrap_or(numbers.steps.len());
        segments.push(from..end);
        from = end;
    }
    segments
}

/// Whether what a stopped run left can be what this job had made of pictures of that size.
fn check_stopped(job: &Job, from: Option<&Finished>, extent: [u32; 2]) -> Result<()> {
    let [h, w] = extent.map(|side| side as usize);
    let pictures = Shape::new(job.streams.len(), 3, h, w);
    let parameters = job.parametrisation().parameters(pictures);
    let Some(from) = from else { return Ok(()) };
    let of_parameters = from.memory.iter().chain(&from.parameters).map(|array| (parameters, array.shape));
    let found = [(pictures, from.pictures.shape)].into_iter().chain(of_parameters);
    match found.into_iter().find(|(expected, found)| expected != found) {
        Some((expected, found)) => Err(Error::shape("resume", "pictures", expected, found)),
        None => Ok(()),
    }
}

/// Whether a stopped run has left numbers that make its pictures, if this job optimises such.
fn check_parametrised(job: &Job, from: &Finished) -> Result<()> {
    let (expected, found) = (!job.parametrisation().is_plain(), from.parameters.is_some());
    if expected == found {
        return Ok(());
    }
    let told = |there: bool| if there { "numbers of their own" } else { "pixels alone" };
    Err(Error::shape("resume", "what the pictures are made of", told(expected), told(found)))
}

/// The pictures before the first step.
fn start(job: &Job) -> Result<Array> {
    let n = job.streams.len();
    match &job.start {
        None => {
            let pictures =
                job.streams.iter().map(|&stream| initial(&job.recipe, stream)).collect::<Result<Vec<_>>>()?;
            let pictures = Array::batch(pictures);
            Ok(if job.scene.is_grey() { picture::of_first_colour(&pictures) } else { pictures })
        }
        Some(given) if job.scene.is_grey() && given.shape.c() == 3 => repeated(n, &picture::grey(given)),
        Some(given) => repeated(n, given),
    }
}

/// The same picture for all, or as many as there are.
fn repeated(n: usize, given: &Array) -> Result<Array> {
    let [count, c, h, w] = given.shape.0;
    match count {
        count if count == n => Ok(given.clone()),
        1 => Ok(Array::new(Shape::new(n, c, h, w), given.values.repeat(n))),
        count => Err(Error::shape("start", "number of pictures", format!("1 or {n}"), count)),
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

/// What is looked at whenever losses are reported.
#[derive(Default)]
struct RunWatch {
    /// The last report at which all was well.
    kept: Option<Kept>,
    /// Since how many steps no gradient has come, and reports that have found it so.
    still: Option<(usize, usize)>,
    told: bool,
}

/// A run at a report; the pictures as the device has them.
struct Kept {
    stored: Vec<f32>,
    shape: Shape,
    finished: Finished,
}

impl Kept {
    fn finished(self) -> Finished {
        let pictures = Array::new(self.shape, Layout::Picture.unpack(self.shape, &self.stored));
        Finished { pictures, ..self.finished }
    }
}

impl RunWatch {
    /// Reports that find no gradient before it is told.
    const PATIENCE: usize = 2;

    /// Keeps the run as it is now, if all is well; `odd` is the first step with a loss that is no number. Ends it when no picture
    /// is good any more: one of several does not take the others along.
    fn keep(
        &mut self,
        device: &Device,
        canvas: &mut Canvases,
        program: &StepPrograms,
        finished: &Finished,
        odd: Option<usize>,
    ) -> Result<()> {
        let stored = canvas.stored(device)?;
        let pictures = stored.chunks_exact(stored.len() / finished.loss.len()).zip(&finished.loss);
        let bad =
            pictures.filter(|(pixels, loss)| pixels.iter().chain([*loss]).any(|value| !value.is_finite())).count();
        if bad == finished.loss.len() {
            let (layer, step) = odd.map_or(("picture", finished.steps - 1), |step| ("loss", step));
            return Err(Error::NotFinite { layer: layer.into(), step: Some(step as u64) });
        }
        if bad > 0 {
            return Ok(());
        }
        let same = self.kept.as_ref().is_some_and(|kept| kept.finished.measured == finished.measured);
        self.still = match self.still {
            _ if !same && !program.gradient_is_zero(canvas.readback())? => None,
            None => Some((finished.steps, 1)),
            Some((since, reports)) => Some((since, reports + 1)),
        };
        // The pictures are those that are stored.
        let finished = Finished { pictures: Array::filled(Shape::new(0, 3, 0, 0), 0.0), ..finished.clone() };
        self.kept = Some(Kept { stored, shape: canvas.shape(), finished });
        Ok(())
    }

    /// Where the gradient ends, once in a run, when it has not come for a while. Networks see a window of side `crop`.
    fn look_for_dead_end(&mut self, device: &Device, job: &Job, crop: Option<u32>) -> Result<Option<(usize, DeadEnd)>> {
        let (Some((since, reports)), Some(kept)) = (self.still, &self.kept) else { return Ok(None) };
        // A term that fades needs the numbers of its step to say anything.
        let fades = [true, false].into_iter().any(|rising| job.scene.objective.fades(rising));
        if self.told || reports < Self::PATIENCE || fades {
            return Ok(None);
        }
        self.told = true;
        let pictures = Array::new(kept.shape, Layout::Picture.unpack(kept.shape, &kept.stored));
        let seen = crop.map_or_else(|| pictures.clone(), |side| centre(&pictures, side as usize));
        Ok(dead_end(device, &job.scene(), &seen)?.map(|end| (since, end)))
    }
}

/// The square of that side in the middle of pictures.
fn centre(pictures: &Array, side: usize) -> Array {
    let [n, c, h, w] = pictures.shape.0;
    let [top, left] = [h, w].map(|size| (size - side) / 2);
    let rows = pictures.values.chunks_exact(w).enumerate().filter(|(row, _)| (top..top + side).contains(&(row % h)));
    let values = rows.flat_map(|(_, row)| &row[left..left + side]).copied().collect();
    Array::new(Shape::new(n, c, side, side), values)
}
