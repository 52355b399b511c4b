//! How far apart runs come out where sums are rounded otherwise, beside how far another seed's are: what the bounds of
//! `entoptic verify` stand on, for pictures that were made on another adapter.

mod common;

use std::ops::ControlFlow;

use common::gpu::device;
use common::reference::{demo_network, structure};
use entoptic::device::{Device, Tile, Tiling, Variant};
use entoptic::evaluate::Scene;
use entoptic::nets::{Network, Structure};
use entoptic::objective::{Objective, class_input};
use entoptic::picture;
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Finished, Job, run};
use entoptic::tensor::{Array, Shape};

/// Those of `src/cli/replay.rs`.
const FIRST_LOSS: [f32; 2] = [1e-5, 1e-6];
const FALL: f32 = 1.5;
const PIXELS: f64 = 1.25;

/// Pictures of a class with seeds 1 to 4, and how they came about.
struct Made {
    pictures: Vec<Vec<u8>>,
    finished: Finished,
}

fn make(device: &Device, network: &Network, recipe: &str, class: usize) -> Made {
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
    let finished = run(device, &job, &mut |_| ControlFlow::Continue(())).expect("runs");
    Made { pictures: (0..4).map(|n| picture::rgb(&finished.pictures.picture(n))).collect(), finished }
}

/// Root of the mean square of all differences, in levels of 256.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// What two runs are asked.
#[derive(Debug)]
struct Measures {
    /// Difference of the losses before the first step.
    first: Vec<f32>,
    /// How many times as much the loss of one falls.
    fall: Vec<f32>,
    /// Distance of the pictures over that to the picture of the next seed.
    pixels: Vec<f64>,
}

impl Measures {
    /// Of each seed here, the run there whose seed is so many farther.
    fn of(here: &Made, there: &Made, farther: usize) -> Self {
        let other = |n: usize| (n + farther) % 4;
        let fall = |made: &Made, n: usize| made.finished.first_loss[n] - made.finished.loss[n];
        Measures {
            first: (0..4).map(|n| (here.finished.first_loss[n] - there.finished.first_loss[other(n)]).abs()).collect(),
            fall: (0..4).map(|n| fall(here, n) / fall(there, other(n))).collect(),
            pixels: (0..4)
                .map(|n| {
                    let next = apart(&here.pictures[n], &here.pictures[(n + 1) % 4]);
                    apart(&here.pictures[n], &there.pictures[other(n)]) / next
                })
                .collect(),
        }
    }
}

/// For a network and a class: other kernels, and other seeds.
fn measure(recipe: &str, architecture: &Structure, class: usize) -> [Measures; 2] {
    let tiled = device().apart();
    tiled.set_tiling(Tiling::Always(Variant::Tiled(Tile::T32x32, 1)));
    let name = architecture.name();
    let network = demo_network(device(), name, name);
    let (here, there) = (make(device(), &network, recipe, class), make(&tiled, &network, recipe, class));
    let found = [0, 2].map(|farther| Measures::of(&here, &there, farther));
    println!("{recipe}, {name}, class {class}: kernels {:.6?}", found[0]);
    println!("{recipe}, {name}, class {class}: seeds {:.3?}", found[1]);
    found
}

#[test]
fn other_kernels_are_within_the_bounds_and_other_seeds_are_not() {
    let [kernels, seeds] = measure("demo-quick", &structure("googlenet"), 4);
    // Of losses near 200 the second part alone.
    let allowed = FIRST_LOSS[1] * 190.0;
    assert!(kernels.first.iter().all(|off| *off < allowed), "{kernels:?}");
    assert!(kernels.fall.iter().all(|fall| (1.0 / FALL..FALL).contains(fall)), "{kernels:?}");
    assert!(
        kernels.pixels.iter().any(|off| *off > 0.0) && kernels.pixels.iter().all(|off| *off < PIXELS),
        "{kernels:?}"
    );
    assert!(seeds.first.iter().all(|off| *off > allowed), "{seeds:?}");
}

/// The figures in `docs/gallery.md`.
#[test]
#[ignore = "takes minutes, and shows figures rather than a mistake"]
fn figures_for_the_shipped_recipes() {
    for (recipe, classes) in [("demo-quick", &[1, 4, 8][..]), ("demo", &[4]), ("demo-robust", &[4])] {
        for architecture in [structure("resnet50"), structure("googlenet")] {
            for &class in classes {
                measure(recipe, &architecture, class);
            }
        }
    }
}
