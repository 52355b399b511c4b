//! max_pool2d, avg_pool2d, adaptive_avg_pool2d: the largest or the mean of the pixels of x that a window covers.

use std::ops::Range;

use super::linear::{Entry, ONE, backwards, forwards};
use super::{Formula, Number, Values, at, places};
use crate::ops::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use crate::tensor::{Array, Shape};

/// Windows along one side, as torch counts them: with `ceil` a last one may overhang, unless it begins outside.
fn count(size: usize, kernel: usize, stride: usize, [before, after]: [usize; 2], ceil: bool) -> usize {
    let room = (size + before + after) as isize - kernel as isize;
    let steps = if ceil { (room as f64 / stride as f64).ceil() } else { (room as f64 / stride as f64).floor() };
    let count = steps as usize + 1;
    if ceil && (count - 1) * stride >= size + before { count - 1 } else { count }
}

/// Pixels of x under window `o`.
fn covered(o: usize, kernel: usize, stride: usize, padding: usize, size: usize) -> Range<usize> {
    let start = o * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}

impl MaxPool2d {
    /// The first largest pixel of each window, row by row.
    fn table(&self, x: &Array, entry: Entry) {
        let [_, _, h, w] = x.shape.0;
        for o @ [n, c, oy, ox] in places(self.windows(x.shape)) {
            let mut best: Option<(f64, [usize; 4])> = None;
            for iy in self.seen(0, oy, h) {
                for ix in self.seen(1, ox, w) {
                    let value = at(x, [n, c, iy, ix]);
                    if best.is_none_or(|(most, _)| value > most) {
                        best = Some((value, [n, c, iy, ix]));
                    }
                }
            }
            let (_, i) = best.expect("each window holds a pixel");
            entry(o, i, ONE);
        }
    }

    /// Pixels of x under window `o`, in order.
    fn seen(&self, side: usize, o: usize, size: usize) -> Vec<usize> {
        let taps = (0..self.kernel[side]).map(|tap| o * self.stride[side] + tap * self.dilation[side]);
        taps.filter_map(|at| at.checked_sub(self.padding[0][side])).filter(|&i| i < size).collect()
    }

    fn windows(&self, x: Shape) -> Shape {
        let MaxPool2d { kernel, stride, padding, dilation, ceil_mode } = *self;
        let side = |which: usize, size| {
            let reach = dilation[which] * (kernel[which] - 1) + 1;
            count(size, reach, stride[which], padding.map(|padding| padding[which]), ceil_mode)
        };
        Shape::new(x.n(), x.c(), side(0, x.h()), side(1, x.w()))
    }
}

impl Formula for MaxPool2d {
    fn result(&self, inputs: &[Array]) -> Values {
        forwards(&inputs[0], self.windows(inputs[0].shape), |entry| self.table(&inputs[0], entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(&inputs[0], entry)))]
    }
}

impl AvgPool2d {
    fn table(&self, x: Shape, entry: Entry) {
        for o @ [n, c, oy, ox] in places(self.windows(x)) {
            let rows = covered(oy, self.kernel[0], self.stride[0], self.padding[0][0], x.h());
            let columns = covered(ox, self.kernel[1], self.stride[1], self.padding[0][1], x.w());
            // Of what reaches beyond the padding nothing counts.
            let within = |side: usize, o: usize, size: usize| {
                let end = size + self.padding[0][side] + self.padding[1][side];
                (o * self.stride[side] + self.kernel[side]).min(end) - o * self.stride[side]
            };
            let all = match self.count_include_pad {
                true => [within(0, oy, x.h()), within(1, ox, x.w())],
                false => [rows.len(), columns.len()],
            };
            mean(o, [n, c], rows, columns, all[0] * all[1], entry);
        }
    }

    fn windows(&self, x: Shape) -> Shape {
        let side = |which: usize, size| {
            let padding = self.padding.map(|padding| padding[which]);
            count(size, self.kernel[which], self.stride[which], padding, self.ceil_mode)
        };
        Shape::new(x.n(), x.c(), side(0, x.h()), side(1, x.w()))
    }
}

fn mean(
    o: [usize; 4],
    [n, c]: [usize; 2],
    rows: Range<usize>,
    columns: Range<usize>,
    count: usize,
    entry: &mut dyn FnMut([usize; 4], [usize; 4], Number),
) {
    let weight = ONE / Number::exact(count as f64);
    for iy in rows {
        columns.clone().for_each(|ix| entry(o, [n, c, iy, ix], weight));
    }
}

impl Formula for AvgPool2d {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], self.windows(x), |entry| self.table(x, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}

impl AdaptiveAvgPool2d {
    fn table(&self, x: Shape, entry: Entry) {
        for o @ [n, c, oy, ox] in places(self.windows(x)) {
            let side = |o: usize, size: usize, count: usize| o * size / count..((o + 1) * size).div_ceil(count);
            let (rows, columns) = (side(oy, x.h(), self.output[0]), side(ox, x.w(), self.output[1]));
            let count = rows.len() * columns.len();
            mean(o, [n, c], rows, columns, count, entry);
        }
    }

    fn windows(&self, x: Shape) -> Shape {
        Shape::new(x.n(), x.c(), self.output[0], self.output[1])
    }
}

impl Formula for AdaptiveAvgPool2d {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], self.windows(x), |entry| self.table(x, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}
