//! `entoptic difference`: what some networks see in a class and others do not.

use entoptic::evaluate::Scene;
use serde_json::json;

use super::args::{DifferenceArgs, Global};
use super::making::{Making, Set};
use super::networks::{load, open};
use super::objectives;

pub fn run(global: &Global, args: DifferenceArgs) -> anyhow::Result<()> {
    let device = open(global)?;
    let networks = load(global, &device, args.models.models.iter().chain(&args.models.others))?;
    let making = Making::new(global, &device, &networks, &args.making)?;
    let minus = args.models.others.len();
    let what = |class, name: &str| json!({ "kind": "difference", "class": class, "name": name, "minus": minus });
    let set = Set::new(&making, &args.pictures, "-difference", what)?;
    let objective = objectives::difference(&networks, minus);
    let scene = Scene { objective, inputs: vec![set.input(0)], ..making.scene() };
    let pictures = making.make(scene, &set.pictures, "logit")?;
    making.report(&pictures, &set.pictures, &set.classes)
}
