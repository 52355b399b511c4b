//! A frame around a picture.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Pixels of one value around a picture.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, `top`+H+`bottom`, `left`+W+`right`].
///
/// **Reference** `torchvision.transforms.Pad`, whose order is left, top, right, bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad {
    /// Pixels added on the left.
    pub left: usize,
    /// Pixels added above.
    pub top: usize,
    /// Pixels added on the right.
    pub right: usize,
    /// Pixels added below.
    pub bottom: usize,
    /// What they hold, in every channel.
    pub value: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    c: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    left: u32,
    top: u32,
    value: f32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("pad", Params);

impl Pad {
    fn padded(&self, x: Shape) -> Shape {
        let [n, c, h, w] = x.0;
        Shape::new(n, c, self.top + h + self.bottom, self.left + w + self.right)
    }

    /// Appends a kernel that reads `x` and writes `y`, of which one is the picture of shape `inner`.
    fn launch(&self, recorder: &mut Recorder, entry: &'static str, inner: Shape, x: View, y: View) {
        let padded = self.padded(inner);
        let params = Params {
            vectors: y.vectors() as u32,
            groups: y.shape.groups() as u32,
            c: inner.c() as u32,
            h: inner.h() as u32,
            w: inner.w() as u32,
            oh: padded.h() as u32,
            ow: padded.w() as u32,
            left: self.left as u32,
            top: self.top as u32,
            value: self.value,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: [0; 2],
        };
        let bindings = [(1, x.buffer), (2, y.buffer)];
        recorder.launch(Kernel::new(&SHADER, entry), &params, &bindings, y.vectors(), 1, y.vectors() * 4);
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        Ok(self.padded(x))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        self.launch(recorder, "forward", pass.inputs[0].shape, pass.inputs[0], pass.output);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        self.launch(recorder, "grad_input", grad_x.shape, pass.grad_output, grad_x);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let x = Shape::new(2, 3, 7, 5);
    let frame = Pad { left: 1, top: 2, right: 3, bottom: 4, value: 0.0 };
    vec![
        Sample::new(frame, [Domain::linear(x)]),
        Sample::new(Pad { value: 0.7, ..frame }, [Domain::Smooth(x)]),
        Sample::new(Pad { left: 0, top: 0, ..frame }, [Domain::linear(x)]),
    ]
}
