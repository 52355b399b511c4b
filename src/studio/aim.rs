//! The objective and the scene of what a picture is to show, now and when the picture is made again.

use super::design::{Aim, CONSTANT};
use super::loaded::Loaded;
use super::making::{Making, Picture};
use super::objectives;
use crate::evaluate::Scene;
use crate::nets::BatchNormMode;
use crate::objective::{self, Form, Measure, Named, Objective, Place, Term, class_input, goal_input};
use crate::tape::Tape;
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

/// Factor of the source's L1 loss, kept for every metric.
const MATCH_WEIGHT: f32 = 0.05;

impl Aim {
    /// What a sum aims at, and which of a seed's streams of random numbers its picture has. A single logit is what `entoptic
    /// generate` aims at, and gives the same picture; any other sum is itself.
    ///
    /// # Errors
    /// Those of [`objective::read`].
    pub fn raising(text: &str, networks: &[&Loaded]) -> Result<(Aim, u64)> {
        let sum = summed(text, networks)?;
        if let ([loaded], [Term { place: Place::Logits(..), measure, form: Form::Plain, weight: 1.0 }]) =
            (networks, &sum.terms[..])
            && let Measure::Region { channels: Some(channels), rows: None, columns: None } = measure
        {
            let (class, classes) = (channels.start, &loaded.network.classes);
            if class < classes.len() {
                let name = classes.name(class).to_owned();
                return Ok((Aim::Class { class, name, constant: CONSTANT }, class as u64));
            }
        }
        Ok((Aim::Sum { text: text.to_owned() }, 0))
    }

    /// The objective, for the networks of a making.
    fn objective(&self, making: &Making) -> Result<Objective> {
        let networks = &making.networks[..];
        Ok(match self {
            Aim::Class { constant, .. } => objectives::class(networks, *constant),
            Aim::Joint { constant, .. } => objectives::joint(networks, *constant),
            Aim::Difference { minus, .. } => objectives::difference(networks, *minus),
            Aim::Opposite { .. } => objectives::opposite(networks),
            Aim::Blend { .. } => objectives::blend(networks),
            Aim::Merge { juxtapose, .. } => objectives::merge(networks, *juxtapose),
            Aim::Feature { layer, channel, unit } => region(making, layer, *channel, *unit)?,
            Aim::Dream { layer, channel } => region(making, layer, *channel, None)?,
            Aim::Match { metric, .. } => Objective::reach(self.place(making), *metric, MATCH_WEIGHT),
            Aim::Sum { text } => -summed(text, networks)?,
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
///
/// # Errors
/// [`Error::Request`] for a region outside of its layer; those of [`summed`].
pub fn scene<'a>(making: &Making<'a>, pictures: &[Picture], goal: Option<&Array>) -> Result<Scene<'a>> {
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

/// The sum that a text means, for networks by their names and positions.
///
/// # Errors
/// Those of [`objective::read`].
pub fn summed(text: &str, networks: &[&Loaded]) -> Result<Objective> {
    let named = networks.iter().map(|loaded| Named {
        name: loaded.network.structure.name(),
        classes: &loaded.network.classes,
        head: loaded.head,
    });
    objective::read(text, &named.collect::<Vec<_>>())
}

/// A layer's response: of a channel or a unit, or of all of it.
fn region(making: &Making, layer: &str, channel: Option<usize>, unit: Option<[usize; 3]>) -> Result<Objective> {
    let shape = shape(making.networks[0], layer, making.recipe.final_window() as usize)?;
    let inside = |what: &str, value: usize, size: usize| {
        if value < size {
            Ok(())
        } else {
            Err(Error::request(format!(
                "{layer} has {size} {what}s, numbered from 0; {what} {value} is not among them"
            )))
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
fn shape(loaded: &Loaded, layer: &str, side: usize) -> Result<Shape> {
    let mut tape = Tape::default();
    let x = tape.input("picture", Shape::new(1, 3, side, side));
    let outputs = loaded.network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[layer])?;
    Ok(tape.shape(outputs.tap(layer)?))
}
