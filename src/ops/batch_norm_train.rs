//! Batch normalisation with the statistics of the batch.

use super::batch_norm::{checked, invocations};
use super::pass::{Backward, Domain, Forward, Op, Sample, View};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// y = (x − mean) · weight / sqrt(var + eps) + bias with the mean and the biased variance over N, H and W of this batch.
///
/// The forward pass also updates the running statistics in place: running = (1 − momentum) · running + momentum · batch,
/// where the variance is the unbiased one.
///
/// **Shapes** `x` [N, C, H, W], `weight`, `bias`, `running_mean` and `running_var` [1, C, 1, 1] -> that of `x`.
///
/// **Errors** [`Error::Shape`] when channels differ, or when there is only one value per channel;
/// [`Error::NoGradient`] when the gradient of a running statistic is asked for.
///
/// **Reference** Ioffe and Szegedy 2015; `torch.nn.functional.batch_norm` with `training=True`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTrain {
    /// Added to the variance.
    pub eps: f32,
    /// Share of this batch in the running statistics.
    pub momentum: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    g_offset: u32,
    g_stride: u32,
    out_offset: u32,
    out_stride: u32,
    eps: f32,
    momentum: f32,
    pad: [u32; 2],
}

shader!("batch_norm_train", Params);

impl BatchNormTrain {
    fn params(&self, x: View, g: View, out: View) -> Params {
        Params {
            pixels: x.shape.pixels() as u32,
            groups: x.shape.groups() as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            g_offset: g.offset,
            g_stride: g.stride,
            out_offset: out.offset,
            out_stride: out.stride,
            eps: self.eps,
            momentum: self.momentum,
            pad: [0; 2],
        }
    }
}

impl Op for BatchNormTrain {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let x = checked(self.name(), inputs)?;
        if x.pixels() < 2 {
            return Err(Error::shape(self.name(), "number of values per channel", "at least 2", x.pixels()));
        }
        Ok(x)
    }

    /// The mean, and one over the standard deviation.
    fn saved(&self, inputs: &[Shape]) -> Vec<Shape> {
        vec![Shape::channels(inputs[0].c()); 2]
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let [weight, bias, running_mean, running_var] = [1, 2, 3, 4].map(|input: usize| pass.inputs[input].buffer);
        let [mean, inv_std] = [0, 1].map(|saved: usize| pass.saved[saved].buffer);
        let params = self.params(x, y, y);
        let bindings = [(1, x.buffer), (4, running_mean), (5, running_var), (11, mean), (12, inv_std)];
        let kernel = Kernel::new(&SHADER, "statistics");
        recorder.launch_workgroups(kernel, &params, &bindings, x.shape.groups(), x.vectors() * 20);
        let bindings = [(1, x.buffer), (2, weight), (3, bias), (6, mean), (7, inv_std), (11, y.buffer)];
        recorder.launch(Kernel::new(&SHADER, "forward"), &params, &bindings, invocations(y), 1, y.vectors() * 12);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 3)?;
        pass.no_gradient(self.name(), 4)?;
        let (x, weight, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        let [mean, inv_std] = [0, 1].map(|saved: usize| pass.saved[saved].buffer);
        // The gradient of x needs both sums, whether anybody asked for them or not.
        let mut sum = |input: usize, what| {
            pass.grads[input].unwrap_or_else(|| View::transient(recorder, what, Shape::channels(x.shape.c()))).buffer
        };
        let [grad_weight, grad_bias] = [sum(1, "grad_weight"), sum(2, "grad_bias")];
        let bindings = [(1, x.buffer), (6, mean), (7, inv_std), (8, g.buffer), (11, grad_weight), (12, grad_bias)];
        let kernel = Kernel::new(&SHADER, "grad_parameters");
        recorder.launch_workgroups(kernel, &self.params(x, g, g), &bindings, g.shape.groups(), g.vectors() * 16);
        if let Some(grad_x) = pass.grads[0] {
            let read = [(1, x.buffer), (2, weight.buffer), (6, mean), (7, inv_std), (8, g.buffer)];
            let bindings = [&read[..], &[(9, grad_weight), (10, grad_bias), (11, grad_x.buffer)]].concat();
            let kernel = Kernel::new(&SHADER, "grad_input");
            recorder.launch(kernel, &self.params(x, g, grad_x), &bindings, invocations(g), 1, g.vectors() * 20);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |eps, momentum, x: Shape| {
        let c = Shape::channels(x.c());
        let vectors = [Domain::linear(c), Domain::linear(c), Domain::Fixed(c), Domain::Positive(c)];
        Sample::new(BatchNormTrain { eps, momentum }, [&[Domain::Smooth(x)], &vectors[..]].concat())
    };
    vec![sample(1e-5, 0.1, Shape::new(2, 5, 7, 6)), sample(1e-3, 0.3, Shape::new(3, 8, 3, 5))]
}
