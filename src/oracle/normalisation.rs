//! batch_norm: y = (x − mean) · weight / sqrt(var + eps) + bias, channel by channel, with frozen statistics or with those of
//! the batch. channel_affine: y = x · scale + shift. layer_norm: as batch_norm, but with the statistics of each pixel's channels.
//! softmax: y = exp(x) over its sum over the channels. local_response_norm: y = x / (k + alpha / size · sum of the squares of
//! neighbouring channels)^beta.

use super::{Formula, Number, Values, exact, places, sum};
use crate::ops::{BatchNorm, BatchNormTrain, ChannelAffine, LayerNorm, LocalResponseNorm, Softmax};
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

/// The sum over the channels of a pixel.
fn over_channels(shape: Shape, [n, _, y, x]: [usize; 4], term: impl Fn([usize; 4]) -> Number) -> Number {
    sum((0..shape.c()).map(|c| term([n, c, y, x])))
}

impl LayerNorm {
    /// Of each pixel, in order, the mean and one over the standard deviation.
    fn statistics(&self, x: &Array) -> Vec<[Number; 2]> {
        let [n, c, h, w] = x.shape.0;
        let count = Number::exact(c as f64);
        let of = |pixel| {
            let mean = over_channels(x.shape, pixel, |i| exact(x, i)) / count;
            let squares = over_channels(x.shape, pixel, |i| {
                let off = exact(x, i) - mean;
                off * off
            });
            [mean, inverse_std(squares / count, self.eps)]
        };
        places(Shape::new(n, 1, h, w)).map(of).collect()
    }
}

/// The number of a pixel in the batch.
fn pixel(shape: Shape, [n, _, y, x]: [usize; 4]) -> usize {
    (n * shape.h() + y) * shape.w() + x
}

impl Formula for LayerNorm {
    fn result(&self, inputs: &[Array]) -> Values {
        let [x, weight, bias] = inputs else { unreachable!("three arguments") };
        let statistics = self.statistics(x);
        Values::fill(x.shape, |i @ [_, c, _, _]| {
            let [mean, inverse] = statistics[pixel(x.shape, i)];
            (exact(x, i) - mean) * inverse * of(weight, c) + of(bias, c)
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let statistics = self.statistics(x);
        let count = Number::exact(x.shape.c() as f64);
        let normal = |i: [usize; 4]| {
            let [mean, inverse] = statistics[pixel(x.shape, i)];
            (exact(x, i) - mean) * inverse
        };
        let weighted = |i: [usize; 4]| exact(g, i) * of(weight, i[1]);
        let means: Vec<[Number; 2]> = places(Shape::new(x.shape.n(), 1, x.shape.h(), x.shape.w()))
            .map(|at| {
                let first = over_channels(x.shape, at, weighted) / count;
                [first, over_channels(x.shape, at, |i| weighted(i) * normal(i)) / count]
            })
            .collect();
        let grad_x = Values::fill(x.shape, |i| {
            let [first, second] = means[pixel(x.shape, i)];
            (weighted(i) - first - normal(i) * second) * statistics[pixel(x.shape, i)][1]
        });
        let grad_weight = by_channel(x.shape, |i| exact(g, i) * normal(i));
        vec![Some(grad_x), Some(grad_weight), Some(by_channel(x.shape, |i| exact(g, i)))]
    }
}

impl Formula for Softmax {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = &inputs[0];
        let [n, _, h, w] = x.shape.0;
        // The largest, and the sum of powers, of each pixel.
        let of = |at: [usize; 4]| {
            let channels = (0..x.shape.c()).map(|c| exact(x, [at[0], c, at[2], at[3]]));
            let most = channels.fold(Number::exact(f64::NEG_INFINITY), |a, b| if a.value < b.value { b } else { a });
            (most, over_channels(x.shape, at, |i| (exact(x, i) - most).exp()))
        };
        let pixels: Vec<_> = places(Shape::new(n, 1, h, w)).map(of).collect();
        Values::fill(x.shape, |i| {
            let (most, total) = pixels[pixel(x.shape, i)];
            (exact(x, i) - most).exp() / total
        })
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let y = self.result(inputs);
        let [n, _, h, w] = y.shape.0;
        let of = |at| over_channels(y.shape, at, |i| exact(g, i) * y.at(i));
        let means: Vec<Number> = places(Shape::new(n, 1, h, w)).map(of).collect();
        vec![Some(Values::fill(y.shape, |i| y.at(i) * (exact(g, i) - means[pixel(y.shape, i)])))]
    }
}

impl LocalResponseNorm {
    /// The divisor of an element to this power.
    fn power(&self, x: &Array, [n, c, row, column]: [usize; 4], exponent: Number) -> Number {
        let window = c.saturating_sub(self.before)..(c + self.after + 1).min(x.shape.c());
        let squares = sum(window.map(|j| {
            let v = exact(x, [n, j, row, column]);
            v * v
        }));
        ((Number::exact(self.k) + self.scale() * squares).ln() * exponent).exp()
    }

    fn scale(&self) -> Number {
        Number::rounded(f64::from(self.alpha) / (self.before + 1 + self.after) as f64)
    }
}

impl Formula for LocalResponseNorm {
    fn result(&self, inputs: &[Array]) -> Values {
        let x = &inputs[0];
        let exponent = Number::exact(-self.beta);
        Values::fill(x.shape, |i| exact(x, i) * self.power(x, i, exponent))
    }

    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let x = &inputs[0];
        let beta = Number::exact(self.beta);
        let grad = |i @ [n, c, row, column]: [usize; 4]| {
            let seen_by = c.saturating_sub(self.after)..(c + self.before + 1).min(x.shape.c());
            let through = sum(seen_by.map(|j| {
                let at = [n, j, row, column];
                exact(g, at) * exact(x, at) * self.power(x, at, -(beta + Number::exact(1.0)))
            }));
            let own = exact(g, i) * self.power(x, i, -beta);
            own - Number::exact(2.0) * self.scale() * beta * exact(x, i) * through
        };
        vec![Some(Values::fill(x.shape, grad))]
    }
}
