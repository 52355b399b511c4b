//! Scalar losses over logits or layers of one or more networks, as terms that add and scale.
//!
//! Not here: how the picture or the weights are updated.

mod algebra;

use std::fmt;
use std::ops::Range;

pub use algebra::{Named, read};

use crate::nets::{Head, Outputs};
use crate::ops::{
    Add, Binary, ChannelAffine, CrossEntropy, Distance, Metric, Minimum, Pick, RegionSum, StatisticsDistance,
    TotalVariation,
};
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

/// A loss for each picture of a batch: the sum of its terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objective {
    /// What is summed.
    pub terms: Vec<Term>,
}

/// `weight` times a measured number, or what that number lacks to a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Where the number is taken.
    pub place: Place,
    /// What is taken there.
    pub measure: Measure,
    /// What becomes of it.
    pub form: Form,
    /// Factor of the term.
    pub weight: f32,
}

/// A value that a term looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The picture itself, before any preprocessing.
    Picture,
    /// Logits of a network's head, the network by its position among the networks.
    Logits(usize, Head),
    /// A named layer of a network.
    Layer(usize, String),
}

/// A number taken from a value, for each picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// The channel that input `class/slot` names, summed over pixels: a logit, where there is one pixel.
    Class {
        /// Which of the class inputs: blends and merges have two.
        slot: usize,
    },
    /// The smaller of two logits, with the channels that inputs `class/0` and `class/1` name.
    LowerClass,
    /// The sum over some channels, rows and columns; an absent range is all of them.
    Region {
        /// Channels.
        channels: Option<Range<usize>>,
        /// Rows.
        rows: Option<Range<usize>>,
        /// Columns.
        columns: Option<Range<usize>>,
    },
    /// The mean over some channels and all pixels; an absent range is all channels.
    Mean {
        /// Channels.
        channels: Option<Range<usize>>,
    },
    /// One channel at one pixel.
    Unit {
        /// The channel.
        channel: usize,
        /// Row and column; without them, the middle of the layer.
        at: Option<[usize; 2]>,
    },
    /// The sum of the products with input `factor/slot`, which has the shape of the value: its gradient is that input.
    Product {
        /// Which of the factor inputs.
        slot: usize,
    },
    /// The distance to input `goal/slot`, which has the shape of the value.
    Goal {
        /// Which of the goal inputs.
        slot: usize,
        /// How distances are measured.
        metric: Metric,
    },
    /// The sum of absolute values, squares, or its root.
    Norm(Metric),
    /// The sum of absolute differences between neighbouring pixels.
    TotalVariation,
    /// How far the values that the picture gives rise to at a network's batch norms lie from what these know of training,
    /// added up over all of them: see [`StatisticsDistance`]. It is a measure of the picture, whatever the place.
    Statistics {
        /// The network by its position among the networks.
        network: usize,
    },
    /// Softmax cross-entropy with the label that input `class/slot` names.
    CrossEntropy {
        /// Which of the class inputs.
        slot: usize,
    },
}

/// What a term makes of its number m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// m.
    Plain,
    /// C − m: its gradient is that of −m, whatever C is.
    Lacking(f32),
    /// |C − m|: the sign turns where m passes C.
    Apart(f32),
    /// C − m·t, t going from 0 to 1 over the run, or from 1 to 0.
    Fading {
        /// C.
        constant: f32,
        /// From 0 to 1, rather than back.
        rising: bool,
    },
}

/// A recorded objective.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The sum [N, 1, 1, 1].
    pub total: Var,
    /// The number m of each term [N, 1, 1, 1].
    pub measured: Vec<Var>,
}

/// Name of the external value that holds class indices [N, 1, 1, 1].
pub fn class_input(slot: usize) -> String {
    format!("class/{slot}")
}

/// Name of the external value [1, 1, 1, 1] that goes from 0 to 1 over a run, or back.
pub fn fade_input(rising: bool) -> &'static str {
    if rising { "rising" } else { "falling" }
}

/// Name of the external value that holds what a distance is measured to.
pub fn goal_input(slot: usize) -> String {
    format!("goal/{slot}")
}

/// Name of the external value that holds what a value is multiplied with.
pub fn factor_input(slot: usize) -> String {
    format!("factor/{slot}")
}

impl Objective {
    /// One network's class: |C − O_c|, or C − O_c.
    pub fn class(constant: f32, absolute: bool) -> Self {
        let form = if absolute { Form::Apart(constant) } else { Form::Lacking(constant) };
        Objective { terms: vec![Term::class(0, Head::Main, form, 1.0)] }
    }

    /// The output of one network at `place` brought to a goal.
    pub fn reach(place: Place, metric: Metric, weight: f32) -> Self {
        Self::of(place, Measure::Goal { slot: 0, metric }) * weight
    }

    /// The same with one more term.
    pub fn with(mut self, term: Term) -> Self {
        self.terms.push(term);
        self
    }

    /// Whether a term fades in the given direction.
    pub fn fades(&self, direction: bool) -> bool {
        self.terms.iter().any(|term| matches!(term.form, Form::Fading { rising, .. } if rising == direction))
    }

    /// Whether a term looks at what reaches a network's batch norms.
    pub fn measures_statistics(&self, of: usize) -> bool {
        self.terms.iter().any(|term| matches!(term.measure, Measure::Statistics { network } if network == of))
    }

    /// Puts the loss on a tape.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::Objective`] without a term or with a region outside of its layer.
    pub fn record(&self, tape: &mut Tape, picture: Var, networks: &[Outputs]) -> Result<Loss> {
        tape.layer("objective");
        let mut total = None;
        let mut measured = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            let value = term.place.find(picture, networks)?;
            let number = term.measure.record(tape, value, networks)?;
            measured.push(number);
            let part = term.shape(tape, number)?;
            total = Some(match total {
                None => part,
                Some(sum) => tape.apply(Add, &[sum, part])?,
            });
        }
        let nothing =
            || Error::Objective { objective: "sum".into(), reason: "it has no term; give it a class or a goal".into() };
        Ok(Loss { total: total.ok_or_else(nothing)?, measured })
    }
}

impl Place {
    /// The head of a network that this place needs.
    pub fn head(&self, network: usize) -> Option<Head> {
        match *self {
            Place::Logits(index, head) if index == network => Some(head),
            _ => None,
        }
    }

    /// The layer of a network that this place needs.
    pub fn layer(&self, network: usize) -> Option<&str> {
        match self {
            Place::Layer(index, layer) if *index == network => Some(layer),
            _ => None,
        }
    }

    /// The value on the tape.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`].
    pub fn find(&self, picture: Var, networks: &[Outputs]) -> Result<Var> {
        match self {
            Place::Picture => Ok(picture),
            Place::Logits(network, head) => Ok(networks[*network].head(*head)),
            Place::Layer(network, layer) => networks[*network].tap(layer),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Picture => f.write_str("the picture"),
            Place::Logits(_, head) => write!(f, "the logits of head {head}"),
            Place::Layer(_, layer) => f.write_str(layer),
        }
    }
}

impl Term {
    /// A network's logit of the pictures' class.
    pub fn class(network: usize, head: Head, form: Form, weight: f32) -> Self {
        Term { place: Place::Logits(network, head), measure: Measure::Class { slot: 0 }, form, weight }
    }

    /// `weight` times the form of a number.
    fn shape(&self, tape: &mut Tape, number: Var) -> Result<Var> {
        let shape = tape.shape(number);
        let (number, scale, shift) = match self.form {
            Form::Plain => (number, self.weight, 0.0),
            Form::Lacking(constant) => (number, -self.weight, self.weight * constant),
            Form::Apart(constant) => {
                let goal = tape.constant(&Array::filled(shape, constant));
                (tape.apply(Distance { metric: Metric::L1 }, &[number, goal])?, self.weight, 0.0)
            }
            Form::Fading { constant, rising } => {
                let share = tape.input(fade_input(rising), Shape::channels(1));
                let nothing = tape.constant(&Array::filled(Shape::channels(1), 0.0));
                let number = tape.apply(ChannelAffine, &[number, share, nothing])?;
                (number, -self.weight, self.weight * constant)
            }
        };
        let scale = tape.constant(&Array::filled(Shape::channels(1), scale));
        let shift = tape.constant(&Array::filled(Shape::channels(1), shift));
        tape.apply(ChannelAffine, &[number, scale, shift])
    }
}

impl Measure {
    fn record(&self, tape: &mut Tape, value: Var, networks: &[Outputs]) -> Result<Var> {
        let shape = tape.shape(value);
        match self {
            Measure::Class { slot } => {
                let index = tape.input(&class_input(*slot), Shape::per_picture(shape.n()));
                tape.apply(Pick, &[value, index])
            }
            Measure::LowerClass => {
                let lower = [0, 1].map(|slot| {
                    let index = tape.input(&class_input(slot), Shape::per_picture(shape.n()));
                    tape.apply(Pick, &[value, index])
                });
                let [first, second] = lower;
                tape.apply(Minimum, &[first?, second?])
            }
            Measure::CrossEntropy { slot } => {
                let label = tape.input(&class_input(*slot), Shape::per_picture(shape.n()));
                tape.apply(CrossEntropy::default(), &[value, label])
            }
            Measure::Region { channels, rows, columns } => {
                let all = |range: &Option<Range<usize>>, size| range.clone().unwrap_or(0..size);
                let region = RegionSum {
                    channels: all(channels, shape.c()),
                    rows: all(rows, shape.h()),
                    columns: all(columns, shape.w()),
                };
                tape.apply(region, &[value])
            }
            Measure::Mean { channels } => {
                let channels = channels.clone().unwrap_or(0..shape.c());
                let count = channels.len() * shape.h() * shape.w();
                let sum = tape.apply(RegionSum { channels, ..RegionSum::all(shape) }, &[value])?;
                let share = tape.constant(&Array::filled(Shape::channels(1), 1.0 / count as f32));
                let nothing = tape.constant(&Array::filled(Shape::channels(1), 0.0));
                tape.apply(ChannelAffine, &[sum, share, nothing])
            }
            Measure::Unit { channel, at } => {
                let [row, column] = at.unwrap_or([shape.h() / 2, shape.w() / 2]);
                let one = |at: usize| at..at + 1;
                tape.apply(RegionSum { channels: one(*channel), rows: one(row), columns: one(column) }, &[value])
            }
            Measure::Product { slot } => {
                let factor = tape.input(&factor_input(*slot), shape);
                let product = tape.apply(Binary::Times, &[value, factor])?;
                tape.apply(RegionSum::all(shape), &[product])
            }
            Measure::Goal { slot, metric } => {
                let goal = tape.input(&goal_input(*slot), shape);
                tape.apply(Distance { metric: *metric }, &[value, goal])
            }
            Measure::Norm(metric) => {
                let zero = tape.constant(&Array::filled(shape, 0.0));
                tape.apply(Distance { metric: *metric }, &[value, zero])
            }
            Measure::TotalVariation => tape.apply(TotalVariation, &[value]),
            Measure::Statistics { network } => statistics(tape, &networks[*network]),
        }
    }
}

fn statistics(tape: &mut Tape, network: &Outputs) -> Result<Var> {
    let mut sum = None;
    for norm in &network.norms {
        let op = StatisticsDistance { eps: norm.eps };
        let distance = tape.apply(op, &[norm.x, norm.running_mean, norm.running_var])?;
        sum = Some(match sum {
            None => distance,
            Some(sum) => tape.apply(Add, &[sum, distance])?,
        });
    }
    sum.ok_or_else(|| Error::Objective {
        objective: "statistics".into(),
        reason: "the network has no batch norms, and so nothing that it knows of its training".into(),
    })
}
