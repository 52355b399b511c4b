//! A network that was read from a file as a list of steps: the operations of the engine, each with the values that it takes and
//! the tensors that belong to it. Nothing in it depends on the size of pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ops::{Activation, Binary, Op, Relu, Window};
use crate::weights::TensorView;

/// A value: the picture is 0, and what each step makes comes after it.
pub(super) type Id = usize;

/// One operation of a network.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub operation: Operation,
    /// Values that it takes.
    pub inputs: Vec<Id>,
    /// Its name, which is also what the names of its tensors begin with.
    pub layer: String,
    /// Its tensors by the last part of their names.
    pub tensors: Vec<(&'static str, TensorView)>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// An operation without parameters.
    Apply(Arc<dyn Op>),
    /// The largest value of all pixels.
    Largest,
    /// A convolution with `weight` and perhaps `bias`.
    Conv(Window),
    /// A batch norm with `weight`, `bias`, `running_mean` and `running_var`.
    BatchNorm(f32),
    /// A layer norm over channels with `weight` and `bias`, or without both.
    LayerNorm(f32),
    /// A linear layer with `weight` and perhaps `bias`, over the channels of each pixel or over all that a picture has.
    Linear {
        /// Whether each pixel is taken by itself.
        pixels: bool,
    },
    /// A sum, difference, product or quotient with numbers: those of a tensor `factor`, or these, one for each channel or one for
    /// all. They come first where the flag says so.
    Constant(Binary, Vec<f32>, bool),
}

/// The whole of a network: steps, and where its logits are.
pub(super) struct Network {
    pub steps: Vec<Step>,
    /// Names of values, by value.
    pub taps: BTreeMap<Id, Vec<String>>,
    /// Logits and their number; none where the file makes something else.
    pub logits: Option<(Id, usize)>,
    /// What stands behind the logits in the file, and is left out.
    pub behind: Option<&'static str>,
}

impl Network {
    /// The layer whose outputs are the classes; none is called "".
    pub fn classifier(&self) -> String {
        let Some((mut id, classes)) = self.logits else { return String::new() };
        while let Some(step) = id.checked_sub(1).and_then(|at| self.steps.get(at)) {
            match (&step.operation, step.tensors.first()) {
                (Operation::Conv(_) | Operation::Linear { .. }, Some((_, view))) => {
                    return if view.sizes[0] == classes { step.layer.clone() } else { String::new() };
                }
                _ if step.inputs.len() != 1 => break,
                _ => id = step.inputs[0],
            }
        }
        String::new()
    }
}

impl Step {
    /// Its tensors' names, as the checkpoint will have them.
    pub fn tensor_names(&self) -> impl Iterator<Item = (String, &TensorView)> {
        self.tensors.iter().map(|(leaf, view)| (format!("{}.{leaf}", self.layer), view))
    }

    fn applies<T: Op + PartialEq>(&self, op: &T) -> bool {
        match &self.operation {
            Operation::Apply(own) => (&**own as &dyn std::any::Any).downcast_ref::<T>() == Some(op),
            _ => false,
        }
    }
}

/// Puts operations together that exporters take apart: x · sigmoid(x) is SiLU, x · hardsigmoid(x) hard swish. `outputs` and `named`
/// are values that somebody looks at.
pub(super) fn combine(steps: &mut [Step], wanted: &[Id]) {
    for index in 0..steps.len() {
        let own = index + 1;
        let whole = match &steps[index] {
            step if step.applies(&Activation::Sigmoid) => Activation::Silu,
            step if step.applies(&Activation::HardSigmoid) => Activation::HardSwish,
            _ => continue,
        };
        let x = steps[index].inputs[0];
        let readers: Vec<usize> = (index + 1..steps.len()).filter(|at| steps[*at].inputs.contains(&own)).collect();
        let [reader] = readers[..] else { continue };
        let mut given = steps[reader].inputs.clone();
        given.sort_unstable();
        if given == [x, own] && steps[reader].applies(&Binary::Times) && !wanted.contains(&own) {
            steps[reader].operation = Operation::Apply(Arc::new(whole));
            steps[reader].inputs = vec![x];
        }
    }
}

/// Clip from 0 on without an end is a relu, which more can take in.
pub(super) fn clip(low: f32, high: f32) -> Operation {
    match (low, high) {
        (0.0, f32::INFINITY) => Operation::Apply(Arc::new(Relu)),
        _ => Operation::Apply(Arc::new(Activation::Clip { low, high })),
    }
}
