//! What a picture is to match.

use super::loaded::Loaded;
use super::making::Making;
use super::note::{Ear, Note};
use crate::Result;
use crate::evaluate;
use crate::objective::Place;
use crate::picture;
use crate::tensor::Array;

/// The recipe by which a network's pictures match something, where the user names none.
pub fn match_recipe(network: &Loaded) -> &'static str {
    if network.recipe == "demo" { "demo-match" } else { network.recipe }
}

/// What a making's first network makes of the pictures that it is to match.
pub struct Goal<'a> {
    making: &'a Making<'a>,
    place: Place,
    /// Its answers.
    pub values: Array,
}

impl<'a> Goal<'a> {
    /// Runs the network on what is aimed at.
    ///
    /// # Errors
    /// Those of [`evaluate::outputs`].
    pub fn new(ear: Ear, making: &'a Making<'a>, place: Place, aimed_at: &Array) -> Result<Self> {
        let [_, _, h, w] = aimed_at.shape.0;
        if let (Place::Layer(..), true) = (&place, h != w) {
            let gone = 100 - 100 * h.min(w) / h.max(w);
            ear(Note::Info(format!(
                "of the {w} x {h} pixels to match, the square in the middle is looked at: {gone} % are not"
            )));
        }
        let values = found(making, &place, aimed_at, making.check_finite)?;
        Ok(Goal { making, place, values })
    }

    /// L1 distance of as many pictures from the goal, all together.
    ///
    /// # Errors
    /// Those of [`evaluate::outputs`].
    pub fn distance(&self, pictures: &Array) -> Result<f64> {
        let found = found(self.making, &self.place, pictures, false)?;
        Ok(found.values.iter().zip(&self.values.values).map(|(a, b)| f64::from(a - b).abs()).sum())
    }
}

/// The network sees windows of the size that the last stage gives it; so it sees what is aimed at. Logits can be those of a picture
/// of any shape; the values of a layer are compared place by place, so that both pictures must be squares.
fn found(making: &Making, place: &Place, pictures: &Array, check_finite: bool) -> Result<Array> {
    let side = making.recipe.final_window() as usize;
    let seen = match place {
        Place::Layer(..) => picture::fit(pictures, side),
        _ => picture::scale(pictures, side),
    };
    Ok(evaluate::outputs(&making.device, &making.scene(), &seen, std::slice::from_ref(place), check_finite)?.remove(0))
}
