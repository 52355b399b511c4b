//! `entoptic generate`

use super::aim::Aim;
use super::args::{GenerateArgs, Global};
use super::making::{Making, Set};
use super::networks::{load, open};

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
