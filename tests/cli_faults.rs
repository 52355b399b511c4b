//! Faults on purpose, met by the program from outside: what the user is told, and that nothing finished is lost.
//!
//! One long file: the faults share a desk, its files and the way the program is started.
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::desk::refusal;
use common::generator::Generator;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::training::State;
use entoptic::weights::Checkpoint;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

/// A recipe of so many steps of `rate`, with what else is asked of its stage.
fn recipe(side: usize, steps: usize, stage: &str) -> String {
    format!(
        "name = \"tiny\"\ndescription = \"For tests\"\nnormalize = \"imagenet\"\n[init]\nkind = \"normal\"\nsize = {side}\n\
         mean = 0.5\nstd = 0.05\n[[stage]]\niterations = {steps}\n{stage}\n"
    )
}

const STEPS: &str = "rate = [0.03, 0.01]\nstep = \"normalized\"";

/// A folder in which the program runs.
struct Desk(TempDir);

impl Desk {
    /// With a picture `a.png`, recipes `tiny.toml` of 6 and `long.toml` of 400 steps.
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
        let array = Array::new(Shape::new(1, 3, 40, 40), Generator { seed: 7 }.blocks(1, 40));
        picture::write_png(&desk.path("a.png"), &array, &[]).expect("a picture");
        desk.put("tiny.toml", recipe(32, 6, STEPS));
        desk.put("long.toml", recipe(32, 400, STEPS));
        desk
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Names of all files and folders.
    fn names(&self) -> BTreeSet<OsString> {
        fs::read_dir(self.0.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.0.path()).env("XDG_RUNTIME_DIR", self.0.path());
        // What the user has fetched is not used; drivers write no caches here.
        for variable in ["XDG_CACHE_HOME", "HOME"] {
            command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        self.equip(command.args(arguments));
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments.split_whitespace()).output().expect("the program starts")
    }

    #[track_caller]
    fn good(&self, arguments: &str) -> Output {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        output
    }

    /// With all files limited to so many pieces of 512 bytes: writing more fails, as on a full disk.
    fn on_a_full_disk(&self, pieces: usize, arguments: &str) -> Output {
        let script = format!("trap '' XFSZ; ulimit -f {pieces}; exec \"$0\" --quiet {arguments}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_entoptic")]).env("MESA_SHADER_CACHE_DISABLE", "true");
        self.equip(&mut shell).output().expect("a shell")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} (in this order) in: {text}"));
        rest = &rest[at + word.len()..];
    }
}

/// Lines of a running program, up to one with these words.
#[track_caller]
fn wait_for(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().expect("a pipe")).lines();
    let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("it ended without a word of {words}"));
}

fn signal(child: &Child, name: &str) {
    let pressed =
        Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).stderr(Stdio::null()).status();
    pressed.expect("kill is there");
}

/// Steps that the metadata of a picture tell, which is whole.
#[track_caller]
fn steps(path: &Path) -> u64 {
    let words = picture::read_metadata(path).unwrap_or_else(|error| panic!("{error}"));
    picture::read(path).unwrap_or_else(|error| panic!("{error}"));
    let run: serde_json::Value = serde_json::from_str(&words["entoptic:run"]).expect("JSON");
    run["steps"].as_u64().expect("a number")
}

#[test]
fn a_run_that_comes_apart_keeps_its_picture() {
    let desk = Desk::new();
    desk.put("runaway.toml", recipe(32, 60, "rate = [1.0, 1.0]\nl2 = 10.0"));
    let make = "generate --model resnet50 --class church --recipe runaway.toml --out x.png";
    let said = refusal(&desk.run(make));
    has(&said, &["failed; the picture after 10 steps is in x.png: loss produced a value that is not finite at step 1"]);
    has(&said, &["--check-finite names the layer"]);
    assert_eq!(steps(&desk.path("x.png")), 10);
    let said = refusal(&desk.run(&format!("{make} --check-finite")));
    has(&said, &["the picture after 10 steps is in x.png: ", " produced a value that is not finite at step 1"]);
    assert!(!said.contains("names the layer"), "{said}");
    // What was there before stays where a run was never good.
    let old = desk.read("x.png");
    desk.put("wild.toml", recipe(32, 60, "rate = [1e6, 1e6]\nl2 = 1e6"));
    let said = refusal(&desk.run("generate --model resnet50 --class church --recipe wild.toml --out x.png"));
    has(&said, &["error: loss produced a value that is not finite at step "]);
    assert!(desk.read("x.png") == old);

    let train = "train --student googlenet --teacher resnet50 --images a.png --steps 40 --out s.safetensors";
    let said = refusal(&desk.run(&format!("{train} --lr 1e8 --checkpoint-every 1")));
    has(&said, &["training came apart; a smaller --lr may hold it together, --check-finite names the layer"]);
    has(&said, &["not finite at step "]);
    if let Ok(state) = State::read(&desk.path("s.state.safetensors")) {
        has(&said, &[&format!("the state after step {} is in s.state.safetensors", state.step)]);
    }
}

#[test]
fn what_looks_wrong_is_warned_of() {
    let desk = Desk::new();
    let warned = |arguments: &str| text(&desk.good(arguments).stderr).matches("warning: ").count();
    for command in [
        "generate --model googlenet --class church --recipe tiny.toml --out x.png",
        "outputs --model inception_v3 --image b.png",
        "gradient --model resnet50 --image b.png --objective class:8 --out g.png",
        "train --student resnet50 --teacher googlenet --images a.png --steps 1 --out s.safetensors",
    ] {
        let array = Array::new(Shape::new(1, 3, 96, 96), Generator { seed: 7 }.blocks(1, 96));
        picture::write_png(&desk.path("b.png"), &array, &[]).expect("a picture");
        assert_eq!(warned(command), 0, "{command}");
        assert_eq!(warned(&format!("{command} --normalize imagenet")), 0, "{command}");
        let output = desk.good(&format!("{command} --normalize source"));
        has(
            &text(&output.stderr),
            &["warning: demo-", "expects other pixel values", "--normalize imagenet fits it better"],
        );
    }
    // Tensors are taken as they are, and may have been normalised before.
    desk.good("outputs --model resnet50 --image a.png --layer conv1 --out t.safetensors");

    // A network in which a layer is silent.
    let weights = Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo-resnet50.safetensors"));
    let weights = weights.expect("the demo weights");
    let arrays: Vec<_> = weights
        .names()
        .map(|name| {
            let mut values = weights.read(name).expect("numbers");
            if name == "layer2.3.bn3.bias" {
                values.fill(-1e6);
            }
            entoptic::weights::NamedArray {
                name: name.into(),
                shape: weights.shape(name).expect("a shape").into(),
                values,
            }
        })
        .collect();
    let precision = entoptic::weights::Precision::F32;
    entoptic::weights::write(&desk.path("dead.safetensors"), &arrays, weights.metadata(), precision).expect("written");
    desk.put("twenty.toml", recipe(32, 20, STEPS));
    let output = desk.good("generate --weights dead.safetensors --class church --recipe twenty.toml --out x.png");
    let said = text(&output.stderr);
    has(
        &said,
        &["warning: no gradient has come to the picture since step ", "it ends at layer2.3, whose values are all zero"],
    );
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
}

#[test]
fn too_little_memory_is_said_before_and_while_it_is_taken() {
    let desk = Desk::new();
    desk.good("generate --model resnet50 --class church --recipe tiny.toml --out x.png");
    let old = desk.read("x.png");
    // A picture is not done in parts, and no adapter binds the four gigabytes that the first layer of this one needs.
    desk.put("large.toml", recipe(8192, 2, STEPS));
    fs::create_dir(desk.path("folder")).expect("a folder");
    let said = refusal(&desk.run("generate --model resnet50 --class church --recipe large.toml --out folder/y.png"));
    has(&said, &["bytes", "the adapter allows", "use a smaller picture"]);
    assert!(desk.read("x.png") == old && !desk.path("folder/y.png").exists());

    // What is enough for a small picture is not for a large one, which alone is not done in parts.
    desk.put("small.toml", recipe(64, 2, STEPS));
    desk.put("wide.toml", recipe(1024, 2, STEPS));
    let make = |name: &str, out: &str| {
        format!("--memory 64 generate --model resnet50 --class church --recipe {name}.toml --out {out}")
    };
    desk.good(&make("small", "small.png"));
    for by_variable in [false, true] {
        let make = make("wide", "folder/y.png");
        let mut command = desk.command(make.split_whitespace().skip(if by_variable { 2 } else { 0 }));
        if by_variable {
            command.env("ENTOPTIC_MEMORY", "64");
        }
        let said = refusal(&command.output().expect("starts"));
        has(&said, &["error: out of GPU memory at ", "use a smaller picture or batch, or another adapter"]);
        assert!(desk.read("x.png") == old && fs::read_dir(desk.path("folder")).expect("made").next().is_none());
    }
    let said = refusal(&desk.run("--memory 1 outputs --model resnet50 --image a.png"));
    has(&said, &["error: ", "out of GPU memory at "]);
}

/// Wherever a limit on the process strikes, in the program, its driver or the driver's compiler, and however the process then ends.
#[test]
fn a_process_that_finds_no_memory_loses_no_picture() {
    let desk = Desk::new();
    let make = "generate --model resnet50 --class church --recipe tiny.toml --out";
    desk.good(&format!("{make} x.png"));
    let mut ends = BTreeSet::new();
    for mebibytes in [16, 64, 150, 250, 400, 600, 1000] {
        let script = format!("ulimit -c 0; ulimit -v {}; exec \"$0\" --quiet {make} x.png --seed 1", mebibytes << 10);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_entoptic")]);
        let output = desk.equip(&mut shell).output().expect("a shell");
        ends.insert(output.status.to_string());
        // The one from before, or the new one, whole: a driver may fall at the very end, when that is written.
        assert_eq!(steps(&desk.path("x.png")), 6, "{mebibytes} MiB: {}", text(&output.stderr));
        entoptic::picture::read(&desk.path("x.png")).unwrap_or_else(|error| panic!("{mebibytes} MiB: {error}"));
    }
    println!("such processes ended by {ends:?}");
}

#[test]
fn a_full_disk_costs_nothing_that_was_there() {
    let desk = Desk::new();
    let make = "generate --model resnet50 --class church --recipe tiny.toml --out x.png";
    let train = "train --student googlenet --teacher resnet50 --images a.png --steps 2 --out s.safetensors";
    let outputs = "outputs --model resnet50 --image a.png --layer layer1.0 --out o.safetensors";
    let gradient = "gradient --model resnet50 --image a.png --objective class:8 --out g.png";
    for command in [&format!("{make} --film f.gif"), train, outputs, gradient] {
        desk.good(command);
    }
    desk.put("speed.md", "what was measured before");
    let kept: Vec<(OsString, Vec<u8>)> =
        desk.names().into_iter().map(|name| (name.clone(), fs::read(desk.path(&name)).expect("a file"))).collect();
    for (pieces, command, file) in [
        (2, make, "x.png"),
        (16, &format!("{make} --seed 9 --film f.gif"), "f.gif"),
        (2, train, "s.state.safetensors"),
        (2, outputs, "o.safetensors"),
        (2, gradient, "g.png"),
        (1, "bench --model googlenet --size 75 --repeats 1 --out speed.md", "speed.md"),
    ] {
        let said = refusal(&desk.on_a_full_disk(pieces, command));
        has(&said, &[file, "File too large (os error 27)"]);
        for (name, content) in &kept {
            // The picture of the run whose film had no room is good, and finished.
            if name == "x.png" && file == "f.gif" {
                assert_eq!(steps(&desk.path("x.png")), 6);
                desk.put("x.png", content);
            }
            assert!(fs::read(desk.path(name)).expect("it stays") == *content, "{command}: {}", name.display());
        }
        assert_eq!(desk.names().len(), kept.len(), "{command} leaves {:?}", desk.names());
    }
    let said = refusal(&desk.run(&make.replace("x.png", "/dev/full")));
    has(&said, &["/dev/full", "pictures are written as .png"]);
}

#[test]
fn a_folder_that_goes_away_does_not_take_the_picture_along() {
    let desk = Desk::new();
    fs::create_dir(desk.path("going")).expect("a folder");
    let make = "generate --model resnet50 --class church,tench --recipe long.toml --out going";
    let mut child = desk.command(make.split_whitespace()).spawn().expect("starts");
    wait_for(&mut child, "step 40/400");
    fs::remove_dir_all(desk.path("going")).expect("it goes");
    let output = child.wait_with_output().expect("it ends");
    let said = refusal(&output);
    has(&said, &["going: there is no such folder", "; the picture is in ", " instead; going"]);
    let places = said.split("the picture is in ").skip(1).map(|rest| rest.split(" instead").next().expect("a path"));
    let places: Vec<&Path> = places.map(Path::new).collect();
    let names: Vec<_> = places.iter().map(|path| path.file_name().expect("a name")).collect();
    assert_eq!(names, ["church.png", "tench.png"]);
    for path in places {
        assert_eq!(steps(path), 400);
        fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
    }

    // Training goes on from what it has written, wherever that is taken.
    let train = "train --student googlenet --teacher resnet50 --images a.png --steps 4000 --checkpoint-every 4";
    fs::create_dir(desk.path("going")).expect("a folder");
    let command = format!("{train} --out going/s.safetensors");
    let child = desk.command(command.split_whitespace()).spawn().expect("starts");
    let state = desk.path("going/s.state.safetensors");
    until(|| state.exists());
    fs::rename(desk.path("going"), desk.path("gone")).expect("it goes");
    let said = refusal(&child.wait_with_output().expect("it ends"));
    let kept = State::read(&desk.path("gone/s.state.safetensors")).expect("whole");
    let words = format!("training failed; the state after step {} is in going/s.state.safetensors: going", kept.step);
    has(&said, &[&words]);
}

/// Longer than anything takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(600);

#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_said_at_once() {
    let desk = Desk::new();
    let closed = desk.path("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("its owner may");
    // The superuser may write everywhere, so the program then runs as nobody, from where nobody may read it.
    let superuser = fs::metadata(&closed).expect("a folder").uid() == 0;
    let program = desk.path("program");
    fs::copy(env!("CARGO_BIN_EXE_entoptic"), &program).expect("a copy");
    fs::set_permissions(desk.0.path(), fs::Permissions::from_mode(0o755)).expect("its owner may");
    for command in [
        "generate --model resnet50 --class church --recipe tiny.toml --out closed/x.png",
        "generate --model resnet50 --class church --recipe tiny.toml --out closed/x.png --film closed/f.gif",
        "generate --model resnet50 --class church,tench --recipe tiny.toml --out closed",
        "outputs --model resnet50 --image a.png --out closed/o.safetensors",
        "gradient --model resnet50 --image a.png --objective class:8 --out closed/g.png",
        "train --student googlenet --teacher resnet50 --images a.png --steps 1 --out closed/s.safetensors",
        "weights convert x.safetensors closed/y.safetensors",
        "bench --out closed/speed.md",
        "demo --out closed",
    ] {
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo-resnet50.safetensors"),
            desk.path("x.safetensors"),
        )
        .expect("weights");
        let mut child = Command::new(&program);
        desk.equip(child.args(command.split_whitespace()));
        if superuser {
            child.uid(65534).gid(65534);
        }
        let output = child.output().expect("starts");
        has(&refusal(&output), &["closed", "Permission denied (os error 13)"]);
        // Before anything slow.
        let said = text(&output.stderr);
        assert!(!said.lines().any(|line| line.starts_with("step ")), "{command}: {said}");
    }
    assert!(fs::read_dir(&closed).expect("a folder").next().is_none());
}

/// Moments at which a signal comes, in milliseconds after the start.
fn moments(seed: u64, last: u64) -> impl Iterator<Item = u64> {
    let mut numbers = ChaCha8Rng::seed_from_u64(seed);
    std::iter::repeat_with(move || numbers.random_range(0..last))
}

#[test]
fn signals_at_any_moment_leave_pictures_whole() {
    let desk = Desk::new();
    let make = |seed: u64, recipe: &str| {
        format!(
            "generate --model resnet50 --class church --seed {seed} --recipe {recipe}.toml --out x.png --film f.gif"
        )
    };
    desk.good(&make(1, "tiny"));
    let mut old = desk.read("x.png");
    // How long such a run takes here, so that signals come at all of its moments.
    desk.put("middle.toml", recipe(32, 40, STEPS));
    let begun = Instant::now();
    desk.good(&make(2, "middle").replace("x.png", "y.png"));
    let whole = begun.elapsed().as_millis() as u64;
    let (mut stopped, mut ended) = (0, 0);
    for (seed, name) in ["INT", "TERM", "KILL"].into_iter().enumerate() {
        for (index, moment) in moments(seed as u64, whole).take(4).enumerate() {
            let run = make(10 + index as u64, "middle");
            let child = desk.command(run.split_whitespace()).spawn().expect("starts");
            std::thread::sleep(Duration::from_millis(moment));
            signal(&child, name);
            let output = child.wait_with_output().expect("it ends");
            let said = text(&output.stderr);
            let context = format!("{name} after {moment} of {whole} ms: {said}");
            assert!(!said.contains("panicked"), "{context}");
            let new = desk.read("x.png");
            let steps = steps(&desk.path("x.png"));
            assert!(fs::read(desk.path("f.gif")).expect("a film").ends_with(b";"), "{context}");
            match (output.status.code(), output.status.signal()) {
                (Some(0), None) => ended += 1,
                // Told before it had begun, or not asked at all.
                (None, Some(_)) => assert!(name == "KILL" || new == old, "{context}"),
                (Some(1), None) => {
                    stopped += 1;
                    has(&said, &[&format!("stopped after {steps} steps; the picture so far is in x.png")]);
                    assert!(new != old && steps <= 40, "{context}");
                }
                other => panic!("{other:?}, {context}"),
            }
            // A process that is killed may leave the beginning of a file under a hidden name, until the next one comes.
            let litter = desk.names().into_iter().filter(|name| name.as_bytes().starts_with(b".entoptic-"));
            let litter: Vec<OsString> = litter.collect();
            assert!(litter.len() <= 2 && (litter.is_empty() || name == "KILL"), "{litter:?}, {context}");
            old = new;
        }
    }
    println!("of 12 runs {stopped} were stopped, {ended} had ended");
    // One that is stopped on any machine.
    let mut child = desk.command(make(1, "long").split_whitespace()).spawn().expect("starts");
    wait_for(&mut child, "step 40/400");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!((40..400).contains(&steps(&desk.path("x.png"))));
    assert!(!desk.names().iter().any(|name| name.as_bytes().starts_with(b".entoptic-")), "{:?}", desk.names());
}

#[test]
fn signals_at_any_moment_lose_no_training_that_was_kept() {
    let train = "train --student googlenet --teacher resnet50 --images a.png --steps 12 --checkpoint-every 3 --lr 1e-4 --adam \
                 --out s.safetensors";
    let undisturbed = Desk::new();
    let begun = Instant::now();
    undisturbed.good(train);
    let whole = begun.elapsed().as_millis() as u64;
    let expected = ["s.safetensors", "s.state.safetensors", "s.csv"].map(|name| undisturbed.read(name));
    for (seed, name) in ["INT", "TERM", "KILL"].into_iter().enumerate() {
        let desk = Desk::new();
        let mut context = String::new();
        // Disturbed twice, the second time with a state at hand, and then left alone.
        for (index, moment) in moments(7 + seed as u64, whole).take(2).enumerate() {
            let state = State::read(&desk.path("s.state.safetensors")).ok();
            let command = format!("{train}{}", if state.is_some() { " --resume" } else { "" });
            let child = desk.command(command.split_whitespace()).spawn().expect("starts");
            if index == 1 {
                until(|| desk.path("s.state.safetensors").exists());
            }
            std::thread::sleep(Duration::from_millis(moment));
            signal(&child, name);
            let output = child.wait_with_output().expect("it ends");
            context += &format!("{name} after {moment} of {whole} ms: {}\n", text(&output.stderr));
            assert!(!context.contains("panicked"), "{context}");
            if desk.path("s.safetensors").exists() {
                let weights =
                    Checkpoint::open(&desk.path("s.safetensors")).unwrap_or_else(|e| panic!("{e}, {context}"));
                weights.names().for_each(|name| assert!(weights.read(name).is_ok(), "{context}"));
            }
            let kept =
                desk.path("s.state.safetensors").exists().then(|| State::read(&desk.path("s.state.safetensors")));
            let kept =
                kept.transpose().unwrap_or_else(|error| panic!("{error}, {context}")).map_or(0, |state| state.step);
            assert!(kept >= state.map_or(0, |state| state.step), "{context}");
        }
        desk.good(&format!("{train} --resume"));
        for (name, expected) in ["s.safetensors", "s.state.safetensors", "s.csv"].into_iter().zip(&expected) {
            assert!(desk.read(name) == *expected, "{name} differs from that of an undisturbed run; {context}");
        }
    }
}

#[test]
fn two_processes_on_one_name_do_not_mix() {
    let desk = Desk::new();
    let make = |seed: u64, out: &str| {
        format!(
            "generate --model resnet50 --class church --seed {seed} --recipe tiny.toml --out {out} --film {out}.gif"
        )
    };
    let alone = [1, 2].map(|seed| {
        desk.good(&make(seed, "alone.png"));
        (desk.read("alone.png"), desk.read("alone.png.gif"))
    });
    for _ in 0..2 {
        let both = [1, 2].map(|seed| desk.command(make(seed, "x.png").split_whitespace()).spawn().expect("starts"));
        for child in both {
            assert!(child.wait_with_output().expect("it ends").status.success());
        }
        // The one or the other, and never a piece of each.
        assert!(alone.iter().any(|(picture, _)| *picture == desk.read("x.png")));
        assert!(alone.iter().any(|(_, film)| *film == desk.read("x.png.gif")));
    }

    let train = "train --student googlenet --teacher resnet50 --images a.png --steps 100000 --checkpoint-every 2 --out s.safetensors";
    let first = desk.command(train.split_whitespace()).spawn().expect("starts");
    until(|| desk.path("s.state.safetensors").exists());
    let said = refusal(&desk.run(train));
    has(&said, &["--out s.safetensors: another process is training into this file; name another, or wait"]);
    let said = refusal(&desk.run(&format!("{train} --resume")));
    has(&said, &["another process is training into this file"]);
    signal(&first, "INT");
    has(&refusal(&first.wait_with_output().expect("it ends")), &["--resume goes on"]);
    assert!(!desk.path("s.safetensors.lock").exists());
    // A process that was killed holds nothing.
    desk.put("s.safetensors.lock", "");
    desk.good("train --student googlenet --teacher resnet50 --images a.png --steps 1 --out s.safetensors");
}

#[test]
fn huge_pictures_are_refused_in_little_memory() {
    let desk = Desk::new();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 20_000, 20_000);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 3, 0]).expect("a piece of pixels");
    drop(writer);
    desk.put("huge.png", &png);
    let mut jpeg = Vec::new();
    let grey = image::GrayImage::from_pixel(16, 16, image::Luma([128]));
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&grey).expect("encoded");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("the start of a frame");
    let side = 20_000u16.to_be_bytes();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[side, side].concat());
    desk.put("huge.jpg", &jpeg);
    assert!(png.len() < 1000 && jpeg.len() < 1000);
    for file in ["huge.png", "huge.jpg"] {
        // Its pixels alone would be 1.2 GB; the program takes a tenth of that before it opens an adapter, and reads pictures first.
        let train =
            format!("train --student googlenet --teacher resnet50 --images {file} --steps 1 --out s.safetensors");
        let script = format!("ulimit -v 1000000; exec \"$0\" {train}");
        let mut shell = Command::new("sh");
        let output = desk.equip(shell.args(["-c", &script, env!("CARGO_BIN_EXE_entoptic")])).output();
        let said = refusal(&output.expect("a shell"));
        has(&said, &[file, "picture is 20000 x 20000 pixels, at most 8192 a side", "shrink it first"]);
        let said = refusal(&desk.run(&format!("outputs --model resnet50 --image {file}")));
        has(&said, &[file, "picture is 20000 x 20000 pixels"]);
    }
}

/// Spaces, quotes, a line break and, where the system allows it, bytes that are no text.
#[test]
fn any_name_of_a_file_will_do() {
    let desk = Desk::new();
    let mut name = b"a 'b' \"c\" $d `e` \\f; --g \n h".to_vec();
    if cfg!(target_os = "linux") {
        name.extend(b" \xff\xfe");
    }
    let odd = |ending: &str| OsString::from(OsStr::from_bytes(&[&name, ending.as_bytes()].concat()));
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo-resnet50.safetensors");
    for (from, ending) in [(desk.path("a.png"), ".png"), (desk.path("tiny.toml"), ".toml"), (demo, ".safetensors")] {
        fs::copy(from, desk.path(odd(ending))).expect("a copy");
    }
    let folder = desk.path(odd(""));
    for class in ["church", "tench"] {
        for part in ["train", "val"] {
            fs::create_dir_all(folder.join(part).join(class)).expect("folders");
            fs::copy(desk.path("a.png"), folder.join(part).join(class).join(odd(".png"))).expect("a copy");
        }
    }
    let file = |ending: &str| Some(odd(ending));
    for (command, written) in [
        ("generate --class church --weights W --recipe T --init P --out P2 --film G --film F2", vec![".2.png"]),
        ("replay P2 --weights W --image P --out P3", vec![".3.png"]),
        ("verify P2 --weights W --image P", vec![]),
        ("generate --class church,tench --model resnet50 --weights W --recipe T --out F2", vec![]),
        ("dream --model googlenet --layer inception3a --image P --recipe T --out P2", vec![".2.png"]),
        ("match --model googlenet --image P --recipe T --out P2", vec![".2.png"]),
        (
            "match --model googlenet --target-model resnet50 --class 8 --target-picture P --recipe T --out P2",
            vec![".2.png"],
        ),
        ("outputs --weights W --image P --out S2", vec![".2.safetensors"]),
        ("gradient --weights W --image P --objective class:8 --out S2", vec![".2.safetensors"]),
        ("gradient --weights W --image P --objective class:8 --out P2", vec![".2.png"]),
        ("layers --weights W", vec![]),
        ("accuracy --weights W --data F --size 40", vec![]),
        ("score P --judge resnet50 --weights W --class church", vec![]),
        ("weights inspect W", vec![]),
        ("weights verify W", vec![]),
        ("weights convert W S2", vec![".2.safetensors"]),
        ("train --weights W --teacher googlenet --images P --steps 1 --out S2", vec![".2.safetensors"]),
        ("train --weights W --teacher googlenet --images P --steps 1 --out S2 --resume", vec![".2.safetensors"]),
        ("train --model resnet50 --width 0.1 --data F --batch 2 --size 32 --steps 1 --out S3", vec![".3.safetensors"]),
        ("bench --model googlenet --size 75 --repeats 1 --out M2", vec![]),
        ("demo --recipe T --out F3 --show none", vec![]),
        ("gallery --weights W --classes 0,4 --recipe T --out F4", vec![".4"]),
        ("gallery --weights W --classes 0,4 --recipe T --shard 1/2 --out F5", vec![]),
        ("gallery --weights W --classes 0,4 --recipe T --shard 2/2 --out F5", vec![]),
        ("gallery merge F5 --out F6", vec![".6"]),
        ("man F7", vec![".7"]),
    ] {
        let argument = |word: &str| {
            let known = match word {
                "P" => file(".png"),
                "P2" => file(".2.png"),
                "P3" => file(".3.png"),
                "W" => file(".safetensors"),
                "S2" => file(".2.safetensors"),
                "S3" => file(".3.safetensors"),
                "T" => file(".toml"),
                "G" => file(".gif"),
                "M2" => file(".2.md"),
                "F" => file(""),
                "F2" => file(".2"),
                "F3" | "F4" | "F5" | "F6" | "F7" => file(&word.replace('F', ".")),
                _ => None,
            };
            known.unwrap_or_else(|| word.into())
        };
        let output = desk.command(command.split_whitespace().map(argument)).output().expect("starts");
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        for ending in written {
            // On standard output byte for byte, so that a script finds it again.
            let line = [odd(ending).as_bytes(), b"\n"].concat();
            assert!(output.stdout.ends_with(&line), "{command}: {}", text(&output.stdout));
            assert!(desk.path(odd(ending)).exists(), "{command}");
        }
    }
    for ending in [".gif", ".2.md", ".2.state.safetensors"] {
        assert!(desk.path(odd(ending)).is_file(), "{ending}");
    }
    for folder in [".2", ".3"] {
        assert!(fs::read_dir(desk.path(odd(folder))).expect("a folder").count() > 1);
    }
    // What is wrong with such files is said too.
    for (arguments, word) in [
        (["outputs", "--model", "resnet50", "--image"], "is not a picture"),
        (["outputs", "--image", "a.png", "--weights"], "is not a file of weights"),
    ] {
        fs::write(desk.path(odd(".none")), "nothing of the kind").expect("written");
        let arguments = arguments.map(OsString::from).into_iter().chain([odd(".none")]);
        let output = desk.command(arguments).output().expect("starts");
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(word) && !said.contains("panicked"), "{said}");
    }
}
