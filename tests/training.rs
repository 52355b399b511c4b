//! Whole runs of training: towards another network, from scratch on labels, taken up again, refused.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::reference::structure;
use std::ops::ControlFlow;
use std::path::Path;

use common::generator::Generator;
use common::gpu::device;
use entoptic::classes::ClassList;
use entoptic::nets::{BatchNormMode, Network, Normalize, Structure};
use entoptic::ops::{Adam, Metric, Sgd};
use entoptic::picture::write_png;
use entoptic::tensor::{Array, Shape};
use entoptic::training::{
    Event, Folder, Job, Lesson, Optimiser, Schedule, State, Strength, TeacherLoss, initial_weights, picture_files, run,
};
use entoptic::weights::{Checkpoint, demo};

const SGD: Sgd = Sgd { momentum: 0.9, weight_decay: 5e-4, nesterov: true };

fn demo_network(architecture: Structure, id: &str) -> Network {
    let checkpoint = demo(architecture.name()).unwrap().unwrap();
    Network::load(device(), &architecture, &checkpoint, id).unwrap()
}

/// Squares of random colours: something to see at every scale that a network looks at.
fn blocks(n: usize, side: usize) -> Array {
    Array::new(Shape::new(n, 3, side, side), Generator { seed: 7 }.blocks(n, side))
}

/// One demo network towards the other on given pictures.
fn towards<'a>(student: &'a Network, teacher: &'a Network, pictures: &'a Array, steps: usize) -> Job<'a> {
    let loss = TeacherLoss::Distance(Metric::SumOfSquares);
    Job {
        student,
        lesson: Lesson::Teacher { teacher, pictures, loss },
        normalize: Normalize::Imagenet,
        batch_norm: BatchNormMode::Frozen,
        batch: 1,
        side: pictures.shape.h(),
        optimiser: Optimiser::Sgd(Sgd::default()),
        rate: 1e-4,
        schedule: Schedule::Constant,
        steps,
        seed: 0,
        state: None,
        report_every: 10,
        check_finite: false,
        checkpoint_every: None,
    }
}

/// Runs a job; the events but for steps, in words, and how it ended.
fn finish(job: &Job, stop_at: Option<usize>) -> (Vec<String>, entoptic::Result<State>) {
    let mut events = Vec::new();
    let state = run(device(), job, &mut |event| {
        match event {
            Event::Prepared { dispatches, .. } => events.push(format!("prepared {}", dispatches > 0)),
            Event::Step { step } if Some(step) == stop_at => return Ok(ControlFlow::Break(())),
            Event::Step { .. } => {}
            Event::Progress { step, steps, .. } => events.push(format!("{step}/{steps}")),
            Event::Epoch { epoch, best, .. } => events.push(format!("epoch {epoch}, best {}", best.is_some())),
            Event::Skipped(reasons) => events.extend(reasons.iter().map(|reason| format!("skipped {reason}"))),
            Event::Checkpoint(state) => events.push(format!("state {}", state.step)),
        }
        Ok(ControlFlow::Continue(()))
    });
    (events, state)
}

#[test]
fn a_student_comes_nearer_to_its_teacher() {
    let (student, teacher) =
        (demo_network(structure("resnet50"), "student"), demo_network(structure("googlenet"), "teacher"));
    let picture = blocks(1, 64);
    let before = teacher.weights(device()).unwrap();
    let job = Job { checkpoint_every: Some(16), ..towards(&student, &teacher, &picture, 40) };
    let (events, state) = finish(&job, None);
    assert_eq!(events[..3], ["prepared true", "10/40", "16/40"]);
    assert_eq!(
        events.iter().filter(|event| event.starts_with("state")).collect::<Vec<_>>(),
        ["state 16", "state 32", "state 40"]
    );
    let losses = state.unwrap().losses;
    assert_eq!(losses.len(), 40);
    // The source's experiment falls 15-fold in 1000 steps of 1e-5 at the pictures' full size; with ten times that rate the
    // small ones fall hundreds of times in 40 steps.
    assert!(losses[39] < losses[0] / 15.0, "{} to {}", losses[0], losses[39]);
    assert_eq!(teacher.weights(device()).unwrap(), before, "the teacher stays as it was");
}

#[test]
fn every_loss_and_optimiser_brings_the_student_nearer() {
    let teacher = demo_network(structure("googlenet"), "teacher");
    let pictures = blocks(3, 48);
    let adam = Optimiser::Adam(Adam::default());
    let cases = [
        (TeacherLoss::Distance(Metric::L1), adam, 1e-3),
        (
            TeacherLoss::Distance(Metric::L2),
            Optimiser::Sgd(Sgd { nesterov: true, momentum: 0.9, ..Sgd::default() }),
            1e-4,
        ),
        (TeacherLoss::CrossEntropy, adam, 1e-3),
    ];
    for (loss, optimiser, rate) in cases {
        let student = demo_network(structure("resnet50"), "student");
        let job = Job {
            lesson: Lesson::Teacher { teacher: &teacher, pictures: &pictures, loss },
            optimiser,
            rate,
            batch_norm: BatchNormMode::Batch,
            batch: 2,
            ..towards(&student, &teacher, &pictures, 24)
        };
        let losses = finish(&job, None).1.unwrap().losses;
        // Two pictures of three at a time come round after three steps.
        let [first, last] = [&losses[..3], &losses[21..]].map(|losses| losses.iter().sum::<f32>());
        assert!(last < first / 1.5, "{loss:?}, {optimiser:?}: {losses:?}");
    }
}

/// Red and blue noise in folders, some of it wider than high.
fn colours(folder: &Path, train: usize, val: usize) -> Folder {
    for (part, count) in [("train", train), ("val", val)] {
        for (class, hue) in [("blue", 2), ("red", 0)] {
            let place = folder.join(part).join(class);
            std::fs::create_dir_all(&place).unwrap();
            for index in 0..count {
                let shape = Shape::new(1, 3, 36, 36 + index % 3 * 4);
                let mut noise =
                    Generator { seed: 3 }.tensor_symmetric(&format!("{part}/{class}/{index}"), shape.elements(), 0.5);
                for (channel, plane) in noise.chunks_mut(shape.h() * shape.w()).enumerate() {
                    plane.iter_mut().for_each(|value| *value += if channel == hue { 0.6 } else { 0.4 });
                }
                write_png(&place.join(format!("{index}.png")), &Array::new(shape, noise), &[]).unwrap();
            }
        }
    }
    Folder::open(folder).unwrap()
}

fn newborn(folder: &Folder) -> Network {
    let weights = initial_weights(&structure("googlenet"), 0.0625, 2, 1).unwrap();
    let classes = ClassList::parse(&folder.classes.join(","));
    Network::from_arrays(device(), &structure("googlenet"), &weights, classes, "new").unwrap()
}

fn from_scratch<'a>(student: &'a Network, folder: &'a Folder, attack: Option<Strength>, steps: usize) -> Job<'a> {
    Job {
        student,
        lesson: Lesson::Labels { folder, smoothing: 0.05, attack },
        normalize: Normalize::Imagenet,
        batch_norm: BatchNormMode::Batch,
        batch: 8,
        side: 32,
        optimiser: Optimiser::Sgd(SGD),
        rate: 0.05,
        schedule: Schedule::OneCycle,
        steps,
        seed: 5,
        state: None,
        report_every: 100,
        check_finite: false,
        checkpoint_every: None,
    }
}

#[test]
fn a_new_network_learns_to_tell_colours_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = colours(folder.path(), 32, 10);
    for attack in [None, Some(Strength { eps: 0.5, steps: 2 })] {
        let student = newborn(&folder);
        let (events, state) = finish(&from_scratch(&student, &folder, attack, 48), None);
        let state = state.unwrap();
        assert_eq!(events[1..3], ["8/48", "epoch 1, best true"]);
        assert_eq!(state.accuracies.len(), 6);
        assert!(state.accuracies[5] > 0.9, "attack {attack:?}: {:?}, {:?}", state.accuracies, state.losses);
    }
}

#[test]
fn a_run_taken_up_again_ends_with_the_same_weights() {
    let place = tempfile::tempdir().unwrap();
    let folder = colours(place.path(), 16, 4);
    let attack = Some(Strength { eps: 0.5, steps: 1 });
    for optimiser in [Optimiser::Sgd(SGD), Optimiser::Adam(Adam::default())] {
        let whole = newborn(&folder);
        let job = Job { optimiser, ..from_scratch(&whole, &folder, attack, 12) };
        let whole = finish(&job, None).1.unwrap();
        // Stopped in the middle of the second epoch, written, read, taken up by another network.
        let first = newborn(&folder);
        let job = Job { student: &first, ..job };
        let (events, state) = finish(&job, Some(6));
        assert_eq!(events.last().unwrap(), "state 6");
        let file = place.path().join("run.state.safetensors");
        state.unwrap().write(&file).unwrap();
        let second = newborn(&folder);
        let state = Some(State::read(&file).unwrap());
        let resumed = finish(&Job { student: &second, state, ..job }, None).1.unwrap();
        assert_eq!((resumed.step, &resumed.accuracies), (12, &whole.accuracies));
        assert_eq!(resumed, whole, "bit by bit");
        // Another rate is another run.
        let state = Some(resumed);
        let refused = finish(&Job { student: &second, state, rate: 0.01, ..job }, None).1.unwrap_err();
        assert_eq!(refused.to_string(), "resume: rate is 0.01, expected 0.05");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_the_first_step() {
    let place = tempfile::tempdir().unwrap();
    let folder = colours(place.path(), 2, 1);
    let (two, teacher) = (newborn(&folder), demo_network(structure("googlenet"), "teacher"));
    let pictures = blocks(1, 32);
    let refused = |job: &Job| {
        let (events, state) = finish(job, None);
        assert!(events.len() < 2, "{events:?}");
        state.unwrap_err().to_string()
    };
    assert_eq!(
        refused(&towards(&two, &teacher, &pictures, 1)),
        "objective training: student googlenet (new weights) has 2 classes, teacher googlenet (demo-googlenet (built in)) \
         has 10; a student needs a teacher with as many"
    );
    let job = from_scratch(&two, &folder, None, 4);
    assert_eq!(refused(&job), "objective training: 4 photographs do not fill a batch of 8");
    assert!(
        refused(&Job { student: &teacher, batch: 2, ..job }).ends_with("2 class folders for a network of 10 classes")
    );
    assert!(refused(&Job { batch: 2, steps: 0, ..from_scratch(&two, &folder, None, 4) }).ends_with("no step to do"));
    // A batch of one with a last map of one pixel has no variance.
    assert!(
        refused(&Job { batch: 1, ..from_scratch(&two, &folder, None, 4) }).contains("number of values per channel")
    );

    let open = |spoil: &dyn Fn(&Path)| {
        let place = tempfile::tempdir().unwrap();
        colours(place.path(), 1, 1);
        spoil(place.path());
        let message = Folder::open(place.path()).unwrap_err().to_string();
        message.replace(&place.path().display().to_string(), "DIR")
    };
    let remove = |path: &str| {
        let path = path.to_owned();
        move |place: &Path| std::fs::remove_dir_all(place.join(&path)).unwrap()
    };
    assert_eq!(open(&remove("val/red")), "DIR/val: has 1 class folders, at least 2 are needed");
    assert_eq!(
        open(&|place| std::fs::rename(place.join("val/red"), place.join("val/rot")).unwrap()),
        "DIR/val: has no folder for class red"
    );
    assert_eq!(
        open(&|place| std::fs::create_dir(place.join("val/green")).unwrap()),
        "DIR/train: has no folder for class green"
    );
    assert_eq!(
        open(&|place| std::fs::remove_file(place.join("train/red/0.png")).unwrap()),
        "DIR/train/red: has no picture whose name ends in .jpg, .png, .webp, .gif, .tif or .bmp"
    );
    assert!(open(&remove("train")).starts_with("DIR/train: "));

    // Photographs of which none can be read end the run with a name.
    for photograph in &folder.train {
        std::fs::write(&photograph.path, b"no picture").unwrap();
    }
    let error = finish(&Job { batch: 2, ..from_scratch(&two, &folder, None, 4) }, None).1.unwrap_err().to_string();
    assert!(error.contains(".png: is not a picture"), "{error}");
}

#[test]
fn photographs_that_cannot_be_read_are_skipped_and_told_once() {
    let place = tempfile::tempdir().unwrap();
    let folder = colours(place.path(), 4, 3);
    let two = newborn(&folder);
    for broken in ["train/red/1.png", "val/blue/0.png"] {
        std::fs::write(place.path().join(broken), b"no picture").unwrap();
    }
    // Every photograph comes in each epoch of two steps.
    let job = Job { batch: 4, ..from_scratch(&two, &folder, None, 4) };
    let (events, state) = finish(&job, None);
    let state = state.unwrap();
    assert_eq!((state.step, state.losses.len(), state.accuracies.len()), (4, 4, 2));
    let told: Vec<&String> = events.iter().filter(|event| event.starts_with("skipped ")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for name in ["train/red/1.png", "val/blue/0.png"] {
        assert!(told.iter().any(|event| event.contains(name) && event.contains("is not a picture")), "{told:?}");
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let (student, teacher) =
        (demo_network(structure("googlenet"), "student"), demo_network(structure("resnet50"), "teacher"));
    let picture = blocks(1, 32);
    let job = Job { rate: 1e10, ..towards(&student, &teacher, &picture, 10) };
    let error = finish(&job, None).1.unwrap_err();
    assert!(error.to_string().starts_with("loss produced a value that is not finite at step "), "{error}");
    // Looked for behind every layer, it has a place. The student's weights are no numbers by now.
    let error = finish(&Job { check_finite: true, ..job }, None).1.unwrap_err();
    assert_eq!(error.to_string(), "conv1.conv produced a value that is not finite at step 1");
}

/// The program from outside.
mod program {
    use std::path::Path;
    use std::process::{Command, Output};

    pub fn entoptic(folder: &Path, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.current_dir(folder).args(arguments.split_whitespace());
        // What the user has fetched is not used.
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"));
        }
        command
    }

    pub fn train(folder: &Path, arguments: &str) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = entoptic(folder, &format!("train {arguments}")).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn the_program_trains_writes_and_goes_on() {
    let place = tempfile::tempdir().unwrap();
    write_png(&place.path().join("a.png"), &blocks(1, 40), &[]).unwrap();
    let run =
        "--student googlenet --teacher resnet50 --images a.png --size 40 --lr 1e-4 --steps 12 --out s.safetensors";
    let (code, stdout, stderr) = program::train(place.path(), run);
    assert_eq!((code, stdout.as_str()), (Some(0), "s.safetensors\n"), "{stderr}");
    assert!(stderr.contains("step 12/12: ") && stderr.contains(" times less"), "{stderr}");
    let (_, _, stderr) = program::train(place.path(), &run.replace("12 --out s", "1 --out one"));
    assert!(stderr.contains("loss ") && stderr.contains(" in all; after two rounds"), "{stderr}");
    let curve = std::fs::read_to_string(place.path().join("s.csv")).unwrap();
    let lines: Vec<&str> = curve.lines().collect();
    assert_eq!((lines.len(), lines[0]), (13, "step,rate,loss"));
    assert!(lines[12].starts_with("12,1e-4,"), "{curve}");
    // What it wrote is a network like any other.
    let output =
        program::entoptic(place.path(), "outputs --model googlenet --weights s.safetensors --image a.png").output();
    assert!(output.unwrap().status.success());
    // Nothing is left to do for the same command; another one is not this run.
    let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume"));
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume --adam"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("error: resume: optimiser is Adam"), "{stderr}");
}

/// With the last step done there is nothing to do but to see to the files.
#[test]
fn weights_that_are_gone_or_old_come_back_from_the_state() {
    let place = tempfile::tempdir().unwrap();
    write_png(&place.path().join("a.png"), &blocks(1, 40), &[]).unwrap();
    colours(&place.path().join("data"), 4, 2);
    let read = |name: &str| std::fs::read(place.path().join(name));
    let towards = "--student googlenet --teacher resnet50 --images a.png --size 40 --steps 3 --out s.safetensors";
    let labels = "--model googlenet --width 0.0625 --data data --size 32 --batch 4 --epochs 2 --out s.safetensors";
    for run in [towards, labels] {
        let (code, _, stderr) = program::train(place.path(), run);
        assert_eq!(code, Some(0), "{stderr}");
        let files = ["s.safetensors", "s.csv"].map(|name| (name, read(name).unwrap()));
        for old in [false, true] {
            for (name, _) in &files {
                std::fs::remove_file(place.path().join(name)).unwrap();
                if old {
                    std::fs::write(place.path().join(name), "of another day").unwrap();
                }
            }
            let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume"));
            assert_eq!(code, Some(0), "{stderr}");
            assert!(files.iter().all(|(name, bytes)| read(name).unwrap() == *bytes), "{run}, old {old}: {stderr}");
        }
        // Other bytes in as many pictures are other pictures.
        let swapped: Vec<_> = match run == towards {
            true => vec![place.path().join("a.png")],
            false => picture_files(&place.path().join("data/train/red")).unwrap(),
        };
        let kept = std::fs::read(&swapped[0]).unwrap();
        write_png(&swapped[0], &blocks(1, 41), &[]).unwrap();
        let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume"));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("error: resume: pictures is "), "{stderr}");
        std::fs::write(&swapped[0], kept).unwrap();
    }
}

#[test]
fn a_run_that_goes_on_elsewhere_says_so() {
    let place = tempfile::tempdir().unwrap();
    write_png(&place.path().join("a.png"), &blocks(1, 40), &[]).unwrap();
    let run = "--student googlenet --teacher resnet50 --images a.png --size 40 --steps 2 --out s.safetensors";
    assert_eq!(program::train(place.path(), run).0, Some(0));
    let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume"));
    assert!(code == Some(0) && !stderr.contains("warning"), "{stderr}");
    let path = place.path().join("s.state.safetensors");
    let state = State::read(&path).unwrap();
    State { adapter: "another card".into(), ..state }.write(&path).unwrap();
    let (code, _, stderr) = program::train(place.path(), &format!("{run} --resume"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("warning: the run was begun on another card; on "), "{stderr}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    let place = tempfile::tempdir().unwrap();
    write_png(&place.path().join("a.png"), &blocks(1, 40), &[]).unwrap();
    let run = |steps: usize| {
        format!(
            "train --student googlenet --teacher resnet50 --images a.png --size 40 --steps {steps} --checkpoint-every 3 --out s.safetensors"
        )
    };
    let mut command = program::entoptic(place.path(), &run(100_000));
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let state = place.path().join("s.state.safetensors");
    while !state.exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pressed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(pressed.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the same command with --resume goes on from s.state.safetensors"), "{stderr}");
    let step = State::read(&state).unwrap().step;
    assert!(stderr.contains(&format!("stopped after step {step} of 100000")), "{stderr}");
    assert_eq!(std::fs::read_to_string(place.path().join("s.csv")).unwrap().lines().count(), step + 1);
}

#[test]
fn the_program_refuses_what_makes_no_sense() {
    let place = tempfile::tempdir().unwrap();
    write_png(&place.path().join("a.png"), &blocks(1, 40), &[]).unwrap();
    colours(&place.path().join("data"), 2, 1);
    let teacher = "--student resnet50 --teacher googlenet --images a.png";
    for (arguments, code, words) in [
        ("--model resnet50 --out s.safetensors", 2, "<--teacher <NETWORK>|--data <FOLDER>>"),
        ("--model resnet50 --teacher googlenet --out s.safetensors", 2, "--images"),
        (&format!("{teacher} --data data --out s.safetensors"), 2, "cannot be used with"),
        (&format!("{teacher} --width 0.5 --out s.safetensors"), 2, "cannot be used with"),
        (&format!("{teacher} --momentum 1.5 --out s.safetensors"), 2, "a number from 0 to below 1"),
        (&format!("{teacher} --out s.png"), 1, "--out s.png: weights are written as .safetensors"),
        (&format!("{teacher} --out absent/s.safetensors"), 1, "there is no such folder"),
        (&format!("{teacher} --out s.safetensors --resume"), 1, "s.state.safetensors: there is no such file"),
        ("--student resnet50 --teacher googlenet --images b.png --out s.safetensors", 1, "--images b.png: "),
        (
            "--student googlenet --weights demo-plain --teacher googlenet --images a.png --out s.safetensors",
            1,
            "there is no demo-googlenet-plain",
        ),
        ("--model googlenet --data . --out s.safetensors", 1, "--data .: ./train: "),
        ("--model googlenet --data data --out s.safetensors", 1, "4 photographs do not fill a batch of 64"),
    ] {
        let (found, stdout, stderr) = program::train(place.path(), arguments);
        assert_eq!(found, Some(code), "{arguments}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments}: {stderr}");
    }
    assert!(!place.path().join("s.safetensors").exists());
}

#[test]
fn the_program_learns_labels_and_says_what_it_kept() {
    let place = tempfile::tempdir().unwrap();
    colours(&place.path().join("data"), 4, 2);
    let new = "--model googlenet --width 0.1 --data data --batch 2 --size 32 --epochs 1 --adversarial-eps 0.5";
    let (code, stdout, stderr) = program::train(place.path(), &format!("{new} --out new.safetensors"));
    assert_eq!((code, stdout.as_str()), (Some(0), "new.safetensors\n"), "{stderr}");
    assert!(stderr.contains("epoch 1: loss ") && stderr.contains("best validation accuracy "), "{stderr}");
    let kept = Checkpoint::open(&place.path().join("new.safetensors")).unwrap();
    let words = ["network", "width", "classes", "normalisation", "side", "adversarial_eps", "transform_input"];
    let words = words.map(|key| kept.metadata()[key].as_str());
    assert_eq!(words, ["googlenet", "0.1", "blue,red", "imagenet", "32", "0.5", "false"]);
    assert!(kept.metadata()["val_accuracy"].parse::<f32>().unwrap() <= 1.0);
    // Its own classes stay, those of others give way to a new last layer. Less than an epoch is judged at the end.
    for (weights, said) in
        [("--weights new.safetensors", "the same classes"), ("--weights demo", "a new last layer for 2 classes")]
    {
        std::fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo-googlenet.safetensors"),
            place.path().join("demo"),
        )
        .unwrap();
        let more =
            format!("--model googlenet {weights} --data data --batch 2 --size 32 --steps 1 --out more.safetensors");
        let (code, _, stderr) = program::train(place.path(), &more);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains(said) && stderr.contains("best validation accuracy "), "{stderr}");
        assert_eq!(Checkpoint::open(&place.path().join("more.safetensors")).unwrap().metadata()["classes"], "blue,red");
    }
}
