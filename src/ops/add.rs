//! Sum of two values.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = a + b.
///
/// **Shapes** `a`, `b` [N, C, H, W] -> the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add;

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
}

shader!("add", Params);

impl Add {
    /// Appends y = a + b, for values on and off the tape.
    pub(super) fn record(recorder: &mut Recorder, a: View, b: View, y: View) {
        let params = Params {
            vectors: y.vectors() as u32,
            groups: y.shape.groups() as u32,
            a_offset: a.offset,
            a_stride: a.stride,
            b_offset: b.offset,
            b_stride: b.stride,
            y_offset: y.offset,
            y_stride: y.stride,
        };
        let bindings = [(1, a.buffer), (2, b.buffer), (3, y.buffer)];
        recorder.launch(Kernel::new(&SHADER, "forward"), &params, &bindings, y.vectors(), 1, y.vectors() * 4);
    }
}

impl Op for Add {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [a, b] = arguments(self.name(), inputs)?;
        same(self.name(), "second argument", a, b)?;
        Ok(a)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        Add::record(recorder, pass.inputs[0], pass.inputs[1], pass.output);
    }

    fn backward(&self, _recorder: &mut Recorder, _pass: &Backward) -> Result<()> {
        Ok(())
    }

    fn passes_gradient(&self, _input: usize) -> bool {
        true
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let shape = Shape::new(2, 3, 7, 5);
    vec![Sample::new(Add, [Domain::linear(shape), Domain::linear(shape)])]
}
