//! Progress and results as lines of JSON on standard output, for other programs. docs/json.md tells what they are.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{ArgMatches, CommandFactory};
use entoptic::classes::ClassList;
use entoptic::synthesis::Finished;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::Array;
use serde_json::{Value, json};

use super::aim::Aim;
use super::args::{Arguments, Global};
use super::making::{Making, Picture, largest};
use super::messages::{plain, tell};
use super::networks::Loaded;
use super::origin::{Init, Maker, Place};
use super::progress;

/// Name of the argument `--json` of commands that print events; others print one document.
const ARGUMENT: &str = "events";

impl Global {
    /// An event, if the user wants any.
    pub fn event(&self, name: &str, mut facts: Value) {
        if self.events {
            facts["event"] = json!(name);
            print(&facts);
        }
    }

    /// A file that is made: its path on standard output, or an event.
    pub fn made(&self, path: &Path, event: &str, mut facts: Value) -> anyhow::Result<()> {
        if self.events {
            facts["file"] = json!(path.display().to_string());
            self.event(event, facts);
            return Ok(());
        }
        print_path(path)
    }
}

/// A line with a path on standard output, byte for byte, so that whoever reads it finds the file also where its name is no text.
/// A terminal gets no commands that a name may hold.
pub fn print_path(path: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        out.write_all(plain(&path.to_string_lossy()).as_bytes())?;
    } else {
        out.write_all(path.as_os_str().as_encoded_bytes())?;
    }
    Ok(out.write_all(b"\n")?)
}

impl Making<'_> {
    /// An event: what is about to be made.
    pub fn announce(&self, outs: &[PathBuf], pictures: &[Picture], init: &Init, steps: usize) {
        let picture = |(picture, out): (&Picture, &PathBuf)| {
            let Stream { seed, picture: stream } = picture.stream;
            json!({ "file": out.display().to_string(), "objective": picture.aim, "seed": seed, "stream": stream })
        };
        let Place { version, adapter, kernels, .. } = Place::of(&self.device);
        let facts = json!({
            "version": version,
            "recipe": self.recipe.name,
            "normalize": self.recipe.normalize,
            "init": init,
            "seed": self.args.seed,
            "steps": steps,
            "networks": self.networks.iter().map(Maker::from).collect::<Vec<_>>(),
            "adapter": adapter,
            "kernels": kernels,
            "pictures": pictures.iter().zip(outs).map(picture).collect::<Vec<_>>(),
        });
        self.global.event("start", facts);
    }

    /// An event for each picture that is written, with what each network makes of those `saved`.
    pub fn tell(
        &self,
        outs: &[PathBuf],
        pictures: &[Picture],
        finished: &Finished,
        saved: Option<&Array>,
    ) -> anyhow::Result<()> {
        if !self.global.events {
            return Ok(());
        }
        let judge = |saved| (0..self.networks.len()).map(|index| self.probabilities(index, saved)).collect();
        let found: Vec<Vec<Vec<f32>>> = saved.map_or(Ok(vec![]), judge)?;
        for (n, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let judged = |(loaded, found): (&Loaded, &Vec<Vec<f32>>)| {
                json!({
                    "network": loaded.network.architecture.name(),
                    "classes": classes(&loaded.network.classes, &picture.aim, &found[n]),
                })
            };
            let facts = json!({
                "objective": picture.aim,
                "seed": picture.stream.seed,
                "size": finished.pictures.shape.h(),
                "steps": finished.steps,
                "complete": saved.is_some(),
                "loss": finished.loss.get(n),
                "measured": finished.measured.get(n),
                "probabilities": self.networks.iter().zip(&found).map(judged).collect::<Vec<_>>(),
            });
            self.global.made(out, "picture", facts)?;
        }
        Ok(())
    }
}

/// The likeliest classes, and those aimed at.
fn classes(names: &ClassList, aim: &Aim, probabilities: &[f32]) -> Vec<Value> {
    let mut classes = largest(probabilities, 5);
    for (class, _) in aim.classes() {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    let entry = |class| json!({ "class": class, "name": names.name(class), "probability": probabilities[class] });
    classes.into_iter().map(entry).collect()
}

/// Set when nobody reads standard output any more.
static UNHEARD: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads the events.
pub fn unheard() -> bool {
    UNHEARD.load(Ordering::Relaxed)
}

/// Where nobody listens any more, the run ends as if the user had asked for it, with what it has made.
fn print(line: &Value) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        UNHEARD.store(true, Ordering::Relaxed);
        progress::stop();
    }
}

/// Whether the arguments ask for events.
pub fn wanted(matches: &ArgMatches) -> bool {
    let command = matches.subcommand().map(|(_, matches)| matches);
    command.is_some_and(|matches| matches!(matches.try_get_one::<bool>(ARGUMENT), Ok(Some(true))))
}

/// Tells what is wrong with the arguments and ends the process; or prints the help that they ask for.
pub fn misuse(error: &clap::Error) -> ! {
    let typed: Vec<_> = std::env::args_os().skip(1).collect();
    let program = Arguments::command();
    let command = typed.iter().find_map(|word| program.find_subcommand(word));
    let knows = command.is_some_and(|command| command.get_arguments().any(|argument| argument.get_id() == ARGUMENT));
    if error.use_stderr() && knows && typed.iter().any(|word| word == OsStr::new("--json")) {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        print(&json!({ "event": "error", "text": text, "exit_code": error.exit_code() }));
    }
    if error.use_stderr() {
        tell(format_args!("{}", error.to_string().trim_end()));
        std::process::exit(error.exit_code());
    }
    error.exit()
}
