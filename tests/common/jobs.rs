//! Jobs as tests of whole runs have them.

use entoptic::evaluate::Scene;
use entoptic::nets::Network;
use entoptic::objective::{Objective, class_input};
use entoptic::synthesis::Job;
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::{Array, Shape};

/// A picture of each class by one network, with a report after every step.
pub fn job<'a>(network: &'a Network, recipe: Recipe, classes: &[usize]) -> Job<'a> {
    let indices = classes.iter().map(|&class| class as f32).collect();
    Job {
        scene: Scene {
            objective: Objective::class(200.0, true),
            inputs: vec![(class_input(0), Array::new(Shape::per_picture(classes.len()), indices))],
            ..Scene::of(vec![network], recipe.normalize)
        },
        recipe,
        streams: classes.iter().map(|&class| Stream { seed: 1, picture: class as u64 }).collect(),
        start: None,
        check_finite: false,
        report_every: 1,
        frame_every: None,
    }
}
