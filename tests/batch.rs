//! Pictures made together are those made one by one, and take less time.

mod common;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::compare::{Bound, assert_close};
use common::gpu::device;
use common::reference::demo_network;
use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::{Forward, Pass, Scene, gradient, losses, outputs};
use entoptic::nets::{BatchNormMode, Head, Network, Normalize};
use entoptic::objective::{Objective, Place, class_input};
use entoptic::ops::{Metric, Sgd};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Job, run};
use entoptic::tensor::{Array, Layout, Shape};
use entoptic::training::{Goal, Optimiser, Setup, TrainStep};
use entoptic::weights::NamedArray;

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
    let (pictures, _, time) = make_on(device(), network, classes);
    (pictures, time)
}

/// The pictures, the number of parts in which each stage did the batch with its largest buffer, and the time.
fn make_on(device: &Device, network: &Network, classes: &[usize]) -> (Array, Vec<(usize, u64)>, Duration) {
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
    let mut prepared = vec![];
    let finished = run(device, &job, &mut |event| {
        if let Event::Prepared { parts, plan, .. } = event {
            prepared.push((parts, plan.slots.iter().map(|slot| slot.bytes).max().unwrap_or_default()));
        }
        ControlFlow::Continue(())
    });
    (finished.expect("runs").pictures, prepared, started.elapsed())
}

/// Rounds in which a batch may take more time than its pictures one by one.
const ROUNDS: usize = 5;

/// No kernel mixes pictures, and none orders its sums by the size of the batch, so the bound is zero: equal bits.
fn batch_of_four(name: &str) {
    const CLASSES: [usize; 4] = [8, 0, 9, 3];
    let network = demo_network(device(), name, name);
    // Compiles the kernels of both shapes, which later runs find ready.
    make(&network, &CLASSES[..1]);
    make(&network, &CLASSES);
    let (together, mut batch) = make(&network, &CLASSES);
    let mut singles = [Duration::MAX; CLASSES.len()];
    // The shortest times of some rounds, in case the machine is busy with something else.
    for _ in 0..ROUNDS {
        for ((n, class), single) in CLASSES.into_iter().enumerate().zip(&mut singles) {
            let (alone, time) = make(&network, &[class]);
            *single = time.min(*single);
            let bits = |array: &Array| array.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            let differing = bits(&alone).into_iter().zip(bits(&together.picture(n))).filter(|(a, b)| a != b).count();
            assert_eq!(differing, 0, "{name}: values of picture {n} that differ, of {}", alone.values.len());
        }
        batch = batch.min(make(&network, &CLASSES).1);
        if batch < singles.iter().sum() {
            println!("{name}: batch of four {batch:.2?}, one by one {singles:.2?}");
            return;
        }
    }
    panic!("{name}: batch of four {batch:.2?}, one by one {singles:.2?}");
}

#[test]
fn a_batch_is_four_single_runs_in_less_time() {
    batch_of_four("resnet50");
    batch_of_four("googlenet");
}

#[test]
fn a_batch_in_parts_gives_the_same_bits() {
    const CLASSES: [usize; 7] = [8, 0, 9, 3, 4, 4, 1];
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    let device = Device::open(&choice).expect("an adapter");
    let network = demo_network(&device, "resnet50", "parts");
    let weights = network.buffers().values().map(|buffer| buffer.bytes).max().expect("it has weights");
    let bits = |array: &Array| array.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let run = || make_on(&device, &network, &CLASSES);
    let pictures = Array::new(Shape::new(16, 3, 64, 64), ramp(16 * 3 * 64 * 64));
    let scene = Scene {
        objective: Objective::class(200.0, true),
        inputs: vec![(class_input(0), Array::new(Shape::per_picture(16), (0..16).map(|k| (k % 10) as f32).collect()))],
        ..Scene::of(vec![&network], Normalize::Imagenet)
    };
    let evaluated = || {
        let places = [Place::Logits(0, Head::Main), Place::Layer(0, "layer2.0".into())];
        let mut all = outputs(&device, &scene, &pictures, &places, false).expect("runs");
        all.push(losses(&device, &scene, &pictures, false).expect("runs"));
        let gradient = gradient(&device, &scene, &pictures, false).expect("runs");
        all.extend([gradient.loss, gradient.gradient]);
        let pass = Pass { moments: true, ..Pass::of(&network, Normalize::Imagenet, pictures.shape) };
        let mut forward = Forward::prepare(&device, &pass).expect("fits");
        all.push(forward.logits(&Layout::Picture.pack(pictures.shape, &pictures.values)).expect("runs"));
        all.extend(forward.moments().into_iter().flat_map(|moments| [moments.mean, moments.variance]));
        (all, gradient.dispatches)
    };
    let (made, parts, _) = run();
    assert_eq!(parts.iter().map(|stage| stage.0).collect::<Vec<_>>(), [1, 1]);
    let (values, dispatches) = evaluated();

    // Room for the largest weights, for the first stage's seven pictures, and for neither the second's nor for sixteen.
    device.limit_bindings(weights);
    let (made_in_parts, parts, _) = run();
    assert!(parts[0].0 == 1 && parts[1].0 > 1, "{parts:?}");
    assert!(parts.iter().all(|stage| stage.1 <= weights), "{parts:?}");
    assert_eq!(bits(&made_in_parts), bits(&made));
    let (in_parts, launches) = evaluated();
    assert!(launches > dispatches);
    for (k, (part, whole)) in in_parts.iter().zip(&values).enumerate() {
        assert_eq!(part.shape, whole.shape, "value {k}");
        assert_eq!(bits(part), bits(whole), "value {k}");
    }

    // A single picture that is too large is refused with a word on what to do.
    let large = Array::filled(Shape::new(1, 3, 224, 224), 0.5);
    let scene = Scene { inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), 8.0))], ..scene };
    let error = gradient(&device, &scene, &large, false).map(drop).expect_err("too large").to_string();
    assert!(error.contains("use a smaller picture"), "{error}");
}

/// Two steps on fifteen pictures: logits and losses before each, the last gradients, and what the weights became; with the
/// launches of a step.
fn trained(device: &Device, setup: &Setup, arrays: &[NamedArray]) -> (Vec<Array>, usize) {
    let n = setup.pictures.n();
    setup.student.set_weights(device, arrays).expect("the same network");
    let sgd = Sgd { momentum: 0.9, weight_decay: 1e-4, nesterov: false };
    let mut step = TrainStep::prepare(device, setup, Some(Optimiser::Sgd(sgd)), &[1e-3, 1e-3]).expect("fits");
    step.set_pictures(&Array::new(setup.pictures, ramp(setup.pictures.elements()))).expect("uploads");
    match setup.goal {
        Goal::Labels { .. } => step.set_labels(&(0..n).map(|k| k % 10).collect::<Vec<_>>()).expect("uploads"),
        Goal::Logits(_) => step.set_goal(&Array::new(Shape::new(n, 10, 1, 1), ramp(10 * n))).expect("uploads"),
    }
    let mut seen = vec![];
    for _ in 0..2 {
        step.run().expect("runs");
        seen.push(step.logits().expect("reads"));
    }
    seen.push(Array::new(Shape::per_picture(2), step.losses().expect("reads")));
    seen.extend(step.gradients().expect("reads").into_values());
    let weights = setup.student.weights(device).expect("reads");
    seen.extend(weights.into_iter().map(|array| Array::new(Shape::channels(array.values.len()), array.values)));
    (seen, step.plan().1)
}

#[test]
fn a_training_batch_in_parts_adds_up_the_same_gradients() {
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    let device = Device::open(&choice).expect("an adapter");
    let student = demo_network(&device, "resnet50", "learns");
    let arrays = student.weights(&device).expect("reads");
    let weights = student.buffers().values().map(|buffer| buffer.bytes).max().expect("it has weights");
    for goal in [Goal::Labels { smoothing: 0.1 }, Goal::Logits(Metric::SumOfSquares)] {
        let setup = Setup {
            student: &student,
            goal,
            normalize: Normalize::Imagenet,
            batch_norm: BatchNormMode::Frozen,
            pictures: Shape::new(15, 3, 64, 64),
            check_finite: true,
        };
        device.limit_bindings(u64::MAX);
        let (whole, launches) = trained(&device, &setup, &arrays);
        // Room for nine pictures: three parts of five.
        device.limit_bindings(weights);
        let (parts, more) = trained(&device, &setup, &arrays);
        assert!(more > 2 * launches, "{more} launches, {launches} in one part");
        assert_eq!(parts[0], whole[0], "logits of the first step");
        assert_eq!(parts.len(), whole.len());
        for (k, (parts, whole)) in parts.iter().zip(&whole).enumerate() {
            assert_close(&format!("{goal:?}, value {k}"), &parts.values, &whole.values, Bound::rel_l2(1e-4));
        }
        // Statistics of a part are not those of the batch.
        let setup = Setup { batch_norm: BatchNormMode::Batch, ..setup };
        let error = TrainStep::prepare(&device, &setup, None, &[0.0]).map(drop).expect_err("too large").to_string();
        assert!(error.contains("a smaller batch in training"), "{error}");
    }
}

fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * 7919) % 1009) as f32 / 1009.0).collect()
}
