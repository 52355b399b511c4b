//! `entoptic merge`: two classes in one picture.

use anyhow::bail;
use clap::Args;
use entoptic::studio::Aim;
use entoptic::synthesis::octave::Stream;

use super::making::{Making, Picture, file_stem};
use super::models::Models;
use super::networks::{load, open, shared_classes};
use super::options::{Global, MakingArgs};

#[derive(Args)]
pub struct MergeArgs {
    #[command(flatten)]
    pub models: Models,
    /// The two classes, given twice
    #[arg(long, num_args = 1, required = true)]
    pub class: Vec<String>,
    /// Raise whichever of the two logits is lower, rather than both
    #[arg(long)]
    pub juxtapose: bool,
    #[command(flatten)]
    pub making: MakingArgs,
}

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
    let aim = Aim::Merge { classes: pair, names: names.map(str::to_owned), juxtapose: args.juxtapose };
    let stream = Stream { seed: args.making.seed, picture: pair[0] as u64 };
    let name = format!("{}-and-{}", file_stem(names[0]), file_stem(names[1]));
    let picture = [Picture { name, stream, aim }];
    let made = making.make(&picture, None)?;
    making.report(&made, &picture, &pair[..1])?;
    making.report(&made, &picture, &pair[1..])
}
