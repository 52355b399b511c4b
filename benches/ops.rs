//! The kernels of the networks, each by itself with the sizes that it has there, beside what the adapter does at best.
//!
//! `cargo bench --bench ops -- [NETWORK...] [--size 299] [--batch 1] [--repeats 3] [--top 12]`
//! Takes them from the recording of a forward pass with the gradient of the picture, so that it follows whatever kernels the
//! networks use. Prints a table of the costliest for `results/`.

use anyhow::{Context, Result};
use entoptic::device::{AdapterChoice, Device};
use entoptic::measure::{kernels, network, peaks, record};
use entoptic::nets::Architecture;
use entoptic::tensor::Shape;

fn main() -> Result<()> {
    let (mut names, mut size, mut batch, mut repeats, mut top) = (Vec::new(), 299, 1, 3, 12);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).context("a number follows");
        match argument.as_str() {
            "--size" => size = number()?,
            "--batch" => batch = number()?,
            "--repeats" => repeats = number()?,
            "--top" => top = number()?,
            name if !name.starts_with('-') => names.push(name.parse::<Architecture>().map_err(anyhow::Error::msg)?),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = Architecture::ALL.to_vec();
    }
    let device = Device::open(&std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default())?;
    let peaks = peaks(&device)?;
    let (gflops, gbytes) = (peaks.flops / 1e9, peaks.bytes / 1e9);
    println!("{}; {size} px, batch {batch}, median of {repeats}", device.adapter());
    println!("At best {gflops:.1} GFLOP/s without memory, {gbytes:.1} GB/s copying.");
    for architecture in names {
        let recording = record(&device, &network(&device, architecture)?, true, Shape::new(batch, 3, size, size))?;
        let timings = kernels(&device, &recording, repeats)?;
        let all: f64 = timings.iter().map(|timing| timing.total()).sum();
        let (launches, different) = (recording.dispatches.len(), timings.len());
        println!("\n{architecture}: {launches} launches, {different} different, {all:.3} s one by one\n");
        println!(
            "| first layer and kernel | launches | ms each | share | GFLOP/s | of peak | GB/s at most | of copy |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for timing in timings.iter().take(top) {
            let (flops, bytes) =
                (timing.flops as f64 / timing.seconds / 1e9, timing.bytes as f64 / timing.seconds / 1e9);
            println!(
                "| {} | {} | {:.2} | {:.1} % | {flops:.1} | {:.0} % | {bytes:.1} | {:.0} % |",
                timing.label,
                timing.count,
                timing.seconds * 1e3,
                100.0 * timing.total() / all,
                100.0 * flops / gflops,
                100.0 * bytes / gbytes,
            );
        }
    }
    Ok(())
}
