//! Every network of torchvision's families against the stored answers: names and shapes, weights, logits, and the gradient
//! of a class with respect to two pictures. `tests/fixtures/recipe.md`, section 9, says what is stored.
//!
//! Networks have up to 143 million weights, so one at a time is built, compared and dropped.

// Compiled into each test program, of which each uses a part.
mod common;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use common::compare::{Bound, assert_aligned, assert_close};
use common::fixture::{self, Fixture, hex, json, words};
use common::generator::{checksum, fnv1a64};
use common::gpu::device;
use common::reference::{SEED, input, named_pictures, network_of, state_of};
use entoptic::evaluate::{Scene, gradient, outputs};
use entoptic::nets::{Head, Network, Normalize, Structure};
use entoptic::objective::{Form, Objective, Place, Term, class_input};
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray};
use serde_json::Value;

const CLASS: usize = 11;
const PROBES: usize = 1024;

/// Relative in all, and absolute for each: 3e-4 for values up to 39, as `recipe.md`, section 8, measured it, and more for the
/// larger ones that ResNet101 and ResNet152 have.
fn logit_bound(stored: &[f32]) -> Bound {
    let largest = stored.iter().fold(0f32, |max, value| max.max(value.abs()));
    Bound { rel_l2: 1e-5, abs: 3e-4 * (f64::from(largest) / 39.0).max(1.0) }
}

/// What is asked of a gradient: of one stored in full, of single elements, of its length, of its direction.
struct GradientBounds {
    all: f64,
    elements: f64,
    norm: f64,
    cosine: f64,
}

/// Of pictures that stay clear of ties.
const CLEAR: GradientBounds = GradientBounds { all: 1e-4, elements: 1e-4, norm: 1e-4, cosine: 1e-6 };
/// Of others, in which a ReLU or a pooling window may fall either way: those of full-size gradients in `recipe.md`, section 8.
const LOOSE: GradientBounds = GradientBounds { all: 5e-2, elements: 8e-2, norm: 3e-3, cosine: 1e-3 };

const FAMILIES: [&[&str]; 10] =
    [REGNET, RESNET, WIDE_RESNET, VGG, VGG_BN, &["alexnet"], SQUEEZENET, DENSENET, &["googlenet"], &["inception_v3"]];
const REGNET: &[&str] = &["regnet_x_400mf", "regnet_y_400mf"];
const RESNET: &[&str] = &["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"];
const WIDE_RESNET: &[&str] = &["wide_resnet50_2", "wide_resnet101_2"];
const VGG: &[&str] = &["vgg11", "vgg13", "vgg16", "vgg19"];
const VGG_BN: &[&str] = &["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"];
const SQUEEZENET: &[&str] = &["squeezenet1_0", "squeezenet1_1"];
const DENSENET: &[&str] = &["densenet121", "densenet161", "densenet169", "densenet201"];

fn family(names: &[&str]) {
    // Tests run side by side, but memory is for one of the large networks.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = Fixture::load("families");
    for name in names {
        let about = &fixture.about("networks")[*name];
        assert!(about.is_object(), "{name}: no stored answers");
        let structure: Structure = name.parse().unwrap_or_else(|error| panic!("{error}"));
        compare(&fixture, name, about, &network(&structure, about));
    }
}

/// The network, once its names, shapes and weights have proved to be torchvision's.
fn network(structure: &Structure, about: &Value) -> Network {
    let name = structure.name();
    let state = state_of(structure);
    let sizes = |array: &NamedArray| array.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let listing: String = state.iter().map(|array| format!("{} {}\n", array.name, sizes(array))).collect();
    let entries = &about["entries"];
    assert!(
        Some(state.len() as u64) == entries["count"].as_u64() && fnv1a64(&listing) == hex(&entries["fnv1a64"]),
        "{name}: names or shapes are not torchvision's, which are {} and which make_families.py --shapes {name} \
         prints; here are {}:\n{listing}",
        entries["count"],
        state.len()
    );
    let total = state.iter().map(|array| checksum(&array.values)).fold(0, u64::wrapping_add);
    assert_eq!(total, hex(&about["checksum_total"]), "{name}: the generator fills this network otherwise");
    network_of(structure, &state)
}

fn compare(fixture: &Fixture, name: &str, about: &Value, network: &Network) {
    let side = about["side"].as_u64().expect("a side") as usize;
    let pictures = named_pictures(&words(&about["pictures"]), side);
    let place = Place::Logits(0, Head::Main);
    let scene = Scene::of(vec![network], Normalize::Source);
    let logits = fixture.values(&format!("{name}/logits"));
    // Watched, every layer is computed by itself, as in the reference; else batch norms are folded. One member of each family
    // is tried both ways, and a narrow version of each network in `tests/graphs.rs`.
    let ways: &[_] = &[("batch norms folded", false), ("layers apart", true)];
    let ways = if FAMILIES.iter().any(|family| family[0] == name) { ways } else { &ways[..1] };
    for &(how, watched) in ways {
        let found =
            outputs(device(), &scene, &pictures, std::slice::from_ref(&place), watched).expect("runs").remove(0);
        assert_close(&format!("{name} logits, {how}"), &found.values, &logits, logit_bound(&logits));
    }
    let clear = about["clear"].as_array().expect("an answer for each picture").iter();
    let bounds: Vec<&GradientBounds> =
        clear.map(|clear| if clear.as_bool().expect("yes or no") { &CLEAR } else { &LOOSE }).collect();
    for &(how, watched) in ways {
        let found = gradient(device(), &class_scene(network, 2), &pictures, watched).expect("runs").gradient;
        compare_gradient(fixture, name, how, &found, bounds[0], bounds[1]);
    }
}

/// Of the first picture all is stored, of the second some elements, of both the length.
fn compare_gradient(
    fixture: &Fixture,
    name: &str,
    how: &str,
    found: &Array,
    of_first: &GradientBounds,
    of_second: &GradientBounds,
) {
    let [first, second] = [0, 1].map(|n| found.picture(n).values);
    let label = |what: &str| format!("{name} gradient, {how}: {what}");
    let stored = fixture.values(&format!("{name}/grad"));
    assert_close(&label("first picture"), &first, &stored, Bound::rel_l2(of_first.all));
    assert_aligned(&label("first picture"), &first, &stored, of_first.cosine);
    let picked = SEED.picks(&format!("families/{name}"), second.len(), PROBES);
    let picked: Vec<f32> = picked.into_iter().map(|index| second[index]).collect();
    let stored = fixture.values(&format!("{name}/grad_probe"));
    assert_close(&label("elements of the second picture"), &picked, &stored, Bound::rel_l2(of_second.elements));
    let norm = |values: &[f32]| values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32;
    let stored = fixture.values(&format!("{name}/grad_norm"));
    assert_close(&label("length of the first"), &[norm(&first)], &stored[..1], Bound::rel_l2(of_first.norm));
    assert_close(&label("length of the second"), &[norm(&second)], &stored[1..], Bound::rel_l2(of_second.norm));
}

fn class_scene(network: &Network, n: usize) -> Scene<'_> {
    Scene {
        objective: Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] },
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(n), CLASS as f32))],
        ..Scene::of(vec![network], Normalize::Source)
    }
}

#[test]
fn regnets() {
    family(REGNET);
}

#[test]
fn resnets() {
    family(RESNET);
}

#[test]
fn wide_resnets() {
    family(WIDE_RESNET);
}

#[test]
fn vggs() {
    family(VGG);
}

#[test]
fn vggs_with_batch_norm() {
    family(VGG_BN);
}

#[test]
fn alexnet() {
    family(&["alexnet"]);
}

#[test]
fn squeezenets() {
    family(SQUEEZENET);
}

#[test]
fn densenets() {
    family(DENSENET);
}

#[test]
fn googlenet() {
    family(&["googlenet"]);
}

#[test]
fn inception_v3() {
    family(&["inception_v3"]);
}

#[test]
fn every_stored_network_is_in_a_family() {
    let fixture = Fixture::load("families");
    let stored = fixture.about("networks").as_object().expect("an object");
    let stored: BTreeSet<&str> = stored.keys().map(String::as_str).collect();
    let tested: BTreeSet<&str> = FAMILIES.into_iter().flatten().copied().collect();
    assert_eq!(stored, tested);
    assert_eq!(stored.len(), 26);
    assert_eq!(fixture.about("class_index"), CLASS);
    let shape = |key: &str| fixture.shape(key);
    assert!(stored.iter().all(|name| shape(&format!("{name}/grad_probe")) == [PROBES]));
}

/// A narrow network with its own number of classes, as PyTorch saved it.
fn checkpoint(file: &str) {
    let about = &json("checkpoints/families/expected.json")["files"][file];
    assert!(about.is_object(), "{file}: no stored answers");
    let name = about["network"].as_str().expect("a name");
    let structure: Structure = name.parse().unwrap_or_else(|error| panic!("{error}"));
    let saved = Checkpoint::open(&fixture::path(&format!("checkpoints/families/{file}"))).expect("a good file");
    assert_eq!(Structure::of(&saved).as_ref(), Some(&structure), "{file}");
    let network = Network::load(device(), &structure, &saved, "narrow").unwrap_or_else(|e| panic!("{file}: {e}"));
    assert_eq!(network.class_count() as u64, about["classes"], "{file}");
    let shape = about["shape"].as_array().expect("sizes");
    let [n, side] = [0, 2].map(|k| shape[k].as_u64().expect("a size") as usize);
    let scene = Scene::of(vec![&network], Normalize::Source);
    let rows = about["logits"].as_array().expect("rows").iter().flat_map(|row| row.as_array().expect("a row"));
    let stored: Vec<f32> = rows.map(|value| value.as_f64().expect("a number") as f32).collect();
    let place = Place::Logits(0, Head::Main);
    let found = outputs(device(), &scene, &input(n, side), &[place], false).expect("runs").remove(0).values;
    assert_close(file, &found, &stored, logit_bound(&stored));
}

#[test]
fn a_narrow_resnet18_with_one_class() {
    checkpoint("resnet18_1_class.pth");
}

#[test]
fn a_narrow_resnet18_with_37_classes_as_safetensors() {
    checkpoint("resnet18_37_classes.safetensors");
}

#[test]
fn a_narrow_vgg16_with_10_classes() {
    checkpoint("vgg16_10_classes.pth");
}

#[test]
fn a_narrow_squeezenet_with_5_classes() {
    checkpoint("squeezenet1_1_5_classes.pth");
}

#[test]
fn a_narrow_densenet_with_the_names_of_published_files() {
    checkpoint("densenet121_3_classes_old_names.pth");
}
