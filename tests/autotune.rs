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
        let units = device().adapter().class.units();
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
    let table = Tiling::Table { units: device().adapter().class.units() };
    let expected = Pass::ALL.map(|pass| entoptic::ops::choose(&problem(pass), &table)).to_vec();
    assert_eq!((ask(&tuner), tuner.measured().0), (expected.clone(), 0));
    let tomorrow = Autotuner::new(device(), settings(folder.path(), MINUTE));
    assert_eq!((ask(&tomorrow), tomorrow.measured().0), (expected, 0));
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
