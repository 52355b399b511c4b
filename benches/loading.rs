//! What loading a network takes in memory.
//!
//! `cargo bench --bench loading -- FILE`: one file of weights in a process of its own. Prints a row of the table that
//! `scripts/full_size_weights.sh` makes: MiB of the file; peak memory of reading it tensor by tensor; the same of loading the network to the device, where a software adapter keeps its buffers in the memory of the process too; and a
//! digest of the logits for one picture. Peak memory is the resident set at its highest less the one before, over the size
//! of the file.

// What the tests share; this program uses the device and the picture.
#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

use common::generator::checksum;
use common::gpu::device;
use common::reference::input;
use entoptic::evaluate::{Scene, outputs};
use entoptic::nets::{Head, Network, Normalize, Structure};
use entoptic::objective::Place;
use entoptic::weights::Checkpoint;

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let file = file.expect("a file of weights must be named");
    let size = std::fs::metadata(&file).expect("the file is there").len() as f64;
    // Before the loader is measured, so that its figure is not that of the driver.
    let device = device();

    let read_peak = measured(|| {
        let checkpoint = Checkpoint::open(&file).expect("a file of weights");
        for name in checkpoint.names() {
            std::hint::black_box(checkpoint.read(name).expect("finite numbers"));
        }
    });
    let mut loaded = None;
    let load_peak = measured(|| {
        let checkpoint = Checkpoint::open(&file).expect("a file of weights");
        let architecture = Structure::of(&checkpoint).expect("a known network");
        loaded = Some(Network::load(device, &architecture, &checkpoint, "loading").expect("weights that fit"));
        device.wait("loading").expect("uploaded");
    });
    let network = loaded.expect("loaded");
    let scene = Scene::of(vec![&network], Normalize::Source);
    let places = [Place::Logits(0, Head::Main)];
    let logits = outputs(device, &scene, &input(1, 224), &places, true).expect("runs").remove(0).values;
    println!(
        "| {} | {:.1} | {:.2} | {:.2} | {:016x} |",
        file.file_name().expect("a file").display(),
        size / f64::from(1 << 20),
        read_peak / size,
        load_peak / size,
        checksum(&logits),
    );
}

/// Bytes by which the resident set grows at most while `work` is done.
fn measured(work: impl FnOnce()) -> f64 {
    // Linux forgets the highest resident set when it is told so.
    std::fs::write("/proc/self/clear_refs", "5").expect("memory is measured on Linux only");
    let before = resident("VmRSS:");
    work();
    resident("VmHWM:") - before
}

/// A line of the process's status, in bytes.
fn resident(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("memory is measured on Linux only");
    let kibibytes = status.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB"));
    kibibytes.expect("a line of that name").parse::<f64>().expect("a number") * 1024.0
}
