//! `entoptic merge`: two classes in one picture.

use anyhow::bail;
use entoptic::evaluate::Scene;
use entoptic::objective::class_input;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::{Array, Shape};
use serde_json::json;

use super::args::{Global, MergeArgs};
use super::making::{Making, Picture, file_stem};
use super::networks::{load, open, shared_classes};
use super::objectives;

pub fn run(global: &Global, args: MergeArgs) -> anyhow::Result<()> {
    let [first, second] = args.class.as_slice() else {
        bail!("merge takes two classes, --class P --class R, not {}", args.class.len());
    };
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let classes = shared_classes(&networks)?;
    let pair = [classes.find(first)?, classes.find(second)?];
    let names = pair.map(|class| classes.name(class));
    let making = Making::new(global, &device, &networks, &args.making)?;
    let what = json!({ "kind": "merge", "classes": pair, "names": names, "juxtapose": args.juxtapose });
    let stream = Stream { seed: args.making.seed, picture: pair[0] as u64 };
    let input = |slot: usize| (class_input(slot), Array::filled(Shape::per_picture(1), pair[slot] as f32));
    let scene = Scene {
        objective: objectives::merge(&networks, args.juxtapose),
        inputs: vec![input(0), input(1)],
        ..making.scene()
    };
    let name = format!("{}-and-{}", file_stem(names[0]), file_stem(names[1]));
    let picture = [Picture { name, stream, what }];
    let made = making.make(scene, &picture, "first logit")?;
    making.report(&made, &picture, &pair[..1])?;
    making.report(&made, &picture, &pair[1..])
}
