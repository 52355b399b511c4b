//! Films and previews from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use entoptic::picture;
use entoptic::tensor::Array;
use image::AnimationDecoder;
use image::codecs::png::PngDecoder;
use tempfile::TempDir;

/// Two sizes, and everything that makes pictures differ: noise, crops, blur.
const TINY: &str = r#"
name = "tiny"
description = "Six steps in two sizes"
normalize = "imagenet"
[init]
kind = "normal"
size = 48
mean = 0.5
std = 0.05
[[stage]]
iterations = 3
rate = [0.05, 0.03]
step = "normalized"
sigma = [0.8, 0.4]
[[stage]]
size = 64
iterations = 3
rate = [0.03, 0.01]
step = "normalized"
sigma = [0.8, 0.4]
crop = 56
"#;

/// A folder in which the program runs, with a recipe `tiny.toml`, and one that takes too long.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
        fs::write(desk.path("tiny.toml"), TINY).expect("a recipe");
        fs::write(desk.path("long.toml"), TINY.replace("iterations = 3", "iterations = 100000")).expect("a recipe");
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

    #[track_caller]
    fn good(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn picture(&self, name: &str) -> Array {
        picture::read(&self.path(name)).expect("a picture")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Bytes of the frames of an animated PNG, red, green, blue.
fn frames(file: &Path) -> Vec<Vec<u8>> {
    let file = std::io::BufReader::new(fs::File::open(file).expect("a film"));
    let decoder = PngDecoder::new(file).expect("a PNG").apng().expect("an animated one");
    let rgb = |frame: image::Frame| image::DynamicImage::from(frame.into_buffer()).into_rgb8().into_raw();
    decoder.into_frames().map(|frame| rgb(frame.expect("a frame"))).collect()
}

/// The same of a PNG.
fn bytes(file: &Path) -> Vec<u8> {
    image::open(file).expect("a picture").into_rgb8().into_raw()
}

#[test]
fn films_are_made_in_each_form_with_the_same_frames() {
    let desk = Desk::new();
    let films = "--film a.gif --film a.apng --film frames --frames 3";
    let printed = desk.good(&format!("generate --model resnet50 --class church --recipe tiny.toml {films}"));
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["a.gif", "a.apng", "frames", "church.png"]);
    let pictures = ["0000.png", "0001.png", "0002.png"].map(|name| bytes(&desk.path("frames").join(name)));
    assert_eq!(fs::read_dir(desk.path("frames")).expect("a folder").count(), 3);
    assert!(frames(&desk.path("a.apng")) == pictures, "one film has other frames than the other");
    assert!(pictures[0].len() == 64 * 64 * 3 && pictures[0] != pictures[1] && pictures[1] != pictures[2]);
    assert!(pictures[2] == bytes(&desk.path("church.png")), "the last one is the picture");
    let mut gif = gif::Decoder::new(fs::File::open(desk.path("a.gif")).expect("a film")).expect("a GIF");
    let count = std::iter::from_fn(|| gif.next_frame_info().expect("a frame").map(|_| ())).count();
    assert_eq!(((gif.width(), gif.height()), count), ((64, 64), 3));
    // Nothing but what was asked for: no file with a temporary name.
    assert_eq!(fs::read_dir(desk.0.path()).expect("a folder").count(), 6);
}

/// Rows of ten classes in which anything is red.
fn red_rows(page: &Array) -> Vec<usize> {
    let [_, _, h, w] = page.shape.0;
    let red = |y: usize, x: usize| {
        let value = |c: usize| page.values[(c * h + y) * w + x];
        value(0) > 0.8 && value(1) < 0.15 && value(2) < 0.15
    };
    // The title has a row of its own.
    (0..10).filter(|row| (199..w).any(|x| red(6 + (row + 1) * 17 + 8, x))).collect()
}

#[test]
fn films_with_logits_show_the_class_in_red() {
    let desk = Desk::new();
    let film = |class: &str, folder: &str| {
        let ask = "--recipe tiny.toml --frames 2 --film-logits";
        desk.good(&format!("generate --model resnet50 --model googlenet --class {class} {ask} --film {folder}"));
        [0, 1].map(|index| desk.picture(&format!("{folder}/000{index}.png")))
    };
    let [first, last] = film("church", "of-church");
    assert_eq!((first.shape, last.shape.h()), (last.shape, 199));
    assert_eq!(red_rows(&last), [4]);
    assert_eq!(red_rows(&film("tench", "of-tench")[1]), [0]);
    let aim = "--from tench --to parachute --recipe tiny.toml --frames 2 --film-logits --film of-both";
    desk.good(&format!("blend --model resnet50 {aim}"));
    assert_eq!(red_rows(&desk.picture("of-both/0001.png")), [0, 9]);

    let output = desk.run("generate --model resnet50 --class church --recipe tiny.toml --film-logits");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with("error: --film-logits needs a --film\n"));
}

#[test]
fn what_is_no_film_and_no_preview_is_refused_before_the_run() {
    let desk = Desk::new();
    let refused = |arguments: &str| {
        let output = desk.run(&format!("-q generate --model resnet50 --class church --recipe long.toml {arguments}"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments}");
        text(&output.stderr)
    };
    let said = refused("--film a.mp4");
    assert_eq!(said, "error: a.mp4: a film is a .gif or .apng file, or a folder for numbered PNG files\n");
    assert_eq!(refused("--preview-file a.jpg"), "error: --preview-file a.jpg: pictures are written as .png\n");
    assert!(refused("--preview-file absent/a.png").contains("there is no such folder"));
    assert!(refused("--preview-file church.png").contains("is where the picture itself goes"));
    assert_eq!(desk.run("generate --model resnet50 --class church --preview=etching").status.code(), Some(2));
    assert_eq!(fs::read_dir(desk.0.path()).expect("a folder").count(), 2, "nothing was begun");
}

#[test]
fn previews_are_said_to_be_nowhere_once_and_written_to_a_file() {
    let desk = Desk::new();
    let ask = "generate --model resnet50 --class church --recipe tiny.toml --preview --preview-file now.png";
    let output = desk.run(ask);
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert_eq!(said.matches("no preview: standard error is not a terminal").count(), 1, "{said}");
    assert!(!said.contains('\x1b'), "{said}");
    assert!(desk.picture("now.png") == desk.picture("church.png"), "the last preview is the picture");
    assert_eq!(text(&output.stdout), "church.png\n");
}

#[test]
fn previews_are_drawn_in_one_place() {
    let desk = Desk::new();
    let output = desk.run("generate --model resnet50 --class church --recipe tiny.toml --preview=blocks");
    let said = text(&output.stderr);
    // 80 x 24 where there is no terminal to ask: 21 rows, made once.
    assert_eq!(said.matches(&"\n".repeat(21)).count(), 1, "{said:?}");
    let drawn = said.matches("\r\x1b[21A\x1b7\x1b[38;").count();
    assert!(drawn >= 2 && said.matches("\x1b8\x1b[21B").count() == drawn, "{said:?}");
    assert_eq!(said.matches('▀').count(), drawn * 21 * 42);
    assert_eq!((said.matches("\x1b[?25l").count(), said.matches("\x1b[?25h").count()), (1, 1), "{said:?}");
    assert!(said.rfind('▀') < said.find("\x1b[?25h"));
    assert!(output.status.success() && text(&output.stdout) == "church.png\n");
}

/// A terminal of its own for the program, by util-linux's `script`.
#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_the_preview_is_shown_unless_it_knows_no_more_than_text() {
    let desk = Desk::new();
    let shown = |term: &str| {
        let program = env!("CARGO_BIN_EXE_entoptic");
        let ask = format!("'{program}' generate --model resnet50 --class church --recipe tiny.toml --preview");
        let mut command = Command::new("script");
        command.args(["-qec", &ask, "/dev/null"]).current_dir(desk.0.path());
        command.env("TERM", term).env("NO_COLOR", "1").env_remove("TMUX").env_remove("STY");
        text(&command.output().expect("script").stdout)
    };
    let drawn = shown("xterm-256color");
    assert!(drawn.contains('▀') && drawn.contains("church.png"), "who asks for it minds no colours: {drawn:?}");
    assert!(drawn.contains("\x1b[?25h") && !drawn.contains("no preview"), "{drawn:?}");
    let plain = shown("dumb");
    assert!(!plain.contains('▀') && !plain.contains("\x1b[?25") && plain.contains("no preview: "), "{plain:?}");
}

#[cfg(unix)]
mod interrupted {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStderr, Stdio};

    /// Starts the program and waits until what it says has a word.
    fn started(desk: &Desk, arguments: &str, word: &str) -> (Child, BufReader<ChildStderr>, String) {
        let mut command = desk.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains(word) {
            assert_ne!(lines.read_line(&mut said).expect("UTF-8"), 0, "it ended too early: {said}");
        }
        (child, lines, said)
    }

    fn press(child: &Child) {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    }

    #[test]
    fn a_run_leaves_its_film_and_its_preview() {
        let desk = Desk::new();
        let ask = "generate --model resnet50 --class church --recipe long.toml --frames 100000 --film a.apng";
        let (mut child, mut lines, mut said) =
            started(&desk, &format!("-v {ask} --preview-file now.png"), "kernel launches");
        // Replaced all the time, and whole at any moment.
        let mut seen = vec![];
        while seen.len() < 3 {
            if desk.path("now.png").exists() {
                let now = desk.picture("now.png");
                if !seen.contains(&now) {
                    seen.push(now);
                }
            }
        }
        press(&child);
        lines.read_to_string(&mut said).expect("UTF-8");
        assert_eq!(child.wait().expect("an end").code(), Some(1), "{said}");
        assert!(said.contains("the picture so far is in church.png"), "{said}");
        assert!(desk.picture("now.png") == desk.picture("church.png"));
        let film = frames(&desk.path("a.apng"));
        assert!(film.len() > 3, "{}", film.len());
        // Frames have the size that the picture would have had at the end.
        assert!(film.iter().all(|frame| frame.len() == 64 * 64 * 3));
        assert_eq!(fs::read_dir(desk.0.path()).expect("a folder").count(), 5, "no file with a temporary name is left");
    }

    #[test]
    fn a_preview_gives_the_terminal_back() {
        let desk = Desk::new();
        let large = TINY.replace("size = 48", "size = 400").replace("iterations = 3", "iterations = 1000");
        fs::write(desk.path("large.toml"), large).expect("a recipe");
        for (times, code) in [(1, 1), (2, 130)] {
            let ask = "generate --model resnet50 --class church --recipe large.toml --preview=blocks";
            let (mut child, mut lines, mut said) = started(&desk, ask, "\x1b[?25l");
            press(&child);
            // A signal that comes while the same one is waiting is lost, so the second one is sent until the program ends.
            while times == 2 && child.try_wait().expect("a child").is_none() {
                std::thread::sleep(std::time::Duration::from_millis(20));
                press(&child);
            }
            lines.read_to_string(&mut said).expect("UTF-8");
            assert_eq!(child.wait().expect("an end").code(), Some(code), "{said}");
            let (hidden, back) = (said.rfind("\x1b[?25l"), said.rfind("\x1b[0m\x1b[?25h"));
            assert!(back > hidden && said.rfind('▀') < back, "{said:?}");
        }
    }
}
