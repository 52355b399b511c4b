//! Pictures made hard: steps along the gradient of the loss, within a ball around each clean picture.

use std::sync::Arc;

use crate::Result;
use crate::device::{Buffer, Device, Externals, Program, Recorder};
use crate::evaluate::PICTURE;
use crate::evaluate::prepare::Draft;
use crate::nets::{BatchNormMode, Head, Network, Normalize, Parameters};
use crate::objective::class_input;
use crate::ops::{CrossEntropy, Project, View};
use crate::tape::{Request, Tape};
use crate::tensor::{Layout, Shape};

const CLEAN: &str = "clean picture";
const STEP: &str = "attacked step";

/// How hard pictures are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// Largest L2 distance from the clean picture, in units of pixel values 0..1.
    pub eps: f32,
    /// Steps along the gradient, each 1.5 · eps / steps long.
    pub steps: usize,
}

/// What an attack works on.
pub struct Attacked {
    /// Of the pictures.
    pub shape: Shape,
    /// The pictures, which it replaces.
    pub pictures: Buffer,
    /// Their labels [N, 1, 1, 1].
    pub labels: Buffer,
    /// A number, as [`Advance`](crate::ops::Advance) keeps it: each has other random starts.
    pub counter: Buffer,
}

/// An attack on pictures with labels, ready to be replayed: from a random start in the ball, along the gradient of
/// the cross-entropy with frozen statistics.
///
/// **Reference** Madry et al. 2018, with the L2 norm.
pub struct Attack {
    device: Device,
    parameters: Arc<Parameters>,
    start: Program,
    climb: Program,
    clean: Buffer,
    steps: usize,
}

impl Attack {
    /// Prepares an attack on pictures that a network is given, normalised like this.
    ///
    /// # Errors
    /// Those of [`Network::forward`] and of the device.
    pub fn prepare(
        device: &Device,
        student: &Network,
        normalize: Normalize,
        strength: Strength,
        seed: u64,
        attacked: Attacked,
    ) -> Result<Self> {
        let Attacked { shape, pictures, labels, counter } = attacked;
        let bytes = Layout::Picture.bytes(shape);
        let clean = device.buffer(CLEAN, bytes)?;
        let mut externals = Externals::from([(CLEAN.to_owned(), clean.clone())]);
        externals.insert(PICTURE.into(), pictures);
        externals.insert(class_input(0), labels);
        externals.insert(STEP.into(), counter);
        let rate = 1.5 * strength.eps / strength.steps as f32;
        let project = Project { radius: strength.eps, rate };
        let views = |recorder: &mut Recorder| {
            [CLEAN, PICTURE].map(|name| View::whole(recorder.external(name, bytes), shape, Layout::Picture))
        };

        let mut recorder = Recorder::new(device.tuning());
        recorder.layer("attack");
        let [around, picture] = views(&mut recorder);
        let counter = recorder.external(STEP, 16);
        // Both halves of the seed count.
        project.start(&mut recorder, around, picture, counter, (seed ^ (seed >> 32)) as u32);
        let start = Program::prepare(device, "start of an attack", &recorder.finish(), &externals)?;

        let mut tape = Tape::default();
        let pixels = tape.input(PICTURE, shape);
        let x = student.input(&mut tape, pixels, normalize)?;
        let logits = student.forward(&mut tape, x, BatchNormMode::Frozen, &[Head::Main], &[])?.head(Head::Main);
        let labels = tape.input(&class_input(0), Shape::per_picture(shape.n()));
        let loss = tape.apply(CrossEntropy::default(), &[logits, labels])?;
        let mut recorder = Recorder::new(device.tuning());
        let recorded = tape.record(&mut recorder, &Request { keep: vec![], loss: Some(loss), wrt: vec![pixels] })?;
        recorder.layer("attack");
        let [around, picture] = views(&mut recorder);
        project.climb(&mut recorder, around, picture, recorded.gradients[0]);
        let derived = recorded.derived;
        let draft =
            Draft { label: "step of an attack", recorder, derived, networks: &[student], checks: None, after: None };
        let climb = draft.prepare(device, || Ok(externals))?.program;
        let parameters = student.parameters().clone();
        Ok(Attack { device: device.clone(), parameters, start, climb, clean, steps: strength.steps })
    }

    /// Replaces the pictures by these, attacked; their labels are already there. They are stored as
    /// [`Layout::Picture`].
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&mut self, stored: &[f32]) -> Result<()> {
        self.device.write(&self.clean, stored)?;
        self.start.run()?;
        // The student has learnt since.
        self.parameters.refresh()?;
        (0..self.steps).try_for_each(|_| self.climb.run())
    }
}
