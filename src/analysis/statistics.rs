//! How far pictures lie from what a network's batch norms know of training.

use crate::evaluate::{Moments, Running};

/// How often the first layer counts where it is reported on its own, as in Yin et al., "Dreaming to distill" (2020).
pub const FIRST_LAYER: f64 = 10.0;

/// Distance of one picture, or of several as one batch, from the statistics of training.
///
/// A layer's distance is the mean over its channels of (m − running_mean)² / (running_var + eps) +
/// ln((v + eps) / (running_var + eps))², with m and v the mean and the biased variance over all pixels of all pictures: for a
/// single picture that of [`StatisticsDistance`](crate::ops::StatisticsDistance).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// Mean over all layers, each counted once.
    pub layers: f64,
    /// That of the first layer alone, [`FIRST_LAYER`] times.
    pub first: f64,
}

/// The distance of pictures taken together; each gives the moments of all layers, as [`Forward::moments`] does for a picture.
///
/// [`Forward::moments`]: crate::evaluate::Forward::moments
///
/// # Panics
/// Without a picture, or when pictures and network have other layers.
pub fn distance(running: &[Running], pictures: &[&[Moments]]) -> Distance {
    let of = |(layer, running): (usize, &Running)| {
        let moments: Vec<&Moments> = pictures.iter().map(|picture| &picture[layer]).collect();
        layer_distance(running, &moments)
    };
    let layers: Vec<f64> = running.iter().enumerate().map(of).collect();
    Distance { layers: layers.iter().sum::<f64>() / layers.len() as f64, first: FIRST_LAYER * layers[0] }
}

fn layer_distance(running: &Running, pictures: &[&Moments]) -> f64 {
    let count = pictures.len() as f64;
    let mean_of = |value: &dyn Fn(&Moments) -> f64| pictures.iter().map(|picture| value(picture)).sum::<f64>() / count;
    let eps = f64::from(running.eps);
    // One pixel alone has no variance.
    let varies = pictures.len() * running.pixels > 1;
    let channel = |c: usize| {
        let mean = mean_of(&|picture| f64::from(picture.mean.values[c]));
        let between = mean_of(&|picture| (f64::from(picture.mean.values[c]) - mean).powi(2));
        let variance = between + mean_of(&|picture| f64::from(picture.variance.values[c]));
        let known = f64::from(running.variance[c]) + eps;
        let ratio = if varies { ((variance + eps) / known).ln() } else { 0.0 };
        (mean - f64::from(running.mean[c])).powi(2) / known + ratio.powi(2)
    };
    (0..running.mean.len()).map(channel).sum::<f64>() / running.mean.len() as f64
}

/// A distance on the way from that of photographs, 0, to that of noise, 1.
pub fn calibrated(distance: f64, photographs: f64, noise: f64) -> f64 {
    (distance - photographs) / (noise - photographs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Array, Shape};

    fn moments(mean: [f32; 2], variance: [f32; 2]) -> Vec<Moments> {
        let channels = |values: [f32; 2]| Array::new(Shape::channels(2), values.to_vec());
        vec![Moments { mean: channels(mean), variance: channels(variance) }; 2]
    }

    fn running(pixels: usize) -> Vec<Running> {
        let layer = |mean: [f32; 2], variance: [f32; 2]| Running {
            mean: mean.to_vec(),
            variance: variance.to_vec(),
            eps: 0.0,
            pixels,
        };
        vec![layer([0.0, 1.0], [1.0, 4.0]), layer([2.0, 1.0], [1.0, 1.0])]
    }

    #[test]
    fn several_pictures_are_one_batch() {
        // First channel: pixels 1 ± 1 and 3 ± 1 have mean 2 and variance 1 + 1; second: mean 1, variance 1 + 0.
        let (a, b) = (moments([1.0, 1.0], [1.0, 1.0]), moments([3.0, 1.0], [1.0, 1.0]));
        let found = distance(&running(2), &[&a, &b]);
        let (ln2, ln4) = (2.0f64.ln(), 4.0f64.ln());
        let first = ((4.0 + ln2 * ln2) + ln4 * ln4) / 2.0;
        let second = ln2 * ln2 / 2.0;
        assert!((found.first - 10.0 * first).abs() < 1e-12, "{found:?}");
        assert!((found.layers - (first + second) / 2.0).abs() < 1e-12, "{found:?}");
        // The batch is neither of its pictures, nor their mean.
        let alone = [&a, &b].map(|picture| distance(&running(2), &[picture]).layers);
        assert!((alone[0] + alone[1]) / 2.0 - found.layers > 0.1, "{alone:?} {found:?}");
    }

    #[test]
    fn one_pixel_has_no_variance_and_two_pictures_have() {
        let (a, b) = (moments([0.0, 1.0], [0.0, 0.0]), moments([2.0, 1.0], [0.0, 0.0]));
        assert_eq!(distance(&running(1), &[&a]), Distance { layers: (0.0 + 2.0) / 2.0, first: 0.0 });
        assert!(distance(&running(1), &[&a, &b]).first.is_infinite(), "the second channel never varies");
    }

    #[test]
    fn the_scale_goes_from_photographs_to_noise() {
        assert_eq!([2.0, 5.0, 3.5, 1.25].map(|x| calibrated(x, 2.0, 5.0)), [0.0, 1.0, 0.5, -0.25]);
    }
}
