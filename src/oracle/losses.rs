//! pick, region_sum, cross_entropy, distance, total_variation, statistics_distance: a number for each picture.

use super::linear::{Entry, ONE, backwards, forwards};
use super::{Formula, Number, Sums, Values, at, exact, places, sum};
use crate::ops::{CrossEntropy, Distance, Metric, Pick, RegionSum, StatisticsDistance, TotalVariation};
use crate::tensor::{Array, Shape};

/// What a loss says of a picture.
fn of(loss: &Array, n: usize) -> Number {
    exact(loss, [n, 0, 0, 0])
}

/// The sum over all elements of each picture.
fn by_picture(shape: Shape, term: impl Fn([usize; 4]) -> Number) -> Values {
    let mut sums = Sums::new(Shape::per_picture(shape.n()));
    places(shape).for_each(|i| sums.add([i[0], 0, 0, 0], term(i)));
    sums.totals()
}

impl Pick {
    fn table(x: Shape, index: &Array, entry: Entry) {
        for i @ [n, c, _, _] in places(x) {
            if c == (at(index, [n, 0, 0, 0]) as usize).min(x.c() - 1) {
                entry([n, 0, 0, 0], i, ONE);
            }
        }
    }
}

impl Formula for Pick {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], Shape::per_picture(x.n()), |entry| Pick::table(x, &inputs[1], entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| Pick::table(inputs[0].shape, &inputs[1], entry))), None]
    }
}

impl RegionSum {
    fn table(&self, x: Shape, entry: Entry) {
        for i @ [n, c, y, column] in places(x) {
            if self.channels.contains(&c) && self.rows.contains(&y) && self.columns.contains(&column) {
                entry([n, 0, 0, 0], i, ONE);
            }
        }
    }
}

impl Formula for RegionSum {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        forwards(&inputs[0], Shape::per_picture(x.n()), |entry| self.table(x, entry))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        vec![Some(backwards(inputs[0].shape, g, |entry| self.table(inputs[0].shape, entry)))]
    }
}

impl CrossEntropy {
    /// The probability that is wanted of a class.
    fn wanted(&self, x: Shape, label: &Array, [n, c]: [usize; 2]) -> Number {
        let smoothing = Number::exact(self.smoothing);
        let correct = (at(label, [n, 0, 0, 0]) as usize).min(x.c() - 1);
        let hit = if c == correct { Number::exact(1.0) - smoothing } else { Number::ZERO };
        hit + smoothing / Number::exact(x.c() as f64)
    }

    /// The largest logit of a picture, and the sum of e to how far each lies above it.
    fn scale(x: &Array, n: usize) -> (Number, Number) {
        let logit = |c| exact(x, [n, c, 0, 0]);
        let largest = (0..x.shape.c()).map(|c| logit(c).value).fold(f64::NEG_INFINITY, f64::max);
        let largest = Number::exact(largest);
        (largest, sum((0..x.shape.c()).map(|c| (logit(c) - largest).exp())))
    }
}

impl Formula for CrossEntropy {
    fn result(&self, inputs: &[Array]) -> Values {
        let (x, label) = (&inputs[0], &inputs[1]);
        Values::fill(Shape::per_picture(x.shape.n()), |[n, ..]| {
            let (largest, powers) = CrossEntropy::scale(x, n);
            let below = |c| self.wanted(x.shape, label, [n, c]) * (largest - exact(x, [n, c, 0, 0]));
            powers.ln() + sum((0..x.shape.c()).map(below))
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, label) = (&inputs[0], &inputs[1]);
        let scales: Vec<_> = (0..x.shape.n()).map(|n| CrossEntropy::scale(x, n)).collect();
        let slope = |i @ [n, c, _, _]: [usize; 4]| {
            let (largest, powers) = scales[n];
            of(g, n) * ((exact(x, i) - largest).exp() / powers - self.wanted(x.shape, label, [n, c]))
        };
        vec![Some(Values::fill(x.shape, slope)), None]
    }
}

impl Formula for Distance {
    fn result(&self, inputs: &[Array]) -> Values {
        let off = |i| exact(&inputs[0], i) - exact(&inputs[1], i);
        let mut total = by_picture(inputs[0].shape, |i| match self.metric {
            Metric::L1 => off(i).abs(),
            Metric::L2 | Metric::SumOfSquares => off(i) * off(i),
        });
        if self.metric == Metric::L2 {
            total.numbers.iter_mut().for_each(|number| *number = number.sqrt());
        }
        total
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let length = self.result(inputs);
        let slope = |i: [usize; 4]| {
            let off = exact(&inputs[0], i) - exact(&inputs[1], i);
            match self.metric {
                Metric::L1 => sign(off),
                Metric::L2 if length.at([i[0], 0, 0, 0]).value == 0.0 => Number::ZERO,
                Metric::L2 => off / length.at([i[0], 0, 0, 0]),
                Metric::SumOfSquares => Number::exact(2.0) * off,
            }
        };
        vec![Some(Values::fill(inputs[0].shape, |i| of(g, i[0]) * slope(i))), None]
    }
}

/// 1, 0 or -1. A difference of two f32 has the sign that it should have.
fn sign(number: Number) -> Number {
    Number::exact(if number.value == 0.0 { 0.0 } else { number.value.signum() })
}

impl TotalVariation {
    /// Neighbours below and to the right.
    fn neighbours(x: Shape, [n, c, y, column]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
        let below = (y + 1 < x.h()).then_some([n, c, y + 1, column]);
        let right = (column + 1 < x.w()).then_some([n, c, y, column + 1]);
        below.into_iter().chain(right)
    }
}

impl Formula for TotalVariation {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = &inputs[0];
        by_picture(x.shape, |i| {
            sum(TotalVariation::neighbours(x.shape, i).map(|other| (exact(x, other) - exact(x, i)).abs()))
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let x = &inputs[0];
        let mut sums = Sums::new(x.shape);
        for i in places(x.shape) {
            for other in TotalVariation::neighbours(x.shape, i) {
                let up = of(g, i[0]) * sign(exact(x, other) - exact(x, i));
                sums.add(other, up);
                sums.add(i, -up);
            }
        }
        vec![Some(sums.totals())]
    }
}

impl StatisticsDistance {
    /// Mean and biased variance over the pixels of a channel of a picture.
    pub(super) fn statistics(x: &Array, [n, c]: [usize; 2]) -> [Number; 2] {
        let [_, _, h, w] = x.shape.0;
        let count = Number::exact((h * w) as f64);
        let over = |term: &dyn Fn(Number) -> Number| {
            let pixels = (0..h).flat_map(|y| (0..w).map(move |column| [n, c, y, column]));
            sum(pixels.map(|i| term(exact(x, i)))) / count
        };
        let mean = over(&|value| value);
        [mean, over(&|value| (value - mean) * (value - mean))]
    }

    /// How far mean and variance of a channel of a picture lie from the running ones: (m − rm) / (rv + eps) and
    /// ln((v + eps) / (rv + eps)), and v + eps.
    fn off(&self, inputs: &[Array], [n, c]: [usize; 2]) -> [Number; 4] {
        let [mean, var] = StatisticsDistance::statistics(&inputs[0], [n, c]);
        let eps = Number::exact(self.eps);
        let [running_mean, running_var] = [1, 2].map(|input: usize| exact(&inputs[input], [0, c, 0, 0]));
        let off = mean - running_mean;
        let ratio = (var + eps) / (running_var + eps);
        let log = if inputs[0].shape.h() * inputs[0].shape.w() > 1 { ratio.ln() } else { Number::ZERO };
        [off, running_var + eps, log, var + eps]
    }
}

impl Formula for StatisticsDistance {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = inputs[0].shape;
        Values::fill(Shape::per_picture(x.n()), |[n, ..]| {
            let terms = (0..x.c()).map(|c| {
                let [off, spread, log, _] = self.off(inputs, [n, c]);
                off * off / spread + log * log
            });
            sum(terms) / Number::exact(x.c() as f64)
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let x = &inputs[0];
        let all = Number::exact((x.shape.c() * x.shape.h() * x.shape.w()) as f64);
        let channels: Vec<Vec<_>> = (0..x.shape.n())
            .map(|n| (0..x.shape.c()).map(|c| (self.off(inputs, [n, c]), Self::statistics(x, [n, c])[0])).collect())
            .collect();
        let slope = |i @ [n, c, _, _]: [usize; 4]| {
            let ([off, spread, log, own], mean) = channels[n][c];
            let by_mean = Number::exact(2.0) * off / spread;
            let by_variance = Number::exact(4.0) * log * (exact(x, i) - mean) / own;
            of(g, n) * (by_mean + by_variance) / all
        };
        vec![Some(Values::fill(x.shape, slope)), None, None]
    }
}
