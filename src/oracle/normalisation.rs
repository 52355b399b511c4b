//! batch_norm: y = (x − mean) · weight / sqrt(var + eps) + bias, channel by channel, with frozen statistics or with those of
//! the batch. channel_affine: y = x · scale + shift.

use super::{Formula, Number, Values, exact, sum};
use crate::ops::{BatchNorm, BatchNormTrain, ChannelAffine};
use crate::tensor::{Array, Shape};

/// The sum over pictures and pixels of a channel.
fn over_channel(shape: Shape, c: usize, term: impl Fn([usize; 4]) -> Number) -> Number {
    let [n, _, h, w] = shape.0;
    let places = (0..n).flat_map(|n| (0..h).flat_map(move |y| (0..w).map(move |x| [n, c, y, x])));
    sum(places.map(term))
}

/// A sum for each channel.
fn by_channel(shape: Shape, term: impl Fn([usize; 4]) -> Number + Sync) -> Values {
    Values::fill(Shape::channels(shape.c()), |[_, c, _, _]| over_channel(shape, c, &term))
}

/// One over the standard deviation; 0 where there is none.
fn inverse_std(var: Number, eps: f32) -> Number {
    let spread = var + Number::exact(eps);
    if spread.value == 0.0 { Number::ZERO } else { Number::exact(1.0) / spread.sqrt() }
}

/// A vector over channels.
fn of(vector: &Array, c: usize) -> Number {
    exact(vector, [0, c, 0, 0])
}

impl Formula for BatchNorm {
    fn result(&self, inputs: &[Array]) -> Values {
        let [x, weight, bias, mean, var] = inputs else { unreachable!("five arguments") };
        Values::fill(x.shape, |i @ [_, c, _, _]| {
            (exact(x, i) - of(mean, c)) * (of(weight, c) * inverse_std(of(var, c), self.eps)) + of(bias, c)
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let [x, weight, _, mean, var] = inputs else { unreachable!("five arguments") };
        let scale = |c| inverse_std(of(var, c), self.eps);
        let grad_x = Values::fill(x.shape, |i @ [_, c, _, _]| exact(g, i) * (of(weight, c) * scale(c)));
        let grad_weight =
            by_channel(x.shape, |i @ [_, c, _, _]| exact(g, i) * ((exact(x, i) - of(mean, c)) * scale(c)));
        vec![Some(grad_x), Some(grad_weight), Some(by_channel(x.shape, |i| exact(g, i))), None, None]
    }
}

impl BatchNormTrain {
    /// Mean and biased variance of a channel of the batch.
    fn statistics(x: &Array, c: usize) -> [Number; 2] {
        let count = Number::exact(x.shape.pixels() as f64);
        let mean = over_channel(x.shape, c, |i| exact(x, i)) / count;
        let squares = over_channel(x.shape, c, |i| {
            let off = exact(x, i) - mean;
            off * off
        });
        [mean, squares / count]
    }

    /// Mean, and one over the standard deviation, of each channel.
    fn scales(&self, x: &Array) -> Vec<[Number; 2]> {
        let of = |c| {
            let [mean, var] = BatchNormTrain::statistics(x, c);
            [mean, inverse_std(var, self.eps)]
        };
        (0..x.shape.c()).map(of).collect()
    }
}

impl Formula for BatchNormTrain {
    fn result(&self, inputs: &[Array]) -> Values {
        let (x, weight, bias) = (&inputs[0], &inputs[1], &inputs[2]);
        let scales = self.scales(x);
        Values::fill(x.shape, |i @ [_, c, _, _]| {
            let [mean, inverse] = scales[c];
            (exact(x, i) - mean) * (of(weight, c) * inverse) + of(bias, c)
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let scales = self.scales(x);
        let count = Number::exact(x.shape.pixels() as f64);
        let normal = |i: [usize; 4]| (exact(x, i) - scales[i[1]][0]) * scales[i[1]][1];
        let grad_bias = by_channel(x.shape, |i| exact(g, i));
        let grad_weight = by_channel(x.shape, |i| exact(g, i) * normal(i));
        let grad_x = Values::fill(x.shape, |i @ [_, c, _, _]| {
            let mean_g = grad_bias.at([0, c, 0, 0]) / count;
            let slope = grad_weight.at([0, c, 0, 0]) / count;
            of(weight, c) * scales[c][1] * (exact(g, i) - mean_g - normal(i) * slope)
        });
        vec![Some(grad_x), Some(grad_weight), Some(grad_bias), None, None]
    }

    /// running = (1 − momentum) · running + momentum · batch, where the variance is the unbiased one.
    fn changed(&self, inputs: &[Array]) -> Vec<(usize, Values)> {
        let x = &inputs[0];
        let count = Number::exact(x.shape.pixels() as f64);
        let share = Number::exact(self.momentum);
        let mixed = |running: &Array, batch: &(dyn Fn(usize) -> Number + Sync)| {
            Values::fill(running.shape, |[_, c, _, _]| (Number::exact(1.0) - share) * of(running, c) + share * batch(c))
        };
        let mean = mixed(&inputs[3], &|c| BatchNormTrain::statistics(x, c)[0]);
        let var = mixed(&inputs[4], &|c| BatchNormTrain::statistics(x, c)[1] * (count / (count - Number::exact(1.0))));
        vec![(3, mean), (4, var)]
    }
}

impl Formula for ChannelAffine {
    fn result(&self, inputs: &[Array]) -> Values {
        let [x, scale, shift] = inputs else { unreachable!("three arguments") };
        Values::fill(x.shape, |i @ [_, c, _, _]| exact(x, i) * of(scale, c) + of(shift, c))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, scale) = (&inputs[0], &inputs[1]);
        let grad_x = Values::fill(x.shape, |i @ [_, c, _, _]| exact(g, i) * of(scale, c));
        let grad_scale = by_channel(x.shape, |i| exact(g, i) * exact(x, i));
        vec![Some(grad_x), Some(grad_scale), Some(by_channel(x.shape, |i| exact(g, i)))]
    }
}
