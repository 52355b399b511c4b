//! How far pictures come out apart where sums are rounded otherwise: what the bound of `entoptic verify` stands on.

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
const BOUND: f64 = 6.0;

fn make(device: &Device, network: &Network, recipe: &str, class: usize, seed: u64) -> Vec<u8> {
    let recipe = Recipe::named(recipe).expect("a shipped recipe");
    let job = Job {
        scene: Scene {
            objective: Objective::class(200.0, true),
            inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), class as f32))],
            ..Scene::of(vec![network], recipe.normalize)
        },
        recipe,
        streams: vec![Stream { seed, picture: class as u64 }],
        start: None,
        check_finite: false,
        report_every: 1000,
        frame_every: None,
    };
    picture::rgb(&run(device, &job, &mut |_| ControlFlow::Continue(())).expect("runs").pictures)
}

/// Root of the mean square of all differences, in levels of 256.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// For some networks and classes: how far other kernels get, and another seed.
fn measure(recipe: &str, networks: &[Architecture], classes: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let tiled = device().apart();
    tiled.set_tiling(Tiling::Always(Variant::Tiled(Tile::T32x32, 1)));
    let (mut kernels, mut seeds) = (vec![], vec![]);
    for architecture in networks {
        let name = architecture.name();
        let network = demo_network(device(), name, name);
        for &class in classes {
            let one = make(device(), &network, recipe, class, 1);
            kernels.push(apart(&one, &make(&tiled, &network, recipe, class, 1)));
            seeds.push(apart(&one, &make(device(), &network, recipe, class, 2)));
            println!(
                "{recipe}, {name}, class {class}: kernels {:.3}, seeds {:.3}",
                kernels[kernels.len() - 1],
                seeds[seeds.len() - 1]
            );
        }
    }
    (kernels, seeds)
}

#[test]
fn the_bound_lies_between_other_kernels_and_other_seeds() {
    let (kernels, seeds) = measure("demo-quick", &[Architecture::ResNet50, Architecture::GoogLeNet], &[1, 4]);
    assert!(kernels.iter().all(|apart| *apart > 0.0 && *apart < BOUND / 2.0), "{kernels:?}");
    assert!(seeds.iter().all(|apart| *apart > BOUND * 2.0), "{seeds:?}");
}

/// The recipes that take longer; for the figures in `src/cli/replay.rs`.
#[test]
#[ignore = "takes minutes"]
fn the_bound_holds_for_longer_recipes() {
    for recipe in ["demo", "demo-robust", "demo-quick"] {
        let (kernels, seeds) = measure(recipe, &Architecture::ALL, &[1, 4, 8]);
        assert!(kernels.iter().all(|apart| *apart < BOUND), "{recipe}: {kernels:?}");
        assert!(seeds.iter().all(|apart| *apart > BOUND), "{recipe}: {seeds:?}");
    }
}
