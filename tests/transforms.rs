//! What a step does to a picture besides the descent: maps of the window, penalties, brightness, the blur of a window.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::run;
use entoptic::ops::Warp;
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
