//! `entoptic feature` and `entoptic dream`: what a layer responds to, from noise or from a photograph.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use entoptic::evaluate;
use entoptic::objective::Place;
use entoptic::studio::Aim;
use entoptic::synthesis::octave::Stream;

use super::making::{Making, Picture, file_stem};
use super::models::Models;
use super::networks::{load, open};
use super::options::{Global, MakingArgs};

#[derive(Args)]
pub struct FeatureArgs {
    #[command(flatten)]
    pub models: Models,
    /// Layer (`entoptic layers`)
    #[arg(long)]
    pub layer: String,
    /// Channel of the layer; without one, the whole layer
    #[arg(long, conflicts_with = "unit")]
    pub channel: Option<usize>,
    /// One unit of the layer: channel, row, column
    #[arg(long, value_name = "K,Y,X", value_delimiter = ',')]
    pub unit: Option<Vec<usize>>,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct DreamArgs {
    #[command(flatten)]
    pub models: Models,
    /// Layer (`entoptic layers`)
    #[arg(long)]
    pub layer: String,
    /// Photograph to start from
    #[arg(long)]
    pub image: PathBuf,
    /// Only this channel of the layer
    #[arg(long)]
    pub channel: Option<usize>,
    #[command(flatten)]
    pub making: MakingArgs,
}

pub fn run(global: &Global, args: FeatureArgs) -> anyhow::Result<()> {
    let (unit, channel) = match args.unit.as_deref() {
        None => (None, args.channel),
        Some(&[channel, row, column]) => (Some([channel, row, column]), Some(channel)),
        Some(other) => bail!("--unit takes channel,row,column, not {} numbers", other.len()),
    };
    let aim = Aim::Feature { layer: args.layer.clone(), channel, unit };
    show(global, &args.models, (&args.layer, channel), (&args.making, "feature"), aim)
}

pub fn dream(global: &Global, mut args: DreamArgs) -> anyhow::Result<()> {
    args.making.init = args.image.clone();
    let aim = Aim::Dream { layer: args.layer.clone(), channel: args.channel };
    show(global, &args.models, (&args.layer, args.channel), (&args.making, "dream"), aim)
}

fn show(
    global: &Global,
    models: &Models,
    (layer, channel): (&str, Option<usize>),
    (args, recipe): (&MakingArgs, &str),
    aim: Aim,
) -> anyhow::Result<()> {
    models.single("this")?;
    let device = open(global)?;
    let networks = load(global, &device, &models.models)?;
    // The small networks have a recipe of their own; that of full-size ones depends on what is made.
    let recipe = if networks[0].recipe == "demo" { "demo" } else { recipe };
    let args = &MakingArgs { recipe: args.recipe.clone().or_else(|| Some(recipe.into())), ..args.clone() };
    let making = Making::new(global, &device, &networks, args)?;
    let suffix = channel.map(|channel| format!("-{channel}")).unwrap_or_default();
    let name = format!("{}{suffix}", file_stem(layer));
    let stream = Stream { seed: args.seed, picture: 0 };
    let pictures = making.make(&[Picture { name, stream, aim }], None)?;
    let place = Place::Layer(0, layer.to_owned());
    let values = evaluate::outputs(&device, &making.plan.scene(), &pictures, &[place], false)?.remove(0);
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
