//! The gradient of a loss that the engine does not know: values out of the network, their gradient back into it.
//!
//! The loss here is how far the mean of each channel of a layer is from 1, which `evaluate::vjp` pulls back to the picture.

use entoptic::device::{AdapterChoice, Device};
use entoptic::evaluate::{self, Scene};
use entoptic::objective::Place;
use entoptic::studio::{Model, Weights};
use entoptic::tensor::{Array, Shape};

fn main() -> entoptic::Result<()> {
    let device = Device::open(&AdapterChoice::Best)?;
    let structure = "googlenet".parse().map_err(entoptic::Error::request)?;
    let network = Model::new(Some(structure), Weights::Demo).load(&|_| {}, &device, "0")?;
    let scene = Scene::of(vec![&network.network], network.trained_with);
    let place = Place::Layer(0, "inception3a".into());
    let mut picture = Array::filled(Shape::new(1, 3, 48, 48), 0.5);
    for step in 0..3 {
        let values = evaluate::outputs(&device, &scene, &picture, std::slice::from_ref(&place), false)?.remove(0);
        let [_, _, h, w] = values.shape.0;
        let means: Vec<f32> =
            values.values.chunks(h * w).map(|plane| plane.iter().sum::<f32>() / plane.len() as f32).collect();
        let loss: f32 = means.iter().map(|mean| (mean - 1.0).powi(2)).sum();
        println!("step {step}: loss {loss:.3}");
        // Of (m - 1)^2 with respect to each of the values that m is the mean of.
        let of_values = means.iter().flat_map(|mean| std::iter::repeat_n(2.0 * (mean - 1.0) / (h * w) as f32, h * w));
        let of_values = Array::new(values.shape, of_values.collect());
        let found = evaluate::vjp(&device, &scene, &picture, &[(place.clone(), of_values)], false)?;
        let largest = found.gradient.values.iter().fold(1e-12_f32, |most, value| most.max(value.abs()));
        for (pixel, slope) in picture.values.iter_mut().zip(&found.gradient.values) {
            *pixel = (*pixel - 0.05 * slope / largest).clamp(0.0, 1.0);
        }
    }
    Ok(())
}
