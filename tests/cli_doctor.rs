//! `entoptic doctor` from outside.

use std::process::{Command, Output};

use serde_json::Value;

fn doctor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.arg("doctor").args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(mut command: Command) -> (Output, String, String) {
    let output = command.output().expect("starts");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn this_adapter_is_examined_and_the_report_says_all_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("report.json");
    let (output, out, err) = run(doctor(&["--report", file.to_str().expect("text")]));
    assert!(output.status.success(), "{out}\n{err}");
    let verdict = out.lines().rfind(|line| !line.is_empty()).expect("a verdict");
    assert!(verdict.contains(" rows right, ") && !out.contains("WRONG"), "{verdict}");
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).expect("a report")).expect("JSON");
    let report = &saved["reports"][0];
    assert_eq!(report["verdict"], "right");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["picture_digest"].as_str().map(str::len), Some(64));
    for word in ["name", "driver", "backend", "class", "max_binding", "workgroup_memory", "features"] {
        assert!(!report["adapter"][word].is_null(), "{word} is not in {}", report["adapter"]);
    }
    let rows = report["rows"].as_array().expect("rows");
    let kernels: Vec<&str> = rows.iter().map(|row| row["kernel"].as_str().expect("a name")).collect();
    // Tiles of each size, what only some adapters are given, updates, whole networks.
    for part in ["conv2d_tiled.forward, conv2d_tiled.reduce", "conv2d_subgroup.", "sgd.plain", "network googlenet"] {
        assert!(kernels.iter().any(|kernel| kernel.starts_with(part)), "{part} is not among {kernels:?}");
    }
    for variant in ["32x32", "64x64", "128x64", "128x128"] {
        assert!(rows.iter().any(|row| row["variant"] == variant), "{variant}");
    }
    // Nothing is so exact that no share of any bound is used.
    let worst = rows.iter().filter_map(|row| row["worst"].as_f64()).fold(0.0, f64::max);
    assert!(worst > 0.1 && worst <= 1.0, "{worst}");
    for row in rows {
        let line = format!("| {} | {} | {} |", text_of(&row["kernel"]), text_of(&row["variant"]), row["cases"]);
        assert!(out.contains(&line), "{line}");
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn what_cannot_be_examined_is_said_before_the_work() {
    let (output, _, err) = run(doctor(&["--report"]));
    assert_eq!(output.status.code(), Some(2), "{err}");
    let (output, out, err) = run(doctor(&["--report", "/no/such/folder/report.json"]));
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""));
    assert!(err.contains("--report") && err.contains("/no/such/folder"), "{err}");
    let (output, _, err) = run(doctor(&["--adapter", "no such card"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("no adapter matches \"no such card\"; there are: 0:"), "{err}");
}

/// Only Vulkan takes its drivers from the environment.
#[cfg(target_os = "linux")]
#[test]
fn no_adapter_is_a_failure() {
    let mut command = doctor(&["--all-adapters"]);
    command.env("VK_DRIVER_FILES", "/no/driver.json").env("VK_ICD_FILENAMES", "/no/driver.json");
    let (output, _, err) = run(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("no GPU adapter found"), "{err}");
}
