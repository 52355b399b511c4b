//! Whole networks as PyTorch saves them: they hold what the recipe says and run as their safetensors twins do.
//!
//! Each of the three files was written in another way, see `fixtures/make_networks.py`: from a network that keeps its channels
//! last; before PyTorch 1.6; by a training script, from a wrapped network.

// Compiled into each test program, of which each uses a part.
mod common;

use std::collections::BTreeMap;

use common::fixture;
use common::gpu::device;
use common::reference::{SEED, input, structure};
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{Head, Network, Normalize, Structure};
use entoptic::objective::Place;
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};

/// Counters that PyTorch keeps beside the weights.
const COUNTERS: &str = "num_batches_tracked";

fn run(architecture: Structure, width: f64) {
    let name = architecture.name();
    let saved = Checkpoint::open(&fixture::path(&format!("checkpoints/small_{name}.pth"))).expect("a good file");
    assert_eq!(Structure::of(&saved).as_ref(), Some(&architecture));
    let shapes: BTreeMap<String, Vec<usize>> =
        architecture.tensors(width, 10, &[]).expect("a structure").into_iter().collect();
    let found: Vec<&str> = saved.names().filter(|name| !name.ends_with(COUNTERS)).collect();
    assert_eq!(found, shapes.keys().map(String::as_str).collect::<Vec<_>>());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("twin.safetensors");
    let state = SEED.state(name, &shapes).into_iter();
    let arrays: Vec<NamedArray> =
        state.map(|(name, values)| NamedArray { shape: shapes[&name].clone(), name, values }).collect();
    write(&path, &arrays, &BTreeMap::new(), Precision::F16).expect("room for the weights");
    let twin = Checkpoint::open(&path).expect("a good file");
    for (tensor, shape) in &shapes {
        assert_eq!(saved.shape(tensor), Some(&shape[..]), "{tensor}");
        assert_eq!(saved.dtype(tensor), Some("F16"), "{tensor}");
        assert_eq!(saved.read(tensor).expect("numbers"), twin.read(tensor).expect("numbers"), "{tensor}");
    }
    assert_eq!(logits(&architecture, &saved), logits(&architecture, &twin));
}

fn logits(architecture: &Structure, checkpoint: &Checkpoint) -> Vec<f32> {
    let network = Network::load(device(), architecture, checkpoint, "small").expect("weights that fit");
    let scene = Scene::of(vec![&network], Normalize::Source);
    let place = Place::Logits(0, Head::Main);
    let found = outputs(device(), &scene, &input(2, 96), &[place], true).expect("runs").remove(0).values;
    assert_eq!(found.len(), 20);
    assert!(found[..10] != found[10..] && found.iter().any(|value| value.abs() > 1e-3), "{found:?}");
    found
}

#[test]
fn a_resnet50_with_channels_last_runs_as_its_twin() {
    run(structure("resnet50"), 1.0 / 16.0);
}

#[test]
fn a_googlenet_in_a_legacy_file_runs_as_its_twin() {
    run(structure("googlenet"), 1.0 / 8.0);
}

#[test]
fn a_wrapped_inception_v3_of_a_training_script_runs_as_its_twin() {
    run(structure("inception_v3"), 1.0 / 8.0);
}
