//! `entoptic score` from outside.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn score(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures"));
    // Software drivers complain when there is no such folder.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    // What the user has fetched is not used.
    for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
        command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
    }
    command.arg("score").args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[track_caller]
fn good(arguments: &[&str]) -> String {
    let output = score(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_made_picture_is_told_from_noise() {
    let asked =
        ["church.png", "--class", "church", "--judge", "googlenet", "--size", "64", "--photographs", "golf-ball.png"];
    let all: Value = serde_json::from_str(&good(&[&asked[..], &["--json"]].concat())).expect("JSON");
    assert_eq!(all["class"], "church");
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of}"));
    let (made, noise) = (&all["pictures"][0], &all["baselines"]["noise"]);
    let [judged, judged_noise] = [made, noise].map(|scores| &scores["judges"][0]);
    assert_eq!((&made["file"], &judged["network"]), (&"church.png".into(), &"googlenet".into()));
    assert_eq!((number(judged, "top_1"), number(judged, "top_5")), (1.0, 1.0), "{judged}");
    for name in ["probability", "stability"] {
        assert!(number(judged, name) > number(judged_noise, name), "{name}: {all}");
    }
    assert!(number(judged, "statistics") < number(judged_noise, "statistics"), "{all}");
    assert!(number(judged, "worst") <= number(judged, "stability"), "{judged}");
    let [pixels, pixels_noise] = [made, noise].map(|scores| &scores["pixels"]);
    // So few pixels of noise are level only roughly.
    assert!(number(pixels, "slope") < -1.0 && number(pixels_noise, "slope").abs() < 0.5, "{all}");
    for name in ["fine", "variation"] {
        assert!(number(pixels, name) < number(pixels_noise, name), "{name}: {all}");
    }
    assert!(number(&all["baselines"]["photographs"]["judges"][0], "probability") < 0.5, "{all}");
    assert_eq!(all["mean"]["pixels"], made["pixels"]);

    let table = good(&asked);
    let rows: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        rows,
        ["pixels", "church.png", "noise", "photographs", "googlenet", "church.png", "noise", "photographs"],
        "{table}"
    );
}

#[test]
fn mistakes_are_told_in_one_line() {
    let refused = |arguments: &[&str]| {
        let output = score(arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        text(&output.stderr).lines().last().unwrap_or_default().to_owned()
    };
    let asked = ["--class", "church", "--judge", "googlenet", "-q"];
    assert!(refused(&[&["absent.png"], &asked[..]].concat()).contains("absent.png"));
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().to_str().expect("UTF-8");
    assert!(refused(&[&[empty], &asked[..]].concat()).ends_with("there is no .png or .jpg file in it"));
    let usage = score(&["church.png", "--class", "church"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(text(&usage.stderr).contains("--judge"), "{}", text(&usage.stderr));
}
