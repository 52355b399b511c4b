//! Arrays of [`Number`], filled element by element.

use std::thread;

use super::number::{Number, Sum};
use crate::tensor::{Array, Shape};

/// An array on the host, row-major [N, C, H, W].
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Sizes.
    pub shape: Shape,
    /// `shape.elements()` numbers.
    pub numbers: Vec<Number>,
}

/// Position [n, c, y, x].
pub type Index = [usize; 4];

/// Below this many elements a thread costs more than it saves.
const ALONE: usize = 256;

impl Values {
    /// Each element by its position.
    pub fn fill(shape: Shape, element: impl Fn(Index) -> Number + Sync) -> Values {
        let count = shape.elements();
        let mut numbers = vec![Number::ZERO; count];
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = count.div_ceil(threads).max(ALONE);
        thread::scope(|scope| {
            for (part, slots) in numbers.chunks_mut(share).enumerate() {
                let element = &element;
                let mut work = move || {
                    slots.iter_mut().enumerate().for_each(|(k, slot)| *slot = element(place(shape, part * share + k)));
                };
                if count <= share { work() } else { drop(scope.spawn(work)) }
            }
        });
        Values { shape, numbers }
    }

    /// Numbers that f32 holds.
    pub fn exact(array: &Array) -> Values {
        let numbers = array.values.iter().map(|&value| Number::exact(value)).collect();
        Values { shape: array.shape, numbers }
    }

    /// An element.
    pub fn at(&self, index: Index) -> Number {
        self.numbers[offset(self.shape, index)]
    }
}

/// Sums in the making, one for each element.
pub struct Sums {
    shape: Shape,
    sums: Vec<Sum>,
}

impl Sums {
    /// Zeros.
    pub fn new(shape: Shape) -> Sums {
        Sums { shape, sums: vec![Sum::default(); shape.elements()] }
    }

    /// Adds to one of them.
    pub fn add(&mut self, index: Index, term: Number) {
        self.sums[offset(self.shape, index)].add(term);
    }

    /// What they have come to.
    pub fn totals(self) -> Values {
        Values { shape: self.shape, numbers: self.sums.iter().map(Sum::total).collect() }
    }
}

/// An element of an array.
pub fn at(array: &Array, index: Index) -> f64 {
    f64::from(array.values[offset(array.shape, index)])
}

/// An element of an array, which f32 holds.
pub fn exact(array: &Array, index: Index) -> Number {
    Number::exact(at(array, index))
}

/// Positions of all elements, in order.
pub fn places(shape: Shape) -> impl Iterator<Item = Index> {
    (0..shape.elements()).map(move |k| place(shape, k))
}

fn offset(shape: Shape, [n, c, y, x]: Index) -> usize {
    let [_, channels, height, width] = shape.0;
    ((n * channels + c) * height + y) * width + x
}

fn place(shape: Shape, k: usize) -> Index {
    let [_, channels, height, width] = shape.0;
    [k / (channels * height * width), k / (height * width) % channels, k / width % height, k % width]
}
