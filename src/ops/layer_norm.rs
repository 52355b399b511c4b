//! Layer normalisation over the channels of each pixel.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = (x − mean) · weight / sqrt(var + eps) + bias with the mean and the biased variance over the channels of each pixel.
///
/// **Shapes** `x` [N, C, H, W], `weight` and `bias` [1, C, 1, 1] -> that of `x`.
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when channels differ.
///
/// **Reference** Ba, Kiros and Hinton 2016; `torch.nn.functional.layer_norm` of [N, H, W, C] over C, as ConvNeXt has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    channels: u32,
    eps: f32,
    x_offset: u32,
    x_stride: u32,
    g_offset: u32,
    g_stride: u32,
    out_offset: u32,
    out_stride: u32,
    pad: [u32; 2],
}

shader!("layer_norm", Params);

impl LayerNorm {
    fn params(&self, x: View, g: View, out: View) -> Params {
        Params {
            pixels: x.shape.pixels() as u32,
            groups: x.shape.groups() as u32,
            channels: x.shape.c() as u32,
            eps: self.eps,
            x_offset: x.offset,
            x_stride: x.stride,
            g_offset: g.offset,
            g_stride: g.stride,
            out_offset: out.offset,
            out_stride: out.stride,
            pad: [0; 2],
        }
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, weight, bias] = arguments(self.name(), inputs)?;
        same(self.name(), "weight", Shape::channels(x.c()), weight)?;
        same(self.name(), "bias", Shape::channels(x.c()), bias)?;
        Ok(x)
    }

    /// Of each pixel the mean and one over the standard deviation, in two of four lanes.
    fn saved(&self, inputs: &[Shape]) -> Vec<Shape> {
        let [n, _, h, w] = inputs[0].0;
        vec![Shape::new(n, 4, h, w)]
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (&[x, weight, bias], y) = (pass.inputs, pass.output) else { unreachable!("the arguments were counted") };
        let bindings = [(1, x.buffer), (2, weight.buffer), (3, bias.buffer), (6, y.buffer), (7, pass.saved[0].buffer)];
        let params = self.params(x, x, y);
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch_workgroups(kernel, &params, &bindings, x.shape.pixels(), x.vectors() * 28);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (x, weight, statistics, g) = (pass.inputs[0], pass.inputs[1], pass.saved[0].buffer, pass.grad_output);
        if let Some(grad_x) = pass.grads[0] {
            let bindings = [(1, x.buffer), (2, weight.buffer), (4, statistics), (5, g.buffer), (6, grad_x.buffer)];
            let (kernel, params) = (Kernel::new(&SHADER, "grad_input"), self.params(x, g, grad_x));
            recorder.launch_workgroups(kernel, &params, &bindings, x.shape.pixels(), x.vectors() * 40);
        }
        if let Some(grad_weight) = pass.grads[1] {
            let bindings = [(1, x.buffer), (4, statistics), (5, g.buffer), (6, grad_weight.buffer)];
            let (kernel, params) = (Kernel::new(&SHADER, "grad_weight"), self.params(x, g, grad_weight));
            recorder.launch_workgroups(kernel, &params, &bindings, g.shape.groups(), g.vectors() * 16);
        }
        if let Some(grad_bias) = pass.grads[2] {
            let bindings = [(5, g.buffer), (6, grad_bias.buffer)];
            let (kernel, params) = (Kernel::new(&SHADER, "grad_bias"), self.params(x, g, grad_bias));
            recorder.launch_workgroups(kernel, &params, &bindings, g.shape.groups(), g.vectors() * 4);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |eps, x: Shape| {
        let c = Domain::linear(Shape::channels(x.c()));
        Sample::new(LayerNorm { eps }, [Domain::Smooth(x), c, c])
    };
    // More channel groups than a workgroup has invocations.
    vec![
        sample(1e-6, Shape::new(2, 5, 7, 6)),
        sample(1e-3, Shape::new(1, 275, 3, 2)),
        sample(1e-5, Shape::new(3, 24, 1, 1)),
    ]
}
