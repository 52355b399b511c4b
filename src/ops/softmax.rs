//! Probabilities from logits.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = exp(x) / sum of exp(x) over the channels of each pixel.
///
/// **Shapes** `x` [N, C, H, W] -> the same.
///
/// **Reference** `torch.nn.functional.softmax` with `dim=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    channels: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    g_offset: u32,
    g_stride: u32,
    pad: [u32; 3],
}

shader!("softmax", Params);

fn params(x: View, y: View, g: View) -> Params {
    Params {
        pixels: x.shape.pixels() as u32,
        groups: x.shape.groups() as u32,
        channels: x.shape.c() as u32,
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        g_offset: g.offset,
        g_stride: g.stride,
        pad: [0; 3],
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let (kernel, bindings) = (Kernel::new(&SHADER, "forward"), [(1, x.buffer), (4, y.buffer)]);
        recorder.launch_workgroups(kernel, &params(x, y, y), &bindings, x.shape.pixels(), x.vectors() * 40);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (y, g) = (pass.output, pass.grad_output);
        let bindings = [(2, y.buffer), (3, g.buffer), (4, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch_workgroups(kernel, &params(grad_x, y, g), &bindings, y.shape.pixels(), y.vectors() * 16);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |x: [usize; 4]| Sample::new(Softmax, [Domain::Smooth(Shape(x))]);
    vec![sample([3, 10, 1, 1]), sample([2, 301, 1, 1]), sample([1, 7, 3, 5])]
}
