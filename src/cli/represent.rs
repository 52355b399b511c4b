//! `entoptic match`: the picture whose output is that of a photograph, or of another network's picture.

use std::path::Path;

use anyhow::{Context, bail};
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::{Objective, Place, goal_input};
use entoptic::ops::Metric;
use entoptic::picture;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::Array;
use serde_json::{Value, json};

use super::args::{Global, MakingArgs, MatchArgs};
use super::making::{Making, Picture, file_stem};
use super::networks::{file_name, load, open};
use super::{generate, objectives};

/// Factor of the source's L1 loss, kept for every metric.
const WEIGHT: f32 = 0.05;

pub fn run(global: &Global, args: MatchArgs) -> anyhow::Result<()> {
    args.models.single("match")?;
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let recipe = if networks[0].recipe == "demo" { "demo-match" } else { networks[0].recipe };
    let recipe = args.making.recipe.clone().or_else(|| Some(recipe.into()));
    let making = MakingArgs { recipe, ..args.making.clone() };
    let making = Making::new(global, &device, &networks, &making)?;
    let place = match &args.layer {
        Some(layer) => Place::Layer(0, layer.clone()),
        None => making.logits(0),
    };
    let (aim, name, stream, of) = match &args.image {
        Some(image) => {
            let photograph = picture::read(image).context("--image")?;
            let name = format!("{}-seen", image.file_stem().unwrap_or_default().to_string_lossy());
            (photograph, name, 0, json!({ "image": file_name(image) }))
        }
        None => other_picture(global, &device, &args)?,
    };
    let goal = Goal::new(&making, place, &aim)?;
    let what = json!({ "kind": "match", "of": of, "layer": args.layer });
    let stream = Stream { seed: args.making.seed, picture: stream };
    let noise = making.start(stream)?;
    let pictures = making.make(goal.scene(args.metric.into()), &[Picture { name, stream, what }], "distance")?;
    let (before, after) = (goal.distance(&noise)?, goal.distance(&pictures)?);
    global.say(format_args!("L1 distance {after:.3}, of the start {before:.3}: {:.1} %", 100.0 * after / before));
    Ok(())
}

/// What a making's first network makes of the pictures that it is to match.
pub struct Goal<'a> {
    making: &'a Making<'a>,
    place: Place,
    values: Array,
}

impl<'a> Goal<'a> {
    /// Runs the network on what is aimed at.
    pub fn new(making: &'a Making<'a>, place: Place, aim: &Array) -> anyhow::Result<Self> {
        let values = found(making, &place, aim, making.global.check_finite)?;
        Ok(Goal { making, place, values })
    }

    /// The scene in which pictures come to match.
    pub fn scene(&self, metric: Metric) -> Scene<'a> {
        Scene {
            objective: Objective::reach(self.place.clone(), metric, WEIGHT),
            inputs: vec![(goal_input(0), self.values.clone())],
            ..self.making.scene()
        }
    }

    /// L1 distance of as many pictures from the goal, all together.
    pub fn distance(&self, pictures: &Array) -> anyhow::Result<f64> {
        let found = found(self.making, &self.place, pictures, false)?;
        Ok(found.values.iter().zip(&self.values.values).map(|(a, b)| f64::from(a - b).abs()).sum())
    }
}

/// The network sees windows of the size that the last stage gives it; so it sees what is aimed at.
fn found(making: &Making, place: &Place, pictures: &Array, check_finite: bool) -> anyhow::Result<Array> {
    let seen = picture::fit(pictures, making.recipe.final_window() as usize);
    Ok(evaluate::outputs(making.device, &making.scene(), &seen, std::slice::from_ref(place), check_finite)?.remove(0))
}

/// The picture that the other network makes of a class, or has made.
fn other_picture(global: &Global, device: &Device, args: &MatchArgs) -> anyhow::Result<(Array, String, u64, Value)> {
    let [target] = args.models.others.as_slice() else { bail!("match takes one --target-model") };
    let networks = load(global, device, [target])?;
    let classes = &networks[0].network.classes;
    let text = args.class.as_deref().context("--target-model needs --class")?;
    let class = classes.find(text)?;
    let stem = file_stem(classes.name(class));
    let of = json!({
        "network": networks[0].network.architecture.name(),
        "sha256": networks[0].network.checksum,
        "class": class,
        "name": classes.name(class),
    });
    let picture = match &args.target_picture {
        Some(path) => picture::read(path).context("--target-picture")?,
        None => {
            let out = Path::new(&format!("{stem}-by-{}.png", networks[0].network.architecture)).to_owned();
            let making = MakingArgs { out: Some(out), film: Vec::new(), ..args.making.clone() };
            let making = Making::new(global, device, &networks, &making)?;
            generate::one(&making, class, objectives::class(&networks, 200.0))?
        }
    };
    Ok((picture, format!("{stem}-matched"), class as u64, of))
}
