//! What happens to a picture before the first layer; part of the gradient.

use serde::{Deserialize, Serialize};

use super::Network;
use crate::Result;
use crate::device::Device;
use crate::ops::ChannelAffine;
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Shape};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

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

impl Network {
    /// The preprocessing that the weights were trained with, when it looks like another than `chosen`: the first batch norm has
    /// run up the means of what photographs are after the first convolution, whose mean is that of ImageNet's photographs.
    ///
    /// # Errors
    /// Those of the device.
    pub fn preprocessing_misfit(&self, device: &Device, chosen: Normalize) -> Result<Option<Normalize>> {
        // Of the demo networks the right one is 9 to 27 times nearer.
        const FACTOR: f64 = 4.0;
        let other = match chosen {
            Normalize::Source => Normalize::Imagenet,
            Normalize::Imagenet => Normalize::Source,
        };
        let [chosen, nearer] = [self.distance(device, chosen)?, self.distance(device, other)?];
        Ok((chosen > FACTOR * nearer).then_some(other))
    }

    /// Mean over channels of the squared distance between the mean that the first batch norm has run up and the one that
    /// preprocessing gives, in its standard deviations.
    fn distance(&self, device: &Device, normalize: Normalize) -> Result<f64> {
        let mean = MEAN.map(f64::from);
        let mut input = match normalize {
            Normalize::Source => mean,
            Normalize::Imagenet => [0.0; 3],
        };
        if self.transform_input {
            input = [0, 1, 2].map(|c| input[c] * f64::from(STD[c]) / 0.5 + (mean[c] - 0.5) / 0.5);
        }
        let [conv, _, _, running_mean, running_var] = self.first_pair().tensors();
        let weight = self.tensor(device, &conv)?;
        let window = weight.shape.h() * weight.shape.w();
        let given = |filter: &[f32]| -> f64 {
            let sums = filter.chunks_exact(window).map(|plane| plane.iter().map(|&w| f64::from(w)).sum::<f64>());
            sums.zip(input).map(|(sum, value)| sum * value).sum()
        };
        let given = weight.values.chunks_exact(3 * window).map(given);
        let (means, variances) = (self.tensor(device, &running_mean)?, self.tensor(device, &running_var)?);
        let run_up = means.values.iter().zip(&variances.values).map(|(&m, &v)| (f64::from(m), f64::from(v)));
        let squares = given.zip(run_up).map(|(given, (mean, variance))| (given - mean).powi(2) / variance.max(1e-12));
        Ok(squares.sum::<f64>() / means.values.len() as f64)
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
