//! Faults of the place in which the program runs: who reads what it says, what files are called, what others have left there.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use common::desk::{Desk, text};
use entoptic::picture;

#[cfg(target_os = "linux")]
#[test]
fn standard_error_that_cannot_be_written_costs_no_result() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 3, 32);
    desk.picture("a.png", 1, 40, None);
    desk.picture("church.png", 2, 40, None);
    for (ask, made) in [
        ("generate -m resnet50 --class church --recipe tiny.toml --out x.png --film f.gif", &["x.png", "f.gif"][..]),
        ("gallery -m resnet50 --classes 0,4 --recipe tiny.toml --out g", &["g/0000-tench.png"]),
        (
            "train --student googlenet --teacher resnet50 --images a.png --steps 2 --out s.safetensors",
            &["s.safetensors"],
        ),
        ("gradient -m resnet50 --image a.png --objective class:8 --out d.png", &["d.png"]),
        ("compare -m resnet50 -m googlenet --pictures church.png --out r", &["r/index.html"]),
        ("outputs -m resnet50 --image a.png", &[]),
    ] {
        let usual = desk.good(&format!("{ask} -v"));
        let expected: Vec<Vec<u8>> = made.iter().map(|file| fs::read(desk.path(file)).expect("made")).collect();
        for closed in [false, true] {
            for file in made {
                let top = desk.path(file.split('/').next().expect("a name"));
                if top.is_dir() { fs::remove_dir_all(top) } else { fs::remove_file(top) }.expect("removed");
            }
            fs::remove_file(desk.path("s.state.safetensors")).ok();
            let mut command = desk.command(&format!("{ask} -v"));
            if closed {
                // A pipe that nobody reads any more.
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                command.stderr(writer);
            } else {
                command.stderr(File::options().write(true).open("/dev/full").expect("the device"));
            }
            let output = command.output().expect("the program starts");
            assert_eq!(output.status.code(), Some(0), "{ask}");
            assert_eq!(text(&output.stdout), usual, "{ask}");
            for (file, expected) in made.iter().zip(&expected) {
                assert!(fs::read(desk.path(file)).expect("made") == *expected, "{ask}: {file}");
            }
        }
    }
    // What goes wrong still has its code.
    for (ask, code) in [("outputs -m resnet50 --image none.png", 1), ("outputs --nonsense", 2)] {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        assert_eq!(desk.command(ask).stderr(full).status().expect("starts").code(), Some(code), "{ask}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_files_are_no_commands_to_a_terminal() {
    let desk = Desk::new();
    desk.picture("a.png", 1, 40, None);
    let name = OsStr::from_bytes(b"\x1b[31m\x1b]0;title\x07\xc2\x9b2J.png");
    fs::copy(desk.path("a.png"), desk.path("").join(name)).expect("a copy");
    desk.recipe("tiny.toml", 1, 32);
    let quoted = "$(printf '\\033[31m\\033]0;title\\007\\302\\2332J')";
    let program = env!("CARGO_BIN_EXE_entoptic");
    for ask in [
        format!("outputs -m resnet50 --image \"{quoted}none.png\""),
        format!("outputs -m \"{quoted}\" --image a.png"),
        format!("generate -m resnet50 --class \"{quoted}\" --recipe tiny.toml"),
        format!("generate -m resnet50 --class church --recipe tiny.toml --out \"{quoted}.2.png\""),
        format!("gradient -m resnet50 --image a.png --objective class:8 --out \"{quoted}.3.png\""),
        format!("score \"{quoted}.png\" --judge resnet50 --class church"),
        format!("compare -m resnet50 --pictures \"{quoted}.png\" --out \"{quoted}\""),
        format!("verify \"{quoted}.2.png\""),
        format!("weights inspect \"{quoted}.png\""),
    ] {
        // In a terminal, by util-linux's `script`.
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{program} {ask}"), "/dev/null"]).current_dir(desk.path(""));
        for variable in ["XDG_CACHE_HOME", "HOME"] {
            command.env(variable, desk.path(""));
        }
        let output = command.env("TERM", "xterm").stdin(Stdio::null()).output().expect("script");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains('\u{fffd}') && !said.contains("\x1b[31m"), "{ask}: {said:?}");
        assert!(!said.contains(['\x07', '\u{9b}']) && !said.contains("\x1b]"), "{ask}: {said:?}");
    }
}

#[test]
fn the_largest_seed_is_one_like_any_other() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 1, 32);
    desk.picture("a.png", 1, 40, None);
    let seed = u64::MAX;
    let ask = format!("generate -m resnet50 --class church --recipe tiny.toml --seed {seed}");
    desk.good(&format!("{ask} --out x.png"));
    desk.good(&format!("{ask} --seeds 2 --out many"));
    let pixels = |name: &str| picture::read(&desk.path(name)).expect("a picture");
    assert_eq!(pixels("x.png"), pixels(&format!("many/church-seed{seed}.png")));
    assert_ne!(pixels("x.png"), pixels("many/church-seed0.png"));
    assert!(desk.good("verify x.png").contains("x.png: "));
    desk.good(&format!("demo --recipe tiny.toml --seed {seed} --out demo --show none"));
    desk.good(&format!("gallery -m resnet50 --classes 0,4 --recipe tiny.toml --seed {seed} --out gallery"));
    desk.good(&format!(
        "train -m resnet50 --teacher resnet50 --images a.png --steps 1 --seed {seed} --out s.safetensors"
    ));
}

#[test]
fn what_a_killed_process_left_is_cleared_by_the_next() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 1, 32);
    desk.picture("a.png", 1, 40, None);
    desk.picture("church.png", 2, 40, None);
    let litter = || {
        let names = fs::read_dir(desk.path("")).expect("a folder").flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with(".entoptic-") || name == ".lock");
        names.sort();
        names
    };
    // One that another process is making stays.
    let held = File::create(desk.path(".entoptic-held")).expect("made");
    held.lock().expect("locked");
    for ask in [
        "generate -m resnet50 --class church --recipe tiny.toml --out x.png",
        "gradient -m resnet50 --image a.png --objective class:8 --out d.png",
        "outputs -m resnet50 --image a.png --out o.safetensors",
        "train --student googlenet --teacher resnet50 --images a.png --steps 1 --out s.safetensors",
    ] {
        fs::write(desk.path(".entoptic-left"), "half a file").expect("written");
        desk.good(ask);
        assert_eq!(litter(), [".entoptic-held"], "{ask}");
    }
    drop(held);
    fs::create_dir_all(desk.path(".entoptic-stage/data")).expect("made");
    desk.good("compare -m resnet50 --pictures church.png --out .");
    assert_eq!(litter(), [] as [&str; 0]);
    // Two that make one report do not mix.
    let held = File::create(desk.path(".lock")).expect("made");
    held.lock().expect("locked");
    assert!(
        desk.refused("compare -m resnet50 --pictures church.png --out .").contains("another process is at work in it")
    );
}
