//! add: y = a + b. relu: y = max(x, 0). minimum: y = min(a, b). concat: channels one after another.

use super::linear::{ONE, backwards};
use super::{Formula, Number, Values, exact, places};
use crate::ops::{Add, Concat, Minimum, Relu};
use crate::tensor::{Array, Shape};

impl Formula for Add {
    fn result(&self, inputs: &[Array]) -> Values {
        Values::fill(inputs[0].shape, |i| exact(&inputs[0], i) + exact(&inputs[1], i))
    }

    fn gradients(&self, _inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(Values::exact(g)); 2]
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
