//! Numbers that go wrong: infinities, gradients that end on their way, pixel values that a network does not expect; and what is kept.

mod common;

use std::ops::ControlFlow;

use common::generator::Generator;
use common::gpu::device;
use common::reference::{demo_network, structure};
use entoptic::Error;
use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::{DeadEnd, Scene, dead_end, gradient, outputs};
use entoptic::nets::{BatchNormMode, Head, Network, Normalize, Preprocessing};
use entoptic::objective::{Objective, Place, class_input};
use entoptic::ops::{Metric, Sgd};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::stage::{Stage, StepRule};
use entoptic::synthesis::{Event, Finished, Job, run};
use entoptic::tensor::{Array, Shape};
use entoptic::training::{self, Lesson, Optimiser, Schedule, TeacherLoss};
use entoptic::weights::{NamedArray, demo};

const SIDE: usize = 48;

fn picture() -> Array {
    Array::new(Shape::new(1, 3, SIDE, SIDE), Generator { seed: 3 }.blocks(1, SIDE))
}

fn scene(network: &Network, weight: f32) -> Scene<'_> {
    let mut objective = Objective::class(200.0, true);
    objective.terms[0].weight = weight;
    let inputs = vec![(class_input(0), Array::filled(Shape::per_picture(1), 8.0))];
    Scene { objective, inputs, ..Scene::of(vec![network], Normalize::Imagenet) }
}

/// A demo network with all numbers of some tensors replaced.
fn changed(device: &Device, name: &str, changes: &[(&str, f32)]) -> Network {
    let network = demo_network(device, name, "0");
    let weights = network.weights(device).expect("downloads");
    let changed = |array: &NamedArray| {
        let &(_, value) = changes.iter().find(|(name, _)| *name == array.name)?;
        Some(NamedArray { values: vec![value; array.values.len()], ..array.clone() })
    };
    let arrays: Vec<NamedArray> = weights.iter().filter_map(changed).collect();
    assert_eq!(arrays.len(), changes.len(), "{changes:?} name tensors of {name}");
    network.set_weights(device, &arrays).expect("uploads");
    network
}

/// A ResNet50 whose values are all finite, and whose last layer makes any gradient overflow: it has the smallest features and
/// the largest weights.
fn steep(device: &Device) -> Network {
    let silent = ["layer4.0.bn3", "layer4.0.downsample.1", "layer4.1.bn3"].map(|norm| format!("{norm}.bias"));
    let norms = ["layer4.0.bn3", "layer4.0.downsample.1", "layer4.1.bn3", "layer4.2.bn3"];
    let norms = norms.map(|norm| format!("{norm}.weight"));
    let zeros = silent.iter().chain(&norms).map(|name| (name.as_str(), 0.0));
    changed(device, "resnet50", &zeros.chain([("layer4.2.bn3.bias", 1e-30), ("fc.weight", 3e38)]).collect::<Vec<_>>())
}

fn job(scene: Scene<'_>, stage: Stage) -> Job<'_> {
    let mut recipe = Recipe::named("demo").expect("a shipped recipe");
    recipe.init.size = SIDE as u32;
    recipe.stages = vec![stage];
    Job {
        scene,
        recipe,
        streams: vec![Stream { seed: 5, picture: 8 }],
        start: None,
        check_finite: false,
        report_every: 5,
        frame_every: None,
    }
}

/// How a run ends, what it kept before it failed, and where it saw its gradient end.
#[derive(Default)]
struct Seen {
    kept: Vec<Finished>,
    dead: Vec<(usize, DeadEnd)>,
    reports: Vec<usize>,
}

fn watched(
    device: &Device,
    job: &Job,
    mut at: impl FnMut(usize) -> ControlFlow<()>,
) -> (entoptic::Result<Finished>, Seen) {
    let mut seen = Seen::default();
    let ended = run(device, job, &mut |event| {
        match event {
            Event::Kept(finished) => seen.kept.push(finished.clone()),
            Event::Dead { since, end } => seen.dead.push((since, end)),
            Event::Progress(progress) => {
                seen.reports.push(progress.step);
                return at(progress.step);
            }
            Event::Prepared { .. } | Event::Frame(_) => {}
        }
        ControlFlow::Continue(())
    });
    (ended, seen)
}

fn going_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_gradient_that_is_not_finite_is_named() {
    let network = steep(device());
    let found = |result: entoptic::Result<()>| match result {
        Err(Error::NotFinite { layer, step }) => (layer, step),
        other => panic!("{other:?}"),
    };
    let named = "the gradient of fc".to_owned();
    // Forwards all is well.
    outputs(device(), &scene(&network, 10.0), &picture(), &[Place::Logits(0, Head::Main)], true)
        .expect("finite values");
    let once = gradient(device(), &scene(&network, 10.0), &picture(), true).map(drop);
    assert_eq!(found(once), (named.clone(), None));
    let job = Job { check_finite: true, ..job(scene(&network, 10.0), Stage::new(3, [0.1, 0.1])) };
    assert_eq!(found(watched(device(), &job, going_on).0.map(drop)), (named.clone(), Some(0)));

    let (teacher, pictures) = (demo_network(device(), "googlenet", "1"), picture());
    let lesson =
        Lesson::Teacher { teacher: &teacher, pictures: &pictures, loss: TeacherLoss::Distance(Metric::SumOfSquares) };
    let training = training::Job {
        student: &network,
        lesson,
        normalize: Normalize::Imagenet,
        batch_norm: BatchNormMode::Frozen,
        batch: 1,
        side: SIDE,
        optimiser: Optimiser::Sgd(Sgd::default()),
        rate: 1e-9,
        schedule: Schedule::Constant,
        steps: 3,
        seed: 0,
        state: None,
        report_every: 1,
        check_finite: true,
        checkpoint_every: Some(1),
    };
    let trained = training::run(device(), &training, &mut |_| Ok(ControlFlow::Continue(()))).map(drop);
    assert_eq!(found(trained), (named, Some(1)));
    // Without the check the first loss is a number, and the update is seen to be none before anything is kept.
    let mut states = 0;
    let network = steep(device());
    let unchecked = training::Job { student: &network, check_finite: false, ..training };
    let trained = training::run(device(), &unchecked, &mut |event| {
        states += usize::from(matches!(event, training::Event::Checkpoint(_)));
        Ok(ControlFlow::Continue(()))
    });
    let (layer, step) = found(trained.map(drop));
    assert!(
        layer.starts_with("the update of ") && step == Some(1) && states == 0,
        "{layer}, {step:?}, {states} states"
    );
}

/// A GoogLeNet that computes what it did, with values behind its first layer so small and weights of its second so large that
/// gradients of large losses overflow between them.
fn strained(device: &Device) -> Network {
    let network = demo_network(device, "googlenet", "0");
    let scaled = |array: &NamedArray| {
        let factor = match array.name.as_str() {
            "conv1.bn.weight" | "conv1.bn.bias" => 1e-25,
            "conv2.conv.weight" => 1e25,
            _ => return None,
        };
        Some(NamedArray { values: array.values.iter().map(|value| value * factor).collect(), ..array.clone() })
    };
    let arrays: Vec<NamedArray> = network.weights(device).expect("downloads").iter().filter_map(scaled).collect();
    assert_eq!(arrays.len(), 3);
    network.set_weights(device, &arrays).expect("uploads");
    network
}

/// Limits hold a pixel between numbers, and one that is no number must not become a limit.
#[test]
fn a_gradient_that_is_not_finite_shows_through_limits() {
    let network = strained(device());
    for step in [StepRule::Raw, StepRule::Normalized, StepRule::Adam] {
        let stage = Stage { step, clamp: Some([0.0, 1.0]), ..Stage::new(10, [0.1, 0.1]) };
        let (ended, seen) = watched(device(), &job(scene(&network, 1e25), stage), going_on);
        let Err(Error::NotFinite { layer, step: at }) = ended else { panic!("{step:?}: {ended:?}") };
        assert!(layer == "loss" && at == Some(1) && seen.kept.is_empty(), "{step:?}: {layer} {at:?}");
    }
    let stage = Stage { clamp: Some([0.0, 1.0]), ..Stage::new(10, [1e-9, 1e-9]) };
    let (ended, _) = watched(device(), &job(scene(&network, 1.0), stage), going_on);
    assert_eq!(ended.expect("smaller losses have gradients").steps, 10);
}

/// A penalty that pushes pixels 19 times farther out at every step.
fn runaway(steps: u32) -> Stage {
    Stage { l2: 10.0, ..Stage::new(steps, [1.0, 1.0]) }
}

#[test]
fn a_run_that_comes_apart_leaves_what_was_good() {
    let network = demo_network(device(), "resnet50", "0");
    let job_of = |steps| job(scene(&network, 1.0), runaway(steps));
    let (ended, seen) = watched(device(), &job_of(60), going_on);
    let error = ended.expect_err("no number grows for ever");
    let Error::NotFinite { layer, step: Some(step) } = &error else { panic!("{error}") };
    assert_eq!(layer, "loss");
    let last = *seen.reports.last().expect("a good report");
    assert!((10..15).contains(step) && last == 10, "{error}, last report after {last}");
    let [kept] = &seen.kept[..] else { panic!("kept {} times", seen.kept.len()) };
    assert_eq!((kept.steps, kept.loss.len()), (10, 1));
    let (good, nothing) = watched(device(), &job_of(10), going_on);
    assert_eq!(kept.pictures, good.expect("ten steps are good").pictures);
    assert!(nothing.kept.is_empty(), "a run that ends well keeps nothing");
    // Nothing is kept of a run that never was good.
    let (ended, seen) = watched(device(), &Job { report_every: 30, ..job_of(60) }, going_on);
    assert!(ended.is_err() && seen.kept.is_empty());
}

#[test]
fn a_lost_device_leaves_what_was_good() {
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    let own = Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter");
    let network = demo_network(&own, "resnet50", "0");
    let stage = Stage { step: StepRule::Normalized, ..Stage::new(40, [0.02, 0.01]) };
    let (stopped, _) = watched(&own, &job(scene(&network, 1.0), stage.clone()), |step| match step {
        15 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let stopped = stopped.expect("stopped in good order");
    let (ended, seen) = watched(&own, &job(scene(&network, 1.0), stage), |step| {
        if step == 15 {
            own.destroy();
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(ended, Err(Error::DeviceLost { .. })), "{ended:?}");
    let [kept] = &seen.kept[..] else { panic!("kept {} times", seen.kept.len()) };
    assert_eq!((kept.steps, &kept.pictures, &kept.loss), (15, &stopped.pictures, &stopped.loss));
}

#[test]
fn the_layer_that_ends_the_gradient_is_named() {
    let end = |layer: &str, silent| Some(DeadEnd { layer: layer.into(), silent });
    for (name, tensor, expected) in [
        // The relu at the end of a block, past which nothing leads.
        ("resnet50", "layer2.3.bn3.bias", end("layer2.3", true)),
        ("resnet50", "bn1.bias", end("bn1", true)),
        // A branch of a block is gone, the way around it stays.
        ("resnet50", "layer2.3.bn1.bias", None),
        ("googlenet", "conv3.bn.bias", end("conv3.bn", true)),
    ] {
        let network = changed(device(), name, &[(tensor, -1e6)]);
        let found = dead_end(device(), &scene(&network, 1.0), &picture()).expect("runs");
        assert_eq!(found, expected, "{name}, {tensor}");
    }
    // No layer is silent, but the last one weighs nothing.
    let network = changed(device(), "resnet50", &[("fc.weight", 0.0)]);
    assert_eq!(dead_end(device(), &scene(&network, 1.0), &picture()).expect("runs"), end("fc", false));
}

#[test]
fn a_run_without_gradient_says_so_once() {
    let network = changed(device(), "resnet50", &[("layer2.3.bn3.bias", -1e6)]);
    let end = DeadEnd { layer: "layer2.3".into(), silent: true };
    let plain = Stage { step: StepRule::Normalized, ..Stage::new(25, [0.02, 0.01]) };
    // A penalty and a blur change the picture although nothing comes from the network; a crop hides part of it.
    let moving = Stage { crop: Some(40), l2: 1e-3, sigma: [0.6, 0.6], ..plain.clone() };
    for stage in [&plain, &moving] {
        let (ended, seen) = watched(device(), &job(scene(&network, 1.0), stage.clone()), going_on);
        assert_eq!(ended.expect("it goes on").steps, 25);
        let [(since, found)] = &seen.dead[..] else { panic!("told {} times", seen.dead.len()) };
        assert!(*found == end && *since <= 10, "since step {since}: {found:?}");
    }
    let good = demo_network(device(), "resnet50", "0");
    // A picture that does not move for want of a rate has a gradient all the same.
    for stage in [plain.clone(), moving, Stage { rate: [1e-30, 1e-30], ..plain }] {
        let (ended, seen) = watched(device(), &job(scene(&good, 1.0), stage), going_on);
        assert!(ended.is_ok() && seen.dead.is_empty(), "{:?}", seen.dead);
    }
}

#[test]
fn preprocessing_is_told_from_the_first_batch_norm() {
    let plain = demo("resnet50-plain").expect("readable").expect("it is in the program");
    let plain = Network::load(device(), &structure("resnet50"), &plain, "0").expect("weights that fit");
    let others = ["resnet50", "googlenet", "inception_v3"].map(|name| (name, demo_network(device(), name, "0")));
    for (name, network) in others.into_iter().chain([("resnet50-plain", plain)]) {
        let misfit = |normalize| network.preprocessing_misfit(device(), normalize).expect("downloads");
        assert_eq!(misfit(Normalize::Imagenet), None, "{name} was trained with it");
        let trained = Preprocessing { normalize: Normalize::Imagenet, transform_input: network.transform_input };
        assert_eq!(misfit(Normalize::Source), Some(trained), "{name}");
    }
    // A network that was trained on pixel values as they are: its first batch norm has run up what they give.
    let network = demo_network(device(), "googlenet", "0");
    let mean = [0.485, 0.456, 0.406];
    let weights = network.weights(device()).expect("downloads");
    let tensor = |name: &str| weights.iter().find(|array| array.name == name).expect("a tensor").clone();
    let filters = tensor("conv1.conv.weight");
    let window = filters.shape[2] * filters.shape[3];
    let sum = |filter: &[f32]| -> f32 {
        filter.chunks_exact(window).zip(mean).map(|(plane, mean)| plane.iter().sum::<f32>() * mean).sum()
    };
    let values = filters.values.chunks_exact(3 * window).map(sum).collect();
    network.set_weights(device(), &[NamedArray { values, ..tensor("conv1.bn.running_mean") }]).expect("uploads");
    let misfit = |normalize| network.preprocessing_misfit(device(), normalize).expect("downloads");
    assert_eq!(misfit(Normalize::Source), None);
    let as_they_are = Preprocessing { normalize: Normalize::Source, transform_input: false };
    assert_eq!(misfit(Normalize::Imagenet), Some(as_they_are));
}

/// Networks that were trained without torchvision's rescaling and are run with it, as their structure's pretrained files are.
#[test]
fn a_rescaling_that_a_network_was_trained_without_is_told() {
    for name in ["googlenet", "inception_v3"] {
        let mut network = demo_network(device(), name, "0");
        assert!(!network.transform_input, "{name} was trained without");
        network.transform_input = true;
        let found = network.preprocessing_misfit(device(), Normalize::Imagenet).expect("downloads");
        assert_eq!(found, Some(Preprocessing { normalize: Normalize::Imagenet, transform_input: false }), "{name}");
    }
}

/// The same seed and adapter, the same bytes, from every device object anew.
#[test]
fn a_seed_decides_every_bit() {
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    let stage = Stage { step: StepRule::Normalized, crop: Some(96), sigma: [0.6, 0.3], ..Stage::new(6, [0.02, 0.01]) };
    let made = |seed: u64| {
        let own = Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter");
        let network = demo_network(&own, "inception_v3", "0");
        let mut job = job(scene(&network, 1.0), stage.clone());
        job.recipe.init.size = 112;
        job.streams[0].seed = seed;
        let finished = watched(&own, &job, going_on).0.expect("runs");
        finished.pictures.values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    let [first, again, other] = [5, 5, 6].map(made);
    assert!(first == again && first != other);
}
