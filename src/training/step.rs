//! One training step as a recording: pictures, networks, loss, gradients of all parameters, update. The learning rates of
//! all steps are uploaded ahead; between two steps the host writes at most the next pictures.

use std::collections::BTreeMap;

use super::attack::Attacked;
use crate::device::{Buffer, BufferId, Device, Externals, Plan, Program, Readback, Recorder};
use crate::evaluate::{FiniteChecks, PICTURE};
use crate::nets::{BatchNormMode, Network, Normalize, Outputs, Parameter};
use crate::objective::class_input;
use crate::ops::{Adam, Advance, ChannelAffine, CrossEntropy, Distance, Forward, Metric, Op, RegionSum, Sgd, View};
use crate::tape::{Request, Tape, Var};
use crate::tensor::{Array, Layout, Shape};
use crate::weights::NamedArray;
use crate::{Error, Result};

const STEP: &str = "train step";
const HISTORY: &str = "train history";
const RATE: &str = "train rate";
const GOAL: &str = "train goal";

/// What the student's logits are brought to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Given logits [N, classes], summed over pictures.
    Logits(Metric),
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
    /// `torch.optim.Adam`.
    Adam(Adam),
}

impl Optimiser {
    /// What it remembers of each parameter from step to step.
    fn memory(&self) -> &'static [&'static str] {
        match self {
            Optimiser::Sgd(sgd) if sgd.has_velocity() => &["velocity"],
            Optimiser::Sgd(_) => &[],
            Optimiser::Adam(_) => &["mean", "mean square"],
        }
    }

    /// Makes the memory of a parameter.
    fn remember(
        &self,
        recorder: &mut Recorder,
        given: &mut Given,
        parameter: &Parameter,
        memory: &mut BTreeMap<String, (Buffer, Parameter)>,
    ) -> Result<Vec<BufferId>> {
        let make = |what: &&str| {
            let name = format!("{what}/{}", parameter.name);
            let (id, buffer) = given.make(recorder, &name, parameter.layout.bytes(parameter.shape))?;
            memory.insert(name, (buffer, parameter.clone()));
            Ok(id)
        };
        self.memory().iter().map(make).collect()
    }

    /// Appends the update of a parameter.
    fn record(
        &self,
        recorder: &mut Recorder,
        weight: View,
        gradient: View,
        memory: &[BufferId],
        rate: View,
        step: BufferId,
    ) {
        match (self, memory) {
            (Optimiser::Adam(adam), &[m, v]) => adam.record(recorder, weight, gradient, [m, v], rate, step),
            (Optimiser::Sgd(sgd), velocity) => sgd.record(recorder, weight, gradient, velocity.first().copied(), rate),
            (Optimiser::Adam(_), _) => unreachable!("Adam remembers two means"),
        }
    }
}

/// What a training step is made of.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The network that learns.
    pub student: &'a Network,
    /// What it learns.
    pub goal: Goal,
    /// What pixel values become before they reach the network.
    pub normalize: Normalize,
    /// Statistics of the batch norms.
    pub batch_norm: BatchNormMode,
    /// Pictures [N, 3, H, W] of a step.
    pub pictures: Shape,
    /// Look for NaN and infinity behind every layer after every step; slow.
    pub check_finite: bool,
}

impl Setup<'_> {
    /// Student, goal and loss [N, 1, 1, 1] on a tape.
    fn stage(&self, tape: &mut Tape) -> Result<(Outputs, Var)> {
        let n = self.pictures.n();
        let pixels = tape.input(PICTURE, self.pictures);
        let x = self.normalize.apply(tape, pixels)?;
        let student = self.student.forward(tape, x, self.batch_norm, &[])?;
        let logits = student.logits;
        tape.layer("loss");
        let loss = match self.goal {
            Goal::Logits(metric) => {
                let goal = tape.input(GOAL, tape.shape(logits));
                tape.apply(Distance { metric }, &[logits, goal])?
            }
            Goal::Labels { smoothing } => {
                let labels = tape.input(&class_input(0), Shape::per_picture(n));
                let loss = tape.apply(CrossEntropy { smoothing }, &[logits, labels])?;
                let scale = tape.constant(&Array::filled(Shape::channels(1), 1.0 / n as f32));
                let shift = tape.constant(&Array::filled(Shape::channels(1), 0.0));
                tape.apply(ChannelAffine, &[loss, scale, shift])?
            }
        };
        Ok((student, loss))
    }
}

/// Buffers that a step brings into its recording, besides those of the student.
struct Given<'a> {
    device: &'a Device,
    externals: Externals,
}

impl Given<'_> {
    fn make(&mut self, recorder: &mut Recorder, name: &str, bytes: u64) -> Result<(BufferId, Buffer)> {
        let buffer = self.device.buffer(name, bytes)?;
        self.externals.insert(name.to_owned(), buffer.clone());
        Ok((recorder.external(name, bytes), buffer))
    }
}

/// A training step ready to be replayed.
pub struct TrainStep {
    device: Device,
    program: Program,
    shape: Shape,
    pictures: Buffer,
    /// Logits or labels aimed at.
    goal: Buffer,
    counter: Buffer,
    history: Buffer,
    logits: View,
    gradients: BTreeMap<String, (Buffer, Parameter)>,
    /// What the optimiser remembers, by `velocity/NAME` and so on.
    memory: BTreeMap<String, (Buffer, Parameter)>,
    checks: Option<(FiniteChecks, Buffer)>,
    readback: Readback,
    /// Steps done before it was restored.
    first: usize,
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
        let mut given = Given { device, externals: setup.student.buffers().clone() };
        let (step, counter) = given.make(&mut recorder, STEP, 16)?;
        let rows: Vec<f32> = rates.iter().flat_map(|&rate| [rate, 0.0, 0.0, 0.0]).collect();
        let (table, table_buffer) = given.make(&mut recorder, "train rates", rows.len() as u64 * 4)?;
        device.write(&table_buffer, &rows)?;
        let (rate, _) = given.make(&mut recorder, RATE, 16)?;
        let rate = View::whole(rate, Shape::channels(1), Layout::Picture);
        let (log, history) = given.make(&mut recorder, HISTORY, rates.len() as u64 * 16)?;
        let (_, pictures) = given.make(&mut recorder, PICTURE, Layout::Picture.bytes(setup.pictures))?;
        let (name, shape) = match setup.goal {
            Goal::Logits(_) => (GOAL.to_owned(), tape.shape(student.logits)),
            Goal::Labels { .. } => (class_input(0), Shape::per_picture(setup.pictures.n())),
        };
        let (_, goal) = given.make(&mut recorder, &name, Layout::Picture.bytes(shape))?;

        recorder.layer("train");
        Advance::read_row(&mut recorder, step, table, rates.len(), rate);
        let mut checks = setup.check_finite.then(FiniteChecks::default);
        let recorded = FiniteChecks::record(&mut checks, &tape, &mut recorder, &request)?;
        recorder.layer("train");
        let total = total(&mut recorder, recorded.kept[0])?;
        Advance::log(&mut recorder, step, total, log, rates.len());
        let mut memory = BTreeMap::new();
        if let Some(optimiser) = optimiser {
            for (parameter, gradient) in trainable.iter().zip(&recorded.gradients) {
                let key = setup.student.key(&parameter.name);
                let weight = recorder.external(&key, parameter.layout.bytes(parameter.shape));
                let weight = View::whole(weight, parameter.shape, parameter.layout);
                let remembered = optimiser.remember(&mut recorder, &mut given, parameter, &mut memory)?;
                optimiser.record(&mut recorder, weight, *gradient, &remembered, rate, step);
            }
        }
        Advance::next(&mut recorder, step);

        let recording = recorder.finish();
        Program::provide(device, &recording, &mut given.externals)?;
        let checks = checks.map(|checks| checks.with_flags(&given.externals));
        let program = Program::prepare(device, "training step", &recording, &given.externals)?;
        let gradients = trainable
            .iter()
            .zip(&recorded.gradients)
            .map(|(parameter, view)| (parameter.name.clone(), (program.buffer(view.buffer).clone(), parameter.clone())))
            .collect();
        Ok(TrainStep {
            device: device.clone(),
            program,
            shape: setup.pictures,
            pictures,
            goal,
            counter,
            readback: device.readback(history.bytes)?,
            history,
            logits: recorded.kept[1],
            gradients,
            memory,
            checks,
            first: 0,
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

    /// [`TrainStep::set_pictures`] for those who store them as [`Layout::Picture`] on another thread.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_stored_pictures(&self, stored: &[f32]) -> Result<()> {
        self.device.write(&self.pictures, stored)
    }

    /// Gives the next step what it aims at: logits [N, classes, 1, 1].
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_goal(&self, logits: &Array) -> Result<()> {
        self.device.write_array(&self.goal, Layout::Picture, logits)
    }

    /// Gives the next step its labels, where it learns labels.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_labels(&self, labels: &[usize]) -> Result<()> {
        let labels = labels.iter().map(|&label| label as f32).collect();
        self.set_goal(&Array::new(Shape::per_picture(self.shape.n()), labels))
    }

    /// The step's pictures, where it learns labels.
    pub(super) fn attacked(&self) -> Attacked {
        let [pictures, labels, counter] = [&self.pictures, &self.goal, &self.counter].map(Buffer::clone);
        Attacked { shape: self.shape, pictures, labels, counter }
    }

    /// Shape of the pictures of a step.
    pub fn pictures_shape(&self) -> Shape {
        self.shape
    }

    /// Steps done, those before [`TrainStep::restore`] included.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Submits the next step.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with `check_finite`; those of the device.
    pub fn run(&mut self) -> Result<()> {
        self.done += 1;
        self.program.run()?;
        match &self.checks {
            Some((checks, flags)) => checks.verify(&self.device, flags, Some(self.done as u64)),
            None => Ok(()),
        }
    }

    /// The loss of every step that has run since it was prepared or restored, before its update: the sum over its pictures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn losses(&self) -> Result<Vec<f32>> {
        let history: Vec<f32> = self.readback.read(&self.device, &self.history)?;
        Ok(history.into_iter().step_by(4).take(self.done).skip(self.first).collect())
    }

    /// The student's logits of the last step, before its update.
    ///
    /// # Errors
    /// Those of the device.
    pub fn logits(&self) -> Result<Array> {
        let View { buffer, layout, shape, .. } = self.logits;
        self.device.download(self.program.buffer(buffer), layout, shape)
    }

    /// What the optimiser remembers.
    ///
    /// # Errors
    /// Those of the device.
    pub fn memory(&self) -> Result<Vec<NamedArray>> {
        let fetch = |(name, (buffer, Parameter { layout, shape, .. })): (&String, &(Buffer, Parameter))| {
            let values = self.device.download(buffer, *layout, *shape)?.values;
            Ok(NamedArray { name: name.clone(), shape: shape.0.to_vec(), values })
        };
        self.memory.iter().map(fetch).collect()
    }

    /// Takes up a run after `done` steps, with what [`TrainStep::memory`] gave then; the student's weights are the caller's.
    ///
    /// # Errors
    /// [`Error::Shape`] when something is missing; those of the device.
    pub fn restore(&mut self, done: usize, memory: &[NamedArray]) -> Result<()> {
        for (name, (buffer, Parameter { layout, shape, .. })) in &self.memory {
            let found = memory.iter().find(|array| array.name == *name && array.shape == shape.0);
            let array = found.ok_or_else(|| Error::shape("resume", name, shape, "absent or otherwise"))?;
            self.device.write_array(buffer, *layout, &Array::new(*shape, array.values.clone()))?;
        }
        self.device.write(&self.counter, &[done as u32])?;
        (self.first, self.done) = (done, done);
        Ok(())
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

/// The sum [1, 1, 1, 1] of a loss [N, 1, 1, 1]: to a region's sum its pictures are the pixels of a column.
fn total(recorder: &mut Recorder, loss: View) -> Result<View> {
    let n = loss.shape.n();
    let column = View { shape: Shape::new(1, 1, n, 1), ..loss };
    let op = RegionSum { channels: 0..1, rows: 0..n, columns: 0..1 };
    let total = View::transient(recorder, "loss", op.output_shape(&[column.shape])?);
    op.forward(recorder, &Forward { inputs: &[column], output: total, saved: &[] });
    Ok(total)
}
