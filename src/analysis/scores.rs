//! Numbers that judge a picture without people.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::alterations::altered;
use super::spectrum::{Spectrum, spectrum};
use crate::device::Device;
use crate::evaluate::{self, Scene};
use crate::nets::{BatchNormMode, Head, Network, Normalize};
use crate::objective::{Form, Measure, Objective, Place, Term};
use crate::tape::Tape;
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

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

/// What a network makes of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Classes with a larger logit: 0 when it is the class, below 5 when it is among the first five.
    pub rank: usize,
    /// Softmax of the class.
    pub probability: f64,
    /// The logit of the class less the largest other one, over the standard deviation of all logits.
    pub margin: f64,
    /// Mean probability of the class after each of [`ALTERATIONS`](super::ALTERATIONS).
    pub stability: f64,
    /// The smallest of these.
    pub worst: f64,
    /// Mean over batch norms of [`StatisticsDistance`](crate::ops::StatisticsDistance).
    pub statistics: f64,
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

/// BT.601's luma of the first picture.
pub(super) fn luminance(picture: &Array) -> Vec<f64> {
    let pixels = picture.shape.h() * picture.shape.w();
    let [r, g, b] = [0, 1, 2].map(|c| &picture.values[c * pixels..(c + 1) * pixels]);
    (0..pixels).map(|at| 0.299 * f64::from(r[at]) + 0.587 * f64::from(g[at]) + 0.114 * f64::from(b[at])).collect()
}

/// Scores that a network's head gives a picture [1, 3, H, W] for a class. The picture and its alterations are one batch, or
/// the fewest halves, quarters and so on of it that the adapter can hold.
///
/// # Errors
/// [`Error::Objective`] for a class that the network does not have; as [`evaluate::outputs`].
pub fn judge(
    device: &Device,
    (network, head): (&Network, Head),
    normalize: Normalize,
    picture: &Array,
    class: usize,
    check_finite: bool,
) -> Result<Judged> {
    if class >= network.class_count() {
        let reason = format!("{} has {} classes", network.source, network.class_count());
        return Err(Error::Objective { objective: format!("class {class}"), reason });
    }
    let scene = Scene::of(vec![network], normalize);
    let logits = logits(device, &scene, head, &altered(picture), check_finite)?;
    let probability = |n: usize| f64::from(softmax(&logits.picture(n).values)[class]);
    let altered: Vec<f64> = (1..logits.shape.n()).map(probability).collect();
    let (rank, margin) = standing(&logits.picture(0).values, class);
    Ok(Judged {
        rank,
        probability: probability(0),
        margin,
        stability: altered.iter().sum::<f64>() / altered.len() as f64,
        worst: altered.iter().copied().fold(1.0, f64::min),
        statistics: statistics(device, scene, picture, check_finite)?,
    })
}

/// Logits of a batch, in parts where the adapter cannot hold it at once.
fn logits(device: &Device, scene: &Scene, head: Head, pictures: &Array, check_finite: bool) -> Result<Array> {
    let [n, c, h, w] = pictures.shape.0;
    match evaluate::outputs(device, scene, pictures, &[Place::Logits(0, head)], check_finite) {
        Err(Error::BufferLimit { .. }) if n > 1 => {
            let (front, back) = pictures.values.split_at(n / 2 * c * h * w);
            let part = |n, values: &[f32]| {
                logits(device, scene, head, &Array::new(Shape::new(n, c, h, w), values.to_vec()), check_finite)
            };
            let (front, back) = (part(n / 2, front)?, part(n - n / 2, back)?);
            let shape = Shape::new(n, front.shape.c(), 1, 1);
            Ok(Array::new(shape, [front.values, back.values].concat()))
        }
        outputs => Ok(outputs?.remove(0)),
    }
}

/// Rank of a class, and its margin.
fn standing(logits: &[f32], class: usize) -> (usize, f64) {
    let own = logits[class];
    let others = || logits.iter().enumerate().filter(|(index, _)| *index != class).map(|(_, logit)| *logit);
    let count = logits.len() as f64;
    let mean = logits.iter().map(|&logit| f64::from(logit)).sum::<f64>() / count;
    let deviation = (logits.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let ahead = f64::from(own) - f64::from(others().fold(f32::NEG_INFINITY, f32::max));
    (others().filter(|other| *other > own).count(), if deviation > 0.0 { ahead / deviation } else { 0.0 })
}

/// Mean distance to what the scene's one network knows of training.
fn statistics(device: &Device, mut scene: Scene, picture: &Array, check_finite: bool) -> Result<f64> {
    let mut tape = Tape::default();
    let x = tape.input(evaluate::PICTURE, picture.shape);
    let norms = scene.networks[0].forward(&mut tape, x, BatchNormMode::Frozen, &[], &[])?.norms.len();
    let measure = Measure::Statistics { network: 0 };
    let term = Term { place: Place::Picture, measure, form: Form::Plain, weight: 1.0 / norms as f32 };
    scene.objective = Objective { terms: vec![term] };
    Ok(f64::from(evaluate::losses(device, &scene, picture, check_finite)?.values[0]))
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
    fn margins_count_in_deviations() {
        // Mean 1, deviation 1.
        assert_eq!(standing(&[2.0, 0.0, 2.0, 0.0], 0), (0, 0.0));
        assert_eq!(standing(&[2.0, 0.0, 2.0, 0.0], 1), (2, -2.0));
        assert_eq!(standing(&[1.0, 1.0], 1), (0, 0.0));
        assert_eq!(standing(&[1.0], 0), (0, 0.0));
    }

    #[test]
    fn eight_bits_clamp_and_round() {
        let picture = Array::new(Shape::new(1, 1, 1, 4), vec![-0.2, 0.501, 1.7, 0.2]);
        assert_eq!(eight_bit(&picture).values, [0.0, 128.0 / 255.0, 1.0, 51.0 / 255.0]);
    }
}
