//! Gradients of all parameters of three networks, and ResNet50's running statistics and five SGD steps, through the training
//! step itself.
//!
//! Bounds are those of `tests/fixtures/recipe.md`, section 8.

mod common;

use std::collections::BTreeMap;

use common::compare::{Bound, assert_close};
use common::fixture::{Fixture, words};
use common::gpu::device;
use common::reference::{SEED, input, named_pictures, network_of, network_with, state_of};
use entoptic::nets::{BatchNormMode, Network, Normalize, Structure};
use entoptic::ops::{Metric, Sgd};
use entoptic::tensor::{Array, Shape};
use entoptic::training::{Goal, Optimiser, Setup, TrainStep};

const N: usize = 4;
const SIDE: usize = 64;
const LR: f32 = 1e-5;

fn setup(student: &Network, batch_norm: BatchNormMode, pictures: Shape) -> Setup<'_> {
    Setup {
        student,
        goal: Goal::Logits(Metric::SumOfSquares),
        normalize: Normalize::Source,
        batch_norm,
        pictures,
        check_finite: false,
    }
}

fn feed(step: &TrainStep, pictures: &Array) {
    let n = pictures.shape.n();
    step.set_pictures(pictures).expect("uploads");
    step.set_goal(&Array::new(Shape::new(n, 1000, 1, 1), SEED.target(n))).expect("uploads");
}

/// Elements that the fixture stores of each parameter.
fn samples(fixture: &Fixture, arrays: &BTreeMap<String, Vec<f32>>) -> Vec<f32> {
    let order = words(fixture.about("parameter_order"));
    let picked = fixture.indices("sample_index");
    let each = picked.len() / order.len();
    let of = |(name, picked): (&String, &[usize])| -> Vec<f32> { picked.iter().map(|&k| arrays[name][k]).collect() };
    order.iter().zip(picked.chunks(each)).flat_map(of).collect()
}

fn gradients(mode: &str, batch_norm: BatchNormMode, logits: Bound, norms: f64, elements: f64) -> (Fixture, Network) {
    let fixture = Fixture::load("params_resnet50");
    let student = network_with("resnet50", &[], mode);
    compare(&fixture, &student, &input(N, SIDE), (mode, batch_norm), logits, norms, elements);
    (fixture, student)
}

fn compare(
    fixture: &Fixture,
    student: &Network,
    pictures: &Array,
    (mode, batch_norm): (&str, BatchNormMode),
    logits: Bound,
    norms: f64,
    elements: f64,
) {
    let setup = setup(student, batch_norm, pictures.shape);
    let mut step = TrainStep::prepare(device(), &setup, None, &[LR]).expect("prepares");
    feed(&step, pictures);
    step.run().expect("runs");
    assert_close(
        &format!("{mode} logits"),
        &step.logits().expect("reads").values,
        &fixture.values(&format!("{mode}/logits")),
        logits,
    );
    let loss = step.losses().expect("reads");
    assert_close(&format!("{mode} loss"), &loss, &[fixture.value(&format!("{mode}/loss"))], Bound::rel_l2(1e-4));
    let found: BTreeMap<String, Vec<f32>> =
        step.gradients().expect("reads").into_iter().map(|(name, array)| (name, array.values)).collect();
    let stored = fixture.values(&format!("{mode}/grad_norm"));
    for (name, stored) in words(fixture.about("parameter_order")).iter().zip(stored) {
        let norm = found[name].iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt() as f32;
        assert_close(&format!("{mode} gradient norm of {name}"), &[norm], &[stored], Bound::rel_l2(norms));
    }
    let label = format!("{mode} gradient elements");
    let stored = fixture.values(&format!("{mode}/grad_sample"));
    assert_close(&label, &samples(fixture, &found), &stored, Bound::rel_l2(elements));
}

/// A network on the two pictures of the `families` fixture, which stay clear of ties.
fn clear_gradients(name: &str) {
    let fixture = Fixture::load(&format!("params_{name}"));
    let structure: Structure = name.parse().unwrap_or_else(|error| panic!("{error}"));
    let student = network_of(&structure, &state_of(&structure));
    let side = fixture.about("side").as_u64().expect("a side") as usize;
    let pictures = named_pictures(&words(fixture.about("pictures")), side);
    let mode = ("eval", BatchNormMode::Frozen);
    compare(&fixture, &student, &pictures, mode, Bound { rel_l2: 1e-5, abs: 3e-4 }, 1e-4, 1e-4);
}

#[test]
fn gradients_of_resnet18() {
    clear_gradients("resnet18");
}

/// Linear layers of 103 million weights, and biases of convolutions.
#[test]
fn gradients_of_vgg11() {
    clear_gradients("vgg11");
}

#[test]
fn gradients_with_frozen_statistics() {
    gradients("eval", BatchNormMode::Frozen, Bound { rel_l2: 1e-5, abs: 3e-4 }, 2e-3, 3e-2);
}

#[test]
fn gradients_and_running_statistics_with_batch_statistics() {
    let (fixture, student) = gradients("train", BatchNormMode::Batch, Bound::rel_l2(1e-4), 1e-2, 5e-2);
    let weights = student.weights(device()).expect("reads");
    let order = words(fixture.about("running_order"));
    assert_eq!(order.len(), 106);
    for name in order {
        let found = weights.iter().find(|array| array.name == name).expect("the network has it");
        assert_close(&name, &found.values, &fixture.values(&format!("running/{name}")), Bound::rel_l2(1e-5));
    }
}

#[test]
fn five_sgd_steps() {
    let fixture = Fixture::load("params_resnet50");
    let student = network_with("resnet50", &[], "sgd");
    let sgd = Sgd { momentum: 0.0, weight_decay: 0.0, nesterov: false };
    let pictures = input(N, SIDE);
    let setup = setup(&student, BatchNormMode::Frozen, pictures.shape);
    let mut step =
        TrainStep::prepare(device(), &setup, Some(Optimiser::Sgd(sgd)), &[LR, LR, LR, LR, LR, 0.0]).expect("prepares");
    feed(&step, &pictures);
    for _ in 0..6 {
        step.run().expect("runs");
    }
    let stored = fixture.values("sgd/loss");
    for (index, (found, stored)) in step.losses().expect("reads").iter().zip(stored).enumerate() {
        assert_close(&format!("loss before step {index}"), &[*found], &[stored], Bound::rel_l2(1e-3));
    }
    let weights = student.weights(device()).expect("reads");
    let weights = weights.into_iter().map(|array| (array.name, array.values)).collect();
    let stored = fixture.values("sgd/param_sample_after_5");
    // The largest weights are 1.5; five steps move them by far more than this bound.
    assert_close("parameters after five steps", &samples(&fixture, &weights), &stored, Bound::rel_l2(1e-4));
}
