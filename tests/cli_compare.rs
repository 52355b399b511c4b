//! `entoptic compare` from outside, with small random networks.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

// Compiled into each test program, of which each uses a part.
mod common;

use common::reference::structure;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::desk::{Desk, text};
use serde_json::json;

/// Rows of a table by the names of its columns.
type Rows = Vec<BTreeMap<String, String>>;

/// What it prints, and what it says besides.
#[track_caller]
fn good(desk: &Desk, arguments: &str) -> (String, String) {
    let output = desk.run(&format!("compare {arguments}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments}: {err}");
    (out, err)
}

/// What it says is wrong, and nothing else.
#[track_caller]
fn refused(desk: &Desk, arguments: &str, code: i32) -> String {
    let output = desk.run(&format!("--quiet compare {arguments}"));
    let err = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), ""), "{arguments}: {err}");
    assert!(!err.contains("panicked"), "{arguments}: {err}");
    err
}

fn table(desk: &Desk, file: &str) -> Rows {
    rows(&fs::read_to_string(desk.path(file)).unwrap())
}

/// Cells of comma-separated values, line by line, quotes undone.
fn cells(csv: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut cell, mut quoted) = (vec![], vec![], String::new(), false);
    let mut letters = csv.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                line.push(std::mem::take(&mut cell));
                lines.push(std::mem::take(&mut line));
            }
            letter => cell.push(letter),
        }
    }
    lines
}

fn rows(csv: &str) -> Rows {
    let mut lines = cells(csv).into_iter();
    let names = lines.next().unwrap();
    lines
        .map(|line| {
            assert_eq!(line.len(), names.len(), "{line:?}");
            names.iter().cloned().zip(line).collect()
        })
        .collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} in {row:?}"))
}

/// A matrix in numpy's format, read by its own description.
fn matrix(path: &Path) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(begin % 64, 0);
    let header = std::str::from_utf8(&bytes[10..begin]).unwrap();
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let sizes: Vec<usize> = shape.split(',').map(|size| size.trim().parse().unwrap()).collect();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let values: Vec<f32> =
        bytes[begin..].chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
    assert_eq!(values.len(), sizes[0] * sizes[1]);
    values.chunks_exact(sizes[1]).map(<[f32]>::to_vec).collect()
}

const CLASSES: [&str; 4] = ["tench", "golf ball", "a \"b\"", "church"];

/// Two networks, a folder of pictures that say who made them, and one of pictures that are named after their class.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.known("a.safetensors", structure("resnet50"), 1, &CLASSES);
    desk.known("b.safetensors", structure("googlenet"), 2, &CLASSES);
    for (index, name) in CLASSES.iter().enumerate() {
        let network = json!({ "network": "resnet50", "weights": "made.safetensors", "sha256": "0" });
        let run = json!({
            "objective": { "kind": "class", "class": index, "name": name }, "seed": 7, "networks": [network],
        });
        desk.picture(&format!("made/{index}.png"), index as u64, 48, Some(run));
    }
    for (seed, file) in [(10, "0001-golf-ball"), (11, "church-seed1"), (12, "church-seed2")] {
        desk.picture(&format!("named/{file}.png"), seed, 40, None);
    }
    desk
}

const ASKED: &str = "-w a.safetensors -w b.safetensors --pictures made named";

#[test]
fn every_picture_is_seen_by_every_network() {
    let desk = desk();
    let (out, _) = good(&desk, &format!("{ASKED} --out report --axes inception5a:0,4 --batch 3"));
    assert!(out.lines().any(|line| line.starts_with("made, a ")) && out.ends_with("report/index.html\n"), "{out}");

    let pictures = table(&desk, "report/data/pictures.csv");
    let column = |name: &str| pictures.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(column("class"), ["0", "1", "2", "3", "1", "3", "3"]);
    assert_eq!(column("name")[2], "a \"b\"");
    assert_eq!(column("set"), ["made", "made", "made", "made", "named", "named", "named"]);
    assert_eq!((column("maker")[0], column("seed")[0], column("maker")[4]), ("made", "7", ""));

    let logits = ["a", "b"].map(|network| matrix(&desk.path(&format!("report/data/logits-{network}.npy"))));
    assert!(logits.iter().all(|rows| (rows.len(), rows[0].len()) == (7, 4)));
    let outputs = table(&desk, "report/data/outputs.csv");
    assert_eq!(outputs.len(), 14);
    for row in &outputs {
        let (picture, network) = (number(row, "picture") as usize, usize::from(row["network"] == "b"));
        let (vector, class) = (&logits[network][picture], number(&pictures[picture], "class") as usize);
        assert_eq!(row["logit"].parse::<f32>().unwrap(), vector[class]);
        let larger = vector.iter().filter(|logit| **logit > vector[class]).count();
        assert_eq!(number(row, "rank") as usize, larger + 1, "{row:?}");
        let total: f64 = vector.iter().map(|&logit| f64::from(logit).exp()).sum();
        assert!((number(row, "probability") - f64::from(vector[class]).exp() / total).abs() < 1e-6, "{row:?}");
        let other = (0..4).filter(|&other| other != class).max_by(|&x, &y| vector[x].total_cmp(&vector[y]));
        assert_eq!(number(row, "other") as usize, other.unwrap());
        assert_eq!(row["other_name"], CLASSES[other.unwrap()]);
        let nearest = number(row, "nearest") as usize;
        assert_eq!(pictures[nearest]["set"], pictures[picture]["set"]);
        assert_ne!(pictures[nearest]["class"], pictures[picture]["class"]);
        let squares = vector.iter().zip(&logits[network][nearest]).map(|(x, y)| f64::from(x - y).powi(2));
        assert!((number(row, "nearest_l2") - squares.sum::<f64>().sqrt()).abs() < 1e-5, "{row:?}");
    }
    let between = table(&desk, "report/data/networks.csv");
    assert_eq!(between.len(), 7);
    for (row, (a, b)) in between.iter().zip(logits[0].iter().zip(&logits[1])) {
        let l1: f64 = a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).sum();
        assert!((number(row, "l1") - l1).abs() < 1e-5, "{row:?}");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        let cosine = 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!((number(row, "cosine") - cosine).abs() < 1e-6, "{row:?}");
    }
    // Classes that both sets show: the ball, and the church by the mean of its two pictures.
    let sets = table(&desk, "report/data/sets.csv");
    let shared: Vec<&str> = sets.iter().map(|row| row["class"].as_str()).collect();
    assert_eq!(shared, ["1", "3", "1", "3"]);
    let apart = (0..4).map(|k| logits[0][3][k] - (logits[0][5][k] + logits[0][6][k]) / 2.0);
    assert!((number(&sets[1], "l1") - apart.map(|d| f64::from(d.abs())).sum::<f64>()).abs() < 1e-5, "{:?}", sets[1]);

    let makers = table(&desk, "report/data/makers.csv");
    let counts: Vec<&str> = makers.iter().map(|row| row["pictures"].as_str()).collect();
    assert_eq!(counts, ["4", "4", "3", "3"]);
    assert!(makers.iter().all(|row| row["had_part"] == "false"));
    for row in table(&desk, "report/data/neighbours.csv") {
        assert!(number(&row, "component_size") >= 2.0 && row["class"] != row["next"], "{row:?}");
    }
    let shares = table(&desk, "report/data/variance.csv");
    for network in ["a", "b"] {
        let shares: Vec<f64> =
            shares.iter().filter(|row| row["network"] == network).map(|row| number(row, "share")).collect();
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && shares.is_sorted_by(|x, y| x >= y), "{shares:?}");
    }
    let axes = table(&desk, "report/data/axes.csv");
    assert_eq!(axes.len(), 7, "ResNet50 has no such layer");
    assert!(axes.iter().all(|row| row["network"] == "b" && row["channel_b"] == "4"));
    assert!(axes.iter().any(|row| number(row, "a") != number(&axes[0], "a")));

    for index in 0..7 {
        assert!(desk.path(&format!("report/small/{index:04}.jpg")).exists());
    }
    let copies = [("made/2.png", "0002"), ("named/church-seed1.png", "0005")];
    for (from, to) in copies {
        assert_eq!(
            fs::read(desk.path(from)).unwrap(),
            fs::read(desk.path(&format!("report/pictures/{to}.png"))).unwrap()
        );
    }
}

/// All files of a folder, by their paths in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

#[test]
fn the_same_pictures_give_the_same_report_whatever_the_batch() {
    let desk = desk();
    good(&desk, &format!("{ASKED} --out first --batch 16"));
    let first = contents(&desk.path("first"));
    assert_eq!(first.len(), 1 + 10 + 2 + 7 + 7, "{:?}", first.keys());
    // In place of an earlier report, beside a file of someone else.
    good(&desk, "-w a.safetensors --pictures made --out second --single-file");
    assert!(!desk.path("second/pictures").exists());
    fs::write(desk.path("second/notes.txt"), "mine").unwrap();
    good(&desk, &format!("{ASKED} --out second --batch 2"));
    assert_eq!(fs::read(desk.path("second/notes.txt")).unwrap(), b"mine");
    fs::remove_file(desk.path("second/notes.txt")).unwrap();
    let second = contents(&desk.path("second"));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (path, bytes) in first {
        assert!(second[&path] == bytes, "{} differs", path.display());
    }
}

#[test]
fn what_cannot_be_compared_is_named_and_left_out() {
    let desk = desk();
    fs::write(desk.path("named/broken.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    desk.picture("named/zebra.png", 5, 40, None);
    let run = json!({ "objective": { "kind": "class", "class": 900, "name": "water tower" }, "networks": [] });
    desk.picture("named/x.png", 6, 40, Some(run));
    let (_, err) = good(&desk, &format!("{ASKED} --out report"));
    for (file, why) in [("broken.png", "decoded"), ("zebra.png", "neither"), ("x.png", "no class \"water tower\"")] {
        let line = err.lines().find(|line| line.starts_with("skipped: ") && line.contains(file));
        assert!(line.is_some_and(|line| line.contains(why)), "{file}: {err}");
    }
    assert!(err.contains("skipped 3 of 10 pictures"), "{err}");
    assert_eq!(table(&desk, "report/data/pictures.csv").len(), 7);

    let one = |pictures: &str| format!("-w a.safetensors --pictures {pictures} --out other");
    fs::create_dir_all(desk.path("empty")).unwrap();
    assert!(refused(&desk, &one("empty"), 1).contains("empty: there is no picture in it"));
    assert!(refused(&desk, &one("absent"), 1).contains("absent: No such file"));
    // Not even one of several sets may be missing, or have no picture that can be compared.
    let said = refused(&desk, "-w a.safetensors --pictures named absent --out other", 1);
    assert!(said.contains("absent: No such file"), "{said}");
    desk.picture("strange/zebra.png", 5, 40, None);
    let said = refused(&desk, &one("strange"), 1);
    assert!(said.contains("none of 1 pictures") && said.contains("zebra.png"), "{said}");
    let said = refused(&desk, "-w a.safetensors --pictures named strange --out other", 1);
    assert!(said.contains("--pictures strange: none of its pictures can be compared"), "{said}");
    assert!(!desk.path("other/index.html").exists());
    assert_eq!(fs::read_dir(desk.path("other")).unwrap().count(), 0, "nothing half-done stays");
}

#[test]
fn mistakes_are_told_before_anything_is_read() {
    let desk = desk();
    let axes = |axes: &str, code| refused(&desk, &format!("{ASKED} --out report --axes {axes}"), code);
    assert!(axes("inception5a", 2).contains("a layer and two of its channels"));
    let said = axes("inception5z:0,1", 1);
    assert!(said.contains("--axes") && said.contains("inception5z"), "{said}");
    let said = axes("inception5a:0,4000", 1);
    assert!(said.contains("there is no 4000"), "{said}");
    assert!(refused(&desk, "--pictures made --out report", 2).contains("--model"));
    assert!(refused(&desk, "-w a.safetensors --out report", 2).contains("--pictures"));
    desk.known("c.safetensors", structure("resnet50"), 1, &["tench", "church"]);
    let said = refused(&desk, "-w a.safetensors -w c.safetensors --pictures made --out report", 1);
    assert!(said.contains("different classes"), "{said}");
    // A page of someone else stays.
    fs::create_dir_all(desk.path("site")).unwrap();
    fs::write(desk.path("site/index.html"), "<title>mine</title>").unwrap();
    let said = refused(&desk, "-w a.safetensors --pictures made --out site", 1);
    assert!(said.contains("there is already index.html, of something else"), "{said}");
    assert_eq!(fs::read(desk.path("site/index.html")).unwrap(), b"<title>mine</title>");
    assert!(refused(&desk, "-w a.safetensors --pictures made --out made/0.png", 1).contains("is a file"));
}

/// Runs the program and gives the most memory that it held, in bytes.
#[cfg(target_os = "linux")]
fn peak(desk: &Desk, arguments: &str) -> u64 {
    let mut child = desk.command(arguments).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let done = loop {
        let told = fs::read_to_string(&status).unwrap_or_default();
        let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        most = most.max(line.split_whitespace().next().map_or(0, |kib| kib.parse().unwrap()) << 10);
        match child.try_wait().unwrap() {
            Some(done) => break done,
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    assert!(done.success(), "{arguments}");
    most
}

#[cfg(target_os = "linux")]
#[test]
fn pictures_do_not_stay_in_memory() {
    const SIDE: usize = 256;
    let desk = Desk::new();
    desk.known("a.safetensors", structure("resnet50"), 1, &CLASSES);
    desk.picture("few/church-seed0.png", 1, SIDE, None);
    fs::create_dir_all(desk.path("many")).unwrap();
    let (few, many) = (20, 240);
    for (folder, count) in [("few", few), ("many", many)] {
        for seed in 0..count {
            let to = desk.path(&format!("{folder}/church-seed{seed}.png"));
            if !to.exists() {
                fs::copy(desk.path("few/church-seed0.png"), to).unwrap();
            }
        }
    }
    let peak = |folder: &str| {
        peak(&desk, &format!("--quiet compare -w a.safetensors --batch 4 --pictures {folder} --out {folder}-report"))
    };
    let (less, more) = (peak("few"), peak("many"));
    let kept = (many - few) as u64 * 3 * (SIDE * SIDE) as u64 * 4;
    assert!(
        less > 0 && more.saturating_sub(less) < kept / 3,
        "{more} bytes instead of {less}; all pictures are {kept}"
    );
}
