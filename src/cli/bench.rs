//! `entoptic bench`

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use entoptic::device::Device;
use entoptic::files::{self, check_writable};
use entoptic::measure::{Pass, Peaks, kernels, network, pass, peaks, record, usual};
use entoptic::nets::{Network, Structure};
use entoptic::tensor::Shape;

use super::models::{Model, Weights};
use super::networks::{load_one, open};
use super::options::Global;

#[derive(Args)]
pub struct BenchArgs {
    /// Network; by default ResNet50, GoogLeNet and InceptionV3; may be given again
    #[arg(long)]
    pub model: Vec<Structure>,
    /// File of a network: weights, or one that describes a whole one; may be given again
    #[arg(long, short, value_name = "FILE")]
    pub weights: Vec<PathBuf>,
    /// Side of the pictures in pixels
    #[arg(long, default_value_t = 299, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=2048))]
    pub size: u32,
    /// Pictures at once
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: u32,
    /// Times that each is done, besides the first
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// What is measured: logits; logits and the gradient of a class with respect to the pictures; a step of training
    #[arg(long = "pass", value_name = "PASS", value_delimiter = ',', default_values = ["forward", "input"])]
    pub passes: Vec<Measured>,
    /// Also time every different kernel launch of the gradient by itself, and list this many of the costliest
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub layers: usize,
    /// File for the table, to be shared (Markdown)
    #[arg(long, short, value_name = "FILE.md")]
    pub out: Option<PathBuf>,
}

/// A pass by the word that an option has for it.
#[derive(Clone, Copy, ValueEnum)]
pub enum Measured {
    Forward,
    Input,
    Training,
}

impl From<Measured> for Pass {
    fn from(measured: Measured) -> Pass {
        match measured {
            Measured::Forward => Pass::Forward,
            Measured::Input => Pass::InputGradient,
            Measured::Training => Pass::Training,
        }
    }
}

pub fn run(global: &Global, args: BenchArgs) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        check_writable(out).context("--out")?;
    }
    let device = open(global)?;
    let peaks = peaks(&device)?;
    let known = if args.model.is_empty() && args.weights.is_empty() { usual() } else { args.model };
    let side = args.size;
    let mut table = format!(
        "# {}\n\nentoptic {} on {} {}; {} px, batch {}, median of {}; f32; networks that are named have their full size and random \
         weights. At best this adapter does {:.1} GFLOP/s and {:.1} GB/s. Kernels: {}.\n\n",
        device.adapter(),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        side,
        args.batch,
        args.repeats,
        peaks.flops / 1e9,
        peaks.bytes / 1e9,
        if global.no_autotune { "those of the table" } else { "those that were measured, where the adapter is a GPU" },
    );
    table += "| network | pass | first, s | warm, ms | spread, ms | host, ms | GFLOP/s | of best | launches | memory, MiB |\n";
    table += "|---|---|---|---|---|---|---|---|---|---|\n";
    print!("{table}");
    let mut layers = String::new();
    // One at a time: large ones may not fit beside each other.
    let known = known.into_iter().map(|structure| network(&device, &structure).map_err(anyhow::Error::from));
    let files = args.weights.into_iter().enumerate().map(|(index, file)| {
        let model = Model::new(None, Weights::from(file));
        Ok(load_one(global, &device, &model, index)?.network)
    });
    for network in known.chain(files) {
        let network = network?;
        let structure = &network.structure;
        let pictures = Shape::new(args.batch as usize, 3, side as usize, side as usize);
        for what in args.passes.iter().map(|&what| Pass::from(what)) {
            let timing = pass(&device, &network, what, pictures, args.repeats as usize)?;
            let speed = timing.flops.map(|flops| flops as f64 / timing.median);
            let from = table.len();
            writeln!(
                table,
                "| {structure} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {} |",
                what.name(),
                timing.first,
                timing.median * 1e3,
                timing.spread * 1e3,
                timing.host.map_or("-".to_owned(), |seconds| format!("{:.2}", seconds * 1e3)),
                speed.map_or("-".to_owned(), |speed| format!("{:.1}", speed / 1e9)),
                speed.map_or("-".to_owned(), |speed| format!("{:.0} %", 100.0 * speed / peaks.flops)),
                timing.dispatches,
                timing.bytes >> 20,
            )?;
            print!("{}", &table[from..]);
        }
        if args.layers > 0 {
            // Behind the networks' own table, so that that is one.
            layers += &costliest(&device, (structure, &network), pictures, args.repeats as usize, args.layers, peaks)?;
        }
    }
    print!("{layers}");
    table += &layers;
    if let Some(out) = &args.out {
        files::replace(out, |file| file.write_all(table.as_bytes())).context("--out")?;
        global.say(format_args!("{}", out.display()));
    }
    Ok(())
}

/// The costliest kernel launches of a forward pass with input gradient, each measured by itself.
fn costliest(
    device: &Device,
    (structure, network): (&Structure, &Network),
    pictures: Shape,
    repeats: usize,
    count: usize,
    peaks: Peaks,
) -> anyhow::Result<String> {
    let (recording, _) = record(device, network, true, pictures)?;
    let timings = kernels(device, &recording, repeats)?;
    let all: f64 = timings.iter().map(|timing| timing.total()).sum();
    let mut table = format!(
        "\n{}, kernels by themselves, {:.2} ms in all:\n\n| first layer and kernel | launches | each, ms | of all | GFLOP/s | of best \
         | GB/s |\n|---|---|---|---|---|---|---|\n",
        structure,
        all * 1e3,
    );
    for timing in timings.iter().take(count) {
        let speed = timing.flops as f64 / timing.seconds;
        writeln!(
            table,
            "| {} | {} | {:.3} | {:.1} % | {:.1} | {:.0} % | {:.1} |",
            timing.label,
            timing.count,
            timing.seconds * 1e3,
            100.0 * timing.total() / all,
            speed / 1e9,
            100.0 * speed / peaks.flops,
            timing.bytes as f64 / timing.seconds / 1e9,
        )?;
    }
    Ok(table)
}
