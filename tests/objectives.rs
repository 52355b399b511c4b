//! Objectives that are sums, and gradients from outside, on a whole network.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::OnceLock;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::device;
use common::reference::demo_network;
use entoptic::Error;
use entoptic::evaluate::{self, Scene, gradient, outputs};
use entoptic::nets::{Head, Network, Normalize};
use entoptic::objective::{Measure, Named, Objective, Place, read};
use entoptic::ops::Metric;
use entoptic::tensor::{Array, Shape};

const LAYER: &str = "inception3a";

fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| demo_network(device(), "googlenet", "googlenet"))
}

fn scene(objective: Objective) -> Scene<'static> {
    Scene { objective, ..Scene::of(vec![network()], Normalize::Imagenet) }
}

fn pictures() -> Array {
    let shape = Shape::new(2, 3, 48, 64);
    let values = Generator { seed: 3 }.tensor_symmetric("pictures", shape.elements(), 0.5);
    Array::new(shape, values.iter().map(|value| value + 0.5).collect())
}

fn values(place: Place) -> Array {
    outputs(device(), &scene(Objective::default()), &pictures(), &[place], false).unwrap().remove(0)
}

/// The mean over some channels of a picture's values.
fn mean(array: &Array, channels: std::ops::Range<usize>) -> f64 {
    let [_, _, h, w] = array.shape.0;
    let values = &array.values[channels.start * h * w..channels.end * h * w];
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}

#[test]
fn a_sum_of_terms_is_the_sum_of_what_they_measure() {
    let text = format!(
        "2*channel({LAYER}, 5) + 0.5*logit(church) - layer({LAYER})/4 + unit({LAYER}, 2) - unit({LAYER}, 3, 1, 0) + 0.001*(tv - l1)"
    );
    let named = [Named { name: "googlenet", classes: &network().classes, head: Head::Main }];
    let objective = read(&text, &named).unwrap();
    let found = evaluate::losses(device(), &scene(objective), &pictures(), false).unwrap();
    let (layer, logits) = (values(Place::Layer(0, LAYER.into())), values(Place::Logits(0, Head::Main)));
    let [_, c, h, w] = layer.shape.0;
    let class = network().classes.find("church").unwrap();
    let expected: Vec<f32> = (0..2)
        .map(|n| {
            let (layer, picture) = (layer.picture(n), pictures().picture(n));
            let unit = |c: usize, y: usize, x: usize| f64::from(layer.values[(c * h + y) * w + x]);
            let [_, _, rows, columns] = picture.shape.0;
            let step = |k: usize, l: usize| f64::from((picture.values[k] - picture.values[l]).abs());
            let tv: f64 = (0..picture.values.len())
                .map(|k| {
                    let right = if k % columns + 1 < columns { step(k, k + 1) } else { 0.0 };
                    let below = if k / columns % rows + 1 < rows { step(k, k + columns) } else { 0.0 };
                    right + below
                })
                .sum();
            let l1: f64 = picture.values.iter().map(|&value| f64::from(value.abs())).sum();
            let terms = 2.0 * mean(&layer, 5..6) + 0.5 * f64::from(logits.picture(n).values[class])
                - mean(&layer, 0..c) / 4.0
                + unit(2, h / 2, w / 2)
                - unit(3, 1, 0)
                + 0.001 * (tv - l1);
            terms as f32
        })
        .collect();
    assert_close("sum", &found.values, &expected, Bound { rel_l2: 1e-5, abs: 1e-5 });
}

#[test]
fn gradients_from_outside_are_those_of_the_same_loss_inside() {
    let place = Place::Layer(0, LAYER.into());
    let close = |what: &str, objective: Objective, outside: &[(Place, Array)]| {
        let inside = gradient(device(), &scene(objective), &pictures(), false).unwrap();
        let found = evaluate::vjp(device(), &scene(Objective::default()), &pictures(), outside, false).unwrap();
        assert_close(what, &found.gradient.values, &inside.gradient.values, Bound::rel_l2(1e-5));
        assert_ne!(found.gradient.picture(0), found.gradient.picture(1), "{what}: pictures are done apart");
    };
    // A logit's gradient with respect to the logits is 1 there and 0 elsewhere.
    let logits = values(Place::Logits(0, Head::Main));
    let classes = logits.shape.c();
    let one = Array::new(logits.shape, (0..logits.values.len()).map(|k| f32::from(k % classes == 3)).collect());
    let logit = Objective::logit(0, Head::Main, 3);
    close("logit", logit.clone(), &[(Place::Logits(0, Head::Main), one.clone())]);
    // The sum of squares has the gradient 2x.
    let layer = values(place.clone());
    let double = Array::new(layer.shape, layer.values.iter().map(|value| 2.0 * value).collect());
    let squares = Objective::of(place.clone(), Measure::Norm(Metric::SumOfSquares));
    close("squares", squares.clone(), &[(place.clone(), double.clone())]);
    // Of several places they add up.
    close("both", squares + logit, &[(place, double), (Place::Logits(0, Head::Main), one)]);
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    let vjp = |gradients: &[(Place, Array)]| {
        evaluate::vjp(device(), &scene(Objective::default()), &pictures(), gradients, false).expect_err("it is wrong")
    };
    let wrong = Array::filled(Shape::new(2, 4, 1, 1), 1.0);
    let said = vjp(&[(Place::Layer(0, LAYER.into()), wrong.clone())]).to_string();
    assert!(said.starts_with(&format!("vjp: the gradient at {LAYER} is [2, 4, 1, 1], expected [2, ")), "{said}");
    assert!(matches!(vjp(&[(Place::Layer(0, "nowhere".into()), wrong)]), Error::UnknownLayer { .. }));
    assert!(matches!(vjp(&[]), Error::Objective { .. }));
}
