//! Gradients from outside, pulled back to the picture.

use super::{Gradient, PICTURE, Scene, gradient};
use crate::device::Device;
use crate::objective::{Form, Measure, Objective, Place, Term, factor_input};
use crate::tape::Tape;
use crate::tensor::Array;
use crate::{Error, Result};

/// The vector-Jacobian product: what gradients of any loss with respect to values at some places are with respect to the picture
/// [N, 3, H, W]. So a loss that is computed elsewhere can be descended: J'g, added up over all places.
///
/// The loss of the result is, of each picture, the sum of the products of values and gradients.
///
/// # Errors
/// [`Error::Shape`] where a gradient has another shape than the value at its place; [`Error::Objective`] without any; as
/// [`super::outputs`].
pub fn vjp(
    device: &Device,
    scene: &Scene,
    picture: &Array,
    gradients: &[(Place, Array)],
    check_finite: bool,
) -> Result<Gradient> {
    let terms = (0..).zip(gradients).map(|(slot, (place, _))| {
        let measure = Measure::Product { slot };
        Term { place: place.clone(), measure, form: Form::Plain, weight: 1.0 }
    });
    let objective = Objective { terms: terms.collect() };
    let inputs = (0..).zip(gradients).map(|(slot, (_, gradient))| (factor_input(slot), gradient.clone()));
    let scene = Scene { objective, inputs: inputs.collect(), ..scene.clone() };

    let mut tape = Tape::default();
    let x = tape.input(PICTURE, picture.shape);
    let places: Vec<Place> = gradients.iter().map(|(place, _)| place.clone()).collect();
    let staged = scene.stage(&mut tape, (x, x), &places)?;
    for (var, (place, gradient)) in staged.places.iter().zip(gradients) {
        let expected = tape.shape(*var);
        if gradient.shape != expected {
            return Err(Error::shape("vjp", format!("the gradient at {place}"), expected, gradient.shape));
        }
    }
    gradient(device, &scene, picture, check_finite)
}
