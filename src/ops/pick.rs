//! One channel of each picture, such as the logit of a class.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// The channel that each picture names, summed over its pixels: a logit where there is one pixel.
///
/// An index beyond the last channel means the last one.
///
/// **Shapes** `x` [N, C, H, W], `index` [N, 1, 1, 1] (a whole number from 0) -> [N, 1, 1, 1].
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when there is not one index for each picture,
/// [`Error::NoGradient`](crate::Error::NoGradient) for the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    c: u32,
    area: u32,
    index_offset: u32,
    index_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: u32,
}

shader!("pick", Params);

fn params(x: View, index: View, y: View) -> Params {
    let [n, c, h, w] = x.shape.0;
    Params {
        vectors: x.vectors() as u32,
        groups: x.shape.groups() as u32,
        n: n as u32,
        c: c as u32,
        area: (h * w) as u32,
        index_offset: index.offset,
        index_stride: index.stride,
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: 0,
    }
}

impl Op for Pick {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, index] = arguments(self.name(), inputs)?;
        same(self.name(), "index", Shape::per_picture(x.n()), index)?;
        Ok(index)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, index, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let bindings = [(1, x.buffer), (2, index.buffer), (4, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch_workgroups(kernel, &params(x, index, y), &bindings, x.shape.n(), x.shape.pixels());
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (index, g) = (pass.inputs[1], pass.grad_output);
        let bindings = [(2, index.buffer), (3, g.buffer), (4, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        let vectors = grad_x.vectors();
        recorder.launch(kernel, &params(grad_x, index, g), &bindings, vectors, 1, vectors * 4);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |x: [usize; 4]| {
        let x = Shape(x);
        Sample::new(Pick, [Domain::linear(x), Domain::Index(Shape::per_picture(x.n()), x.c())])
    };
    vec![sample([3, 10, 1, 1]), sample([2, 7, 9, 11])]
}
