//! Full-size networks with weights from the generator, on the test device.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use entoptic::classes::ClassList;
use entoptic::device::Device;
use entoptic::nets::{Network, Structure};
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, demo, write};

use super::fixture::json;
use super::generator::Generator;
use super::gpu::device;

pub const SEED: Generator = Generator { seed: 1 };

/// A network of the zoo.
pub fn structure(name: &str) -> Structure {
    name.parse().expect("a known network")
}

/// A network filled by the recipe, with whatever metadata is asked for.
pub fn network_with(name: &str, metadata: &[(&str, &str)], id: &str) -> Network {
    let manifest = json(&format!("manifest_{name}.json"));
    let entries = manifest["entries"].as_array().expect("a list of entries");
    let shapes: BTreeMap<String, Vec<usize>> = entries
        .iter()
        .map(|entry| {
            let sizes = entry["shape"].as_array().expect("sizes").iter();
            let sizes = sizes.map(|size| size.as_u64().expect("a size") as usize).collect();
            (entry["name"].as_str().expect("a name").to_owned(), sizes)
        })
        .collect();
    let state = SEED.state(name, &shapes);
    let arrays: Vec<NamedArray> =
        state.into_iter().map(|(name, values)| NamedArray { shape: shapes[&name].clone(), name, values }).collect();
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(format!("{name}.safetensors"));
    write(&path, &arrays, &metadata, Precision::F32).expect("room for the weights");
    let structure: Structure = name.parse().expect("a known network");
    Network::load(device(), &structure, &Checkpoint::open(&path).expect("readable"), id).expect("weights that fit")
}

/// A network filled by the recipe, made once for the test process.
pub fn network(name: &str) -> &'static Network {
    static NETWORKS: [(&str, OnceLock<Network>); 3] =
        [("resnet50", OnceLock::new()), ("googlenet", OnceLock::new()), ("inception_v3", OnceLock::new())];
    let (_, network) = NETWORKS.iter().find(|(known, _)| *known == name).expect("one of the three");
    network.get_or_init(|| network_with(name, &[], name))
}

/// The recipe's numbers for a network without side heads, by name; the sizes are the structure's own.
pub fn state_of(structure: &Structure) -> Vec<NamedArray> {
    let shapes: BTreeMap<String, Vec<usize>> =
        structure.tensors(1.0, 1000, &[]).expect("a structure").into_iter().collect();
    let state = SEED.state(structure.name(), &shapes).into_iter();
    state.map(|(name, values)| NamedArray { shape: shapes[&name].clone(), name, values }).collect()
}

/// A network of these numbers, with `transform_input` where torchvision's pretrained files have it.
pub fn network_of(structure: &Structure, state: &[NamedArray]) -> Network {
    let name = structure.name();
    let mut network = Network::from_arrays(device(), structure, state, ClassList::unnamed(1000), name)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    network.transform_input = matches!(name, "googlenet" | "inception_v3");
    network
}

/// Pictures of white noise by name, as sidecars list them, in one batch.
pub fn named_pictures(names: &[String], side: usize) -> Array {
    let values = names.iter().flat_map(|name| SEED.tensor_uniform(name, 3 * side * side, 0.0, 1.0)).collect();
    Array::new(Shape::new(names.len(), 3, side, side), values)
}

/// White noise [n,3,side,side].
pub fn input(n: usize, side: usize) -> Array {
    Array::new(Shape::new(n, 3, side, side), SEED.input(n, side))
}

/// Squares of one colour [n,3,side,side].
pub fn blocks(n: usize, side: usize) -> Array {
    Array::new(Shape::new(n, 3, side, side), SEED.blocks(n, side))
}

/// The picture that a fixture's key means, such as `blocks/299/b2`.
pub fn picture(kind: &str, side: usize, n: usize) -> Array {
    match kind {
        "input" => input(n, side),
        "blocks" => blocks(n, side),
        _ => panic!("no picture is called {kind}"),
    }
}

/// One of the small trained networks.
pub fn demo_network(device: &Device, name: &str, id: &str) -> Network {
    let checkpoint = demo(name).expect("readable").expect("there is a demo network of that name");
    let structure: Structure = name.parse().expect("a known network");
    Network::load(device, &structure, &checkpoint, id).expect("weights that fit")
}
