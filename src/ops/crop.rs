//! A window of a picture.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// The window of each picture that starts at its corner; the gradient outside of it is zero.
///
/// The corners are an argument, so that they can change from step to step. A window that would overhang is moved inside.
///
/// **Shapes** `x` [N, C, H, W], `corners` [N, 2, 1, 1] (top and left in pixels) -> [N, C, `height`, `width`].
///
/// **Errors** [`Error::Shape`] when there are not two numbers for each picture, [`Error::TooSmall`] when the window does not
/// fit, [`Error::NoGradient`] for the corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Height of the window.
    pub height: usize,
    /// Width of the window.
    pub width: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    corners_offset: u32,
    corners_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
}

shader!("crop", Params);

impl Crop {
    /// Appends the crop of a picture off the tape.
    pub fn record(&self, recorder: &mut Recorder, x: View, corners: View, y: View) {
        self.launch(recorder, "forward", x.shape, corners, x, y);
    }

    fn launch(&self, recorder: &mut Recorder, entry: &'static str, whole: Shape, corners: View, x: View, y: View) {
        let params = Params {
            vectors: y.vectors() as u32,
            groups: y.shape.groups() as u32,
            h: whole.h() as u32,
            w: whole.w() as u32,
            oh: self.height as u32,
            ow: self.width as u32,
            corners_offset: corners.offset,
            corners_stride: corners.stride,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
        };
        let bindings = [(1, x.buffer), (2, corners.buffer), (3, y.buffer)];
        recorder.launch(Kernel::new(&SHADER, entry), &params, &bindings, y.vectors(), 1, y.vectors() * 4);
    }
}

impl Op for Crop {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, corners] = arguments(self.name(), inputs)?;
        same(self.name(), "corners", Shape::new(x.n(), 2, 1, 1), corners)?;
        if self.height > x.h() || self.width > x.w() {
            let kernel = format!("{}x{}", self.height, self.width);
            return Err(Error::TooSmall { op: self.name().into(), input: x, kernel });
        }
        Ok(Shape::new(x.n(), x.c(), self.height, self.width))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        self.record(recorder, pass.inputs[0], pass.inputs[1], pass.output);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        self.launch(recorder, "grad_input", grad_x.shape, pass.inputs[1], pass.grad_output, grad_x);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let x = Shape::new(2, 3, 7, 5);
    let sample = |height, width| {
        let corners = Domain::Index(Shape::new(2, 2, 1, 1), 3);
        Sample::new(Crop { height, width }, [Domain::linear(x), corners])
    };
    vec![sample(4, 3), sample(7, 5), sample(1, 1)]
}
