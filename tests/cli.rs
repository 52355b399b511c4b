//! The program from outside: what it prints and writes, and one clear line for each mistake.
//!
//! One long file: the mistakes share the same few broken files and checks.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::compare::{Bound, assert_close};
use common::gpu::device;
use common::reference::demo_network;
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{Head, Normalize};
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, demo, write};
use tempfile::TempDir;

/// Three steps with everything that makes pictures differ: noise, crops, blur.
const TINY: &str = r#"
name = "tiny"
description = "Three steps"
normalize = "imagenet"
[init]
kind = "normal"
size = 64
mean = 0.5
std = 0.05
[[stage]]
iterations = 3
rate = [0.03, 0.01]
step = "normalized"
sigma = [0.8, 0.4]
crop = 56
"#;

/// A folder in which the program runs.
struct Desk(TempDir);

impl Desk {
    /// With a picture `a.png` and a recipe `tiny.toml`.
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
        let values = common::reference::SEED.input(1, 64);
        let array = Array::new(Shape::new(1, 3, 64, 64), values);
        picture::write_png(&desk.path("a.png"), &array, &[]).expect("a picture");
        fs::write(desk.path("tiny.toml"), TINY).expect("a recipe");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        // Software drivers complain when there is no such folder.
        command.env("XDG_RUNTIME_DIR", self.0.path());
        // What the user has fetched is not used.
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
        }
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// What it prints, when all goes well.
    #[track_caller]
    fn good(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The one line that says what is wrong, without `error: `.
    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let lines = self.refused_with_list(arguments);
        assert_eq!(lines.lines().count(), 1, "{arguments}: {lines}");
        lines
    }

    /// The line that says what is wrong, and those of a list below it.
    #[track_caller]
    fn refused_with_list(&self, arguments: &str) -> String {
        said(&self.run(&format!("--quiet {arguments}")), arguments)
    }

    /// Changes the demo ResNet50 and saves it; `edit` gets its tensors by name and its metadata.
    fn weights(
        &self,
        name: &str,
        edit: impl FnOnce(&mut BTreeMap<String, NamedArray>, &mut BTreeMap<String, String>),
    ) -> PathBuf {
        let checkpoint = demo_checkpoint();
        let array = |name: &str| NamedArray {
            name: name.to_owned(),
            shape: checkpoint.shape(name).expect("it is there").to_vec(),
            values: checkpoint.read(name).expect("numbers"),
        };
        let mut arrays: BTreeMap<_, _> = checkpoint.names().map(|name| (name.to_owned(), array(name))).collect();
        let mut metadata = checkpoint.metadata().clone();
        edit(&mut arrays, &mut metadata);
        let path = self.path(name);
        let arrays: Vec<NamedArray> = arrays.into_values().collect();
        write(&path, &arrays, &metadata, Precision::F32).expect("room for the weights");
        path
    }
}

fn demo_checkpoint() -> Checkpoint {
    demo("resnet50").expect("readable").expect("there is a demo ResNet50")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What a refusal says: exit code 1, nothing on standard output, no panic.
#[track_caller]
fn said(output: &Output, arguments: &str) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{arguments}: {out}{err}");
    assert!(out.is_empty(), "{arguments}: {out}");
    assert!(!err.contains("panicked") && !err.contains("RUST_BACKTRACE"), "{arguments}: {err}");
    let said = err.strip_prefix("error: ").and_then(|rest| rest.strip_suffix('\n'));
    said.unwrap_or_else(|| panic!("{arguments}: {err}")).to_owned()
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
fn lists() {
    let desk = Desk::new();
    has(&desk.good("adapters"), &["0: ", "driver", "buffer up to", "MiB"]);
    let recipes = desk.good("recipes");
    for name in ["demo", "googlenet", "resnet50", "padded", "inception_v3", "multiscale"] {
        assert!(recipes.lines().any(|line| line.split_whitespace().next() == Some(name)), "{recipes}");
        let shown = desk.good(&format!("recipes show {name}"));
        has(&shown, &["name = ", name, "[[stage]]"]);
    }
    let layers = desk.good("layers --model resnet50 --size 96");
    has(
        &layers,
        &["layer", "shape", "parameters", "conv1", "16 x 48 x 48", "layer4.2", "512 x 3 x 3", "fc", "10 x 1 x 1"],
    );
    has(&layers, &["1486106 parameters in all"]);
    has(&desk.good("layers --model googlenet --layer inception4a"), &["inception4a", "x 14 x 14"]);
    has(&desk.good("--version"), &["entoptic", env!("CARGO_PKG_VERSION")]);
}

/// A recipe that is printed can be saved, and used as a file.
#[test]
fn shown_recipes_are_files() {
    let desk = Desk::new();
    let shown = desk.good("recipes show demo");
    assert!(shown.contains("iterations = 60") && shown.contains("iterations = 40"));
    let short = shown.replace("iterations = 60", "iterations = 1").replace("iterations = 40", "iterations = 1");
    fs::write(desk.path("mine.toml"), short).expect("saved");
    desk.good("generate --model resnet50 --class 8 --recipe mine.toml --out x.png");
    assert_eq!(picture::read(&desk.path("x.png")).expect("a picture").shape, Shape::new(1, 3, 136, 136));
}

#[test]
fn outputs_are_those_of_the_library() {
    let desk = Desk::new();
    let printed = desk.good("outputs --model resnet50 --image a.png --out o.safetensors");
    assert_eq!(printed.lines().count(), 6, "five classes and the file: {printed}");
    has(&printed, &["o.safetensors"]);
    desk.good("outputs --model resnet50 --image a.png --layer layer2.0 --out l.safetensors");

    let network = demo_network(device(), "resnet50", "0");
    let scene = Scene::of(vec![&network], Normalize::Imagenet);
    let image = picture::read(&desk.path("a.png")).expect("a picture");
    let places = [Place::Logits(0, Head::Main), Place::Layer(0, "layer2.0".into())];
    let found = outputs(device(), &scene, &image, &places, false).expect("runs");
    for (file, tensor, sizes, expected) in [
        ("o.safetensors", "logits", vec![1, 10], &found[0]),
        ("l.safetensors", "layer2.0", found[1].shape.0.to_vec(), &found[1]),
    ] {
        let file = Checkpoint::open(&desk.path(file)).expect("written");
        assert_eq!(file.names().collect::<Vec<_>>(), [tensor]);
        assert_eq!(file.shape(tensor), Some(&sizes[..]));
        assert_close(tensor, &file.read(tensor).expect("numbers"), &expected.values, Bound::EXACT);
    }
}

/// The loss that `gradient` prints for one picture.
fn loss(printed: &str) -> f32 {
    let value = printed.lines().find_map(|line| line.strip_prefix("loss of picture 0: "));
    value.expect("a loss").parse().expect("a number")
}

#[test]
fn gradients_are_written_as_tensors_and_as_pictures() {
    let desk = Desk::new();
    let ask = "gradient --model resnet50 --image a.png --objective class:golf";
    has(&desk.good(&format!("{ask} --out g.safetensors")), &["loss of picture 0: ", "g.safetensors"]);
    desk.good(&format!("{ask} --out g.png"));
    let file = Checkpoint::open(&desk.path("g.safetensors")).expect("written");
    assert_eq!(file.shape("gradient"), Some(&[1, 3, 64, 64][..]));
    assert_eq!(file.shape("loss"), Some(&[1][..]));
    let gradient = file.read("gradient").expect("numbers");
    // Two networks; the source's joint objective is the mean of 200 - R and 400 - G.
    let both = "--model resnet50 --model googlenet --image a.png";
    let printed = desk.good(&format!("gradient {both} --objective joint:golf --out j.safetensors"));
    let joint: f32 = loss(&printed);
    desk.good(&format!("outputs {both} --out b.safetensors"));
    let logits = Checkpoint::open(&desk.path("b.safetensors")).expect("written");
    let logit = |name: &str| logits.read(name).expect("numbers")[8];
    let expected = 0.5 * ((200.0 - logit("0.resnet50.logits")) + (400.0 - logit("1.googlenet.logits")));
    assert_close("joint loss", &[joint], &[expected], Bound::rel_l2(1e-6));

    // The same objective as a sum of terms.
    let sum = ["gradient", "--model", "resnet50", "--image", "a.png", "--out", "s.safetensors", "--objective"];
    let objective = "2*logit(golf ball) - logit(golf ball) + 0*layer(layer1)";
    let output = desk.command("").args(sum).arg(objective).output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = Checkpoint::open(&desk.path("s.safetensors")).expect("written").read("gradient").expect("numbers");
    assert_close("gradient of a sum", &again, &gradient, Bound::rel_l2(1e-5));

    // In the picture zero is grey, and the largest value is at one end.
    let largest = gradient.iter().fold(0f32, |top, value| top.max(value.abs()));
    let shown: Vec<f32> = gradient.iter().map(|value| 0.5 + 0.5 * value / largest).collect();
    let seen = picture::read(&desk.path("g.png")).expect("a picture");
    assert_close("picture of the gradient", &seen.values, &shown, Bound::abs(0.51 / 255.0));
}

#[test]
fn pictures_repeat_and_carry_what_made_them() {
    let desk = Desk::new();
    let make = |out: &str, seed: u64| {
        let ask = format!("generate --model resnet50 --class golf --recipe tiny.toml --seed {seed} --out {out}");
        has(&desk.good(&ask), &[out]);
        fs::read(desk.path(out)).expect("a picture")
    };
    let first = make("x.png", 7);
    assert_eq!(first, make("y.png", 7), "the same seed gives the same bytes");
    assert_ne!(first, make("z.png", 8), "another seed gives others");

    let words = picture::read_metadata(&desk.path("x.png")).expect("metadata");
    assert_eq!(words["Software"], format!("entoptic {}", env!("CARGO_PKG_VERSION")));
    let recipe = entoptic::synthesis::recipe::Recipe::parse("kept", &words["entoptic:recipe"]).expect("a recipe");
    assert_eq!(recipe, entoptic::synthesis::recipe::Recipe::parse("tiny", TINY).expect("a recipe"));
    let run: serde_json::Value = serde_json::from_str(&words["entoptic:run"]).expect("JSON");
    assert_eq!(run["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&run["seed"], &run["steps"], &run["init"]), (&7.into(), &3.into(), &"noise".into()));
    assert_eq!((&run["objective"]["class"], &run["objective"]["name"]), (&8.into(), &"golf ball".into()));
    let network = &run["networks"][0];
    assert_eq!(network["network"], "resnet50");
    assert_eq!(network["sha256"], demo_checkpoint().sha256());
    for key in ["name", "backend", "driver"] {
        assert!(run["adapter"][key].as_str().is_some_and(|text| !text.is_empty()), "{run}");
    }
    assert_eq!(run["adapter"]["name"].as_str(), Some(device().adapter().name.as_str()));
    let kernels = run["kernels"].as_str().expect("how kernels were chosen");
    assert!(["registers", "measured "].iter().any(|how| kernels.starts_with(how)), "{kernels}");
}

#[test]
fn batches_and_films_are_written() {
    let desk = Desk::new();
    desk.good("generate --model resnet50 --class golf,tench --seeds 2 --recipe tiny.toml --out folder --film film.gif");
    let mut names: Vec<_> = fs::read_dir(desk.path("folder"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(fs::read(desk.path("film.gif")).expect("a film").starts_with(b"GIF89a"));
    // One of the batch by itself.
    desk.good("generate --model resnet50 --class tench --recipe tiny.toml --out alone.png");
    let alone = picture::read(&desk.path("alone.png")).expect("a picture");
    let together =
        names.iter().filter(|name| picture::read(&desk.path("folder").join(name)).expect("a picture") == alone);
    assert_eq!(together.count(), 1, "a picture does not depend on its batch");
}

#[test]
fn weights_that_cannot_be_used() {
    let desk = Desk::new();
    let with = |file: &str| format!("outputs --model resnet50 --image a.png --weights {file}");
    has(&desk.refused(&with("absent.safetensors")), &["absent.safetensors", "there is no such file"]);
    has(&desk.refused(&with(".")), &["is a folder"]);
    has(&desk.refused(&with("tiny.toml")), &["tiny.toml", "is not a file of weights"]);

    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo-resnet50.safetensors"));
    let whole = whole.expect("the demo weights");
    fs::write(desk.path("half.safetensors"), &whole[..whole.len() / 2]).expect("written");
    let promised = format!("{} bytes", whole.len());
    has(&desk.refused(&with("half.safetensors")), &["half.safetensors", "truncated", &promised, "download it again"]);

    desk.weights("shape.safetensors", |arrays, _| {
        let wrong = arrays.get_mut("layer1.0.conv2.weight").expect("a tensor");
        wrong.shape = vec![16, 16, 1, 9];
    });
    let said = desk.refused_with_list(&with("shape.safetensors"));
    has(&said, &["do not fit resnet50", "layer1.0.conv2.weight is [16, 16, 1, 9]", "expected [any, 16, 3, 3]"]);
    assert_eq!(said.lines().count(), 2, "{said}");

    desk.weights("list.safetensors", |arrays, _| {
        arrays.remove("layer2.1.bn3.bias");
        arrays.remove("fc.bias");
        let extra = NamedArray { name: "head.extra".into(), shape: vec![4], values: vec![1.0; 4] };
        arrays.insert("head.extra".into(), extra);
    });
    let said = desk.refused_with_list(&with("list.safetensors"));
    has(&said, &["missing: layer2.1.bn3.bias", "missing: fc.bias", "unexpected: head.extra"]);
    assert_eq!(said.lines().count(), 4, "{said}");

    // No writer of ours puts it there: the last number of the file, which is that of the last tensor.
    let path = desk.weights("nan.safetensors", |_, _| {});
    let mut bytes = fs::read(&path).expect("written");
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).expect("written");
    has(
        &desk.refused(&with("nan.safetensors")),
        &["nan.safetensors", "tensor layer4.2.conv3.weight holds NaN at index"],
    );

    let said = desk.refused_with_list("outputs --model googlenet --image a.png --weights half.safetensors");
    has(&said, &["truncated"]);
    desk.weights("whole.safetensors", |_, _| {});
    let said = desk.refused_with_list("outputs --model googlenet --image a.png --weights whole.safetensors");
    has(&said, &["whole.safetensors", "weights of resnet50, not of googlenet"]);
    has(
        &desk.refused("outputs --model googlenet --weights demo-plain --image a.png"),
        &["no demo-googlenet-plain", "entoptic weights list"],
    );
    desk.good(&with("whole.safetensors"));
}

#[test]
fn pictures_that_cannot_be_used() {
    let desk = Desk::new();
    let ask = |network: &str, image: &str| format!("outputs --model {network} --image {image}");
    let of_side = |side: usize| {
        let name = format!("{side}.png");
        let array = Array::filled(Shape::new(1, 3, side, side), 0.5);
        picture::write_png(&desk.path(&name), &array, &[]).expect("a picture");
        name
    };
    // ResNet50 sees any picture, as torchvision's does; GoogLeNet none below 15 pixels.
    let (one, fourteen, fifteen) = (of_side(1), of_side(14), of_side(15));
    assert_eq!(desk.good(&ask("resnet50", &one)).lines().count(), 5);
    has(&desk.refused(&ask("googlenet", &one)), &["[1, ", ", 1, 1] leaves no pixel", "use a larger picture"]);
    has(&desk.refused(&ask("googlenet", &fourteen)), &["leaves no pixel", "use a larger picture"]);
    desk.good(&ask("googlenet", &fifteen));

    let whole = fs::read(desk.path("a.png")).expect("the picture");
    fs::write(desk.path("corrupt.png"), &whole[..whole.len() / 2]).expect("written");
    has(&desk.refused(&ask("resnet50", "corrupt.png")), &["corrupt.png", "cannot be decoded"]);
    has(&desk.refused(&ask("resnet50", "tiny.toml")), &["tiny.toml", "is not a picture"]);
    let said = desk.refused(&ask("resnet50", "absent.png"));
    has(&said, &["--image", "absent.png"]);
    assert_eq!(said.matches("(os error").count(), 1, "said twice: {said}");
    let said = desk.refused("generate --model resnet50 --class 8 --recipe tiny.toml --init corrupt.png --out x.png");
    has(&said, &["--init", "corrupt.png", "cannot be decoded"]);
    assert!(!desk.path("x.png").exists());

    // A recipe whose pictures are too small for the network.
    let small = TINY.replace("size = 64", "size = 14").replace("crop = 56", "");
    fs::write(desk.path("small.toml"), small).expect("a recipe");
    let said = desk.refused("generate --model googlenet --class 8 --recipe small.toml --out x.png");
    has(&said, &["leaves no pixel", "use a larger picture"]);
}

#[test]
fn classes_layers_and_heads_that_are_not_there() {
    let desk = Desk::new();
    let class = |class: &str| format!("generate --model resnet50 --recipe tiny.toml --out x.png --class {class}");
    has(&desk.refused(&class("golfbal")), &["no class \"golfbal\"", "did you mean golf ball?"]);
    has(&desk.refused(&class("tabby")), &["no class \"tabby\"; there are: tench, English springer"]);
    has(&desk.refused(&class("ch")), &["\"ch\" may mean", "tench", "chain saw", "church", "give an index"]);
    has(&desk.refused(&class("10")), &["no class 10", "10, numbered from 0 to 9"]);
    has(&desk.refused(&class("8,99")), &["no class 99"]);
    has(&desk.refused("gradient --model resnet50 --image a.png --objective class:99 --out g.png"), &["no class 99"]);

    has(
        &desk.refused("layers --model resnet50 --layer pool"),
        &["no layer \"pool\"; `entoptic layers --model resnet50` lists them"],
    );
    has(
        &desk.refused("layers --model resnet50 --layer layr2.0.conv1"),
        &["no layer \"layr2.0.conv1\"", "layer2.0.conv1"],
    );
    let said = desk.refused("outputs --model googlenet --image a.png --layer inception3");
    has(&said, &["googlenet has no layer \"inception3\"", "did you mean", "inception3"]);
    let feature = "feature --model resnet50 --recipe tiny.toml --out x.png --layer layer1.0.conv1";
    has(&desk.refused(&format!("{feature} --channel 16")), &["layer1.0.conv1 has 16 channels", "channel 16"]);
    has(&desk.refused(&format!("{feature} --unit 3,14,0")), &["layer1.0.conv1 has 14 rows", "row 14"]);
    has(&desk.refused(&format!("{feature} --unit 3,1")), &["--unit takes channel,row,column, not 2 numbers"]);

    let said = desk.refused("generate --model resnet50 --head aux1 --class 8 --recipe tiny.toml --out x.png");
    has(&said, &["head aux1", "resnet50", "has no such head"]);
    assert!(!desk.path("x.png").exists());
}

#[test]
fn a_network_differs_from_others_only() {
    let desk = Desk::new();
    let minus = |more: &str| {
        format!("difference --model resnet50 --minus resnet50 {more} --class 8 --recipe tiny.toml --out x.png")
    };
    has(&desk.refused(&minus("")), &["--minus demo-resnet50", "is the same network"]);
    desk.good(&minus("--weights demo-plain"));
    desk.good(&minus("--weight 0.5"));
}

#[test]
fn networks_with_other_classes_do_not_join() {
    let desk = Desk::new();
    desk.weights("others.safetensors", |_, metadata| {
        metadata.insert("classes".into(), "a,b,c,d,e,f,g,h,i,j".into());
    });
    let pair =
        "--model resnet50 --model resnet50 --weights others.safetensors --class 8 --recipe tiny.toml --out x.png";
    has(&desk.refused(&format!("generate {pair}")), &["resnet50", "others.safetensors", "have different classes"]);
    let pair = pair.replacen("--model resnet50 --model", "--model resnet50 --minus", 1);
    has(&desk.refused(&format!("difference {pair}")), &["have different classes"]);
    desk.weights("short.safetensors", |_, metadata| {
        metadata.insert("classes".into(), "a,b".into());
    });
    let said = desk.refused("outputs --model resnet50 --weights short.safetensors --image a.png");
    has(&said, &["metadata lists 2 classes, the network has 10"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let desk = Desk::new();
    let folder = ["absent", "there is no such folder"];
    has(&desk.refused("generate --model resnet50 --class 8 --recipe tiny.toml --out absent/x.png"), &folder);
    has(
        &desk.refused("generate --model resnet50 --class 8 --recipe tiny.toml --out x.png --film absent/x.gif"),
        &folder,
    );
    has(&desk.refused("outputs --model resnet50 --image a.png --out absent/o.safetensors"), &folder);
    has(&desk.refused("gradient --model resnet50 --image a.png --objective class:8 --out absent/g.png"), &folder);
    let said = desk.refused("generate --model resnet50 --class 8 --recipe tiny.toml --out x.jpg");
    has(&said, &["x.jpg", "pictures are written as .png"]);
    let said = desk.refused("generate --model resnet50 --class 8 --seeds 2 --recipe tiny.toml --out x.png");
    has(&said, &["--out x.png: 2 pictures need a folder"]);
    assert!(!desk.path("x.png").exists());
    let said = desk.refused("outputs --model resnet50 --image a.png --out .");
    has(&said, &["is a folder; name a file in it"]);
}

#[test]
fn recipes_that_cannot_be_used() {
    let desk = Desk::new();
    let with = |recipe: &str| format!("generate --model resnet50 --class 8 --out x.png --recipe {recipe}");
    has(&desk.refused(&with("nope")), &["recipe nope", "there are demo", "googlenet", "or give a .toml file"]);
    has(&desk.refused("recipes show nope"), &["recipe nope", "there are demo"]);
    has(&desk.refused(&with("absent.toml")), &["absent.toml"]);
    fs::write(desk.path("key.toml"), TINY.replace("sigma", "sgima")).expect("a recipe");
    let line = TINY.lines().position(|line| line.starts_with("sigma")).expect("it is there") + 1;
    let place = format!("line {line}, stage 1: sgima");
    has(&desk.refused(&with("key.toml")), &["recipe key.toml", &place, "unknown field `sgima`"]);
    fs::write(desk.path("value.toml"), TINY.replace("iterations = 3", "iterations = 0")).expect("a recipe");
    has(&desk.refused(&with("value.toml")), &["stage 1: iterations: is 0, allowed are 1 to"]);
}

#[test]
fn adapters_that_are_not_there() {
    let desk = Desk::new();
    let said = desk.refused("outputs --model resnet50 --image a.png --adapter nope");
    has(&said, &["no adapter matches \"nope\"", "there are: 0: "]);
    let said = desk.refused("outputs --model resnet50 --image a.png --adapter 99");
    has(&said, &["no adapter matches \"99\""]);
    let named = desk.command("--quiet outputs --model resnet50 --image a.png").env("ENTOPTIC_ADAPTER", "nope").output();
    has(&said_by(named, "ENTOPTIC_ADAPTER=nope"), &["no adapter matches \"nope\""]);
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_adapter_packages_are_named() {
    let desk = Desk::new();
    for arguments in ["adapters", "--quiet outputs --model resnet50 --image a.png"] {
        let mut command = desk.command(arguments);
        let output = command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent").output();
        let said = said_by(output, arguments);
        has(&said, &["no GPU adapter", "Vulkan", "apt install", "dnf install", "pacman -S"]);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[track_caller]
fn said_by(output: std::io::Result<Output>, arguments: &str) -> String {
    said(&output.expect("the program starts"), arguments)
}

#[test]
fn misuse_is_exit_code_two() {
    let desk = Desk::new();
    for (arguments, word) in [
        ("", "Usage"),
        ("paint", "paint"),
        ("generate --class 8", "--model"),
        ("generate --model resnet50", "--class"),
        ("generate --model resnet51 --class 8", "wide_resnet101_2, googlenet, inception_v3, vgg11"),
        ("generate --head main --model resnet50 --class 8", "--head belongs to the network before it"),
        ("difference --minus resnet50 --weights a --class 8", "no --model is given"),
        ("generate --model resnet50 --weights a --weights b --class 8", "twice"),
        ("generate --model resnet50 --class 8 --seed x", "--seed"),
        ("generate --model resnet50 --class 8 --seeds 0", "--seeds"),
        ("generate --model resnet50 --class 8 --head tail", "tail"),
        ("generate --model resnet50 --class 8 --colour", "--colour"),
        ("generate --model resnet50 --class 8 --quiet --verbose", "cannot be used with"),
        ("difference --model resnet50 --class 8", "--minus"),
        ("match --model resnet50", "--image"),
        ("match --model resnet50 --image a.png --class 8", "cannot be used with"),
        ("match --model resnet50 --class 8", "--target-model"),
    ] {
        let output = desk.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        assert!(output.stdout.is_empty(), "{arguments}");
        assert!(error.contains(word) && !error.contains("panicked"), "{arguments}: {error}");
    }
    // Misuse that shows only when arguments are taken together.
    has(&desk.refused("merge --model resnet50 --class 8"), &["merge takes two classes"]);
    has(&desk.refused("layers --model resnet50 --model googlenet"), &["layers takes one --model, not 2"]);
    let objective = |text: &str| format!("gradient --model resnet50 --image a.png --out g.png --objective {text}");
    has(&desk.refused(&objective("x")), &["class:C", "objective x: x with 0 arguments is no term", "at character 2"]);
    has(&desk.refused(&objective("layer(layer9)")), &["layer9"]);
    has(&desk.refused(&objective("difference:8")), &["--objective difference takes two networks or more, not 1"]);
    has(&desk.refused(&objective("merge:8")), &["merge:C+D"]);
    has(&desk.refused(&objective("channel:layer1/x")), &["x is not the number of a channel"]);
    has(&desk.refused(&objective("channel:layer1/64")), &["64"]);
    has(&desk.refused(&objective("match:absent.safetensors")), &["absent.safetensors", "there is no such file"]);
    let two = objective("class:8").replace("--image", "--model googlenet --image");
    has(&desk.refused(&two), &["--objective class takes one network, not 2"]);
}
