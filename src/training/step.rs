//! One training step as a recording: pictures, networks, loss, gradients of all parameters, update. The learning rates of
//! all steps are uploaded ahead; between two steps the host writes at most the next pictures.

use std::collections::BTreeMap;

use crate::Result;
use crate::device::{Buffer, Device, Externals, Plan, Program, Readback, Recorder};
use crate::evaluate::PICTURE;
use crate::nets::{BatchNormMode, Network, Normalize, Outputs, Parameter};
use crate::objective::class_input;
use crate::ops::{Advance, ChannelAffine, CrossEntropy, Distance, Metric, Sgd, View};
use crate::tape::{Request, Tape, Var};
use crate::tensor::{Array, Layout, Shape};

const STEP: &str = "train step";
const HISTORY: &str = "train history";
const RATE: &str = "train rate";
const GOAL: &str = "train goal";

/// What the student's logits are brought to.
#[derive(Clone)]
pub enum Goal<'a> {
    /// Given logits [N, classes], summed over pictures.
    Logits(Metric),
    /// The logits of a teacher for the same pictures, summed over pictures.
    Teacher(&'a Network, Metric),
    /// Labels: cross-entropy averaged over pictures.
    Labels {
        /// Share of the label's probability spread over all classes.
        smoothing: f32,
    },
}

/// How parameters move along their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// `torch.optim.SGD`.
    Sgd(Sgd),
}

/// What a training step is made of.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The network that learns.
    pub student: &'a Network,
    /// What it learns.
    pub goal: Goal<'a>,
    /// What pixel values become before they reach the networks.
    pub normalize: Normalize,
    /// Statistics of the student's batch norms.
    pub batch_norm: BatchNormMode,
    /// Pictures [N, 3, H, W] of a step.
    pub pictures: Shape,
}

impl Setup<'_> {
    /// Student, goal and loss [N, 1, 1, 1] on a tape.
    fn stage(&self, tape: &mut Tape) -> Result<(Outputs, Var)> {
        let n = self.pictures.n();
        let pixels = tape.input(PICTURE, self.pictures);
        let x = self.normalize.apply(tape, pixels)?;
        let student = self.student.forward(tape, x, self.batch_norm, &[])?;
        let logits = student.logits;
        let loss = match &self.goal {
            Goal::Logits(metric) => {
                let goal = tape.input(GOAL, tape.shape(logits));
                tape.apply(Distance { metric: *metric }, &[logits, goal])?
            }
            Goal::Teacher(teacher, metric) => {
                let goal = teacher.forward(tape, x, BatchNormMode::Frozen, &[])?.logits;
                tape.layer("loss");
                tape.apply(Distance { metric: *metric }, &[logits, goal])?
            }
            Goal::Labels { smoothing } => {
                let labels = tape.input(&class_input(0), Shape::per_picture(n));
                let loss = tape.apply(CrossEntropy { smoothing: *smoothing }, &[logits, labels])?;
                let scale = tape.constant(&Array::filled(Shape::channels(1), 1.0 / n as f32));
                let shift = tape.constant(&Array::filled(Shape::channels(1), 0.0));
                tape.apply(ChannelAffine, &[loss, scale, shift])?
            }
        };
        Ok((student, loss))
    }

    fn externals(&self) -> Externals {
        let mut externals = self.student.buffers().clone();
        if let Goal::Teacher(teacher, _) = &self.goal {
            externals.extend(teacher.buffers().clone());
        }
        externals
    }
}

/// A training step ready to be replayed.
pub struct TrainStep {
    device: Device,
    program: Program,
    pictures: Buffer,
    goal: Option<Buffer>,
    labels: Option<Buffer>,
    history: Buffer,
    logits: Buffer,
    logits_shape: Shape,
    gradients: BTreeMap<String, (Buffer, Parameter)>,
    readback: Readback,
    n: usize,
    done: usize,
}

impl TrainStep {
    /// Records and prepares one step; `rates` are the learning rates of all steps to come. Without an optimiser the
    /// gradients are computed and kept, and nothing is changed.
    ///
    /// # Errors
    /// Those of [`Network::forward`], of shapes that do not fit, of the device.
    pub fn prepare(device: &Device, setup: &Setup, optimiser: Option<Optimiser>, rates: &[f32]) -> Result<Self> {
        let mut tape = Tape::default();
        let (student, loss) = setup.stage(&mut tape)?;
        let trainable: Vec<Parameter> = student.trainable().cloned().collect();
        let request = Request {
            keep: vec![loss, student.logits],
            loss: Some(loss),
            wrt: trainable.iter().map(|parameter| parameter.var).collect(),
        };
        let mut recorder = Recorder::new(device.tuning());
        let mut externals = setup.externals();
        let n = setup.pictures.n();
        let mut external = |recorder: &mut Recorder, name: &str, bytes: u64| -> Result<_> {
            let buffer = device.buffer(name, bytes)?;
            externals.insert(name.to_owned(), buffer.clone());
            Ok((recorder.external(name, bytes), buffer))
        };
        let (counter, _) = external(&mut recorder, STEP, 16)?;
        let rows: Vec<f32> = rates.iter().flat_map(|&rate| [rate, 0.0, 0.0, 0.0]).collect();
        let (table, table_buffer) = external(&mut recorder, "train rates", rows.len() as u64 * 4)?;
        device.write(&table_buffer, &rows)?;
        let (rate, _) = external(&mut recorder, RATE, 16)?;
        let rate = View::whole(rate, Shape::channels(1), Layout::Picture);
        let (history, history_buffer) = external(&mut recorder, HISTORY, (rates.len() * n * 16) as u64)?;
        let (_, pictures) = external(&mut recorder, PICTURE, Layout::Picture.bytes(setup.pictures))?;
        let logits_shape = tape.shape(student.logits);
        let goal = match setup.goal {
            Goal::Logits(_) => Some(external(&mut recorder, GOAL, Layout::Picture.bytes(logits_shape))?.1),
            _ => None,
        };
        let labels = match setup.goal {
            Goal::Labels { .. } => Some(external(&mut recorder, &class_input(0), n as u64 * 16)?.1),
            _ => None,
        };
        recorder.layer("train");
        Advance::read_row(&mut recorder, counter, table, rates.len(), rate);
        let recorded = tape.record(&mut recorder, &request)?;
        recorder.layer("train");
        Advance::log(&mut recorder, counter, recorded.kept[0], history, rates.len());
        for (parameter, gradient) in trainable.iter().zip(&recorded.gradients) {
            let key = setup.student.key(&parameter.name);
            let bytes = parameter.layout.bytes(parameter.shape);
            let weight = View::whole(recorder.external(&key, bytes), parameter.shape, parameter.layout);
            if let Some(Optimiser::Sgd(sgd)) = optimiser {
                let velocity = match sgd.has_velocity() {
                    true => Some(external(&mut recorder, &format!("velocity of {key}"), bytes)?.0),
                    false => None,
                };
                sgd.record(&mut recorder, weight, *gradient, velocity, rate);
            }
        }
        Advance::next(&mut recorder, counter);
        let program = Program::prepare(device, "training step", &recorder.finish(), &externals)?;
        let gradients = trainable
            .iter()
            .zip(&recorded.gradients)
            .map(|(parameter, view)| (parameter.name.clone(), (program.buffer(view.buffer).clone(), parameter.clone())))
            .collect();
        let logits = program.buffer(recorded.kept[1].buffer).clone();
        let readback = device.readback(history_buffer.bytes)?;
        let device = device.clone();
        let history = history_buffer;
        Ok(TrainStep {
            device,
            program,
            pictures,
            goal,
            labels,
            history,
            logits,
            logits_shape,
            gradients,
            readback,
            n,
            done: 0,
        })
    }

    /// Where the memory goes, and how many kernels a step launches.
    pub fn plan(&self) -> (&Plan, usize) {
        (self.program.plan(), self.program.dispatches())
    }

    /// Gives the next step its pictures, values 0..1.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_pictures(&self, pictures: &Array) -> Result<()> {
        self.device.write_array(&self.pictures, Layout::Picture, pictures)
    }

    /// Gives the next step the logits to aim at, [N, classes, 1, 1].
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// When the goal is not [`Goal::Logits`].
    pub fn set_goal(&self, logits: &Array) -> Result<()> {
        let goal = self.goal.as_ref().expect("this step aims at given logits");
        self.device.write_array(goal, Layout::Picture, logits)
    }

    /// Gives the next step its labels.
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// When the goal is not [`Goal::Labels`].
    pub fn set_labels(&self, labels: &[usize]) -> Result<()> {
        let buffer = self.labels.as_ref().expect("this step learns labels");
        let labels = Array::new(Shape::per_picture(self.n), labels.iter().map(|&label| label as f32).collect());
        self.device.write_array(buffer, Layout::Picture, &labels)
    }

    /// Submits the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&mut self) -> Result<()> {
        self.done += 1;
        self.program.run()
    }

    /// The loss of every step that has run, before its update: the sum over its pictures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn losses(&self) -> Result<Vec<f32>> {
        let history: Vec<f32> = self.readback.read(&self.device, &self.history)?;
        let row = self.n * 4;
        let sum = |row: &[f32]| row.iter().step_by(4).sum();
        Ok(history.chunks_exact(row).take(self.done).map(sum).collect())
    }

    /// The student's logits of the last step, before its update.
    ///
    /// # Errors
    /// Those of the device.
    pub fn logits(&self) -> Result<Array> {
        self.device.download(&self.logits, Layout::Picture, self.logits_shape)
    }

    /// Gradients of the last step by torchvision's names, in torch's order of elements.
    ///
    /// # Errors
    /// Those of the device.
    pub fn gradients(&self) -> Result<BTreeMap<String, Array>> {
        let fetch = |(name, (buffer, parameter)): (&String, &(Buffer, Parameter))| {
            Ok((name.clone(), self.device.download(buffer, parameter.layout, parameter.shape)?))
        };
        self.gradients.iter().map(fetch).collect()
    }
}
