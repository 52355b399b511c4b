//! How much a picture changes from pixel to pixel.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Sum of absolute differences between vertical and horizontal neighbours, over all channels of each picture.
///
/// **Shapes** `x` [N, C, H, W] -> [N, 1, 1, 1].
///
/// **Reference** Rudin, Osher and Fatemi 1992, in its anisotropic form; the gradient between equal neighbours is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalVariation;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    h: u32,
    w: u32,
    x_offset: u32,
    x_stride: u32,
    gx_offset: u32,
    gx_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: u32,
}

shader!("total_variation", Params);

fn params(x: View, grad_x: View, y: View) -> Params {
    let [n, _, h, w] = x.shape.0;
    Params {
        vectors: x.vectors() as u32,
        groups: x.shape.groups() as u32,
        n: n as u32,
        h: h as u32,
        w: w as u32,
        x_offset: x.offset,
        x_stride: x.stride,
        gx_offset: grad_x.offset,
        gx_stride: grad_x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: 0,
    }
}

impl Op for TotalVariation {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        Ok(Shape::per_picture(x.n()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let bindings = [(1, x.buffer), (3, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch_workgroups(kernel, &params(x, x, y), &bindings, x.shape.n(), x.vectors() * 24);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, g) = (pass.inputs[0], pass.grad_output);
        let bindings = [(1, x.buffer), (2, g.buffer), (3, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch(kernel, &params(x, grad_x, g), &bindings, x.vectors(), 1, x.vectors() * 48);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |x: [usize; 4]| Sample::new(TotalVariation, [Domain::Apart(Shape(x))]);
    vec![sample([2, 3, 7, 5]), sample([1, 5, 1, 6]), sample([2, 2, 6, 1])]
}
