//! `entoptic generate`

use clap::Args;
use entoptic::studio::Aim;

use super::making::{Making, Set};
use super::models::Models;
use super::networks::{load, open};
use super::options::{Global, MakingArgs, PicturesArgs};

#[derive(Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    /// The logit C aimed at. One network: the loss is |C - logit|; several: the mean of weight * (C - logit), in which C
    /// carries no gradient
    #[arg(long, default_value_t = 200.0, value_name = "C")]
    pub constant: f32,
    #[command(flatten)]
    pub making: MakingArgs,
}

pub fn run(global: &Global, args: GenerateArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let making = Making::new(global, &device, &networks, &args.making)?;
    let constant = args.constant;
    let set = match networks.len() {
        1 => Set::new(&making, &args.pictures, "", |class, name| Aim::Class { class, name, constant })?,
        _ => Set::new(&making, &args.pictures, "-joint", |class, name| Aim::Joint { class, name, constant })?,
    };
    let pictures = making.make(&set.pictures, None)?;
    making.report(&pictures, &set.pictures, &set.classes)
}
