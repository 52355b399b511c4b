//! Pictures made together are those made one by one, and take less time.

mod common;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::gpu::device;
use common::reference::demo_network;
use entoptic::evaluate::Scene;
use entoptic::nets::{Network, Normalize};
use entoptic::objective::{Objective, class_input};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Job, run};
use entoptic::tensor::{Array, Shape};

/// The shipped recipe for the demo networks in fewer steps: both stages, steps scaled by each picture's own gradient, blur,
/// clamp, and crops that differ between the pictures.
fn recipe() -> Recipe {
    let mut recipe = Recipe::named("demo").expect("a shipped recipe");
    recipe.init.size = 64;
    for stage in &mut recipe.stages {
        stage.iterations = 5;
    }
    (recipe.stages[1].size, recipe.stages[1].crop) = (Some(76), Some(68));
    recipe
}

fn make(network: &Network, classes: &[usize]) -> (Array, Duration) {
    let indices = classes.iter().map(|&class| class as f32).collect();
    let scene = Scene {
        objective: Objective::class(200.0, true),
        inputs: vec![(class_input(0), Array::new(Shape::per_picture(classes.len()), indices))],
        ..Scene::of(vec![network], Normalize::Imagenet)
    };
    let job = Job {
        scene,
        recipe: recipe(),
        streams: classes.iter().map(|&class| Stream { seed: 5, picture: class as u64 }).collect(),
        start: None,
        check_finite: false,
        report_every: 1000,
        frame_every: None,
    };
    let started = Instant::now();
    let finished = run(device(), &job, &mut |_| ControlFlow::Continue(())).expect("runs");
    (finished.pictures, started.elapsed())
}

/// No kernel mixes pictures, and none orders its sums by the size of the batch, so the bound is zero: equal bits.
fn batch_of_four(name: &str) {
    const CLASSES: [usize; 4] = [8, 0, 9, 3];
    let network = demo_network(device(), name, name);
    // Compiles the kernels of both shapes, which later runs find ready.
    make(&network, &CLASSES[..1]);
    make(&network, &CLASSES);
    let (together, batch) = make(&network, &CLASSES);
    let mut singles = Duration::ZERO;
    for (n, class) in CLASSES.into_iter().enumerate() {
        let (alone, time) = make(&network, &[class]);
        singles += time;
        let bits = |array: &Array| array.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let differing = bits(&alone).into_iter().zip(bits(&together.picture(n))).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: values of picture {n} that differ, of {}", alone.values.len());
    }
    // Once more behind them, in case the machine was busy with something else before.
    let batch = batch.min(make(&network, &CLASSES).1);
    println!("{name}: batch of four {batch:.2?}, one by one {singles:.2?}");
    assert!(batch < singles, "{name}: batch of four {batch:.2?}, one by one {singles:.2?}");
}

#[test]
fn a_batch_is_four_single_runs_in_less_time() {
    batch_of_four("resnet50");
    batch_of_four("googlenet");
}
