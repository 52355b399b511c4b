//! Checkpoints as the tools write them that people use: the same numbers in other containers, under other prefixes and in other
//! spellings are the same network. `docs/checkpoints.md` lists the tools.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use common::desk::{Desk, text};
use common::fixture;
use common::gpu::device;
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{Head, Network, Normalize, Reading, Structure};
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};

fn path(file: &str) -> PathBuf {
    fixture::path("checkpoints/containers").join(file)
}

/// The picture of `make_containers.py`: bytes that follow from their places, row by row.
fn picture() -> Array {
    const SIDE: usize = 64;
    let value = |k: usize| (((k as u64 * 2_654_435_761) >> 9) % 256) as f32 / 255.0;
    let values = (0..3).flat_map(|c| (0..SIDE * SIDE).map(move |at| value(3 * at + c)));
    Array::new(Shape::new(1, 3, SIDE, SIDE), values.collect())
}

fn load(file: &str, key: Option<&str>) -> Network {
    let checkpoint = Checkpoint::open_at(&path(file), key).unwrap_or_else(|error| panic!("{error}"));
    let structure = Structure::of(&checkpoint).unwrap_or_else(|| panic!("{file} is of no known network"));
    structure.check(&checkpoint).unwrap_or_else(|error| panic!("{file}: {error}"));
    Network::load(device(), &structure, &checkpoint, "0").unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn values(network: &Network, place: Place) -> Vec<f32> {
    let scene = Scene::of(vec![network], Normalize::Imagenet);
    outputs(device(), &scene, &picture(), &[place], false).expect("it runs").remove(0).values
}

fn logits(network: &Network) -> Vec<f32> {
    values(network, Place::Logits(0, Head::Main))
}

/// Compares with what PyTorch computed from the same half-precision numbers in double precision.
#[track_caller]
fn assert_near(found: &[f32], expected: &str) {
    let expected = fixture::json("checkpoints/containers/expected.json")[expected].clone();
    let expected: Vec<f64> =
        expected.as_array().expect("logits").iter().map(|v| v.as_f64().expect("a number")).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found}, expected {expected}");
    }
}

#[test]
fn the_plain_file_is_what_pytorch_makes_of_it() {
    let plain = load("plain.pth", None);
    assert!(plain.notes.is_empty(), "{:?}", plain.notes);
    assert_near(&logits(&plain), "plain");
}

#[test]
fn the_same_numbers_in_another_container_give_the_same_logits() {
    let plain = logits(&load("plain.pth", None));
    for (file, key, note) in [
        ("under_net.pth", None, ""),
        ("under_ema.pth", None, ""),
        (
            "two_keys.pth",
            None,
            "the weights are those under the key \"state_dict\"; there are others under \"state_dict_ema\"",
        ),
        ("two_keys.pth", Some("state_dict"), ""),
        ("lightning.ckpt", None, "the network is under \"model.\" in the names of tensors"),
        ("lightning.ckpt", Some("model"), ""),
        ("averaged.pth", None, "the network is under \"module.\""),
        (
            "moco.pth",
            None,
            "the network is under \"encoder_q.\" in the names of tensors; it is also under \"encoder_k.\"",
        ),
        ("moco.pth", Some("encoder_q"), ""),
        ("moco.pth", Some("module.encoder_q"), ""),
        ("segmenter.pth", None, "the network is under \"backbone.\""),
        ("fc_1.pth", None, "its last layer is fc.1"),
        ("sparse.pth", None, ""),
        ("transformers", None, "tensors have the names that transformers gives them"),
        ("transformers/model.safetensors", None, "its last layer is classifier.1"),
    ] {
        let network = load(file, key);
        assert_eq!(logits(&network), plain, "{file} {key:?}");
        let notes = network.notes.join("\n");
        assert!(notes.contains(note) && (note.is_empty() || !notes.is_empty()), "{file} {key:?}: {notes}");
    }
    for (file, key) in
        [("two_keys.pth", "state_dict_ema"), ("moco.pth", "encoder_k"), ("robustness.pt", "attacker.model")]
    {
        assert_ne!(logits(&load(file, Some(key))), plain, "{file} {key}");
    }
}

#[test]
fn a_key_that_is_not_there_and_a_file_without_weights_say_which_keys_there_are() {
    let refused = |file: &str, key: &str| Checkpoint::open_at(&path(file), Some(key)).expect_err("refused").to_string();
    let said = refused("two_keys.pth", "best");
    assert!(
        said.contains("has nothing under the key \"best\": weights are under state_dict, state_dict_ema;"),
        "{said}"
    );
    let said = refused("moco.pth", "encoder");
    assert!(said.contains("begin with encoder_k, encoder_q, queue"), "{said}");
    let said = Checkpoint::open(&path("no_weights.pth")).expect_err("refused").to_string();
    assert!(
        said.contains(
            "holds no tensors by name, neither as it is nor under its keys epoch, best_acc, arch, optimizer;"
        ),
        "{said}"
    );
}

#[test]
fn a_network_with_two_last_layers_or_none_can_be_looked_at() {
    let layer = Place::Layer(0, "layer2".into());
    let plain = values(&load("plain.pth", None), layer.clone());
    for (file, note) in [("two_layers.pth", "fc.0.weight, fc.2.weight"), ("children.pth", "nn.Sequential")] {
        let network = load(file, None);
        assert!(!network.has_classifier(), "{file}");
        assert!(network.notes.join("\n").contains(note), "{file}: {:?}", network.notes);
        assert_eq!(values(&network, layer.clone()), plain, "{file}");
    }
}

#[test]
fn pruned_weights_are_times_their_masks() {
    let halves = load("pruned.pth", Some("state_dict"));
    assert_eq!(logits(&halves), logits(&load("pruned.pth", Some("removed"))));
    assert_near(&logits(&halves), "pruned");
}

#[test]
fn sparse_blocks_are_named() {
    let said = Checkpoint::open(&path("sparse_blocks.pth")).expect_err("refused").to_string();
    assert!(
        said.ends_with(
            "fc.weight is sparse (torch._utils._rebuild_sparse_tensor), which is not read; save it after .to_dense()"
        ),
        "{said}"
    );
}

#[test]
fn the_normalisation_in_a_checkpoint_is_the_networks() {
    let robust = load("robustness.pt", None);
    assert_near(&logits(&robust), "robustness");
    let notes = robust.notes.join("\n");
    assert!(
        notes.contains("the network is under \"model.\"") && notes.contains("also under \"attacker.model.\""),
        "{notes}"
    );
    assert!(
        notes.contains("the checkpoint normalises pixel values: mean 0.5, 0.4, 0.3, standard deviation 0.25, 0.2, 0.3"),
        "{notes}"
    );
    // As they are, pixel values are as they are.
    let scene = |network| Scene::of(vec![network], Normalize::Source);
    let place = [Place::Logits(0, Head::Main)];
    let source =
        |network| outputs(device(), &scene(network), &picture(), &place, false).expect("it runs").remove(0).values;
    assert_eq!(source(&robust), source(&load("plain.pth", None)));
    // Networks of one scene are each given their own.
    let plain = load("plain.pth", None);
    let both = Scene::of(vec![&plain, &robust, &plain], Normalize::Imagenet);
    let places = [0, 1, 2].map(|index| Place::Logits(index, Head::Main));
    let found = outputs(device(), &both, &picture(), &places, false).expect("it runs");
    assert_near(&found[0].values, "plain");
    assert_near(&found[1].values, "robustness");
    assert_near(&found[2].values, "plain");
}

/// What the program says up to a line that begins so; then it need not go on.
fn until(desk: &Desk, arguments: &str, beginning: &str) -> String {
    let mut child = desk.command(arguments).spawn().expect("the program starts");
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        said += &line.expect("text");
        said.push('\n');
        if said.lines().last().is_some_and(|line| line.starts_with(beginning)) {
            break;
        }
    }
    child.kill().expect("it can be ended");
    child.wait().expect("it has ended");
    said
}

#[test]
fn what_the_program_says_and_does_with_such_files() {
    let desk = Desk::new();
    picture::write_png(&desk.path("a.png"), &picture(), &[]).expect("written");
    for entry in fs::read_dir(path("")).expect("a folder") {
        let from = entry.expect("an entry").path();
        if from.is_file() {
            fs::copy(&from, desk.path(&from.file_name().expect("a name").to_string_lossy())).expect("a copy");
        }
    }
    let folder = desk.path("transformers");
    fs::create_dir(&folder).expect("made");
    for file in ["model.safetensors", "config.json", "preprocessor_config.json"] {
        fs::copy(path("transformers").join(file), folder.join(file)).expect("a copy");
    }
    let shown = |arguments: &str| {
        let output = desk.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    // Labels of the folder become classes.
    let (plain, _) = shown("outputs --weights plain.pth --image a.png");
    let (named, said) = shown("outputs --weights transformers --image a.png");
    assert!(said.contains("tensors have the names that transformers gives them"), "{said}");
    assert!(named.contains("church, church building") && named.contains("golf ball"), "{named}");
    let numbers = |text: &str| text.lines().map(|line| line[..25].to_owned()).collect::<Vec<_>>();
    assert_eq!(numbers(&plain), numbers(&named));
    let (by_file, _) = shown("outputs --weights transformers/model.safetensors --image a.png");
    assert_eq!(by_file, named);
    let (two, said) = shown("outputs --weights two_keys.pth --image a.png");
    assert_eq!(two, plain);
    assert!(
        said.contains(
            "  the weights are those under the key \"state_dict\"; there are others under \"state_dict_ema\""
        ),
        "{said}"
    );
    assert_ne!(shown("outputs --weights two_keys.pth --key state_dict_ema --image a.png").0, plain);
    // A normalisation within the network comes before what recipes say, and after what the user says.
    desk.recipe("tiny.toml", 1, 32);
    for (more, expected) in [("", "pixel values Imagenet"), (" --normalize source", "pixel values Source")] {
        let said =
            until(&desk, &format!("feature --weights robustness.pt --layer layer2 --out x.png{more}"), "recipe: ");
        assert!(said.contains("the checkpoint normalises pixel values: mean 0.5") && said.contains(expected), "{said}");
    }
    // Made again from what the file says, with the key.
    shown("generate --weights moco.pth --key encoder_k --class 1 --recipe tiny.toml --out y.png");
    shown("verify y.png --weights moco.pth");
    shown("feature --weights two_layers.pth --layer layer2 --recipe tiny.toml --out z.png");
    shown("outputs --weights two_layers.pth --layer layer2 --image a.png --out l.safetensors");
    let layer = Checkpoint::open(&desk.path("l.safetensors")).expect("readable");
    assert_eq!(layer.shape("layer2").map(<[usize]>::len), Some(4));
    // Converted, it is plain, and says what it said.
    shown("weights convert robustness.pt r.safetensors");
    let converted = Checkpoint::open(&desk.path("r.safetensors")).expect("readable");
    let reading = Reading::of(&Structure::of(&converted).expect("a network"), &converted);
    assert_eq!((reading.prefix.as_str(), converted.metadata()["pixel_mean"].as_str()), ("", "0.5,0.4,0.3"));
    let robust = shown("outputs --weights robustness.pt --image a.png").0;
    assert_eq!(shown("outputs --weights r.safetensors --image a.png").0, robust);
    let (inspected, _) = shown("weights inspect robustness.pt");
    assert!(
        inspected.contains("network: resnet18, ") && inspected.contains("note: the network is under \"model.\""),
        "{inspected}"
    );
    shown("weights verify transformers");
}

#[test]
fn weights_that_do_not_fit_name_the_likely_prefix() {
    let desk = Desk::new();
    let checkpoint = Checkpoint::open(&path("lightning.ckpt")).expect("a good file");
    let array = |name: &str| NamedArray {
        name: name.to_owned(),
        shape: checkpoint.shape(name).expect("it is named").to_vec(),
        values: checkpoint.read(name).expect("numbers"),
    };
    let most: Vec<NamedArray> =
        checkpoint.names().filter(|name| !name.starts_with("model.layer4.1.")).map(array).collect();
    write(&desk.path("most.safetensors"), &most, &Default::default(), Precision::F32).expect("written");
    let said = text(&desk.run("layers -m resnet18 --weights most.safetensors").stderr);
    assert!(said.contains("under \"model.\" are 90 of its 100 tensors:"), "{said}");
    assert!(said.contains("missing: layer4.1.bn1.bias") && !said.contains("unexpected"), "{said}");
    let few: Vec<NamedArray> = checkpoint.names().take(9).map(array).collect();
    write(&desk.path("few.safetensors"), &few, &Default::default(), Precision::F32).expect("written");
    let said = text(&desk.run("layers -m vgg11 --weights few.safetensors").stderr);
    assert!(
        said.contains("none of its ")
            && said.contains(" is among the 9 of the file, under any prefix; those are model.bn1.bias, "),
        "{said}"
    );
    assert!(!said.contains("missing: "), "{said}");
}

/// transformers' own file of bottlenecks.
#[test]
fn bottlenecks_of_transformers_are_those_of_resnet50() {
    let network = load("transformers_resnet50.safetensors", None);
    assert_eq!((network.structure.name(), network.class_count()), ("resnet50", 3));
    let found = logits(&network);
    assert_eq!(found.len(), 3);
    assert_near(&found, "transformers_resnet50");
}
