//! `entoptic blend`: from one class to another, as a film.

use std::path::PathBuf;

use entoptic::evaluate::Scene;
use entoptic::objective::class_input;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::{Array, Shape};
use serde_json::json;

use super::args::{BlendArgs, Global};
use super::making::{Making, Picture, file_stem};
use super::networks::{load, open, shared_classes};
use super::objectives;

pub fn run(global: &Global, mut args: BlendArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let classes = shared_classes(&networks)?;
    let ends = [classes.find(&args.from)?, classes.find(&args.to)?];
    let [from, to] = ends.map(|class| classes.name(class));
    let name = format!("{}-to-{}", file_stem(from), file_stem(to));
    if args.making.film.is_empty() {
        args.making.film = vec![PathBuf::from(format!("{name}.gif")), PathBuf::from(format!("{name}-frames"))];
    }
    let making = Making::new(global, &device, &networks, &args.making)?;
    let what = json!({ "kind": "blend", "classes": ends, "names": [from, to] });
    let stream = Stream { seed: args.making.seed, picture: ends[0] as u64 };
    let input = |slot: usize| (class_input(slot), Array::filled(Shape::per_picture(1), ends[slot] as f32));
    let scene = Scene { objective: objectives::blend(&networks), inputs: vec![input(0), input(1)], ..making.scene() };
    let picture = [Picture { name, stream, what }];
    let made = making.make(scene, &picture, "first logit")?;
    making.report(&made, &picture, &ends[1..])
}
