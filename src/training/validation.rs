//! How many photographs a network gets right.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::attack::{Attack, Attacked, Strength};
use super::dataset::{Batch, Batches, Photograph};
use crate::device::{Buffer, Device};
use crate::evaluate::parts::at_a_time;
use crate::evaluate::{Forward, Pass};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// Right answers among the photographs looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Photographs.
    pub count: usize,
    /// Those whose class has the largest logit.
    pub first: usize,
    /// Those whose class is among the five largest.
    pub first_five: usize,
}

impl Accuracy {
    /// Share of `first`.
    pub fn top_1(&self) -> f64 {
        self.first as f64 / self.count as f64
    }

    /// Share of `first_five`.
    pub fn top_5(&self) -> f64 {
        self.first_five as f64 / self.count as f64
    }

    /// Counts a photograph. Of equal logits each is behind the other: who cannot tell is not right.
    fn add(&mut self, logits: &[f32], label: usize) {
        let behind = |logit: &f32| logit.partial_cmp(&logits[label]) == Some(Ordering::Less);
        let ahead = logits.iter().enumerate().filter(|&(class, logit)| class != label && !behind(logit)).count();
        self.count += 1;
        self.first += usize::from(ahead < 1);
        self.first_five += usize::from(ahead < 5);
    }
}

/// A network ready to be judged by photographs: the middle of each, with frozen statistics.
pub struct Validation {
    device: Device,
    shape: Shape,
    forward: Forward,
    attack: Option<(Attack, Buffer, Buffer)>,
    skipped: Vec<String>,
}

impl Validation {
    /// Prepares for batches of the shape of a pass, or smaller ones where the device cannot hold them; with an attack, photographs are made hard before the network sees them.
    ///
    /// # Errors
    /// Those of [`Forward::prepare`].
    pub fn prepare(device: &Device, pass: &Pass, attack: Option<(Strength, u64)>) -> Result<Self> {
        let [n, c, h, w] = pass.shape.0;
        at_a_time(n, |n| Self::prepare_whole(device, &Pass { shape: Shape::new(n, c, h, w), ..*pass }, attack))
    }

    fn prepare_whole(device: &Device, pass: &Pass, attack: Option<(Strength, u64)>) -> Result<Self> {
        let (forward, shape) = (Forward::prepare_whole(device, pass)?, pass.shape);
        let attack = attack.map(|(strength, seed)| {
            let labels = device.buffer("labels", Layout::Picture.bytes(Shape::per_picture(shape.n())))?;
            let counter = device.buffer("batch", 16)?;
            let pictures = forward.pictures().clone();
            let attacked = Attacked { shape, pictures, labels: labels.clone(), counter: counter.clone() };
            Attack::prepare(device, pass.network, pass.normalize, strength, seed, attacked)
                .map(|attack| (attack, labels, counter))
        });
        Ok(Validation { device: device.clone(), shape, forward, attack: attack.transpose()?, skipped: vec![] })
    }

    /// Looks at photographs, and tells after each batch how it stands; [`ControlFlow::Break`] in answer ends it. Those that cannot
    /// be read do not count.
    ///
    /// # Errors
    /// Those of the device; [`Error::File`](crate::Error::File) where no photograph can be read.
    pub fn accuracy(
        &mut self,
        photographs: &[Photograph],
        observer: &mut dyn FnMut(Accuracy) -> ControlFlow<()>,
    ) -> Result<Accuracy> {
        let (size, side) = (self.shape.n(), self.shape.h());
        let batches = Batches { photographs: photographs.to_vec(), size, side, augment: None };
        let count = batches.per_epoch();
        let mut accuracy = Accuracy::default();
        self.skipped.clear();
        for (index, batch) in batches.load(0, count).enumerate() {
            let Batch { stored, labels, mut skipped } = batch?;
            self.skipped.append(&mut skipped);
            let logits = match &mut self.attack {
                None => self.forward.logits(&stored)?,
                Some((attack, label_buffer, counter)) => {
                    let mut wanted: Vec<f32> = labels.iter().map(|&label| label as f32).collect();
                    // The pictures that fill up the last batch need some label.
                    wanted.resize(size, 0.0);
                    let wanted = Array::new(Shape::per_picture(size), wanted);
                    self.device.write_array(label_buffer, Layout::Picture, &wanted)?;
                    self.device.write(counter, &[index as u32])?;
                    attack.run(&stored)?;
                    self.forward.present_logits()?
                }
            };
            labels.iter().enumerate().for_each(|(n, &label)| accuracy.add(&logits.picture(n).values, label));
            if observer(accuracy).is_break() {
                break;
            }
        }
        match (self.skipped.first(), photographs.first()) {
            (Some(reason), Some(first)) if accuracy.count == 0 => Err(Error::file(
                &first.path,
                format!("none of {} photographs can be read: {reason}", photographs.len()),
            )),
            _ => Ok(accuracy),
        }
    }

    /// What was wrong with each photograph that the last look left out.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_are_counted_and_ties_are_wrong() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&[1.0, 3.0, 2.0], 1);
        accuracy.add(&[1.0, 3.0, 3.0], 1);
        accuracy.add(&[7.0, 6.0, 5.0, 4.0, 3.0, 2.0], 4);
        accuracy.add(&[7.0, 6.0, 5.0, 4.0, 3.0, 2.0], 5);
        accuracy.add(&[f32::NAN, f32::NAN], 0);
        assert_eq!(accuracy, Accuracy { count: 5, first: 1, first_five: 4 });
        assert_eq!((accuracy.top_1(), accuracy.top_5()), (0.2, 0.8));
    }
}
