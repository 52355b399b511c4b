//! Sums, differences, products and quotients of two values, one of which may be the same all along some sides.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// y = a + b, a − b, a · b or a / b. An argument of size 1 along a side is the same all along it.
///
/// The sum of two values of one shape is [`Add`](super::Add), which convolutions take in.
///
/// **Shapes** `a`, `b` [N, C, H, W], where each size is that of the result or 1 -> [N, C, H, W]: for instance [N, C, 1, 1], as in
/// squeeze-and-excitation, [1, C, 1, 1] and [1, 1, 1, 1].
///
/// **Errors** [`Error::Shape`] when two sizes differ and neither is 1.
///
/// **Reference** torch's `add`, `sub`, `mul` and `div` with broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b.
    Plus,
    /// a − b.
    Minus,
    /// a · b.
    Times,
    /// a / b.
    Over,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    y: [u32; 4],
    a: [u32; 4],
    b: [u32; 4],
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    g_offset: u32,
    g_stride: u32,
    out_offset: u32,
    out_stride: u32,
}

shader!("binary", Params);

/// Sizes in the order of the kernel: pictures, height, width, channels.
fn sizes(Shape([n, c, h, w]): Shape) -> [u32; 4] {
    [n, h, w, c].map(|size| size as u32)
}

impl Binary {
    fn kernel(self, entry: &'static str) -> Kernel {
        Kernel::new(&SHADER, entry).with("OPERATOR", self as u32)
    }

    /// For the gradient `out` of one of the arguments, or without one of the result `y` itself.
    fn params(a: View, b: View, y: View, out: View) -> Params {
        Params {
            y: sizes(y.shape),
            a: sizes(a.shape),
            b: sizes(b.shape),
            a_offset: a.offset,
            a_stride: a.stride,
            b_offset: b.offset,
            b_stride: b.stride,
            g_offset: y.offset,
            g_stride: y.stride,
            out_offset: out.offset,
            out_stride: out.stride,
        }
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [a, b] = arguments(self.name(), inputs)?;
        let mut y = a;
        for (size, other) in y.0.iter_mut().zip(b.0) {
            if *size != other && *size != 1 && other != 1 {
                return Err(Error::shape(self.name(), "second argument", format!("{a}, or 1 along a side"), b));
            }
            *size = if *size == 1 { other } else { *size };
        }
        Ok(y)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (a, b, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let bindings = [(1, a.buffer), (2, b.buffer), (4, y.buffer)];
        let params = Binary::params(a, b, y, y);
        recorder.launch(self.kernel("forward"), &params, &bindings, y.vectors(), 1, y.vectors() * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (a, b, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        for (own, grad) in pass.grads.iter().enumerate() {
            let Some(grad) = *grad else { continue };
            let params = Binary::params(a, b, g, grad);
            let bindings = [(1, a.buffer), (2, b.buffer), (3, g.buffer), (4, grad.buffer)];
            let flops = g.vectors() * 8;
            if grad.shape == g.shape {
                let kernel = self.kernel("grad").with("SECOND", own == 1);
                recorder.launch(kernel, &params, &bindings, grad.vectors(), 1, flops);
            } else {
                let kernel = self.kernel("grad_sum").with("SECOND", own == 1);
                recorder.launch_workgroups(kernel, &params, &bindings, grad.vectors(), flops);
            }
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let shapes = [
        ([2, 3, 7, 5], [2, 3, 7, 5]),
        // Squeeze and excitation, a vector over channels, a number for each picture, one number.
        ([2, 6, 9, 8], [2, 6, 1, 1]),
        ([2, 5, 7, 6], [1, 5, 1, 1]),
        ([1, 1, 1, 1], [2, 3, 7, 5]),
        // A map of attention, and one argument that is the larger here and the smaller there.
        ([2, 9, 4, 5], [2, 1, 4, 5]),
        ([2, 3, 1, 6], [1, 3, 9, 1]),
    ];
    let all = [Binary::Plus, Binary::Minus, Binary::Times, Binary::Over];
    let sample = |op: Binary, (a, b): ([usize; 4], [usize; 4])| {
        let b = if op == Binary::Over { Domain::Divisor(Shape(b)) } else { Domain::linear(Shape(b)) };
        Sample::new(op, [Domain::linear(Shape(a)), b])
    };
    all.into_iter().flat_map(|op| shapes.map(|shapes| sample(op, shapes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_are_stretched_and_others_must_agree() {
        let shape = |a: [usize; 4], b: [usize; 4]| Binary::Times.output_shape(&[Shape(a), Shape(b)]);
        assert_eq!(shape([2, 1, 4, 1], [1, 3, 1, 5]).expect("they fit"), Shape::new(2, 3, 4, 5));
        let error = shape([2, 3, 4, 5], [2, 4, 1, 1]).expect_err("they do not").to_string();
        assert_eq!(error, "binary: second argument is [2, 4, 1, 1], expected [2, 3, 4, 5], or 1 along a side");
    }
}
