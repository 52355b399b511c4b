//! How far pictures come out apart where sums are rounded otherwise, beside how far another seed's are: what the bound of
//! `entoptic verify` stands on. A run amplifies what rounding leaves, so no number of levels would do for all recipes.

mod common;

use std::ops::ControlFlow;

use common::gpu::device;
use common::reference::demo_network;
use entoptic::device::{Device, Tile, Tiling, Variant};
use entoptic::evaluate::Scene;
use entoptic::nets::{Architecture, Network};
use entoptic::objective::{Objective, class_input};
use entoptic::picture;
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Job, run};
use entoptic::tensor::{Array, Shape};

/// That of `src/cli/replay.rs`.
const BOUND: f64 = 0.8;

/// Pictures of a class with seeds 1 to 4.
fn make(device: &Device, network: &Network, recipe: &str, class: usize) -> Vec<Vec<u8>> {
    let recipe = Recipe::named(recipe).expect("a shipped recipe");
    let job = Job {
        scene: Scene {
            objective: Objective::class(200.0, true),
            inputs: vec![(class_input(0), Array::filled(Shape::per_picture(4), class as f32))],
            ..Scene::of(vec![network], recipe.normalize)
        },
        recipe,
        streams: (1..=4).map(|seed| Stream { seed, picture: class as u64 }).collect(),
        start: None,
        check_finite: false,
        report_every: 1000,
        frame_every: None,
    };
    let made = run(device, &job, &mut |_| ControlFlow::Continue(())).expect("runs").pictures;
    (0..4).map(|n| picture::rgb(&made.picture(n))).collect()
}

/// Root of the mean square of all differences, in levels of 256.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// For a network and a class: how far other kernels get and how far a wrong seed is, over how far the next seed is.
fn measure(recipe: &str, architecture: Architecture, class: usize) -> [Vec<f64>; 2] {
    let tiled = device().apart();
    tiled.set_tiling(Tiling::Always(Variant::Tiled(Tile::T32x32, 1)));
    let name = architecture.name();
    let network = demo_network(device(), name, name);
    let (here, there) = (make(device(), &network, recipe, class), make(&tiled, &network, recipe, class));
    // As `verify` has it: the picture made again is `here`, the next seed is the measure.
    let next = |n: usize| apart(&here[n], &here[(n + 1) % 4]);
    let kernels: Vec<f64> = (0..4).map(|n| apart(&here[n], &there[n]) / next(n)).collect();
    let seeds: Vec<f64> =
        (0..4).flat_map(|n| [2, 3].map(|other| apart(&here[n], &there[(n + other) % 4]) / next(n))).collect();
    println!("{recipe}, {name}, class {class}: kernels {kernels:.2?}, wrong seeds {seeds:.2?}");
    [kernels, seeds]
}

#[test]
fn the_bound_lies_between_other_kernels_and_other_seeds() {
    let [kernels, seeds] = measure("demo-quick", Architecture::GoogLeNet, 4);
    assert!(kernels.iter().all(|ratio| *ratio > 0.0 && *ratio < BOUND), "{kernels:?}");
    assert!(seeds.iter().all(|ratio| *ratio > BOUND), "{seeds:?}");
}

/// The figures in `docs/gallery.md`.
#[test]
#[ignore = "takes minutes, and shows figures rather than a mistake"]
fn figures_for_the_shipped_recipes() {
    for (recipe, classes) in [("demo-quick", &[1, 4, 8][..]), ("demo", &[1, 4]), ("demo-robust", &[4])] {
        for architecture in [Architecture::ResNet50, Architecture::GoogLeNet] {
            for &class in classes {
                measure(recipe, architecture, class);
            }
        }
    }
}
