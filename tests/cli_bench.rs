//! `entoptic bench` from outside.

use std::process::{Command, Output};

fn entoptic(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entoptic")).arg("bench").args(arguments).output().expect("starts")
}

#[test]
fn the_table_is_printed_and_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("speed.md");
    let out = file.to_str().expect("text");
    let output = entoptic(&["--model", "googlenet", "--size", "75", "--repeats", "1", "--out", out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(&file).expect("the table");
    assert_eq!(String::from_utf8_lossy(&output.stdout), table);
    for part in
        ["GFLOP/s and", "75 px, batch 1, median of 1", "| googlenet | forward |", "| forward + input gradient |"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert_eq!(table.matches("| googlenet |").count(), 2, "{table}");
}

#[test]
fn a_training_step_and_single_kernels_are_measured_where_they_are_asked_for() {
    let output = entoptic(&[
        "--model",
        "googlenet",
        "--size",
        "75",
        "--repeats",
        "1",
        "--pass",
        "input,training",
        "--layers",
        "2",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["| googlenet | forward + input gradient |", "| googlenet | training step |", "host, ms", "conv2d"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let layers = table.split("| first layer and kernel |").nth(1).expect("a table of kernels");
    assert_eq!(layers.lines().skip(2).filter(|line| line.starts_with("| ")).count(), 2, "{table}");
    assert_eq!(table.matches("| googlenet |").count(), 2, "{table}");
}

#[test]
fn what_cannot_be_measured_is_misuse_and_a_bad_file_fails_before_the_work() {
    for arguments in [&["--size", "20"][..], &["--batch", "0"], &["--model", "vgg"], &["--pass", "back"]] {
        assert_eq!(entoptic(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = entoptic(&["--out", "/no/such/folder/speed.md"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("--out") && message.contains("/no/such/folder"), "{message}");
    assert!(output.stdout.is_empty());
}
