//! What changes in place of a graph: pictures, parameters, and what goes with them from step to step.

use super::{Number, U, Values, at, exact, places, sum};
use crate::ops::{Adam, Project, Sgd, StatisticsDistance};
use crate::tensor::{Array, Shape};

/// sum + x.
pub fn accumulate(sum: &Array, x: &Array) -> Values {
    Values::fill(sum.shape, |i| exact(sum, i) + exact(x, i))
}

/// Each picture times its factor.
pub fn brighten(picture: &Array, factor: &Array) -> Values {
    Values::fill(picture.shape, |i| exact(picture, i) * exact(factor, [i[0], 0, 0, 0]))
}

/// The picture with a window put where [`crate::ops::Crop`] takes it from.
pub fn paste(x: &Array, corners: &Array, picture: &Array) -> Values {
    let mut pasted = Values::exact(picture);
    let room = [picture.shape.h() - x.shape.h(), picture.shape.w() - x.shape.w()];
    for i @ [n, c, y, column] in places(x.shape) {
        let [top, left] = [0, 1].map(|side| (at(corners, [n, side, 0, 0]).max(0.0) as usize).min(room[side]));
        let [_, channels, h, w] = picture.shape.0;
        pasted.numbers[((n * channels + c) * h + top + y) * w + left + column] = exact(x, i);
    }
    pasted
}

/// Weights and bias of a convolution that does what one without bias and a batch norm do; `norm` is the batch norm's weight,
/// bias, mean and variance.
pub fn fold(eps: f32, weight: &Array, conv_bias: Option<&Array>, [scale, bias, mean, var]: [&Array; 4]) -> [Values; 2] {
    let factor = |c| {
        let spread = exact(var, [0, c, 0, 0]) + Number::exact(eps);
        let inverse = if spread.value == 0.0 { Number::ZERO } else { Number::exact(1.0) / spread.sqrt() };
        exact(scale, [0, c, 0, 0]) * inverse
    };
    let folded = Values::fill(weight.shape, |i| exact(weight, i) * factor(i[0]));
    let below = |i| conv_bias.map_or(exact(mean, i), |bias| exact(mean, i) - exact(bias, i));
    let shift = Values::fill(bias.shape, |i| exact(bias, i) - below(i) * factor(i[1]));
    [folded, shift]
}

/// What an optimiser leaves: the parameter, and its state.
pub type Updated = (Values, Vec<Values>);

/// velocity = momentum · velocity + g, parameter −= rate · velocity, with g = grad + weight_decay · parameter; with Nesterov's
/// momentum the step is g + momentum · velocity.
pub fn sgd(sgd: &Sgd, parameter: &Array, grad: &Array, velocity: &Array, rate: f32) -> Updated {
    let momentum = Number::exact(sgd.momentum);
    let decayed = |i| exact(grad, i) + Number::exact(sgd.weight_decay) * exact(parameter, i);
    let next = Values::fill(parameter.shape, |i| momentum * exact(velocity, i) + decayed(i));
    let moved = Values::fill(parameter.shape, |i| {
        let step = if sgd.nesterov { decayed(i) + momentum * next.at(i) } else { next.at(i) };
        exact(parameter, i) - Number::exact(rate) * step
    });
    (moved, if sgd.has_velocity() { vec![next] } else { vec![] })
}

/// 1 − e^z for z < 0, of which the kernel takes a series near 0 and the plain difference elsewhere.
fn one_minus_exp(z: Number) -> Number {
    let value = -z.value.exp_m1();
    let own = if z.value > -0.1 { 20.0 * value } else { 1.0 + (6.0 + 4.0 * z.value.abs()) * z.value.exp() };
    Number { value, error: z.error + own * U }
}

/// Kingma and Ba 2015, algorithm 1, at the step counted from 0; `means` are those of the gradient and of its square.
pub fn adam(adam: &Adam, parameter: &Array, grad: &Array, means: [&Array; 2], rate: f32, step: u32) -> Updated {
    let [beta1, beta2] = adam.betas.map(Number::exact);
    let [ln1, ln2] = adam.betas.map(|beta| Number::rounded(f64::from(beta).ln()));
    let one = Number::exact(1.0);
    let decayed = |i| exact(grad, i) + Number::exact(adam.weight_decay) * exact(parameter, i);
    let m = Values::fill(parameter.shape, |i| beta1 * exact(means[0], i) + (one - beta1) * decayed(i));
    let v = Values::fill(parameter.shape, |i| beta2 * exact(means[1], i) + (one - beta2) * decayed(i) * decayed(i));
    let t = Number::exact(f64::from(step) + 1.0);
    let moved = Values::fill(parameter.shape, |i| {
        let size = (v.at(i) / one_minus_exp(t * ln2)).sqrt() + Number::exact(adam.eps);
        exact(parameter, i) - Number::exact(rate) * (m.at(i) / one_minus_exp(t * ln1) / size)
    });
    (moved, vec![m, v])
}

/// picture − rate · grad.
pub fn descend_raw(picture: &Array, grad: &Array, rate: f32, limits: Option<[f32; 2]>) -> Values {
    Values::fill(picture.shape, |i| limited(exact(picture, i) - Number::exact(rate) * exact(grad, i), limits))
}

/// picture − rate · grad / (mean of |grad| of each picture), the mean being over `count` elements; nothing where that is zero.
pub fn descend_normalized(picture: &Array, grad: &Array, rate: f32, count: usize, limits: Option<[f32; 2]>) -> Values {
    let of_picture = |n| {
        let [_, c, h, w] = grad.shape.0;
        sum(places(Shape::new(1, c, h, w)).map(|[_, c, y, x]| exact(grad, [n, c, y, x]).abs()))
            / Number::exact(count as f64)
    };
    let means: Vec<Number> = (0..picture.shape.n()).map(of_picture).collect();
    Values::fill(picture.shape, |i| {
        let mean = means[i[0]];
        let direction = if mean.value == 0.0 { Number::ZERO } else { exact(grad, i) / mean };
        limited(exact(picture, i) - Number::exact(rate) * direction, limits)
    })
}

/// The picture's own Adam, whose settings are torch's defaults, of which f32 holds none exactly.
pub fn descend_adam(
    picture: &Array,
    grad: &Array,
    means: [&Array; 2],
    rate: f32,
    step: u32,
    limits: Option<[f32; 2]>,
) -> Updated {
    let mixed = |old: &Array, beta: f64, new: &(dyn Fn([usize; 4]) -> Number + Sync)| {
        Values::fill(picture.shape, |i| Number::rounded(beta) * exact(old, i) + Number::rounded(1.0 - beta) * new(i))
    };
    let m = mixed(means[0], 0.9, &|i| exact(grad, i));
    let v = mixed(means[1], 0.999, &|i| exact(grad, i) * exact(grad, i));
    let t = Number::exact(f64::from(step) + 1.0);
    let [first, second] = [0.9f64, 0.999].map(|beta| one_minus_exp(t * Number::rounded(beta.ln())));
    let moved = Values::fill(picture.shape, |i| {
        let size = (v.at(i) / second).sqrt() + Number::rounded(1e-8);
        limited(exact(picture, i) - Number::exact(rate) * (m.at(i) / first / size), limits)
    });
    (moved, vec![m, v])
}

fn limited(number: Number, limits: Option<[f32; 2]>) -> Number {
    limits.map_or(number, |[low, high]| number.clamp(low.into(), high.into()))
}

/// The length of a picture.
fn length(shape: Shape, element: impl Fn([usize; 4]) -> Number) -> Number {
    sum(places(shape).map(|i| element(i) * element(i))).sqrt()
}

/// A step of so much along the gradient, back into the ball around the clean picture, and between 0 and 1.
pub fn climb(project: &Project, clean: &Array, picture: &Array, grad: &Array) -> Values {
    let [n, c, h, w] = picture.shape.0;
    let one = Shape::new(1, c, h, w);
    let tiny = Number::exact(1e-12);
    let scales: Vec<[Number; 2]> = (0..n)
        .map(|n| {
            let of = |array: &Array, [_, c, y, x]: [usize; 4]| exact(array, [n, c, y, x]);
            let scale = Number::exact(project.rate) / (length(one, |i| of(grad, i)) + tiny);
            let away = length(one, |i| of(picture, i) - of(clean, i) + scale * of(grad, i));
            let share = Number::exact(project.radius) / away;
            [scale, if share.value < 1.0 { share } else { Number { value: 1.0, ..share } }]
        })
        .collect();
    Values::fill(picture.shape, |i| {
        let [scale, share] = scales[i[0]];
        let away = exact(picture, i) - exact(clean, i) + scale * exact(grad, i);
        (exact(clean, i) + share * away).clamp(0.0, 1.0)
    })
}

/// A place within the ball: in a random direction, at a uniform distance. Numbers come in fours, one for four channels of a
/// pixel: a hash of their place, the picture, the step and the seed.
pub fn start(project: &Project, clean: &Array, step: u32, seed: u32) -> Values {
    let [n, c, h, w] = clean.shape.0;
    let groups = c.div_ceil(4);
    let normal = |[n, c, y, x]: [usize; 4]| {
        let u = uniform([((y * w + x) * groups + c / 4) as u32, n as u32, step, seed]);
        // Box and Muller: the first two give lengths, the last two angles; cosines come before sines.
        let lane = c % 4;
        let length = (Number::exact(-2.0) * u[lane % 2].ln()).sqrt();
        let angle = Number::rounded(std::f64::consts::TAU) * u[2 + lane % 2];
        length * if lane < 2 { angle.cos() } else { angle.sin() }
    };
    let one = Shape::new(1, c, h, w);
    let scales: Vec<Number> = (0..n)
        .map(|n| {
            let share = uniform([(h * w * groups) as u32, n as u32, step, seed])[0];
            Number::exact(project.radius) * share / length(one, |[_, c, y, x]| normal([n, c, y, x]))
        })
        .collect();
    Values::fill(clean.shape, |i| exact(clean, i) + scales[i[0]] * normal(i))
}

/// Four numbers between 0 and 1: pcg4d of Jarzynski and Olano 2020, "Hash functions for GPU rendering".
fn uniform(key: [u32; 4]) -> [Number; 4] {
    let mut h = key.map(|k| k.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    for _ in 0..2 {
        h[0] = h[0].wrapping_add(h[1].wrapping_mul(h[3]));
        h[1] = h[1].wrapping_add(h[2].wrapping_mul(h[0]));
        h[2] = h[2].wrapping_add(h[0].wrapping_mul(h[1]));
        h[3] = h[3].wrapping_add(h[1].wrapping_mul(h[2]));
        h = h.map(|v| v ^ (v >> 16));
    }
    let scale = Number::exact(1.0 / 16_777_216.0);
    h.map(|v| (Number::exact(v >> 8) + Number::exact(0.5)) * scale)
}

/// Mean and biased variance over the pixels of each channel of each picture.
pub fn moments(x: &Array) -> [Values; 2] {
    let shape = Shape::new(x.shape.n(), x.shape.c(), 1, 1);
    [0, 1].map(|which| Values::fill(shape, |[n, c, _, _]| StatisticsDistance::statistics(x, [n, c])[which]))
}

/// What eight chains of multiplications by 1 and additions of 1 come to, number i of `count`.
pub fn peak(rounds: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| (8 * i + 28 + 8 * rounds) as f32).collect()
}
