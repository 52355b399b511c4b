//! Judges against what the same network says when it is run in other ways.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::device;
use common::reference::structure;
use entoptic::analysis::{ALTERATIONS, Judge, altered, distance, softmax};
use entoptic::evaluate::{self, Forward, Pass, Scene};
use entoptic::nets::{Head, Network, Normalize};
use entoptic::objective::{Form, Measure, Objective, Place, Term};
use entoptic::tensor::{Array, Layout, Shape};
use entoptic::weights::demo;

const NORMALIZE: Normalize = Normalize::Imagenet;

fn network() -> Network {
    let checkpoint = demo("googlenet").unwrap().unwrap();
    Network::load(device(), &structure("googlenet"), &checkpoint, "0").unwrap()
}

fn picture(seed: u64, side: usize) -> Array {
    Array::new(Shape::new(1, 3, side, side), Generator { seed }.blocks(1, side))
}

#[test]
fn a_judge_says_what_the_network_says() {
    let network = network();
    let mut judge = Judge::new(device(), (&network, Head::Main), NORMALIZE, false);
    // Another size, and the first again: what is prepared for one does not stay for the other.
    for (seed, side) in [(7, 48), (8, 56), (9, 48)] {
        let all = altered(&picture(seed, side));
        let (judged, _) = judge.judge(&all, 4).unwrap();
        let scene = Scene::of(vec![&network], NORMALIZE);
        let logits =
            evaluate::outputs(device(), &scene, &all, &[Place::Logits(0, Head::Main)], false).unwrap().remove(0);
        let said: Vec<f32> = (0..=ALTERATIONS.len()).map(|n| softmax(&logits.picture(n).values)[4]).collect();
        let mean = said[1..].iter().sum::<f32>() / ALTERATIONS.len() as f32;
        let worst = said[1..].iter().copied().fold(1.0, f32::min);
        let found = [judged.probability, judged.stability, judged.worst].map(|number| number as f32);
        assert_close("probabilities", &found, &[said[0], mean, worst], Bound::rel_l2(1e-4));
    }
    let error = judge.judge(&altered(&picture(1, 48)), 10).unwrap_err().to_string();
    assert!(error.contains("class 10") && error.contains("10 classes"), "{error}");
}

#[test]
fn statistics_of_one_picture_are_those_of_the_penalty() {
    let network = network();
    let mut judge = Judge::new(device(), (&network, Head::Main), NORMALIZE, false);
    let picture = picture(3, 48);
    let (judged, moments) = judge.judge(&altered(&picture), 0).unwrap();
    let measure = Measure::Statistics { network: 0 };
    let term = Term { place: Place::Picture, measure, form: Form::Plain, weight: 1.0 / moments.len() as f32 };
    let scene = Scene { objective: Objective { terms: vec![term] }, ..Scene::of(vec![&network], NORMALIZE) };
    let penalty = evaluate::losses(device(), &scene, &picture, false).unwrap().values[0];
    assert_close("statistics", &[judged.statistics as f32], &[penalty], Bound::rel_l2(1e-4));
}

#[test]
fn statistics_of_a_set_are_those_of_all_its_pixels() {
    let network = network();
    let weights = network.weights(device()).unwrap();
    let known = |name: &str| &weights.iter().find(|array| array.name == name).unwrap().values;
    let (running_mean, running_var) = (known("conv1.bn.running_mean"), known("conv1.bn.running_var"));
    let mut judge = Judge::new(device(), (&network, Head::Main), NORMALIZE, false);
    let pictures = [picture(5, 48), picture(6, 48), picture(7, 48)];
    let scene = Scene::of(vec![&network], NORMALIZE);
    let place = [Place::Layer(0, "conv1.conv".into())];
    let values = pictures.each_ref().map(|picture| {
        let values = evaluate::outputs(device(), &scene, picture, &place, false).unwrap().remove(0);
        let size = values.shape.h() * values.shape.w();
        values.values.chunks_exact(size).map(<[f32]>::to_vec).collect::<Vec<_>>()
    });
    let mut sum = 0.0;
    for c in 0..running_mean.len() {
        let pixels: Vec<f64> = values.iter().flat_map(|channels| &channels[c]).map(|&x| f64::from(x)).collect();
        let mean = pixels.iter().sum::<f64>() / pixels.len() as f64;
        let variance = pixels.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
        // torchvision's GoogLeNet has eps 1e-3.
        let known = f64::from(running_var[c]) + 1e-3;
        sum += (mean - f64::from(running_mean[c])).powi(2) / known + ((variance + 1e-3) / known).ln().powi(2);
    }
    let moments = pictures.map(|picture| judge.judge(&altered(&picture), 0).unwrap().1);
    let found = distance(judge.running(), &moments.each_ref().map(Vec::as_slice));
    let expected = 10.0 * sum / running_mean.len() as f64;
    assert_close("first layer", &[found.first as f32], &[expected as f32], Bound::rel_l2(1e-4));
}

#[test]
fn means_are_those_of_each_channel() {
    let network = network();
    let both = Array::new(Shape::new(2, 3, 48, 48), Generator { seed: 4 }.blocks(2, 48));
    let layers = ["inception5a".to_owned(), "conv1".to_owned()];
    let pass = Pass { means: &layers, moments: true, ..Pass::of(&network, NORMALIZE, both.shape) };
    let mut forward = Forward::prepare(device(), &pass).unwrap();
    forward.logits(&Layout::Picture.pack(both.shape, &both.values)).unwrap();
    let scene = Scene::of(vec![&network], NORMALIZE);
    for (layer, found) in layers.iter().zip(forward.means()) {
        let place = [Place::Layer(0, layer.clone())];
        let values = evaluate::outputs(device(), &scene, &both, &place, false).unwrap().remove(0);
        let [n, c, h, w] = values.shape.0;
        let expected: Vec<f32> =
            values.values.chunks_exact(h * w).map(|channel| channel.iter().sum::<f32>() / (h * w) as f32).collect();
        assert_eq!(found.shape, Shape::new(n, c, 1, 1));
        assert_close(layer, &found.values, &expected, Bound::rel_l2(1e-5));
    }
    let unknown = ["inception9z".to_owned()];
    let error = Forward::prepare(device(), &Pass { means: &unknown, ..pass }).err().unwrap().to_string();
    assert!(error.contains("inception9z"), "{error}");
}
