//! Runs that stop and go on, and what a run would take: the same bits, the same memory, whatever is made beside a picture.

mod common;

use std::ops::ControlFlow;

use common::gpu::device;
use common::jobs::job;
use common::reference::demo_network;
use entoptic::device::{AdapterChoice, Device, Tiling};
use entoptic::ops;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::stage::{NearestSizes, Pad, Stage, StepRule};
use entoptic::synthesis::{Event, Finished, Job, memory, resume, run};
use entoptic::tensor::Array;

/// Everything that lies between two steps: Adam's moments, a border that grows, sizes in turn, a resize between stages, crops.
fn recipe() -> Recipe {
    let mut recipe = Recipe::named("demo").expect("a shipped recipe");
    recipe.init.size = 32;
    recipe.stages = vec![
        Stage { step: StepRule::Adam, ..Stage::new(3, [0.02, 0.01]) },
        Stage { pad: Some(Pad { width: 1, value: 0.7 }), step: StepRule::Normalized, ..Stage::new(2, [0.02, 0.01]) },
        Stage {
            nearest_sizes: Some(NearestSizes { sizes: vec![40, 33], until: 1.0 }),
            sigma: [0.8, 0.4],
            step: StepRule::Normalized,
            ..Stage::new(3, [0.02, 0.01])
        },
        Stage { size: Some(44), crop: Some(36), step: StepRule::Adam, ..Stage::new(3, [0.02, 0.01]) },
    ];
    recipe
}

/// Ends a run, begun or not, after a step.
fn until(device: &Device, job: &Job, from: Option<&Finished>, step: usize) -> Finished {
    let mut observer = |event: Event| match event {
        Event::Progress(progress) if progress.step == step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let finished = match from {
        Some(from) => resume(device, job, from, &mut observer),
        None => run(device, job, &mut observer),
    };
    finished.expect("runs")
}

fn bits(array: &Array) -> Vec<u32> {
    array.values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_run_that_stops_anywhere_ends_in_the_same_bits() {
    let network = demo_network(device(), "resnet50", "0");
    let job = job(&network, recipe(), &[8, 3]);
    let whole = until(device(), &job, None, usize::MAX);
    assert_eq!(whole.steps, 11);
    for step in 1..=11 {
        let stopped = until(device(), &job, None, step);
        assert_eq!(stopped.steps, step);
        let adam = step <= 3 || step > 8;
        assert_eq!(stopped.memory.len(), if adam { 2 } else { 0 }, "step {step}");
        let finished = until(device(), &job, Some(&stopped), usize::MAX);
        assert_eq!(finished.steps, 11, "stopped after step {step}");
        assert_eq!(bits(&finished.pictures), bits(&whole.pictures), "stopped after step {step}");
        assert_eq!((&finished.loss, &finished.measured), (&whole.loss, &whole.measured), "stopped after step {step}");
    }
    // Several times.
    let mut stopped = until(device(), &job, None, 2);
    for step in [3, 4, 7, 10] {
        stopped = until(device(), &job, Some(&stopped), step);
        assert_eq!(stopped.steps, step);
    }
    let finished = until(device(), &job, Some(&stopped), usize::MAX);
    assert_eq!(bits(&finished.pictures), bits(&whole.pictures));
}

#[test]
fn what_another_run_left_is_refused() {
    let network = demo_network(device(), "resnet50", "0");
    let both = job(&network, recipe(), &[8, 3]);
    let stopped = until(device(), &both, None, 2);
    let refused = |job: &Job, from: &Finished| {
        resume(device(), job, from, &mut |_| ControlFlow::Continue(())).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&job(&network, recipe(), &[8]), &stopped),
        "resume: pictures is [2, 3, 32, 32], expected [1, 3, 32, 32]"
    );
    let forgetful = Finished { memory: vec![], ..stopped.clone() };
    assert_eq!(refused(&both, &forgetful), "resume: arrays of memory is 0, expected 2");
    let later = Finished { steps: 7, memory: vec![], ..stopped };
    assert!(refused(&both, &later).contains("pictures is [2, 3, 32, 32]"), "another size by then");
}

#[test]
fn the_memory_told_is_that_of_the_largest_step() {
    // Its own, for other tests allocate on the one that they share.
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    let device = Device::open(&choice).expect("the tests need an adapter");
    let network = demo_network(&device, "resnet50", "0");
    for classes in [&[8][..], &[8, 3, 1]] {
        let job = job(&network, recipe(), classes);
        let mut most = 0;
        let mut observer = |event: Event| {
            if let Event::Prepared { plan, .. } = event {
                most = most.max(plan.total_bytes());
            }
            ControlFlow::Continue(())
        };
        run(&device, &job, &mut observer).expect("runs");
        device.wait("test").expect("a good device");
        let before = device.counters();
        assert_eq!(memory(&device, &job).expect("fits"), most, "{classes:?}");
        assert_eq!(device.counters(), before, "nothing is allocated");
    }
}

/// On GPUs kernels are chosen by the sizes of a batch, and others round otherwise; here by the same table on any adapter.
#[test]
fn a_picture_alone_is_that_of_a_batch_whatever_the_kernels() {
    let network = demo_network(device(), "resnet50", "0");
    let recipe = || Recipe { stages: vec![Stage::new(2, [0.5, 0.5])], ..recipe() };
    let made = |tiling: &Tiling, classes: &[usize]| {
        let apart = device().apart();
        apart.set_tiling(ops::alone(tiling));
        let finished = until(&apart, &job(&network, recipe(), classes), None, usize::MAX);
        (finished.pictures, apart.tuning().tiling.to_string())
    };
    let table = Tiling::Table { units: 16 };
    let (together, many) = made(&table, &[8, 3, 1, 5, 6, 7]);
    let (alone, one) = made(&table, &[3]);
    assert_eq!(bits(&together.picture(1)), bits(&alone));
    assert_eq!(many, one);
}
