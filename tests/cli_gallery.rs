//! `entoptic gallery` from outside: folders that are left and gone on with, shards, failures, and what is refused.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::desk::{Desk, files, text};
use serde_json::Value;

/// Lines of a list, without the times that they took.
fn listed(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("manifest.jsonl")).expect("a list");
    let line = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).expect("JSON");
        assert!(entry["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{entry}");
        entry["seconds"] = Value::Null;
        entry
    };
    text.lines().map(line).collect()
}

/// How many lines a list has, while somebody writes it.
fn lines(folder: &Path) -> usize {
    fs::read(folder.join("manifest.jsonl")).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

/// Waits until a running gallery has listed so many pictures.
#[track_caller]
fn wait_for(child: &mut Child, folder: &Path, pictures: usize) {
    let started = Instant::now();
    while lines(folder) < pictures {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it was interrupted");
        assert!(started.elapsed() < Duration::from_secs(100), "no {pictures} pictures in {}", folder.display());
        sleep(Duration::from_millis(2));
    }
    // Into the next batch.
    sleep(Duration::from_millis(40));
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("there is kill").success());
}

/// The ten classes that the networks in the program know, by four objectives: interrupted by Ctrl-C and killed, and gone on
/// with, they are what they would have been, byte by byte; also in batches of another size.
#[cfg(unix)]
#[test]
fn interrupted_galleries_end_in_the_same_bytes() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 6, 40);
    for (objective, models) in [
        ("class", "-m googlenet"),
        ("joint", "-m googlenet -m resnet50"),
        ("difference", "-m googlenet -m resnet50"),
        ("match", "-m googlenet -m resnet50"),
    ] {
        let all = format!("gallery {models} --objective {objective} --recipe tiny.toml --seed 3");
        let printed = desk.good(&format!("{all} --out whole-{objective} --quiet"));
        assert_eq!(printed, format!("whole-{objective}\n"));
        let (whole, folder) = (desk.path(&format!("whole-{objective}")), desk.path(objective));
        let command = format!("{all} --out {objective} --batch 4");

        let mut child = desk.command(&command).spawn().expect("the program starts");
        wait_for(&mut child, &folder, 4);
        signal(&child, "INT");
        let output = child.wait_with_output().expect("it ends");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{objective}: {said}");
        assert!(said.contains("error: stopped; 4 of 10 pictures are in"), "{objective}: {said}");
        assert!(said.contains("the same command goes on; 4 at step "), "{objective}: {said}");
        assert!(folder.join("unfinished.safetensors").is_file(), "{objective}");
        let first = files(&folder, ".png");
        assert_eq!(first.len(), 4, "{objective}: {:?}", first.keys());

        let mut child = desk.command(&command).spawn().expect("the program starts");
        wait_for(&mut child, &folder, 8);
        child.kill().expect("it is there to be killed");
        let said = text(&child.wait_with_output().expect("it ends").stderr);
        assert!(said.contains("4 of 10 are there") && said.contains("4 of them from step "), "{objective}: {said}");
        // As a process leaves them that is killed while it writes.
        fs::write(folder.join(".entoptic-half"), "half a picture").expect("written");
        let mut list = fs::read(folder.join("manifest.jsonl")).expect("a list");
        list.extend(b"{\"index\": 8, \"cla");
        fs::write(folder.join("manifest.jsonl"), list).expect("written");

        let said = text(&desk.run(&command).stderr);
        assert!(said.contains("8 of 10 are there"), "{objective}: {said}");
        assert_eq!(files(&folder, ".png"), files(&whole, ".png"), "{objective}");
        assert_eq!(listed(&folder), listed(&whole), "{objective}");
        assert_eq!(files(&folder, "gallery.json"), files(&whole, "gallery.json"), "{objective}");
        let mut left: Vec<String> = files(&folder, "").into_keys().filter(|name| !name.ends_with(".png")).collect();
        left.sort();
        assert_eq!(left, [".lock", "gallery.json", "manifest.jsonl"], "{objective}");
        // Nothing is made twice.
        let made = |name: &str| fs::metadata(folder.join(name)).and_then(|about| about.modified()).expect("a time");
        let before: Vec<_> = first.keys().map(|name| made(name)).collect();
        desk.good(&command);
        assert_eq!(first.keys().map(|name| made(name)).collect::<Vec<_>>(), before);
    }
    // One by one, by the command that makes one picture.
    desk.good("generate -m googlenet --class tench --recipe tiny.toml --seed 3 --out one.png");
    let made = files(&desk.path("class"), ".png");
    assert_eq!(fs::read(desk.path("one.png")).expect("a picture"), made["0000-tench.png"]);
    desk.good("match -m googlenet --target-model resnet50 --class tench --recipe tiny.toml --seed 3 --out two.png");
    let made = files(&desk.path("match"), ".png");
    assert_eq!(fs::read(desk.path("two.png")).expect("a picture"), made["0000-tench.png"]);
}

/// Largest amount of memory that a process holds between its 100th and 200th picture and between its 900th and last, in KiB.
#[cfg(target_os = "linux")]
fn watched(mut command: Command, folder: &Path) -> [u64; 2] {
    let mut child = command.spawn().expect("the program starts");
    let mut most = [0; 2];
    loop {
        let made = lines(folder);
        let window = [100..200, 900..1000].iter().position(|window| window.contains(&made));
        if let (Some(window), Ok(status)) = (window, fs::read_to_string(format!("/proc/{}/status", child.id()))) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let found = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            most[window] = found.map_or(most[window], |found: u64| found.max(most[window]));
        }
        if child.try_wait().expect("a child").is_some() {
            let output = child.wait_with_output().expect("it ended");
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(most.iter().all(|most| *most > 0), "{most:?}");
            return most;
        }
        sleep(Duration::from_millis(5));
    }
}

/// All of ImageNet's classes on a narrow network: in two parts, each told by another kind of job, joined, and as one.
#[cfg(target_os = "linux")]
#[test]
fn a_thousand_classes_in_two_parts_are_those_of_one() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 1, 32);
    desk.thousand("w.safetensors", 1, |_| {});
    let command = "gallery -w w.safetensors --recipe tiny.toml --batch 50 --quiet";
    let [early, late] = watched(desk.command(&format!("{command} --out thousand")), &desk.path("thousand"));
    println!("memory: {early} KiB after a hundred classes, {late} KiB after nine hundred");
    // A picture of these is 12 KiB in f32 and its line 14 KiB: eight hundred of both would be 20 MiB.
    assert!(late < early + (8 << 10), "{early} KiB after a hundred classes, {late} KiB after nine hundred");

    let mut slurm = desk.command(&format!("{command} --out parts"));
    slurm.env("SLURM_ARRAY_TASK_ID", "7").env("SLURM_ARRAY_TASK_MIN", "7").env("SLURM_ARRAY_TASK_COUNT", "2");
    assert!(slurm.output().expect("it runs").status.success());
    let refused = desk.refused("gallery merge parts --out merged");
    assert!(refused.contains("of 2 parts 2 is missing"), "{refused}");
    let mut kubernetes = desk.command(&format!("{} --out parts --shards 2", command.replace(" --quiet", "")));
    let output = kubernetes.env("JOB_COMPLETION_INDEX", "1").output().expect("it runs");
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("part 2 of 2, by the index of the Kubernetes job"), "{said}");
    assert_eq!(text(&output.stdout), format!("parts{}shard-2-of-2\n", std::path::MAIN_SEPARATOR));
    for part in ["shard-1-of-2", "shard-2-of-2"] {
        assert_eq!(files(&desk.path("parts").join(part), ".png").len(), 500);
    }

    assert_eq!(desk.good("gallery merge parts --out merged"), "merged\n");
    let (merged, whole) = (files(&desk.path("merged"), ".png"), files(&desk.path("thousand"), ".png"));
    assert_eq!(merged.len(), 1000);
    assert!(merged == whole, "pictures of two parts are those of one run");
    assert_eq!(listed(&desk.path("merged")), listed(&desk.path("thousand")));
    let indices: Vec<Value> = listed(&desk.path("merged")).iter().map(|entry| entry["index"].clone()).collect();
    assert_eq!(indices, (0..1000).map(Value::from).collect::<Vec<_>>());
    // The merged folder is the gallery of the whole, with nothing left to make.
    assert_eq!(files(&desk.path("merged"), "gallery.json"), files(&desk.path("thousand"), "gallery.json"));
    desk.good(&format!("{command} --out merged"));

    // Compared, every class has a picture, an output and a place in the page.
    let said = desk.good("compare -w w.safetensors --pictures merged --out report");
    assert!(said.ends_with(&format!("report{}index.html\n", std::path::MAIN_SEPARATOR)), "{said}");
    assert_eq!(files(&desk.path("report/pictures"), ".png").len(), 1000);
    for table in ["pictures.csv", "outputs.csv"] {
        let lines = fs::read_to_string(desk.path("report/data").join(table)).expect("a table").lines().count();
        assert_eq!(lines, 1001, "{table}");
    }

    let refused = desk.refused("gallery merge parts parts/shard-1-of-2 --out other");
    assert!(refused.contains("part 1 of 2 is doubled"), "{refused}");
    let gone = desk.path("parts/shard-2-of-2/0001-goldfish.png");
    fs::rename(&gone, desk.path("goldfish.png")).expect("moved");
    let refused = desk.refused("gallery merge parts --out other");
    assert!(refused.contains("1 of 500 pictures are missing (1 goldfish); run its command again"), "{refused}");
    fs::copy(desk.path("parts/shard-2-of-2/0003-tiger-shark.png"), &gone).expect("copied");
    let refused = desk.refused("gallery merge parts --out other");
    assert!(refused.contains("0001-goldfish.png: is not the picture that manifest.jsonl lists"), "{refused}");
    desk.good(&format!("{command} --shard 2/2 --out seed --seed 1 --classes 0-1"));
    let refused = desk.refused("gallery merge parts/shard-1-of-2 seed --out other");
    assert!(refused.contains("are not of one gallery: they differ in") && refused.contains("seed (was "), "{refused}");
    let refused = desk.refused("gallery merge thousand --out other");
    assert!(refused.contains("thousand: is a whole gallery, not a shard"), "{refused}");
}

#[test]
fn another_gallery_does_not_mix_into_a_folder() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 1, 32);
    desk.recipe("other.toml", 2, 32);
    desk.thousand("w.safetensors", 1, |_| {});
    desk.thousand("v.safetensors", 2, |_| {});
    let command = |weights: &str, more: &str| {
        format!("gallery -w {weights}.safetensors --recipe tiny.toml --classes goldfish,3-4 --out g {more}")
    };
    desk.good(&command("w", ""));
    let before = files(&desk.path("g"), "");
    let names: Vec<&str> = before.keys().map(String::as_str).filter(|name| name.ends_with(".png")).collect();
    assert_eq!(names, ["0001-goldfish.png", "0003-tiger-shark.png", "0004-hammerhead.png"]);
    for (changed, what) in [
        (command("v", ""), "networks.0.sha256 (was \""),
        (command("w", "--seed 1"), "seed (was 0, is 1)"),
        (command("w", "--constant 100"), "constant (was 200.0, is 100.0)"),
        (
            command("w", "--objective opposite"),
            "constant (was 200.0, is null), objective (was \"class\", is \"opposite\")",
        ),
        (command("w", "--normalize source"), "recipe (was normalize = \"imagenet\", is normalize = \"source\")"),
        (command("w", "").replace("tiny.toml", "other.toml"), "recipe (was iterations = 1, is iterations = 2)"),
        (command("w", "").replace("3-4", "3-5"), "classes (were 3, are 4)"),
        (command("w", "").replace("3-4", "3,5"), "classes.2.0 (was 4, is 5)"),
        (command("w", "--weight 2"), "networks.0.weight (was 1.0, is 2.0)"),
    ] {
        let said = desk.refused(&changed);
        assert!(said.contains(&format!("g: holds another gallery, which differs in {what}")), "{said}");
        assert!(said.contains("; name another folder (--out), or delete that gallery (--overwrite)"), "{said}");
        assert_eq!(files(&desk.path("g"), ""), before, "{changed}");
    }
    // A picture that somebody else has changed is not passed off as this one's.
    let one = desk.path("g/0003-tiger-shark.png");
    fs::copy(desk.path("g/0001-goldfish.png"), &one).expect("copied");
    let said = desk.refused(&command("w", ""));
    assert!(
        said.contains("0003-tiger-shark.png: is not the picture that manifest.jsonl lists; move it away"),
        "{said}"
    );
    fs::remove_file(&one).expect("removed");
    desk.good(&command("w", ""));
    assert_eq!(files(&desk.path("g"), ".png")["0003-tiger-shark.png"], before["0003-tiger-shark.png"]);

    fs::write(desk.path("g/notes.txt"), "mine").expect("written");
    desk.good(&command("w", "--seed 1 --overwrite").replace("3-4", "3"));
    let after = files(&desk.path("g"), "");
    let names: Vec<&str> = after.keys().map(String::as_str).collect();
    let expected =
        [".lock", "0001-goldfish.png", "0003-tiger-shark.png", "gallery.json", "manifest.jsonl", "notes.txt"];
    assert_eq!(names, expected);
    assert_ne!(after["0001-goldfish.png"], before["0001-goldfish.png"]);

    // A folder that holds something else, and one that somebody works on.
    fs::create_dir(desk.path("mine")).expect("a folder");
    fs::write(desk.path("mine/0001-goldfish.png"), "a picture").expect("written");
    let said = desk.refused(&command("w", "").replace("--out g", "--out mine"));
    assert!(said.contains("mine: is there, and no gallery; name another folder"), "{said}");
    let lock = fs::File::open(desk.path("g/.lock")).expect("a lock");
    lock.lock().expect("nobody has it");
    let said = desk.refused(&command("w", "--seed 1").replace("3-4", "3"));
    assert!(said.contains("g: another process is at work in it"), "{said}");
}

#[test]
fn a_picture_that_fails_does_not_stop_the_others() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 2, 32);
    // The weights of two classes are so large that their logits are not finite; the others never meet them.
    let spoiled = [2, 5];
    desk.thousand("bad.safetensors", 1, |state| {
        let weight = state.get_mut("fc.weight").expect("a last layer");
        let features = weight.len() / 1000;
        for class in spoiled {
            weight[class * features..][..features].fill(3e38);
        }
    });
    desk.thousand("good.safetensors", 1, |_| {});
    let command = |weights: &str| {
        format!("gallery -w {weights}.safetensors --recipe tiny.toml --classes 0-7 --out {weights} --quiet")
    };
    desk.good(&command("good"));
    let failed = |said: &str| {
        assert!(said.contains("2 of 8 pictures could not be made: 2 great white shark ("), "{said}");
        assert!(said.contains("), 5 electric ray ("), "{said}");
    };
    failed(&desk.refused(&command("bad")));
    let (good, bad) = (files(&desk.path("good"), ".png"), files(&desk.path("bad"), ".png"));
    assert_eq!((good.len(), bad.len()), (8, 6));
    let pixels =
        |folder: &str, name: &String| entoptic::picture::read(&desk.path(folder).join(name)).expect("a picture").values;
    for name in bad.keys() {
        assert_eq!(pixels("bad", name), pixels("good", name), "{name}: the other weights are the same");
    }
    let reasons: BTreeMap<u64, String> = listed(&desk.path("bad"))
        .iter()
        .filter_map(|entry| Some((entry["index"].as_u64()?, entry["failed"].as_str()?.to_owned())))
        .collect();
    assert_eq!(reasons.keys().copied().collect::<Vec<_>>(), [2, 5]);
    assert!(reasons.values().all(|why| why.contains("its loss became")), "{reasons:?}");
    // Again: only those are tried that are not there.
    failed(&desk.refused(&command("bad")));
    assert_eq!(files(&desk.path("bad"), ".png"), bad);
    assert_eq!(listed(&desk.path("bad")).len(), 8);
    // With a look behind every layer each fails, for the last layer is not finite whatever the class: as a batch, then alone.
    let said = desk.refused(&format!("{} --check-finite", command("bad").replace("--out bad", "--out checked")));
    assert!(
        said.contains("8 of 8 pictures could not be made: 0 tench (fc produced a value that is not finite"),
        "{said}"
    );
}

#[test]
fn mistakes_are_told_in_one_line() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 1, 32);
    for (arguments, expected) in [
        ("-m resnet50 -m googlenet --out g", "--objective Class takes one --model (joint takes several), not 2"),
        ("-m resnet50 --objective joint --out g", "takes two --model or more, not 1"),
        ("-m resnet50 --objective match --out g", "takes two --model, of which the first matches pictures"),
        ("-m resnet50 --classes 3-12 --out g", "--classes 3-12: these networks have classes 0 to 9"),
        ("-m resnet50 --classes nothing --out g", "no class \"nothing\""),
        ("-m resnet50 --shards 3 --out g", "--shards 3: nothing here tells which of them this is"),
        ("-m resnet50 --recipe absent.toml --out g", "absent.toml: No such file"),
        ("merge absent --out g", "reading folder absent"),
        ("merge . --out g", ".: holds no gallery, nor shards of one"),
    ] {
        let said = desk.refused(&format!("gallery {arguments}"));
        assert!(said.contains(expected), "{arguments}: {said}");
        assert!(!desk.path("g").exists(), "{arguments}");
    }
    for misuse in ["gallery -m resnet50", "gallery -m resnet50 --out g --shard 3/2", "gallery merge g"] {
        assert_eq!(desk.run(misuse).status.code(), Some(2), "{misuse}");
    }
}
