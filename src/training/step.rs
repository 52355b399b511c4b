//! One training step as a recording: pictures, networks, loss, gradients of all parameters, update. The learning rates of
//! all steps are uploaded ahead; between two steps the host writes at most the next pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attack::Attacked;
use crate::device::{Buffer, BufferId, Device, Externals, Plan, Program, Readback, Recorder};
use crate::evaluate::parts::at_a_time;
use crate::evaluate::prepare::{Draft, Prepared};
use crate::evaluate::{FiniteChecks, PICTURE};
use crate::nets::{BatchNormMode, Head, Network, Normalize, Outputs, Parameter, Parameters};
use crate::objective::class_input;
use crate::ops::{
    Accumulate, Adam, Advance, ChannelAffine, CrossEntropy, Distance, Forward, Metric, Op, RegionSum, Sgd, View,
};
use crate::tape::{Recorded, Request, Tape, Var};
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
    /// Student, goal and loss [N, 1, 1, 1] on a tape, for so many of the pictures.
    fn stage(&self, tape: &mut Tape, pictures: Shape) -> Result<(Outputs, Var)> {
        let pixels = tape.input(PICTURE, pictures);
        let x = self.student.input(tape, pixels, self.normalize)?;
        let student = self.student.forward(tape, x, self.batch_norm, &[Head::Main], &[])?;
        let logits = student.head(Head::Main);
        tape.layer("loss");
        let loss = match self.goal {
            Goal::Logits(metric) => {
                let goal = tape.input(GOAL, tape.shape(logits));
                tape.apply(Distance { metric }, &[logits, goal])?
            }
            Goal::Labels { smoothing } => {
                let labels = tape.input(&class_input(0), Shape::per_picture(pictures.n()));
                let loss = tape.apply(CrossEntropy { smoothing }, &[logits, labels])?;
                let scale = tape.constant(&Array::filled(Shape::channels(1), 1.0 / self.pictures.n() as f32));
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

/// A batch that is done in parts, for the device cannot hold all of it at a time: what a part is given and what it gives.
struct Parts {
    /// Forward and backward for one part, its gradients added to what is there.
    program: Program,
    count: usize,
    pictures: Buffer,
    goal: Buffer,
    logits: View,
    /// Sums of gradients and losses.
    sums: Vec<Buffer>,
    /// Logits of all parts.
    all: Buffer,
}

/// Name of the external value that holds the sum of a gradient over all parts.
fn sum(name: &str) -> String {
    format!("sum/{name}")
}

impl Parts {
    /// Appends what adds each value to its sum; makes the sums.
    fn add_up<'a>(
        recorder: &mut Recorder,
        given: &mut Given,
        names: &[&str],
        values: impl Iterator<Item = &'a mut View>,
    ) -> Result<Vec<Buffer>> {
        let add = |(name, value): (&&str, &'a mut View)| {
            let (id, buffer) = given.make(recorder, &sum(name), value.layout.bytes(value.shape))?;
            Accumulate::in_place(recorder, View { buffer: id, ..*value }, *value);
            Ok(buffer)
        };
        names.iter().zip(values).map(add).collect()
    }

    /// Runs one part of a batch.
    fn run(&mut self, device: &Device, part: usize, pictures: &Buffer, goal: &Buffer) -> Result<()> {
        let part = part as u64;
        for (all, one) in [(pictures, &self.pictures), (goal, &self.goal)] {
            device.copy((all, part * one.bytes), (one, 0), one.bytes)?;
        }
        self.program.run()?;
        let bytes = self.all.bytes / self.count as u64;
        device.copy((self.program.buffer(self.logits.buffer), 0), (&self.all, part * bytes), bytes)
    }
}

/// A training step ready to be replayed.
pub struct TrainStep {
    device: Device,
    parameters: Arc<Parameters>,
    /// The whole step, or what is left to be done after all parts.
    program: Program,
    parts: Option<Parts>,
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
    /// A batch that is too large for the device is done in equal parts, unless the batch norms want the statistics of all of it.
    ///
    /// # Errors
    /// Those of [`Network::forward`], of shapes that do not fit, of the device.
    pub fn prepare(device: &Device, setup: &Setup, optimiser: Option<Optimiser>, rates: &[f32]) -> Result<Self> {
        let n = setup.pictures.n();
        let prepare = |at_a_time| Self::prepare_parts(device, setup, optimiser, rates, at_a_time);
        if setup.batch_norm == BatchNormMode::Batch {
            return prepare(n);
        }
        // The largest equal parts that are no larger.
        at_a_time(n, |size| prepare((1..=size).rev().find(|size| n.is_multiple_of(*size)).unwrap_or(n)))
    }

    /// [`TrainStep::prepare`] with so many pictures at a time, of which the batch has a multiple.
    fn prepare_parts(
        device: &Device,
        setup: &Setup,
        optimiser: Option<Optimiser>,
        rates: &[f32],
        at_a_time: usize,
    ) -> Result<Self> {
        let [n, c, h, w] = setup.pictures.0;
        let part = Shape::new(at_a_time, c, h, w);
        let mut tape = Tape::default();
        let (student, loss) = setup.stage(&mut tape, part)?;
        let trainable: Vec<Parameter> = student.trainable().cloned().collect();
        let request = Request {
            keep: vec![loss, student.head(Head::Main)],
            loss: Some(loss),
            wrt: trainable.iter().map(|parameter| parameter.var).collect(),
        };
        let mut recorder = Recorder::new(device.tuning());
        let mut given = Given { device, externals: setup.student.buffers().clone() };
        let (_, mut pictures) = given.make(&mut recorder, PICTURE, Layout::Picture.bytes(part))?;
        let (name, shape) = match setup.goal {
            Goal::Logits(_) => (GOAL.to_owned(), tape.shape(student.head(Head::Main))),
            Goal::Labels { .. } => (class_input(0), Shape::per_picture(at_a_time)),
        };
        let (_, mut goal) = given.make(&mut recorder, &name, Layout::Picture.bytes(shape))?;
        let mut checks = setup.check_finite.then(FiniteChecks::default);
        let Recorded { kept, mut gradients, derived } =
            FiniteChecks::record(&mut checks, &tape, &mut recorder, &request)?;
        recorder.layer("train");
        let (mut total, logits) = (total(&mut recorder, kept[0])?, kept[1]);

        let count = n / at_a_time;
        let mut parts = None;
        if count > 1 {
            let names: Vec<&str> = trainable.iter().map(|parameter| &*parameter.name).chain(["loss"]).collect();
            let sums = Parts::add_up(&mut recorder, &mut given, &names, gradients.iter_mut().chain([&mut total]))?;
            let (one, aim) = (pictures, goal);
            pictures = device.store(PICTURE, Layout::Picture.bytes(setup.pictures))?;
            goal = device.store(&name, aim.bytes * count as u64)?;
            let all = device.store("logits", logits.layout.bytes(logits.shape) * count as u64)?;
            let recording = std::mem::replace(&mut recorder, Recorder::new(device.tuning())).finish();
            given.externals.extend(setup.student.parameters().derive(device, &derived)?);
            Program::provide(device, &recording, &mut given.externals)?;
            let program = Program::prepare(device, "part of a training step", &recording, &given.externals)?;
            parts = Some(Parts { program, count, pictures: one, goal: aim, logits, sums, all });
            for (name, view) in names.iter().zip(gradients.iter_mut().chain([&mut total])) {
                view.buffer = recorder.external(&sum(name), view.layout.bytes(view.shape));
            }
        }

        let (step, counter) = given.make(&mut recorder, STEP, 16)?;
        let rows: Vec<f32> = rates.iter().flat_map(|&rate| [rate, 0.0, 0.0, 0.0]).collect();
        let (table, table_buffer) = given.make(&mut recorder, "train rates", rows.len() as u64 * 4)?;
        device.write(&table_buffer, &rows)?;
        let (rate, _) = given.make(&mut recorder, RATE, 16)?;
        let rate = View::whole(rate, Shape::channels(1), Layout::Picture);
        let (log, history) = given.make(&mut recorder, HISTORY, rates.len() as u64 * 16)?;
        recorder.layer("train");
        Advance::read_row(&mut recorder, step, table, rates.len(), rate);
        Advance::log(&mut recorder, step, total, log, rates.len());
        let mut memory = BTreeMap::new();
        if let Some(optimiser) = optimiser {
            for (parameter, gradient) in trainable.iter().zip(&gradients) {
                let key = setup.student.parameters().key(&parameter.name);
                let weight = recorder.external(&key, parameter.layout.bytes(parameter.shape));
                let weight = View::whole(weight, parameter.shape, parameter.layout);
                let remembered = optimiser.remember(&mut recorder, &mut given, parameter, &mut memory)?;
                optimiser.record(&mut recorder, weight, *gradient, &remembered, rate, step);
            }
        }
        Advance::next(&mut recorder, step);

        let derived = if count > 1 { vec![] } else { derived };
        let label = "training step";
        let draft = Draft { label, recorder, derived, networks: &[setup.student], checks, after: None };
        let Prepared { program, externals, checks } = draft.prepare(device, || Ok(given.externals))?;
        let gradients = trainable.into_iter().zip(gradients).map(|(parameter, view)| {
            // Without an optimiser no launch of the last program sees the sums.
            let sum = externals.get(&sum(&parameter.name));
            let buffer = sum.unwrap_or_else(|| program.buffer(view.buffer)).clone();
            (parameter.name.clone(), (buffer, parameter))
        });
        let gradients = gradients.collect();
        Ok(TrainStep {
            device: device.clone(),
            parameters: setup.student.parameters().clone(),
            program,
            parts,
            shape: setup.pictures,
            pictures,
            goal,
            counter,
            readback: device.readback(history.bytes)?,
            history,
            logits,
            gradients,
            memory,
            checks,
            first: 0,
            done: 0,
        })
    }

    /// Where the memory goes, and how many kernels a step launches.
    pub fn plan(&self) -> (&Plan, usize) {
        let launches = self.program.dispatches();
        match &self.parts {
            Some(Parts { program, count, .. }) => (program.plan(), count * program.dispatches() + launches),
            None => (self.program.plan(), launches),
        }
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
        // Derived weights, and those that a validation or an attack reads, are those of before.
        self.parameters.changed();
        let verify = || match &self.checks {
            Some((checks, flags)) => checks.verify(&self.device, flags, Some(self.done as u64)),
            None => Ok(()),
        };
        let Some(parts) = &mut self.parts else { return self.program.run().and_then(|()| verify()) };
        self.device.clear("sums of gradients", &parts.sums)?;
        for part in 0..parts.count {
            parts.run(&self.device, part, &self.pictures, &self.goal)?;
            verify()?;
        }
        self.program.run()
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
        let buffer = self.parts.as_ref().map_or_else(|| self.program.buffer(buffer), |parts| &parts.all);
        let [_, classes, h, w] = shape.0;
        self.device.download(buffer, layout, Shape::new(self.shape.n(), classes, h, w))
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
        let mut parts: Vec<&(Buffer, Parameter)> = self.gradients.values().collect();
        parts.sort_by_key(|(_, parameter)| (parameter.tensor.clone(), parameter.rows.start));
        let mut gradients: BTreeMap<String, Array> = BTreeMap::new();
        for (buffer, parameter) in parts {
            let part = self.device.download(buffer, parameter.layout, parameter.shape)?;
            let joined = match gradients.remove(&parameter.tensor) {
                None => part,
                Some(rows) => rows.with_rows(part),
            };
            gradients.insert(parameter.tensor.clone(), joined);
        }
        Ok(gradients)
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
