//! Whole networks at full size: forward, and forward with the gradient of a class with respect to the picture.
//!
//! `cargo bench --bench nets -- [NETWORK...] [--size 224] [--batch 1] [--repeats 3] [--unfolded]`. Weights come from the tests' generator:
//! speed does not depend on their values. Prints seconds (median), the spread, and GFLOP/s of convolutions.

// What the tests share; this program uses the part that fills networks.
#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::gpu::device;
use common::reference::{input, network_with};
use entoptic::device::{Externals, Program, Recorder};
use entoptic::evaluate::PICTURE;
use entoptic::nets::{BatchNormMode, Head, Network};
use entoptic::objective::{Form, Objective, Term, class_input};
use entoptic::tape::{Request, Tape};
use entoptic::tensor::{Array, Layout, Shape};

fn main() {
    let (mut names, mut size, mut batch, mut repeats) = (Vec::new(), 224, 1, 3);
    let mut mode = BatchNormMode::Folded;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number follows");
        match argument.as_str() {
            "--size" => size = number(),
            "--batch" => batch = number(),
            "--repeats" => repeats = number(),
            "--unfolded" => mode = BatchNormMode::Frozen,
            name if !name.starts_with('-') => names.push(name.to_owned()),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = ["resnet50", "googlenet", "inception_v3"].map(String::from).to_vec();
    }
    println!("adapter: {}; {size} px, batch {batch}, median of {repeats}", device().adapter());
    println!("| network | pass | first, s | warm, s | spread, s | GFLOP/s | launches | memory, MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for name in names {
        let network = network_with(&name, &[], &name);
        for gradient in [false, true] {
            bench(&name, &network, mode, (size, batch), repeats, gradient);
        }
    }
}

fn bench(
    name: &str,
    network: &Network,
    mode: BatchNormMode,
    (size, batch): (usize, usize),
    repeats: usize,
    gradient: bool,
) {
    let device = device();
    let picture = input(batch, size);
    let started = Instant::now();
    let mut tape = Tape::default();
    let x = tape.input(PICTURE, picture.shape);
    let outputs = network.forward(&mut tape, x, mode, &[], &[]).expect("fits");
    let objective = Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] };
    let loss = objective.record(&mut tape, x, &[outputs]).expect("records").total;
    let request = match gradient {
        true => Request { keep: vec![loss], loss: Some(loss), wrt: vec![x] },
        false => Request { keep: vec![loss], ..Request::default() },
    };
    let mut recorder = Recorder::new(device.tuning());
    tape.record(&mut recorder, &request).expect("records");
    let mut externals: Externals = network.buffers().clone();
    if mode == BatchNormMode::Folded {
        externals.extend(network.folded(device).expect("room"));
    }
    let class = Array::filled(Shape::per_picture(batch), 11.0);
    for (key, array) in [(PICTURE.to_owned(), &picture), (class_input(0), &class)] {
        let buffer = device.upload(&key, Layout::Picture, array).expect("room");
        externals.insert(key, buffer);
    }
    let recording = recorder.finish();
    let mut program = Program::prepare(device, "bench", &recording, &externals).expect("prepares");
    let mut run = || {
        let started = Instant::now();
        program.run().expect("runs");
        device.wait("bench").expect("runs");
        started.elapsed().as_secs_f64()
    };
    run();
    let first = started.elapsed().as_secs_f64();
    let mut times: Vec<f64> = (0..repeats.max(1)).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "| {name} | {} | {first:.2} | {median:.3} | {:.3} | {:.1} | {} | {:.0} |",
        if gradient { "forward + input gradient" } else { "forward" },
        times[times.len() - 1] - times[0],
        recording.flops() as f64 / median / 1e9,
        program.dispatches(),
        program.plan().total_bytes() as f64 / f64::from(1 << 20),
    );
}
