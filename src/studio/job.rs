//! What is to be run for some pictures, and all that made them.

use super::aim;
use super::design::{Design, Init, Maker};
use super::making::{Making, Picture};
use super::origin::{Origin, Place};
use crate::Result;
use crate::synthesis::{Finished, Job};
use crate::tensor::Array;

/// Steps between two reports of a run.
const REPORT_EVERY: usize = 5;

impl<'a> Making<'a> {
    /// What is to be run for some pictures, watched every few steps. Where they are to match something, `goal` is what.
    ///
    /// # Errors
    /// As [`Making::start`] and [`aim::scene`].
    pub fn job(&self, pictures: &[Picture], goal: Option<&Array>) -> Result<Job<'a>> {
        let start = self.start.as_ref().map(|_| self.start(pictures[0].stream)).transpose()?;
        Ok(Job {
            scene: aim::scene(self, pictures, goal)?,
            recipe: self.recipe.clone(),
            streams: pictures.iter().map(|picture| picture.stream).collect(),
            start,
            check_finite: self.check_finite,
            report_every: REPORT_EVERY,
            frame_every: None,
        })
    }

    /// What decides how the picture at a place of its batch looks.
    pub fn design(&self, picture: &Picture, index: usize, init: Init) -> Design {
        let init = match init {
            Init::Image { file, sha256, picture: Some(first) } => {
                Init::Image { file, sha256, picture: Some(first + index) }
            }
            same => same,
        };
        Design {
            objective: picture.aim.clone(),
            seed: picture.stream.seed,
            stream: picture.stream.picture,
            init,
            networks: self.networks.iter().map(|&loaded| Maker::from(loaded)).collect(),
        }
    }

    /// Everything that made the picture at a place of its batch.
    pub fn origin(&self, picture: &Picture, index: usize, init: Init, finished: &Finished) -> Origin {
        let loss = [&finished.first_loss, &finished.loss].map(|loss| loss.get(index).copied());
        let loss = loss.map(|loss| loss.filter(|loss| loss.is_finite()));
        let place = Place::of(&self.device);
        Origin::new(self.design(picture, index, init), (finished.steps, loss), place, self.demo)
    }
}
