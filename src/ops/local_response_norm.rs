//! Normalisation by the neighbouring channels.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// y[c] = x[c] / (k + alpha / size · sum of x[j]² over the channels c − before to c + after of the same pixel)^beta, with
/// size = before + 1 + after. Channels that are not there are zero.
///
/// **Shapes** `x` [N, C, H, W] -> the same.
///
/// **Errors** [`Error::Shape`] when k is not positive or alpha is negative: the divisor could be zero.
///
/// **Reference** Krizhevsky, Sutskever and Hinton 2012; `torch.nn.functional.local_response_norm`, whose window has
/// floor(size / 2) channels before and floor((size − 1) / 2) behind; ONNX's `LRN` has these the other way round, which
/// differs for even sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNorm {
    /// Channels of the window before its own.
    pub before: usize,
    /// Channels of the window behind its own.
    pub after: usize,
    /// Weight of the mean square.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Added to the mean square.
    pub k: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    groups: u32,
    channels: u32,
    before: u32,
    after: u32,
    scale: f32,
    beta: f32,
    k: f32,
    x_offset: u32,
    x_stride: u32,
    g_offset: u32,
    g_stride: u32,
    out_offset: u32,
    out_stride: u32,
    pad: [u32; 2],
}

shader!("local_response_norm", Params);

impl LocalResponseNorm {
    /// Channels of the window.
    pub fn size(&self) -> usize {
        self.before + 1 + self.after
    }

    fn params(&self, x: View, g: View, out: View) -> Params {
        Params {
            pixels: x.shape.pixels() as u32,
            groups: x.shape.groups() as u32,
            channels: x.shape.c() as u32,
            before: self.before as u32,
            after: self.after as u32,
            scale: self.alpha / self.size() as f32,
            beta: self.beta,
            k: self.k,
            x_offset: x.offset,
            x_stride: x.stride,
            g_offset: g.offset,
            g_stride: g.stride,
            out_offset: out.offset,
            out_stride: out.stride,
            pad: [0; 2],
        }
    }
}

/// More channels than a window ever has: its size is a number of the kernel.
const MOST: usize = 1 << 20;

impl Op for LocalResponseNorm {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let sense = self.k > 0.0 && self.k.is_finite() && self.alpha >= 0.0 && self.alpha.is_finite();
        if !sense || !self.beta.is_finite() || self.before > MOST || self.after > MOST {
            let expected = "k above 0, alpha from 0, and a small window";
            return Err(Error::shape(self.name(), "divisor", expected, format!("{self:?}")));
        }
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let (kernel, bindings) = (Kernel::new(&SHADER, "forward"), [(1, x.buffer), (3, y.buffer)]);
        let flops = x.vectors() * 8 * self.size();
        recorder.launch(kernel, &self.params(x, x, y), &bindings, x.vectors(), 1, flops);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, g) = (pass.inputs[0], pass.grad_output);
        let bindings = [(1, x.buffer), (2, g.buffer), (3, grad_x.buffer)];
        let flops = x.vectors() * 8 * self.size() * self.size();
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch(kernel, &self.params(x, g, grad_x), &bindings, x.vectors(), 1, flops);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |[before, after]: [usize; 2], [alpha, beta, k]: [f32; 3], c| {
        let op = LocalResponseNorm { before, after, alpha, beta, k };
        Sample::new(op, [Domain::Smooth(Shape::new(2, c, 3, 4))])
    };
    vec![
        sample([2, 2], [1e-4, 0.75, 1.0], 9),
        sample([2, 1], [2.0, 0.6, 0.5], 7),
        sample([0, 3], [1.5, 1.0, 2.0], 6),
        sample([4, 4], [3.0, 0.75, 1.0], 3),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_that_may_be_zero_are_refused() {
        let op = LocalResponseNorm { before: 2, after: 2, alpha: 1e-4, beta: 0.75, k: 1.0 };
        let x = [Shape::new(1, 2, 3, 4)];
        assert_eq!(op.output_shape(&x).expect("it makes sense"), x[0]);
        for op in [LocalResponseNorm { k: 0.0, ..op }, LocalResponseNorm { alpha: -1.0, ..op }] {
            let error = op.output_shape(&x).expect_err("it makes none").to_string();
            assert!(error.contains("k above 0"), "{error}");
        }
    }
}
