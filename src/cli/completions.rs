//! `entoptic completions` and `entoptic man`: what shells and `man` want to know of the commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::events::print_path;
use super::options::Global;

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

pub fn run(mut program: Command, args: CompletionsArgs) -> anyhow::Result<()> {
    let mut script = vec![];
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(())
}

pub fn man(program: Command, global: &Global, args: ManArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.folder).with_context(|| format!("making folder {}", args.folder.display()))?;
    let mut program = program.disable_help_subcommand(true);
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
