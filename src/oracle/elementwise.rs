//! add: y = a + b. binary: y = a + b, a − b, a · b, a / b, each argument the same along sides of size 1. relu: y = max(x, 0).
//! minimum: y = min(a, b). concat: channels one after another. channels: some of them, as they are or shuffled.

use super::linear::{Entry, ONE, backwards, forwards};
use super::{Formula, Index, Number, Sums, Values, exact, places};
use crate::ops::{Add, Binary, Channels, Concat, Minimum, Relu};
use crate::tensor::{Array, Shape};

impl Formula for Add {
    fn result(&self, inputs: &[Array]) -> Values {
        Values::fill(inputs[0].shape, |i| exact(&inputs[0], i) + exact(&inputs[1], i))
    }

    fn gradients(&self, _inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(Values::exact(g)); 2]
    }
}

/// The element of an argument that a place of the result sees.
fn stretched(argument: &Array, place: Index) -> Index {
    let mut at = place;
    at.iter_mut().zip(argument.shape.0).filter(|(_, size)| *size == 1).for_each(|(at, _)| *at = 0);
    at
}

impl Formula for Binary {
    fn result(&self, inputs: &[Array]) -> Values {
        let (a, b) = (&inputs[0], &inputs[1]);
        let mut sizes = a.shape.0;
        sizes.iter_mut().zip(b.shape.0).for_each(|(size, other)| *size = other.max(*size));
        Values::fill(Shape(sizes), |i| {
            let (a, b) = (exact(a, stretched(a, i)), exact(b, stretched(b, i)));
            match self {
                Binary::Plus => a + b,
                Binary::Minus => a - b,
                Binary::Times => a * b,
                Binary::Over => a / b,
            }
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (a, b) = (&inputs[0], &inputs[1]);
        let [mut grad_a, mut grad_b] = [Sums::new(a.shape), Sums::new(b.shape)];
        for i in places(g.shape) {
            let (to_a, to_b, g) = (stretched(a, i), stretched(b, i), exact(g, i));
            let (a, b) = (exact(a, to_a), exact(b, to_b));
            let (for_a, for_b) = match self {
                Binary::Plus => (g, g),
                Binary::Minus => (g, -g),
                Binary::Times => (g * b, g * a),
                Binary::Over => (g / b, -g * (a / b) / b),
            };
            grad_a.add(to_a, for_a);
            grad_b.add(to_b, for_b);
        }
        vec![Some(grad_a.totals()), Some(grad_b.totals())]
    }
}

impl Channels {
    fn table(&self, x: Shape, entry: Entry) {
        let by_group = self.count / self.groups;
        let [n, _, h, w] = x.0;
        for group in 0..self.groups {
            for member in 0..by_group {
                let [from, to] = [self.first + group * by_group + member, member * self.groups + group];
                for [n, _, y, x] in places(Shape::new(n, 1, h, w)) {
                    entry([n, to, y, x], [n, from, y, x], ONE);
                }
            }
        }
    }
}

impl Formula for Channels {
    fn result(&self, inputs: &[Array]) -> Values {
        let [n, _, h, w] = inputs[0].shape.0;
        forwards(&inputs[0], Shape::new(n, self.count, h, w), |entry| self.table(inputs[0].shape, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}

impl Formula for Relu {
    fn result(&self, inputs: &[Array]) -> Values {
        Values::fill(inputs[0].shape, |i| exact(&inputs[0], i).rectified())
    }

    /// At 0 it is 0.
    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let slope = |i| if exact(&inputs[0], i).value > 0.0 { exact(g, i) } else { Number::ZERO };
        vec![Some(Values::fill(g.shape, slope))]
    }
}

impl Formula for Minimum {
    fn result(&self, inputs: &[Array]) -> Values {
        let least = |a: Number, b: Number| if a.value <= b.value { a } else { b };
        Values::fill(inputs[0].shape, |i| least(exact(&inputs[0], i), exact(&inputs[1], i)))
    }

    /// To `a` where both are equal.
    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let first = |i| exact(&inputs[0], i).value <= exact(&inputs[1], i).value;
        let given =
            |to_first: bool| Values::fill(g.shape, |i| if first(i) == to_first { exact(g, i) } else { Number::ZERO });
        vec![Some(given(true)), Some(given(false))]
    }
}

impl Formula for Concat {
    fn result(&self, inputs: &[Array]) -> Values {
        let [n, _, h, w] = inputs[0].shape.0;
        let channels = inputs.iter().map(|x| x.shape.c()).sum();
        Values::fill(Shape::new(n, channels, h, w), |[n, mut c, y, x]| {
            for part in inputs {
                if c < part.shape.c() {
                    return exact(part, [n, c, y, x]);
                }
                c -= part.shape.c();
            }
            unreachable!("the channels are those of the parts");
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let mut first = 0;
        let part = |part: &Array| {
            let start = first;
            first += part.shape.c();
            Some(backwards(part.shape, g, |entry| {
                places(part.shape).for_each(|i @ [n, c, y, x]| entry([n, start + c, y, x], i, ONE));
            }))
        };
        inputs.iter().map(part).collect()
    }
}
