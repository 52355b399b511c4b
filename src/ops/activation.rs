//! Functions of single numbers, such as stand behind convolutions. [`Relu`](super::Relu) is an operation of its own.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// A function of each number, with torch's gradients where it has a kink.
///
/// **Shapes** `x` [N, C, H, W] -> the same.
///
/// **Errors** [`Error::Shape`] when the limits of a clip lie the wrong way round, or a number of the function is none.
///
/// **Reference** the functions of `torch.nn.functional` that are named with each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// min(max(x, low), high); the gradient at the limits is 0, as that of `hardtanh` and `relu6`. A limit may be infinite.
    Clip {
        /// The least result.
        low: f32,
        /// The largest result.
        high: f32,
    },
    /// x where it is positive, else slope · x: `leaky_relu`.
    LeakyRelu {
        /// Slope of what is not positive; the gradient at 0 too.
        slope: f32,
    },
    /// 1 / (1 + exp(−x)): `sigmoid`.
    Sigmoid,
    /// x / (1 + exp(−x)), also called swish: `silu`.
    Silu,
    /// min(max(x + 3, 0), 6) / 6: `hardsigmoid`; the gradient at −3 and 3 is 0.
    HardSigmoid,
    /// x · min(max(x + 3, 0), 6) / 6: `hardswish`; the gradient is 0 at −3 and 1 at 3.
    HardSwish,
    /// x · Φ(x), with the share Φ of a normal distribution: `gelu`.
    Gelu,
    /// x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2: `gelu` with `approximate="tanh"`.
    GeluTanh,
    /// The hyperbolic tangent: `tanh`.
    Tanh,
    /// x where it is positive, else alpha · (exp(x) − 1): `elu`.
    Elu {
        /// Minus the limit of results; the gradient at 0 too.
        alpha: f32,
    },
    /// log(1 + exp(beta · x)) / beta, and x itself where beta · x is above the threshold: `softplus`.
    Softplus {
        /// How sharp the bend is; not 0.
        beta: f32,
        /// Where the function is replaced by x; torch's is 20.
        threshold: f32,
    },
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    channels: u32,
    a: f32,
    b: f32,
    v_offset: u32,
    v_stride: u32,
    g_offset: u32,
    g_stride: u32,
    out_offset: u32,
    out_stride: u32,
    pad: u32,
}

shader!("activation", Params);

impl Activation {
    /// The number of the function in `shaders/shared/activation.wgsl`.
    pub(super) fn number(&self) -> u32 {
        match self {
            Activation::Clip { .. } => 1,
            Activation::LeakyRelu { .. } => 2,
            Activation::Sigmoid => 3,
            Activation::Silu => 4,
            Activation::HardSigmoid => 5,
            Activation::HardSwish => 6,
            Activation::Gelu => 7,
            Activation::GeluTanh => 8,
            Activation::Tanh => 9,
            Activation::Elu { .. } => 10,
            Activation::Softplus { .. } => 11,
        }
    }

    /// Its own numbers, a and b there.
    pub(super) fn numbers(&self) -> [f32; 2] {
        match *self {
            Activation::Clip { low, high } => [low, high],
            Activation::LeakyRelu { slope } => [slope, 0.0],
            Activation::Elu { alpha } => [alpha, 0.0],
            Activation::Softplus { beta, threshold } => [beta, threshold],
            _ => [0.0; 2],
        }
    }

    /// Whether its slope can be told from its result, so that nobody need keep what it was taken of: the function must not
    /// take the same value twice where its slopes differ.
    pub(super) fn slope_is_in_result(&self) -> bool {
        match *self {
            Activation::Silu | Activation::HardSwish | Activation::Gelu | Activation::GeluTanh => false,
            Activation::LeakyRelu { slope } => slope >= 0.0,
            Activation::Elu { alpha } => alpha >= 0.0,
            // Beyond the threshold the slope jumps to 1; from here on less than f32 shows.
            Activation::Softplus { beta, threshold } => beta > 0.0 && threshold >= 18.0,
            _ => true,
        }
    }

    fn params(&self, value: View, g: View, out: View) -> Params {
        let [a, b] = self.numbers();
        Params {
            vectors: value.vectors() as u32,
            groups: value.shape.groups() as u32,
            channels: value.shape.c() as u32,
            a,
            b,
            v_offset: value.offset,
            v_stride: value.stride,
            g_offset: g.offset,
            g_stride: g.stride,
            out_offset: out.offset,
            out_stride: out.stride,
            pad: 0,
        }
    }

    fn kernel(&self, entry: &'static str) -> Kernel {
        Kernel::new(&SHADER, entry).with("ACTIVATION", self.number())
    }

    /// Appends grad_x = grad_y · f'(x), where f'(x) is told from y = f(x).
    pub(super) fn record_gradient_of_result(&self, recorder: &mut Recorder, y: View, g: View, grad_x: View) {
        let bindings = [(1, y.buffer), (2, g.buffer), (3, grad_x.buffer)];
        let params = self.params(y, g, grad_x);
        recorder.launch(self.kernel("grad_result"), &params, &bindings, y.vectors(), 1, y.vectors() * 16);
    }
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let [a, b] = self.numbers();
        let sense = match *self {
            Activation::Clip { low, high } => low <= high,
            Activation::Softplus { beta, threshold } => beta.is_finite() && beta != 0.0 && !threshold.is_nan(),
            _ => a.is_finite() && b.is_finite(),
        };
        if sense {
            Ok(x)
        } else {
            Err(Error::shape(self.name(), "function", "one with sensible numbers", format!("{self:?}")))
        }
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let bindings = [(1, x.buffer), (3, y.buffer)];
        recorder.launch(self.kernel("forward"), &self.params(x, x, y), &bindings, x.vectors(), 1, x.vectors() * 32);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, g) = (pass.inputs[0], pass.grad_output);
        let bindings = [(1, x.buffer), (2, g.buffer), (3, grad_x.buffer)];
        let params = self.params(x, g, grad_x);
        recorder.launch(self.kernel("grad_input"), &params, &bindings, x.vectors(), 1, x.vectors() * 32);
        Ok(())
    }
}

/// All functions, with numbers of their own.
const ALL: [Activation; 13] = [
    Activation::Clip { low: 0.0, high: 6.0 },
    Activation::Clip { low: -0.5, high: 0.75 },
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Sigmoid,
    Activation::Silu,
    Activation::HardSigmoid,
    Activation::HardSwish,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Tanh,
    Activation::Elu { alpha: 0.7 },
    Activation::Softplus { beta: 1.0, threshold: 20.0 },
    Activation::Softplus { beta: 2.5, threshold: 1.5 },
];

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    ALL.map(|function| Sample::new(function, [Domain::Apart(Shape::new(2, 3, 7, 5))])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_with_senseless_numbers_are_refused() {
        let x = [Shape::new(1, 2, 3, 4)];
        for function in ALL {
            assert_eq!(function.output_shape(&x).expect("it makes sense"), x[0]);
        }
        assert!(Activation::Clip { low: f32::NEG_INFINITY, high: 1.0 }.output_shape(&x).is_ok());
        for function in [
            Activation::Clip { low: 1.0, high: 0.0 },
            Activation::Clip { low: f32::NAN, high: 0.0 },
            Activation::LeakyRelu { slope: f32::NAN },
            Activation::Softplus { beta: 0.0, threshold: 20.0 },
        ] {
            let error = function.output_shape(&x).expect_err("it makes none").to_string();
            assert!(error.starts_with("activation: function is ") && error.contains("sensible numbers"), "{error}");
        }
    }
}
