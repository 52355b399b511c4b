//! crop, pad, gaussian_blur, resize, warp, irfft2: pixels of the result as weighted sums of elements of the argument.

use std::f64::consts::TAU;

use super::linear::{Entry, ONE, backwards, forwards};
use super::{Formula, Number, U, Values, at, exact, places};
use crate::ops::{Crop, GaussianBlur, Irfft2, Pad, Resize, ResizeMode, Warp};
use crate::tensor::{Array, Shape};

impl Crop {
    /// The window starts at the corner asked for, moved inside.
    fn table(&self, x: Shape, corners: &Array, entry: Entry) {
        let corner = |n, side, room: usize| (at(corners, [n, side, 0, 0]).max(0.0) as usize).min(room);
        for o @ [n, c, oy, ox] in places(self.window(x)) {
            let (top, left) = (corner(n, 0, x.h() - self.height), corner(n, 1, x.w() - self.width));
            entry(o, [n, c, top + oy, left + ox], ONE);
        }
    }

    fn window(&self, x: Shape) -> Shape {
        Shape::new(x.n(), x.c(), self.height, self.width)
    }
}

impl Formula for Crop {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], self.window(x), |entry| self.table(x, &inputs[1], entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, &inputs[1], entry))), None]
    }
}

impl Formula for Pad {
    fn result(&self, inputs: &[Array]) -> Values {
        let [n, c, h, w] = inputs[0].shape.0;
        let y = Shape::new(n, c, self.top + h + self.bottom, self.left + w + self.right);
        Values::fill(y, |[n, c, oy, ox]| match (oy.checked_sub(self.top), ox.checked_sub(self.left)) {
            (Some(iy), Some(ix)) if iy < h && ix < w => exact(&inputs[0], [n, c, iy, ix]),
            _ => Number::exact(self.value),
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let inner = |[n, c, iy, ix]: [usize; 4]| exact(g, [n, c, iy + self.top, ix + self.left]);
        vec![Some(Values::fill(inputs[0].shape, inner))]
    }
}

impl GaussianBlur {
    /// Taps down and across; beyond the edge lies what lies as far before it.
    fn table(&self, x: Shape, taps: &Array, entry: Entry) {
        let reflected = |i: isize, size: usize| {
            let last = size as isize - 1;
            (if i < 0 {
                -i
            } else if i > last {
                2 * last - i
            } else {
                i
            }) as usize
        };
        let half = (self.kernel / 2) as isize;
        for o @ [n, c, oy, ox] in places(x) {
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let iy = reflected(oy as isize + ky as isize - half, x.h());
                    let ix = reflected(ox as isize + kx as isize - half, x.w());
                    entry(o, [n, c, iy, ix], exact(taps, [0, ky, 0, 0]) * exact(taps, [0, kx, 0, 0]));
                }
            }
        }
    }
}

impl Formula for GaussianBlur {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], x, |entry| self.table(x, &inputs[1], entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(g.shape, g, |entry| self.table(g.shape, &inputs[1], entry))), None]
    }
}

/// max(0, 1 − |distance|).
fn hat(distance: Number) -> Number {
    Number { value: (1.0 - distance.value.abs()).max(0.0), error: distance.error + U }
}

impl ResizeMode {
    /// How much each pixel of an axis counts in pixel `o` of the result.
    fn shares(self, from: usize, to: usize, o: usize) -> Vec<Number> {
        let scale = from as f64 / to as f64;
        let centre = (o as f64 + 0.5) * scale;
        let weights: Vec<f64> = match self {
            ResizeMode::Nearest => {
                let taken = (o as f32 * (from as f32 / to as f32)).floor() as usize;
                (0..from).map(|i| if i == taken.min(from - 1) { 1.0 } else { 0.0 }).collect()
            }
            ResizeMode::Bilinear { antialias } => {
                let wide = if antialias { scale.max(1.0) } else { 1.0 };
                // Beyond the edge lies the edge pixel, unless a shrinking picture is averaged: then there is nothing.
                let at = if wide > 1.0 { centre - 0.5 } else { (centre - 0.5).clamp(0.0, from as f64 - 1.0) };
                (0..from).map(|i| (1.0 - ((i as f64 - at) / wide).abs()).max(0.0)).collect()
            }
        };
        let total: f64 = weights.iter().sum();
        // Of f32 in the kernel's table, unless they are whole.
        weights
            .into_iter()
            .map(|weight| weight / total)
            .map(|w| if w == 1.0 { ONE } else { Number::rounded(w) })
            .collect()
    }
}

impl Resize {
    fn table(&self, x: Shape, entry: Entry) {
        let rows: Vec<_> = (0..self.height).map(|o| self.mode.shares(x.h(), self.height, o)).collect();
        let columns: Vec<_> = (0..self.width).map(|o| self.mode.shares(x.w(), self.width, o)).collect();
        for o @ [n, c, oy, ox] in places(self.size(x)) {
            let seen = |shares: &[Number]| -> Vec<(usize, Number)> {
                shares.iter().copied().enumerate().filter(|(_, share)| share.value != 0.0).collect()
            };
            let across = seen(&columns[ox]);
            for (iy, down) in seen(&rows[oy]) {
                across.iter().for_each(|&(ix, share)| entry(o, [n, c, iy, ix], down * share));
            }
        }
    }

    fn size(&self, x: Shape) -> Shape {
        Shape::new(x.n(), x.c(), self.height, self.width)
    }
}

impl Formula for Resize {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], self.size(x), |entry| self.table(x, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}

impl Warp {
    /// Bilinear at (a·u + b·v + c + cx, d·u + e·v + f + cy), kept inside.
    fn table(&self, x: Shape, matrix: &Array, entry: Entry) {
        let [last_x, last_y] = [x.w() - 1, x.h() - 1].map(|last| last as f64);
        let centre = [Number::exact(last_x / 2.0), Number::exact(last_y / 2.0)];
        for o @ [n, c, oy, ox] in places(x) {
            let [a, b, shift_x, d, e, shift_y] = [0, 1, 2, 3, 4, 5].map(|k| exact(matrix, [n, k, 0, 0]));
            let (u, v) = (Number::exact(ox as f64) - centre[0], Number::exact(oy as f64) - centre[1]);
            let at_x = (a * u + b * v + shift_x + centre[0]).clamp(0.0, last_x);
            let at_y = (d * u + e * v + shift_y + centre[1]).clamp(0.0, last_y);
            for (iy, down) in around(at_y, x.h()) {
                around(at_x, x.w()).for_each(|(ix, across)| entry(o, [n, c, iy, ix], down * across));
            }
        }
    }
}

/// The pixels of an axis that count at a place on it, and how much; also those that rounding may let in.
fn around(at: Number, size: usize) -> impl Iterator<Item = (usize, Number)> {
    let first = (at.value.floor() as usize).saturating_sub(1);
    let shares = (first..(first + 4).min(size)).map(move |i| (i, at - Number::exact(i as f64)));
    shares.filter(|(_, distance)| distance.value.abs() < 1.0 + 2.0 * distance.error).map(|(i, d)| (i, hat(d)))
}

impl Formula for Warp {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], x, |entry| self.table(x, &inputs[1], entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(g.shape, g, |entry| self.table(g.shape, &inputs[1], entry))), None]
    }
}

impl Irfft2 {
    /// The plain sum over all frequencies.
    fn table(&self, spectrum: Shape, entry: Entry) {
        let (h, w) = (spectrum.h() / 2, self.width);
        let [height, width, longer] = [h, w, h.max(w)].map(|side| side as f64);
        // A transform in stages rounds a number that is as large as what goes in, however small what comes out.
        let roundings = 4.0 * (height.log2() + width.log2() + 2.0);
        for o @ [n, c, py, px] in places(self.picture(spectrum)) {
            for ky in 0..h {
                for kx in 0..spectrum.w() {
                    let down = if 2 * ky > h { ky as f64 - height } else { ky as f64 };
                    let frequency = longer * ((down / height).powi(2) + (kx as f64 / width).powi(2)).sqrt();
                    let twice = if kx == 0 || 2 * kx == w { 1.0 } else { 2.0 };
                    let size = twice / frequency.max(1.0).powf(self.decay);
                    let (sin, cos) = (TAU * ((ky * py) as f64 / height + (kx * px) as f64 / width)).sin_cos();
                    let weight = |part: f64| Number { value: size * part, error: roundings * U * size };
                    entry(o, [n, c, ky, kx], weight(cos));
                    entry(o, [n, c, h + ky, kx], weight(-sin));
                }
            }
        }
    }

    fn picture(&self, spectrum: Shape) -> Shape {
        Shape::new(spectrum.n(), spectrum.c(), spectrum.h() / 2, self.width)
    }
}

impl Formula for Irfft2 {
    fn result(&self, inputs: &[Array]) -> Values {
        let spectrum = inputs[0].shape;
        forwards(&inputs[0], self.picture(spectrum), |entry| self.table(spectrum, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}
