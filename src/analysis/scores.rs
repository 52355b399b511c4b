//! Numbers taken from pixels and logits.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::spectrum::{Spectrum, luminance, spectrum};
use crate::tensor::{Array, Shape};

/// Side at which pictures are compared with each other.
pub const THUMBNAIL: usize = 16;

/// Products of deviations below this are rounding.
const EVEN: f64 = 1e-12;

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
    /// Standard deviation of the luminance, pixel values 0 to 1.
    pub contrast: f64,
    /// Correlation of the luminance with that of the picture mirrored left to right; NaN without contrast.
    pub symmetry: f64,
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
    let mirrored: Vec<f64> = luminance.chunks_exact(w).flat_map(|row| row.iter().rev().copied()).collect();
    Pixels {
        contrast: deviation(&luminance),
        symmetry: correlation(&luminance, &mirrored),
        spectrum: spectrum(picture),
        variation: sum / pairs.max(1) as f64,
        saturation: saturated as f64 / values.len() as f64,
        chroma: (0..h * w).map(chroma).sum::<f64>() / (h * w) as f64,
    }
}

/// Standard deviation of some numbers.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Pearson's correlation of as many numbers; NaN where some of them are all the same but for rounding.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    let scale = deviation(a) * deviation(b);
    if scale < EVEN { f64::NAN } else { products / a.len() as f64 / scale }
}

/// How alike pictures are: the mean correlation between two of them, seen as [`THUMBNAIL`] by [`THUMBNAIL`] pixels of red, green and
/// blue. 1 for pictures of one composition; four photographs of a class have about 0.1. NaN for fewer than two pictures.
///
/// **Shapes** each [N, 3, H, W], whose first picture is looked at; sizes may differ.
pub fn alikeness(pictures: &[&Array]) -> f64 {
    let seen: Vec<Vec<f64>> = pictures.iter().map(|picture| thumbnail(picture)).collect();
    let pairs = seen.iter().enumerate().flat_map(|(k, a)| seen[k + 1..].iter().map(move |b| correlation(a, b)));
    // A picture of one colour is like none.
    let (sum, count) =
        pairs.filter(|pair| !pair.is_nan()).fold((0.0, 0.0), |(sum, count), pair| (sum + pair, count + 1.0));
    sum / count
}

/// Means over the areas of a coarse grid, each channel less its own mean: two pictures are not alike for being of one colour.
fn thumbnail(picture: &Array) -> Vec<f64> {
    let [_, c, h, w] = picture.shape.0;
    let cells = |size: usize, cell: usize| cell * size / THUMBNAIL..((cell + 1) * size).div_ceil(THUMBNAIL);
    let plane = |plane: &[f32]| {
        let cell = |k: usize| {
            let (rows, columns) = (cells(h, k / THUMBNAIL), cells(w, k % THUMBNAIL));
            let count = (rows.len() * columns.len()) as f64;
            rows.flat_map(|y| columns.clone().map(move |x| f64::from(plane[y * w + x]))).sum::<f64>() / count
        };
        let cells: Vec<f64> = (0..THUMBNAIL * THUMBNAIL).map(cell).collect();
        let mean = cells.iter().sum::<f64>() / cells.len() as f64;
        cells.into_iter().map(move |value| value - mean).collect::<Vec<_>>()
    };
    picture.values[..c * h * w].chunks_exact(h * w).flat_map(plane).collect()
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
    fn contrast_and_symmetry_are_those_of_the_luminance() {
        let (h, w) = (12, 16);
        let halves: Vec<f32> = (0..h * w).map(|at| if at % w < w / 2 { 0.2 } else { 0.8 }).collect();
        let found = pixels(&Array::new(Shape::new(1, 3, h, w), halves.repeat(3)));
        assert!((found.contrast - 0.3).abs() < 1e-6 && (found.symmetry + 1.0).abs() < 1e-9, "{found:?}");
        let bands: Vec<f32> = (0..h * w).map(|at| if at / w < h / 2 { 0.2 } else { 0.8 }).collect();
        let found = pixels(&Array::new(Shape::new(1, 3, h, w), bands.repeat(3)));
        assert!((found.contrast - 0.3).abs() < 1e-6 && (found.symmetry - 1.0).abs() < 1e-9, "{found:?}");
        let flat = pixels(&Array::filled(Shape::new(1, 3, h, w), 0.5));
        assert!(flat.contrast < 1e-9 && flat.symmetry.is_nan(), "{flat:?}");
    }

    #[test]
    fn pictures_are_as_alike_as_their_compositions() {
        let [a, b] = [1, 2].map(|seed| noise(seed, 32, 64));
        // The same composition at half the size, and that darker, with less contrast and at the first size.
        let place = |k: usize| (k / 512) * 2048 + (k / 32 % 16) * 128 + (k % 32) * 2;
        let small: Vec<f32> = (0..3 * 512).map(|k| a.values[place(k)]).collect();
        let place = |k: usize| (k / 2048) * 512 + (k / 64 % 32) / 2 * 32 + (k % 64) / 2;
        let large = Array::new(a.shape, (0..3 * 2048).map(|k| small[place(k)] * 0.5).collect());
        let small = Array::new(Shape::new(1, 3, 16, 32), small);
        assert!((alikeness(&[&small, &large]) - 1.0).abs() < 1e-6);
        assert!(alikeness(&[&a, &b]).abs() < 0.15, "{}", alikeness(&[&a, &b]));
        let turned = Array::new(a.shape, a.values.iter().map(|value| 1.0 - value).collect());
        assert!((alikeness(&[&a, &turned]) + 1.0).abs() < 1e-6);
        let mixed = alikeness(&[&a, &a, &turned]);
        assert!((mixed + 1.0 / 3.0).abs() < 1e-6, "{mixed}");
        assert!(alikeness(&[&a]).is_nan() && alikeness(&[&a, &Array::filled(a.shape, 0.5)]).is_nan());
    }

    #[test]
    fn eight_bits_clamp_and_round() {
        let picture = Array::new(Shape::new(1, 1, 1, 4), vec![-0.2, 0.501, 1.7, 0.2]);
        assert_eq!(eight_bit(&picture).values, [0.0, 128.0 / 255.0, 1.0, 51.0 / 255.0]);
    }
}
