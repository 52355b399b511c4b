//! `entoptic bench`

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use entoptic::files::{self, check_writable};
use entoptic::measure::{Pass, network, pass, peaks, usual};
use entoptic::nets::Structure;
use entoptic::tensor::Shape;

use super::networks::open;
use super::options::Global;

#[derive(Args)]
pub struct BenchArgs {
    /// Network; by default ResNet50, GoogLeNet and InceptionV3; may be given again
    #[arg(long)]
    pub model: Vec<Structure>,
    /// Side of the pictures in pixels
    #[arg(long, default_value_t = 299, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(75..=2048))]
    pub size: u32,
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
    let networks = if args.model.is_empty() { usual() } else { args.model };
    let mut table = format!(
        "# {}\n\nentoptic {} on {} {}; {} px, batch {}, median of {}; full-size networks, f32, random weights. At best this adapter does \
         {:.1} GFLOP/s and {:.1} GB/s.\n\n",
        device.adapter(),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        args.size,
        args.batch,
        args.repeats,
        peaks.flops / 1e9,
        peaks.bytes / 1e9,
    );
    table += "| network | pass | first, s | warm, ms | spread, ms | GFLOP/s | of best | launches | memory, MiB |\n";
    table += "|---|---|---|---|---|---|---|---|---|\n";
    print!("{table}");
    for structure in networks {
        let network = network(&device, &structure)?;
        let side = args.size as usize;
        let pictures = Shape::new(args.batch as usize, 3, side, side);
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
