//! What a picture is to show, as data: its objective is built from this, now and when the picture is made again.

use anyhow::bail;
use entoptic::classes::ClassList;
use entoptic::evaluate::Scene;
use entoptic::nets::BatchNormMode;
use entoptic::objective::{Measure, Objective, Place, class_input, goal_input};
use entoptic::tape::Tape;
use entoptic::tensor::{Array, Shape};
use serde::{Deserialize, Serialize};

use super::args::MetricArg;
use super::making::{Making, Picture};
use super::networks::{Loaded, shared_classes};
use super::objectives;
use super::origin::Design;

/// Factor of the source's L1 loss, kept for every metric.
const MATCH_WEIGHT: f32 = 0.05;

/// The logit aimed at where the user gives none.
pub const CONSTANT: f32 = 200.0;

/// What a picture is to show; with its networks, its recipe and its random numbers this is all that makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Aim {
    /// A class, as one network sees it.
    Class { class: usize, name: String, constant: f32 },
    /// A class, as several do.
    Joint { class: usize, name: String, constant: f32 },
    /// What the first networks see in a class and the last `minus` do not.
    Difference { class: usize, name: String, minus: usize },
    /// What is least like a class.
    Opposite { class: usize, name: String },
    /// From one class to another.
    Blend { classes: [usize; 2], names: [String; 2] },
    /// Two classes at once.
    Merge { classes: [usize; 2], names: [String; 2], juxtapose: bool },
    /// What a layer responds to, all of it, a channel, or a unit [channel, row, column].
    Feature { layer: String, channel: Option<usize>, unit: Option<[usize; 3]> },
    /// A photograph in which a layer exaggerates.
    Dream { layer: String, channel: Option<usize> },
    /// A picture to which a network answers as to another one; of a class, where that one is.
    Match {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        of: Target,
        layer: Option<String>,
        metric: MetricArg,
    },
}

/// The picture that another one is to match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// Another network's picture of a class, made for this, by a recipe (its text).
    Made { network: String, sha256: String, class: usize, name: String, made: Box<Design>, recipe: String },
    /// Another network's picture of a class, made before.
    Given { network: String, sha256: String, class: usize, name: String, picture: String, picture_sha256: String },
    /// Any picture.
    Image { image: String, image_sha256: String },
}

impl Target {
    /// The class that it shows, where it is known.
    fn class(&self) -> Option<&str> {
        match self {
            Target::Made { name, .. } | Target::Given { name, .. } => Some(name),
            Target::Image { .. } => None,
        }
    }
}

impl Aim {
    /// A picture that is to match another one.
    pub fn matching(of: Target, layer: Option<String>, metric: MetricArg) -> Self {
        Aim::Match { name: of.class().map(str::to_owned), of, layer, metric }
    }

    /// What the first number is called that the objective measures.
    pub fn measured(&self) -> &'static str {
        match self {
            Aim::Class { .. } | Aim::Joint { .. } | Aim::Difference { .. } | Aim::Opposite { .. } => "logit",
            Aim::Blend { .. } | Aim::Merge { .. } => "first logit",
            Aim::Feature { .. } | Aim::Dream { .. } => "response",
            Aim::Match { .. } => "distance",
        }
    }

    /// The classes that it is about, by index and name.
    pub fn classes(&self) -> Vec<(usize, &str)> {
        match self {
            Aim::Class { class, name, .. }
            | Aim::Joint { class, name, .. }
            | Aim::Difference { class, name, .. }
            | Aim::Opposite { class, name } => vec![(*class, name)],
            Aim::Blend { classes, names } | Aim::Merge { classes, names, .. } => {
                vec![(classes[0], &names[0]), (classes[1], &names[1])]
            }
            Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } => vec![],
        }
    }

    /// Whether the networks can have made it: as many as it takes, with classes of these names.
    pub fn check(&self, networks: &[Loaded]) -> anyhow::Result<()> {
        let (least, most) = match self {
            Aim::Joint { .. } => (2, usize::MAX),
            Aim::Difference { minus, .. } => (minus + 1, usize::MAX),
            Aim::Opposite { .. } | Aim::Blend { .. } | Aim::Merge { .. } => (1, usize::MAX),
            Aim::Class { .. } | Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } => (1, 1),
        };
        if !(least..=most).contains(&networks.len()) || matches!(self, Aim::Difference { minus: 0, .. }) {
            bail!("it takes another number of networks than {}", networks.len());
        }
        if let Aim::Match { name, of, .. } = self
            && name.as_deref() != of.class()
        {
            bail!("what it says of the picture that it matches does not agree with itself");
        }
        let about = self.classes();
        if about.is_empty() {
            return Ok(());
        }
        let known: &ClassList = shared_classes(networks)?;
        for (class, name) in about {
            match (class < known.len()).then(|| known.name(class)) {
                Some(found) if found == name => {}
                Some(found) => bail!("it calls class {class} {name}, its network calls it {found}"),
                None => bail!("it names class {class}, its network has {}", known.len()),
            }
        }
        Ok(())
    }

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
