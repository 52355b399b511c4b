//! Measured choices and kept pipelines, forced on whatever adapter the tests have.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::gpu::device;
use entoptic::autotune::{Autotuner, Settings, install};
use entoptic::device::{AdapterChoice, Choices, Class, Device, Recorder, Source, Tiling, Tuning, Variant};
use entoptic::device::{Externals, Program};
use entoptic::ops::{Conv2d, Forward, Op, Pass, Problem, Sizes, View, Window};
use entoptic::tensor::{Array, Layout, Shape};

fn problem(pass: Pass) -> Problem {
    let (x, weight, y) = (Shape::new(3, 5, 9, 8), Shape::new(7, 5, 3, 3), Shape::new(3, 7, 5, 4));
    Problem { pass, sizes: Sizes { x, weight, y, window: Window::plain([2, 2], [1, 1]) } }
}

fn settings(folder: &Path, time: Duration) -> Settings {
    let mut settings = Settings::new(Some(folder.to_owned()), |line| panic!("{line}"));
    settings.time = time;
    settings.candidates = 3;
    settings
}

fn ask(tuner: &Autotuner) -> Vec<Variant> {
    Pass::ALL.map(|pass| tuner.variant(pass.entry(), &problem(pass).sizes.numbers())).to_vec()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_was_measured_is_kept_until_the_file_is_damaged() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let first = Autotuner::new(device(), settings(folder.path(), MINUTE));
    let empty = first.digest();
    let chosen = ask(&first);
    assert_eq!(first.measured().0, 3, "one measurement for each pass");
    assert_eq!(ask(&first), chosen);
    assert_eq!(first.measured().0, 3, "asked again, it remembers");
    assert_ne!(first.digest(), empty);
    for (pass, &variant) in Pass::ALL.into_iter().zip(&chosen) {
        let units = device().adapter().units();
        assert!(problem(pass).candidates(units)[..3].contains(&variant), "{pass:?}: {variant}");
    }

    let second = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&second), second.measured().0), (chosen.clone(), 0), "another process reads the file");
    assert_eq!(second.digest(), first.digest(), "the same choices have the same name");

    let file = first.file().expect("a file");
    fs::write(&file, "{ \"about\"").expect("writes");
    let third = Autotuner::new(device(), settings(folder.path(), MINUTE));
    let again = ask(&third);
    assert_eq!(third.measured().0, 3, "a damaged file counts for nothing");
    let fourth = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&fourth), fourth.measured().0), (again, 0), "and is written anew");
}

#[test]
fn out_of_time_the_table_chooses_and_its_choice_stays() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let tuner = Autotuner::new(device(), settings(folder.path(), Duration::ZERO));
    let table = Tiling::Table { units: device().adapter().units() };
    let expected = Pass::ALL.map(|pass| entoptic::ops::choose(&problem(pass), &table)).to_vec();
    assert_eq!((ask(&tuner), tuner.measured().0), (expected.clone(), 0));
    let tomorrow = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&tomorrow), tomorrow.measured().0), (expected, 0));
}

/// Each has read the empty folder before the other one measured.
#[test]
fn two_processes_that_tune_at_once_make_the_same_choices() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let both = [0; 2].map(|_| Autotuner::new(device(), settings(folder.path(), MINUTE)));
    let [one, other] = std::thread::scope(|scope| {
        both.each_ref().map(|tuner| scope.spawn(|| ask(tuner))).map(|asked| asked.join().expect("asked"))
    });
    assert_eq!(one, other);
    assert_eq!(both.iter().map(|tuner| tuner.measured().0).sum::<usize>(), 3, "each problem by one of them");
    let tomorrow = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&tomorrow), tomorrow.measured().0), (one, 0));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "the choices alone are left");
}

/// A tuner that may warn, and its warnings.
fn warning(folder: &Path) -> (Autotuner, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&said);
    let mut settings = settings(folder, MINUTE);
    settings.warn = Box::new(move |line| lines.lock().expect("one thread").push(line.to_owned()));
    (Autotuner::new(device(), settings), said)
}

#[test]
fn a_kernel_with_which_a_process_ended_is_not_run_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let layer = problem(Pass::Forward);
    let deadly = layer.candidates(device().adapter().units())[0];
    let first = Autotuner::new(device(), settings(folder.path(), Duration::ZERO));
    assert_eq!(ask(&first)[0], deadly, "the table would have it");
    let file = first.file().expect("a file");
    let numbers = layer.sizes.numbers().into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let mark = file.with_extension("running");
    fs::write(&mark, format!("{} {numbers}\t{deadly}\n", Pass::Forward.entry())).expect("written");
    let (second, said) = warning(folder.path());
    assert_ne!(ask(&second)[0], deadly);
    let said = said.lock().expect("one thread");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with(&format!("kernel {deadly} is not used for conv2d.forward ")), "{said:?}");
    assert!(said[0].ends_with(": an earlier process ended while it ran") && !mark.exists(), "{said:?}");
    // It is remembered when the choice itself is gone, and is not said again.
    let third = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&third), third.measured().0), (ask(&second), 0));
}

#[test]
fn a_choice_that_nobody_has_checked_is_checked_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let unmeasured = Autotuner::new(device(), settings(folder.path(), Duration::ZERO));
    let table = ask(&unmeasured);
    let file = unmeasured.file().expect("a file");
    let checked = || fs::read_to_string(&file).expect("a file").matches("\"checked\": true").count();
    assert_eq!(checked(), 0);
    let second = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&second), second.measured().0, checked()), (table.clone(), 0, 3), "and all of them are right");
    let spent = |tuner: &Autotuner| tuner.measured().1;
    let third = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&third), spent(&third)), (table, Duration::ZERO), "it takes no time again");
    assert!(spent(&second) > Duration::ZERO);
}

/// Bias, residual, relu, another gradient, mask and two pictures are part of what is compared; a kernel that is off is warned of.
#[test]
fn every_candidate_computes_what_the_oracle_says() {
    for numbers in [[3, 9, 8, 5, 7, 3, 3, 2, 2, 1, 1], [1, 6, 7, 24, 140, 1, 1, 1, 1, 0, 0]] {
        let mut settings = Settings::new(None, |line| panic!("{line}"));
        (settings.time, settings.candidates) = (10 * MINUTE, usize::MAX);
        let tuner = Autotuner::new(device(), settings);
        for pass in Pass::ALL {
            tuner.variant(pass.entry(), &numbers);
        }
        assert_eq!(tuner.measured().0, 3);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_said_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").expect("writes");
    let said = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&said);
    let mut settings = settings(&blocked, Duration::ZERO);
    settings.warn = Box::new(move |line| lines.lock().expect("one thread").push(line.to_owned()));
    let tuner = Autotuner::new(device(), settings);
    ask(&tuner);
    let said = said.lock().expect("one thread");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("measurements cannot be kept: "), "{said:?}");
}

#[test]
fn software_drivers_are_not_measured() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let device = device().apart();
    let software = device.adapter().class == Class::Software;
    let installed = install(&device, settings(folder.path(), MINUTE)).is_some();
    assert_eq!(installed, !software);
    assert_eq!(matches!(device.tuning().tiling, Tiling::Measured(_)), !software);
}

/// Recordings ask the tuner that a device was given; its own recordings do not.
#[test]
fn recordings_use_what_was_measured() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let device = device().apart();
    let tuner = Arc::new(Autotuner::new(&device, settings(folder.path(), MINUTE)));
    device.set_tiling(Tiling::Measured(Arc::clone(&tuner) as Arc<dyn Choices>));
    let shader = |tuning: Tuning| {
        let mut recorder = Recorder::new(tuning);
        let Sizes { x, weight, y, window } = problem(Pass::Forward).sizes;
        let mut view = |shape, layout: Layout| {
            View::whole(recorder.buffer("value", layout.bytes(shape), Source::Transient), shape, layout)
        };
        let (inputs, output) = ([view(x, Layout::Picture), view(weight, Layout::Filter)], view(y, Layout::Picture));
        let op = Conv2d::of(window);
        op.forward(&mut recorder, &Forward { inputs: &inputs, output, saved: &[] });
        recorder.finish().dispatches[0].kernel.shader.name
    };
    let measured = shader(device.tuning());
    assert_eq!(tuner.measured().0, 1);
    let chosen = tuner.variant(Pass::Forward.entry(), &problem(Pass::Forward).sizes.numbers());
    assert_eq!(measured, shader(Tuning { tiling: Tiling::Always(chosen), ..device.tuning() }));
    assert_eq!(device.tuning().tiling.to_string(), tuner.digest());
}

/// A device of its own: the shared one has compiled its kernels without a folder.
#[test]
fn compiled_pipelines_are_kept_where_the_driver_can() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let open = || {
        let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
        Device::open(&choice).expect("an adapter")
    };
    let files = || -> Vec<_> {
        fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").path()).collect()
    };
    let run = |device: &Device| {
        let mut recorder = Recorder::new(device.tuning());
        let shape = Shape::new(1, 4, 3, 3);
        let view = |id| View::whole(id, shape, Layout::Picture);
        let x = view(recorder.external("x", Layout::Picture.bytes(shape)));
        let y = view(recorder.external("y", Layout::Picture.bytes(shape)));
        entoptic::ops::Relu.forward(&mut recorder, &Forward { inputs: &[x], output: y, saved: &[] });
        let mut externals = Externals::new();
        for name in ["x", "y"] {
            let array = Array::filled(shape, -1.0);
            externals.insert(name.into(), device.upload(name, Layout::Picture, &array).expect("room"));
        }
        Program::prepare(device, "relu", &recorder.finish(), &externals).expect("prepares").run().expect("runs");
        let y = device.download(&externals["y"], Layout::Picture, shape).expect("reads");
        assert_eq!(y, Array::filled(shape, 0.0));
    };
    let first = open();
    if !first.keep_pipelines(folder.path()) {
        assert_ne!(first.adapter().backend, "vulkan", "Vulkan drivers have pipeline caches");
        return;
    }
    run(&first);
    drop(first);
    let kept = files();
    assert_eq!(kept.len(), 1, "{kept:?}");
    for damaged in [None, Some(0), Some(40)] {
        if let Some(at) = damaged {
            let mut bytes = fs::read(&kept[0]).expect("reads");
            bytes[at] ^= 1;
            fs::write(&kept[0], bytes).expect("writes");
        }
        let device = open();
        assert!(device.keep_pipelines(folder.path()));
        run(&device);
        device.save_pipelines().expect("writes");
    }
    assert_eq!(files(), kept);
    #[cfg(unix)]
    {
        pipe_at(&kept[0]);
        let device = open();
        assert!(device.keep_pipelines(folder.path()));
        run(&device);
        assert!(device.save_pipelines().is_err(), "a pipe is not replaced");
    }
}

/// Puts a pipe, from which nothing ever comes, in the place of a file.
#[cfg(unix)]
fn pipe_at(path: &Path) {
    fs::remove_file(path).ok();
    assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_measurements_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = Autotuner::new(device(), settings(folder.path(), MINUTE)).file().expect("a file");
    pipe_at(&file);
    let said = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&said);
    let mut settings = settings(folder.path(), Duration::ZERO);
    settings.warn = Box::new(move |line| lines.lock().expect("one thread").push(line.to_owned()));
    ask(&Autotuner::new(device(), settings));
    let said = said.lock().expect("one thread");
    assert!(said.len() == 1 && said[0].starts_with("measurements cannot be kept: "), "{said:?}");
}
