//! A driver that fails on purpose, by `tests/layer/faults.rs`, and what the program makes of it. The adapter of the tests is given
//! out as a card of its own, so that every path is taken that a GPU takes: tiles, tuning, timed launches.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use common::desk::{Desk, files, refusal, text};

/// The folder of the layer and its manifest; none where there is no compiler, which scripts/test.sh says as well.
fn layer() -> Option<&'static Path> {
    static LAYER: OnceLock<Option<PathBuf>> = OnceLock::new();
    LAYER.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layer");
    fs::create_dir_all(&folder).expect("a folder");
    let library = folder.join("libfaults.so");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layer/faults.rs");
    let mut rustc = Command::new(compiler);
    // The loader must not unload it with the last instance, for it counts.
    rustc
        .args(["--edition", "2024", "--crate-type", "cdylib", "-Clink-arg=-Wl,-z,nodelete", source, "-o"])
        .arg(&library);
    let compiled = match rustc.output() {
        Ok(compiled) => compiled,
        Err(error) => {
            println!("NOT TESTED: faults of a driver; rustc does not start: {error}");
            return None;
        }
    };
    assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    let manifest = serde_json::json!({
        "file_format_version": "1.1.2",
        "layer": {
            "name": "VK_LAYER_ENTOPTIC_faults",
            "type": "GLOBAL",
            "library_path": library,
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "fails on purpose",
        },
    });
    fs::write(folder.join("faults.json"), manifest.to_string()).expect("written");
    Some(folder)
}

/// The program under the layer, with these faults.
fn run(desk: &Desk, faults: &[(&str, u64)], arguments: &str) -> Output {
    let mut command = desk.command(arguments);
    command.env("VK_LAYER_PATH", layer().expect("asked before")).env("VK_INSTANCE_LAYERS", "VK_LAYER_ENTOPTIC_faults");
    command.env("FAULTS_DISCRETE", "1");
    for (fault, number) in faults {
        command.env(fault, number.to_string());
    }
    command.output().expect("the program starts")
}

#[track_caller]
fn good(desk: &Desk, faults: &[(&str, u64)], arguments: &str) -> Output {
    let output = run(desk, faults, arguments);
    assert!(output.status.success(), "{faults:?} {arguments}: {}", text(&output.stderr));
    output
}

/// What a command asks of the driver when nothing goes wrong.
struct Counts {
    waits: u64,
    submissions: u64,
    pipelines: u64,
    bytes: u64,
}

#[track_caller]
fn counts(desk: &Desk, arguments: &str) -> Counts {
    let path = desk.path("counts");
    let mut command = desk.command(arguments);
    command.env("VK_LAYER_PATH", layer().expect("asked before")).env("VK_INSTANCE_LAYERS", "VK_LAYER_ENTOPTIC_faults");
    let output = command.env("FAULTS_DISCRETE", "1").env("FAULTS_COUNT", &path).output().expect("it starts");
    assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    let counted = fs::read_to_string(&path).expect("the layer counts");
    let numbers: Vec<u64> = counted.split(' ').map(|number| number.parse().expect("a number")).collect();
    Counts { waits: numbers[0], submissions: numbers[1], pipelines: numbers[2], bytes: numbers[3] }
}

/// A desk with a recipe of twelve steps, if there is a layer.
fn desk() -> Option<Desk> {
    layer()?;
    let desk = Desk::new();
    desk.recipe("tiny.toml", 12, 32);
    for (name, side) in [("a.png", 40), ("b.png", 80), ("c.png", 32)] {
        desk.picture(name, 7, side, None);
    }
    Some(desk)
}

const GENERATE: &str = "generate --no-autotune --model resnet50 --class church --recipe tiny.toml --out x.png";

/// What [`GENERATE`] says when a fault meets it between its first report and its end, which is looked for: before that there is no
/// picture, after it the picture is finished. Whenever it is, it ends in one line, which is `told`.
fn amid_the_steps(desk: &Desk, fault: &str, most: u64, told: &str) -> String {
    let (mut low, mut high) = (1, most);
    while low < high {
        fs::remove_file(desk.path("x.png")).ok();
        let at = low.midpoint(high);
        let said = refusal(&run(desk, &[(fault, at)], GENERATE));
        assert!(said.contains(told), "{fault} {at}: {said}");
        match (said.contains("failed; the picture after "), desk.path("x.png").exists()) {
            (true, there) => {
                assert!(there, "{said}");
                return said;
            }
            (false, true) => high = at,
            (false, false) => low = at + 1,
        }
    }
    panic!("no {fault} of {most} came amid the steps");
}

#[test]
fn a_device_that_is_lost_while_it_is_waited_for_costs_no_picture() {
    let Some(desk) = desk() else { return };
    let Counts { waits, .. } = counts(&desk, GENERATE);
    let said = amid_the_steps(&desk, "FAULTS_WAIT_LOST_AT", waits, "the device was lost during ");
    assert!(said.contains(" steps is in x.png: ") && said.ends_with("another adapter (--adapter)"), "{said}");
}

#[test]
fn a_gallery_whose_device_is_lost_in_a_wait_goes_on_to_the_same_bytes() {
    let Some(desk) = desk() else { return };
    let make = |out: &str| {
        format!("gallery --no-autotune --model resnet50 --classes 0-3 --recipe tiny.toml --batch 2 --out {out}")
    };
    let Counts { waits, .. } = counts(&desk, &make("whole"));
    let said = refusal(&run(&desk, &[("FAULTS_WAIT_LOST_AT", waits * 9 / 10)], &make("parts")));
    assert!(said.starts_with("error: the device was lost during "), "{said}");
    assert_eq!(files(&desk.path("parts"), ".png").len(), 2, "what was finished is there");
    good(&desk, &[], &make("parts"));
    assert!(files(&desk.path("parts"), ".png") == files(&desk.path("whole"), ".png"));
}

#[test]
fn training_whose_device_is_lost_in_a_wait_goes_on_to_the_same_bytes() {
    let Some(desk) = desk() else { return };
    let train = |out: &str| {
        format!(
            "train --no-autotune --student googlenet --teacher resnet50 --images a.png --size 40 --steps 6 \
             --checkpoint-every 2 --out {out}.safetensors"
        )
    };
    let Counts { waits, .. } = counts(&desk, &train("whole"));
    let said = refusal(&run(&desk, &[("FAULTS_WAIT_LOST_AT", waits * 3 / 4)], &train("parts")));
    assert!(
        said.starts_with("error: training failed; the state after step ") && said.contains("lost during"),
        "{said}"
    );
    good(&desk, &[], &format!("{} --resume", train("parts")));
    for ending in ["safetensors", "state.safetensors", "csv"] {
        let [whole, parts] = ["whole", "parts"].map(|name| fs::read(desk.path(&format!("{name}.{ending}"))));
        assert!(whole.expect("written") == parts.expect("written"), "{ending}");
    }
}

/// Small, but it asks for the kernels of a whole network.
const TUNED: &str = "outputs --model resnet50 --image c.png";

/// Moments of which some lie within the tuning: what comes before and after it takes about as long.
fn moments(all: u64) -> [u64; 5] {
    [5, 6, 4, 7, 3].map(|tenths| all * tenths / 10)
}

fn choices(desk: &Desk) -> Vec<String> {
    let folder = desk.path("entoptic");
    if !folder.exists() {
        return vec![];
    }
    files(&folder, ".json").into_values().map(|bytes| text(&bytes)).collect()
}

#[test]
fn a_device_that_is_lost_in_tuning_leaves_nothing_unmeasured_on_disk() {
    let Some(desk) = desk() else { return };
    let all = counts(&desk, TUNED).waits;
    let met = moments(all).into_iter().any(|at| {
        fs::remove_dir_all(desk.path("entoptic")).ok();
        let output = run(&desk, &[("FAULTS_WAIT_LOST_AT", at)], TUNED);
        let said = refusal(&output);
        assert!(said.contains("lost"), "{said}");
        // All layers that were asked for before were measured, and none of those after it is kept.
        let in_tuning = text(&output.stderr).contains("is not used for conv2d.");
        assert!(!in_tuning || choices(&desk).iter().all(|file| !file.contains("\"checked\": false")), "{said}");
        in_tuning
    });
    assert!(met, "no wait of {all} was one of the tuning");
    let said = text(&good(&desk, &[], TUNED).stderr);
    assert!(!said.contains("ended while it ran"), "no process has ended: {said}");
    assert!(choices(&desk).iter().any(|file| file.contains("\"checked\": true")));
}

#[test]
fn a_candidate_that_the_driver_refuses_is_left_out_and_tuning_goes_on() {
    let Some(desk) = desk() else { return };
    let plain = counts(&desk, &format!("--no-autotune {TUNED}")).pipelines;
    let expected = text(&good(&desk, &[], &format!("--no-autotune {TUNED}")).stdout);
    let mut left_out = 0;
    // Those of the weights come first, those of the network itself last.
    for at in [plain / 2 + 4, plain + 2, plain + 3] {
        fs::remove_dir_all(desk.path("entoptic")).ok();
        let output = run(&desk, &[("FAULTS_PIPELINE_AT", at)], TUNED);
        if output.status.success() {
            let said = text(&output.stderr);
            left_out += said.matches("is not used for conv2d.").count();
            assert_eq!(text(&output.stdout).lines().next(), expected.lines().next(), "{said}");
        } else {
            refusal(&output);
        }
    }
    assert!(left_out > 0, "no candidate was refused");
}

#[test]
fn a_candidate_with_which_the_process_ended_is_remembered() {
    let Some(desk) = desk() else { return };
    let all = counts(&desk, TUNED).submissions;
    let marks = || if desk.path("entoptic").exists() { files(&desk.path("entoptic"), ".running").len() } else { 0 };
    let met = moments(all).into_iter().any(|at| {
        fs::remove_dir_all(desk.path("entoptic")).ok();
        let ended = run(&desk, &[("FAULTS_SUBMIT_ABORT_AT", at)], TUNED);
        assert_eq!(ended.status.code(), None, "{}", text(&ended.stderr));
        marks() == 1
    });
    assert!(met, "no submission of {all} was one of the tuning");
    let said = text(&good(&desk, &[], TUNED).stderr);
    assert_eq!(said.matches(": an earlier process ended while it ran").count(), 1, "{said}");
    assert_eq!(marks(), 0);
    let said = text(&good(&desk, &[], TUNED).stderr);
    assert!(!said.contains("is not used for"), "said once: {said}");
}

#[test]
fn a_submission_without_memory_halves_the_batch_of_a_gallery_and_goes_on() {
    let Some(desk) = desk() else { return };
    let make = |out: &str| {
        format!("gallery --no-autotune --model resnet50 --classes 0-3 --recipe tiny.toml --batch 4 --out {out}")
    };
    let Counts { submissions, .. } = counts(&desk, &make("whole"));
    let output = good(&desk, &[("FAULTS_SUBMIT_MEMORY_AT", submissions / 2)], &make("halves"));
    let said = text(&output.stderr);
    assert!(said.contains("out of GPU memory at ") && said.contains("with a new device and batches of 2"), "{said}");
    assert!(files(&desk.path("halves"), ".png") == files(&desk.path("whole"), ".png"));
    // A picture alone cannot be halved, and what is wrong is not called a loss.
    let Counts { submissions, .. } = counts(&desk, GENERATE);
    amid_the_steps(&desk, "FAULTS_SUBMIT_MEMORY_AT", submissions, "out of GPU memory at ");
}

#[test]
fn memory_that_runs_out_anywhere_is_called_so() {
    let Some(desk) = desk() else { return };
    fs::create_dir(desk.path("made")).expect("a folder");
    let make = "generate --no-autotune --model resnet50 --class church --seeds 4 --recipe tiny.toml --out made";
    let Counts { bytes, .. } = counts(&desk, make);
    let whole = files(&desk.path("made"), ".png");
    for sixteenths in [2, 5, 8, 11, 13, 15] {
        let faults = [("FAULTS_MEMORY", bytes * sixteenths / 16)];
        let output = run(&desk, &faults, make);
        if output.status.success() {
            assert!(files(&desk.path("made"), ".png") == whole, "{faults:?}");
        } else {
            let said = refusal(&output);
            assert!(said.contains("out of GPU memory at ") || said.contains("gives no device"), "{faults:?}: {said}");
        }
    }
}

#[test]
fn memory_that_holds_anything_at_first_changes_nothing() {
    let Some(desk) = desk() else { return };
    for network in ["resnet50", "googlenet", "inception_v3"] {
        for (command, out) in [("outputs", "o.safetensors"), ("gradient --objective class:church", "g.safetensors")] {
            let make = format!("{command} --no-autotune --model {network} --image b.png --out {out}");
            good(&desk, &[], &make);
            let clean = fs::read(desk.path(out)).expect("written");
            good(&desk, &[("FAULTS_NAN", 1)], &make);
            assert!(fs::read(desk.path(out)).expect("written") == clean, "{make}");
        }
    }
}
