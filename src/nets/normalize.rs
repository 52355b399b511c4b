//! What happens to a picture before the first layer; part of the gradient.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ops::ChannelAffine;
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
    /// Less ImageNet's mean, over its standard deviation, the way the networks were trained.
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
            Normalize::Imagenet => {
                let scale = STD.map(|std| 1.0 / std);
                let shift = [0, 1, 2].map(|c| -MEAN[c] / STD[c]);
                affine(tape, "normalize", pixels, scale, shift)
            }
        }
    }
}

/// torchvision's `transform_input`: x·std/0.5 + (mean − 0.5)/0.5, from ImageNet's normalisation to that of the Inception
/// networks.
pub(super) fn transform_input(tape: &mut Tape, x: Var) -> Result<Var> {
    let scale = STD.map(|std| std / 0.5);
    let shift = MEAN.map(|mean| (mean - 0.5) / 0.5);
    affine(tape, "transform_input", x, scale, shift)
}

fn affine(tape: &mut Tape, layer: &str, x: Var, scale: [f32; 3], shift: [f32; 3]) -> Result<Var> {
    tape.layer(layer);
    let scale = tape.constant(&Array::new(Shape::channels(3), scale.to_vec()));
    let shift = tape.constant(&Array::new(Shape::channels(3), shift.to_vec()));
    tape.apply(ChannelAffine, &[x, scale, shift])
}
