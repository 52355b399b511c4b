//! What the measurements do is what they say they do; how fast it is is not asked.

// Compiled into each test program, of which each uses a part.
mod common;

use common::gpu::device;
use common::reference::structure;
use entoptic::device::{Externals, Program, Recorder};
use entoptic::measure::{Pass, kernels, network, pass, peaks, record};
use entoptic::ops::Peak;
use entoptic::tensor::Shape;

const VECTORS: usize = 1000; // not a whole number of workgroups

/// Runs what is recorded on a buffer `x` of counting numbers, and gives the buffer `out`.
fn run(record: impl Fn(&mut Recorder)) -> Vec<f32> {
    let mut recorder = Recorder::new(device().tuning());
    record(&mut recorder);
    let recording = recorder.finish();
    let mut externals = Externals::new();
    Program::provide(device(), &recording, &mut externals).expect("room");
    if let Some(x) = externals.get("x") {
        device().write(x, &counting()).expect("written");
    }
    Program::prepare(device(), "peak", &recording, &externals).expect("prepares").run().expect("runs");
    let out = &externals["out"];
    device().readback(out.bytes).expect("room").read(device(), out).expect("reads")
}

fn counting() -> Vec<f32> {
    (0..4 * VECTORS).map(|k| k as f32).collect()
}

#[test]
fn the_copy_copies_and_the_arithmetic_is_all_done() {
    let bytes = 16 * VECTORS as u64;
    let copied = run(|recorder| {
        let (x, out) = (recorder.external("x", bytes), recorder.external("out", bytes));
        Peak::copy(recorder, x, out, VECTORS);
    });
    assert_eq!(copied, counting());
    let rounds = 37;
    let summed = run(|recorder| {
        let out = recorder.external("out", bytes);
        Peak::multiply_add(recorder, out, VECTORS, rounds);
    });
    let expected = (0..4 * VECTORS).map(|k| (8 * (k / 4) + 28 + 8 * rounds) as f32).collect::<Vec<_>>();
    assert_eq!(summed, expected);
}

#[test]
fn peaks_are_finite_and_not_absurd() {
    let peaks = peaks(device()).expect("runs");
    // A tenth of a core of a slow computer, and a thousand times the fastest card.
    assert!((1e8..1e17).contains(&peaks.flops) && (1e7..1e16).contains(&peaks.bytes), "{peaks:?}");
}

#[test]
fn every_launch_of_a_network_is_counted_once() {
    let network = network(device(), &structure("googlenet")).expect("room");
    let pictures = Shape::new(1, 3, 64, 64);
    let (recording, _) = record(device(), &network, true, pictures).expect("records");
    let timings = kernels(device(), &recording, 1).expect("runs");
    assert_eq!(timings.iter().map(|timing| timing.count).sum::<usize>(), recording.dispatches.len());
    assert_eq!(timings.iter().map(|timing| timing.count as u64 * timing.flops).sum::<u64>(), recording.flops());
    assert!(timings.len() < recording.dispatches.len() && timings.is_sorted_by(|a, b| a.total() >= b.total()));
    assert!(timings.iter().all(|timing| timing.seconds > 0.0 && timing.bytes > 0));
    let whole = pass(device(), &network, Pass::InputGradient, pictures, 1).expect("runs");
    assert_eq!((whole.dispatches, whole.flops), (recording.dispatches.len(), Some(recording.flops())));
    let weights: u64 = network.buffers().values().map(|buffer| buffer.bytes).sum();
    assert!(whole.first > 0.0 && whole.median > 0.0 && whole.bytes > weights / 2, "{whole:?}");
}
