//! max_pool2d, avg_pool2d, adaptive_avg_pool2d: the largest or the mean of the pixels of x that a window covers.

use std::ops::Range;

use super::linear::{Entry, ONE, backwards, forwards};
use super::{Formula, Number, Values, at, places};
use crate::ops::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use crate::tensor::{Array, Shape};

/// Windows along one side, as torch counts them: with `ceil` a last one may overhang, unless it begins outside.
fn count(size: usize, kernel: usize, stride: usize, padding: usize, ceil: bool) -> usize {
    let room = size as isize + 2 * padding as isize - kernel as isize;
    let steps = if ceil { (room as f64 / stride as f64).ceil() } else { (room as f64 / stride as f64).floor() };
    let count = steps as usize + 1;
    if ceil && (count - 1) * stride >= size + padding { count - 1 } else { count }
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
            for iy in covered(oy, self.kernel[0], self.stride[0], self.padding[0], h) {
                for ix in covered(ox, self.kernel[1], self.stride[1], self.padding[1], w) {
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

    fn windows(&self, x: Shape) -> Shape {
        let MaxPool2d { kernel, stride, padding, ceil_mode } = *self;
        let side = |which: usize, size| count(size, kernel[which], stride[which], padding[which], ceil_mode);
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
            let rows = covered(oy, self.kernel[0], self.stride[0], self.padding[0], x.h());
            let columns = covered(ox, self.kernel[1], self.stride[1], self.padding[1], x.w());
            let all = if self.count_include_pad { self.kernel } else { [rows.len(), columns.len()] };
            mean(o, [n, c], rows, columns, all[0] * all[1], entry);
        }
    }

    fn windows(&self, x: Shape) -> Shape {
        let side = |which: usize, size| count(size, self.kernel[which], self.stride[which], self.padding[which], false);
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
