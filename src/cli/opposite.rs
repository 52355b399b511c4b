//! `entoptic opposite`: the picture that is least like a class.

use entoptic::evaluate::Scene;
use serde_json::json;

use super::args::{Global, OppositeArgs};
use super::making::{Making, Set, largest};
use super::networks::{load, open};
use super::objectives;

pub fn run(global: &Global, args: OppositeArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let making = Making::new(global, &device, &networks, &args.making)?;
    let what = |class, name: &str| json!({ "kind": "opposite", "class": class, "name": name });
    let set = Set::new(&making, &args.pictures, "-opposite", what)?;
    let scene = Scene { objective: objectives::opposite(&networks), inputs: vec![set.input(0)], ..making.scene() };
    let pictures = making.make(scene, &set.pictures, "logit")?;
    making.report(&pictures, &set.pictures, &set.classes)?;
    let names = &networks[0].network.classes;
    for (probabilities, &class) in making.probabilities(0, &pictures)?.iter().zip(&set.classes) {
        let winner = largest(probabilities, 1)[0];
        let (loser, winner, share) = (names.name(class), names.name(winner), probabilities[winner]);
        global.say(format_args!("the opposite of {loser} is taken for {winner} ({share:.3})"));
    }
    Ok(())
}
