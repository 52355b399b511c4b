//! `--json` from outside: every line, for every command that makes something; and what becomes of what nobody reads.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use entoptic::analysis::softmax;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::Checkpoint;
use serde_json::{Value, json};
use tempfile::TempDir;

const TINY: &str = r#"
name = "tiny"
description = "Twelve steps"
normalize = "imagenet"
[init]
kind = "normal"
size = 64
mean = 0.5
std = 0.05
[[stage]]
iterations = 12
rate = [0.03, 0.01]
step = "normalized"
sigma = [0.8, 0.4]
"#;

/// A folder in which the program runs, with a recipe `tiny.toml`, one that takes too long, and a picture `a.png`.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
        fs::write(desk.path("tiny.toml"), TINY).expect("a recipe");
        fs::write(desk.path("long.toml"), TINY.replace("12", "100000")).expect("a recipe");
        desk.paint("a.png", 0);
        desk
    }

    /// A picture unlike those of other numbers.
    fn paint(&self, name: &str, number: usize) {
        let values = (0..3 * 64 * 64).map(|at| (at * (7 + number) % 101) as f32 / 100.0).collect();
        let picture = Array::new(Shape::new(1, 3, 64, 64), values);
        picture::write_png(&self.path(name), &picture, &[]).expect("a picture");
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

    /// The events of a run that goes well.
    #[track_caller]
    fn events(&self, arguments: &str) -> Vec<Value> {
        let output = self.run(&format!("{arguments} --json"));
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        let events = events(&output);
        assert_eq!((kind(&events[0]), kind(events.last().expect("an event"))), ("start", "done"), "{arguments}");
        let ends = events.iter().filter(|event| ["done", "error"].contains(&kind(event))).count();
        assert_eq!(ends, 1, "{arguments}");
        events
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn kind(event: &Value) -> &str {
    event["event"].as_str().expect("every event has a name")
}

/// All that a run prints; every line is an event.
#[track_caller]
fn events(output: &Output) -> Vec<Value> {
    let printed = text(&output.stdout);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    printed.lines().map(parse).collect()
}

fn of_kind<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| kind(event) == name).collect()
}

#[test]
fn a_run_tells_what_it_does_in_order() {
    let desk = Desk::new();
    let ask = "generate --model resnet50 --class church,golf --seed 5 --recipe tiny.toml --out made --film a.gif";
    let events = desk.events(ask);
    let names: Vec<&str> = events.iter().map(kind).collect();
    let expected = ["start", "prepared", "progress", "progress", "progress", "film", "picture", "picture", "done"];
    assert_eq!(names, expected);

    let start = &events[0];
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&start["seed"], &start["steps"], &start["recipe"]), (&json!(5), &json!(12), &json!("tiny")));
    assert_eq!((&start["networks"][0]["network"], &start["init"]), (&json!("resnet50"), &json!("noise")));
    assert!(start["adapter"]["name"].as_str().is_some_and(|name| !name.is_empty()), "{start}");
    assert_eq!(start["pictures"][1]["objective"]["name"], "golf ball");

    assert!(events[1]["memory"]["shared"].as_u64() > Some(1 << 16) && events[1]["size"] == 64, "{}", events[1]);
    let steps: Vec<_> = of_kind(&events, "progress").iter().map(|event| event["step"].clone()).collect();
    assert_eq!(steps, [5, 10, 12]);
    for progress in of_kind(&events, "progress") {
        let numbers = |key: &str| progress[key].as_array().expect("a list").iter().filter(|n| n.is_f64()).count();
        assert_eq!((numbers("loss"), numbers("measured")), (2, 2), "{progress}");
        assert_eq!((&progress["measure"], &progress["steps"]), (&json!("logit"), &json!(12)));
        assert!(progress["seconds"].as_f64() > Some(0.0));
        assert_eq!(progress["seconds_left"].as_f64() == Some(0.0), progress["step"] == 12, "{progress}");
    }
    assert_eq!((&events[5]["file"], &events[5]["frames"]), (&json!("a.gif"), &json!(12)));

    // What it says of a picture is what `outputs` says of its file.
    for (event, class) in of_kind(&events, "picture").into_iter().zip([4, 8]) {
        assert_eq!((&event["complete"], &event["steps"], &event["size"]), (&json!(true), &json!(12), &json!(64)));
        let file = event["file"].as_str().expect("a file");
        let told = &event["probabilities"][0];
        assert_eq!((&told["network"], &event["objective"]["class"]), (&json!("resnet50"), &json!(class)));
        desk.run(&format!("outputs --model resnet50 --image {file} --out o.safetensors"));
        let logits = Checkpoint::open(&desk.path("o.safetensors")).expect("a file").read("logits").expect("numbers");
        let probabilities = softmax(&logits);
        let told = told["classes"].as_array().expect("a list");
        assert!(told.len() >= 5 && told.iter().any(|entry| entry["class"] == class), "{event}");
        for entry in told {
            let index = entry["class"].as_u64().expect("a number") as usize;
            let apart = entry["probability"].as_f64().expect("a number") - f64::from(probabilities[index]);
            assert!(apart.abs() < 1e-6, "{entry}: {}", probabilities[index]);
        }
    }
}

/// Each command's events, where they differ from those of `generate`.
#[test]
fn every_command_that_makes_pictures_tells_of_them() {
    let desk = Desk::new();
    let two = "--model googlenet --minus resnet50";
    for (ask, kind, files) in [
        (format!("difference {two} --class church"), "difference", &["church-difference.png"][..]),
        ("match --model resnet50 --image a.png".into(), "match", &["a-seen.png"]),
        ("opposite --model resnet50 --class church".into(), "opposite", &["church-opposite.png"]),
        ("blend --model resnet50 --from church --to tench".into(), "blend", &["church-to-tench.png"]),
        ("merge --model resnet50 --class church --class tench".into(), "merge", &["church-and-tench.png"]),
        ("feature --model resnet50 --layer layer2 --channel 3".into(), "feature", &["layer2-3.png"]),
        ("dream --model resnet50 --layer layer2 --image a.png".into(), "dream", &["layer2.png"]),
        (
            "match --model googlenet --target-model resnet50 --class church".into(),
            "match",
            &["church-by-resnet50.png", "church-matched.png"],
        ),
    ] {
        let events = desk.events(&format!("{ask} --recipe tiny.toml"));
        let pictures = of_kind(&events, "picture");
        let made: Vec<&str> = pictures.iter().filter_map(|event| event["file"].as_str()).collect();
        assert_eq!(made, files, "{ask}");
        assert_eq!(of_kind(&events, "start").len(), files.len(), "{ask}");
        assert!(files.iter().all(|file| desk.path(file).exists()), "{ask}");
        assert_eq!(pictures.last().expect("a picture")["objective"]["kind"], kind, "{ask}");
        match kind {
            "match" => {
                let distance = of_kind(&events, "distance")[0];
                assert!(distance["picture"].as_f64() < distance["start"].as_f64(), "{distance}");
            }
            "blend" => assert_eq!(of_kind(&events, "film").len(), 2),
            _ => {}
        }
    }
}

#[test]
fn a_gallery_tells_of_its_pictures_and_of_those_that_are_there() {
    let desk = Desk::new();
    let ask = "gallery --model resnet50 --classes 3,4,5 --batch 2 --recipe tiny.toml --out made";
    let told = desk.events(ask);
    assert_eq!((&told[0]["all"], &told[0]["done"], &told[0]["objective"]), (&json!(3), &json!(0), &json!("class")));
    let pictures = of_kind(&told, "picture");
    assert_eq!(pictures.iter().map(|event| event["index"].as_u64()).collect::<Vec<_>>(), [Some(3), Some(4), Some(5)]);
    for picture in pictures {
        assert!(desk.path(picture["file"].as_str().expect("a path")).exists(), "{picture}");
        assert_eq!(picture["networks"][0]["network"], "resnet50");
    }
    let progress = of_kind(&told, "progress");
    assert_eq!((&progress[0]["batch"], &progress[0]["done"]), (&json!(2), &json!(0)));
    assert!(progress.iter().any(|event| event["done"] == 2 && event["batch"] == 1), "{progress:?}");
    let end = &of_kind(&told, "gallery")[0];
    assert_eq!((&end["file"], &end["pictures"], &end["failed"]), (&json!("made"), &json!(3), &json!(0)));
    let again = desk.events(ask);
    assert_eq!((&again[0]["done"], of_kind(&again, "picture").len()), (&json!(3), 0));
}

#[test]
fn training_tells_of_its_steps_epochs_and_weights() {
    let desk = Desk::new();
    let towards =
        "train --student resnet50 --teacher googlenet --images a.png --size 64 --steps 12 --out s.safetensors";
    let events = desk.events(towards);
    let names: Vec<&str> = events.iter().map(kind).collect();
    assert_eq!(names, ["start", "prepared", "progress", "progress", "weights", "done"]);
    assert_eq!(
        (&events[0]["student"]["network"], &events[0]["teacher"]["network"]),
        (&json!("resnet50"), &json!("googlenet"))
    );
    assert_eq!((&events[3]["step"], &events[4]["file"]), (&json!(12), &json!("s.safetensors")));
    assert!(events[4]["loss"]["last"].as_f64() < events[4]["loss"]["first"].as_f64(), "{}", events[4]);

    for (part, count) in [("train", 4), ("val", 2)] {
        for (class, offset) in [("church", 0), ("tench", 10)] {
            let folder = format!("data/{part}/{class}");
            fs::create_dir_all(desk.path(&folder)).expect("a folder");
            (0..count).for_each(|number| desk.paint(&format!("{folder}/{number}.png"), offset + number));
        }
    }
    let labels = "train --model googlenet --width 0.1 --data data --size 64 --batch 4 --epochs 2 --out l.safetensors";
    let events = desk.events(labels);
    let epochs = of_kind(&events, "epoch");
    assert_eq!(epochs.iter().map(|event| event["epoch"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert!(epochs.iter().all(|event| event["accuracy"].is_f64() && event["best"].is_boolean()), "{epochs:?}");
    assert_eq!(events[0]["classes"], json!(["church", "tench"]));
    assert_eq!(of_kind(&events, "weights")[0]["file"], "l.safetensors");
}

#[test]
fn errors_are_the_last_event_with_the_text_of_standard_error() {
    let desk = Desk::new();
    for (ask, code) in [
        ("generate --model resnet50 --class zebra", 1),
        ("train --student resnet50 --teacher googlenet --images absent.png --out s.safetensors", 1),
        ("generate --model resnet50 --class", 2),
        ("dream --model vgg --layer x --image a.png", 2),
    ] {
        // Where the argument stands does not matter.
        let (command, rest) = ask.split_once(' ').expect("arguments");
        let output = desk.run(&format!("-q {command} --json {rest}"));
        assert_eq!(output.status.code(), Some(code), "{ask}");
        let events = events(&output);
        let last = events.last().expect("an event");
        assert_eq!((kind(last), &last["exit_code"]), ("error", &json!(code)), "{ask}");
        let said = text(&output.stderr);
        let said = said.strip_prefix("error: ").expect("an error").trim_end();
        assert_eq!(last["text"], said, "{ask}");
    }
    // Whoever did not ask for events gets none.
    assert!(desk.run("generate --model resnet50 --class").stdout.is_empty());
    assert!(desk.run("accuracy --json --model resnet50").stdout.is_empty());
    let help = desk.run("generate --json --help");
    assert!(help.status.success() && text(&help.stdout).contains("Usage: "), "{help:?}");
}

#[cfg(unix)]
mod unheard {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    #[test]
    fn a_stopped_run_tells_of_the_picture_so_far() {
        let desk = Desk::new();
        let mut command = desk.command("generate --model resnet50 --class church --recipe long.toml --json");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut printed = String::new();
        while !printed.contains("\"progress\"") {
            assert_ne!(lines.read_line(&mut printed).expect("UTF-8"), 0, "{printed}");
        }
        let pressed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
        assert!(pressed.success());
        lines.read_to_string(&mut printed).expect("UTF-8");
        assert_eq!(child.wait().expect("an end").code(), Some(1));
        let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        let [.., made, error] = &events[..] else { panic!("{printed}") };
        assert_eq!((kind(made), &made["complete"], &made["file"]), ("picture", &json!(false), &json!("church.png")));
        assert_eq!(kind(error), "error");
        assert!(error["text"].as_str().is_some_and(|text| text.starts_with("stopped after ")), "{error}");
    }

    /// Runs the program, reads one line and listens no more.
    fn first_line(desk: &Desk, arguments: &str) -> (String, Output) {
        let mut command = desk.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("UTF-8");
        (line, child.wait_with_output().expect("an end"))
    }

    #[test]
    fn a_run_whose_events_nobody_reads_ends_with_what_it_has() {
        let desk = Desk::new();
        let (line, output) =
            first_line(&desk, "-q generate --model resnet50 --class church --recipe long.toml --json --film a.gif");
        assert!(line.contains("\"start\""), "{line}");
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
        assert_eq!(picture::read(&desk.path("church.png")).expect("the picture so far").shape.h(), 64);
        assert_eq!(fs::read_dir(desk.0.path()).expect("a folder").count(), 5, "and no file with a temporary name");
    }

    #[test]
    fn tables_that_nobody_reads_to_the_end_are_no_panic() {
        let desk = Desk::new();
        let mut child = desk
            .command("-q layers --model resnet50")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an end");
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_in_one_line() {
        let desk = Desk::new();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a disk without room");
        let output = desk.command("-q layers --model resnet50").stdout(full).stderr(Stdio::piped()).output();
        let output = output.expect("the program starts");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("error: printing to stdout: "), "{said}");
    }
}
