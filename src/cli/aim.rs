//! The objective and the scene of what a picture is to show, now and when the picture is made again.

use anyhow::bail;
use entoptic::evaluate::Scene;
use entoptic::nets::BatchNormMode;
use entoptic::objective::{Measure, Objective, Place, class_input, goal_input};
use entoptic::tape::Tape;
use entoptic::tensor::{Array, Shape};

use super::design::Aim;
use super::making::{Making, Picture};
use super::networks::Loaded;
use super::objectives;

/// Factor of the source's L1 loss, kept for every metric.
const MATCH_WEIGHT: f32 = 0.05;

impl Aim {
    /// The objective, for the networks of a making.
    fn objective(&self, making: &Making) -> anyhow::Result<Objective> {
        let networks = making.networks;
        Ok(match self {
            Aim::Class { constant, .. } => objectives::class(networks, *constant),
            Aim::Joint { constant, .. } => objectives::joint(networks, *constant),
            Aim::Difference { minus, .. } => objectives::difference(networks, *minus),
            Aim::Opposite { .. } => objectives::opposite(networks),
            Aim::Blend { .. } => objectives::blend(networks),
            Aim::Merge { juxtapose, .. } => objectives::merge(networks, *juxtapose),
            Aim::Feature { layer, channel, unit } => region(making, layer, *channel, *unit)?,
            Aim::Dream { layer, channel } => region(making, layer, *channel, None)?,
            Aim::Match { metric, .. } => Objective::reach(self.place(making), (*metric).into(), MATCH_WEIGHT),
        })
    }

    /// Where a network's answers are compared.
    pub fn place(&self, making: &Making) -> Place {
        match self {
            Aim::Match { layer: Some(layer), .. } => Place::Layer(0, layer.clone()),
            _ => making.logits(0),
        }
    }
}

/// The scene in which pictures are made that differ in their classes, or in the answers aimed at, and in nothing else.
pub fn scene<'a>(making: &Making<'a>, pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Scene<'a>> {
    let first = &pictures[0].aim;
    let slots = first.classes().len();
    let class = |slot: usize| {
        let of = |picture: &Picture| picture.aim.classes()[slot].0 as f32;
        (class_input(slot), Array::new(Shape::per_picture(pictures.len()), pictures.iter().map(of).collect()))
    };
    let mut inputs: Vec<(String, Array)> = (0..slots).map(class).collect();
    inputs.extend(goal.map(|goal| (goal_input(0), goal.clone())));
    Ok(Scene { objective: first.objective(making)?, inputs, ..making.scene() })
}

/// A layer's response: of a channel or a unit, or of all of it.
fn region(making: &Making, layer: &str, channel: Option<usize>, unit: Option<[usize; 3]>) -> anyhow::Result<Objective> {
    let shape = shape(&making.networks[0], layer, making.recipe.final_window() as usize)?;
    let inside = |what: &str, value: usize, size: usize| {
        if value < size {
            Ok(())
        } else {
            bail!("{layer} has {size} {what}s, numbered from 0; {what} {value} is not among them")
        }
    };
    if let Some(channel) = channel {
        inside("channel", channel, shape.c())?;
    }
    if let Some([channel, row, column]) = unit {
        inside("channel", channel, shape.c())?;
        inside("row", row, shape.h())?;
        inside("column", column, shape.w())?;
    }
    let channel = unit.map(|[channel, ..]| channel).or(channel);
    let one = |index: usize| index..index + 1;
    let measure = Measure::Region {
        channels: channel.map(one),
        rows: unit.map(|[_, row, _]| one(row)),
        columns: unit.map(|[.., column]| one(column)),
    };
    // A whole layer sums over all of its channels, and would step that much farther.
    let weight = if channel.is_none() { 1.0 / shape.c() as f32 } else { 1.0 };
    Ok(objectives::region(layer, measure, weight))
}

/// Shape of a layer for a window of that side.
fn shape(loaded: &Loaded, layer: &str, side: usize) -> anyhow::Result<Shape> {
    let mut tape = Tape::default();
    let x = tape.input("picture", Shape::new(1, 3, side, side));
    let outputs = loaded.network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[layer])?;
    Ok(tape.shape(outputs.tap(layer)?))
}
