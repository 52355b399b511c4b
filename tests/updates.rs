//! What changes from replay to replay: the step and its tables, the picture; and the watch for values that are not finite.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::{Bench, device};
use entoptic::device::Externals;
use entoptic::ops::{
    Accumulate, Advance, Brighten, CheckFinite, Crop, Descend, GaussianBlur, Paste, Project, Rule, View,
};
use entoptic::tensor::{Array, Layout, Shape};

/// Two pictures with a padding lane.
const SHAPE: Shape = Shape::new(2, 3, 7, 5);

fn random(name: &str) -> Array {
    random_of(name, SHAPE)
}

fn random_of(name: &str, shape: Shape) -> Array {
    Array::new(shape, Generator { seed: 1 }.tensor_symmetric(name, shape.elements(), 1.0))
}

fn number(value: f32) -> Array {
    Array::filled(Shape::per_picture(1), value)
}

/// The bits of zero are those of step 0.
fn put_step(bench: &mut Bench) -> View {
    bench.put("step", Layout::Picture, &number(0.0))
}

fn stored(buffers: &Externals, name: &str) -> Vec<f32> {
    let buffer = &buffers[name];
    device().readback(buffer.bytes).unwrap().read(device(), buffer).unwrap()
}

#[test]
fn each_replay_reads_and_writes_the_row_of_its_step() {
    let mut bench = Bench::new();
    let step = put_step(&mut bench).buffer;
    // Three rows of two vec4s each.
    let table =
        bench.put("table", Layout::Picture, &Array::new(Shape::new(3, 8, 1, 1), (0..24).map(|k| k as f32).collect()));
    let now = bench.put("now", Layout::Picture, &Array::filled(Shape::channels(8), -1.0));
    let history = bench.put("history", Layout::Picture, &Array::filled(Shape::new(3, 4, 1, 1), -1.0));
    Advance::read_row(&mut bench.recorder, step, table.buffer, 3, now);
    Advance::log(&mut bench.recorder, step, now.slice(4, 4), history.buffer, 3);
    Advance::next(&mut bench.recorder, step);
    let (mut program, buffers) = bench.prepare("advance");
    for row in [0, 1, 2, 2, 2] {
        program.run().unwrap();
        let expected: Vec<f32> = (8 * row..8 * row + 8).map(|k| k as f32).collect();
        assert_eq!(stored(&buffers, "now"), expected, "beyond the last row it is the last row that is read");
        assert_eq!(stored(&buffers, "history")[4 * row..][..4], expected[4..]);
    }
    assert_eq!(stored(&buffers, "history"), [4.0, 5.0, 6.0, 7.0, 12.0, 13.0, 14.0, 15.0, 20.0, 21.0, 22.0, 23.0]);
    assert_eq!(stored(&buffers, "step")[0].to_bits(), 5);
}

/// The picture after each of some gradients, by the engine.
fn descended(
    rule: impl Fn(&mut Bench) -> Rule,
    limits: Option<[f32; 2]>,
    rate: f32,
    gradients: &[Array],
) -> Vec<Array> {
    let mut bench = Bench::new();
    let rule = rule(&mut bench);
    let shape = gradients[0].shape;
    let picture = bench.put("picture", Layout::Picture, &random_of("picture", shape));
    let grad = bench.put("grad", Layout::Picture, &gradients[0]);
    // The rate as it comes from a table: one channel group among others.
    let now = bench.put("now", Layout::Picture, &Array::new(Shape::channels(5), vec![9.0, 9.0, 9.0, 9.0, rate]));
    Descend { rule, limits }.record(&mut bench.recorder, picture, grad, now.slice(4, 1));
    if let Rule::Adam { step, .. } = rule {
        Advance::next(&mut bench.recorder, step);
    }
    let (mut program, buffers) = bench.prepare("descend");
    let pictures = gradients.iter().map(|gradient| {
        device().write_array(&buffers["grad"], Layout::Picture, gradient).unwrap();
        program.run().unwrap();
        let padding = stored(&buffers, "picture").into_iter().skip(3).step_by(4);
        assert!(padding.into_iter().all(|lane| lane == 0.0), "the padding lanes stay zero");
        device().download(&buffers["picture"], Layout::Picture, shape).unwrap()
    });
    pictures.collect()
}

#[test]
fn raw_descent_subtracts_rate_times_gradient() {
    let (before, gradient) = (random("picture"), random("gradient"));
    let after = descended(|_| Rule::Raw, None, 0.25, std::slice::from_ref(&gradient));
    let expected: Vec<f32> = before.values.iter().zip(&gradient.values).map(|(p, g)| p - 0.25 * g).collect();
    assert_close("raw", &after[0].values, &expected, Bound::rel_l2(1e-6));
}

#[test]
fn limits_hold_after_the_update() {
    let (before, gradient) = (random("picture"), random("gradient"));
    let after = descended(|_| Rule::Raw, Some([0.25, 0.5]), 0.25, std::slice::from_ref(&gradient));
    let expected: Vec<f32> =
        before.values.iter().zip(&gradient.values).map(|(p, g)| (p - 0.25 * g).clamp(0.25, 0.5)).collect();
    assert_close("limited", &after[0].values, &expected, Bound::rel_l2(1e-6));
}

#[test]
fn what_is_not_finite_passes_limits() {
    let mut gradient = random("gradient");
    for (at, odd) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN].into_iter().enumerate() {
        gradient.values[5 * at] = odd;
    }
    let after = &descended(|_| Rule::Raw, Some([0.25, 0.5]), 0.25, std::slice::from_ref(&gradient))[0].values;
    for (value, gradient) in after.iter().zip(&gradient.values) {
        assert_eq!(value.is_finite(), gradient.is_finite(), "{gradient} makes {value}");
    }
}

#[test]
fn normalized_descent_divides_by_the_mean_of_each_picture() {
    let before = random("picture");
    let mut gradient = random("gradient");
    // The second picture's gradient is zero: nothing may happen to it, not even NaN.
    let size = SHAPE.elements() / 2;
    gradient.values[size..].fill(0.0);
    let after = descended(|_| Rule::Normalized { count: 40 }, None, 0.25, std::slice::from_ref(&gradient));
    let mean = gradient.values.iter().map(|g| f64::from(g.abs())).sum::<f64>() / 40.0;
    let step = |(p, g): (&f32, &f32)| (f64::from(*p) - 0.25 * f64::from(*g) / mean) as f32;
    let expected: Vec<f32> = before.values.iter().zip(&gradient.values).map(step).collect();
    assert_close("normalized", &after[0].values, &expected, Bound::rel_l2(1e-6));
    assert_eq!(after[0].values[size..], before.values[size..]);
}

/// Three parts of 4096 pixels, the last one not full; pictures of different sizes of gradient.
#[test]
fn means_of_large_pictures_are_taken_in_parts() {
    let shape = Shape::new(2, 3, 101, 83);
    let before = random_of("picture", shape);
    let mut gradient = random_of("gradient", shape);
    let size = shape.elements() / 2;
    gradient.values[size..].iter_mut().for_each(|g| *g *= 1000.0);
    let after = descended(|_| Rule::Normalized { count: size }, None, 0.25, std::slice::from_ref(&gradient));
    for (which, found) in after[0].values.chunks(size).enumerate() {
        let (before, gradient) = (&before.values[which * size..][..size], &gradient.values[which * size..][..size]);
        let mean = gradient.iter().map(|g| f64::from(g.abs())).sum::<f64>() / size as f64;
        let step = |(p, g): (&f32, &f32)| (f64::from(*p) - 0.25 * f64::from(*g) / mean) as f32;
        let expected: Vec<f32> = before.iter().zip(gradient).map(step).collect();
        assert_close(&format!("picture {which}"), found, &expected, Bound::rel_l2(1e-6));
    }
}

#[test]
fn adam_takes_the_steps_of_the_paper() {
    let gradients: Vec<Array> = (0..120).map(|step| random(&format!("gradient {step}"))).collect();
    let rule = |bench: &mut Bench| {
        let zero = Array::filled(SHAPE, 0.0);
        let [m, v] = ["m", "v"].map(|name| bench.put(name, Layout::Picture, &zero).buffer);
        Rule::Adam { m, v, step: put_step(bench).buffer }
    };
    let after = descended(rule, None, 0.05, &gradients);
    let mut picture: Vec<f64> = random("picture").values.iter().map(|&p| f64::from(p)).collect();
    let mut means = vec![(0.0f64, 0.0f64); picture.len()];
    for (step, gradient) in gradients.iter().enumerate() {
        let t = step as i32 + 1;
        for ((p, (m, v)), g) in picture.iter_mut().zip(&mut means).zip(&gradient.values) {
            let g = f64::from(*g);
            (*m, *v) = (0.9 * *m + 0.1 * g, 0.999 * *v + 0.001 * g * g);
            *p -= 0.05 * (*m / (1.0 - 0.9f64.powi(t))) / ((*v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
        }
        let expected: Vec<f32> = picture.iter().map(|&p| p as f32).collect();
        // Measured: 4e-7 after 120 steps.
        assert_close(&format!("step {t}"), &after[step].values, &expected, Bound::rel_l2(4e-6));
    }
}

#[test]
fn a_picture_is_blurred_in_place() {
    let taps = Array::new(Shape::channels(3), vec![0.25, 0.5, 0.25]);
    let blurred = |in_place: bool| {
        let mut bench = Bench::new();
        let x = bench.put("x", Layout::Picture, &random("picture"));
        let y = if in_place { x } else { bench.put("y", Layout::Picture, &Array::filled(SHAPE, 0.0)) };
        let taps = bench.put("taps", Layout::Picture, &taps);
        GaussianBlur { kernel: 3 }.record(&mut bench.recorder, x, taps, y);
        let (mut program, buffers) = bench.prepare("blur");
        program.run().unwrap();
        stored(&buffers, if in_place { "x" } else { "y" })
    };
    assert_eq!(blurred(true), blurred(false));
}

#[test]
fn each_picture_gets_its_own_brightness() {
    let mut bench = Bench::new();
    let picture = bench.put("picture", Layout::Picture, &random("picture"));
    // The factor as it comes from a table of two groups.
    let factors =
        Array::new(Shape::new(2, 8, 1, 1), (0..16).map(|k| if k % 8 == 4 { 0.75 + k as f32 } else { 9.0 }).collect());
    let factors = bench.put("factors", Layout::Picture, &factors);
    Brighten::record(&mut bench.recorder, picture, factors.slice(4, 1));
    let (mut program, buffers) = bench.prepare("brighten");
    program.run().unwrap();
    let found = device().download(&buffers["picture"], Layout::Picture, SHAPE).unwrap();
    let half = SHAPE.elements() / 2;
    let factor = |k: usize| if k < half { 4.75 } else { 12.75 };
    let expected: Vec<f32> = random("picture").values.iter().enumerate().map(|(k, p)| p * factor(k)).collect();
    assert_eq!(found.values, expected);
}

#[test]
fn a_window_goes_back_to_where_it_was_taken() {
    let mut bench = Bench::new();
    let picture = bench.put("picture", Layout::Picture, &random("picture"));
    // The second corner would let the window overhang at the bottom right: it begins at (3, 3).
    let corners = bench.put("corners", Layout::Picture, &Array::new(Shape::new(2, 2, 1, 1), vec![1.0, 2.0, 9.0, 9.0]));
    let crop = Crop { height: 4, width: 2 };
    let window = Shape::new(2, 3, 4, 2);
    let taken = bench.put("taken", Layout::Picture, &Array::filled(window, 0.0));
    crop.record(&mut bench.recorder, picture, corners, taken);
    let put = bench.put("put", Layout::Picture, &Array::filled(window, 5.0));
    Paste::record(&mut bench.recorder, put, corners, picture);
    let (mut program, buffers) = bench.prepare("paste");
    program.run().unwrap();
    let found = device().download(&buffers["picture"], Layout::Picture, SHAPE).unwrap();
    let mut expected = random("picture");
    let mut window = Vec::new();
    for (k, value) in expected.values.iter_mut().enumerate() {
        let (n, y, x) = (k / (3 * 7 * 5), k / 5 % 7, k % 5);
        let [top, left] = [[1, 2], [3, 3]][n];
        if (top..top + 4).contains(&y) && (left..left + 2).contains(&x) {
            window.push(std::mem::replace(value, 5.0));
        }
    }
    assert_eq!(found, expected);
    assert_eq!(device().download(&buffers["taken"], Layout::Picture, Shape::new(2, 3, 4, 2)).unwrap().values, window);
}

#[test]
fn values_that_are_not_finite_raise_their_flag() {
    let mut bench = Bench::new();
    let flags = bench.put("flags", Layout::Picture, &Array::filled(Shape::channels(8), 7.0));
    let values = [f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40];
    for (slot, value) in values.into_iter().enumerate() {
        let mut array = random("picture");
        array.values[SHAPE.elements() - 1] = value;
        let x = bench.put(&format!("x {slot}"), Layout::Picture, &array);
        CheckFinite::record(&mut bench.recorder, x, flags.buffer, slot);
    }
    // Of eight channels only the first four are watched, all of them zero, one below.
    let mut wide = Array::filled(Shape::new(1, 8, 2, 2), 0.0);
    wide.values[5 * 4] = f32::NAN;
    wide.values[1] = -0.0;
    let wide = bench.put("wide", Layout::Picture, &wide);
    CheckFinite::record(&mut bench.recorder, wide.slice(0, 4), flags.buffer, 5);
    CheckFinite::record(&mut bench.recorder, wide.slice(4, 4), flags.buffer, 6);
    let (mut program, buffers) = bench.prepare("check_finite");
    program.run().unwrap();
    assert_eq!(stored(&buffers, "flags"), [0.0, 1.0, 1.0, 1.0, 0.0, -1.0, 1.0, 7.0], "{values:?}, then two slices");
}

/// A slice of four channels has one group of them, and yet is no run of its own.
#[test]
fn the_gradient_of_a_slice_of_four_channels_is_added_where_it_lies() {
    let narrow = Shape::new(2, 4, 3, 2);
    let mut bench = Bench::new();
    let wide = random_of("wide", Shape::new(2, 12, 3, 2));
    let sum = bench.put("sum", Layout::Picture, &random_of("sum", narrow));
    let slice = bench.put("wide", Layout::Picture, &wide).slice(4, 4);
    Accumulate::in_place(&mut bench.recorder, sum, slice);
    let (mut program, buffers) = bench.prepare("accumulate");
    program.run().unwrap();
    let found = device().download(&buffers["sum"], Layout::Picture, narrow).unwrap();
    let (plane, before) = (3 * 2, random_of("sum", narrow));
    let there = |k: usize| (k / (4 * plane)) * 12 * plane + 4 * plane + k % (4 * plane);
    let expected: Vec<f32> = before.values.iter().enumerate().map(|(k, a)| a + wide.values[there(k)]).collect();
    assert_eq!(found.values, expected);
}

/// Length of the difference of two pictures, picture by picture.
fn apart(a: &Array, b: &Array) -> Vec<f64> {
    let squares = |n: usize| {
        let (a, b) = (a.picture(n).values, b.picture(n).values);
        a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    (0..a.shape.n()).map(squares).collect()
}

/// `project.climb` ends in limits, which a gradient that is no number must not become.
#[test]
fn an_attack_by_a_gradient_that_is_not_finite_shows() {
    let (clean, gradient) = (Array::filled(SHAPE, 0.5), Array::filled(SHAPE, f32::NAN));
    let mut bench = Bench::new();
    let around = bench.put("clean", Layout::Picture, &clean);
    let picture = bench.put("picture", Layout::Picture, &clean);
    let grad = bench.put("grad", Layout::Picture, &gradient);
    Project { radius: 2.0, rate: 1.0 }.climb(&mut bench.recorder, around, picture, grad);
    let (mut program, buffers) = bench.prepare("project");
    program.run().unwrap();
    let found = device().download(&buffers["picture"], Layout::Picture, SHAPE).unwrap();
    assert!(found.values.iter().all(|value| value.is_nan()));
}

#[test]
fn attacks_start_within_the_ball_and_elsewhere_at_every_step() {
    let shape = Shape::new(64, 3, 7, 5);
    let clean = Array::filled(shape, 0.5);
    let started = |seed: u32| {
        let mut bench = Bench::new();
        let step = put_step(&mut bench).buffer;
        let around = bench.put("clean", Layout::Picture, &clean);
        let picture = bench.put("picture", Layout::Picture, &Array::filled(shape, 9.0));
        Project { radius: 2.0, rate: 0.0 }.start(&mut bench.recorder, around, picture, step, seed);
        Advance::next(&mut bench.recorder, step);
        let (mut program, buffers) = bench.prepare("start");
        [0, 1].map(|_| {
            program.run().unwrap();
            assert!(
                stored(&buffers, "picture").iter().skip(3).step_by(4).all(|&lane| lane == 0.0),
                "padding stays zero"
            );
            device().download(&buffers["picture"], Layout::Picture, shape).unwrap()
        })
    };
    let [first, second] = started(1);
    assert_ne!(first, second);
    assert_ne!(first, started(2)[0]);
    assert_eq!(first, started(1)[0]);
    let lengths = apart(&first, &clean);
    assert!(lengths.iter().all(|length| *length > 0.0 && *length < 2.0), "{lengths:?}");
    // The mean of 64 uniform numbers lies within 4 standard deviations, 4 · 2 / sqrt(12 · 64), of 1; directions are as many.
    let mean = lengths.iter().sum::<f64>() / 64.0;
    assert!((mean - 1.0).abs() < 0.29, "{mean}");
    let directions: Vec<f64> = (0..64)
        .flat_map(|n| first.picture(n).values.into_iter().map(move |v| (n, v)))
        .map(|(n, v)| (f64::from(v) - 0.5) / lengths[n])
        .collect();
    let count = directions.len() as f64;
    let [mean, fourth] =
        [1, 4].map(|power| directions.iter().map(|z| (z * 105f64.sqrt()).powi(power)).sum::<f64>() / count);
    // 6720 numbers of variance 1, nearly normal: standard deviations are 0.012 of the mean and 0.12 of the fourth moment, 3.
    assert!(mean.abs() < 0.05, "{mean}");
    assert!((fourth - 3.0).abs() < 0.5, "{fourth}");
}

#[test]
fn attacks_climb_and_come_back_into_the_ball() {
    let (clean, gradient) =
        (Array::new(SHAPE, random("clean").values.iter().map(|v| v.abs()).collect()), random("gradient"));
    let mut gradient = gradient;
    let size = SHAPE.elements() / 2;
    // The second picture has no gradient: it stays, and is no NaN.
    gradient.values[size..].fill(0.0);
    let rate = 1.5f32;
    let mut bench = Bench::new();
    let around = bench.put("clean", Layout::Picture, &clean);
    let picture = bench.put("picture", Layout::Picture, &clean);
    let grad = bench.put("grad", Layout::Picture, &gradient);
    Project { radius: 2.0, rate }.climb(&mut bench.recorder, around, picture, grad);
    let (mut program, buffers) = bench.prepare("climb");
    let length = gradient.values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let mut expected: Vec<f64> = clean.values.iter().map(|&v| f64::from(v)).collect();
    for step in 0..4 {
        program.run().unwrap();
        let start = |k: usize| f64::from(clean.values[k]);
        let offset: Vec<f64> = (0..size)
            .map(|k| expected[k] - start(k) + f64::from(rate) * f64::from(gradient.values[k]) / length)
            .collect();
        let share = (2.0 / offset.iter().map(|d| d * d).sum::<f64>().sqrt()).min(1.0);
        assert_eq!(share < 1.0, step > 0, "the first step stays inside the ball, the others leave it");
        (0..size).for_each(|k| expected[k] = (start(k) + share * offset[k]).clamp(0.0, 1.0));
        let found = device().download(&buffers["picture"], Layout::Picture, SHAPE).unwrap();
        let expected: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
        assert_close(&format!("step {step}"), &found.values, &expected, Bound::rel_l2(1e-6));
        assert_eq!(found.values[size..], clean.values[size..]);
    }
}

/// Sizes around what one workgroup looks at, 4096 vec4s, and around four of those.
#[test]
fn one_bad_number_anywhere_in_a_large_value_raises_the_flag() {
    for pixels in [4095, 4096, 4097, 4 * 4096 + 1] {
        for bad in [None, Some((0, f32::NAN)), Some((pixels - 1, f32::INFINITY)), Some((pixels / 2, f32::NEG_INFINITY))]
        {
            let mut bench = Bench::new();
            // The first of two channel groups, which is all that is looked at.
            let mut array = random_of("large", Shape::new(1, 8, pixels, 1));
            if let Some((pixel, value)) = bad {
                array.values[2 * pixels + pixel] = value;
            }
            array.values[5 * pixels] = f32::NAN;
            let x = bench.put("x", Layout::Picture, &array).slice(0, 4);
            let flags = bench.put("flags", Layout::Picture, &Array::filled(Shape::channels(4), 7.0));
            CheckFinite::record(&mut bench.recorder, x, flags.buffer, 1);
            let (mut program, buffers) = bench.prepare("check");
            for _ in 0..2 {
                program.run().unwrap();
                let raised = if bad.is_some() { 1.0 } else { 0.0 };
                assert_eq!(stored(&buffers, "flags"), [7.0, raised, 7.0, 7.0], "{pixels} pixels, {bad:?}");
            }
        }
    }
}

#[test]
fn zeros_alone_are_told_in_a_large_value_too() {
    let pixels = 2 * 4096 + 5;
    for other in [None, Some(0), Some(pixels - 1)] {
        let mut bench = Bench::new();
        let mut array = Array::filled(Shape::new(1, 4, pixels, 1), 0.0);
        if let Some(pixel) = other {
            array.values[3 * pixels + pixel] = 1e-40;
        }
        let x = bench.put("x", Layout::Picture, &array);
        let flags = bench.put("flags", Layout::Picture, &Array::filled(Shape::channels(4), 7.0));
        CheckFinite::record(&mut bench.recorder, x, flags.buffer, 2);
        let (mut program, buffers) = bench.prepare("check");
        program.run().unwrap();
        let told = if other.is_some() { 0.0 } else { -1.0 };
        assert_eq!(stored(&buffers, "flags"), [7.0, 7.0, told, 7.0], "{other:?}");
    }
}
