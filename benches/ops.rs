//! The kernels of the networks, each by itself with the sizes that it has there, beside what the adapter does at best.
//!
//! `cargo bench --bench ops -- [NETWORK...] [--size 299] [--batch 1] [--top 12]`
//! Takes them from the recording of a forward pass with the gradient of the picture, so that it follows whatever kernels the
//! networks use. Criterion samples the costliest of them; in the end there is a table for `results/`.

mod common;

use std::fmt::Write;

use anyhow::{Context, Result};
use entoptic::measure::{Ready, different, kernels, network, peaks, record};
use entoptic::nets::Structure;
use entoptic::tensor::Shape;

use common::{criterion, open, sample};

fn main() -> Result<()> {
    let (mut names, mut size, mut batch, mut top) = (Vec::new(), 299, 1, 12);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).context("a number follows");
        match argument.as_str() {
            "--size" => size = number()?,
            "--batch" => batch = number()?,
            "--top" => top = number()?,
            name if !name.starts_with('-') => names.push(name.parse::<Structure>().map_err(anyhow::Error::msg)?),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = entoptic::measure::usual();
    }
    let device = open()?;
    let peaks = peaks(&device)?;
    let (gflops, gbytes) = (peaks.flops / 1e9, peaks.bytes / 1e9);
    let (mut criterion, mut report) = (criterion(), String::new());
    for architecture in names {
        let (recording, _) =
            record(&device, &network(&device, &architecture)?, true, Shape::new(batch, 3, size, size))?;
        // A first look, to know which are worth a longer one.
        let timings = kernels(&device, &recording, 1)?;
        let all: f64 = timings.iter().map(|timing| timing.total()).sum();
        let (launches, kinds) = (recording.dispatches.len(), timings.len());
        writeln!(report, "\n{architecture}: {launches} launches, {kinds} different, {all:.3} s one by one\n")?;
        report +=
            "| first layer and kernel | launches | ms each | share | GFLOP/s | of peak | GB/s at most | of copy |\n";
        report += "|---|---|---|---|---|---|---|---|\n";
        for timing in timings.iter().take(top) {
            let (dispatch, _) = different(&recording)[timing.place];
            let mut ready = Ready::kernel(&device, &recording, dispatch)?;
            let name = (&*format!("{architecture}, {size} px, batch {batch}"), &*timing.label);
            let times = sample(&mut criterion, name, Some(timing.flops), || ready.run())?;
            let seconds = times[times.len() / 2];
            let (flops, bytes) = (timing.flops as f64 / seconds / 1e9, timing.bytes as f64 / seconds / 1e9);
            writeln!(
                report,
                "| {} | {} | {:.2} | {:.1} % | {flops:.1} | {:.0} % | {bytes:.1} | {:.0} % |",
                timing.label,
                timing.count,
                seconds * 1e3,
                100.0 * seconds * timing.count as f64 / all,
                100.0 * flops / gflops,
                100.0 * bytes / gbytes,
            )?;
        }
    }
    println!("\n{}; {size} px, batch {batch}", device.adapter());
    println!("At best {gflops:.1} GFLOP/s without memory, {gbytes:.1} GB/s copying.\n{report}");
    Ok(())
}
