//! The loop: batches, steps, reports, validation, states to go on from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::attack::{Attack, Strength};
use super::dataset::{Batches, Folder, Loader, Photograph};
use super::schedule::Schedule;
use super::state::State;
use super::step::{Goal, Optimiser, Setup, TrainStep};
use super::validation::Validation;
use crate::device::{Device, Plan};
use crate::digest::sha256;
use crate::evaluate::{Forward, Pass};
use crate::nets::{BatchNormMode, Network, Normalize};
use crate::ops::Metric;
use crate::tensor::{Array, Layout, Shape};
use crate::weights::NamedArray;
use crate::{Error, Result};

/// A run.
pub struct Job<'a> {
    /// The network that learns; its weights change.
    pub student: &'a Network,
    /// What it learns.
    pub lesson: Lesson<'a>,
    /// What pixel values become before they reach the networks.
    pub normalize: Normalize,
    /// Statistics of the student's batch norms.
    pub batch_norm: BatchNormMode,
    /// Pictures of a step.
    pub batch: usize,
    /// Side of the pictures in pixels.
    pub side: usize,
    /// How parameters move.
    pub optimiser: Optimiser,
    /// Largest learning rate.
    pub rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Steps of the whole run, those done before included.
    pub steps: usize,
    /// Of the order of pictures, their crops and the attacks.
    pub seed: u64,
    /// Where to go on; its weights replace the student's.
    pub state: Option<State>,
    /// Steps between two reports.
    pub report_every: usize,
    /// Look for NaN and infinity behind every layer after every step; slow.
    pub check_finite: bool,
    /// Steps between two states; none for one at the end alone.
    pub checkpoint_every: Option<usize>,
}

/// What is learnt.
#[derive(Clone, Copy)]
pub enum Lesson<'a> {
    /// The outputs of another network for some pictures [M, 3, side, side], which follow each other in a circle.
    Teacher {
        /// The other network; it does not change.
        teacher: &'a Network,
        /// The pictures.
        pictures: &'a Array,
        /// What is compared.
        loss: TeacherLoss,
    },
    /// The labels of photographs, with validation after each epoch and at the end.
    Labels {
        /// The photographs.
        folder: &'a Folder,
        /// Share of the label's probability spread over all classes.
        smoothing: f32,
        /// Makes pictures hard, after the first tenth of the steps: a network that knows nothing learns little from them.
        attack: Option<Strength>,
    },
}

/// How a student is compared with its teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TeacherLoss {
    /// Distance of the logits, summed over pictures.
    Distance(Metric),
    /// Cross-entropy with the class that the teacher puts first, averaged over pictures.
    CrossEntropy,
}

/// Something that happens during a run.
pub enum Event<'a> {
    /// Steps begin: memory and launches of one of them.
    Prepared {
        /// Where the memory goes.
        plan: &'a Plan,
        /// Kernel launches of a step.
        dispatches: usize,
    },
    /// A step has been submitted.
    Step {
        /// Steps done.
        step: usize,
    },
    /// Losses have been read.
    Progress {
        /// Steps done.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
        /// Learning rate of the last step.
        rate: f32,
        /// Mean of the losses since the last report.
        loss: f32,
    },
    /// An epoch is over, or the run.
    Epoch {
        /// Counted from 1.
        epoch: usize,
        /// Mean loss of its steps.
        loss: f32,
        /// Share of the validation photographs that the student gets right.
        accuracy: f32,
        /// The student's weights when this is the best epoch so far.
        best: Option<&'a [NamedArray]>,
    },
    /// What is wrong with photographs that cannot be read, each told once. Others stand in for those to be learnt.
    Skipped(&'a [String]),
    /// A state to be kept.
    Checkpoint(&'a State),
}

/// Told of events; [`ControlFlow::Break`] in answer to [`Event::Step`] ends the run.
pub type Observer<'a> = &'a mut dyn FnMut(Event) -> Result<ControlFlow<()>>;

/// Trains a network. The state returned is that of the last [`Event::Checkpoint`].
///
/// # Errors
/// [`Error::Objective`] for networks and pictures that do not fit; [`Error::NotFinite`] when the loss is no number any
/// more; [`Error::Shape`] for a state of another run; [`Error::File`] and [`Error::Io`] for photographs; those of the
/// device and of the observer.
pub fn run(device: &Device, job: &Job, observer: Observer) -> Result<State> {
    job.check()?;
    let adapter = device.adapter().to_string();
    let mut state = State { settings: job.settings()?, adapter: adapter.clone(), ..State::default() };
    let rates = job.schedule.rates(job.rate, job.steps);
    let mut step = TrainStep::prepare(device, &job.setup(), Some(job.optimiser), &rates)?;
    if let Some(before) = &job.state {
        before.check(&state.settings)?;
        job.student.set_weights(device, &before.weights)?;
        step.restore(before.step, &before.memory)?;
        state = State { adapter, ..before.clone().in_order(&job.student.weights(device)?) };
    }
    let before = state.losses.clone();
    let mut feed = job.feed(device, &step)?;
    let (plan, dispatches) = step.plan();
    let _ = observer(Event::Prepared { plan, dispatches })?;
    let (mut stop, mut reported) = (false, step.done());
    while step.done() < job.steps && !stop {
        feed.next(&step)?;
        step.run()?;
        let done = step.done();
        stop = observer(Event::Step { step: done })?.is_break();
        let last = stop || done == job.steps;
        let epoch = done.is_multiple_of(feed.epoch());
        let checkpoint = last || job.checkpoint_every.is_some_and(|every| done.is_multiple_of(every.max(1)));
        if checkpoint || epoch || done.is_multiple_of(job.report_every.max(1)) {
            state.losses = [&before[..], &step.losses()?].concat();
            if let Some(at) = state.losses.iter().position(|loss| !loss.is_finite()) {
                return Err(Error::NotFinite { layer: "loss".into(), step: Some(at as u64 + 1) });
            }
            let loss = mean(&state.losses[reported..]);
            let _ = observer(Event::Progress { step: done, steps: job.steps, rate: rates[done - 1], loss })?;
            reported = done;
        }
        if (epoch || done == job.steps)
            && let Some(accuracy) = feed.accuracy()?
        {
            let loss = mean(&state.losses[done.saturating_sub(feed.epoch())..]);
            let best = state.accuracies.iter().all(|&other| accuracy > other);
            state.accuracies.push(accuracy);
            if best {
                state.best = finite(job.student.weights(device)?, done)?;
            }
            let epoch = done.div_ceil(feed.epoch());
            let _ = observer(Event::Epoch { epoch, loss, accuracy, best: best.then_some(&state.best[..]) })?;
        }
        if checkpoint || epoch {
            let skipped = feed.skipped();
            if !skipped.is_empty() {
                let _ = observer(Event::Skipped(&skipped))?;
            }
        }
        if checkpoint {
            let weights = finite(job.student.weights(device)?, done)?;
            (state.step, state.weights, state.memory) = (done, weights, step.memory()?);
            let _ = observer(Event::Checkpoint(&state))?;
        }
    }
    Ok(state)
}

/// Weights to be kept after so many steps: the last update may have spoilt them, which no loss has shown yet.
fn finite(weights: Vec<NamedArray>, done: usize) -> Result<Vec<NamedArray>> {
    match weights.iter().find(|array| array.values.iter().any(|value| !value.is_finite())) {
        Some(array) => {
            Err(Error::NotFinite { layer: format!("the update of {}", array.name), step: Some(done as u64) })
        }
        None => Ok(weights),
    }
}

fn mean(losses: &[f32]) -> f32 {
    (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64) as f32
}

impl Job<'_> {
    /// Whether networks, pictures and steps fit together.
    fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Objective { objective: "training".into(), reason });
        let named = |network: &Network| format!("{} ({})", network.structure, network.source);
        let classes = self.student.class_count();
        match &self.lesson {
            Lesson::Teacher { teacher, .. } if teacher.class_count() != classes => {
                return refuse(format!(
                    "student {} has {classes} classes, teacher {} has {}; a student needs a teacher with as many",
                    named(self.student),
                    named(teacher),
                    teacher.class_count(),
                ));
            }
            Lesson::Teacher { pictures, .. } => {
                let [count, _, h, w] = pictures.shape.0;
                if count == 0 || [h, w] != [self.side; 2] {
                    return refuse(format!("pictures are {}, expected [M, 3, {1}, {1}]", pictures.shape, self.side));
                }
            }
            Lesson::Labels { folder, .. } if folder.classes.len() != classes => {
                return refuse(format!("{} class folders for a network of {classes} classes", folder.classes.len()));
            }
            Lesson::Labels { folder, .. } if folder.train.len() < self.batch => {
                return refuse(format!("{} photographs do not fill a batch of {}", folder.train.len(), self.batch));
            }
            Lesson::Labels { .. } => {}
        }
        if self.steps == 0 { refuse("there is no step to do".into()) } else { Ok(()) }
    }

    fn setup(&self) -> Setup<'_> {
        let goal = match self.lesson {
            Lesson::Teacher { loss: TeacherLoss::Distance(metric), .. } => Goal::Logits(metric),
            Lesson::Teacher { loss: TeacherLoss::CrossEntropy, .. } => Goal::Labels { smoothing: 0.0 },
            Lesson::Labels { smoothing, .. } => Goal::Labels { smoothing },
        };
        let pictures = Shape::new(self.batch, 3, self.side, self.side);
        let Job { student, normalize, batch_norm, check_finite, .. } = *self;
        Setup { student, goal, normalize, batch_norm, pictures, check_finite }
    }

    /// Everything that must be the same for a run to go on.
    fn settings(&self) -> Result<BTreeMap<String, String>> {
        let lesson = match &self.lesson {
            Lesson::Teacher { teacher, pictures, loss } => {
                format!("{loss:?} to {} of {} pictures", teacher.checksum, pictures.shape.n())
            }
            Lesson::Labels { folder, smoothing, attack } => format!(
                "{} photographs of {}, smoothing {smoothing}, attack {attack:?}",
                folder.train.len(),
                folder.classes.join(",")
            ),
        };
        let pictures = match &self.lesson {
            Lesson::Teacher { pictures, .. } => sha256(bytemuck::cast_slice::<f32, u8>(&pictures.values)),
            Lesson::Labels { folder, .. } => folder.digest()?,
        };
        let pairs = [
            ("pictures", pictures[..16].to_owned()),
            ("network", self.student.structure.to_string()),
            ("lesson", lesson),
            ("normalize", format!("{:?}", self.normalize)),
            ("batch norm", format!("{:?}", self.batch_norm)),
            ("batch", self.batch.to_string()),
            ("side", self.side.to_string()),
            ("optimiser", format!("{:?}", self.optimiser)),
            ("rate", self.rate.to_string()),
            ("schedule", format!("{:?}", self.schedule)),
            ("steps", self.steps.to_string()),
            ("seed", self.seed.to_string()),
        ];
        Ok(pairs.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn feed(&self, device: &Device, step: &TrainStep) -> Result<Feed> {
        match self.lesson {
            Lesson::Teacher { teacher, pictures, loss } => {
                Ok(Feed::Circle(Circle::new(device, self, teacher, pictures, loss)?))
            }
            Lesson::Labels { folder, attack, .. } => {
                Ok(Feed::Epochs(Box::new(Epochs::new(device, self, folder, attack, step)?)))
            }
        }
    }
}

/// Where a step's pictures come from.
enum Feed {
    Circle(Circle),
    Epochs(Box<Epochs>),
}

impl Feed {
    /// Gives the next step its pictures and what they aim at.
    fn next(&mut self, step: &TrainStep) -> Result<()> {
        match self {
            Feed::Circle(circle) => circle.next(step),
            Feed::Epochs(epochs) => epochs.next(step),
        }
    }

    /// Steps of an epoch.
    fn epoch(&self) -> usize {
        match self {
            Feed::Circle(_) => usize::MAX,
            Feed::Epochs(epochs) => epochs.per_epoch,
        }
    }

    /// What is wrong with photographs that have not been told of.
    fn skipped(&mut self) -> Vec<String> {
        match self {
            Feed::Circle(_) => vec![],
            Feed::Epochs(epochs) => std::mem::take(&mut epochs.skipped),
        }
    }

    fn accuracy(&mut self) -> Result<Option<f32>> {
        match self {
            Feed::Circle(_) => Ok(None),
            Feed::Epochs(epochs) => epochs.accuracy().map(Some),
        }
    }
}

/// Some pictures, over and over, with what the teacher says of each.
struct Circle {
    /// One for each picture, as the engine stores it.
    pictures: Vec<Vec<f32>>,
    goals: Vec<Aim>,
    /// The pictures that the step has.
    given: Vec<usize>,
}

enum Aim {
    Logits(Array),
    Label(usize),
}

impl Circle {
    fn new(device: &Device, job: &Job, teacher: &Network, pictures: &Array, loss: TeacherLoss) -> Result<Self> {
        let [count, _, h, w] = pictures.shape.0;
        // No more than the steps will see.
        let count = count.min(job.steps.saturating_mul(job.batch));
        let one = Shape::new(1, 3, h, w);
        let mut forward = Forward::prepare(device, &Pass::of(teacher, job.normalize, one))?;
        let mut circle = Circle { pictures: vec![], goals: vec![], given: vec![] };
        for index in 0..count {
            let stored = Layout::Picture.pack(one, &pictures.picture(index).values);
            let logits = forward.logits(&stored)?;
            circle.goals.push(match loss {
                TeacherLoss::Distance(_) => Aim::Logits(logits),
                TeacherLoss::CrossEntropy => Aim::Label(largest(&logits.values)),
            });
            circle.pictures.push(stored);
        }
        Ok(circle)
    }

    fn next(&mut self, step: &TrainStep) -> Result<()> {
        let n = step.pictures_shape().n();
        let members: Vec<usize> = (0..n).map(|k| (step.done() * n + k) % self.pictures.len()).collect();
        if members == self.given {
            return Ok(());
        }
        let stored: Vec<f32> = members.iter().flat_map(|&index| self.pictures[index].iter().copied()).collect();
        step.set_stored_pictures(&stored)?;
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for &index in &members {
            match &self.goals[index] {
                Aim::Logits(array) => logits.extend_from_slice(&array.values),
                Aim::Label(label) => labels.push(*label),
            }
        }
        self.given = members;
        if labels.is_empty() {
            step.set_goal(&Array::new(Shape::new(n, logits.len() / n, 1, 1), logits))
        } else {
            step.set_labels(&labels)
        }
    }
}

fn largest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or_default()
}

/// Photographs with labels, epoch after epoch.
struct Epochs {
    loader: Loader,
    per_epoch: usize,
    attack: Option<Attack>,
    /// Steps before the first attack.
    warm_up: usize,
    validation: Validation,
    judged: Vec<Photograph>,
    /// What is wrong with photographs: all, and those that have not been told of.
    known: BTreeSet<String>,
    skipped: Vec<String>,
}

impl Epochs {
    fn new(device: &Device, job: &Job, folder: &Folder, attack: Option<Strength>, step: &TrainStep) -> Result<Self> {
        let Job { student, normalize, batch, side, .. } = *job;
        let learnt = Batches { photographs: folder.train.clone(), size: batch, side, augment: Some(job.seed) };
        let attack =
            attack.map(|strength| Attack::prepare(device, student, normalize, strength, job.seed, step.attacked()));
        Ok(Epochs {
            per_epoch: learnt.per_epoch(),
            loader: learnt.load(step.done(), job.steps),
            attack: attack.transpose()?,
            warm_up: job.steps / 10,
            validation: Validation::prepare(device, &Pass::of(student, normalize, step.pictures_shape()), None)?,
            judged: folder.val.clone(),
            known: BTreeSet::new(),
            skipped: vec![],
        })
    }

    fn skip(&mut self, reasons: &[String]) {
        let new = reasons.iter().filter(|reason| self.known.insert((*reason).clone()));
        self.skipped.extend(new.cloned());
    }

    fn next(&mut self, step: &TrainStep) -> Result<()> {
        let batch = self.loader.next().expect("there is a batch for every step")?;
        self.skip(&batch.skipped);
        step.set_labels(&batch.labels)?;
        match &mut self.attack {
            Some(attack) if step.done() >= self.warm_up => attack.run(&batch.stored),
            _ => step.set_stored_pictures(&batch.stored),
        }
    }

    fn accuracy(&mut self) -> Result<f32> {
        let accuracy = self.validation.accuracy(&self.judged, &mut |_| ControlFlow::Continue(()))?;
        let skipped = self.validation.skipped().to_vec();
        self.skip(&skipped);
        Ok(accuracy.top_1() as f32)
    }
}
