//! `entoptic bench`

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use entoptic::files::{self, check_writable};
use entoptic::measure::{Pass, network, pass, peaks, usual};
use entoptic::nets::Structure;
use entoptic::tensor::Shape;

use super::models::{Model, Weights};
use super::networks::open;
use super::options::Global;

#[derive(Args)]
pub struct BenchArgs {
    /// Network; by default ResNet50, GoogLeNet and InceptionV3; may be given again
    #[arg(long)]
    pub model: Vec<Structure>,
    /// File of a network: weights, or one that describes a whole one; may be given again
    #[arg(long, short, value_name = "FILE")]
    pub weights: Vec<PathBuf>,
    /// Side of the pictures in pixels [default: 299]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=2048))]
    pub size: Option<u32>,
    /// Pictures at once
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: u32,
    /// Times that each is done, besides the first
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// File for the table, to be shared (Markdown)
    #[arg(long, short, value_name = "FILE.md")]
    pub out: Option<PathBuf>,
}

pub fn run(global: &Global, args: BenchArgs) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        check_writable(out).context("--out")?;
    }
    let device = open(global)?;
    let peaks = peaks(&device)?;
    let known = if args.model.is_empty() && args.weights.is_empty() { usual() } else { args.model };
    let side = args.size.unwrap_or(299);
    let mut table = format!(
        "# {}\n\nentoptic {} on {} {}; {} px, batch {}, median of {}; f32; networks that are named have their full size and random \
         weights. At best this adapter does {:.1} GFLOP/s and {:.1} GB/s.\n\n",
        device.adapter(),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        side,
        args.batch,
        args.repeats,
        peaks.flops / 1e9,
        peaks.bytes / 1e9,
    );
    table += "| network | pass | first, s | warm, ms | spread, ms | GFLOP/s | of best | launches | memory, MiB |\n";
    table += "|---|---|---|---|---|---|---|---|---|\n";
    print!("{table}");
    // One at a time: large ones may not fit beside each other.
    let known = known.into_iter().map(|structure| network(&device, &structure).map_err(anyhow::Error::from));
    let files = args.weights.into_iter().enumerate().map(|(index, file)| {
        let model = Model::new(None, Weights::from(file));
        Ok(model.load(global, &device, index)?.network)
    });
    for network in known.chain(files) {
        let network = network?;
        let structure = &network.structure;
        let pictures = Shape::new(args.batch as usize, 3, side as usize, side as usize);
        for what in [Pass::Forward, Pass::InputGradient] {
            let timing = pass(&device, &network, what, pictures, args.repeats as usize)?;
            let speed = timing.flops.unwrap_or_default() as f64 / timing.median;
            let from = table.len();
            writeln!(
                table,
                "| {structure} | {} | {:.2} | {:.2} | {:.2} | {:.1} | {:.0} % | {} | {} |",
                what.name(),
                timing.first,
                timing.median * 1e3,
                timing.spread * 1e3,
                speed / 1e9,
                100.0 * speed / peaks.flops,
                timing.dispatches,
                timing.bytes >> 20,
            )?;
            print!("{}", &table[from..]);
        }
    }
    if let Some(out) = &args.out {
        files::replace(out, |file| file.write_all(table.as_bytes())).context("--out")?;
        global.say(format_args!("{}", out.display()));
    }
    Ok(())
}
