//! Which network and which weights a command line means, from outside: files, fetched checkpoints, the built-in ones.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use common::generator::Generator;
use common::reference::structure;
use entoptic::nets::Head;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, demo, write};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder with a picture `a.png` in which the program runs, with a cache of its own.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
        let array = Array::new(Shape::new(1, 3, 64, 64), Generator { seed: 1 }.input(1, 64));
        picture::write_png(&desk.path("a.png"), &array, &[]).expect("a picture");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file in the cache, whose folder exists. The folder of a Mac lies deeper.
    fn cache(&self, name: &str) -> PathBuf {
        let folder = self.path(if cfg!(target_os = "macos") { "Library/Caches/entoptic" } else { "entoptic" });
        fs::create_dir_all(&folder).expect("a cache");
        folder.join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        command.env("XDG_RUNTIME_DIR", self.0.path());
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, self.0.path());
        }
        command.output().expect("the program starts")
    }

    /// The lines about its networks, when all goes well.
    #[track_caller]
    fn networks(&self, arguments: &str) -> Vec<String> {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{arguments}: {said}");
        said.lines().filter_map(|line| line.strip_prefix("network: ")).map(str::to_owned).collect()
    }

    /// The one line that says what is wrong.
    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let output = self.run(&format!("--quiet {arguments}"));
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{arguments}: {said}");
        said
    }
}

/// Saves a demo network under another path, without metadata: as published files are, it has no `side`.
fn publish(path: &std::path::Path, network: &str) {
    let checkpoint = demo(network).expect("readable").expect("there is one");
    let arrays: Vec<NamedArray> = checkpoint.names().map(|name| array(&checkpoint, name)).collect();
    write(path, &arrays, &BTreeMap::new(), Precision::F16).expect("room for the weights");
}

fn array(checkpoint: &Checkpoint, name: &str) -> NamedArray {
    let shape = checkpoint.shape(name).expect("it is there").to_vec();
    NamedArray { name: name.to_owned(), shape, values: checkpoint.read(name).expect("numbers") }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Whether a text has all the words, in this order.
#[track_caller]
fn has(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} (in this order) in: {text}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn weights_tell_their_network() {
    let desk = Desk::new();
    publish(&desk.path("r.safetensors"), "resnet50");
    publish(&desk.path("g.safetensors"), "googlenet");
    for (arguments, expected) in [
        ("--weights r.safetensors", vec!["resnet50, weights r.safetensors"]),
        ("--weights g.safetensors --head main", vec!["googlenet, weights g.safetensors"]),
        ("-w g.safetensors -w r.safetensors", vec!["googlenet, weights g.", "resnet50, weights r."]),
        (
            "-w g.safetensors -m googlenet -w demo",
            vec!["googlenet, weights g.", "googlenet, weights demo-googlenet (built in)"],
        ),
        ("-m resnet50 -w r.safetensors", vec!["resnet50, weights r."]),
        (
            "-m resnet50 -m googlenet -w g.safetensors",
            vec!["resnet50, weights demo-resnet50 (built in)", "googlenet, weights g."],
        ),
    ] {
        // Cheaper, but for one network only.
        let command = if expected.len() == 1 { "layers" } else { "outputs --image a.png" };
        let networks = desk.networks(&format!("{command} {arguments}"));
        assert_eq!(networks.len(), expected.len(), "{arguments}: {networks:?}");
        for (network, expected) in networks.iter().zip(expected) {
            assert!(network.starts_with(expected), "{arguments}: {network}");
        }
    }
    let said = desk.refused("outputs --image a.png --model googlenet --weights r.safetensors");
    has(&said, &["r.safetensors: these are weights of resnet50, not of googlenet"]);
    let one = NamedArray { name: "x".into(), shape: vec![1], values: vec![1.0] };
    write(&desk.path("x.safetensors"), &[one], &BTreeMap::new(), Precision::F32).expect("written");
    has(
        &desk.refused("outputs --image a.png --weights x.safetensors"),
        &["x.safetensors", "no network known here (resnet18, ", "regnet_y_128gf)"],
    );
    has(&desk.refused("outputs --image a.png --weights demo"), &["--weights demo and demo-plain need a --model"]);
    has(&desk.refused("outputs --image a.png --weights absent.pth"), &["absent.pth: there is no such file"]);
}

#[test]
fn fetched_checkpoints_come_before_the_built_in_networks() {
    let desk = Desk::new();
    let used = |arguments: &str| desk.networks(&format!("layers {arguments}")).join("\n");
    has(&used("--model resnet50"), &["resnet50, weights demo-resnet50 (built in)"]);
    has(
        &desk.refused("outputs --image a.png --weights resnet50-11ad3fa6"),
        &["resnet50-11ad3fa6 has not been fetched", "entoptic weights fetch resnet50-11ad3fa6"],
    );

    // The second of the network alone, then both: the first is the usual one.
    publish(&desk.cache("resnet50-11ad3fa6.pth"), "resnet50");
    has(&used("--model resnet50"), &["resnet50, weights ", "resnet50-11ad3fa6.pth, 10 classes"]);
    publish(&desk.cache("resnet50-0676ba61.pth"), "resnet50");
    has(&used("--model resnet50"), &["resnet50, weights ", "resnet50-0676ba61.pth, 10 classes"]);
    for name in ["resnet50-11ad3fa6", "resnet50-11ad3fa6.pth", "ResNet50_Weights.IMAGENET1K_V2"] {
        has(&used(&format!("--weights {name}")), &["resnet50, weights ", "resnet50-11ad3fa6.pth, 10 classes"]);
    }
    has(&used("--model resnet50 --weights demo"), &["resnet50, weights demo-resnet50 (built in)"]);
    has(&used("--model googlenet"), &["googlenet, weights demo-googlenet (built in)"]);
    has(
        &desk.refused("outputs --image a.png --model googlenet --weights resnet50-11ad3fa6"),
        &["these are weights of resnet50, not of googlenet"],
    );

    // Recipes follow the weights: this one has to be stopped by its class, so nothing runs.
    let recipe = |arguments: &str| text(&desk.run(&format!("generate --class nothing {arguments}")).stderr);
    has(&recipe("--model resnet50"), &["recipe: resnet50"]);
    has(&recipe("--model resnet50 --weights demo"), &["recipe: demo"]);

    // What is half there is not used.
    let other = Desk::new();
    publish(&other.cache("resnet50-0676ba61.pth.part"), "resnet50");
    has(&other.networks("layers --model resnet50").join(""), &["demo-resnet50 (built in)"]);
}

#[test]
fn training_starts_with_the_same_weights() {
    let desk = Desk::new();
    publish(&desk.cache("googlenet-1378be20.pth"), "googlenet");
    publish(&desk.path("r.safetensors"), "resnet50");
    let run = "train --teacher googlenet --images a.png --size 32 --steps 1 --lr 0 --out s.safetensors";
    let networks = desk.networks(&format!("{run} --weights r.safetensors"));
    has(&networks.join("\n"), &["resnet50, weights r.safetensors", "googlenet, weights ", "googlenet-1378be20.pth"]);
    let written = Checkpoint::open(&desk.path("s.safetensors")).expect("readable");
    assert_eq!(written.metadata()["network"], "resnet50");
    let networks = desk.networks(&format!("{run} --student resnet50 --teacher-weights demo"));
    has(&networks.join("\n"), &["demo-resnet50 (built in)", "demo-googlenet (built in)"]);
}

/// timm 1.0.31: SHA-256 of the lines `NAME SIZE,SIZE,...` of `timm.create_model(network).state_dict()`, with
/// `aux_logits=True` for `inception_v3`, sorted by name, without `num_batches_tracked`.
#[test]
fn networks_of_timm_have_the_same_names_and_shapes() {
    for (architecture, heads, expected) in [
        (structure("resnet50"), &[][..], "c67ecaef75aaf0f7ff01240e17727e9642664d14f9f2337cd070db9f0a218e26"),
        (
            structure("inception_v3"),
            &[Head::Side("aux")],
            "01237fea1e0f3cc20469a503534309cd443b9d4413b77cd7be5a7610e274466e",
        ),
    ] {
        let tensors: BTreeMap<_, _> =
            architecture.tensors(1.0, 1000, heads).expect("any width fits").into_iter().collect();
        let line = |(name, sizes): (&String, &Vec<usize>)| {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            format!("{name} {}\n", sizes.join(","))
        };
        let lines: String = tensors.iter().map(line).collect();
        let sum: String = Sha256::digest(&lines).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, expected, "{architecture}");
    }
}

/// Files as PyTorch writes them, of networks that have no recipe, no class names and no metadata.
#[test]
fn networks_of_other_families_make_pictures() {
    let desk = Desk::new();
    let file = |name: &str| common::fixture::path(&format!("checkpoints/families/{name}")).display().to_string();
    let recipe = "name = \"tiny\"\ndescription = \"\"\nnormalize = \"imagenet\"\n[init]\nkind = \"normal\"\nsize = 40\n\
                  mean = 0.5\nstd = 0.05\n[[stage]]\niterations = 2\nrate = [0.06, 0.02]\nstep = \"normalized\"\n";
    std::fs::write(desk.path("tiny.toml"), recipe).expect("a recipe");
    for (arguments, out) in [
        (
            format!("generate --model resnet18 --weights {} --class 36", file("resnet18_37_classes.safetensors")),
            "a.png",
        ),
        (format!("generate --weights {} --class 0", file("resnet18_1_class.pth")), "b.png"),
        (format!("feature --weights {} --layer features.28 --channel 7", file("vgg16_10_classes.pth")), "c.png"),
        (format!("dream --weights {} --image a.png --layer layer1.0", file("resnet18_1_class.pth")), "d.png"),
        (
            format!(
                "generate --weights {} --class 2 --weights {}",
                file("densenet121_3_classes_old_names.pth"),
                file("densenet121_3_classes_old_names.pth")
            ),
            "e.png",
        ),
    ] {
        desk.networks(&format!("{arguments} --recipe tiny.toml --out {out}"));
        assert!(desk.path(out).is_file(), "{arguments}");
    }
}

#[test]
fn a_network_without_batch_norms_says_what_that_means() {
    let desk = Desk::new();
    for (file, without) in [("squeezenet1_1_5_classes.pth", true), ("resnet18_1_class.pth", false)] {
        let file = common::fixture::path(&format!("checkpoints/families/{file}"));
        let output = desk.run(&format!("outputs --image a.png --weights {}", file.display()));
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("no batch norms: no prior of their statistics"), without, "{said}");
    }
}
