//! `entoptic weights fetch`

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::Error;
use entoptic::weights::{Download, Event, Fetched, KNOWN, Known, cache_folder, is_url};
use indicatif::{ProgressBar, ProgressStyle};

use super::events::print_path;
use super::interrupt::{stopped, take_over_interrupts};
use super::messages::tell;
use super::options::Global;

#[derive(Args)]
pub struct FetchArgs {
    /// A name from `entoptic weights list`, or the URL of a file whose name ends in - and the first digits of its SHA-256
    #[arg(value_name = "NAME|URL")]
    pub name: String,
    /// Folder of the web to take it from, instead of where it is published
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Give up when a server is silent for so long; what has arrived stays for the next try
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
}

const MEBIBYTE: f64 = 1_048_576.0;

pub fn run(global: &Global, args: &FetchArgs) -> anyhow::Result<()> {
    let folder = cache_folder().context("the environment names no folder for a cache; set HOME or XDG_CACHE_HOME")?;
    let download = download(args, &folder)?;
    take_over_interrupts()?;
    let mut meter = Meter { global, bar: None, shown: 0, waiting: false };
    let result = download.run(&mut |event| {
        meter.event(event);
        if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    meter.end();
    match result {
        Ok(Fetched::New) => {}
        Ok(Fetched::AlreadyHere) => global.say(format_args!("already here, with the right checksum; nothing fetched")),
        Err(error) => {
            let bytes = std::fs::metadata(download.partial()).map_or(0, |part| part.len());
            let what = if matches!(error, Error::Interrupted) { "stopped".to_owned() } else { error.to_string() };
            if bytes == 0 {
                bail!(what);
            }
            bail!(
                "{what}; {:.1} MiB stay in {}, and the same command goes on from there",
                bytes as f64 / MEBIBYTE,
                download.partial().display()
            );
        }
    }
    print_path(&download.path())?;
    Ok(())
}

/// The file that the user means.
fn download(args: &FetchArgs, folder: &Path) -> anyhow::Result<Download> {
    let patience = Duration::from_secs(args.timeout);
    if is_url(&args.name) {
        if args.mirror.is_some() {
            bail!("--mirror is for the name of a known checkpoint, not for a URL");
        }
        return Ok(Download::url(&args.name, folder, patience)?);
    }
    let Some(known) = Known::named(&args.name) else {
        let names = KNOWN.map(|known| format!("{} ({})", known.name, known.published_as)).join(", ");
        bail!("no checkpoint is known as \"{}\"; there are {names}, and any URL", args.name);
    };
    Ok(Download::known(known, args.mirror.as_deref(), folder, patience)?)
}

/// Shows how far a download is: a bar on a terminal, some lines elsewhere.
struct Meter<'a> {
    global: &'a Global,
    bar: Option<ProgressBar>,
    /// Tenths of the file in the last line, where there is no terminal.
    shown: u64,
    waiting: bool,
}

impl Meter<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Waiting if !self.waiting => {
                self.waiting = true;
                self.global.say(format_args!("another process is fetching this file; waiting for it"));
            }
            Event::Waiting => {}
            Event::Resumed(bytes) => {
                self.global.say(format_args!("{:.1} MiB are here from before", bytes as f64 / MEBIBYTE));
            }
            Event::Received { bytes, total: Some(total) } if !self.global.quiet => self.show(bytes, total),
            Event::Received { .. } => {}
        }
    }

    fn show(&mut self, bytes: u64, total: u64) {
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(total, bytes));
            bar.set_position(bytes);
        } else if bytes * 10 / total.max(1) > self.shown {
            self.shown = bytes * 10 / total.max(1);
            tell(format_args!("{:.1} of {:.1} MiB", bytes as f64 / MEBIBYTE, total as f64 / MEBIBYTE));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn bar(total: u64, begun: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
    let bar = ProgressBar::new(total).with_style(style.expect("the template is valid"));
    // What was here before says nothing of the speed.
    bar.set_position(begun);
    bar.reset_eta();
    bar
}
