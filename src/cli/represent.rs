//! `entoptic match`: the picture whose output is that of a photograph, or of another network's picture.

use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::device::Device;
use entoptic::picture;
use entoptic::studio::{Aim, CONSTANT, Goal, Target, file_sum, match_recipe};
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::Array;
use serde_json::json;

use super::making::{Making, Picture, file_stem};
use super::models::{self, Models};
use super::networks::{check_range, file_name, load, open};
use super::options::{Global, MakingArgs, MetricArg, WatchingArgs};

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
    let recipe = args.making.recipe.clone().or_else(|| Some(match_recipe(&networks[0]).into()));
    let making = MakingArgs { recipe, ..args.making.clone() };
    let making = Making::new(global, &device, &networks, &making)?;
    let (aimed_at, name, stream, of) = match &args.image {
        Some(image) => {
            let photograph = picture::read(image).context("--image")?;
            check_range(global, image, &photograph, making.plan.recipe.normalize);
            let name = format!("{}-seen", image.file_stem().unwrap_or_default().to_string_lossy());
            let of = Target::Image { image: file_name(image), image_sha256: file_sum(image).context("--image")? };
            (photograph, name, 0, of)
        }
        None => other_picture(global, &device, &args)?,
    };
    let aim = Aim::matching(of, args.layer.clone(), args.metric.into());
    let goal = Goal::new(&global.ear(), &making.plan, aim.place(&making.plan), &aimed_at)?;
    let stream = Stream { seed: args.making.seed, picture: stream };
    let noise = making.plan.start(stream)?;
    let pictures = making.make(&[Picture { name, stream, aim }], Some(&goal.values))?;
    let (before, after) = (goal.distance(&noise)?, goal.distance(&pictures)?);
    global.event("distance", json!({ "metric": "l1", "start": before, "picture": after }));
    global.say(format_args!("L1 distance {after:.3}, of the start {before:.3}: {:.1} %", 100.0 * after / before));
    Ok(())
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
    let name = making.plan.networks[0].network.classes.name(class).to_owned();
    let stream = Stream { seed: making.args.seed, picture: class as u64 };
    Picture { name: file_stem(&name), stream, aim: Aim::Class { class, name, constant: CONSTANT } }
}

/// What is to be matched, as the picture of a class at a place of its batch that another making makes.
pub fn made_by(making: &Making, picture: &Picture, index: usize) -> anyhow::Result<Target> {
    let network = &making.plan.networks[0].network;
    let Aim::Class { class, name, .. } = &picture.aim else { bail!("only pictures of a class are matched") };
    Ok(Target::Made {
        network: network.structure.name().to_owned(),
        sha256: network.checksum.clone(),
        class: *class,
        name: name.clone(),
        made: Box::new(making.plan.design(picture, index, making.init()?)),
        recipe: making.plan.recipe.to_toml(),
    })
}
