//! A network that was read from a file as a list of steps: the operations of the engine, each with the values that it takes and
//! the tensors that belong to it. Nothing in it depends on the size of pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ops::{Activation, AvgPool2d, Binary, MaxPool2d, Op, Relu, Window};
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
    /// Zeros around its picture that follow from the picture's sides.
    pub same: Option<Same>,
}

/// As many zeros around a picture as leave a window that moves by so much with one output for each step of it: where they do not
/// come out even, one more at the end, or at the beginning.
///
/// **Reference** ONNX's `auto_pad`, `SAME_UPPER` and `SAME_LOWER`; TensorFlow's padding `SAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Same {
    /// Whether the odd one comes at the end.
    pub upper: bool,
}

impl Same {
    /// [top, left] and [bottom, right] for a picture of these sides.
    pub fn padding(
        self,
        sides: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> [[usize; 2]; 2] {
        let all = [0, 1].map(|side| {
            let outputs = sides[side].div_ceil(stride[side].max(1));
            let reach = dilation[side] * kernel[side].saturating_sub(1) + 1;
            (outputs.saturating_sub(1) * stride[side] + reach).saturating_sub(sides[side])
        });
        let (less, more) = (all.map(|all| all / 2), all.map(|all| all - all / 2));
        if self.upper { [less, more] } else { [more, less] }
    }

    /// A pooling with its zeros; another operation as it is.
    pub fn pooling(self, op: &Arc<dyn Op>, sides: [usize; 2]) -> Arc<dyn Op> {
        let any: &dyn std::any::Any = &**op;
        if let Some(&pool) = any.downcast_ref::<MaxPool2d>() {
            let padding = self.padding(sides, pool.kernel, pool.stride, pool.dilation);
            return Arc::new(MaxPool2d { padding, ..pool });
        }
        match any.downcast_ref::<AvgPool2d>() {
            Some(&pool) => {
                let padding = self.padding(sides, pool.kernel, pool.stride, [1; 2]);
                Arc::new(AvgPool2d { padding, ..pool })
            }
            None => op.clone(),
        }
    }
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
    /// Convolutions whose weights are a product with a batch norm's, as the names tell that PyTorch's exporters give them: the older one
    /// numbers both tensors, today's calls the bias after the weight.
    pub fn folded(&self) -> usize {
        let tensor = |step: &Step, leaf: &str| -> Option<String> {
            let found = step.tensors.iter().find(|(name, _)| *name == leaf);
            found.map(|(_, view)| view.tensor.clone())
        };
        let is_folded = |step: &&Step| {
            let (weight, bias) = (tensor(step, "weight").unwrap_or_default(), tensor(step, "bias").unwrap_or_default());
            let numbered = |name: &str| name.starts_with("onnx::Conv_");
            matches!(step.operation, Operation::Conv(_))
                && (numbered(&weight) && numbered(&bias) || bias == format!("{weight}_bias"))
        };
        self.steps.iter().filter(is_folded).count()
    }

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
