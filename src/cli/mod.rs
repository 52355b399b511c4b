//! The command line: arguments, defaults, messages, progress, exit codes. Nothing that a user of the library would miss.

mod accuracy;
mod adapters;
mod args;
mod bench;
mod blend;
mod demo;
mod difference;
mod feature;
mod fetch;
mod film;
mod generate;
mod gradient;
mod layers;
mod making;
mod merge;
mod models;
mod networks;
mod objectives;
mod opposite;
mod outputs;
mod progress;
mod recipes;
mod represent;
mod score;
mod score_numbers;
mod score_report;
mod subjects;
mod terminal;
mod train;
mod train_args;
mod weights;

use std::io::Write;
use std::path::Path;

use clap::Parser;

use args::{Arguments, Command};

/// Parses the arguments (exit code 2 when they make no sense) and does what they say.
pub fn run() -> anyhow::Result<()> {
    let Arguments { global, command } = Arguments::parse();
    match command {
        Command::Accuracy(args) => accuracy::run(&global, args),
        Command::Adapters => adapters::run(),
        Command::Bench(args) => bench::run(&global, args),
        Command::Blend(args) => blend::run(&global, args),
        Command::Demo(args) => demo::run(&global, args),
        Command::Difference(args) => difference::run(&global, args),
        Command::Dream(args) => feature::dream(&global, args),
        Command::Feature(args) => feature::run(&global, args),
        Command::Generate(args) => generate::run(&global, args),
        Command::Gradient(args) => gradient::run(&global, args),
        Command::Layers(args) => layers::run(&global, args),
        Command::Match(args) => represent::run(&global, args),
        Command::Merge(args) => merge::run(&global, args),
        Command::Opposite(args) => opposite::run(&global, args),
        Command::Outputs(args) => outputs::run(&global, args),
        Command::Recipes(args) => recipes::run(args),
        Command::Score(args) => score::run(&global, args),
        Command::Train(args) => train::run(&global, args),
        Command::Weights(args) => weights::run(&global, args),
    }
}

/// A line with a path on standard output, byte for byte, so that whoever reads it finds the file also where its name is no text.
fn print_path(path: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(path.as_os_str().as_encoded_bytes())?;
    Ok(out.write_all(b"\n")?)
}
