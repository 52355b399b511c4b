//! Cross entropy of logits against labels.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Minus the logarithm of the probability that the logits give to the label, for each picture.
///
/// A label beyond the last class means the last one.
///
/// **Shapes** `x` [N, C, 1, 1], `label` [N, 1, 1, 1] (a whole number from 0) -> [N, 1, 1, 1].
///
/// **Errors** [`Error::Shape`] when `x` has more than one pixel or there is not one label for each picture,
/// [`Error::NoGradient`] for the label.
///
/// **Reference** `torch.nn.functional.cross_entropy` with `reduction="none"`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Share of the probability that is wanted in equal parts for all classes, 0 to 1.
    pub smoothing: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    c: u32,
    groups: u32,
    smoothing: f32,
    label_offset: u32,
    label_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    gx_offset: u32,
    gx_stride: u32,
}

shader!("cross_entropy", Params);

impl CrossEntropy {
    fn params(&self, x: View, label: View, y: View) -> Params {
        Params {
            n: x.shape.n() as u32,
            c: x.shape.c() as u32,
            groups: x.shape.groups() as u32,
            smoothing: self.smoothing,
            label_offset: label.offset,
            label_stride: label.stride,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            ..Params::default()
        }
    }
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, label] = arguments(self.name(), inputs)?;
        if x.h() * x.w() != 1 {
            return Err(Error::shape(self.name(), "logits", "one pixel", x));
        }
        same(self.name(), "label", Shape::per_picture(x.n()), label)?;
        Ok(label)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, label, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let bindings = [(1, x.buffer), (2, label.buffer), (4, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch_workgroups(kernel, &self.params(x, label, y), &bindings, x.shape.n(), x.vectors() * 40);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, label, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        let params = Params { gx_offset: grad_x.offset, gx_stride: grad_x.stride, ..self.params(x, label, g) };
        let bindings = [(1, x.buffer), (2, label.buffer), (3, g.buffer), (4, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch_workgroups(kernel, &params, &bindings, x.shape.n(), x.vectors() * 80);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |smoothing, n, c| {
        let inputs = [Domain::Smooth(Shape::new(n, c, 1, 1)), Domain::Index(Shape::per_picture(n), c)];
        Sample::new(CrossEntropy { smoothing }, inputs)
    };
    vec![sample(0.0, 3, 10), sample(0.1, 2, 13), sample(0.0, 2, 300)]
}
