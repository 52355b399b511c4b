//! What stands between the numbers that are optimised and the picture: a basis, a colour space, a range of values.
//!
//! This file does not know networks: it puts operations on a tape, and goes the other way on the host, in f64.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, within};
use super::spectrum;
use crate::Result;
use crate::ops::{Activation, Conv2d, Irfft2, Window};
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Layout, Shape};

/// How numbers that are optimised make a picture: values in a basis become colours, and these become pixel values.
///
/// By default they are the pixel values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parametrisation {
    /// What the numbers are amplitudes of.
    #[serde(default)]
    pub basis: Basis,
    /// For the Fourier basis: a frequency of f cycles along the longer side is multiplied by 1 / f^`decay`; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// What the three channels of the basis are.
    #[serde(default)]
    pub colour: Colour,
    /// How values become pixel values.
    #[serde(default)]
    pub range: Range,
}

/// What optimised numbers are amplitudes of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Pixels.
    #[default]
    Pixels,
    /// Waves across the picture, as [`Irfft2`] takes them.
    Fourier,
}

/// What the three channels of a basis are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// Colours that do not vary together in photographs: mostly light and dark, then two contrasts.
    Decorrelated,
}

/// How values become pixel values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// They are the pixel values.
    #[default]
    Free,
    /// They are brought into 0..1; beyond it they have no gradient.
    Clamp,
    /// 1 / (1 + exp(−value)): always within 0..1.
    Sigmoid,
}

/// The root of the covariance of the colours of ImageNet's photographs: one row for each of red, green and blue.
///
/// **Reference** Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017, whose columns are here divided by the length
/// of the longest.
const DECORRELATED: [[f64; 3]; 3] = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]];

/// How near to 0 and 1 a pixel value of a given picture is taken for the sigmoid, which does not reach them.
const NEAREST: f64 = 0.01;

/// Largest absolute exponent of a frequency.
const MAX_DECAY: f64 = 4.0;

impl Parametrisation {
    /// Whether the numbers are the pixel values.
    pub fn is_plain(&self) -> bool {
        *self == Parametrisation::default()
    }

    /// Whether the numbers lie as pixels do, so that they can be resized and blurred as pictures are.
    pub fn is_of_pixels(&self) -> bool {
        self.basis == Basis::Pixels
    }

    /// The first value that is not allowed.
    pub(super) fn check(&self) -> std::result::Result<(), Fault> {
        match (self.basis, self.decay) {
            (Basis::Pixels, Some(_)) => Err(Fault::new("parametrisation.decay", "needs basis = \"fourier\"")),
            (Basis::Fourier, Some(decay)) => within("parametrisation.decay", decay, -MAX_DECAY, MAX_DECAY),
            (_, None) => Ok(()),
        }
    }

    fn decay(&self) -> f64 {
        self.decay.unwrap_or(1.0)
    }

    /// Shape of the numbers that make pictures of this shape.
    pub fn parameters(&self, pictures: Shape) -> Shape {
        match self.basis {
            Basis::Pixels => pictures,
            Basis::Fourier => Irfft2::spectrum_shape(pictures),
        }
    }

    /// Puts what makes pictures of a width from their numbers on a tape.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the numbers are not of pictures of this width.
    pub fn record(&self, tape: &mut Tape, parameters: Var, width: usize) -> Result<Var> {
        let mut x = parameters;
        if !self.is_plain() {
            tape.layer("parametrisation");
        }
        if self.basis == Basis::Fourier {
            x = tape.apply(Irfft2 { width, decay: self.decay() }, &[x])?;
        }
        if self.colour == Colour::Decorrelated {
            let rows = matrix().as_flattened().iter().map(|&entry| entry as f32).collect();
            let matrix = tape.constant_as(&Array::new(Shape::new(3, 3, 1, 1), rows), Layout::Filter);
            x = tape.apply(Conv2d::of(Window::plain([1; 2], [0; 2])), &[x, matrix])?;
        }
        Ok(match self.range {
            Range::Free => x,
            Range::Clamp => tape.apply(Activation::Clip { low: 0.0, high: 1.0 }, &[x])?,
            Range::Sigmoid => tape.apply(Activation::Sigmoid, &[x])?,
        })
    }

    /// The numbers that make these pictures. With a sigmoid, pixel values below 0.01 and above 0.99 become these.
    ///
    /// **Shapes** [N, 3, H, W] -> [`Parametrisation::parameters`] of it.
    pub fn encode(&self, pictures: &Array) -> Array {
        if self.is_plain() {
            return pictures.clone();
        }
        let [n, _, h, w] = pictures.shape.0;
        let before_range = |value: f32| match self.range {
            Range::Free | Range::Clamp => f64::from(value),
            Range::Sigmoid => {
                let value = f64::from(value).clamp(NEAREST, 1.0 - NEAREST);
                (value / (1.0 - value)).ln()
            }
        };
        let mut values: Vec<f64> = pictures.values.iter().map(|&value| before_range(value)).collect();
        if self.colour == Colour::Decorrelated {
            let back = inverse(matrix());
            for picture in values.chunks_exact_mut(3 * h * w) {
                for pixel in 0..h * w {
                    let rgb = [0, 1, 2].map(|c| picture[c * h * w + pixel]);
                    for (c, row) in back.iter().enumerate() {
                        picture[c * h * w + pixel] = row.iter().zip(rgb).map(|(a, b)| a * b).sum();
                    }
                }
            }
        }
        if self.basis == Basis::Fourier {
            let planes = values.chunks_exact(h * w);
            let scales = Irfft2::scales(self.decay(), [h, w]);
            values = planes.flat_map(|plane| spectrum::of_plane(plane, [h, w], &scales)).collect();
        }
        let shape = self.parameters(Shape::new(n, 3, h, w));
        Array::new(shape, values.into_iter().map(|value| value as f32).collect())
    }

    /// The numbers of the same waves for pictures of another height and width. What is too fast for these is left out.
    pub(super) fn carry(&self, waves: &Array, from: [usize; 2], to: [usize; 2]) -> Array {
        let scales = [from, to].map(|extent| Irfft2::scales(self.decay(), extent));
        let [n, c, ..] = waves.shape.0;
        let planes = waves.values.chunks_exact(waves.shape.h() * waves.shape.w());
        let carried = planes.flat_map(|plane| spectrum::carried(plane, [from, to], &scales));
        let shape = self.parameters(Shape::new(n, c, to[0], to[1]));
        Array::new(shape, carried.collect())
    }
}

/// The matrix from decorrelated colours to red, green and blue.
fn matrix() -> [[f64; 3]; 3] {
    let length = |c: usize| DECORRELATED.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
    let longest = (0..3).map(length).fold(0.0, f64::max);
    DECORRELATED.map(|row| row.map(|entry| entry / longest))
}

/// The inverse of a matrix that has one.
fn inverse(m: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    // Indices taken in turn make the signs of the cofactors come out by themselves.
    let cofactor = |i: usize, j: usize| {
        let at = |di: usize, dj: usize| m[(i + di) % 3][(j + dj) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_of_the_colour_matrix_undoes_it() {
        let (m, back) = (matrix(), inverse(matrix()));
        for (i, j) in (0..9).map(|k| (k / 3, k % 3)) {
            let product: f64 = (0..3).map(|k| m[i][k] * back[k][j]).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "{i} {j}: {product}");
        }
    }

    #[test]
    fn pixels_are_their_own_numbers() {
        let picture = Array::new(Shape::new(1, 3, 1, 2), vec![-1.0, 0.0, 0.5, 1.0, 2.0, f32::NAN]);
        let same = Parametrisation::default().encode(&picture);
        let bits = |array: &Array| array.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&same), bits(&picture));
    }
}
