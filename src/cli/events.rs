//! Progress and results as lines of JSON on standard output, for other programs. docs/json.md tells what they are.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::interrupt;
use super::messages::{plain, tell};
use super::options::Global;

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
        interrupt::stop();
    }
}

/// Whether the arguments ask for events.
pub fn wanted(matches: &ArgMatches) -> bool {
    let command = matches.subcommand().map(|(_, matches)| matches);
    command.is_some_and(|matches| matches!(matches.try_get_one::<bool>(ARGUMENT), Ok(Some(true))))
}

/// Tells what is wrong with the arguments of a program and ends the process; or prints the help that they ask for.
pub fn misuse(program: &Command, error: &clap::Error) -> ! {
    let typed: Vec<_> = std::env::args_os().skip(1).collect();
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
