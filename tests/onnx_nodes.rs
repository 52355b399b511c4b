//! Tests of single operators that the ONNX project computes, as networks of one picture: `scripts/onnx_node_tests.py --save` wrote
//! them, with the numbers that ONNX expects.

// Compiled into each test program, of which each uses a part.
mod common;

use common::compare::{Bound, assert_close};
use common::fixture::{Fixture, path};
use common::gpu::device;
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{Network, Normalize, Structure};
use entoptic::objective::Place;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::Checkpoint;

#[test]
fn operators_compute_what_onnx_expects() {
    let fixture = Fixture::load("onnx_nodes/answers");
    let mut tried = 0;
    for file in std::fs::read_dir(path("onnx_nodes")).expect("a folder") {
        let file = file.expect("an entry").path();
        let Some(name) = file.file_stem().filter(|_| file.extension().is_some_and(|end| end == "onnx")) else {
            continue;
        };
        let name = name.to_string_lossy().into_owned();
        let checkpoint = Checkpoint::open(&file).unwrap_or_else(|error| panic!("{error}"));
        let Ok((structure, checkpoint)) = Structure::read(checkpoint).expect("readable") else {
            panic!("{name} describes no network");
        };
        let network = Network::load(device(), &structure, &checkpoint, &name).unwrap_or_else(|error| panic!("{error}"));
        let [n, c, h, w]: [usize; 4] = fixture.shape(&format!("{name}/x")).try_into().expect("four sizes");
        let picture = Array { shape: Shape::new(n, c, h, w), values: fixture.values(&format!("{name}/x")) };
        let scene = Scene::of(vec![&network], Normalize::Source);
        let place = Place::Layer(0, "the end".to_owned());
        let found = outputs(device(), &scene, &picture, &[place], true).expect("runs").remove(0);
        let expected = fixture.values(&format!("{name}/y"));
        // Some tests write down four decimals.
        let bound = fixture.about(&name)["bound"].as_f64().expect("a bound");
        assert_close(&name, &found.values, &expected, Bound::rel_l2(bound));
        tried += 1;
    }
    assert!(tried >= 30, "{tried} operators were tried");
}
