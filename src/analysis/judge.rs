//! What networks make of pictures.

use super::alterations::ALTERATIONS;
use super::scores::softmax;
use super::standing::{Standing, standing};
use super::statistics;
use crate::device::Device;
use crate::evaluate::{Forward, Moments, Pass, Running};
use crate::nets::{Head, Network, Normalize};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// What a network makes of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// As [`Standing::rank`].
    pub rank: usize,
    /// Softmax of the class.
    pub probability: f64,
    /// As [`Standing::margin`].
    pub margin: f64,
    /// Mean probability of the class after each of [`ALTERATIONS`].
    pub stability: f64,
    /// The smallest of these.
    pub worst: f64,
    /// [`Distance::layers`](super::Distance::layers) of the picture alone.
    pub statistics: f64,
}

/// A network that judges pictures. What it needs for a size of picture is prepared once.
pub struct Judge<'a> {
    device: &'a Device,
    network: &'a Network,
    head: Head,
    normalize: Normalize,
    check_finite: bool,
    ready: Option<Ready>,
}

/// Passes for one size of picture.
struct Ready {
    picture: Shape,
    plain: Forward,
    altered: Forward,
}

impl<'a> Judge<'a> {
    /// A judge that looks at a head's logits; nothing is prepared yet.
    pub fn new(
        device: &'a Device,
        (network, head): (&'a Network, Head),
        normalize: Normalize,
        check_finite: bool,
    ) -> Self {
        Judge { device, network, head, normalize, check_finite, ready: None }
    }

    /// Judges a picture for a class, given with its alterations as [`altered`](super::altered) makes them. Also gives the
    /// picture's moments at each batch norm, for [`distance`](super::distance).
    ///
    /// # Errors
    /// [`Error::Objective`] for a class that the network does not have; those of [`Forward::prepare`] and
    /// [`Forward::logits`].
    pub fn judge(&mut self, altered: &Array, class: usize) -> Result<(Judged, Vec<Moments>)> {
        if class >= self.network.class_count() {
            let reason = format!("{} has {} classes", self.network.source, self.network.class_count());
            return Err(Error::Objective { objective: format!("class {class}"), reason });
        }
        let [_, c, h, w] = altered.shape.0;
        let size = c * h * w;
        let picture = Shape::new(1, c, h, w);
        let ready = match self.ready.take().filter(|ready| ready.picture == picture) {
            Some(ready) => self.ready.insert(ready),
            None => {
                let ready = self.prepare(picture)?;
                self.ready.insert(ready)
            }
        };
        let plain = ready.plain.logits(&Layout::Picture.pack(picture, &altered.values[..size]))?;
        let moments = ready.plain.moments();
        let alterations = Shape::new(ALTERATIONS.len(), c, h, w);
        let logits = ready.altered.logits(&Layout::Picture.pack(alterations, &altered.values[size..]))?;
        let probability = |n: usize| f64::from(softmax(&logits.picture(n).values)[class]);
        let probabilities: Vec<f64> = (0..ALTERATIONS.len()).map(probability).collect();
        let Standing { rank, margin, .. } = standing(&plain.values, class);
        let judged = Judged {
            rank,
            probability: f64::from(softmax(&plain.values)[class]),
            margin,
            stability: probabilities.iter().sum::<f64>() / probabilities.len() as f64,
            worst: probabilities.iter().copied().fold(1.0, f64::min),
            statistics: statistics::distance(ready.plain.running(), &[&moments]).layers,
        };
        Ok((judged, moments))
    }

    /// What the network's batch norms know of training; nothing before a picture has been judged.
    pub fn running(&self) -> &[Running] {
        self.ready.as_ref().map_or(&[], |ready| ready.plain.running())
    }

    fn prepare(&self, picture: Shape) -> Result<Ready> {
        let [_, c, h, w] = picture.0;
        let Judge { network, head, normalize, check_finite, .. } = *self;
        let forward = |n, moments| {
            let pass = Pass::of(network, normalize, Shape::new(n, c, h, w));
            Forward::prepare(self.device, &Pass { head, moments, check_finite, ..pass })
        };
        Ok(Ready { picture, plain: forward(1, true)?, altered: forward(ALTERATIONS.len(), false)? })
    }
}
