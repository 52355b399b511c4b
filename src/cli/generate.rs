//! `entoptic generate`

use entoptic::evaluate::Scene;
use entoptic::objective::{Objective, class_input};
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::{Array, Shape};
use serde_json::json;

use super::args::{GenerateArgs, Global};
use super::making::{Making, Picture, Set, file_stem};
use super::networks::{load, open};
use super::objectives;

pub fn run(global: &Global, args: GenerateArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let making = Making::new(global, &device, &networks, &args.making)?;
    let (kind, objective) = match networks.len() {
        1 => ("class", objectives::class(&networks, args.constant)),
        _ => ("joint", objectives::joint(&networks, args.constant)),
    };
    let suffix = if kind == "joint" { "-joint" } else { "" };
    let what = |class, name: &str| json!({ "kind": kind, "class": class, "name": name, "constant": args.constant });
    let set = Set::new(&making, &args.pictures, suffix, what)?;
    let scene = Scene { objective, inputs: vec![set.input(0)], ..making.scene() };
    let pictures = making.make(scene, &set.pictures, "logit")?;
    making.report(&pictures, &set.pictures, &set.classes)
}

/// One picture of a class, for commands that need one to start with.
pub fn one(making: &Making, class: usize, objective: Objective) -> anyhow::Result<Array> {
    let name = making.networks[0].network.classes.name(class);
    let scene = Scene {
        objective,
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), class as f32))],
        ..making.scene()
    };
    let stream = Stream { seed: making.args.seed, picture: class as u64 };
    let what = json!({ "kind": "class", "class": class, "name": name });
    making.make(scene, &[Picture { name: file_stem(name), stream, what }], "logit")
}
