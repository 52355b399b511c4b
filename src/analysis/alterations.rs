//! Small changes after which a picture should still show the same.

use std::f64::consts::{PI, SQRT_2};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::tensor::{Array, Shape};

/// A change of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alteration {
    /// By columns and rows, in pixels.
    Shift(f64, f64),
    /// Magnified about the centre.
    Scale(f64),
    /// Left to right.
    Flip,
    /// In degrees about the centre.
    Turn(f64),
    /// Gaussian, sigma in pixels.
    Blur(f64),
    /// Normal noise of this deviation, with a seed.
    Noise(f32, u64),
    /// The cosine transform of blocks of 8 x 8 pixels rounded as JPEG does, with its table for brightness times a factor.
    Blocks(f64),
}

use Alteration::*;

/// The changes under which stability is measured.
pub const ALTERATIONS: [Alteration; 24] = [
    Shift(-8.0, -8.0),
    Shift(0.0, -8.0),
    Shift(8.0, -8.0),
    Shift(-8.0, 0.0),
    Shift(8.0, 0.0),
    Shift(-8.0, 8.0),
    Shift(0.0, 8.0),
    Shift(8.0, 8.0),
    Scale(0.85),
    Scale(0.9),
    Scale(0.95),
    Scale(1.05),
    Scale(1.1),
    Scale(1.15),
    Flip,
    Turn(-10.0),
    Turn(-5.0),
    Turn(5.0),
    Turn(10.0),
    Blur(1.0),
    Noise(0.02, 1),
    Noise(0.02, 2),
    Blocks(0.5),
    Blocks(1.0),
];

/// The first picture of an array, and behind it the same after each of [`ALTERATIONS`]. Beyond the edge lies the edge pixel.
///
/// **Shapes** [N, 3, H, W] -> [25, 3, H, W].
///
/// **Units and ranges** 0 to 1, and clamped to it.
pub fn altered(picture: &Array) -> Array {
    let [_, c, h, w] = picture.shape.0;
    let mut values = picture.picture(0).values;
    let original = values.clone();
    for alteration in ALTERATIONS {
        let changed = alteration.apply(&original, h, w);
        values.extend(changed.iter().map(|value| value.clamp(0.0, 1.0)));
    }
    Array::new(Shape::new(1 + ALTERATIONS.len(), c, h, w), values)
}

impl Alteration {
    fn apply(self, planes: &[f32], h: usize, w: usize) -> Vec<f32> {
        match self {
            Shift(x, y) => warp(planes, h, w, [1.0, 0.0, -x, 0.0, 1.0, -y]),
            Scale(by) => warp(planes, h, w, [1.0 / by, 0.0, 0.0, 0.0, 1.0 / by, 0.0]),
            Flip => warp(planes, h, w, [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            Turn(degrees) => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                warp(planes, h, w, [cos, -sin, 0.0, sin, cos, 0.0])
            }
            Blur(sigma) => blur(planes, h, w, sigma),
            Noise(deviation, seed) => {
                let noise = normal(seed, planes.len());
                planes.iter().zip(noise).map(|(value, noise)| value + deviation * noise).collect()
            }
            Blocks(factor) => blocks(planes, h, w, factor),
        }
    }
}

/// Seeded normal numbers.
pub(super) fn normal(seed: u64, count: usize) -> Vec<f32> {
    StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
}

/// The result is the picture bilinearly at a map of its position, as for [`crate::ops::Warp`].
fn warp(planes: &[f32], h: usize, w: usize, [a, b, c, d, e, f]: [f64; 6]) -> Vec<f32> {
    let (cx, cy) = ((w as f64 - 1.0) / 2.0, (h as f64 - 1.0) / 2.0);
    let mut changed = Vec::with_capacity(planes.len());
    for plane in planes.chunks_exact(h * w) {
        for at in 0..h * w {
            let (u, v) = ((at % w) as f64 - cx, (at / w) as f64 - cy);
            let x = (a * u + b * v + c + cx).clamp(0.0, w as f64 - 1.0);
            let y = (d * u + e * v + f + cy).clamp(0.0, h as f64 - 1.0);
            let (left, top) = (x as usize, y as usize);
            let (right, bottom) = ((left + 1).min(w - 1), (top + 1).min(h - 1));
            let (x, y) = ((x - left as f64) as f32, (y - top as f64) as f32);
            let row = |row: usize| plane[row * w + left] * (1.0 - x) + plane[row * w + right] * x;
            changed.push(row(top) * (1.0 - y) + row(bottom) * y);
        }
    }
    changed
}

fn blur(planes: &[f32], h: usize, w: usize, sigma: f64) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as isize;
    let weights: Vec<f64> = (-reach..=reach).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let along = |planes: &[f32], (dx, dy): (isize, isize)| -> Vec<f32> {
        let clamp = |at: usize, by: isize, size: usize| (at as isize + by).clamp(0, size as isize - 1) as usize;
        let pixel = |plane: &[f32], at: usize| {
            let near = (-reach..=reach)
                .zip(&weights)
                .map(|(k, weight)| weight * f64::from(plane[clamp(at / w, k * dy, h) * w + clamp(at % w, k * dx, w)]));
            (near.sum::<f64>() / sum) as f32
        };
        planes.chunks_exact(h * w).flat_map(|plane| (0..h * w).map(move |at| pixel(plane, at))).collect()
    };
    along(&along(planes, (1, 0)), (0, 1))
}

/// JPEG's table for brightness, rows of 8 (ITU-T T.81, table K.1), in steps of 1/255.
const TABLE: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Each channel alone: no conversion of colours, no coarser colours.
fn blocks(planes: &[f32], h: usize, w: usize, factor: f64) -> Vec<f32> {
    // basis[k][i]: value of wave k at pixel i.
    let basis: [[f64; 8]; 8] = std::array::from_fn(|k| {
        let scale = if k == 0 { 0.5 / SQRT_2 } else { 0.5 };
        std::array::from_fn(|i| scale * ((2 * i + 1) as f64 * k as f64 * PI / 16.0).cos())
    });
    // Matrix times block, then transposed: twice gives both directions.
    let half = |block: &[f64; 64], back: bool| -> [f64; 64] {
        std::array::from_fn(|at| {
            let (row, k) = (at % 8, at / 8);
            (0..8).map(|i| block[row * 8 + i] * if back { basis[i][k] } else { basis[k][i] }).sum()
        })
    };
    let mut changed = planes.to_vec();
    for (plane, out) in planes.chunks_exact(h * w).zip(changed.chunks_exact_mut(h * w)) {
        for (top, left) in (0..h).step_by(8).flat_map(|top| (0..w).step_by(8).map(move |left| (top, left))) {
            let at = |i: usize| (top + i / 8).min(h - 1) * w + (left + i % 8).min(w - 1);
            let block: [f64; 64] = std::array::from_fn(|i| f64::from(plane[at(i)]) * 255.0 - 128.0);
            let mut waves = half(&half(&block, false), false);
            for (wave, &step) in waves.iter_mut().zip(&TABLE) {
                let step = f64::from(step) * factor;
                *wave = (*wave / step).round() * step;
            }
            let block = half(&half(&waves, true), true);
            for i in (0..64).filter(|i| top + i / 8 < h && left + i % 8 < w) {
                out[at(i)] = ((block[i] + 128.0) / 255.0) as f32;
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(h: usize, w: usize) -> Vec<f32> {
        (0..h * w).map(|at| (at % w) as f32 / 64.0 + (at / w) as f32 / 32.0).collect()
    }

    #[test]
    fn shifts_go_right_and_down_and_repeat_the_edge() {
        let (h, w) = (10, 12);
        let moved = Shift(8.0, -8.0).apply(&ramp(h, w), h, w);
        assert_eq!(moved[9], ramp(h, w)[8 * w + 1]);
        assert_eq!(moved[3], ramp(h, w)[8 * w]);
    }

    #[test]
    fn flips_come_back_and_turns_keep_the_centre() {
        let (h, w) = (9, 11);
        let flipped = Flip.apply(&ramp(h, w), h, w);
        assert_eq!(flipped[0], ramp(h, w)[w - 1]);
        assert_eq!(Flip.apply(&flipped, h, w), ramp(h, w));
        for alteration in [Turn(10.0), Scale(0.85), Scale(1.15), Blur(1.0)] {
            let centre = alteration.apply(&ramp(h, w), h, w)[h / 2 * w + w / 2];
            assert!((centre - ramp(h, w)[h / 2 * w + w / 2]).abs() < 1e-6, "{alteration:?}");
        }
    }

    #[test]
    fn fine_steps_keep_blocks_and_coarse_ones_flatten_them() {
        let (h, w) = (13, 10); // no multiple of 8
        let apart = |factor: f64| {
            let changed = blocks(&ramp(h, w), h, w, factor);
            changed.iter().zip(ramp(h, w)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(apart(1e-3) < 1e-3, "{}", apart(1e-3));
        assert!(apart(1.0) > apart(1e-3) && apart(1.0) < 0.1, "{}", apart(1.0));
        let flat = blocks(&ramp(8, 8), 8, 8, 1e4);
        assert!(flat.iter().all(|value| (value - flat[0]).abs() < 1e-6));
    }

    #[test]
    fn a_constant_picture_survives_all_but_noise() {
        let picture = Array::filled(Shape::new(1, 3, 16, 24), 128.0 / 255.0);
        let all = altered(&picture);
        assert_eq!(all.shape, Shape::new(25, 3, 16, 24));
        assert_eq!(all, altered(&picture));
        assert_eq!(all.picture(0), picture);
        for (n, alteration) in ALTERATIONS.iter().enumerate() {
            let changed = all.picture(n + 1).values;
            let apart = changed.iter().map(|value| (value - picture.values[0]).abs()).fold(0.0, f32::max);
            assert_eq!(apart > 1e-5, matches!(alteration, Noise(..)), "{alteration:?}: {apart}");
        }
    }
}
