//! `--quiet` and `--verbose` from outside, the same for every command.

use std::fs;
use std::path::Path;
use std::process::Command;

const TINY: &str = r#"
name = "tiny"
description = "Two steps"
normalize = "imagenet"
[init]
kind = "normal"
size = 64
mean = 0.5
std = 0.05
[[stage]]
iterations = 2
rate = [0.03, 0.01]
"#;

/// What a command prints on standard output and on standard error.
fn printed(folder: &Path, arguments: &str) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.current_dir(folder).args(arguments.split_whitespace());
    // Software drivers complain when there is no such folder.
    command.env("XDG_RUNTIME_DIR", folder);
    // What the user has fetched is not used.
    for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
        command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
    }
    let output = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let [out, err] = [output.stdout, output.stderr].map(text);
    assert!(output.status.success(), "{arguments}: {err}");
    [out, err]
}

#[test]
fn quiet_commands_print_results_only_and_verbose_ones_say_more() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::write(folder.join("tiny.toml"), TINY).expect("a recipe");
    for (ask, said, result) in [
        ("generate --model resnet50 --class church --recipe tiny.toml", "recipe: tiny", "church.png"),
        ("outputs --model resnet50 --image church.png", "network: resnet50", "parachute"),
        ("gradient --model resnet50 --image church.png --objective class:church --out g.png", "adapter: ", "g.png"),
        ("layers --model resnet50", "weights demo-resnet50", "layer4.2"),
        ("score church.png --judge resnet50", "network: resnet50", "church.png"),
        ("replay church.png", "adapter: ", "church-again.png"),
        ("recipes", "", "demo-quick"),
        ("weights list", "", "resnet50-0676ba61"),
        ("completions fish", "", "complete -c entoptic"),
        ("man pages", "pages", "pages"),
    ] {
        let [results, usual] = printed(folder, ask);
        assert!(results.contains(result), "{ask}: {results}");
        assert!(usual.contains(said) && !usual.contains("took "), "{ask}: {usual}");
        assert_eq!(printed(folder, &format!("{ask} --quiet")), [results.clone(), String::new()], "{ask}");
        let [same, more] = printed(folder, &format!("--verbose {ask}"));
        assert_eq!(same, results, "{ask}");
        let took = more.lines().last().expect("a line");
        assert!(took.starts_with("took ") && took.ends_with(" s"), "{ask}: {more}");
        // Whoever loads weights tells which.
        let loads = usual.contains("network: ");
        assert_eq!(more.contains("SHA-256 of the weights: "), loads, "{ask}: {more}");
    }
}

/// In a terminal, by util-linux's `script`: whatever it can show, texts have no colours.
#[cfg(target_os = "linux")]
#[test]
fn texts_have_no_colours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for ask in
        ["--help", "generate --class", "recipes", "layers --model vgg", "generate --model resnet50 --class zebra"]
    {
        let ask = format!("'{}' {ask}", env!("CARGO_BIN_EXE_entoptic"));
        let mut command = Command::new("script");
        command.args(["-qec", &ask, "/dev/null"]).current_dir(folder.path());
        command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor").env_remove("NO_COLOR");
        let output = command.output().expect("script");
        assert!(!output.stdout.is_empty() && !output.stdout.contains(&0x1b), "{ask}: {output:?}");
    }
}
