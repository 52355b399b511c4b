//! Steps that are replayed: they allocate nothing, repeat bit by bit, and end in an error when the device does.

mod common;

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::reference::demo_network;
use entoptic::Error;
use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::{Scene, gradient, outputs};
use entoptic::nets::{Head, Network, Normalize};
use entoptic::objective::{Objective, Place, class_input};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::stage::{Stage, StepRule};
use entoptic::synthesis::{Event, Finished, Job, run};
use entoptic::tensor::{Array, Shape};

const LOGITS: Place = Place::Logits(0, Head::Main);

/// One test at a time: they look at memory, and each has a device of its own.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn choice() -> AdapterChoice {
    std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default()
}

fn open() -> Device {
    Device::open(&choice()).expect("the tests need a Vulkan, Metal or DX12 adapter")
}

fn scene(network: &Network) -> Scene<'_> {
    Scene {
        objective: Objective::class(200.0, true),
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), 8.0))],
        ..Scene::of(vec![network], Normalize::Imagenet)
    }
}

/// A stage with everything that a step can hold: crop, scaled step, clamp, penalty, blur.
fn job(network: &Network, steps: u32, seed: u64) -> Job<'_> {
    let mut recipe = Recipe::named("demo").expect("a shipped recipe");
    recipe.init.size = 40;
    recipe.stages = vec![Stage {
        crop: Some(32),
        step: StepRule::Normalized,
        clamp: Some([0.0, 1.0]),
        l2: 1e-4,
        sigma: [0.8, 0.4],
        ..Stage::new(steps, [0.02, 0.01])
    }];
    Job {
        scene: scene(network),
        recipe,
        streams: vec![Stream { seed, picture: 8 }],
        start: None,
        check_finite: false,
        report_every: 10,
        frame_every: None,
    }
}

fn finish(device: &Device, job: &Job) -> Finished {
    run(device, job, &mut |_| ControlFlow::Continue(())).expect("runs")
}

/// Bytes that the process holds in memory; none where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kilobytes: u64| kilobytes << 10)
}

#[test]
fn two_hundred_steps_allocate_nothing() {
    // Below the size of one picture's activations here (about 1 MiB) times the number of steps, and above what allocators
    // and the driver's threads keep for themselves.
    const SLACK: u64 = 4 << 20;
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    let job = job(&network, 220, 1);
    let mut seen = Vec::new();
    let finished = run(&device, &job, &mut |event| {
        if let Event::Progress(progress) = event {
            seen.push((progress.step, device.counters(), resident()));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(finished.expect("runs").steps, 220);
    let (first, last) = (&seen[1], &seen[21]);
    assert_eq!((first.0, last.0), (20, 220));
    assert_eq!(first.1, last.1, "what exists on the device before and after 200 steps");
    assert!(first.1.buffers > 0 && first.1.bind_groups > 0 && first.1.pipelines > 0, "{:?}", first.1);
    if let (Some(before), Some(after)) = (first.2, last.2) {
        println!("resident: {before} before, {after} after 200 steps");
        assert!(after <= before + SLACK, "{} bytes more are resident after 200 steps", after - before);
    }
}

#[test]
fn what_a_run_took_is_given_back() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    finish(&device, &job(&network, 2, 1));
    let before = device.counters();
    finish(&device, &job(&network, 2, 1));
    device.wait("test").expect("a good device");
    assert_eq!(device.counters(), before);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    let [first, again, other] = [1, 1, 2].map(|seed| finish(&device, &job(&network, 12, seed)).pictures);
    let bits = |array: &Array| array.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&first), bits(&again));
    assert_ne!(bits(&first), bits(&other));
}

#[test]
fn a_lost_device_is_an_error() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    let result = run(&device, &job(&network, 60, 1), &mut |event| {
        if let Event::Progress(progress) = event
            && progress.step == 20
        {
            device.destroy();
        }
        ControlFlow::Continue(())
    });
    let error = result.expect_err("the device is gone");
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    // So does everything after it.
    let result = run(&device, &job(&network, 2, 1), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(result, Err(Error::DeviceLost { .. })));
    let picture = Array::filled(Shape::new(1, 3, 32, 32), 0.5);
    let error = outputs(&device, &scene(&network), &picture, &[LOGITS], false).expect_err("the device is gone");
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    let error = network.weights(&device).expect_err("the device is gone");
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
}

#[test]
fn memory_that_may_not_be_taken_is_an_error_and_comes_back() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "googlenet", "0");
    let picture = |side: usize| Array::filled(Shape::new(1, 3, side, side), 0.5);
    let scene = Scene { inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), 8.0))], ..scene(&network) };
    gradient(&device, &scene, &picture(32), false).expect("runs");
    let taken = device.counters().buffer_bytes as u64;
    // Room for a small picture beside the weights, and not for a large one.
    device.limit_memory(taken + (8 << 20));
    for _ in 0..3 {
        let error = gradient(&device, &scene, &picture(512), false).map(drop).expect_err("no room");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        gradient(&device, &scene, &picture(32), false).expect("there is room again");
    }
    device.limit_memory(u64::MAX);
    gradient(&device, &scene, &picture(512), false).expect("runs");
}

#[test]
fn default_limits_are_enough() {
    let _alone = alone();
    let picture =
        Array::new(Shape::new(2, 3, 96, 80), common::reference::SEED.tensor_uniform("x", 2 * 3 * 96 * 80, 0.0, 1.0));
    let answers = [open(), Device::open_with_default_limits(&choice()).expect("default limits")].map(|device| {
        let network = demo_network(&device, "resnet50", "0");
        let scene = Scene {
            inputs: vec![(class_input(0), Array::new(Shape::per_picture(2), vec![8.0, 1.0]))],
            ..scene(&network)
        };
        let logits = outputs(&device, &scene, &picture, &[LOGITS], false).expect("runs").remove(0);
        let found = gradient(&device, &scene, &picture, false).expect("runs");
        [logits, found.loss, found.gradient].map(|array| array.values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn too_large_a_picture_is_refused_before_anything_is_allocated() {
    let _alone = alone();
    let device = Device::open_with_default_limits(&choice()).expect("default limits");
    let network = demo_network(&device, "googlenet", "0");
    let small = Array::filled(Shape::new(1, 3, 32, 32), 0.5);
    outputs(&device, &scene(&network), &small, &[LOGITS], false).expect("runs");
    device.wait("test").expect("a good device");
    // The first layer's 32 channels at half the side take twice the memory of the pictures.
    let bytes = 160 * 160 * 16;
    let before = device.counters();
    for (most, what) in [(2 * bytes - 16, "conv1"), (bytes - 16, "picture")] {
        device.limit_bindings(most);
        // A batch of three is tried with fewer at a time first.
        for n in [1, 3] {
            let picture = Array::filled(Shape::new(n, 3, 160, 160), 0.5);
            let inputs = vec![(class_input(0), Array::filled(Shape::per_picture(n), 8.0))];
            let scene = Scene { inputs, ..scene(&network) };
            let error = gradient(&device, &scene, &picture, false).map(drop).expect_err("too large");
            let Error::BufferLimit { label, needed, allowed } = error else { panic!("{n} pictures: {error}") };
            assert!(needed > allowed && allowed == most, "{label}: {needed} of {allowed}");
            assert!(label.contains(what), "{label}");
            assert_eq!(device.counters(), before, "{n} pictures");
        }
    }
    device.limit_bindings(u64::MAX);
    outputs(&device, &scene(&network), &small, &[LOGITS], false).expect("still runs");
}

#[test]
fn the_first_layer_that_is_not_finite_is_named() {
    let _alone = alone();
    let device = open();
    let picture = Array::filled(Shape::new(1, 3, 48, 48), 0.5);
    let check = |changes: &[(&str, f32)], layer: &str| {
        let network = demo_network(&device, "resnet50", "0");
        outputs(&device, &scene(&network), &picture, &[LOGITS], true).expect("good weights");
        for (tensor, value) in changes {
            device.write(&network.buffers()[&network.parameters().key(tensor)], &[*value]).expect("uploads");
        }
        let found = |result: entoptic::Result<()>| match result {
            Err(Error::NotFinite { layer, step }) => (layer, step),
            other => panic!("{changes:?}: {other:?}"),
        };
        let forward = outputs(&device, &scene(&network), &picture, &[LOGITS], true).map(drop);
        assert_eq!(found(forward), (layer.to_owned(), None));
        let backward = gradient(&device, &scene(&network), &picture, true).map(drop);
        assert_eq!(found(backward), (layer.to_owned(), None));
        let job = Job { check_finite: true, ..job(&network, 3, 1) };
        let stepped = run(&device, &job, &mut |_| ControlFlow::Continue(())).map(drop);
        assert_eq!(found(stepped), (layer.to_owned(), Some(0)));
    };
    check(&[("layer1.1.bn2.bias", f32::INFINITY)], "layer1.1.bn2");
    check(&[("layer1.1.bn2.bias", f32::NAN)], "layer1.1.bn2");
    check(&[("fc.bias", f32::NEG_INFINITY)], "fc");
    // Each is finite, their sum at the end of the block is not.
    check(&[("layer1.0.bn3.bias", 3e38), ("layer1.0.downsample.1.bias", 3e38)], "layer1.0");
}

#[test]
fn short_submissions_give_the_same_bits() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    let whole = finish(&device, &job(&network, 3, 1)).pictures;
    // Less than any kernel needs: each launch is a submission of its own, and the first replay measures.
    device.limit_submissions(Duration::ZERO);
    assert_eq!(finish(&device, &job(&network, 3, 1)).pictures, whole);
}

#[test]
fn steps_submitted_together_give_the_same_bits_and_reports() {
    let _alone = alone();
    let device = open();
    let network = demo_network(&device, "resnet50", "0");
    let reported = |report_every, frame_every| {
        let mut seen = Vec::new();
        let job = Job { report_every, frame_every, ..job(&network, 12, 1) };
        let finished = run(&device, &job, &mut |event| {
            match event {
                Event::Progress(progress) => seen.push((progress.step, progress.loss.to_vec())),
                Event::Frame(picture) => seen.push((0, picture.values[..3].to_vec())),
                Event::Prepared { .. } | Event::Dead { .. } | Event::Kept(_) => {}
            }
            ControlFlow::Continue(())
        });
        (finished.expect("runs"), seen)
    };
    let (one_by_one, every) = reported(1, None);
    assert_eq!(every.len(), 12);
    let (together, some) = reported(5, None);
    assert_eq!(together.pictures, one_by_one.pictures);
    assert_eq!(some, [&every[4], &every[9], &every[11]].map(Clone::clone));
    let (filmed, some) = reported(8, Some(6));
    assert_eq!(filmed.pictures, one_by_one.pictures);
    assert_eq!(some.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 8, 0, 12]);
}
