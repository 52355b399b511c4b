//! Whether pixel values are given to a network as they were in its training, as far as its weights tell.

use super::layers::{BatchNormMode, Parameter};
use super::network::Network;
use super::normalize::{MEAN, Normalize, Pixels, STD};
use crate::Result;
use crate::device::Device;
use crate::tape::{Tape, Var};
use crate::weights::NamedArray;

/// How pixel values are given to a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// What happens to them first.
    pub normalize: Normalize,
    /// Whether torchvision's `transform_input` follows.
    pub transform_input: bool,
}

impl Network {
    /// The preprocessing that the weights were trained with, when it looks like another than `chosen` and the network's own
    /// `transform_input`: the first batch norm has run up the means of what photographs are after the first convolution, whose mean
    /// is that of ImageNet's photographs, and variances that go with their contrast. A network without a batch norm there says
    /// nothing.
    ///
    /// # Errors
    /// Those of the device.
    pub fn preprocessing_misfit(&self, device: &Device, chosen: Normalize) -> Result<Option<Preprocessing>> {
        // Of the demo networks the right one is 9 to 27 times nearer.
        const FACTOR: f64 = 4.0;
        let Some(stem) = Stem::of(self, device)? else { return Ok(None) };
        let chosen = Preprocessing { normalize: chosen, transform_input: self.transform_input };
        let transforms: &[bool] =
            if self.structure.transforms_input() { &[false, true] } else { &[self.transform_input] };
        let all = [Normalize::Source, Normalize::Imagenet].into_iter().flat_map(|normalize| {
            transforms.iter().map(move |&transform_input| Preprocessing { normalize, transform_input })
        });
        let others = all.filter(|other| *other != chosen).map(|other| (stem.distance(other, self.pixels), other));
        let nearest = others.min_by(|a, b| a.0.total_cmp(&b.0));
        let own = stem.distance(chosen, self.pixels);
        Ok(nearest.filter(|(distance, _)| own > FACTOR * distance).map(|(_, other)| other))
    }

    /// Names of the tensors of a first convolution with a batch norm behind it: the convolution's weight and, where it has one,
    /// its bias, then the batch norm's running mean and variance.
    fn stem(&self) -> Result<Option<StemNames>> {
        let mut tape = Tape::default();
        let x = tape.input("picture", self.structure.any_picture());
        let outputs = self.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[])?;
        let named = |var: Var| {
            let found = outputs.parameters.iter().find(|parameter| parameter.var == var);
            found.map(|parameter| parameter.name.clone()).expect("a batch norm's statistics are parameters")
        };
        let (Some(conv), Some(norm)) = (outputs.taps.first(), outputs.norms.first()) else { return Ok(None) };
        if norm.x != conv.1 {
            return Ok(None);
        }
        let [weight, bias] = ["weight", "bias"].map(|leaf| format!("{}.{leaf}", conv.0));
        let of_colours =
            |parameter: &&Parameter| parameter.name == weight && matches!(parameter.sizes[..], [_, 3, _, _]);
        if !outputs.parameters.iter().any(|parameter| of_colours(&parameter)) {
            return Ok(None);
        }
        let bias = outputs.parameters.iter().any(|parameter| parameter.name == bias).then_some(bias);
        Ok(Some((weight, bias, [named(norm.running_mean), named(norm.running_var)])))
    }
}

/// Names of a convolution's weight and, where it has one, its bias, then of a batch norm's running mean and variance.
type StemNames = (String, Option<String>, [String; 2]);

/// What a first convolution makes of pictures, and what its batch norm has seen of that in training.
struct Stem {
    weight: NamedArray,
    bias: Option<NamedArray>,
    running_mean: NamedArray,
    running_var: NamedArray,
}

impl Stem {
    fn of(network: &Network, device: &Device) -> Result<Option<Stem>> {
        let Some((weight, bias, [mean, var])) = network.stem()? else { return Ok(None) };
        let fetch = |name: &str| network.parameters().tensor(device, name);
        let bias = bias.map(|bias| fetch(&bias)).transpose()?;
        Ok(Some(Stem { weight: fetch(&weight)?, bias, running_mean: fetch(&mean)?, running_var: fetch(&var)? }))
    }

    /// Mean over channels of the squared distance between the mean that the batch norm has run up and the one that
    /// preprocessing gives, in its standard deviations.
    fn distance(&self, preprocessing: Preprocessing, own: Option<Pixels>) -> f64 {
        let Preprocessing { normalize, transform_input } = preprocessing;
        let mean = MEAN.map(f64::from);
        let mut input = match (normalize, own) {
            (Normalize::Source, _) => mean,
            (Normalize::Imagenet, None) => [0.0; 3],
            (Normalize::Imagenet, Some(own)) => {
                [0, 1, 2].map(|c| (mean[c] - f64::from(own.mean[c])) / f64::from(own.std[c]))
            }
        };
        if transform_input {
            input = [0, 1, 2].map(|c| input[c] * f64::from(STD[c]) / 0.5 + (mean[c] - 0.5) / 0.5);
        }
        let window = self.weight.shape[2..].iter().product();
        let given = |filter: &[f32]| -> f64 {
            let sums = filter.chunks_exact(window).map(|plane| plane.iter().map(|&w| f64::from(w)).sum::<f64>());
            sums.zip(input).map(|(sum, value)| sum * value).sum()
        };
        let bias = |c: usize| self.bias.as_ref().map_or(0.0, |bias| f64::from(bias.values[c]));
        let filters = self.weight.values.chunks_exact(3 * window).enumerate();
        let given = filters.map(|(c, filter)| given(filter) + bias(c));
        let run_up = self.running_mean.values.iter().zip(&self.running_var.values);
        let run_up = run_up.map(|(&m, &v)| (f64::from(m), f64::from(v)));
        let squares = given.zip(run_up).map(|(given, (mean, variance))| (given - mean).powi(2) / variance.max(1e-12));
        squares.sum::<f64>() / self.running_mean.values.len() as f64
    }
}
