//! Numbers that know how far a computation in f32 may be from them.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Half a unit in the last place of f32, relative: what one correctly rounded operation may be off by.
pub const U: f64 = 1.0 / 16_777_216.0;

/// Deviations that the rounding of a long sum may have from its mean: each element of a result keeps to it but for one in
/// 30 million.
const DEVIATIONS: f64 = 6.0;

/// A number in f64, and how far from it the same formula in f32 may be, whatever the order of its sums.
///
/// Bounds are of first order. How exact an operation is comes from the table of accuracy in the WGSL specification: sums,
/// differences and products are rounded correctly, others may be off by so many units in the last place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Number {
    /// The number.
    pub value: f64,
    /// How far from it a result in f32 may be.
    pub error: f64,
}

impl Number {
    /// Zero, exactly.
    pub const ZERO: Number = Number { value: 0.0, error: 0.0 };

    /// A number that an f32 holds.
    pub fn exact(value: impl Into<f64>) -> Number {
        Number { value: value.into(), error: 0.0 }
    }

    /// A number that f32 holds only rounded.
    pub fn rounded(value: f64) -> Number {
        Number { value, error: U * value.abs() }
    }

    /// A value with so many more half units of relative error, and what its arguments bring along.
    fn computed(value: f64, inherited: f64, half_units: f64) -> Number {
        Number { value, error: inherited + half_units * U * (value.abs() + inherited) }
    }

    /// The root. It inherits from 1 / inverseSqrt(x): 4.5 units.
    pub fn sqrt(self) -> Number {
        let root = self.value.max(0.0).sqrt();
        let (low, high) = ((self.value - self.error).max(0.0).sqrt(), (self.value + self.error).max(0.0).sqrt());
        Number::computed(root, (root - low).max(high - root), 9.0)
    }

    /// e to this power: 3 + 2·|x| units.
    pub fn exp(self) -> Number {
        let power = self.value.exp();
        Number::computed(power, power * self.error.exp_m1(), 6.0 + 4.0 * self.value.abs())
    }

    /// The natural logarithm: 2^-21 between 0.5 and 2, else 3 units.
    pub fn ln(self) -> Number {
        let logarithm = self.value.ln();
        let inherited = self.error / (self.value - self.error).max(f64::MIN_POSITIVE);
        let own = if (0.5..=2.0).contains(&self.value) { 2f64.powi(-21) } else { 6.0 * U * logarithm.abs() };
        Number { value: logarithm, error: inherited + own }
    }

    /// The sine, between -pi and pi: 2^-11.
    pub fn sin(self) -> Number {
        Number { value: self.value.sin(), error: self.error + 2f64.powi(-11) }
    }

    /// The cosine, between -pi and pi: 2^-11.
    pub fn cos(self) -> Number {
        Number { value: self.value.cos(), error: self.error + 2f64.powi(-11) }
    }

    /// The size of it.
    pub fn abs(self) -> Number {
        Number { value: self.value.abs(), ..self }
    }

    /// max(., 0).
    pub fn rectified(self) -> Number {
        Number { value: self.value.max(0.0), ..self }
    }

    /// The nearest number between two that f32 holds.
    pub fn clamp(self, low: f64, high: f64) -> Number {
        Number { value: self.value.clamp(low, high), ..self }
    }

    /// How much of the bound a number in f32 takes: above 1 it is broken. What is not finite breaks it, and so does any
    /// difference from a number that has no error.
    pub fn share(self, found: f32) -> f64 {
        let off = (f64::from(found) - self.value).abs();
        if off == 0.0 {
            return 0.0;
        }
        if self.error == 0.0 && off.is_finite() {
            return f64::MAX;
        }
        // Numbers below the smallest normal one may be taken for zero.
        let share = off / (self.error + f64::from(f32::MIN_POSITIVE));
        if share.is_finite() { share } else { f64::INFINITY }
    }
}

impl Add for Number {
    type Output = Number;

    fn add(self, other: Number) -> Number {
        Number::computed(self.value + other.value, self.error + other.error, 1.0)
    }
}

impl Sub for Number {
    type Output = Number;

    fn sub(self, other: Number) -> Number {
        self + -other
    }
}

impl Neg for Number {
    type Output = Number;

    fn neg(self) -> Number {
        Number { value: -self.value, ..self }
    }
}

impl Mul for Number {
    type Output = Number;

    fn mul(self, other: Number) -> Number {
        let inherited = self.value.abs() * other.error + other.value.abs() * self.error + self.error * other.error;
        Number::computed(self.value * other.value, inherited, 1.0)
    }
}

impl Div for Number {
    type Output = Number;

    /// 2.5 units.
    fn div(self, other: Number) -> Number {
        let quotient = self.value / other.value;
        let least = (other.value.abs() - other.error).max(f64::MIN_POSITIVE);
        Number::computed(quotient, (self.error + quotient.abs() * other.error) / least, 5.0)
    }
}

/// A sum of any length in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    value: f64,
    /// Sizes of the summands, added up.
    size: f64,
    error: f64,
    count: f64,
}

impl Sum {
    /// Adds a number.
    pub fn add(&mut self, term: Number) {
        self.value += term.value;
        self.size += term.value.abs();
        self.error += term.error;
        self.count += 1.0;
    }

    /// Adds the product of two numbers that f32 holds.
    pub fn add_product(&mut self, a: f64, b: f64) {
        // Exact: f64 holds twice the digits.
        let product = a * b;
        self.value += product;
        self.size += product.abs();
        self.count += 1.0;
    }

    /// Adds a multiple of a number by one that f32 holds. The product's rounding is one of those of [`Sum::total`].
    pub fn add_multiple(&mut self, a: Number, b: f64) {
        self.add_product(a.value, b);
        self.error += a.error * b.abs();
    }

    /// The sum. Each summand goes through at most as many roundings as there are, and its own if it is a product; in long sums
    /// they cancel, as their root grows.
    ///
    /// **Reference** Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 3.1.
    pub fn total(&self) -> Number {
        let depth = self.count + 1.0;
        let roundings = depth.min(DEVIATIONS * depth.sqrt());
        Number { value: self.value, error: self.error + roundings * U * self.size }
    }
}

/// The sum of numbers.
pub fn sum(terms: impl IntoIterator<Item = Number>) -> Number {
    let mut sum = Sum::default();
    terms.into_iter().for_each(|term| sum.add(term));
    sum.total()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_for_arithmetic_in_f32_and_are_not_wide() {
        let (a, b) = (1.1f32, 0.7f32);
        let [x, y] = [a, b].map(Number::exact);
        for (number, found) in [
            (x + y, a + b),
            (x - y, a - b),
            (x * y, a * b),
            (x / y, a / b),
            (x.sqrt(), a.sqrt()),
            (x.exp(), a.exp()),
            (y.ln(), b.ln()),
            ((x - y) * x / y, (a - b) * a / b),
        ] {
            assert!(number.share(found) <= 1.0, "{number:?} {found}");
            assert!(number.share(found * 1.0001) > 1.0, "{number:?}");
        }
    }

    #[test]
    fn a_summand_that_is_missing_breaks_the_bound() {
        let terms: Vec<f32> = (0..5000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6 - 1.0).collect();
        let all = sum(terms.iter().map(|&term| Number::exact(term)));
        let forwards: f32 = terms.iter().sum();
        let backwards: f32 = terms.iter().rev().sum();
        assert!(all.share(forwards) < 1.0 && all.share(backwards) < 1.0, "{all:?}");
        let missing: f32 = terms.iter().skip(1).sum();
        assert!(all.share(missing) > 1.0, "{all:?} {missing}");
    }

    #[test]
    fn what_is_not_finite_breaks_every_bound() {
        for found in [f32::NAN, f32::INFINITY] {
            assert_eq!(Number { value: 1.0, error: 1e30 }.share(found), f64::INFINITY);
        }
        assert_eq!(Number::exact(0.0).share(-0.0), 0.0);
        // Bits of whole numbers are tiny numbers.
        assert!(Number::exact(f32::from_bits(4)).share(f32::from_bits(5)) > 1.0);
    }
}
