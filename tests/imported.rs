//! Networks that files describe, against answers that PyTorch computed in binary64: `tests/fixtures/make_imported.py` wrote both.

// Compiled into each test program, of which each uses a part.
mod common;

use common::compare::{Bound, assert_close};
use common::fixture::{Fixture, path, words};
use common::gpu::device;
use common::reference::named_pictures;
use entoptic::evaluate::{Scene, gradient, outputs};
use entoptic::nets::{Head, Network, Normalize, Structure};
use entoptic::objective::{Form, Objective, Place, Term, class_input};
use entoptic::tensor::{Array, Shape};
use entoptic::weights::Checkpoint;
use serde_json::json;

const CLASS: usize = 3;
const STEP: usize = 29;

/// Of logits and of gradients, in relative L2: what is asked of full-size networks.
const LOGITS: f64 = 2e-5;
const GRADIENT: f64 = 2e-4;

/// A network as a file of the fixtures describes it.
fn read(file: &str) -> Network {
    let checkpoint = Checkpoint::open(&path(&format!("imported/{file}"))).unwrap_or_else(|error| panic!("{error}"));
    let read = match Structure::read(checkpoint) {
        Ok(read) => read,
        Err(error) => panic!("{error}"),
    };
    let (structure, checkpoint) = read.unwrap_or_else(|_| panic!("{file} describes its network"));
    Network::load(device(), &structure, &checkpoint, file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The forms in which each network is there.
const FORMS: [&str; 3] = ["pt2", "ts.onnx", "onnx"];

fn family(name: &str) {
    let fixture = Fixture::load("imported/answers");
    let about = fixture.about(name);
    let side = about["side"].as_u64().expect("a side") as usize;
    let picture = named_pictures(&words(&json!([about["picture"]])), side);
    for form in FORMS {
        let network = read(&format!("{name}.{form}"));
        assert_eq!(network.class_count(), 10, "{name}.{form}");
        for watched in [true, false] {
            let what =
                |what: &str| format!("{name}.{form} {what}, layers {}", if watched { "apart" } else { "together" });
            let scene = Scene::of(vec![&network], Normalize::Source);
            let place = Place::Logits(0, Head::Main);
            let found = outputs(device(), &scene, &picture, &[place], watched).expect("runs").remove(0);
            assert_close(
                &what("logits"),
                &found.values,
                &fixture.values(&format!("{name}/logits")),
                Bound::rel_l2(LOGITS),
            );
            let scene = Scene {
                objective: Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] },
                inputs: vec![(class_input(0), Array::filled(Shape::per_picture(1), CLASS as f32))],
                ..scene
            };
            let found = gradient(device(), &scene, &picture, watched).expect("runs").gradient;
            // The loss falls as the logit grows.
            let found: Vec<f32> = found.values.iter().step_by(STEP).map(|value| -value).collect();
            assert_close(
                &what("gradient"),
                &found,
                &fixture.values(&format!("{name}/gradient")),
                Bound::rel_l2(GRADIENT),
            );
        }
    }
}

macro_rules! families {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            family(stringify!($name));
        })*
    };
}

#[test]
fn functions_of_other_peoples_networks_are_computed_in_every_form() {
    family("functions");
}

families! {
    alexnet, convnext, densenet, efficientnet, googlenet, inception_v3, mnasnet0_5, mobilenet_v2, mobilenet_v3_small, regnet_y,
    resnet, resnext, shufflenet_v2_x0_5, squeezenet1_1, vgg11,
}
