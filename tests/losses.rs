//! Losses and the update of parameters against the stored answers of torch.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::fixture::Fixture;
use common::generator::Generator;
use common::gpu::{Bench, Outcome, device, run};
use entoptic::ops::{Adam, Advance, CrossEntropy, Distance, Metric, Minimum, Op, Pick, RegionSum, Sgd};
use entoptic::tensor::{Array, Layout, Shape};

/// A [N, C] tensor as one pixel for each of N pictures.
fn logits(fixture: &Fixture, key: &str) -> Array {
    let &[n, c] = &fixture.shape(key)[..] else { panic!("{key} is not [N, C]") };
    Array::new(Shape::new(n, c, 1, 1), fixture.values(key))
}

fn per_picture(values: impl IntoIterator<Item = f32>) -> Array {
    let values: Vec<f32> = values.into_iter().collect();
    Array::new(Shape::per_picture(values.len()), values)
}

/// Runs a loss of two arguments and back to the first, from `upstream` for each picture.
fn loss(op: &dyn Op, x: &Array, second: &Array, upstream: f32) -> Outcome {
    let inputs = [(x.clone(), Layout::Picture), (second.clone(), Layout::Picture)];
    let upstream = Array::filled(Shape::per_picture(x.shape.n()), upstream);
    run(op, &inputs, Some(&upstream), &[true, false])
}

fn assert_number(label: &str, actual: f64, fixture: &Fixture, key: &str) {
    assert_close(label, &[actual as f32], &[fixture.value(key)], fixture.bound(key));
}

#[test]
fn cross_entropy_equals_torch() {
    let fixture = Fixture::load("ops");
    let cases: Vec<&str> = fixture.cases().filter(|case| case.starts_with("ce_")).collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let x = logits(&fixture, &format!("{case}/input"));
        let labels = fixture.indices(fixture.case(case)["labels"].as_str().unwrap());
        // The mean over the batch: the gradient that arrives at each picture is that of the whole over N.
        let share = match fixture.case(case)["reduction"].as_str() {
            Some("mean") => 1.0 / x.shape.n() as f64,
            Some("sum") => 1.0,
            other => panic!("{case}: reduction {other:?}"),
        };
        let upstream = f64::from(fixture.value(&format!("{case}/upstream"))) * share;
        let labels = per_picture(labels.into_iter().map(|label| label as f32));
        let outcome = loss(&CrossEntropy::default(), &x, &labels, upstream as f32);
        let total: f64 = outcome.output.values.iter().map(|&value| f64::from(value)).sum();
        assert_number(case, total * share, &fixture, &format!("{case}/out"));
        let key = format!("{case}/grad_input");
        let used =
            assert_close(case, &outcome.grads[0].as_ref().unwrap().values, &fixture.values(&key), fixture.bound(&key));
        println!("{case}: {used:.2} of the bound");
    }
}

#[test]
fn label_smoothing_mixes_the_loss_of_the_label_with_that_of_all_classes() {
    // torch.nn.functional.cross_entropy(x, label, label_smoothing=s) is (1 - s) · loss of the label + s · mean over classes.
    let (x, smoothing) = ([2.0f64, -1.0, 0.5, 3.0, 0.0], 0.3);
    let lse = x.iter().map(|x| x.exp()).sum::<f64>().ln();
    let expected = (1.0 - smoothing) * (lse - x[2]) + smoothing * x.iter().map(|x| lse - x).sum::<f64>() / 5.0;
    let array = Array::new(Shape::new(1, 5, 1, 1), x.map(|x| x as f32).to_vec());
    let outcome = loss(&CrossEntropy { smoothing: smoothing as f32 }, &array, &per_picture([2.0]), 1.0);
    assert_close("loss", &outcome.output.values, &[expected as f32], Bound::rel_l2(1e-6));
}

#[test]
fn distances_equal_torch() {
    let fixture = Fixture::load("ops");
    let cases: Vec<&str> = fixture.cases().filter(|case| case.starts_with("loss_")).collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        // The stored losses take both rows together: one picture with two rows of pixels, but for the logit of the first row.
        let rows = |key: &str| {
            let array = logits(&fixture, &format!("{case}/{key}"));
            let [n, c, _, _] = array.shape.0;
            (Array::new(Shape::new(1, 1, n, c), array.values.clone()), array)
        };
        let ((x, x_rows), (goal, _)) = (rows("input"), rows("goal"));
        let upstream = f64::from(fixture.value(&format!("{case}/upstream")));
        let distance = |metric, factor: f64| {
            let outcome = loss(&Distance { metric }, &x, &goal, (upstream * factor) as f32);
            (factor * f64::from(outcome.output.values[0]), outcome.grads[0].clone().unwrap().values)
        };
        let (value, gradient) = match fixture.case(case)["op"].as_str().unwrap() {
            "l1_sum" => distance(Metric::L1, 1.0),
            "l1_0.05" => distance(Metric::L1, 0.05),
            "l2_norm" => distance(Metric::L2, 1.0),
            "sum_of_squares" => distance(Metric::SumOfSquares, 1.0),
            "mse_mean" => distance(Metric::SumOfSquares, 1.0 / x.shape.elements() as f64),
            "class_200" => {
                let outcome = loss(&Pick, &x_rows.picture(0), &per_picture([5.0]), -upstream as f32);
                let mut gradient = outcome.grads[0].clone().unwrap().values;
                gradient.resize(x.shape.elements(), 0.0);
                (200.0 - f64::from(outcome.output.values[0]), gradient)
            }
            other => panic!("{case}: no such loss as {other}"),
        };
        assert_number(case, value, &fixture, &format!("{case}/out"));
        let key = format!("{case}/grad_input");
        let used = assert_close(case, &gradient, &fixture.values(&key), fixture.bound(&key));
        println!("{case}: {used:.2} of the bound");
    }
}

#[test]
fn the_gradient_of_a_distance_at_its_goal_is_zero() {
    let x = Array::new(Shape::new(1, 3, 1, 2), vec![1.0, -2.0, 3.0, 0.0, 0.5, 7.0]);
    for metric in [Metric::L1, Metric::L2, Metric::SumOfSquares] {
        let outcome = loss(&Distance { metric }, &x, &x, 1.0);
        assert_eq!(outcome.output.values, [0.0], "{metric:?}");
        assert!(outcome.grads[0].as_ref().unwrap().values.iter().all(|&g| g == 0.0), "{metric:?}");
    }
}

#[test]
fn distances_of_large_pictures_keep_their_digits() {
    let shape = Shape::new(1, 3, 490, 490);
    let x = Array::new(shape, (0..shape.elements()).map(|k| ((k * 7919) % 1009) as f32 / 1009.0).collect());
    let expected: f64 = x.values.iter().map(|&x| f64::from(x)).sum();
    let outcome = loss(&Distance { metric: Metric::L1 }, &x, &Array::filled(shape, 0.0), 1.0);
    let used = assert_close("L1", &outcome.output.values, &[expected as f32], Bound::rel_l2(2e-6));
    println!("{used:.2} of the bound");
}

/// Element (n, c, y, x) is 1000 n + 100 c + 10 y + x: every sum tells which elements are in it.
fn numbered(n: usize) -> Array {
    let shape = Shape::new(n, 6, 4, 5);
    let digits = |k: usize| (k / 120) * 1000 + (k / 20 % 6) * 100 + (k / 5 % 4) * 10 + k % 5;
    Array::new(shape, (0..shape.elements()).map(|k| digits(k) as f32).collect())
}

#[test]
fn a_region_is_summed_and_nothing_else() {
    let region = RegionSum { channels: 3..6, rows: 1..3, columns: 2..5 };
    let outcome = run(&region, &[(numbered(2), Layout::Picture)], Some(&per_picture([1.0, -2.0])), &[true]);
    // Eighteen elements with the means 400, 15 and 3, and 1000 more in the second picture.
    assert_eq!(outcome.output.values, [18.0 * 418.0, 18.0 * 1418.0]);
    let inside =
        |k: usize| (3..6).contains(&(k / 20 % 6)) && (1..3).contains(&(k / 5 % 4)) && (2..5).contains(&(k % 5));
    let expected: Vec<f32> = (0..240).map(|k| if inside(k) { [1.0, -2.0][k / 120] } else { 0.0 }).collect();
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, expected);
}

#[test]
fn each_picture_is_picked_at_its_own_channel() {
    let outcome = loss(&Pick, &numbered(2), &per_picture([5.0, 2.0]), 1.0);
    assert_eq!(outcome.output.values, [20.0 * 517.0, 20.0 * 1217.0]);
    let expected: Vec<f32> = (0..240).map(|k| if k / 20 % 6 == [5, 2][k / 120] { 1.0 } else { 0.0 }).collect();
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, expected);
}

#[test]
fn the_smaller_of_two_has_the_gradient_and_the_first_of_two_equals() {
    let shape = Shape::new(1, 5, 1, 1);
    let [a, b] = [[1.0, -2.0, 3.0, 0.0, -1.0], [2.0, -3.0, 3.0, -0.5, 4.0]].map(|v| Array::new(shape, v.to_vec()));
    let inputs = [(a, Layout::Picture), (b, Layout::Picture)];
    let upstream = Array::new(shape, vec![1.0, 2.0, 3.0, 4.0, 5.0]);
    let outcome = run(&Minimum, &inputs, Some(&upstream), &[true, true]);
    assert_eq!(outcome.output.values, [1.0, -3.0, 3.0, -0.5, -1.0]);
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, [1.0, 0.0, 3.0, 0.0, 5.0]);
    assert_eq!(outcome.grads[1].as_ref().unwrap().values, [0.0, 2.0, 0.0, 4.0, 0.0]);
}

#[test]
fn sgd_equals_torch() {
    let fixture = Fixture::load("ops");
    let cases: Vec<&str> = fixture.cases().filter(|case| case.starts_with("sgd_")).collect();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let settings = fixture.case(case);
        let number = |word: &str| settings[word].as_f64().unwrap_or(0.0) as f32;
        let sgd = Sgd {
            momentum: number("momentum"),
            weight_decay: number("weight_decay"),
            nesterov: settings["nesterov"].as_bool().unwrap_or(false),
        };
        let gradients = fixture.values(&format!("{case}/grads"));
        // Nine numbers as a filter of three rows and three output channels: a layout with padding in both directions.
        let shape = Shape::new(3, 1, 3, 1);
        let steps: Vec<Array> = gradients.chunks(9).map(|step| Array::new(shape, step.to_vec())).collect();
        assert_eq!(steps.len(), 4);
        let parameter = Array::new(shape, fixture.values(&format!("{case}/param")));
        let key = format!("{case}/out");
        let out = descended(sgd, number("lr"), &parameter, &steps);
        let used = assert_close(case, &out, &fixture.values(&key), fixture.bound(&key));
        println!("{case}: {used:.2} of the bound");
    }
}

fn descended(sgd: Sgd, rate: f32, parameter: &Array, steps: &[Array]) -> Vec<f32> {
    let mut bench = Bench::new();
    let p = bench.put("parameter", Layout::Filter, parameter);
    let g = bench.put("gradient", Layout::Filter, &steps[0]);
    let velocity = bench.put("velocity", Layout::Filter, &Array::filled(parameter.shape, 0.0));
    let rate = bench.put("rate", Layout::Picture, &per_picture([rate]));
    sgd.record(&mut bench.recorder, p, g, sgd.has_velocity().then_some(velocity.buffer), rate);
    let (mut program, buffers) = bench.prepare("sgd");
    for step in steps {
        device().write_array(&buffers["gradient"], Layout::Filter, step).unwrap();
        program.run().unwrap();
    }
    device().download(&buffers["parameter"], Layout::Filter, parameter.shape).unwrap().values
}

#[test]
fn adam_takes_the_steps_of_torch() {
    let shape = Shape::new(3, 1, 3, 1);
    let random = |name: &str| Generator { seed: 1 }.tensor_symmetric(name, shape.elements(), 1.0);
    let adam = Adam { betas: [0.8, 0.99], eps: 1e-6, weight_decay: 0.3 };
    let mut bench = Bench::new();
    let parameter = bench.put("parameter", Layout::Filter, &Array::new(shape, random("parameter")));
    let gradient = bench.put("gradient", Layout::Filter, &Array::filled(shape, 0.0));
    let zero = Array::filled(shape, 0.0);
    let means = ["m", "v"].map(|name| bench.put(name, Layout::Filter, &zero).buffer);
    let rate = bench.put("rate", Layout::Picture, &per_picture([0.05]));
    // The bits of zero are those of step 0.
    let step = bench.put("step", Layout::Picture, &per_picture([0.0])).buffer;
    adam.record(&mut bench.recorder, parameter, gradient, means, rate, step);
    Advance::next(&mut bench.recorder, step);
    let (mut program, buffers) = bench.prepare("adam");
    let mut expected: Vec<f64> = random("parameter").into_iter().map(f64::from).collect();
    let mut means = vec![(0.0f64, 0.0f64); expected.len()];
    let [beta1, beta2, eps, decay] = [adam.betas[0], adam.betas[1], adam.eps, adam.weight_decay].map(f64::from);
    for t in 1..=120 {
        let gradient = random(&format!("gradient {t}"));
        device().write_array(&buffers["gradient"], Layout::Filter, &Array::new(shape, gradient.clone())).unwrap();
        program.run().unwrap();
        // torch.optim.Adam, without amsgrad: step_size = lr / bias_correction1, denom = sqrt(v) / sqrt(bias_correction2) + eps.
        for ((p, (m, v)), g) in expected.iter_mut().zip(&mut means).zip(&gradient) {
            let g = f64::from(*g) + decay * *p;
            (*m, *v) = (beta1 * *m + (1.0 - beta1) * g, beta2 * *v + (1.0 - beta2) * g * g);
            let denominator = v.sqrt() / (1.0 - beta2.powi(t)).sqrt() + eps;
            *p -= f64::from(0.05f32) / (1.0 - beta1.powi(t)) * *m / denominator;
        }
        let found = device().download(&buffers["parameter"], Layout::Filter, shape).unwrap().values;
        let expected: Vec<f32> = expected.iter().map(|&p| p as f32).collect();
        assert_close(&format!("step {t}"), &found, &expected, Bound::rel_l2(4e-6));
    }
    let stored: Vec<f32> =
        device().readback(buffers["parameter"].bytes).unwrap().read(device(), &buffers["parameter"]).unwrap();
    let clean = Layout::Filter.pack(shape, &Layout::Filter.unpack(shape, &stored));
    assert_eq!(stored, clean, "the lanes that fill up stay zero");
}

/// Whole numbers, so that no sum is rounded; sizes around what one workgroup adds up, 4096 vec4s.
#[test]
fn distances_of_large_pictures_count_every_element() {
    for pixels in [4096, 4097, 3 * 4096, 8 * 4096 + 7] {
        let shape = Shape::new(2, 3, pixels, 1);
        let values = (0..shape.elements()).map(|k| if k % 997 == 0 { 2.0 } else { 0.0 });
        let x = Array::new(shape, values.collect());
        let goal = Array::filled(shape, 1.0);
        let expected = vec![shape.elements() as f32 / 2.0; 2];
        for metric in [Metric::L1, Metric::SumOfSquares] {
            let outcome = loss(&Distance { metric }, &x, &goal, 1.0);
            assert_eq!(outcome.output.values, expected, "{metric:?} of {pixels} pixels");
        }
        let outcome = loss(&Distance { metric: Metric::L2 }, &x, &goal, 1.0);
        assert_close(
            "L2",
            &outcome.output.values,
            &expected.iter().map(|sum| sum.sqrt()).collect::<Vec<_>>(),
            Bound::rel_l2(1e-6),
        );
    }
}
