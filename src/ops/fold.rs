//! A convolution and the frozen batch norm behind it as one convolution: its weight, and its bias.

use super::pass::{Backward, Forward, Op, View};
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};
use crate::tensor::{Layout, Shape};
use crate::{Error, Result};

/// The weight of the one convolution that does what a convolution and a [`BatchNorm`](super::BatchNorm) do one after the other:
/// weight · norm_weight / sqrt(running_var + eps).
///
/// **Shapes** `weight` [Cout, Cin, KH, KW], optionally `bias` [1, Cout, 1, 1], then `norm_weight`, `norm_bias`, `running_mean`
/// and `running_var` [1, Cout, 1, 1] -> that of `weight`.
///
/// **Errors** [`Error::Shape`] when channels differ; [`Error::NoGradient`] for every gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldWeight {
    /// Added to the variance.
    pub eps: f32,
}

/// The bias of that convolution: norm_bias − (running_mean − bias) · norm_weight / sqrt(running_var + eps), a missing bias
/// being 0.
///
/// **Shapes** those of [`FoldWeight`] -> [1, Cout, 1, 1].
///
/// **Errors** as [`FoldWeight`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldBias {
    /// Added to the variance.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    groups: u32,
    eps: f32,
    offset: u32,
    stride: u32,
    has_bias: u32,
    pad: [u32; 2],
}

shader!("fold", Params);

/// The weight's shape, once there is one vector for each argument behind it.
fn checked(op: &str, inputs: &[Shape]) -> Result<Shape> {
    if !(5..=6).contains(&inputs.len()) {
        return Err(Error::shape(op, "number of arguments", "5 or 6", inputs.len()));
    }
    let (weight, vectors) = (inputs[0], &inputs[1..]);
    let wanted = Shape::channels(weight.n());
    match vectors.iter().find(|&&vector| vector != wanted) {
        Some(&vector) => Err(Error::shape(op, "channels of the batch norm", wanted, vector)),
        None => Ok(weight),
    }
}

/// Launches one of the two kernels on its own argument `x`, of so many rows.
fn record(
    recorder: &mut Recorder,
    entry: &'static str,
    eps: f32,
    (x, rows): (Option<BufferId>, usize),
    pass: &Forward,
) {
    let (y, inputs) = (pass.output, pass.inputs);
    let norm: Vec<BufferId> = inputs[inputs.len() - 4..].iter().map(|view| view.buffer).collect();
    let groups = inputs[0].shape.n().div_ceil(4);
    let params = Params {
        rows: rows as u32,
        groups: groups as u32,
        eps,
        offset: y.offset,
        stride: y.stride,
        has_bias: x.is_some().into(),
        pad: [0; 2],
    };
    // Each kernel is bound to what it reads; without a bias something must be bound in its place.
    let x = x.unwrap_or(norm[1]);
    let all = [(1, x), (2, norm[0]), (3, norm[1]), (4, norm[2]), (5, norm[3]), (6, y.buffer)];
    let read = |&(binding, _): &(u32, BufferId)| entry == "bias" || !(3..=4).contains(&binding);
    let bindings: Vec<(u32, BufferId)> = all.into_iter().filter(read).collect();
    recorder.launch(Kernel::new(&SHADER, entry), &params, &bindings, rows * groups, 1, rows * groups * 4);
}

impl Op for FoldWeight {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        checked(self.name(), inputs)
    }

    fn layout(&self) -> Layout {
        Layout::Filter
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let weight: View = pass.inputs[0];
        let rows = weight.vectors() / weight.shape.n().div_ceil(4);
        record(recorder, "weight", self.eps, (Some(weight.buffer), rows), pass);
    }

    fn backward(&self, _recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        (0..pass.grads.len()).try_for_each(|input| pass.no_gradient(self.name(), input))
    }
}

impl Op for FoldBias {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        checked(self.name(), inputs).map(|weight| Shape::channels(weight.n()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let bias = (pass.inputs.len() == 6).then(|| pass.inputs[1].buffer);
        record(recorder, "bias", self.eps, (bias, 1), pass);
    }

    fn backward(&self, _recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        (0..pass.grads.len()).try_for_each(|input| pass.no_gradient(self.name(), input))
    }
}
