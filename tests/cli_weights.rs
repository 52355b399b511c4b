//! `entoptic weights` from outside: what it prints and writes, and what it says of bad files. Needs no GPU.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use entoptic::nets::Structure;
use entoptic::weights::{Checkpoint, KNOWN, NamedArray, Precision, demo, write};
use tempfile::TempDir;

/// A folder in which the program runs, with a cache of its own.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.current_dir(self.0.path()).arg("weights").args(arguments);
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, self.path("caches"));
        }
        command.output().expect("the program starts")
    }

    /// What it prints, when all goes well.
    #[track_caller]
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What it says is wrong: exit code 1, nothing on standard output, no panic.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {out}{err}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
        assert!(err.starts_with("error: ") && !err.contains("panicked"), "{arguments:?}: {err}");
        err
    }

    /// Saves the demo ResNet50 with changes.
    fn demo(&self, name: &str, edit: impl FnOnce(&mut Vec<NamedArray>, &mut BTreeMap<String, String>)) {
        let checkpoint = demo("resnet50").expect("readable").expect("there is a demo ResNet50");
        let (mut arrays, mut metadata) = (arrays(&checkpoint), checkpoint.metadata().clone());
        edit(&mut arrays, &mut metadata);
        write(&self.path(name), &arrays, &metadata, Precision::F32).expect("room for the weights");
    }
}

fn arrays(checkpoint: &Checkpoint) -> Vec<NamedArray> {
    let array = |name: &str| NamedArray {
        name: name.to_owned(),
        shape: checkpoint.shape(name).expect("it is there").to_vec(),
        values: checkpoint.read(name).expect("numbers"),
    };
    checkpoint.names().map(array).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A file of this repository.
fn committed(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// A safetensors file with one tensor of three f32, whatever they are.
fn raw(values: [f32; 3]) -> Vec<u8> {
    let header = r#"{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &values.map(f32::to_le_bytes).concat()].concat()
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
fn list_says_what_there_is_and_where() {
    let desk = Desk::new();
    let listed = desk.good(&["list"]);
    for known in KNOWN {
        let row = listed.lines().find(|line| line.starts_with(known.name)).expect("a row");
        has(row, &[known.network, "MiB", known.sha256_prefix(), "not here"]);
        has(&listed, &[known.published_as, &known.url()]);
    }
    let demo = listed.lines().find(|line| line.starts_with("demo-resnet50")).expect("a row");
    has(demo, &["resnet50", "2.9 MiB", "9b8c1a3b", "in the program"]);
    has(&listed, &["demo-googlenet", "cache: ", "caches", "entoptic", "licence: ", "ImageNet"]);

    // The folder of a Mac lies deeper.
    let cache = desk.path(if cfg!(target_os = "macos") { "caches/Library/Caches/entoptic" } else { "caches/entoptic" });
    fs::create_dir_all(&cache).expect("a cache");
    fs::write(cache.join(KNOWN[0].file()), "weights").expect("a file");
    let listed = desk.good(&["list"]);
    assert_eq!(listed.matches("in the cache").count(), 1, "{listed}");
    has(&listed, &[KNOWN[0].name, "in the cache", KNOWN[1].name, "not here"]);
}

#[test]
fn inspect_shows_network_metadata_and_statistics() {
    let desk = Desk::new();
    let shown = desk.good(&["inspect", &committed("weights/demo-resnet50.safetensors")]);
    has(
        &shown,
        &[
            "3022044 bytes",
            "network: resnet50, width 0.25, 10 classes\n",
            "network = resnet50",
            "bn1.bias",
            "F16",
            "[16]",
        ],
    );
    has(&shown, &["267 tensors, 1486106 parameters, 0 values that are not finite"]);

    let shown = desk.good(&["inspect", &committed("tests/fixtures/checkpoints/tiny_zip.pth")]);
    has(&shown, &["network: none that is known here", "tensors", "0 values that are not finite"]);
}

/// Statistics are of the finite values; the others are counted and stop nothing.
#[test]
fn inspect_counts_values_that_are_not_finite() {
    let desk = Desk::new();
    fs::write(desk.path("odd.safetensors"), raw([f32::NAN, -1.5, f32::INFINITY])).expect("written");
    let shown = desk.good(&["inspect", "odd.safetensors"]);
    let row = shown.lines().find(|line| line.starts_with("t ")).expect("a row");
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["t", "F32", "[3]", "-1.500e0", "-1.500e0", "-1.500e0", "2"]
    );
    has(&shown, &["1 tensors, 3 parameters, 2 values that are not finite"]);

    fs::write(desk.path("none.safetensors"), raw([f32::NAN; 3])).expect("written");
    has(&desk.good(&["inspect", "none.safetensors"]), &["- ", "- ", "- ", "3 values that are not finite"]);
}

#[test]
fn inspect_says_what_does_not_fit() {
    let desk = Desk::new();
    desk.demo("less.safetensors", |arrays, _| arrays.retain(|array| array.name != "fc.bias"));
    has(&desk.good(&["inspect", "less.safetensors"]), &["network: resnet50, but", "missing: fc.bias", "266 tensors"]);
}

/// A file's words cannot move the cursor or change colours.
#[test]
fn inspect_shows_no_control_characters() {
    let desk = Desk::new();
    desk.demo("x.safetensors", |_, metadata| {
        metadata.insert("note".into(), "\u{1b}[31mred\n".repeat(40));
    });
    let shown = desk.good(&["inspect", "x.safetensors"]);
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let note = shown.lines().find(|line| line.starts_with("note = ")).expect("a line");
    assert!(note.ends_with('…') && note.chars().count() < 120, "{note}");
}

/// As with `| head`.
#[test]
fn inspect_ends_quietly_when_nobody_reads_on() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.args(["weights", "inspect", &committed("weights/demo-resnet50.safetensors")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn convert_keeps_numbers_and_metadata() {
    let desk = Desk::new();
    let source = committed("weights/demo-resnet50.safetensors");
    desk.demo("full.safetensors", |arrays, _| {
        arrays.push(NamedArray { name: "bn1.num_batches_tracked".into(), shape: vec![], values: vec![7.0] });
    });
    let original = Checkpoint::open(Path::new(&source)).expect("readable");
    for (file, arguments, dtype) in
        [("full.safetensors", vec![], "F32"), ("full.safetensors", vec!["--f16"], "F16"), (&source, vec![], "F32")]
    {
        let printed = desk.good(&[&["convert", file, "out.safetensors"][..], &arguments].concat());
        assert_eq!(printed, "out.safetensors\n");
        let converted = Checkpoint::open(&desk.path("out.safetensors")).expect("readable");
        assert_eq!(converted.metadata(), original.metadata());
        assert_eq!(converted.dtype("fc.bias"), Some(dtype));
        assert!(arrays(&converted) == arrays(&original), "{file} {arguments:?}");
    }
}

#[test]
fn convert_reads_files_of_pytorch() {
    let desk = Desk::new();
    for file in ["tiny_zip.pth", "tiny_legacy.pth", "tiny_nested_zip.pth"] {
        let source = committed(&format!("tests/fixtures/checkpoints/{file}"));
        desk.good(&["convert", &source, "out.safetensors"]);
        let mut expected = arrays(&Checkpoint::open(Path::new(&source)).expect("readable"));
        expected.retain(|array| !array.name.ends_with("num_batches_tracked"));
        let converted = Checkpoint::open(&desk.path("out.safetensors")).expect("readable");
        assert!(arrays(&converted) == expected, "{file}");
    }
}

#[test]
fn convert_replaces_nothing_when_it_fails() {
    let desk = Desk::new();
    fs::write(desk.path("out.safetensors"), "old").expect("written");
    fs::write(desk.path("nan.safetensors"), raw([0.0, f32::NAN, 0.0])).expect("written");
    fs::write(desk.path("big.safetensors"), raw([0.0, 1e6, 0.0])).expect("written");
    let bad = committed("tests/fixtures/checkpoints/bad_system_zip.pth");
    for (arguments, words) in [
        (vec!["convert", "nan.safetensors", "out.safetensors"], ["tensor t holds NaN", "at index 1"]),
        (vec!["convert", "big.safetensors", "out.safetensors", "--f16"], ["1000000", "not finite in F16"]),
        (vec!["convert", &bad, "out.safetensors"], ["posix.system", "it was not run"]),
        (vec!["convert", "absent.pth", "out.safetensors"], ["absent.pth", "no such file"]),
        (vec!["convert", "big.safetensors", "nowhere/out.safetensors"], ["nowhere", "no such folder"]),
    ] {
        has(&desk.refused(&arguments), &words);
    }
    assert_eq!(fs::read(desk.path("out.safetensors")).expect("there"), b"old");
    assert_eq!(fs::read_dir(desk.0.path()).expect("a folder").count(), 3, "nothing else is left behind");
}

#[test]
fn verify_accepts_good_networks() {
    let desk = Desk::new();
    for (name, tensors, width, sum) in [
        ("resnet50", 267, 0.25, "9b8c1a3b5e010ad999d0ad7725898b1a08bd37121988bc1657173f92f3fa2509"),
        ("googlenet", 287, 0.5, "ef458f313f209ff931c67f4a544e8021ae75b9ae436897c94c7be1d9f77c71bd"),
    ] {
        let said = desk.good(&["verify", &committed(&format!("weights/demo-{name}.safetensors"))]);
        let network = format!("network: {name}, width {width}, 10 classes");
        has(&said, &[&network, &format!("tensors: {tensors}, every number finite"), &format!("sha256: {sum}\n")]);
    }
    // New weights of any width, with side heads.
    for architecture in Structure::all() {
        let heads = architecture.side_heads();
        let sizes = architecture.tensors(0.125, 3, &heads).expect("any width fits");
        let zeros = |(name, shape): (String, Vec<usize>)| {
            let values = vec![0.0; shape.iter().product()];
            NamedArray { name, shape, values }
        };
        let arrays: Vec<NamedArray> = sizes.into_iter().map(zeros).collect();
        write(&desk.path("new.safetensors"), &arrays, &BTreeMap::new(), Precision::F16).expect("written");
        let said = desk.good(&["verify", "new.safetensors"]);
        has(&said, &[&format!("network: {architecture}, width 0.125, 3 classes"), "every number finite"]);
        assert_eq!(said.contains("side heads"), !heads.is_empty(), "{said}");
    }
}

#[test]
fn verify_names_what_is_wrong() {
    let desk = Desk::new();
    // A file under a published name, with other bytes in it.
    desk.demo("resnet50-0676ba61.pth", |_, _| ());
    has(&desk.refused(&["verify", "resnet50-0676ba61.pth"]), &["SHA-256 is ", "0676ba61", "download it again"]);

    desk.demo("shape.safetensors", |arrays, _| {
        let bias = arrays.iter_mut().find(|array| array.name == "bn1.bias").expect("it is there");
        (bias.shape, bias.values) = (vec![5], vec![0.0; 5]);
        arrays.retain(|array| array.name != "layer1.0.bn1.weight");
    });
    let said = desk.refused(&["verify", "shape.safetensors"]);
    has(&said, &["shape.safetensors", "do not fit resnet50", "bn1.bias is [5]"]);
    has(&said, &["missing: layer1.0.bn1.weight"]);

    desk.demo("classes.safetensors", |_, metadata| drop(metadata.insert("classes".into(), "cat,dog".into())));
    has(&desk.refused(&["verify", "classes.safetensors"]), &["metadata lists 2 classes, the network has 10"]);

    desk.demo("name.safetensors", |_, metadata| drop(metadata.insert("network".into(), "googlenet".into())));
    has(&desk.refused(&["verify", "name.safetensors"]), &["metadata says googlenet", "those of resnet50"]);

    // The last number of the file becomes NaN.
    desk.demo("nan.safetensors", |_, _| ());
    let mut bytes = fs::read(desk.path("nan.safetensors")).expect("there");
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(desk.path("nan.safetensors"), &bytes).expect("written");
    has(&desk.refused(&["verify", "nan.safetensors"]), &["nan.safetensors", "holds NaN at index"]);

    fs::write(desk.path("cut.safetensors"), &bytes[..end]).expect("written");
    fs::write(desk.path("other.safetensors"), raw([1.0; 3])).expect("written");
    fs::write(desk.path("page.pth"), "<html>not found</html>").expect("written");
    for (file, words) in [
        ("cut.safetensors", "file is truncated"),
        ("other.safetensors", "those of no network known here"),
        ("page.pth", "is a web page"),
        ("absent.pth", "there is no such file"),
    ] {
        has(&desk.refused(&["verify", file]), &[file, words]);
        if file != "other.safetensors" {
            has(&desk.refused(&["inspect", file]), &[file, words]);
        }
    }
}

#[test]
fn misuse_is_exit_code_2() {
    let desk = Desk::new();
    for arguments in [
        &[][..],
        &["inspect"],
        &["verify"],
        &["convert", "a.pth"],
        &["convert", "a.pth", "b.pth"],
        &["convert", "a.pth", "b.safetensors", "--f64"],
        &["list", "extra"],
    ] {
        let output = desk.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}
