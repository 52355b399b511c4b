//! Shifts, turns, magnifications and mirrors of a picture.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Each picture looked at through an affine map of its own: y at (ox, oy) is x, bilinearly, at
///
/// (a·u + b·v + c + cx, d·u + e·v + f + cy), where (u, v) = (ox − cx, oy − cy) and (cx, cy) = ((W−1)/2, (H−1)/2).
///
/// So the map goes from the result to `x`, in pixels, columns before rows, about the centre. Beyond the edge of `x` lies its
/// edge pixel (clamped, not reflected: a reflected border would let a turned picture hold its objects twice). The maps are
/// an argument, so that they can change from step to step.
///
/// **Shapes** `x` [N, C, H, W], `matrix` [N, 6, 1, 1] (a, b, c, d, e, f) -> as `x`.
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when there are not six numbers for each picture,
/// [`Error::NoGradient`](crate::Error::NoGradient) for the matrix.
///
/// **Reference** `torch.nn.functional.grid_sample` with `padding_mode="border"`, `align_corners=True`, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warp;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    h: u32,
    w: u32,
    matrix_offset: u32,
    matrix_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("warp", Params);

fn launch(recorder: &mut Recorder, entry: &'static str, matrix: View, x: View, y: View) {
    let params = Params {
        vectors: y.vectors() as u32,
        groups: y.shape.groups() as u32,
        h: y.shape.h() as u32,
        w: y.shape.w() as u32,
        matrix_offset: matrix.offset,
        matrix_stride: matrix.stride,
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: [0; 2],
    };
    let bindings = [(1, x.buffer), (2, matrix.buffer), (3, y.buffer)];
    recorder.launch(Kernel::new(&SHADER, entry), &params, &bindings, y.vectors(), 1, y.vectors() * 64);
}

impl Op for Warp {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, matrix] = arguments(self.name(), inputs)?;
        same(self.name(), "matrix", Shape::new(x.n(), 6, 1, 1), matrix)?;
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        launch(recorder, "forward", pass.inputs[1], pass.inputs[0], pass.output);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        launch(recorder, "grad_input", pass.inputs[1], pass.grad_output, grad_x);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    // Any numbers make a map: random ones shear, mirror and shrink at once.
    let sample =
        |x: [usize; 4]| Sample::new(Warp, [Domain::linear(Shape(x)), Domain::Fixed(Shape::new(x[0], 6, 1, 1))]);
    vec![sample([2, 3, 7, 5]), sample([3, 5, 9, 12]), sample([2, 3, 1, 6])]
}
