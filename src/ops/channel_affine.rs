//! A factor and a shift for each channel.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = x · scale + shift, channel by channel.
///
/// **Shapes** `x` [N, C, H, W], `scale` and `shift` [1, C, 1, 1] -> that of `x`.
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when channels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelAffine;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("channel_affine", Params);

fn params(x: View, y: View) -> Params {
    Params {
        pixels: y.shape.pixels() as u32,
        groups: y.shape.groups() as u32,
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: [0; 2],
    }
}

impl Op for ChannelAffine {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, scale, shift] = arguments(self.name(), inputs)?;
        same(self.name(), "scale", Shape::channels(x.c()), scale)?;
        same(self.name(), "shift", Shape::channels(x.c()), shift)?;
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (&[x, scale, shift], y) = (pass.inputs, pass.output) else { unreachable!("the arguments were counted") };
        let bindings = [(1, x.buffer), (2, scale.buffer), (3, shift.buffer), (5, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch(kernel, &params(x, y), &bindings, y.vectors(), 1, y.vectors() * 8);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (x, scale, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        if let Some(grad_x) = pass.grads[0] {
            let bindings = [(2, scale.buffer), (4, g.buffer), (5, grad_x.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_input");
            recorder.launch(kernel, &params(grad_x, g), &bindings, g.vectors(), 1, g.vectors() * 4);
        }
        if let Some(grad_scale) = pass.grads[1] {
            let bindings = [(1, x.buffer), (4, g.buffer), (5, grad_scale.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_scale");
            recorder.launch_workgroups(kernel, &params(x, g), &bindings, g.shape.groups(), g.vectors() * 8);
        }
        if let Some(grad_shift) = pass.grads[2] {
            let bindings = [(4, g.buffer), (5, grad_shift.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_shift");
            recorder.launch_workgroups(kernel, &params(x, g), &bindings, g.shape.groups(), g.vectors() * 4);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |x: Shape| {
        let vector = Domain::linear(Shape::channels(x.c()));
        Sample::new(ChannelAffine, [Domain::linear(x), vector, vector])
    };
    vec![sample(Shape::new(2, 3, 7, 5)), sample(Shape::new(1, 8, 9, 11))]
}
