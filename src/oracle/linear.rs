//! Operations that are a table: y[o] = sum over i of weight[o,i] · x[i], so that grad_x[i] = sum over o of weight[o,i] ·
//! grad_y[o]. Each gives its table once, and has both from it.

use super::{Index, Number, Sums, Values, exact};
use crate::tensor::{Array, Shape};

/// Is told each entry of a table: position in the result, position in the argument, weight.
pub type Entry<'a> = &'a mut dyn FnMut(Index, Index, Number);

/// What a table makes of an argument.
pub fn forwards(x: &Array, y: Shape, table: impl FnOnce(Entry)) -> Values {
    let mut sums = Sums::new(y);
    table(&mut |o, i, weight| sums.add(o, weight * exact(x, i)));
    sums.totals()
}

/// What it gives back to an argument of this shape.
pub fn backwards(x: Shape, grad_y: &Array, table: impl FnOnce(Entry)) -> Values {
    let mut sums = Sums::new(x);
    table(&mut |o, i, weight| sums.add(i, weight * exact(grad_y, o)));
    sums.totals()
}

/// The weight of an element that goes through unchanged.
pub const ONE: Number = Number { value: 1.0, error: 0.0 };
