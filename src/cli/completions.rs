//! `entoptic completions` and `entoptic man`: what shells and `man` want to know of the commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::{Arguments, Global};
use super::events::print_path;

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell that is to know them
    pub shell: Shell,
}

#[derive(Args)]
pub struct ManArgs {
    /// Folder for the pages, one for each command; it is made
    pub folder: PathBuf,
}

pub fn run(args: CompletionsArgs) -> anyhow::Result<()> {
    let mut script = vec![];
    let program = Arguments::command();
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, &mut program.clone(), name, &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(())
}

pub fn man(global: &Global, args: ManArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.folder).with_context(|| format!("making folder {}", args.folder.display()))?;
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let pages = pages(&program, &args.folder)?;
    global.say(format_args!("{pages} pages; man -M or man -l reads them"));
    print_path(&args.folder)
}

/// Writes the page of a command and those of the commands in it; returns how many.
fn pages(command: &Command, folder: &Path) -> anyhow::Result<usize> {
    let page = Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let mut text = vec![];
    page.render(&mut text).context("memory does not fail")?;
    entoptic::files::replace(&path, |file| file.write_all(&text))?;
    let inside = command.get_subcommands().filter(|command| !command.is_hide_set());
    inside.map(|command| pages(command, folder)).try_fold(1, |sum, count| Ok(sum + count?))
}
