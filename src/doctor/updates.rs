//! Kernels that change pictures, parameters and tables in place, against the oracle.

use super::bench::Bench;
use super::cases::random;
use super::row::Tally;
use crate::Result;
use crate::device::{BufferId, Device};
use crate::ops::{
    Accumulate, Adam, Advance, Brighten, CheckFinite, Descend, FoldBias, FoldWeight, Forward, Op, Paste, Peak, Project,
    Rule, Sgd, StatisticsDistance,
};
use crate::oracle::{Number, Values, exact, updates};
use crate::tensor::{Array, Layout, Shape};

/// Two pictures of odd sizes with a lane to fill up, and one of several workgroups.
const SHAPES: [Shape; 2] = [Shape::new(2, 3, 7, 5), Shape::new(2, 5, 71, 63)];

/// A step that is not the first.
const STEP: u32 = 3;

/// A number for each picture.
fn per_picture(values: [f32; 2]) -> Array {
    Array::new(Shape::per_picture(2), values.to_vec())
}

fn number(value: f32) -> Array {
    Array::filled(Shape::per_picture(1), value)
}

/// Between 0 and 1.
fn bright(seed: u64, shape: Shape) -> Array {
    let mut array = random(seed, shape);
    array.values.iter_mut().for_each(|value| *value = value.abs());
    array
}

/// Some parts of a bench with the name of what they are about.
type Check = fn(&mut Bench, Shape) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("sums of gradients", accumulate),
    ("brightness", brighten),
    ("a window put back", paste),
    ("raw steps", descend_raw),
    ("steps by the mean gradient", descend_normalized),
    ("steps of Adam on pictures", descend_adam),
    ("SGD", sgd),
    ("Adam", adam),
    ("batch norms folded into convolutions", fold),
    ("starts of attacks", start),
    ("steps of attacks", climb),
    ("limits that meet NaN", limit_nan),
    ("moments", moments),
    ("rows of tables", advance),
    ("values that are not finite", check_finite),
    ("peaks", peak),
];

/// Runs all of them.
///
/// # Errors
/// Those of the device where nothing was recorded yet.
pub(super) fn examine(device: &Device, tally: &mut Tally) -> Result<()> {
    for shape in SHAPES {
        for (about, check) in CHECKS {
            let mut bench = Bench::new(device, device.tuning());
            check(&mut bench, shape)?;
            bench.examine(&format!("{about} of {shape}"), &|overrides| overrides.join(", "), tally);
            if tally.lost {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn accumulate(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (a, b) = (random(1, shape), random(2, shape));
    let (sum, x, wide) = (bench.picture(&a)?, bench.picture(&b)?, bench.put(&b, Layout::Picture, 1)?);
    let other = bench.picture(&a)?;
    bench.pass();
    Accumulate::in_place(&mut bench.recorder, sum, x);
    bench.expect("sum", sum, updates::accumulate(&a, &b));
    bench.pass();
    Accumulate::in_place(&mut bench.recorder, other, wide);
    bench.expect("sum with a slice", other, updates::accumulate(&a, &b));
    let (slice, whole) = (bench.put(&a, Layout::Picture, 1)?, bench.picture(&b)?);
    bench.pass();
    Accumulate::in_place(&mut bench.recorder, slice, whole);
    bench.expect("sum in a slice", slice, updates::accumulate(&a, &b));
    Ok(())
}

fn brighten(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (picture, factor) = (random(1, shape), per_picture([0.7, 1.3]));
    let views = [bench.picture(&picture)?, bench.picture(&factor)?];
    bench.pass();
    Brighten::record(&mut bench.recorder, views[0], views[1]);
    bench.expect("picture", views[0], updates::brighten(&picture, &factor));
    Ok(())
}

fn paste(bench: &mut Bench, shape: Shape) -> Result<()> {
    let [n, c, h, w] = shape.0;
    // The second corner would let the window overhang.
    let corners = Array::new(Shape::new(2, 2, 1, 1), vec![1.0, 2.0, 900.0, 900.0]);
    let (picture, x) = (random(1, shape), random(2, Shape::new(n, c, h - 2, w - 3)));
    let views = [bench.picture(&x)?, bench.picture(&corners)?, bench.picture(&picture)?];
    bench.pass();
    Paste::record(&mut bench.recorder, views[0], views[1], views[2]);
    bench.expect("picture", views[2], updates::paste(&x, &corners, &picture));
    Ok(())
}

const RATE: f32 = 0.3;
const LIMITS: [Option<[f32; 2]>; 2] = [None, Some([-0.5, 0.25])];

fn descend_raw(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (picture, grad) = (random(1, shape), random(2, shape));
    for limits in LIMITS {
        let views = [bench.picture(&picture)?, bench.picture(&grad)?, bench.picture(&number(RATE))?];
        bench.pass();
        Descend { rule: Rule::Raw, limits }.record(&mut bench.recorder, views[0], views[1], views[2]);
        bench.expect("picture", views[0], updates::descend_raw(&picture, &grad, RATE, limits));
    }
    Ok(())
}

fn descend_normalized(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (picture, mut grad) = (random(1, shape), random(2, shape));
    for (limits, still) in [(LIMITS[0], false), (LIMITS[1], true)] {
        let half = shape.elements() / 2;
        if still {
            // The second picture has no gradient: nothing may happen to it.
            grad.values[half..].fill(0.0);
        }
        let count = half - 1;
        let views = [bench.picture(&picture)?, bench.picture(&grad)?, bench.picture(&number(RATE))?];
        bench.pass();
        let rule = Rule::Normalized { count };
        Descend { rule, limits }.record(&mut bench.recorder, views[0], views[1], views[2]);
        bench.expect("picture", views[0], updates::descend_normalized(&picture, &grad, RATE, count, limits));
    }
    Ok(())
}

fn descend_adam(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (picture, grad, m, v) = (random(1, shape), random(2, shape), random(3, shape), bright(4, shape));
    for (limits, step) in LIMITS.into_iter().zip([0, STEP]) {
        let views = [bench.picture(&picture)?, bench.picture(&grad)?, bench.picture(&number(RATE))?];
        let means = [bench.picture(&m)?, bench.picture(&v)?];
        let rule = Rule::Adam { m: means[0].buffer, v: means[1].buffer, step: bench.words(&[step])? };
        bench.pass();
        Descend { rule, limits }.record(&mut bench.recorder, views[0], views[1], views[2]);
        let (moved, next) = updates::descend_adam(&picture, &grad, [&m, &v], RATE, step, limits);
        bench.expect("picture", views[0], moved);
        means.into_iter().zip(next).for_each(|(view, next)| bench.expect("running mean", view, next));
    }
    Ok(())
}

fn sgd(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (parameter, grad, velocity) = (random(1, shape), random(2, shape), random(3, shape));
    for layout in [Layout::Picture, Layout::Filter] {
        for (momentum, weight_decay, nesterov) in [(0.0, 0.0, false), (0.9, 0.01, false), (0.9, 0.01, true)] {
            let sgd = Sgd { momentum, weight_decay, nesterov };
            let mut put = |array: &Array| bench.put(array, layout, 0);
            let (p, g, v) = (put(&parameter)?, put(&grad)?, put(&velocity)?);
            let rate = bench.picture(&number(RATE))?;
            bench.pass();
            sgd.record(&mut bench.recorder, p, g, sgd.has_velocity().then_some(v.buffer), rate);
            let (moved, state) = updates::sgd(&sgd, &parameter, &grad, &with(&sgd, &velocity), RATE);
            bench.expect("parameter", p, moved);
            state.into_iter().for_each(|next| bench.expect("velocity", v, next));
        }
    }
    Ok(())
}

/// The velocity where there is momentum, else none.
fn with(sgd: &Sgd, velocity: &Array) -> Array {
    if sgd.has_velocity() { velocity.clone() } else { Array::filled(velocity.shape, 0.0) }
}

fn adam(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (parameter, grad, m, v) = (random(1, shape), random(2, shape), random(3, shape), bright(4, shape));
    for (weight_decay, step) in [(0.0, 0), (0.01, STEP), (0.01, 5000)] {
        let adam = Adam { weight_decay, ..Adam::default() };
        let views = [bench.picture(&parameter)?, bench.picture(&grad)?, bench.picture(&number(RATE))?];
        let means = [bench.picture(&m)?, bench.picture(&v)?];
        let at = bench.words(&[step])?;
        bench.pass();
        adam.record(&mut bench.recorder, views[0], views[1], means.map(|view| view.buffer), views[2], at);
        let (moved, next) = updates::adam(&adam, &parameter, &grad, [&m, &v], RATE, step);
        bench.expect("parameter", views[0], moved);
        means.into_iter().zip(next).for_each(|(view, next)| bench.expect("running mean", view, next));
    }
    Ok(())
}

fn fold(bench: &mut Bench, shape: Shape) -> Result<()> {
    let eps = 1e-3;
    let (weight, c) = (random(1, shape), Shape::channels(shape.n()));
    let [scale, bias, mean, conv_bias] = [2, 3, 4, 7].map(|seed| random(seed, c));
    let mut var = bright(5, c);
    var.values[0] = 0.0;
    let norm = [&scale, &bias, &mean, &var];
    // Alone, and behind four other channels of one convolution in the place of two; without and with a bias of its own.
    for (first, own) in [(0, None), (4, None), (4, Some(&conv_bias))] {
        let [weights, shifts] = updates::fold(eps, &weight, own, norm);
        let with = |array: &Array, part: &Values, axis: usize| {
            let mut shape = array.shape;
            shape.0[axis] += first;
            let before = random(6, shape);
            let after = Values::fill(shape, |mut i| match i[axis].checked_sub(first) {
                Some(own) => {
                    i[axis] = own;
                    part.at(i)
                }
                None => exact(&before, i),
            });
            (before, after)
        };
        let ((weight_before, weight_after), (bias_before, bias_after)) =
            (with(&weight, &weights, 0), with(&bias, &shifts, 1));
        let mut inputs = vec![bench.put(&weight, Layout::Filter, 0)?];
        for vector in own.into_iter().chain(norm) {
            inputs.push(bench.picture(vector)?);
        }
        let (folded, shift) = (bench.put(&weight_before, Layout::Filter, 0)?, bench.picture(&bias_before)?);
        bench.pass();
        let output = folded.slice(first, weight.shape.n());
        FoldWeight { eps }.forward(&mut bench.recorder, &Forward { inputs: &inputs, output, saved: &[] });
        let output = shift.slice(first, c.c());
        FoldBias { eps }.forward(&mut bench.recorder, &Forward { inputs: &inputs, output, saved: &[] });
        bench.expect("weights", folded, weight_after);
        bench.expect("bias", shift, bias_after);
    }
    Ok(())
}

const ATTACK: Project = Project { radius: 0.4, rate: 0.5 };

fn start(bench: &mut Bench, shape: Shape) -> Result<()> {
    let clean = bright(1, shape);
    let (around, picture) = (bench.picture(&clean)?, bench.room(shape, Layout::Picture, 0)?);
    let (step, seed) = (bench.words(&[STEP])?, 42);
    bench.pass();
    ATTACK.start(&mut bench.recorder, around, picture, step, seed);
    bench.expect("picture", picture, updates::start(&ATTACK, &clean, STEP, seed));
    Ok(())
}

fn climb(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (clean, grad) = (bright(1, shape), random(2, shape));
    let mut near = random(3, shape);
    near.values.iter_mut().zip(&clean.values).for_each(|(value, clean)| *value = clean + 0.03 * *value);
    let views = [bench.picture(&clean)?, bench.picture(&near)?, bench.picture(&grad)?];
    bench.pass();
    ATTACK.climb(&mut bench.recorder, views[0], views[1], views[2]);
    bench.expect("picture", views[1], updates::climb(&ATTACK, &clean, &near, &grad));
    Ok(())
}

/// A limit in place of a NaN would make a good picture of a bad one.
fn limit_nan(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (picture, grad) = (bright(1, shape), Array::filled(shape, f32::NAN));
    let views = [bench.picture(&picture)?, bench.picture(&grad)?, bench.picture(&number(RATE))?];
    bench.pass();
    Descend { rule: Rule::Raw, limits: LIMITS[1] }.record(&mut bench.recorder, views[0], views[1], views[2]);
    bench.expect_nan("picture, from a gradient of NaN", views[0]);
    let attacked = bench.picture(&picture)?;
    let around = bench.picture(&picture)?;
    bench.pass();
    ATTACK.climb(&mut bench.recorder, around, attacked, views[1]);
    bench.expect_nan("picture, from a gradient of NaN", attacked);
    Ok(())
}

fn moments(bench: &mut Bench, shape: Shape) -> Result<()> {
    let x = random(1, shape);
    let view = bench.picture(&x)?;
    let copies = [(); 2].map(|()| bench.room(Shape::new(shape.n(), shape.c(), 1, 1), Layout::Picture, 0));
    bench.pass();
    let found = StatisticsDistance::moments(&mut bench.recorder, view);
    let zero = bench.picture(&Array::filled(found[0].shape, 0.0))?;
    for ((found, copy), values) in found.into_iter().zip(copies).zip(updates::moments(&x)) {
        // Moments lie in memory that others will use; their sum with nothing does not.
        let copy = copy?;
        crate::ops::Op::forward(
            &crate::ops::Add,
            &mut bench.recorder,
            &crate::ops::Forward { inputs: &[found, zero], output: copy, saved: &[] },
        );
        bench.expect("moments", copy, values);
    }
    Ok(())
}

fn advance(bench: &mut Bench, _shape: Shape) -> Result<()> {
    let (rows, row) = (3, Shape::channels(8));
    let table = random(1, Shape::new(rows, 8, 1, 1));
    let part = |row: usize| Array::new(Shape::channels(8), table.values[row * 8..][..8].to_vec());
    // A step in the table, and one beyond it.
    for (step, taken) in [(1, 1), (7, 2)] {
        let (counter, from) = (bench.words(&[step])?, bench.picture(&table)?);
        let (now, history) = (bench.room(row, Layout::Picture, 1)?, bench.picture(&table)?);
        let value = random(2, row);
        let logged = bench.put(&value, Layout::Picture, 1)?;
        bench.pass();
        Advance::read_row(&mut bench.recorder, counter, from.buffer, rows, now);
        bench.expect("row", now, Values::exact(&part(taken)));
        bench.pass();
        Advance::log(&mut bench.recorder, counter, logged, history.buffer, rows);
        let mut after = table.clone();
        after.values[taken * 8..][..8].copy_from_slice(&value.values);
        bench.expect("history", history, Values::exact(&after));
        bench.pass();
        Advance::next(&mut bench.recorder, counter);
        let next = Array::filled(Shape::channels(1), f32::from_bits(step + 1));
        bench.expect("step", whole(counter, 1), Values::exact(&next));
    }
    Ok(())
}

/// The first numbers of a buffer.
fn whole(buffer: BufferId, count: usize) -> crate::ops::View {
    crate::ops::View::whole(buffer, Shape::channels(count), Layout::Picture)
}

fn check_finite(bench: &mut Bench, shape: Shape) -> Result<()> {
    let values = [f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let flags = bench.room(Shape::channels(values.len()), Layout::Picture, 0)?;
    let watched = values.map(|value| {
        let mut x = random(1, shape);
        *x.values.last_mut().expect("a picture has pixels") = value;
        bench.picture(&x)
    });
    bench.pass();
    for (slot, x) in watched.into_iter().enumerate() {
        CheckFinite::record(&mut bench.recorder, x?, flags.buffer, slot);
    }
    let raised = values.map(|value| Number::exact(if value.is_finite() { 0.0 } else { 1.0 }));
    bench.expect("flags", flags, Values { shape: flags.shape, numbers: raised.to_vec() });
    Ok(())
}

fn peak(bench: &mut Bench, shape: Shape) -> Result<()> {
    let (rounds, count) = (21, shape.pixels());
    let four = Shape::new(1, 4, 1, count);
    let x = random(1, four);
    let (source, copy, sums) =
        (bench.picture(&x)?, bench.room(four, Layout::Picture, 0)?, bench.room(four, Layout::Picture, 0)?);
    bench.pass();
    Peak::copy(&mut bench.recorder, source.buffer, copy.buffer, count);
    bench.expect("copy", copy, Values::exact(&x));
    bench.pass();
    Peak::multiply_add(&mut bench.recorder, sums.buffer, count, rounds);
    let expected = updates::peak(rounds, count);
    bench.expect("sums", sums, Values::fill(four, |[_, _, _, i]| Number::exact(expected[i])));
    Ok(())
}
