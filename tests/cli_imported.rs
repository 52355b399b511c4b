//! The program on networks that files describe.

// Compiled into each test program, of which each uses a part.
mod common;

use std::path::Path;
use std::process::Command;

use common::fixture::path;

/// What the program prints on both channels; it must succeed.
fn run(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).current_dir(folder).args(words);
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

fn file(name: &str) -> String {
    path(&format!("imported/{name}")).display().to_string()
}

#[test]
fn layers_are_listed_by_the_paths_of_modules_in_every_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for form in ["pt2", "ts.onnx", "onnx"] {
        let text = run(folder.path(), &["layers", "--weights", &file(&format!("resnet.{form}"))]);
        for line in ["conv1 ", "layer1.0.conv2 ", "layer1.0 ", "layer4 ", "fc "] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{form}: {line}: {text}");
        }
        assert!(text.contains("2 x 1 x 1") || text.contains("10 x 1 x 1"), "{text}");
    }
}

#[test]
fn pictures_are_made_looked_at_and_made_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names: Vec<String> = (0..10).map(|index| format!("thing {index}, or so")).collect();
    std::fs::write(folder.path().join("names.txt"), names.join("\n")).expect("written");
    let recipe = "name = \"short\"\ndescription = \"three steps\"\nnormalize = \"imagenet\"\n\n[init]\nkind = \"normal\"\nsize = 64\nmean = 0.5\nstd = 0.05\n\n[[stage]]\niterations = 3\nrate = [0.05, 0.05]\n\
                  step = \"normalized\"\nsigma = [0.5, 0.5]\n";
    std::fs::write(folder.path().join("short.toml"), recipe).expect("written");
    // With its weights in another file, which the picture's checksum covers.
    let net = file("resnet.onnx");
    let given = ["--weights", &net, "--class-names", "names.txt"];
    let made =
        ["generate", "--weights", &net, "--class", "3", "--recipe", "short.toml", "--seed", "1", "--out", "a.png"];
    run(folder.path(), &made);
    let text = run(folder.path(), &[&["outputs", "--image", "a.png"][..], &given].concat());
    assert!(text.contains("thing 3, or so"), "{text}");
    run(folder.path(), &["replay", "a.png", "--weights", &net, "--out", "b.png"]);
    let [a, b] = ["a.png", "b.png"].map(|name| std::fs::read(folder.path().join(name)).expect("a picture"));
    assert!(a == b, "the same bytes again");
    run(
        folder.path(),
        &["gradient", "--weights", &net, "--image", "a.png", "--objective", "class:3", "--out", "g.png"],
    );
    run(folder.path(), &["weights", "verify", &net]);
    let text = run(folder.path(), &["weights", "inspect", &net]);
    assert!(text.contains("layer1.0.conv1.weight"), "{text}");
}
