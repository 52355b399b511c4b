//! `entoptic opposite`: the picture that is least like a class.

use clap::Args;
use entoptic::studio::Aim;

use super::making::{Making, Set, largest};
use super::models::Models;
use super::networks::{load, open};
use super::options::{Global, MakingArgs, PicturesArgs};

#[derive(Args)]
pub struct OppositeArgs {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    #[command(flatten)]
    pub making: MakingArgs,
}

pub fn run(global: &Global, args: OppositeArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let making = Making::new(global, &device, &networks, &args.making)?;
    let set = Set::new(&making, &args.pictures, "-opposite", |class, name| Aim::Opposite { class, name })?;
    let pictures = making.make(&set.pictures, None)?;
    making.report(&pictures, &set.pictures, &set.classes)?;
    let names = &networks[0].network.classes;
    for (probabilities, &class) in making.plan.probabilities(0, &pictures)?.iter().zip(&set.classes) {
        let winner = largest(probabilities, 1)[0];
        let (loser, winner, share) = (names.name(class), names.name(winner), probabilities[winner]);
        global.say(format_args!("the opposite of {loser} is taken for {winner} ({share:.3})"));
    }
    Ok(())
}
