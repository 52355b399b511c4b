//! What a step does to a picture besides the descent: maps of the window, penalties, brightness, the blur of a window.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::run;
use entoptic::ops::{StatisticsDistance, TotalVariation, Warp};
use entoptic::tensor::{Array, Layout, Shape};

const SEED: Generator = Generator { seed: 5 };

fn random(name: &str, shape: Shape) -> Array {
    Array::new(shape, SEED.tensor_symmetric(name, shape.elements(), 1.0))
}

/// The picture through a map for each of the batch, and the gradient of <y, upstream>.
fn warped(x: &Array, maps: &[[f32; 6]], upstream: &Array) -> [Array; 2] {
    let matrix = Array::new(Shape::new(maps.len(), 6, 1, 1), maps.concat());
    let inputs = [(x.clone(), Layout::Picture), (matrix, Layout::Picture)];
    let outcome = run(&Warp, &inputs, Some(upstream), &[true, false]);
    [outcome.output, outcome.grads[0].clone().unwrap()]
}

/// `value(n, c, y, x)` everywhere.
fn filled(shape: Shape, value: impl Fn(usize, usize, usize, usize) -> f32) -> Array {
    let [_, c, h, w] = shape.0;
    let at = |k: usize| value(k / (c * h * w), k / (h * w) % c, k / w % h, k % w);
    Array::new(shape, (0..shape.elements()).map(at).collect())
}

fn at(array: &Array, n: usize, c: usize, y: usize, x: usize) -> f32 {
    let [_, channels, h, w] = array.shape.0;
    array.values[((n * channels + c) * h + y) * w + x]
}

#[test]
fn identity_mirrors_and_whole_shifts_are_exact() {
    let shape = Shape::new(3, 3, 7, 6);
    let (x, upstream) = (random("x", shape), random("upstream", shape));
    let maps = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, -2.0, 0.0, 1.0, 3.0]];
    let [y, gradient] = warped(&x, &maps, &upstream);
    let expected = filled(shape, |n, c, oy, ox| match n {
        0 => at(&x, n, c, oy, ox),
        1 => at(&x, n, c, oy, 5 - ox),
        // Two columns to the right, three rows up; the edge repeats.
        _ => at(&x, n, c, (oy + 3).min(6), ox.saturating_sub(2)),
    });
    assert_eq!(y, expected);
    for (n, name) in ["identity", "mirror"].into_iter().enumerate() {
        let back = |k: usize| if n == 0 { k } else { 5 - k };
        let expected = filled(Shape::new(1, 3, 7, 6), |_, c, iy, ix| at(&upstream, n, c, iy, back(ix)));
        assert_eq!(gradient.picture(n), expected, "{name}");
    }
    // Each output pixel is one input pixel: none of the gradient is lost, whatever lies beyond the edge.
    for n in 0..3 {
        let sum = |array: Array| array.values.iter().map(|&g| f64::from(g)).sum::<f64>();
        assert!((sum(gradient.picture(n)) - sum(upstream.picture(n))).abs() < 1e-5, "picture {n}");
    }
}

/// Turns, magnifications, shears and a singular map against loops in f64.
#[test]
fn warp_equals_its_formula() {
    let maps: [[f32; 6]; 6] = [
        [0.939_692_6, -0.342_020_15, 0.3, 0.342_020_15, 0.939_692_6, -0.7],
        [1.6, 0.0, 2.5, 0.0, 1.6, 0.0],
        [-0.45, 0.2, 0.0, -0.2, 0.45, 1.25],
        [0.0, 1.0, 0.0, -1.0, 0.0, 0.0],
        [1.0, 2.0, 0.4, 0.5, 1.0, 0.2],
        [0.9, 0.1, 40.0, -0.1, 0.9, -3.0],
    ];
    let shape = Shape::new(maps.len(), 5, 13, 10);
    let [_, c, h, w] = shape.0;
    let (x, upstream) = (random("x", shape), random("upstream", shape));
    let [y, gradient] = warped(&x, &maps, &upstream);
    let mut expected = vec![0.0; shape.elements()];
    let mut expected_gradient = vec![0.0; shape.elements()];
    for (n, map) in maps.iter().enumerate() {
        let [a, b, c0, d, e, f] = map.map(f64::from);
        let (cx, cy) = ((w - 1) as f64 / 2.0, (h - 1) as f64 / 2.0);
        for (oy, ox) in (0..h).flat_map(|oy| (0..w).map(move |ox| (oy, ox))) {
            let (u, v) = (ox as f64 - cx, oy as f64 - cy);
            let ix = (a * u + b * v + c0 + cx).clamp(0.0, 2.0 * cx);
            let iy = (d * u + e * v + f + cy).clamp(0.0, 2.0 * cy);
            let (left, top) = (ix.floor() as usize, iy.floor() as usize);
            let (right, bottom) = ((left + 1).min(w - 1), (top + 1).min(h - 1));
            let (fx, fy) = (ix - left as f64, iy - top as f64);
            let corners = [
                (top, left, (1.0 - fx) * (1.0 - fy)),
                (top, right, fx * (1.0 - fy)),
                (bottom, left, (1.0 - fx) * fy),
                (bottom, right, fx * fy),
            ];
            for channel in 0..c {
                let plane = (n * c + channel) * h;
                for (iy, ix, weight) in corners {
                    let (from, to) = ((plane + iy) * w + ix, (plane + oy) * w + ox);
                    expected[to] += weight * f64::from(x.values[from]);
                    expected_gradient[from] += weight * f64::from(upstream.values[to]);
                }
            }
        }
    }
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    // Positions of up to ten pixels are rounded to 1e-6, and so are the weights.
    for (label, found, expected) in [("y", y, narrow(expected)), ("grad_x", gradient, narrow(expected_gradient))] {
        let used = assert_close(label, &found.values, &expected, Bound { rel_l2: 2e-6, abs: 1e-5 });
        println!("{label}: {used:.2} of the bound");
    }
}

#[test]
fn total_variation_adds_up_differences_and_ignores_ties() {
    let shape = Shape::new(2, 3, 6, 5);
    // Whole numbers from 0 to 3, many of them equal to their neighbours: everything is exact.
    let x = Array::new(shape, SEED.map("levels", shape.elements(), |u| (4.0 * u).floor()));
    let upstream = Array::new(Shape::per_picture(2), vec![1.0, -0.5]);
    let outcome = run(&TotalVariation, &[(x.clone(), Layout::Picture)], Some(&upstream), &[true]);
    let neighbours = |y: usize, x: usize| {
        let places = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
        places.into_iter().filter(|&(y, x)| y < 6 && x < 5)
    };
    let differences = |n, c, iy, ix| -> Vec<f32> {
        let here = at(&x, n, c, iy, ix);
        neighbours(iy, ix).map(|(y, x_)| here - at(&x, n, c, y, x_)).collect()
    };
    // Each pair is met from both of its sides.
    let halves = filled(shape, |n, c, y, x| differences(n, c, y, x).iter().map(|d| d.abs() / 2.0).sum());
    let sums: Vec<f32> = (0..2).map(|n| halves.picture(n).values.iter().sum()).collect();
    assert_eq!(outcome.output.values, sums);
    let sign = |d: &f32| if *d == 0.0 { 0.0 } else { d.signum() };
    let slopes = filled(shape, |n, c, y, x| upstream.values[n] * differences(n, c, y, x).iter().map(sign).sum::<f32>());
    assert_eq!(outcome.grads[0].as_ref().unwrap(), &slopes);
}

/// Distance and gradient against their formula in f64, on values whose mean is far from zero next to their spread.
#[test]
fn statistics_are_those_of_each_picture() {
    let eps = 1e-3;
    let shape = Shape::new(3, 6, 50, 47);
    let [n, c, h, w] = shape.0;
    let noise = random("noise", shape);
    let x = filled(shape, |n, c, iy, ix| 20.0 * c as f32 + (n + 1) as f32 * at(&noise, n, c, iy, ix));
    let mean = Array::new(Shape::channels(c), (0..c).map(|c| 20.0 * c as f32 + 0.25).collect());
    let var = Array::new(Shape::channels(c), SEED.tensor_uniform("var", c, 0.1, 2.0));
    let upstream = Array::new(Shape::per_picture(n), vec![1.0, -0.5, 2.0]);
    let statistics = [(mean.clone(), Layout::Picture), (var.clone(), Layout::Picture)];
    let measure = |x: Array, upstream: Array| {
        let inputs = [&[(x, Layout::Picture)], &statistics[..]].concat();
        run(&StatisticsDistance { eps }, &inputs, Some(&upstream), &[true, false, false])
    };
    let outcome = measure(x.clone(), upstream.clone());
    let (area, eps) = (h * w, f64::from(eps));
    let mut distances = vec![0.0; n];
    let mut gradient = Vec::new();
    for (plane, pixels) in x.values.chunks(area).enumerate() {
        let (n, channel) = (plane / c, plane % c);
        let (mu, sigma) = (f64::from(mean.values[channel]), f64::from(var.values[channel]) + eps);
        let m = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / area as f64;
        let v = pixels.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / area as f64 + eps;
        distances[n] += ((m - mu).powi(2) / sigma + (v / sigma).ln().powi(2)) / c as f64;
        let scale = f64::from(upstream.values[n]) / (c * area) as f64;
        let slope = |&x: &f32| scale * (2.0 * (m - mu) / sigma + 4.0 * (v / sigma).ln() * (f64::from(x) - m) / v);
        gradient.extend(pixels.iter().map(|x| slope(x) as f32));
    }
    let distances: Vec<f32> = distances.into_iter().map(|d| d as f32).collect();
    let used = assert_close("distance", &outcome.output.values, &distances, Bound::rel_l2(5e-6));
    println!("distance: {used:.2} of the bound");
    let found = outcome.grads[0].as_ref().unwrap();
    let used = assert_close("gradient", &found.values, &gradient, Bound::rel_l2(5e-6));
    println!("gradient: {used:.2} of the bound");
    // A picture is measured alone, whatever the batch.
    for k in 0..n {
        let alone = measure(x.picture(k), Array::filled(Shape::per_picture(1), upstream.values[k]));
        assert_eq!(alone.output.values[0], outcome.output.values[k]);
        assert_eq!(alone.grads[0].as_ref().unwrap(), &found.picture(k));
    }
}

#[test]
fn a_single_pixel_has_a_mean_and_no_variance() {
    let inputs = [vec![3.0, -1.0], vec![1.0, -1.0], vec![4.0, 0.5]]
        .map(|values| (Array::new(Shape::channels(2), values), Layout::Picture));
    let upstream = Array::filled(Shape::per_picture(1), 1.0);
    let outcome = run(&StatisticsDistance { eps: 0.0 }, &inputs, Some(&upstream), &[true, false, false]);
    assert_eq!(outcome.output.values, [0.5]);
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, [0.5, 0.0]);
}
