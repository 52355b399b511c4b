//! activation: functions of single numbers and their slopes, as functions of what they are taken of, and of their results where
//! these say enough.

use super::number::U;
use super::{Formula, Number, Values, exact};
use crate::ops::Activation;
use crate::tensor::Array;

const ONE: Number = Number { value: 1.0, error: 0.0 };
const HALF: Number = Number { value: 0.5, error: 0.0 };

/// 1 - e^z for z up to 0. Near 0 it is a series of eight terms.
fn one_minus_power(z: Number) -> Number {
    let value = -z.value.exp_m1();
    if z.value < -0.5 {
        return Number { value, ..ONE - z.exp() };
    }
    Number { value, error: z.error + 24.0 * U * value.abs() }
}

/// log(1 + t) for t from 0 to 1, a series of eight terms.
fn log_one_plus(t: Number) -> Number {
    let value = t.value.ln_1p();
    Number { value, error: t.error + 24.0 * U * value }
}

fn sigmoid(x: Number) -> Number {
    let e = (-x.abs()).exp();
    if x.value >= 0.0 { ONE / (ONE + e) } else { e * (ONE / (ONE + e)) }
}

fn tanh(x: Number) -> Number {
    let m = one_minus_power(-(x.abs() + x.abs()));
    let t = m / (Number::exact(2.0) - m);
    if x.value >= 0.0 { t } else { -t }
}

/// The complement of the error function, for z from 0.
///
/// **Reference** Abramowitz and Stegun, 7.1.5 and 7.1.14.
fn erfc(z: f64) -> f64 {
    if z < 2.5 {
        let terms = (0..80).scan(z, |power, n| {
            let term = *power / (2 * n + 1) as f64;
            *power *= -z * z / (n + 1) as f64;
            Some(term)
        });
        return 1.0 - 2.0 / std::f64::consts::PI.sqrt() * terms.sum::<f64>();
    }
    let fraction = (1..100).rev().fold(z, |below, k| z + k as f64 / 2.0 / below);
    (-z * z).exp() / (fraction * std::f64::consts::PI.sqrt())
}

/// The density of a normal distribution.
fn density(x: Number) -> Number {
    let root = Number::rounded(1.0 / (2.0 * std::f64::consts::PI).sqrt());
    root * (-(HALF * x * x)).exp()
}

/// The share of a normal distribution below x. Its tail is a power times a polynomial.
fn normal_share(x: Number) -> Number {
    let value = 0.5 * erfc(x.value.abs() / std::f64::consts::SQRT_2);
    let rounding = (40.0 + 4.0 * x.value * x.value) * U * value;
    let tail = Number { value, error: rounding + density(x).value * x.error };
    if x.value < 0.0 { tail } else { ONE - tail }
}

fn twice_gelu_argument(x: Number) -> Number {
    let factor = Number::rounded(2.0 * (2.0 / std::f64::consts::PI).sqrt());
    factor * x * (ONE + Number::rounded(0.044715) * x * x)
}

/// `below` where x is at most a kink, else `above`; where it cannot be told, as far off as the two are.
fn either_side(x: Number, kink: f64, [below, above]: [Number; 2]) -> Number {
    let taken = if x.value <= kink { below } else { above };
    let unclear = x.error > 0.0 && (x.value - kink).abs() <= x.error;
    Number { error: taken.error + if unclear { (above.value - below.value).abs() } else { 0.0 }, ..taken }
}

/// 0 at and outside of the limits, else `inside`.
fn within(x: Number, [low, high]: [f64; 2], inside: Number) -> Number {
    let taken = either_side(x, low, [Number::ZERO, inside]);
    let beyond = either_side(-x, -high, [Number::ZERO, taken]);
    Number { error: beyond.error.max(taken.error), ..beyond }
}

impl Activation {
    fn a(&self) -> [f64; 2] {
        match *self {
            Activation::Clip { low, high } => [low, high].map(f64::from),
            Activation::LeakyRelu { slope } => [slope.into(), 0.0],
            Activation::Elu { alpha } => [alpha.into(), 0.0],
            Activation::Softplus { beta, threshold } => [beta, threshold].map(f64::from),
            _ => [0.0; 2],
        }
    }

    /// The function.
    pub(super) fn of(&self, x: Number) -> Number {
        let [a, b] = self.a();
        let hard = |x: Number| (x + Number::exact(3.0)).clamp(0.0, 6.0);
        match self {
            Activation::Clip { .. } => x.clamp(a, b),
            Activation::LeakyRelu { .. } => {
                if x.value > 0.0 {
                    x
                } else {
                    x * Number::exact(a)
                }
            }
            Activation::Sigmoid => sigmoid(x),
            Activation::Silu => x * sigmoid(x),
            Activation::HardSigmoid => hard(x) / Number::exact(6.0),
            Activation::HardSwish => x * hard(x) / Number::exact(6.0),
            Activation::Gelu => x * normal_share(x),
            Activation::GeluTanh => x * sigmoid(twice_gelu_argument(x)),
            Activation::Tanh => tanh(x),
            Activation::Elu { .. } if x.value > 0.0 => x,
            Activation::Elu { .. } => -(Number::exact(a) * one_minus_power(x)),
            Activation::Softplus { .. } => {
                let z = x * Number::exact(a);
                if z.value > b { x } else { (z.rectified() + log_one_plus((-z.abs()).exp())) / Number::exact(a) }
            }
        }
    }

    /// Its slope at x.
    pub(super) fn slope(&self, x: Number) -> Number {
        let [a, b] = self.a();
        match self {
            Activation::Clip { .. } => within(x, [a, b], ONE),
            Activation::LeakyRelu { .. } => either_side(x, 0.0, [Number::exact(a), ONE]),
            Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
            Activation::Silu => sigmoid(x) * (ONE + x * sigmoid(-x)),
            Activation::HardSigmoid => within(x, [-3.0, 3.0], Number::rounded(1.0 / 6.0)),
            Activation::HardSwish if x.value >= 3.0 => ONE,
            Activation::HardSwish => within(x, [-3.0, f64::INFINITY], x / Number::exact(3.0) + HALF),
            Activation::Gelu => normal_share(x) + x * density(x),
            Activation::GeluTanh => {
                let u = twice_gelu_argument(x);
                let factor = Number::rounded(2.0 * (2.0 / std::f64::consts::PI).sqrt());
                let inner = factor * (ONE + Number::rounded(0.134145) * x * x);
                sigmoid(u) * (ONE + x * sigmoid(-u) * inner)
            }
            Activation::Tanh => {
                let e = (-(x.abs() + x.abs())).exp();
                Number::exact(4.0) * e / ((ONE + e) * (ONE + e))
            }
            Activation::Elu { .. } if x.value > 0.0 => ONE,
            Activation::Elu { .. } => Number::exact(a) * x.exp(),
            Activation::Softplus { .. } => {
                let z = x * Number::exact(a);
                if z.value > b { ONE } else { sigmoid(z) }
            }
        }
    }

    /// Its slope where the result is y.
    ///
    /// # Panics
    /// For functions whose results do not say it.
    pub(super) fn slope_of_result(&self, y: Number) -> Number {
        let [a, b] = self.a();
        match self {
            Activation::Clip { .. } => within(y, [a, b], ONE),
            Activation::LeakyRelu { .. } => either_side(y, 0.0, [Number::exact(a), ONE]),
            Activation::Sigmoid => y * (ONE - y),
            Activation::HardSigmoid => within(y, [0.0, 1.0], Number::rounded(1.0 / 6.0)),
            Activation::Tanh => (ONE - y) * (ONE + y),
            Activation::Elu { .. } => either_side(y, 0.0, [y + Number::exact(a), ONE]),
            Activation::Softplus { .. } => one_minus_power(-(Number::exact(a) * y)),
            other => unreachable!("a result of {other:?} does not say its slope"),
        }
    }
}

impl Formula for Activation {
    fn result(&self, inputs: &[Array]) -> Values {
        Values::fill(inputs[0].shape, |i| self.of(exact(&inputs[0], i)))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(Values::fill(g.shape, |i| exact(g, i) * self.slope(exact(&inputs[0], i))))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_the_error_function_agree() {
        // Abramowitz and Stegun, table 7.1, and 7.1.14's first terms.
        assert!((erfc(0.5) - 0.479_500_122_186_953).abs() < 1e-14);
        assert!((erfc(1.0) - 0.157_299_207_050_285).abs() < 1e-14);
        assert!((erfc(2.5 - 1e-12) / erfc(2.5) - 1.0).abs() < 1e-9);
        assert!((erfc(4.0) / 1.541_725_790_028_002e-8 - 1.0).abs() < 1e-12);
    }
}
