//! `entoptic demo` from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use entoptic::picture;
use entoptic::tensor::Array;
use serde_json::Value;
use tempfile::TempDir;

/// Two steps with everything that makes pictures differ: noise, crops, blur.
const TINY: &str = r#"
name = "tiny"
description = "Two steps"
normalize = "imagenet"
[init]
kind = "normal"
size = 48
mean = 0.5
std = 0.05
[[stage]]
iterations = 2
rate = [0.03, 0.01]
step = "normalized"
sigma = [0.8, 0.4]
crop = 40
"#;

const KINDS: [&str; 5] = ["resnet50", "googlenet", "joint", "difference", "match"];

/// A folder in which the program runs, with a recipe `tiny.toml`.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
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
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    #[track_caller]
    fn good(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn run_of(file: &Path) -> Value {
    let words = picture::read_metadata(file).expect("a picture");
    serde_json::from_str(&words["entoptic:run"]).expect("JSON")
}

/// Pixels of a picture, and those of a sheet where a picture should be: by row and column, of 3 and 5.
fn cut(sheet: &Array, side: usize, (row, column): (usize, usize)) -> Vec<f32> {
    let [_, _, h, w] = sheet.shape.0;
    let (top, left) = (h - (3 - row) * (side + 4), w - (5 - column) * (side + 4));
    let line = |line: usize| {
        let at = (line / side * h + top + line % side) * w + left;
        sheet.values[at..at + side].to_vec()
    };
    (0..3 * side).flat_map(line).collect()
}

#[test]
fn fifteen_pictures_and_a_sheet_are_made_as_the_other_commands_make_them() {
    let desk = Desk::new();
    let printed = desk.good("demo --recipe tiny.toml --seed 3 --out shown");
    assert!(!printed.contains('\x1b'), "not for a file: {printed:?}");
    let rows: Vec<&str> = printed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows[1..6], ["ResNet50", "GoogLeNet", "joint", "difference", "match"], "{printed}");
    let place = format!("all in one as {}", Path::new("shown").join("sheet.png").display());
    assert!(printed.contains(&place), "{printed}");

    let sheet = picture::read(&desk.path("shown/sheet.png")).expect("a sheet");
    assert_eq!(fs::read_dir(desk.path("shown")).expect("a folder").count(), 16);
    for (row, class) in ["English springer", "church", "French horn"].into_iter().enumerate() {
        for (column, kind) in KINDS.into_iter().enumerate() {
            let file = desk.path(&format!("shown/{}-{kind}.png", class.replace(' ', "-")));
            let found = picture::read(&file).expect("a picture");
            assert_eq!((found.shape.h(), found.shape.w()), (48, 48));
            assert!(found.values == cut(&sheet, 48, (row, column)), "{class} {kind} is elsewhere on the sheet");
            let run = run_of(&file);
            assert_eq!((&run["objective"]["name"], &run["seed"], &run["steps"]), (&class.into(), &3.into(), &2.into()));
            let networks = run["networks"].as_array().expect("a list");
            let networks: Vec<&str> = networks.iter().filter_map(|network| network["network"].as_str()).collect();
            let expected: &[&str] = match kind {
                "resnet50" => &["resnet50"],
                "googlenet" | "match" => &["googlenet"],
                _ => &["googlenet", "resnet50"],
            };
            assert_eq!(networks, expected, "{kind}");
            assert!(picture::read_metadata(&file).expect("words")["entoptic:recipe"].contains("name = \"tiny\""));
        }
    }

    let same = |arguments: &str, kind: &str| {
        desk.good(&format!("{arguments} --recipe tiny.toml --seed 3 --out alone.png"));
        let pixels = |name: &str| picture::read(&desk.path(name)).expect("a picture");
        assert!(pixels("alone.png") == pixels(&format!("shown/church-{kind}.png")), "{kind}");
    };
    same("generate --model resnet50 --class church", "resnet50");
    same("generate --model googlenet --model resnet50 --class church", "joint");
    same("difference --model googlenet --minus resnet50 --class church", "difference");
    let aim = "--class church --target-picture shown/church-resnet50.png";
    same(&format!("match --model googlenet --target-model resnet50 {aim}"), "match");
}

#[test]
fn an_earlier_demo_is_replaced_and_other_files_are_not() {
    let desk = Desk::new();
    let mine = Array::filled(entoptic::tensor::Shape::new(1, 3, 4, 4), 0.5);
    let software = [("Software".to_owned(), "entoptic 0.1.0".to_owned())];
    fs::create_dir(desk.path("shown")).expect("a folder");
    let file = desk.path("shown/church-joint.png");
    picture::write_png(&file, &mine, &software).expect("a picture");
    let before = fs::read(&file).expect("bytes");
    let output = desk.run("demo --recipe tiny.toml --out shown");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let name = Path::new("shown").join("church-joint.png");
    let said = format!("error: {}: is there and not from a demo; name another folder (--out)\n", name.display());
    assert_eq!(text(&output.stderr), said);
    assert_eq!(fs::read(&file).expect("bytes"), before);
    assert_eq!(fs::read_dir(desk.path("shown")).expect("a folder").count(), 1, "nothing was begun");

    fs::remove_file(&file).expect("removed");
    fs::write(desk.path("shown/notes.txt"), "mine").expect("a file beside");
    desk.good("demo --recipe tiny.toml --out shown --seed 1");
    let printed = desk.good("demo --recipe tiny.toml --out shown --seed 2 --show blocks");
    assert_eq!(run_of(&file)["seed"], 2);
    assert_eq!(fs::read_to_string(desk.path("shown/notes.txt")).expect("a file"), "mine");
    // 80 x 24 where there is no terminal to ask.
    let blocks = printed.lines().filter(|line| line.contains('▀')).collect::<Vec<_>>();
    assert!(blocks.len() > 15 && blocks.iter().all(|line| line.ends_with("\x1b[0m")), "{printed}");
    assert!(
        printed.contains("rows: English springer, church, French horn; columns: ResNet50, GoogLeNet,"),
        "{printed}"
    );
}

#[test]
fn a_folder_that_cannot_be_is_told_in_one_line() {
    let desk = Desk::new();
    for folder in ["tiny.toml", "tiny.toml/inside"] {
        let output = desk.run(&format!("demo --out {folder}"));
        let err = text(&output.stderr);
        assert_eq!((output.status.code(), err.lines().count()), (Some(1), 1), "{err}");
        assert!(err.starts_with(&format!("error: making folder {folder}: ")), "{err}");
    }
    assert_eq!(desk.run("demo --show etching").status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_keeps_what_it_has() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let desk = Desk::new();
    fs::write(desk.path("long.toml"), TINY.replace("iterations = 2", "iterations = 100000")).expect("a recipe");
    let mut command = desk.command("demo -v --recipe long.toml --out shown");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("kernel launches") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("UTF-8"), 0, "it ended before a step");
    }
    let pressed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(pressed.success());
    let mut said = String::new();
    lines.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(child.wait().expect("an end").code(), Some(1), "{said}");
    let steps = run_of(&desk.path("shown/church-resnet50.png"))["steps"].as_u64().expect("a number");
    assert!(said.contains(&format!("error: stopped after {steps} steps; the picture so far is in ")), "{said}");
    assert_eq!(fs::read_dir(desk.path("shown")).expect("a folder").count(), 3);
}
