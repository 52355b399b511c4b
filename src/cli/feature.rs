//! `entoptic feature` and `entoptic dream`: what a layer responds to, from noise or from a photograph.

use anyhow::bail;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::BatchNormMode;
use entoptic::objective::{Measure, Place};
use entoptic::synthesis::octave::Stream;
use entoptic::tape::Tape;
use entoptic::tensor::Shape;
use serde_json::{Value, json};

use super::args::{DreamArgs, FeatureArgs, Global, MakingArgs};
use super::making::{Making, Picture, file_stem};
use super::models::Models;
use super::networks::{Loaded, load, open};
use super::objectives;

pub fn run(global: &Global, args: FeatureArgs) -> anyhow::Result<()> {
    let (unit, channel) = match args.unit.as_deref() {
        None => (None, args.channel),
        Some(&[channel, row, column]) => (Some([row, column]), Some(channel)),
        Some(other) => bail!("--unit takes channel,row,column, not {} numbers", other.len()),
    };
    let what = json!({ "kind": "feature", "layer": args.layer, "channel": channel, "unit": args.unit });
    show(global, &args.models, &args.layer, channel, unit, (&args.making, "feature"), what)
}

pub fn dream(global: &Global, mut args: DreamArgs) -> anyhow::Result<()> {
    args.making.init = args.image.clone();
    let what = json!({ "kind": "dream", "layer": args.layer, "channel": args.channel });
    show(global, &args.models, &args.layer, args.channel, None, (&args.making, "dream"), what)
}

fn show(
    global: &Global,
    models: &Models,
    layer: &str,
    channel: Option<usize>,
    unit: Option<[usize; 2]>,
    (args, recipe): (&MakingArgs, &str),
    what: Value,
) -> anyhow::Result<()> {
    models.single("this")?;
    let device = open(global)?;
    let networks = load(global, &device, &models.models)?;
    // The small networks have a recipe of their own; that of full-size ones depends on what is made.
    let recipe = if networks[0].recipe == "demo" { "demo" } else { recipe };
    let args = &MakingArgs { recipe: args.recipe.clone().or_else(|| Some(recipe.into())), ..args.clone() };
    let making = Making::new(global, &device, &networks, args)?;
    let shape = shape(&networks[0], layer, making.recipe.final_window() as usize)?;
    let inside = |what: &str, value: usize, size: usize| {
        if value < size {
            Ok(())
        } else {
            bail!("{layer} has {size} {what}s, numbered from 0; {what} {value} is not among them")
        }
    };
    if let Some(channel) = channel {
        inside("channel", channel, shape.c())?;
    }
    if let Some([row, column]) = unit {
        inside("row", row, shape.h())?;
        inside("column", column, shape.w())?;
    }
    let one = |index: usize| index..index + 1;
    let measure = Measure::Region {
        channels: channel.map(one),
        rows: unit.map(|[row, _]| one(row)),
        columns: unit.map(|[_, column]| one(column)),
    };
    // A whole layer sums over all of its channels, and would step that much farther.
    let weight = if channel.is_none() { 1.0 / shape.c() as f32 } else { 1.0 };
    let scene = Scene { objective: objectives::region(layer, measure, weight), ..making.scene() };
    let suffix = channel.map(|channel| format!("-{channel}")).unwrap_or_default();
    let name = format!("{}{suffix}", file_stem(layer));
    let stream = Stream { seed: args.seed, picture: 0 };
    let pictures = making.make(scene, &[Picture { name, stream, what }], "response")?;
    let place = Place::Layer(0, layer.to_owned());
    let values = evaluate::outputs(&device, &making.scene(), &pictures, &[place], false)?.remove(0);
    let plane = values.shape.h() * values.shape.w();
    let seen =
        channel.map_or(values.values.as_slice(), |channel| &values.values[channel * plane..(channel + 1) * plane]);
    if seen.iter().all(|&value| value == 0.0) {
        global.say(format_args!(
            "the response is zero everywhere, so it had no gradient to follow: try another seed, --init IMAGE, or another \
             channel"
        ));
    }
    Ok(())
}

/// Shape of a layer for a window of that side.
fn shape(loaded: &Loaded, layer: &str, side: usize) -> anyhow::Result<Shape> {
    let mut tape = Tape::default();
    let x = tape.input("picture", Shape::new(1, 3, side, side));
    let outputs = loaded.network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[])?;
    Ok(tape.shape(outputs.tap(layer)?))
}
