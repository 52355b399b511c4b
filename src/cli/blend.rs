//! `entoptic blend`: from one class to another, as a film.

use std::path::PathBuf;

use clap::Args;
use entoptic::studio::Aim;
use entoptic::synthesis::octave::Stream;

use super::making::{Making, Picture, file_stem};
use super::models::Models;
use super::networks::{load, open, shared_classes};
use super::options::{Global, MakingArgs};

#[derive(Args)]
pub struct BlendArgs {
    #[command(flatten)]
    pub models: Models,
    /// Class to start with: index, synset or name
    #[arg(long)]
    pub from: String,
    /// Class to end with
    #[arg(long)]
    pub to: String,
    #[command(flatten)]
    pub making: MakingArgs,
}

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
    let aim = Aim::Blend { classes: ends, names: [from, to].map(str::to_owned) };
    let stream = Stream { seed: args.making.seed, picture: ends[0] as u64 };
    let picture = [Picture { name, stream, aim }];
    let made = making.make(&picture, None)?;
    making.report(&made, &picture, &ends[1..])
}
