//! Batch normalisation with frozen statistics.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = (x − running_mean) · weight / sqrt(running_var + eps) + bias, channel by channel.
///
/// **Shapes** `x` [N, C, H, W], `weight`, `bias`, `running_mean` and `running_var` [1, C, 1, 1] -> that of `x`.
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when channels differ;
/// [`Error::NoGradient`](crate::Error::NoGradient) when the gradient of a statistic is asked for.
///
/// **Reference** `torch.nn.functional.batch_norm` with `training=False`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    eps: f32,
    pad: u32,
}

shader!("batch_norm", Params);

/// Pixels that one invocation computes.
pub(super) const BLOCK: usize = 4;

/// The shape of `x`, once the four vectors of a batch norm fit it.
pub(super) fn checked(op: &str, inputs: &[Shape]) -> Result<Shape> {
    let [x, vectors @ ..] = arguments::<5>(op, inputs)?;
    for (what, found) in ["weight", "bias", "running_mean", "running_var"].into_iter().zip(vectors) {
        same(op, what, Shape::channels(x.c()), found)?;
    }
    Ok(x)
}

/// Invocations of a kernel that computes [`BLOCK`] pixels of a channel group in each.
pub(super) fn invocations(y: View) -> usize {
    y.shape.pixels().div_ceil(BLOCK) * y.shape.groups()
}

impl BatchNorm {
    fn params(&self, x: View, y: View) -> Params {
        Params {
            pixels: y.shape.pixels() as u32,
            groups: y.shape.groups() as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            eps: self.eps,
            pad: 0,
        }
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        checked(self.name(), inputs)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let [weight, bias, mean, var] = [1, 2, 3, 4].map(|input: usize| pass.inputs[input].buffer);
        let bindings = [(1, x.buffer), (2, weight), (3, bias), (4, mean), (5, var), (7, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch(kernel, &self.params(x, y), &bindings, invocations(y), 1, y.vectors() * 12);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 3)?;
        pass.no_gradient(self.name(), 4)?;
        let (x, g) = (pass.inputs[0], pass.grad_output);
        let [weight, mean, var] = [1, 3, 4].map(|input: usize| pass.inputs[input].buffer);
        if let Some(grad_x) = pass.grads[0] {
            let bindings = [(2, weight), (5, var), (6, g.buffer), (7, grad_x.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_input");
            recorder.launch(kernel, &self.params(grad_x, g), &bindings, invocations(g), 1, g.vectors() * 4);
        }
        if let Some(grad_weight) = pass.grads[1] {
            let bindings = [(1, x.buffer), (4, mean), (5, var), (6, g.buffer), (7, grad_weight.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_weight");
            recorder.launch_workgroups(kernel, &self.params(x, g), &bindings, g.shape.groups(), g.vectors() * 12);
        }
        if let Some(grad_bias) = pass.grads[2] {
            let bindings = [(6, g.buffer), (7, grad_bias.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_bias");
            recorder.launch_workgroups(kernel, &self.params(x, g), &bindings, g.shape.groups(), g.vectors() * 4);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |eps, x: Shape| {
        let c = Shape::channels(x.c());
        let vectors = [Domain::linear(c), Domain::linear(c), Domain::Fixed(c), Domain::Positive(c)];
        Sample::new(BatchNorm { eps }, [&[Domain::linear(x)], &vectors[..]].concat())
    };
    vec![sample(1e-5, Shape::new(2, 5, 7, 6)), sample(1e-3, Shape::new(1, 8, 3, 5))]
}
