//! The smaller of two values.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = min(a, b), element by element; the gradient goes to the smaller, to `a` where both are equal.
///
/// **Shapes** `a`, `b` [N, C, H, W] -> the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minimum;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    y_offset: u32,
    y_stride: u32,
    g_offset: u32,
    g_stride: u32,
    pad: [u32; 2],
}

shader!("minimum", Params);

fn params(a: View, b: View, y: View, g: Option<View>) -> Params {
    Params {
        vectors: a.vectors() as u32,
        groups: a.shape.groups() as u32,
        a_offset: a.offset,
        a_stride: a.stride,
        b_offset: b.offset,
        b_stride: b.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        g_offset: g.map_or(0, |g| g.offset),
        g_stride: g.map_or(0, |g| g.stride),
        pad: [0; 2],
    }
}

impl Op for Minimum {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [a, b] = arguments(self.name(), inputs)?;
        same(self.name(), "second argument", a, b)?;
        Ok(a)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let ([a, b], y) = ([pass.inputs[0], pass.inputs[1]], pass.output);
        let bindings = [(1, a.buffer), (2, b.buffer), (4, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch(kernel, &params(a, b, y, None), &bindings, y.vectors(), 1, y.vectors() * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let ([a, b], g) = ([pass.inputs[0], pass.inputs[1]], pass.grad_output);
        for (entry, grad) in ["grad_a", "grad_b"].into_iter().zip(pass.grads) {
            let Some(grad) = *grad else { continue };
            let bindings = [(1, a.buffer), (2, b.buffer), (3, g.buffer), (4, grad.buffer)];
            let kernel = Kernel::new(&SHADER, entry);
            recorder.launch(kernel, &params(a, b, grad, Some(g)), &bindings, g.vectors(), 1, g.vectors() * 4);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let shape = Shape::new(2, 3, 7, 5);
    vec![Sample::new(Minimum, [Domain::Apart(shape), Domain::Apart(shape)])]
}
