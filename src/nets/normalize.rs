//! What happens to a picture before the first layer; part of the gradient.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ops::{Add, ChannelAffine, Channels};
use crate::picture::LUMA;
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Shape};

/// Mean of ImageNet's photographs, by channel.
pub(super) const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviation.
pub(super) const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How pixel values 0..1 are given to a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// As they are, the way the original experiments did.
    #[default]
    Source,
    /// Less ImageNet's mean, over its standard deviation, the way the networks were trained; a network whose checkpoint says
    /// other numbers takes these ([`Pixels`]).
    Imagenet,
}

impl Normalize {
    /// The network's input from pixel values [N, 3, H, W].
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the picture has not three channels.
    pub fn apply(self, tape: &mut Tape, pixels: Var) -> Result<Var> {
        match self {
            Normalize::Source => Ok(pixels),
            Normalize::Imagenet => Pixels::IMAGENET.apply(tape, pixels),
        }
    }
}

/// Means and standard deviations of pixel values 0..1, by channel, of a network that was not trained with ImageNet's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pixels {
    /// What is subtracted.
    pub mean: [f32; 3],
    /// What the rest is divided by.
    pub std: [f32; 3],
}

impl Pixels {
    /// ImageNet's.
    pub const IMAGENET: Pixels = Pixels { mean: MEAN, std: STD };

    /// From numbers that a file says; none that pixel values of 0 to 1 cannot have.
    pub fn new(mean: &[f32], std: &[f32]) -> Option<Pixels> {
        let (mean, std): ([f32; 3], [f32; 3]) = (mean.try_into().ok()?, std.try_into().ok()?);
        let means = mean.iter().all(|mean| (0.0..=1.0).contains(mean));
        (means && std.iter().all(|std| *std >= 1e-3 && *std <= 2.0)).then_some(Pixels { mean, std })
    }

    /// The same where one number may stand for all three channels.
    pub fn of(mean: &[f32], std: &[f32]) -> Option<Pixels> {
        let three = |numbers: &[f32]| match numbers {
            &[one] => vec![one; 3],
            several => several.to_vec(),
        };
        Self::new(&three(mean), &three(std))
    }

    /// The network's input from pixel values [N, 3, H, W], or from grey ones [N, 1, H, W].
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the picture has another number of channels.
    pub fn apply(&self, tape: &mut Tape, pixels: Var) -> Result<Var> {
        let (scale, shift) = (self.std.map(|std| 1.0 / std), [0, 1, 2].map(|c| -self.mean[c] / self.std[c]));
        if tape.shape(pixels).c() == 1 {
            // What becomes of three colours that are the same, and then of their luma.
            let luma =
                |numbers: [f32; 3]| -> f32 { numbers.iter().zip(LUMA).map(|(number, part)| number * part).sum() };
            return affine(tape, "normalize", pixels, &[luma(scale)], &[luma(shift)]);
        }
        affine(tape, "normalize", pixels, &scale, &shift)
    }
}

/// The luma of a picture [N, 3, H, W] -> [N, 1, H, W].
///
/// # Errors
/// [`crate::Error::Shape`] when the picture has not three channels.
pub(super) fn grey(tape: &mut Tape, x: Var) -> Result<Var> {
    let parts = affine(tape, "grey", x, &LUMA, &[0.0; 3])?;
    sum_of_colours(tape, parts)
}

/// The mean of the three colours of a picture that is to stay grey [N, 3, H, W] -> [N, 1, H, W]. Of a grey picture it is what [`grey`]
/// gives, but its gradient is the same for each colour.
///
/// # Errors
/// [`crate::Error::Shape`] when the picture has not three channels.
pub(crate) fn mean_of_colours(tape: &mut Tape, x: Var) -> Result<Var> {
    let parts = affine(tape, "grey", x, &[1.0 / 3.0; 3], &[0.0; 3])?;
    sum_of_colours(tape, parts)
}

fn sum_of_colours(tape: &mut Tape, parts: Var) -> Result<Var> {
    let mut sum = tape.apply(Channels::slice(0, 1), &[parts])?;
    for colour in 1..3 {
        let part = tape.apply(Channels::slice(colour, 1), &[parts])?;
        sum = tape.apply(Add, &[sum, part])?;
    }
    Ok(sum)
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |numbers: [f32; 3]| numbers.map(|number| number.to_string()).join(", ");
        write!(f, "mean {}, standard deviation {}", numbers(self.mean), numbers(self.std))
    }
}

/// torchvision's `transform_input`: x·std/0.5 + (mean − 0.5)/0.5, from ImageNet's normalisation to that of the Inception
/// networks.
pub(super) fn transform_input(tape: &mut Tape, x: Var) -> Result<Var> {
    let scale = STD.map(|std| std / 0.5);
    let shift = MEAN.map(|mean| (mean - 0.5) / 0.5);
    affine(tape, "transform_input", x, &scale, &shift)
}

fn affine(tape: &mut Tape, layer: &str, x: Var, scale: &[f32], shift: &[f32]) -> Result<Var> {
    tape.layer(layer);
    let [scale, shift] = [scale, shift].map(|numbers| Array::new(Shape::channels(numbers.len()), numbers.to_vec()));
    let (scale, shift) = (tape.constant(&scale), tape.constant(&shift));
    tape.apply(ChannelAffine, &[x, scale, shift])
}
