//! `entoptic score` from outside.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn score(arguments: &[&str]) -> Output {
    entoptic("score", arguments)
}

fn entoptic(subcommand: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures"));
    // Software drivers complain when there is no such folder.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    // What the user has fetched is not used.
    for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
        command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
    }
    command.arg(subcommand).args(arguments).output().expect("the program starts")
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
        [
            "pixels",
            "church.png",
            "noise",
            "photographs",
            "googlenet",
            "church.png",
            "noise",
            "photographs",
            "maker,",
            "demo-inception_v3,",
            "demo-inception_v3,"
        ],
        "{table}"
    );
}

/// Pictures that a network made in folders of classes; one of them is not what its folder says.
fn classes() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    for (class, picture) in [("n02979186", "church.png"), ("n03028079", "church.png"), ("n03445777", "golf-ball.png")] {
        std::fs::create_dir(folder.path().join(class)).expect("a new folder");
        std::fs::copy(pictures.join(picture), folder.path().join(class).join("a.png")).expect("a copy");
    }
    folder
}

#[test]
fn makers_meet_judges_and_classes_are_known_from_the_files() {
    let photographs = classes();
    let photographs = photographs.path().to_str().expect("UTF-8");
    let asked = ["church.png", "golf-ball.png", "-j", "inception_v3", "-j", "googlenet", "--photographs", photographs];
    let all: Value = serde_json::from_str(&good(&[&asked[..], &["--json", "--size", "112"]].concat())).expect("JSON");
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of}"));
    let pictures = all["pictures"].as_array().expect("pictures");
    let classes: Vec<&Value> = pictures.iter().map(|picture| &picture["class"]).collect();
    assert_eq!(classes, ["church", "golf ball"], "{all}");
    let held: Vec<&Value> = pictures.iter().flat_map(|one| [0, 1].map(|j| &one["judges"][j]["held_out"])).collect();
    assert_eq!(held, [false, true, false, true], "{all}");
    let [maker] = &all["makers"].as_array().expect("makers")[..] else { panic!("one maker: {all}") };
    assert_eq!((&maker["maker"], number(maker, "count")), (&"demo-inception_v3".into(), 2.0));
    for name in ["top_1", "top_5", "probability", "margin"] {
        let each: Vec<f64> = pictures.iter().map(|picture| number(&picture["judges"][1], name)).collect();
        assert!((number(&maker["held_out"], name) - (each[0] + each[1]) / 2.0).abs() < 1e-9, "{name}: {all}");
        assert_eq!(number(&maker["classes"][1]["held_out"], name), each[1], "{name}: {all}");
    }
    let stability: f64 =
        pictures.iter().flat_map(|one| [0, 1].map(|judge| number(&one["judges"][judge], "stability"))).sum();
    assert!((number(maker, "stability") - stability / 4.0).abs() < 1e-9, "{all}");
    // A set of one picture is that picture; one of two is not their mean.
    for (judge, of_set) in maker["judges"].as_array().expect("judges").iter().enumerate() {
        let alone: Vec<f64> = pictures.iter().map(|picture| number(&picture["judges"][judge], "statistics")).collect();
        for (class, alone) in alone.iter().enumerate() {
            assert!((number(&maker["classes"][class]["judges"][judge], "set") - alone).abs() < 1e-9, "{all}");
        }
        assert!(number(of_set, "set") < (alone[0] + alone[1]) / 2.0, "{all}");
        let [set, known, noise] = ["set", "photographs", "noise"].map(|name| number(of_set, name));
        assert!((number(of_set, "calibrated") - (set - known) / (noise - known)).abs() < 1e-9, "{all}");
        // The photographs are the same two pictures.
        assert!(number(of_set, "calibrated").abs() < 1e-9 && known < noise, "{all}");
    }
    assert_eq!(all["baselines"]["photographs"]["count"], 2, "not that of another class: {all}");
    assert!(number(&all["mean"]["pixels"], "difference") < number(&all["baselines"]["noise"]["pixels"], "difference"));

    let table = good(&[&asked[..], &["--size", "112"]].concat());
    for row in [
        "demo-inception_v3, demo-inception_v3 (its own)",
        "demo-inception_v3, demo-googlenet",
        "demo-inception_v3, held out",
    ] {
        assert!(table.lines().any(|line| line.starts_with(row)), "{row}: {table}");
    }
    // What the file was made to show gives way to what the user says.
    let told: Value = serde_json::from_str(&good(&[
        "church.png",
        "-j",
        "googlenet",
        "--class",
        "parachute",
        "--size",
        "64",
        "--json",
    ]))
    .expect("JSON");
    assert_eq!((&told["class"], number(&told["mean"]["judges"][0], "top_1")), (&"parachute".into(), 0.0));
}

#[test]
fn judges_look_at_the_size_that_they_know_and_pixels_are_those_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    // Larger than anything that the judge was trained with; two of one composition.
    let church = image::open(pictures.join("church.png")).expect("a picture");
    for (name, side) in [("church-1.png", 160), ("church-2.png", 160), ("golf-ball-1.png", 160)] {
        let source =
            if name.starts_with("golf") { &image::open(pictures.join("golf-ball.png")).expect("one") } else { &church };
        let large = source.resize_exact(side, side, image::imageops::FilterType::Triangle);
        large.save(folder.path().join(name)).expect("written");
    }
    let made = folder.path().to_str().expect("UTF-8");
    let asked = |more: &[&str]| -> Value {
        serde_json::from_str(&good(&[&[made, "-j", "googlenet", "--json"], more].concat())).expect("JSON")
    };
    let (own, told, larger) = (asked(&[]), asked(&["--size", "96"]), asked(&["--size", "160"]));
    let judged = |all: &Value| all["pictures"][0]["judges"][0].clone();
    assert_eq!((&judged(&own)["side"], &judged(&larger)["side"]), (&96.into(), &160.into()), "{own}");
    assert_eq!(judged(&own)["probability"], judged(&told)["probability"], "{own} {told}");
    assert_ne!(judged(&own)["probability"], judged(&larger)["probability"], "{own}");
    assert_eq!(own["pictures"][0]["pixels"], larger["pictures"][0]["pixels"], "as they are");
    assert_ne!(own["pictures"][0]["pixels"], told["pictures"][0]["pixels"]);
    let pixels = &own["pictures"][0]["pixels"];
    assert!(pixels["contrast"].as_f64().expect("a number") > 0.02, "{pixels}");
    assert!(pixels["symmetry"].as_f64().expect("a number").abs() < 1.0, "{pixels}");
    // Of one class there are twice the same picture, of the other only one.
    let [maker] = &own["makers"].as_array().expect("makers")[..] else { panic!("one maker: {own}") };
    assert!((maker["alike"].as_f64().expect("a number") - 1.0).abs() < 1e-9, "{maker}");
    assert!(maker["classes"][1]["alike"].is_null(), "{maker}");
}

#[test]
fn photographs_alone_show_what_they_are_like() {
    let folder = classes();
    let folder = folder.path().to_str().expect("UTF-8");
    let all: Value = serde_json::from_str(&good(&["--photographs", folder, "--size", "64", "--json"])).expect("JSON");
    let photographs = &all["photographs"];
    assert_eq!(photographs["count"], 3);
    let [low, mean, high] = ["low", "mean", "high"].map(|of| photographs[of]["variation"].as_f64().expect("a number"));
    assert!(low < mean && mean < high, "{all}");
    let spectrum = photographs["spectrum"].as_array().expect("rows");
    assert_eq!((spectrum.len(), &spectrum[0]["frequency"]), (25, &0.02.into()));
    let table = good(&["--photographs", folder, "--size", "64"]);
    let power = spectrum[24]["log_power"].as_f64().expect("a number");
    assert!(table.ends_with(&format!("0.5000\t{power:.4}\n")), "{table}");
}

#[test]
fn accuracy_counts_right_answers_and_those_that_an_attack_leaves() {
    let folder = classes();
    let folder = folder.path().to_str().expect("UTF-8");
    let accuracy = |more: &[&str]| {
        let output = entoptic("accuracy", &[&["-m", "resnet50", "--data", folder, "--json"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["networks"][0].clone()
    };
    // A church that is said to be a cassette player is not got right.
    let clean = accuracy(&["--batch", "2", "--attack-eps", "30", "--attack-steps", "3"]);
    assert_eq!((&clean["photographs"], &clean["top_1"]), (&3.into(), &(2.0 / 3.0).into()), "{clean}");
    assert!(clean["top_5"].as_f64() >= clean["top_1"].as_f64(), "{clean}");
    assert_eq!(clean["attack"]["top_1"], 0.0, "{clean}");
    assert_eq!(accuracy(&["--batch", "64"])["top_1"], clean["top_1"]);
    assert_eq!(accuracy(&["--limit", "1"])["photographs"], 1);

    let refused = |arguments: &[&str]| {
        let output = entoptic("accuracy", &[&["-m", "resnet50", "-q"], arguments].concat());
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        text(&output.stderr).lines().last().unwrap_or_default().to_owned()
    };
    assert!(refused(&["--data", "absent"]).contains("absent"));
    let other = tempfile::tempdir().expect("a folder");
    for class in ["cat", "dog"] {
        std::fs::create_dir(other.path().join(class)).expect("a new folder");
        std::fs::copy(format!("{folder}/n03028079/a.png"), other.path().join(class).join("a.png")).expect("a copy");
    }
    let said = refused(&["--data", other.path().to_str().expect("UTF-8")]);
    assert!(said.contains("folder cat") && said.contains("no class"), "{said}");
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
    assert!(
        refused(&[&[empty], &asked[..]].concat())
            .ends_with("there is no picture in it whose name ends in .png, .jpg, .webp, .gif, .tif or .bmp")
    );
    let plain = folder.path().join("nothing.png");
    let colours = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([(x * 8) as u8, (y * 8) as u8, 0]));
    colours.save(&plain).expect("written");
    let said = refused(&[plain.to_str().expect("UTF-8"), "--judge", "googlenet", "-q"]);
    assert!(said.contains("nothing.png") && said.contains("give --class"), "{said}");
    let said = refused(&["church.png", "golf-ball.png", "-j", "googlenet", "-q", "--photographs", empty]);
    assert!(said.contains("a folder for each class"), "{said}");
    let usage = score(&["church.png", "--class", "church"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(text(&usage.stderr).contains("--judge"), "{}", text(&usage.stderr));
}
