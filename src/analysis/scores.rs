//! Numbers taken from pixels and logits.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::spectrum::{Spectrum, luminance, spectrum};
use crate::tensor::{Array, Shape};

/// What pixels alone tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixels {
    /// How power is shared between coarse and fine structure.
    pub spectrum: Spectrum,
    /// Mean absolute difference between pixels side by side or one above the other, over channels.
    pub variation: f64,
    /// Share of channel values at 0 or 1.
    pub saturation: f64,
    /// Mean distance from grey, √(Cb² + Cr²) of BT.601 with pixel values 0 to 1.
    pub chroma: f64,
}

/// The picture as an 8-bit file holds it: clamped to 0..1, rounded to the nearest of 256.
pub fn eight_bit(picture: &Array) -> Array {
    let values = picture.values.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() / 255.0).collect();
    Array::new(picture.shape, values)
}

/// Scores of the pixels of the first picture of an array.
///
/// **Shapes** [N, 3, H, W].
pub fn pixels(picture: &Array) -> Pixels {
    let [_, c, h, w] = picture.shape.0;
    let values = &picture.values[..c * h * w];
    let (mut sum, mut pairs) = (0.0, 0usize);
    let mut pair = |a: f32, b: f32| {
        sum += f64::from((a - b).abs());
        pairs += 1;
    };
    for (at, &value) in values.iter().enumerate() {
        if at % w + 1 < w {
            pair(value, values[at + 1]);
        }
        if at / w % h + 1 < h {
            pair(value, values[at + w]);
        }
    }
    let saturated = values.iter().filter(|value| **value <= 0.0 || **value >= 1.0).count();
    let luminance = luminance(picture);
    let chroma = |at: usize| {
        let (red, blue) = (f64::from(values[at]), f64::from(values[2 * h * w + at]));
        ((blue - luminance[at]) / 1.772).hypot((red - luminance[at]) / 1.402)
    };
    Pixels {
        spectrum: spectrum(picture),
        variation: sum / pairs.max(1) as f64,
        saturation: saturated as f64 / values.len() as f64,
        chroma: (0..h * w).map(chroma).sum::<f64>() / (h * w) as f64,
    }
}

/// White noise to compare with: every channel value of 256 is as likely. Seeded, [1, 3, h, w].
pub fn noise(seed: u64, h: usize, w: usize) -> Array {
    let mut numbers = ChaCha8Rng::seed_from_u64(seed);
    let values = (0..3 * h * w).map(|_| (numbers.next_u32() >> 24) as f32 / 255.0).collect();
    Array::new(Shape::new(1, 3, h, w), values)
}

/// exp(x) over the sum of exp(x), without overflow.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&x| f64::from(x - top).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_picture_varies_nowhere() {
        let found = pixels(&Array::filled(Shape::new(1, 3, 9, 7), 0.5));
        assert_eq!((found.variation, found.saturation), (0.0, 0.0));
        assert!(found.chroma < 1e-7, "{found:?}");
    }

    #[test]
    fn a_checkerboard_varies_everywhere_and_is_fine() {
        let (h, w) = (24, 32);
        let board: Vec<f32> = (0..h * w).map(|at| ((at % w + at / w) % 2) as f32).collect();
        let found = pixels(&Array::new(Shape::new(1, 3, h, w), board.repeat(3)));
        assert_eq!((found.variation, found.saturation), (1.0, 1.0));
        assert!(found.spectrum.fine > 0.999 && found.chroma < 1e-7, "{found:?}");
    }

    #[test]
    fn channels_do_not_meet_and_pure_blue_is_half_from_grey() {
        let (shape, plane) = (Shape::new(1, 3, 4, 4), [0.0; 16]);
        let found = pixels(&Array::new(shape, [plane, plane, [1.0; 16]].concat()));
        assert_eq!((found.variation, found.saturation), (0.0, 1.0));
        assert!((found.chroma - 0.5f64.hypot(0.114 / 1.402)).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn eight_bits_clamp_and_round() {
        let picture = Array::new(Shape::new(1, 1, 1, 4), vec![-0.2, 0.501, 1.7, 0.2]);
        assert_eq!(eight_bit(&picture).values, [0.0, 128.0 / 255.0, 1.0, 51.0 / 255.0]);
    }
}
