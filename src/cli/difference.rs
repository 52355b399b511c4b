//! `entoptic difference`: what some networks see in a class and others do not.

use anyhow::bail;
use clap::Args;
use entoptic::studio::Aim;

use super::making::{Making, Set};
use super::models::{Minus, Models};
use super::networks::{Loaded, load, open};
use super::options::{Global, MakingArgs, PicturesArgs};

#[derive(Args)]
pub struct DifferenceArgs {
    #[command(flatten)]
    pub models: Models<Minus>,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    #[command(flatten)]
    pub making: MakingArgs,
}

pub fn run(global: &Global, args: DifferenceArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, args.models.models.iter().chain(&args.models.others))?;
    let part =
        |loaded: &Loaded| (loaded.network.checksum.clone(), loaded.network.transform_input, loaded.head, loaded.weight);
    if let [a, b] = &networks[..]
        && part(a) == part(b)
    {
        bail!("--minus {}: is the same network with the same weights; nothing would be left", b.network.source);
    }
    let making = Making::new(global, &device, &networks, &args.making)?;
    let minus = args.models.others.len();
    let set = Set::new(&making, &args.pictures, "-difference", |class, name| Aim::Difference { class, name, minus })?;
    let pictures = making.make(&set.pictures, None)?;
    making.report(&pictures, &set.pictures, &set.classes)
}
