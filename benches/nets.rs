//! Whole networks at full size: forward, forward with the gradient of a class with respect to the picture, a training step.
//!
//! `cargo bench --bench nets -- [NETWORK...] [--size 299,224] [--batch 1,8,32] [--pass forward,input,training] [--repeats 3]`
//! Without any: all three networks at 299 pixels, batch 1, without training: half a minute on two cores without a GPU, where batch
//! 32 takes minutes. Weights are random: speed does not depend on their values. Prints a table for `results/`.

use anyhow::{Context, Result, bail};
use entoptic::device::{AdapterChoice, Device};
use entoptic::measure::{Pass, network, pass, peak_resident, peaks};
use entoptic::nets::Architecture;
use entoptic::tensor::Shape;

fn main() -> Result<()> {
    let (mut names, mut sizes, mut batches, mut repeats) = (Vec::new(), vec![299], vec![1], 3);
    let mut passes = vec![Pass::Forward, Pass::InputGradient];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut list = || arguments.next().with_context(|| format!("a value follows {argument}"));
        let numbers = |list: String| list.split(',').map(|n| n.parse().context("a number")).collect::<Result<Vec<_>>>();
        match argument.as_str() {
            "--size" => sizes = numbers(list()?)?,
            "--batch" => batches = numbers(list()?)?,
            "--repeats" => repeats = numbers(list()?)?[0],
            "--pass" => passes = list()?.split(',').map(named).collect::<Result<_>>()?,
            name if !name.starts_with('-') => names.push(name.parse::<Architecture>().map_err(anyhow::Error::msg)?),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = Architecture::ALL.to_vec();
    }
    let device = Device::open(&std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default())?;
    let peaks = peaks(&device)?;
    println!(
        "{}; at best {:.1} GFLOP/s and {:.1} GB/s; median of {repeats}\n",
        device.adapter(),
        peaks.flops / 1e9,
        peaks.bytes / 1e9
    );
    println!(
        "| network | px | batch | pass | first, s | warm, s | spread, s | host, ms | GFLOP/s | of peak | launches | plan, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for architecture in names {
        let network = network(&device, architecture)?;
        for (&size, &batch) in sizes.iter().flat_map(|size| batches.iter().map(move |batch| (size, batch))) {
            for &what in &passes {
                let timing = pass(&device, &network, what, Shape::new(batch, 3, size, size), repeats)?;
                let speed = timing.flops.map(|flops| flops as f64 / timing.median);
                println!(
                    "| {architecture} | {size} | {batch} | {} | {:.2} | {:.3} | {:.3} | {} | {} | {} | {} | {} |",
                    what.name(),
                    timing.first,
                    timing.median,
                    timing.spread,
                    shown(timing.host.map(|seconds| seconds * 1e3), 2),
                    shown(speed.map(|speed| speed / 1e9), 1),
                    shown(speed.map(|speed| 100.0 * speed / peaks.flops), 0) + " %",
                    timing.dispatches,
                    timing.bytes >> 20,
                );
            }
        }
    }
    if let Some(bytes) = peak_resident() {
        println!("\nPeak resident set of the process: {} MiB.", bytes >> 20);
    }
    Ok(())
}

fn named(word: &str) -> Result<Pass> {
    match word {
        "forward" => Ok(Pass::Forward),
        "input" => Ok(Pass::InputGradient),
        "training" => Ok(Pass::Training),
        _ => bail!("no pass is called \"{word}\"; there are: forward, input, training"),
    }
}

fn shown(number: Option<f64>, digits: usize) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.digits$}"))
}
