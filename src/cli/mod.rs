//! The command line: arguments, defaults, messages, progress, exit codes. Nothing that a user of the library would miss.

mod accuracy;
mod adapters;
mod bench;
mod blend;
mod command;
mod compare;
mod completions;
mod cursor;
mod demo;
mod difference;
mod doctor;
mod events;
mod feature;
mod fetch;
mod film;
mod gallery;
mod generate;
mod gradient;
mod interrupt;
mod layers;
mod making;
mod making_events;
mod merge;
mod messages;
mod models;
mod networks;
mod opposite;
mod options;
mod outputs;
mod preview;
mod progress;
mod recipes;
mod replay;
mod represent;
mod run;
mod score;
mod score_bench;
mod score_numbers;
mod score_report;
mod subjects;
mod terminal;
mod train;
mod train_args;
mod watching;
mod weights;

use std::time::Instant;

use clap::{CommandFactory, FromArgMatches};
use serde_json::json;

use command::{Arguments, Command};
pub use messages::tell;
use options::Global;

/// Parses the arguments (exit code 2 when they make no sense) and does what they say.
pub fn run() -> anyhow::Result<()> {
    let started = Instant::now();
    let program = Arguments::command();
    let matches = program.clone().try_get_matches().unwrap_or_else(|error| events::misuse(&program, &error));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| events::misuse(&program, &error));
    let global = Global { events: events::wanted(&matches), ..arguments.global };
    let result = perform(&global, arguments.command);
    let seconds = started.elapsed().as_secs_f64();
    match &result {
        Ok(()) => global.event("done", json!({ "seconds": seconds })),
        Err(error) => global.event("error", json!({ "text": format!("{error:#}"), "exit_code": 1 })),
    }
    global.explain(|| format!("took {seconds:.2} s"));
    result
}

/// Whether it ended because nobody reads what it prints.
pub fn unheard(done: &anyhow::Result<()>) -> bool {
    let printing = done.as_ref().err().and_then(|error| error.downcast_ref::<std::io::Error>());
    events::unheard() || printing.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn perform(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Accuracy(args) => accuracy::run(global, args),
        Command::Adapters => adapters::run(),
        Command::Bench(args) => bench::run(global, args),
        Command::Blend(args) => blend::run(global, args),
        Command::Compare(args) => compare::run(global, args),
        Command::Completions(args) => completions::run(Arguments::command(), args),
        Command::Demo(args) => demo::run(global, args),
        Command::Difference(args) => difference::run(global, args),
        Command::Doctor(args) => doctor::run(global, args),
        Command::Dream(args) => feature::dream(global, args),
        Command::Feature(args) => feature::run(global, args),
        Command::Gallery(args) => gallery::run(global, args),
        Command::Generate(args) => generate::run(global, args),
        Command::Gradient(args) => gradient::run(global, args),
        Command::Layers(args) => layers::run(global, args),
        Command::Man(args) => completions::man(Arguments::command(), global, args),
        Command::Match(args) => represent::run(global, args),
        Command::Merge(args) => merge::run(global, args),
        Command::Opposite(args) => opposite::run(global, args),
        Command::Outputs(args) => outputs::run(global, args),
        Command::Recipes(args) => recipes::run(args),
        Command::Replay(args) => replay::replay(global, args),
        Command::Score(args) => score::run(global, args),
        Command::Train(args) => train::run(global, args),
        Command::Verify(args) => replay::verify(global, args),
        Command::Weights(args) => weights::run(global, args),
    }
}
