//! Whole networks at full size: forward, forward with the gradient of a class with respect to the picture, a training step.
//!
//! `cargo bench --bench nets -- [NETWORK...] [--size 299,224] [--batch 1,8,32] [--pass forward,input,training]`
//! Without any: all three networks at 299 pixels, batch 1, without training: a minute on two cores without a GPU, where batch
//! 32 takes many. Weights are random: speed does not depend on their values. Criterion takes the samples and compares them with
//! its last ones; in the end there is a table for `results/`.

mod common;

use anyhow::{Context, Result, bail};
use entoptic::measure::{Pass, Ready, network, peak_resident, peaks, thread_seconds};
use entoptic::nets::Structure;
use entoptic::tensor::Shape;

use common::{criterion, open, sample};

fn main() -> Result<()> {
    let (mut names, mut sizes, mut batches) = (Vec::new(), vec![299], vec![1]);
    let mut passes = vec![Pass::Forward, Pass::InputGradient];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut list = || arguments.next().with_context(|| format!("a value follows {argument}"));
        let numbers = |list: String| list.split(',').map(|n| n.parse().context("a number")).collect::<Result<Vec<_>>>();
        match argument.as_str() {
            "--size" => sizes = numbers(list()?)?,
            "--batch" => batches = numbers(list()?)?,
            "--pass" => passes = list()?.split(',').map(named).collect::<Result<_>>()?,
            name if !name.starts_with('-') => names.push(name.parse::<Structure>().map_err(anyhow::Error::msg)?),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = entoptic::measure::usual();
    }
    let device = open()?;
    let peaks = peaks(&device)?;
    let (mut criterion, mut rows) = (criterion(), Vec::new());
    for architecture in names {
        let network = network(&device, &architecture)?;
        for (&size, &batch) in sizes.iter().flat_map(|size| batches.iter().map(move |batch| (size, batch))) {
            for &what in &passes {
                let mut ready = Ready::pass(&device, &network, what, Shape::new(batch, 3, size, size))?;
                let timing = ready.timing.clone();
                let name = (&*format!("{architecture}, {size} px, batch {batch}"), what.name());
                let mut host = Vec::new();
                let times = sample(&mut criterion, name, timing.flops, || {
                    let before = thread_seconds();
                    let seconds = ready.run()?;
                    host.extend(thread_seconds().zip(before).map(|(now, before)| now - before));
                    Ok(seconds)
                })?;
                let host = (!host.is_empty()).then(|| host.iter().sum::<f64>() / host.len() as f64);
                let (median, spread) = (times[times.len() / 2], times[times.len() - 1] - times[0]);
                let speed = timing.flops.map(|flops| flops as f64 / median);
                rows.push(format!(
                    "| {architecture} | {size} | {batch} | {} | {:.2} | {median:.3} | {spread:.3} | {} | {} | {} | {} | {} |",
                    what.name(),
                    timing.first,
                    shown(host.map(|seconds| seconds * 1e3), 2),
                    shown(speed.map(|speed| speed / 1e9), 1),
                    shown(speed.map(|speed| 100.0 * speed / peaks.flops), 0) + " %",
                    timing.dispatches,
                    timing.bytes >> 20,
                ));
            }
        }
    }
    let (flops, bytes) = (peaks.flops / 1e9, peaks.bytes / 1e9);
    println!("\n{}; at best {flops:.1} GFLOP/s and {bytes:.1} GB/s\n", device.adapter());
    println!(
        "| network | px | batch | pass | first, s | warm, s | spread, s | host, ms | GFLOP/s | of peak | launches | plan, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|\n{}", rows.join("\n"));
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
