//! How a picture's power is shared between coarse and fine structure.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use crate::tensor::Array;

/// Of larger pictures only the middle is looked at: the transform is a plain separable one, and its cost grows with the
/// third power of the side.
pub const MAX_SPECTRUM_SIDE: usize = 512;

/// Frequencies, in cycles per pixel, between which the slope is taken.
const SLOPE_RANGE: [f64; 2] = [0.02, 0.4];

/// Structure above this frequency, in cycles per pixel, counts as fine.
const FINE: f64 = 0.25;

/// A variance below this is rounding.
const FLAT: f64 = 1e-12;

/// Frequencies at which spectra are compared: from 0.02 to 0.5 cycles per pixel, as many for each octave.
pub const FREQUENCIES: usize = 25;

/// Photographs' mean logarithm of power at each frequency, and a line `fine`.
const PHOTOGRAPHS: &str = include_str!("photographs.tsv");

static KNOWN: LazyLock<(LogPower, f64)> = LazyLock::new(|| {
    let rows = PHOTOGRAPHS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
    let number = |text: &str| text.parse::<f64>().expect("photographs.tsv holds numbers");
    let (fine, power): (Vec<_>, Vec<_>) = rows.partition(|(name, _)| *name == "fine");
    let power: Vec<f64> = power.into_iter().map(|(_, value)| number(value)).collect();
    (power.try_into().expect("photographs.tsv has a row for each frequency"), number(fine[0].1))
});

/// Natural logarithms of power at [`frequency`] 0, 1 and so on; NaN where the picture is too small to tell.
pub type LogPower = [f64; FREQUENCIES];

/// What the power spectrum of a picture's luminance under a Hann window tells. Power is that in a band one cycle per pixel
/// wide in both directions: it does not depend on the picture's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spectrum {
    /// Slope of the logarithm of power, as a mean over rings one step of the shorter side's frequencies wide, over the
    /// logarithm of frequency, between 0.02 and 0.4 cycles per pixel. Photographs lie near -2, white noise at 0. NaN for a
    /// picture without contrast, or so small that there are fewer than three rings.
    pub slope: f64,
    /// Share of the power above 0.25 cycles per pixel; 0 without contrast.
    pub fine: f64,
    /// That share over the mean one of photographs.
    pub fine_ratio: f64,
    /// Logarithms of the mean power of rings, brought to [`FREQUENCIES`] frequencies by straight lines over the logarithm of
    /// frequency.
    pub log_power: LogPower,
    /// Root of the mean square of their differences to the mean ones of photographs: 0.7 is a factor of two in power. NaN
    /// without contrast.
    pub difference: f64,
}

/// BT.601's luma of the first picture.
pub(super) fn luminance(picture: &Array) -> Vec<f64> {
    let pixels = picture.shape.h() * picture.shape.w();
    let [r, g, b] = [0, 1, 2].map(|c| &picture.values[c * pixels..(c + 1) * pixels]);
    (0..pixels).map(|at| 0.299 * f64::from(r[at]) + 0.587 * f64::from(g[at]) + 0.114 * f64::from(b[at])).collect()
}

/// Cycles per pixel of an entry of [`LogPower`].
pub fn frequency(index: usize) -> f64 {
    0.02 * 25f64.powf(index as f64 / (FREQUENCIES - 1) as f64)
}

/// Spectrum of the first picture of an array.
///
/// **Shapes** [N, 3, H, W].
pub fn spectrum(picture: &Array) -> Spectrum {
    let (h, w, windowed) = windowed(picture);
    let variance = windowed.iter().map(|v| v * v).sum::<f64>() / windowed.len() as f64;
    if variance < FLAT {
        let nothing = f64::NAN;
        return Spectrum {
            slope: nothing,
            fine: 0.0,
            fine_ratio: 0.0,
            log_power: [nothing; FREQUENCIES],
            difference: nothing,
        };
    }
    let power = power(h, w, &windowed);
    let side = h.min(w) as f64;
    let mut rings = vec![(0.0, 0.0, 0.0); h.min(w) + 1]; // frequencies, power, count
    let (mut all, mut fine) = (0.0, 0.0);
    for v in 0..h {
        let row = v.min(h - v) as f64 / h as f64;
        for (u, &power) in power[v].iter().enumerate() {
            let frequency = row.hypot(u as f64 / w as f64);
            if frequency == 0.0 {
                continue;
            }
            // The other half of the columns mirrors this one.
            let count = if u == 0 || 2 * u == w { 1.0 } else { 2.0 };
            all += count * power;
            fine += if frequency > FINE { count * power } else { 0.0 };
            let ring = &mut rings[(frequency * side).round() as usize];
            *ring = (ring.0 + count * frequency, ring.1 + count * power, ring.2 + count);
        }
    }
    let window: f64 = (0..h * w).map(|at| hann(h, at / w) * hann(w, at % w)).map(|value| value * value).sum();
    let means = rings.iter().filter(|ring| ring.2 > 0.0).map(|ring| (ring.0 / ring.2, ring.1 / ring.2 / window));
    let points: Vec<(f64, f64)> =
        means.filter(|(_, power)| *power > 0.0).map(|(frequency, power)| (frequency.ln(), power.ln())).collect();
    let between: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|point| SLOPE_RANGE[0].ln() <= point.0 && point.0 <= SLOPE_RANGE[1].ln())
        .collect();
    let log_power = std::array::from_fn(|index| on_line(&points, frequency(index).ln()));
    let (known, known_fine) = &*KNOWN;
    Spectrum {
        slope: slope(&between),
        fine: fine / all,
        fine_ratio: fine / all / known_fine,
        log_power,
        difference: difference(&log_power, known),
    }
}

/// Root of the mean square over the frequencies that both tell something of.
fn difference(a: &LogPower, b: &LogPower) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).filter(|square| !square.is_nan());
    let (sum, count) = squares.fold((0.0, 0.0), |(sum, count), square| (sum + square, count + 1.0));
    (sum / count).sqrt()
}

/// The value at x of straight lines through points in the order of their x; NaN before the first and behind the last.
fn on_line(points: &[(f64, f64)], x: f64) -> f64 {
    let next = points.partition_point(|point| point.0 < x);
    match (next.checked_sub(1).and_then(|before| points.get(before)), points.get(next)) {
        (_, Some(&(at, y))) if at == x => y,
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        _ => f64::NAN,
    }
}

/// Slope of the least-squares line.
fn slope(points: &[(f64, f64)]) -> f64 {
    if points.len() < 3 {
        return f64::NAN;
    }
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let (xy, xx) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + (point.0 - x) * (point.1 - y), sum.1 + (point.0 - x).powi(2)));
    xy / xx
}

/// Height, width and luminance of the middle, less its mean, under a Hann window.
fn windowed(picture: &Array) -> (usize, usize, Vec<f64>) {
    let [_, _, full_h, full_w] = picture.shape.0;
    let (h, w) = (full_h.min(MAX_SPECTRUM_SIDE), full_w.min(MAX_SPECTRUM_SIDE));
    let (top, left) = ((full_h - h) / 2, (full_w - w) / 2);
    let luminance = luminance(picture);
    let window = |index: usize| hann(h, index / w) * hann(w, index % w);
    let value = |index: usize| luminance[(top + index / w) * full_w + left + index % w];
    let weight: f64 = (0..h * w).map(window).sum();
    let mean = (0..h * w).map(|index| window(index) * value(index)).sum::<f64>() / weight;
    (h, w, (0..h * w).map(|index| window(index) * (value(index) - mean)).collect())
}

/// Hann's window at a pixel of a side.
fn hann(size: usize, at: usize) -> f64 {
    0.5 - 0.5 * (TAU * (at as f64 + 0.5) / size as f64).cos()
}

/// Squared magnitudes of the transform: for each of h row frequencies, columns 0 to w/2.
fn power(h: usize, w: usize, values: &[f64]) -> Vec<Vec<f64>> {
    let turns = |size: usize| -> Vec<(f64, f64)> {
        (0..size).map(|k| (TAU * k as f64 / size as f64).sin_cos()).map(|(sin, cos)| (cos, -sin)).collect()
    };
    let (turn_h, turn_w) = (turns(h), turns(w));
    let mut power = vec![vec![0.0; w / 2 + 1]; h];
    for u in 0..=w / 2 {
        let column: Vec<(f64, f64)> = values
            .chunks_exact(w)
            .map(|row| {
                let mut k = 0;
                row.iter().fold((0.0, 0.0), |(re, im), value| {
                    let (cos, sin) = turn_w[k];
                    k = (k + u) % w;
                    (re + value * cos, im + value * sin)
                })
            })
            .collect();
        for (v, row) in power.iter_mut().enumerate() {
            let mut k = 0;
            let (re, im) = column.iter().fold((0.0, 0.0), |(re, im), (a, b)| {
                let (cos, sin) = turn_h[k];
                k = (k + v) % h;
                (re + a * cos - b * sin, im + a * sin + b * cos)
            });
            row[u] = re * re + im * im;
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::alterations::normal;
    use crate::tensor::Shape;

    fn grey(h: usize, w: usize, value: impl FnMut(usize) -> f32) -> Array {
        let plane: Vec<f32> = (0..h * w).map(value).collect();
        Array::new(Shape::new(1, 3, h, w), plane.repeat(3))
    }

    #[test]
    fn white_noise_is_level() {
        let noise = normal(1, 96 * 80);
        let found = spectrum(&grey(96, 80, |at| 0.5 + 0.1 * noise[at]));
        // The variance 0.01 of a pixel is all there is in one cycle per pixel in both directions, whatever the size.
        let level = found.log_power.iter().sum::<f64>() / FREQUENCIES as f64;
        assert!((level - 0.01f64.ln()).abs() < 0.3, "{found:?}");
        assert!(found.slope.abs() < 0.15, "{found:?}");
        // The disc within 0.25 of a square of side 1 has area π/16.
        assert!((found.fine - (1.0 - std::f64::consts::PI / 16.0)).abs() < 0.04, "{found:?}");
    }

    #[test]
    fn amplitudes_of_one_over_frequency_fall_by_two() {
        const SIDE: usize = 64;
        let phases = normal(2, SIDE * SIDE);
        let mut values = vec![0.0f64; SIDE * SIDE];
        for v in 0..SIDE {
            for u in 0..SIDE / 2 {
                let fold = v.min(SIDE - v) as f64;
                let radius = fold.hypot(u as f64);
                if radius == 0.0 {
                    continue;
                }
                let phase = f64::from(phases[v * SIDE + u]) * TAU;
                for (at, value) in values.iter_mut().enumerate() {
                    let turn = (u * (at % SIDE) + v * (at / SIDE)) % SIDE;
                    *value += (TAU * turn as f64 / SIDE as f64 + phase).cos() / radius;
                }
            }
        }
        let found = spectrum(&grey(SIDE, SIDE, |at| values[at] as f32));
        assert!((found.slope + 2.0).abs() < 0.3, "{found:?}");
        assert!(found.fine < 0.4, "{found:?}");
    }

    #[test]
    fn a_wave_has_all_power_at_its_frequency() {
        let wave = |cycles: f64| grey(40, 32, |at| (TAU * cycles * (at % 32) as f64 / 32.0).cos() as f32);
        assert!(spectrum(&wave(4.0)).fine < 1e-6);
        assert!(spectrum(&wave(12.0)).fine > 1.0 - 1e-6);
    }

    #[test]
    fn numbers_are_those_of_numpy() {
        // numpy 2: fft2 of the luminance less its windowed mean, Hann window at the middles of pixels, squared magnitudes over
        // the sum of the squared window, rings of floor(16 f + 0.5), numpy.interp over ln f.
        let expected = [
            -2.271728, -2.894873, -3.518017, -4.141162, -4.72797, -5.22703, -5.72609, -6.045801, -5.75607, -5.466338,
            -4.743803, -3.74642, -2.676028, -3.528679, -5.626275,
        ];
        let (h, w) = (20, 16);
        let found = spectrum(&grey(h, w, |at| ((at * 37 % 101) as f32 / 100.0 + (at % w) as f32 / 16.0) / 2.0));
        assert!(found.log_power[..10].iter().all(|power| power.is_nan()), "{found:?}");
        for (found, expected) in found.log_power[10..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        assert!((found.fine - 0.798699).abs() < 1e-5 && (found.slope + 0.84857).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn lines_lie_between_their_points() {
        let points = [(-2.0, 4.0), (0.0, 0.0), (1.0, 3.0)];
        assert_eq!([-2.0, -1.5, 0.0, 0.75, 1.0].map(|x| on_line(&points, x)), [4.0, 3.0, 0.0, 2.25, 3.0]);
        assert!(on_line(&points, -2.1).is_nan() && on_line(&points, 1.1).is_nan() && on_line(&[], 0.0).is_nan());
    }

    #[test]
    fn differences_are_taken_where_both_are_known() {
        let mut a = [1.0; FREQUENCIES];
        (a[0], a[1]) = (f64::NAN, 7.0);
        assert_eq!(difference(&a, &[1.0; FREQUENCIES]), (36.0f64 / (FREQUENCIES - 1) as f64).sqrt());
        assert!(difference(&[f64::NAN; FREQUENCIES], &a).is_nan());
    }

    #[test]
    fn photographs_are_known_and_twice_the_contrast_is_four_times_the_power() {
        assert_eq!((frequency(0), frequency(12), frequency(24)), (0.02, 0.1, 0.5));
        let (known, fine) = &*KNOWN;
        let points: Vec<(f64, f64)> = (0..FREQUENCIES).map(|index| (frequency(index).ln(), known[index])).collect();
        assert!((-3.0..-1.5).contains(&slope(&points)) && (0.001..0.1).contains(fine), "{known:?} {fine}");
        let noise = normal(4, 64 * 64);
        let [weak, strong] = [0.1, 0.2].map(|by| spectrum(&grey(64, 64, |at| by * noise[at])));
        for (weak, strong) in weak.log_power.iter().zip(strong.log_power) {
            assert!((strong - weak - 4.0f64.ln()).abs() < 1e-5, "{weak} {strong}");
        }
        assert_eq!(weak.fine_ratio, weak.fine / fine);
        assert_eq!(weak.difference, difference(&weak.log_power, known));
    }

    #[test]
    fn a_flat_picture_has_no_slope() {
        let found = spectrum(&Array::filled(Shape::new(1, 3, 20, 24), 0.4));
        assert!(found.slope.is_nan() && found.fine == 0.0, "{found:?}");
    }

    #[test]
    fn of_a_large_picture_the_middle_counts() {
        let side = MAX_SPECTRUM_SIDE + 10;
        // Noise in the outermost rows and columns alone.
        let edge = |at: usize| [at / side, at % side].iter().any(|&p| p < 5 || p >= side - 5);
        let noise = normal(3, side * side);
        assert!(spectrum(&grey(side, side, |at| if edge(at) { noise[at] } else { 0.5 })).slope.is_nan());
    }
}
