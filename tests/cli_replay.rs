//! `entoptic replay` and `verify` from outside: every command's picture made again, and changed files told apart.

mod common;

use common::reference::structure;
use std::fs;
use std::path::Path;

use common::desk::{Desk, text};
use common::generator::Generator;
use entoptic::nets::Head;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A desk with a recipe of two steps at 36 pixels and a picture.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 2, 36);
    let image = Array::new(Shape::new(1, 3, 40, 40), Generator { seed: 1 }.input(1, 40));
    picture::write_png(&desk.path("photo.png"), &image, &[]).expect("a picture");
    desk
}

/// Makes a picture again, from another folder so that nothing lies beside it, and compares the files.
#[track_caller]
fn again(desk: &Desk, made: &str, files: &str) {
    fs::create_dir_all(desk.path("elsewhere")).expect("a folder");
    let moved = format!("elsewhere/{made}");
    fs::copy(desk.path(made), desk.path(&moved)).expect("copied");
    let out = format!("again-{made}");
    assert_eq!(desk.good(&format!("replay {moved} --out {out} {files}")), format!("{out}\n"));
    let [first, second] = [made, &out].map(|name| fs::read(desk.path(name)).expect("a picture"));
    assert!(first == second, "{made}: another file comes out");
    let said = desk.good(&format!("verify {moved} {files}"));
    assert_eq!(said, format!("{moved}: comes out the same, bit by bit, on the same adapter by the same version\n"));
}

#[test]
fn each_command_s_picture_is_made_again() {
    let desk = desk();
    desk.narrow("g.safetensors", (structure("googlenet"), &[Head::Side("aux1")]), 1, |_| {});
    let recipe = "--recipe tiny.toml --seed 5";
    for command in [
        "generate -m googlenet --class church --out a.png",
        "generate -w g.safetensors --head aux1 --class tench --constant 90 --normalize source --out b.png",
        "generate -m googlenet --weight 0.3 -m resnet50 -w demo-plain --class church --out c.png",
        "difference -m googlenet --minus resnet50 --class 3 --out d.png",
        "opposite -m resnet50 --class 3 --out e.png",
        "merge -m googlenet --class 3 --class church --out f.png",
        "merge -m googlenet --class 3 --class church --juxtapose --out g.png",
        "blend -m googlenet --from 3 --to church --film film.gif --out h.png",
        "feature -m googlenet --layer inception4a --channel 3 --out i.png",
        "feature -m googlenet --layer inception4a --unit 2,0,1 --out j.png",
        "feature -m resnet50 --transform-input on --layer layer2 --out k.png",
        "dream -m googlenet --layer inception3a --image photo.png --out l.png",
        "generate -m googlenet --class church --init photo.png --out m.png",
        "match -m googlenet --image photo.png --metric l2 --out n.png",
        "match -m googlenet --image photo.png --layer inception3a --out o.png",
        "match -m googlenet --target-model resnet50 --class 3 --out p.png",
        "match -m googlenet --target-model resnet50 --class church --target-picture photo.png --out q.png",
    ] {
        desk.good(&format!("{command} {recipe}"));
        let made = command.rsplit(' ').next().expect("a name");
        let files = [("photo.png", "--image photo.png"), ("g.safetensors", "--weights g.safetensors")];
        again(&desk, made, files.iter().find(|(name, _)| command.contains(name)).map_or("", |(_, files)| files));
    }
    // The one that was made for another to match.
    again(&desk, "chain-saw-by-resnet50.png", "");
    // Pictures of a batch, each alone.
    desk.good(&format!("generate -m googlenet --class 3,church --seeds 2 {recipe} --out batch"));
    for name in ["chain-saw-seed5.png", "church-seed6.png"] {
        fs::copy(desk.path("batch").join(name), desk.path(name)).expect("copied");
        again(&desk, name, "");
    }
    // From a file of several pictures: each from its own.
    let several = Array::new(Shape::new(2, 3, 36, 36), Generator { seed: 2 }.input(2, 36));
    let array =
        entoptic::weights::NamedArray { name: "image".into(), shape: several.shape.0.to_vec(), values: several.values };
    let path = desk.path("two.safetensors");
    entoptic::weights::write(&path, &[array], &Default::default(), entoptic::weights::Precision::F32).expect("written");
    desk.good(&format!("generate -m googlenet --class 3,church --init two.safetensors {recipe} --out init"));
    fs::copy(desk.path("init/church.png"), desk.path("second.png")).expect("copied");
    again(&desk, "second.png", "--image two.safetensors");

    desk.good("demo --recipe tiny.toml --show none");
    for kind in ["googlenet", "joint", "difference", "match"] {
        let made = format!("church-{kind}.png");
        fs::copy(desk.path("entoptic-demo").join(&made), desk.path(&made)).expect("copied");
        again(&desk, &made, "");
    }
}

#[test]
fn weights_and_pictures_are_known_by_their_checksums() {
    let desk = desk();
    desk.thousand("w.safetensors", 1, |_| {});
    desk.thousand("v.safetensors", 2, |_| {});
    desk.good("generate -w w.safetensors --class tench --recipe tiny.toml --out a.png");
    let sum = |name: &str| -> String {
        Sha256::digest(fs::read(desk.path(name)).expect("readable")).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let said = desk.refused("verify a.png");
    let (w, v) = (sum("w.safetensors"), sum("v.safetensors"));
    assert!(said.contains(&format!("the weights w.safetensors of resnet50 (SHA-256 {w}) are neither")), "{said}");
    let said = desk.refused("replay a.png --weights v.safetensors");
    assert!(said.contains(&format!("v.safetensors: its SHA-256 is {v}; the picture was made with {w}")), "{said}");
    assert!(!desk.path("a-again.png").exists());
    // Whatever the file is called; and the cache is looked through.
    fs::rename(desk.path("w.safetensors"), desk.path("x.safetensors")).expect("renamed");
    desk.good("verify a.png --weights x.safetensors");
    let cache = desk.path(if cfg!(target_os = "macos") { "Library/Caches/entoptic" } else { "entoptic" });
    fs::create_dir_all(&cache).expect("a cache");
    fs::rename(desk.path("x.safetensors"), cache.join("y.safetensors")).expect("moved");
    desk.good("replay a.png");
    assert!(desk.path("a-again.png").is_file(), "the name where none is given");

    desk.good("dream -m googlenet --layer inception3a --image photo.png --recipe tiny.toml --out b.png");
    desk.good("verify b.png");
    fs::rename(desk.path("photo.png"), desk.path("p.png")).expect("renamed");
    let said = desk.refused("verify b.png");
    assert!(said.contains("it takes the picture photo.png (SHA-256 ") && said.contains("(--image FILE)"), "{said}");
    let said = desk.refused("verify b.png --image a.png");
    assert!(said.contains("; a.png is another; give its file"), "{said}");
    desk.good("verify b.png --image a.png --image p.png");
}

/// Writes a picture again with other pixels or texts, and, with `sealed`, a checksum that fits them.
fn changed(from: &Path, to: &Path, sealed: bool, change: impl FnOnce(&mut Array, &mut String, &mut Value)) {
    let texts = picture::read_metadata(from).expect("texts");
    let (mut array, mut recipe) = (picture::read(from).expect("a picture"), texts["entoptic:recipe"].clone());
    let mut run: Value = serde_json::from_str(&texts["entoptic:run"]).expect("JSON");
    change(&mut array, &mut recipe, &mut run);
    let run = run.to_string();
    let mut sum = Sha256::new();
    let [_, _, h, w] = array.shape.0;
    sum.update([h as u64, w as u64].map(u64::to_le_bytes).concat());
    sum.update(picture::rgb(&array));
    for text in [&recipe, &run] {
        sum.update((text.len() as u64).to_le_bytes());
        sum.update(text);
    }
    let seal = match sealed {
        true => sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        false => texts["entoptic:checksum"].clone(),
    };
    let metadata = [("entoptic:recipe", recipe), ("entoptic:run", run), ("entoptic:checksum", seal)];
    picture::write_png(to, &array, &metadata.map(|(key, text)| (key.to_owned(), text))).expect("written");
}

#[test]
fn changed_pictures_are_told_apart() {
    let desk = desk();
    desk.good("generate -m googlenet --class church --recipe tiny.toml --seed 5 --out a.png");
    let (a, b) = (desk.path("a.png"), desk.path("b.png"));
    let verdict = |arguments: &str| {
        let output = desk.run(&format!("verify --quiet {arguments}"));
        assert_eq!(output.status.code(), Some(1), "{arguments}: {}", text(&output.stdout));
        text(&output.stdout) + &text(&output.stderr)
    };
    type Change = fn(&mut Array, &mut String, &mut Value);
    let changes: [(&str, Change); 8] = [
        ("a pixel", |picture, _, _| picture.values[7] = 1.0 - picture.values[7]),
        ("one level", |picture, _, _| {
            picture.values[100] += if picture.values[100] > 0.5 { -1.0 } else { 1.0 } / 255.0
        }),
        ("the seed", |_, _, run| run["seed"] = 6.into()),
        ("the stream", |_, _, run| run["stream"] = 6.into()),
        ("the constant", |_, _, run| run["objective"]["constant"] = (-100.0).into()),
        ("the class and its name", |_, _, run| {
            (run["objective"]["class"], run["objective"]["name"]) = (3.into(), "chain saw".into());
        }),
        ("the rate", |_, recipe, _| *recipe = recipe.replace("0.06", "0.05")),
        ("the blur", |_, recipe, _| *recipe = recipe.replace("0.8", "0.6")),
    ];
    // Nothing changed, all texts written anew: the test's own checksum is the program's.
    changed(&a, &b, true, |_, _, _| {});
    desk.good("verify b.png");
    for (what, change) in changes {
        changed(&a, &b, false, change);
        let said = verdict("b.png");
        assert!(said.contains("b.png: was changed after it was made"), "{what}: {said}");
        changed(&a, &b, true, change);
        let said = verdict("b.png");
        assert!(
            said.contains("b.png: does not come out the same, on the same adapter by the same version"),
            "{what}: {said}"
        );
        assert!(said.ends_with("error: 1 of 1 do not come out the same\n"), "{what}: {said}");
    }
    // One bad one among good ones.
    let said = verdict("a.png b.png");
    assert!(said.contains("a.png: comes out the same") && said.contains("1 of 2 do not"), "{said}");

    // What does not agree with itself.
    changed(&a, &b, true, |_, _, run| run["objective"]["name"] = "chain saw".into());
    let said = desk.refused("verify b.png");
    assert!(said.contains("it calls class 4 chain saw, its network calls it church"), "{said}");
    changed(&a, &b, true, |_, _, run| run["networks"][0]["network"] = "resnet50".into());
    let said = verdict("b.png");
    assert!(said.contains("b.png: loading demo-googlenet (built in): the weights do not fit resnet50"), "{said}");
    changed(&a, &b, true, |_, _, run| run["steps"] = 3.into());
    assert!(desk.refused("verify b.png").contains("it was made in 3 steps, its recipe has 2"));

    // On another adapter or by another version three bounds hold.
    let elsewhere = |picture: &mut Array, by: f32, run: &mut Value| {
        run["adapter"]["name"] = "another card".into();
        for (at, value) in picture.values.iter_mut().enumerate() {
            *value = (*value + if at % 2 == 0 { by } else { -by } / 255.0).clamp(0.0, 1.0);
        }
    };
    changed(&a, &b, true, |picture, _, run| elsewhere(picture, 0.0, run));
    assert!(desk.good("verify b.png").contains("the same, bit by bit, though with adapter "));
    changed(&a, &b, true, |picture, _, run| elsewhere(picture, 1.0, run));
    let said = desk.good("verify b.png");
    assert!(said.contains("comes out alike, as far as can be asked elsewhere: "), "{said}");
    assert!(said.contains(" of the distance to the picture of the next seed; its loss begins with "), "{said}");
    assert!(said.contains("; with adapter ") && said.contains(" instead of another card"), "{said}");
    let other = |change: Change, expected: &str| {
        changed(&a, &b, true, |picture, recipe, run| {
            elsewhere(picture, 1.0, run);
            change(picture, recipe, run);
        });
        let said = verdict("b.png");
        assert!(said.contains(&format!("b.png: does not come out alike, {expected}")), "{said}");
    };
    other(|_, _, run| run["seed"] = 6.into(), "its loss before the first step differs by more than 0.00");
    other(|_, _, run| run["stream"] = 6.into(), "its loss before the first step differs");
    other(|_, _, run| run["objective"]["constant"] = 201.into(), "its loss before the first step differs");
    other(|_, recipe, _| *recipe = recipe.replace("0.06", "0.006"), "one falls more than 1.5 times as much");
    other(
        |picture, _, _| picture.values.iter_mut().for_each(|value| *value = 1.0 - *value),
        "it is more than 1.25 times as far off as the picture of the next seed",
    );
    desk.good("replay b.png --out c.png");
    // Where the seed is without effect, the way from the start is the measure.
    desk.good("dream -m googlenet --layer inception3a --image photo.png --recipe tiny.toml --out d.png");
    changed(&desk.path("d.png"), &b, true, |picture, _, run| elsewhere(picture, 1.0, run));
    let said = desk.good("verify b.png");
    assert!(said.contains(" of the distance to its start; "), "{said}");
    changed(&desk.path("d.png"), &b, true, |picture, _, run| elsewhere(picture, 60.0, run));
    assert!(verdict("b.png").contains("times as far off as its start"));
}

#[test]
fn pictures_that_cannot_be_made_again_say_why() {
    let desk = desk();
    let said = desk.refused("replay photo.png");
    assert!(said.contains("photo.png: does not say how it was made"), "{said}");
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/church.png");
    fs::copy(old, desk.path("old.png")).expect("copied");
    let said = desk.refused("verify old.png");
    assert!(said.contains("old.png: was written by an earlier version"), "{said}");
    desk.good("generate -m googlenet --class church --recipe tiny.toml --out a.png");
    let said = desk.refused("replay a.png --out a.png");
    assert!(said.contains("a.png: is the picture itself"), "{said}");
    changed(&desk.path("a.png"), &desk.path("b.png"), true, |_, _, run| run["format"] = 99.into());
    let said = desk.refused("replay b.png");
    assert!(said.contains("b.png: is written in format 99, this version reads 2"), "{said}");
    changed(&desk.path("a.png"), &desk.path("b.png"), true, |_, _, run| run["objective"]["kind"] = "sorcery".into());
    let said = desk.refused("replay b.png");
    assert!(said.contains("b.png: its text entoptic:run is damaged: unknown variant `sorcery`"), "{said}");
    changed(&desk.path("a.png"), &desk.path("b.png"), true, |_, recipe, _| *recipe = recipe.replace("0.05", "x"));
    let said = desk.run("replay b.png -q");
    assert!(text(&said.stderr).contains("b.png: recipe entoptic:recipe"), "{}", text(&said.stderr));
    assert_eq!(desk.run("verify").status.code(), Some(2));
}

/// A picture of a run that was stopped is that of the same step.
#[cfg(unix)]
#[test]
fn a_picture_so_far_is_made_again() {
    use std::io::{BufRead, BufReader};
    let desk = desk();
    desk.recipe("long.toml", 1000, 36);
    let mut child =
        desk.command("generate -m googlenet --class church --recipe long.toml --out a.png").spawn().expect("it starts");
    // Kept to the end: a program whose messages nobody takes any more cannot tell that it stopped.
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("step 100/1000")));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("there is kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let run: Value = serde_json::from_str(&picture::read_metadata(&desk.path("a.png")).expect("texts")["entoptic:run"])
        .expect("JSON");
    assert!((1..1000).contains(&run["steps"].as_u64().expect("a number")), "{run}");
    again(&desk, "a.png", "");
}
