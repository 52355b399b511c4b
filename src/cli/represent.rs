//! `entoptic match`: the picture whose output is that of a photograph, or of another network's picture.

use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::device::Device;
use entoptic::evaluate;
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::Array;
use serde_json::json;

use super::design::{Aim, CONSTANT, Target};
use super::making::{Making, Picture, file_stem};
use super::models::{self, Models};
use super::networks::{Loaded, check_range, file_name, load, open};
use super::options::{Global, MakingArgs, MetricArg, WatchingArgs};
use super::origin::file_sum;

#[derive(Args)]
pub struct MatchArgs {
    #[command(flatten)]
    pub models: Models<models::Target>,
    /// Photograph, or any picture, whose output is aimed at
    #[arg(long, required_unless_present = "target-model", conflicts_with = "target-model")]
    pub image: Option<PathBuf>,
    /// Class of the other network's picture
    #[arg(long, requires = "target-model", required_unless_present = "image", conflicts_with = "image")]
    pub class: Option<String>,
    /// The other network's picture, when it has been made before
    #[arg(long, requires = "target-model", conflicts_with = "image", value_name = "IMAGE")]
    pub target_picture: Option<PathBuf>,
    /// Layer to match instead of the logits
    #[arg(long)]
    pub layer: Option<String>,
    /// How the distance is measured
    #[arg(long, default_value = "l1")]
    pub metric: MetricArg,
    #[command(flatten)]
    pub making: MakingArgs,
}

pub fn run(global: &Global, args: MatchArgs) -> anyhow::Result<()> {
    args.models.single("match")?;
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let recipe = args.making.recipe.clone().or_else(|| Some(recipe(&networks[0]).into()));
    let making = MakingArgs { recipe, ..args.making.clone() };
    let making = Making::new(global, &device, &networks, &making)?;
    let (aimed_at, name, stream, of) = match &args.image {
        Some(image) => {
            let photograph = picture::read(image).context("--image")?;
            check_range(global, image, &photograph, making.recipe.normalize);
            let name = format!("{}-seen", image.file_stem().unwrap_or_default().to_string_lossy());
            let of = Target::Image { image: file_name(image), image_sha256: file_sum(image).context("--image")? };
            (photograph, name, 0, of)
        }
        None => other_picture(global, &device, &args)?,
    };
    let aim = Aim::matching(of, args.layer.clone(), args.metric);
    let goal = Goal::new(&making, aim.place(&making), &aimed_at)?;
    let stream = Stream { seed: args.making.seed, picture: stream };
    let noise = making.start(stream)?;
    let pictures = making.make(&[Picture { name, stream, aim }], Some(&goal.values))?;
    let (before, after) = (goal.distance(&noise)?, goal.distance(&pictures)?);
    global.event("distance", json!({ "metric": "l1", "start": before, "picture": after }));
    global.say(format_args!("L1 distance {after:.3}, of the start {before:.3}: {:.1} %", 100.0 * after / before));
    Ok(())
}

/// The recipe by which a network's pictures match something, where the user names none.
pub fn recipe(network: &Loaded) -> &'static str {
    if network.recipe == "demo" { "demo-match" } else { network.recipe }
}

/// What a making's first network makes of the pictures that it is to match.
pub struct Goal<'a> {
    making: &'a Making<'a>,
    place: Place,
    pub values: Array,
}

impl<'a> Goal<'a> {
    /// Runs the network on what is aimed at.
    pub fn new(making: &'a Making<'a>, place: Place, aimed_at: &Array) -> anyhow::Result<Self> {
        let [_, _, h, w] = aimed_at.shape.0;
        if let (Place::Layer(..), true) = (&place, h != w) {
            let gone = 100 - 100 * h.min(w) / h.max(w);
            making.global.say(format_args!(
                "of the {w} x {h} pixels to match, the square in the middle is looked at: {gone} % are not"
            ));
        }
        let values = found(making, &place, aimed_at, making.global.check_finite)?;
        Ok(Goal { making, place, values })
    }

    /// L1 distance of as many pictures from the goal, all together.
    pub fn distance(&self, pictures: &Array) -> anyhow::Result<f64> {
        let found = found(self.making, &self.place, pictures, false)?;
        Ok(found.values.iter().zip(&self.values.values).map(|(a, b)| f64::from(a - b).abs()).sum())
    }
}

/// The network sees windows of the size that the last stage gives it; so it sees what is aimed at. Logits can be those of a picture
/// of any shape; the values of a layer are compared place by place, so that both pictures must be squares.
fn found(making: &Making, place: &Place, pictures: &Array, check_finite: bool) -> anyhow::Result<Array> {
    let side = making.recipe.final_window() as usize;
    let seen = match place {
        Place::Layer(..) => picture::fit(pictures, side),
        _ => picture::scale(pictures, side),
    };
    Ok(evaluate::outputs(&making.device, &making.scene(), &seen, std::slice::from_ref(place), check_finite)?.remove(0))
}

/// The picture that the other network makes of a class, or has made.
fn other_picture(global: &Global, device: &Device, args: &MatchArgs) -> anyhow::Result<(Array, String, u64, Target)> {
    let [target] = args.models.others.as_slice() else { bail!("match takes one --target-model") };
    let networks = load(global, device, [target])?;
    let classes = &networks[0].network.classes;
    let text = args.class.as_deref().context("--target-model needs --class")?;
    let class = classes.find(text)?;
    let (name, stem) = (classes.name(class).to_owned(), file_stem(classes.name(class)));
    let (structure, sha256) = (&networks[0].network.structure, networks[0].network.checksum.clone());
    let network = structure.name().to_owned();
    let (picture, of) = match &args.target_picture {
        Some(path) => {
            let picture_sha256 = file_sum(path).context("--target-picture")?;
            let read = picture::read(path).context("--target-picture")?;
            check_range(global, path, &read, networks[0].trained_with);
            (read, Target::Given { network, sha256, class, name, picture: file_name(path), picture_sha256 })
        }
        None => {
            let out = Path::new(&format!("{stem}-by-{structure}.png")).to_owned();
            let watching = WatchingArgs { film_logits: false, ..args.making.watching.clone() };
            let making = MakingArgs { out: Some(out), film: Vec::new(), watching, ..args.making.clone() };
            let making = Making::new(global, device, &networks, &making)?;
            let picture = class_picture(class, &making);
            let made = making.make(std::slice::from_ref(&picture), None)?;
            (made, made_by(&making, &picture, 0)?)
        }
    };
    Ok((picture, format!("{stem}-matched"), class as u64, of))
}

/// The picture of a class that a making's network makes to be matched by another.
pub fn class_picture(class: usize, making: &Making) -> Picture {
    let name = making.networks[0].network.classes.name(class).to_owned();
    let stream = Stream { seed: making.args.seed, picture: class as u64 };
    Picture { name: file_stem(&name), stream, aim: Aim::Class { class, name, constant: CONSTANT } }
}

/// What is to be matched, as the picture of a class at a place of its batch that another making makes.
pub fn made_by(making: &Making, picture: &Picture, index: usize) -> anyhow::Result<Target> {
    let network = &making.networks[0].network;
    let Aim::Class { class, name, .. } = &picture.aim else { bail!("only pictures of a class are matched") };
    Ok(Target::Made {
        network: network.structure.name().to_owned(),
        sha256: network.checksum.clone(),
        class: *class,
        name: name.clone(),
        made: Box::new(making.design(picture, index, making.init()?)),
        recipe: making.recipe.to_toml(),
    })
}
