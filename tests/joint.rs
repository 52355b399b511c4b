//! Two full-size networks on one picture: joint, difference, and one network brought to what the other says, against the
//! stored answers, with the bounds of `tests/fixtures/recipe.md`, section 8.

mod common;

use common::compare::{Bound, assert_aligned, assert_close};
use common::fixture::Fixture;
use common::gpu::device;
use common::reference::{blocks, input, network};
use entoptic::evaluate::{Scene, gradient, outputs};
use entoptic::nets::{Head, Normalize};
use entoptic::objective::{Form, Objective, Place, Term, class_input, goal_input};
use entoptic::ops::Metric;
use entoptic::tensor::{Array, Shape};

const CLASS: usize = 11;

/// ResNet50 and GoogLeNet on one tape.
fn scene(objective: Objective, inputs: Vec<(String, Array)>) -> Scene<'static> {
    Scene { objective, inputs, ..Scene::of(vec![network("resnet50"), network("googlenet")], Normalize::Source) }
}

/// The source's loss of two networks, w (200 - R) + v (400 - G).
fn classes(w: f32, v: f32) -> Scene<'static> {
    let term = |index, constant, weight| Term::class(index, Head::Main, Form::Lacking(constant), weight);
    let index = Array::filled(Shape::per_picture(1), CLASS as f32);
    scene(Objective { terms: vec![term(0, 200.0, w), term(1, 400.0, v)] }, vec![(class_input(0), index)])
}

fn compare(name: &str, scene: &Scene) {
    let fixture = Fixture::load("joint");
    let found = gradient(device(), scene, &input(1, 299), false).expect("runs");
    let stored = [fixture.value(&format!("loss/{name}"))];
    assert_close(&format!("{name} loss"), &found.loss.values, &stored, Bound::rel_l2(1e-5));
    let stored = fixture.values(&format!("grad/{name}"));
    assert_close(&format!("{name} gradient"), &found.gradient.values, &stored, Bound::rel_l2(5e-2));
    assert_aligned(&format!("{name} gradient"), &found.gradient.values, &stored, 1e-3);
}

#[test]
fn joint() {
    compare("joint", &classes(0.5, 0.5));
}

#[test]
fn difference() {
    compare("difference", &classes(2.0, -2.0));
}

#[test]
fn match_to_what_the_other_network_says() {
    let fixture = Fixture::load("joint");
    let both = scene(Objective::default(), vec![]);
    let goal =
        outputs(device(), &both, &blocks(1, 299), &[Place::Logits(1, Head::Main)], false).expect("runs").remove(0);
    let stored = fixture.values("match_goal");
    assert_close("GoogLeNet's logits", &goal.values, &stored, Bound { rel_l2: 1e-5, abs: 3e-4 });
    let goal = Array::new(goal.shape, stored);
    let objective = Objective::reach(Place::Logits(0, Head::Main), Metric::L1, 0.05);
    compare("match", &scene(objective, vec![(goal_input(0), goal)]));
}
