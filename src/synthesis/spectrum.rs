//! Spectra of planes of pixels on the host, in f64, as [`Irfft2`](crate::ops::Irfft2) takes them: H rows of real parts above H rows
//! of imaginary ones, W/2 + 1 columns.

use std::f64::consts::TAU;

/// A complex number.
type Complex = [f64; 2];

fn times([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a * c - b * d, a * d + b * c]
}

/// sum over t of x[t] e^(direction 2 pi i t k / n) for every k, by the smallest prime factor of n first.
fn transform(x: &[Complex], direction: f64) -> Vec<Complex> {
    let n = x.len();
    if n == 1 {
        return x.to_vec();
    }
    let prime = (2..).take_while(|p| p * p <= n).find(|p| n.is_multiple_of(*p)).unwrap_or(n);
    let part = |j: usize| x.iter().skip(j).step_by(prime).copied().collect::<Vec<_>>();
    let parts: Vec<Vec<Complex>> = (0..prime).map(|j| transform(&part(j), direction)).collect();
    let roots: Vec<Complex> = (0..n)
        .map(|t| {
            let (sin, cos) = (TAU * t as f64 / n as f64).sin_cos();
            [cos, direction * sin]
        })
        .collect();
    let sum = |k: usize| {
        parts.iter().enumerate().fold([0.0; 2], |[re, im], (j, part)| {
            let [a, b] = times(part[k % part.len()], roots[j * k % n]);
            [re + a, im + b]
        })
    };
    (0..n).map(sum).collect()
}

/// The numbers that make a plane of pixels, when each frequency is multiplied by its entry of `scales`.
pub(super) fn of_plane(plane: &[f64], [h, w]: [usize; 2], scales: &[f64]) -> Vec<f64> {
    let half = w / 2 + 1;
    let rows: Vec<Vec<Complex>> = plane
        .chunks_exact(w)
        .map(|row| transform(&row.iter().map(|&value| [value, 0.0]).collect::<Vec<_>>(), -1.0))
        .collect();
    let mut spectrum = vec![0.0; 2 * h * half];
    for kx in 0..half {
        let column = transform(&rows.iter().map(|row| row[kx]).collect::<Vec<_>>(), -1.0);
        for (ky, [re, im]) in column.into_iter().enumerate() {
            let at = ky * half + kx;
            let factor = 1.0 / ((h * w) as f64 * scales[at]);
            (spectrum[at], spectrum[h * half + at]) = (re * factor, im * factor);
        }
    }
    spectrum
}

/// The plane of pixels that a spectrum makes when each frequency is multiplied by its entry of `scales`.
pub(super) fn plane(spectrum: &[f64], [h, w]: [usize; 2], scales: &[f64]) -> Vec<f64> {
    let half = w / 2 + 1;
    let mut rows = vec![vec![[0.0; 2]; half]; h];
    for kx in 0..half {
        let scaled = |ky: usize| {
            let at = ky * half + kx;
            [spectrum[at] * scales[at], spectrum[h * half + at] * scales[at]]
        };
        let column = transform(&(0..h).map(scaled).collect::<Vec<_>>(), 1.0);
        column.into_iter().zip(&mut rows).for_each(|(value, row)| row[kx] = value);
    }
    let full = |row: &Vec<Complex>| -> Vec<Complex> {
        let mirrored = (half..w).map(|kx| [row[w - kx][0], -row[w - kx][1]]);
        let mut full: Vec<Complex> = row.iter().copied().chain(mirrored).collect();
        full[0][1] = 0.0;
        if w.is_multiple_of(2) {
            full[w / 2][1] = 0.0;
        }
        full
    };
    rows.iter().flat_map(|row| transform(&full(row), 1.0)).map(|[value, _]| value).collect()
}

/// Whole waves along a side that its frequency `k` stands for, either way round; of an even side the fastest one stands for both.
fn waves(k: usize, side: usize) -> Vec<(isize, f32)> {
    let k = k as isize;
    let side = side as isize;
    match 2 * k - side {
        0 => vec![(k, 0.5), (-k, 0.5)],
        below if below < 0 => vec![(k, 1.0)],
        _ => vec![(k - side, 1.0)],
    }
}

/// The numbers of the same waves at another size. What is too fast for it is left out, and what it has beyond is 0.
///
/// The first pixel of a row shows the same place of the waves at both sizes. `scales` are those of both.
pub(super) fn carried(
    numbers: &[f32],
    [from, to]: [[usize; 2]; 2],
    [scales_from, scales_to]: &[Vec<f64>; 2],
) -> Vec<f32> {
    let [half_from, half_to] = [from, to].map(|[_, w]| w / 2 + 1);
    let mut carried = vec![0.0f64; 2 * to[0] * half_to];
    for ky in 0..from[0] {
        for kx in 0..half_from {
            let at = ky * half_from + kx;
            let scaled = |place: usize| f64::from(numbers[place]) * scales_from[at];
            let [mut re, mut im] = [at, from[0] * half_from + at].map(scaled);
            if 2 * kx == from[1] {
                // Of a column that mirrors itself only this is seen.
                let mirror = (from[0] - ky) % from[0] * half_from + kx;
                let [other_re, other_im] = [mirror, from[0] * half_from + mirror].map(scaled);
                [re, im] = [(re + other_re) / 2.0, (im - other_im) / 2.0];
            }
            // A wave along x counts twice, for its mirror image, unless it is the only one of its kind.
            let twice = |kx: usize, w: usize| if kx == 0 || 2 * kx == w { 1.0 } else { 2.0 };
            if 2 * kx > to[1] {
                continue;
            }
            let factor = twice(kx, from[1]) / twice(kx, to[1]);
            for (wave, share) in waves(ky, from[0]) {
                let Some(row) = row_of(wave, to[0]) else { continue };
                let place = row * half_to + kx;
                let factor = factor * f64::from(share) / scales_to[place];
                carried[place] += re * factor;
                carried[to[0] * half_to + place] += im * factor;
            }
        }
    }
    carried.into_iter().map(|value| value as f32).collect()
}

/// The row of a spectrum for so many waves along a side; none where the side is too short for them.
fn row_of(wave: isize, side: usize) -> Option<usize> {
    let side = side as isize;
    (2 * wave.abs() <= side).then(|| wave.rem_euclid(side) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Irfft2;

    /// A plane with no symmetry.
    fn uneven(count: usize) -> Vec<f64> {
        (0..count).map(|k| ((k * k * 7 + k * 3) % 23) as f64 / 11.0 - 1.0).collect()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
    }

    #[test]
    fn a_plane_comes_back_from_its_spectrum() {
        for extent @ [h, w] in [[1, 1], [2, 1], [1, 2], [5, 7], [8, 6], [13, 4], [12, 30]] {
            let before = uneven(h * w);
            let scales = Irfft2::scales(1.3, extent);
            close(&plane(&of_plane(&before, extent, &scales), extent, &scales), &before);
        }
    }

    #[test]
    fn waves_carried_to_a_larger_size_pass_through_every_pixel_of_the_smaller() {
        for (from, times) in [([6, 8], 2), ([5, 7], 3), ([4, 5], 2), ([7, 6], 3), ([1, 4], 2)] {
            let [h, w] = from;
            let to = [h * times, w * times];
            let scales = [from, to].map(|extent| Irfft2::scales(1.5, extent));
            let before = uneven(h * w);
            let numbers: Vec<f32> = of_plane(&before, from, &scales[0]).into_iter().map(|value| value as f32).collect();
            let larger: Vec<f64> = carried(&numbers, [from, to], &scales).into_iter().map(f64::from).collect();
            let larger = plane(&larger, to, &scales[1]);
            let seen: Vec<f64> = (0..h * w).map(|k| larger[(k / w) * times * w * times + (k % w) * times]).collect();
            close(&seen, &before);
        }
    }

    #[test]
    fn a_size_carried_up_and_down_again_is_the_same() {
        for (from, to) in [([6, 8], [9, 11]), ([5, 7], [6, 8]), ([4, 4], [4, 6]), ([7, 6], [14, 7])] {
            let scales = [from, to].map(|extent| Irfft2::scales(0.7, extent));
            let before = uneven(from[0] * from[1]);
            let numbers: Vec<f32> = of_plane(&before, from, &scales[0]).into_iter().map(|value| value as f32).collect();
            let up = carried(&numbers, [from, to], &scales);
            let [first, second] = scales;
            let down = carried(&up, [to, from], &[second, first.clone()]);
            let down: Vec<f64> = down.into_iter().map(f64::from).collect();
            close(&plane(&down, from, &first), &before);
        }
    }
}
