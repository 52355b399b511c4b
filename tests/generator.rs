//! The test data themselves: the generator against its recipe, the stored answers against the generator.

mod common;

use std::collections::BTreeMap;

use common::compare::{Bound, assert_close};
use common::fixture::{Fixture, hex, json};
use common::generator::{Generator, Rule, checksum, fnv1a64};
use serde_json::Value;

const SEED: Generator = Generator { seed: 1 };

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

fn bits(values: &[f32]) -> Vec<u64> {
    values.iter().map(|value| u64::from(value.to_bits())).collect()
}

fn hexes(value: &Value) -> Vec<u64> {
    list(value).iter().map(hex).collect()
}

#[test]
fn hashes_are_those_of_the_recipe() {
    let vectors = json("recipe_vectors.json");
    assert_eq!(list(&vectors["prng"]).len(), 5);
    for vector in list(&vectors["prng"]) {
        let (name, k) = (text(&vector["name"]), number(&vector["k"]));
        assert_eq!(fnv1a64(name), hex(&vector["fnv1a64"]), "{name}");
        assert_eq!(SEED.key(name), hex(&vector["key"]), "{name}");
        assert_eq!(SEED.hash(name, k as u64), hex(&vector["hash"]), "{name} {k}");
        assert_eq!(SEED.top24(name, k as u64) as usize, number(&vector["top24"]), "{name} {k}");
        let u = SEED.tensor_uniform(name, k + 1, 0.0, 1.0)[k];
        assert_eq!(u64::from(u.to_bits()), hex(&vector["u_bits"]), "{name} {k}");
    }
}

#[test]
fn weights_are_those_of_the_recipe() {
    let vectors = json("recipe_vectors.json");
    assert_eq!(list(&vectors["weights"]).len(), 7);
    for vector in list(&vectors["weights"]) {
        let (net, entry, k) = (text(&vector["net"]), text(&vector["name"]), number(&vector["k"]));
        // Sizes of the entries, which the vectors leave out: only fan-in and count matter.
        let (shape, normed): (&[usize], bool) = match entry {
            "conv1.weight" => (&[64, 3, 7, 7], false),
            "inception4a.branch3.1.conv.weight" => (&[48, 16, 3, 3], false),
            "fc.weight" => (&[1000, 2048], false),
            "fc.bias" => (&[1000], false),
            _ => (&[64], true),
        };
        let values = SEED.fill(net, entry, shape, Rule::of(net, entry, shape, normed));
        assert_eq!(u64::from(values[k].to_bits()), hex(&vector["bits"]), "{net}/{entry} {k}");
        assert_eq!(f64::from(values[k]), text(&vector["value"]).parse::<f64>().expect("a number"), "{net}/{entry} {k}");
    }
}

#[test]
fn pictures_and_targets_are_those_of_the_recipe() {
    let vectors = json("recipe_vectors.json");
    assert_eq!(bits(&SEED.init(4)[..4]), hexes(&vectors["init_bits"]));
    assert_eq!(bits(&SEED.target(1)[..3]), hexes(&vectors["target_bits"]));
    let input = SEED.input(2, 299);
    assert_eq!(checksum(&input), hex(&vectors["input_299_b2_checksum"]));
    assert_eq!(checksum(&SEED.blocks(2, 299)), hex(&vectors["blocks_299_b2_checksum"]));
    assert_eq!(SEED.input(1, 299), input[..3 * 299 * 299], "one picture is the first of two");
}

#[test]
fn every_weight_of_resnet50_has_its_checksum() {
    let manifest = json("manifest_resnet50.json");
    let shape = |entry: &Value| list(&entry["shape"]).iter().map(number).collect::<Vec<_>>();
    let shapes: BTreeMap<String, Vec<usize>> =
        list(&manifest["entries"]).iter().map(|entry| (text(&entry["name"]).to_owned(), shape(entry))).collect();
    let state = SEED.state("resnet50", &shapes);
    let mut total = 0u64;
    for entry in list(&manifest["entries"]) {
        let values = &state[text(&entry["name"])];
        assert_eq!(bits(&values[..3]), hexes(&entry["first_bits"]), "{}", entry["name"]);
        assert_eq!(checksum(values), hex(&entry["checksum"]), "{}", entry["name"]);
        total = total.wrapping_add(checksum(values));
    }
    assert_eq!(total, hex(&manifest["checksum_total"]));
    let elements: usize = state.values().map(Vec::len).sum();
    assert_eq!(elements, number(&manifest["parameters"]) + number(&manifest["buffers"]));
}

#[test]
fn stored_inputs_come_from_the_generator() {
    let ops = Fixture::load("ops");
    let stored = ops.values("conv7x7_s2_p3/input");
    let ours = SEED.tensor_symmetric("op/conv7x7_s2_p3/input", stored.len(), 1.0);
    assert_close("conv7x7_s2_p3/input", &ours, &stored, Bound::EXACT);
    let tied = ops.values("maxpool_k2_s2_p0_ceil_12x13_tied/input");
    assert_close("tied", &SEED.tied("maxpool_k2_s2_p0_ceil_12x13_tied", tied.len(), 3.0, -1.0), &tied, Bound::EXACT);
    let labels = ops.indices("ce_1000/label");
    assert_eq!(SEED.labels("ce_1000", 1000, labels.len()), labels);
    let image_ops = Fixture::load("image_ops");
    let blur = image_ops.values("blur/input");
    assert_close("blur/input", &SEED.tensor_uniform("op/blur/input", blur.len(), 0.0, 1.0), &blur, Bound::EXACT);
}

#[test]
fn stored_positions_come_from_the_generator() {
    let net = Fixture::load("net_resnet50");
    let mut count = 0;
    for name in net.names().iter().filter(|name| name.starts_with("act/") && name.ends_with("/probe_index")) {
        let full = list(net.note(name, "full_shape")).iter().map(number).product();
        let layer = name.strip_prefix("act/").and_then(|name| name.strip_suffix("/probe_index")).expect("both ends");
        assert_eq!(SEED.picks(&format!("resnet50/{layer}"), full, 32), net.indices(name), "{name}");
        count += 1;
    }
    assert_eq!(count, 30);
}

#[test]
fn every_fixture_holds_what_its_sidecar_lists() {
    for name in [
        "ops",
        "image_ops",
        "net_resnet50",
        "small_grads",
        "params_resnet50",
        "params_resnet18",
        "params_vgg11",
        "families",
    ] {
        let fixture = Fixture::load(name);
        let listed = fixture.about("tensors").as_object().expect("an object");
        assert_eq!(listed.len(), fixture.names().len(), "{name}");
        for (key, note) in listed {
            let shape: Vec<usize> = list(&note["shape"]).iter().map(number).collect();
            assert_eq!(fixture.shape(key), shape, "{name}: {key}");
            match note["max_abs"].as_f64() {
                None => assert_eq!(fixture.indices(key).len(), shape.iter().product::<usize>(), "{name}: {key}"),
                Some(largest) => {
                    let found = fixture.values(key).iter().fold(0f32, |max, value| max.max(value.abs()));
                    assert_eq!(found, largest as f32, "{name}: {key}");
                }
            }
        }
    }
}

#[test]
fn bounds_follow_the_gap_of_the_reference() {
    let ops = Fixture::load("ops");
    assert_eq!(ops.case("conv7x7_s2_p3")["op"], "conv2d");
    assert!(ops.cases().count() > 40);
    let gap = ops.f32_gap_rel_l2("conv7x7_s2_p3/out").expect("a gap");
    assert!(gap < 2.5e-7);
    assert_eq!(ops.bound("conv7x7_s2_p3/out"), Bound::rel_l2(2e-6));
    assert_eq!(ops.f32_gap_rel_l2("conv7x7_s2_p3/input"), None);
}
