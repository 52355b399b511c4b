//! Blur of a picture.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Separable blur with the same taps in both directions, reflecting at the border without repeating the edge pixel.
///
/// The taps are an argument, so that sigma can change from step to step: exp(-½ (p/sigma)²) at p = -(K-1)/2 .. (K-1)/2,
/// divided by their sum. They have no gradient.
///
/// **Shapes** `x` [N, C, H, W], `taps` [1, K, 1, 1] -> as `x`.
///
/// **Errors** [`Error::Shape`] when K is even or the taps are not K, [`Error::TooSmall`] when a side of `x` is not longer
/// than K/2, [`Error::NoGradient`] for the taps.
///
/// **Reference** `torchvision.transforms.functional.gaussian_blur`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaussianBlur {
    /// Taps K, odd.
    pub kernel: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    length: u32,
    step: u32,
    kernel: u32,
    taps_offset: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("gaussian_blur", Params);

#[derive(Clone, Copy)]
enum Axis {
    Rows,
    Columns,
}

impl GaussianBlur {
    /// Appends the blur of a picture off the tape; `y` may be `x`.
    pub fn record(&self, recorder: &mut Recorder, x: View, taps: View, y: View) {
        self.both_axes(recorder, "forward", x, taps, y);
    }

    fn both_axes(&self, recorder: &mut Recorder, entry: &'static str, x: View, taps: View, y: View) {
        let between = View::transient(recorder, "blurred along rows", x.shape);
        self.one_axis(recorder, entry, Axis::Rows, x, taps, between);
        self.one_axis(recorder, entry, Axis::Columns, between, taps, y);
    }

    fn one_axis(&self, recorder: &mut Recorder, entry: &'static str, axis: Axis, x: View, taps: View, y: View) {
        let [_, _, h, w] = x.shape.0;
        let (length, step) = match axis {
            Axis::Rows => (w, 1),
            Axis::Columns => (h, w),
        };
        let params = Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            length: length as u32,
            step: step as u32,
            kernel: self.kernel as u32,
            taps_offset: taps.offset,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: [0; 2],
        };
        let bindings = [(1, x.buffer), (2, taps.buffer), (3, y.buffer)];
        let flops = x.vectors() * 4 * 2 * self.kernel;
        recorder.launch(Kernel::new(&SHADER, entry), &params, &bindings, x.vectors(), 1, flops);
    }
}

impl Op for GaussianBlur {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, taps] = arguments(self.name(), inputs)?;
        if self.kernel.is_multiple_of(2) {
            return Err(Error::shape(self.name(), "kernel", "an odd number", self.kernel));
        }
        same(self.name(), "taps", Shape::channels(self.kernel), taps)?;
        if x.h().min(x.w()) <= self.kernel / 2 {
            let kernel = format!("{0}x{0}", self.kernel);
            return Err(Error::TooSmall { op: self.name().into(), input: x, kernel });
        }
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        self.both_axes(recorder, "forward", pass.inputs[0], pass.inputs[1], pass.output);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        self.both_axes(recorder, "grad_input", pass.grad_output, pass.inputs[1], grad_x);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |kernel, x: [usize; 4]| {
        let inputs = [Domain::linear(Shape(x)), Domain::Fixed(Shape::channels(kernel))];
        Sample::new(GaussianBlur { kernel }, inputs)
    };
    // The second one reflects at both ends of its rows at once.
    vec![sample(3, [2, 3, 7, 5]), sample(5, [1, 5, 4, 3]), sample(1, [1, 3, 1, 1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_must_be_longer_than_half_of_the_kernel() {
        let blur = GaussianBlur { kernel: 5 };
        let shape = |h, w| blur.output_shape(&[Shape::new(1, 3, h, w), Shape::channels(5)]);
        assert_eq!(shape(3, 3).unwrap(), Shape::new(1, 3, 3, 3));
        assert!(matches!(shape(2, 3), Err(Error::TooSmall { .. })));
        assert!(matches!(shape(3, 2), Err(Error::TooSmall { .. })));
    }
}
