//! What is looked at whenever a run reports its losses: whether all is well, and whether anything still moves the pictures.

use super::run::Finished;
use super::step::StepProgram;
use crate::device::Device;
use crate::evaluate::{DeadEnd, Scene, dead_end};
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

/// Reports that find no gradient before it is told.
const PATIENCE: usize = 2;

/// The watch over one run.
#[derive(Default)]
pub(super) struct Watch {
    /// The last report at which all was well.
    kept: Option<Finished>,
    /// Since how many steps no gradient has come, and reports that have found it so.
    still: Option<(usize, usize)>,
    told: bool,
}

impl Watch {
    /// The run as it was when all was well.
    pub(super) fn kept(&self) -> Option<&Finished> {
        self.kept.as_ref()
    }

    /// Looks at a run as it is `now`; `odd` is the first step with a loss that is no number. Keeps it if all is well, and tells
    /// once since when no gradient has come to a window of side `crop`, and where it ends.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when no picture is good any more: one of several does not take the others along.
    pub(super) fn look(
        &mut self,
        now: Finished,
        odd: Option<usize>,
        program: &StepProgram,
        device: &Device,
        (scene, crop): (&Scene, Option<u32>),
    ) -> Result<Option<(usize, DeadEnd)>> {
        let pixels = now.pictures.values.chunks_exact(now.pictures.values.len() / now.loss.len());
        let finite = |(pixels, loss): (&[f32], &f32)| pixels.iter().chain([loss]).all(|value| value.is_finite());
        let good = pixels.zip(&now.loss).filter(|&picture| finite(picture)).count();
        if good == 0 {
            let (layer, step) = odd.map_or(("picture", now.steps - 1), |step| ("loss", step));
            return Err(Error::NotFinite { layer: layer.into(), step: Some(step as u64) });
        }
        if good < now.loss.len() {
            return Ok(None);
        }
        let same = self.kept.as_ref().is_some_and(|kept| kept.measured == now.measured);
        self.still = match self.still {
            _ if !same && !program.gradient_is_zero()? => None,
            None => Some((now.steps, 1)),
            Some((since, reports)) => Some((since, reports + 1)),
        };
        let pictures = &self.kept.insert(now).pictures;
        // A term that fades needs the numbers of its step to say anything.
        let fades = [true, false].into_iter().any(|rising| scene.objective.fades(rising));
        match self.still {
            Some((since, PATIENCE..)) if !self.told && !fades => {
                self.told = true;
                let end = match crop {
                    Some(side) => dead_end(device, scene, &centre(pictures, side as usize))?,
                    None => dead_end(device, scene, pictures)?,
                };
                Ok(end.map(|end| (since, end)))
            }
            _ => Ok(None),
        }
    }
}

/// The square of that side in the middle of pictures.
fn centre(pictures: &Array, side: usize) -> Array {
    let [n, c, h, w] = pictures.shape.0;
    let [top, left] = [h, w].map(|size| (size - side) / 2);
    let rows = pictures.values.chunks_exact(w).enumerate().filter(|(row, _)| (top..top + side).contains(&(row % h)));
    let values = rows.flat_map(|(_, row)| &row[left..left + side]).copied().collect();
    Array::new(Shape::new(n, c, side, side), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_is_that_of_every_channel() {
        let values: Vec<f32> = (0..2 * 2 * 16).map(|value| value as f32).collect();
        let found = centre(&Array::new(Shape::new(2, 2, 4, 4), values), 2);
        assert_eq!(found.shape, Shape::new(2, 2, 2, 2));
        assert_eq!(found.values[..8], [5.0, 6.0, 9.0, 10.0, 21.0, 22.0, 25.0, 26.0]);
    }
}
