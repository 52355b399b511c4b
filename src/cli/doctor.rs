//! `entoptic doctor`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use entoptic::device::{AdapterChoice, Device, adapters};
use entoptic::doctor::{Checkup, Report, Row, Settings, Verdict};
use entoptic::nets::{Ends, Structure};
use entoptic::picture::check_writable;
use entoptic::weights::Checkpoint;

use super::models::EndsArgs;
use super::options::Global;

#[derive(Args)]
pub struct DoctorArgs {
    /// Examine every adapter there is, one after another, whichever is chosen otherwise, and how far they are apart
    #[arg(long)]
    pub all_adapters: bool,
    /// All layers of ResNet50, GoogLeNet and InceptionV3 and larger pictures: minutes instead of seconds
    #[arg(long)]
    pub thorough: bool,
    /// Only the layers of the network that this file describes (.pt2 or .onnx), each against plain loops in f64
    #[arg(long, value_name = "FILE", conflicts_with = "thorough")]
    pub network: Option<PathBuf>,
    #[command(flatten)]
    pub ends: EndsArgs,
    /// File for everything that was found, to be attached to an issue (JSON)
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
}

pub fn run(global: &Global, args: DoctorArgs) -> anyhow::Result<()> {
    if let Some(report) = &args.report {
        check_writable(report).context("--report")?;
    }
    let mut chosen = adapters()?;
    if !args.all_adapters {
        let choice = global.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Named);
        let index = Device::open(&choice)?.adapter().index;
        chosen.retain(|adapter| adapter.index == index);
    }
    let network = args.network.as_deref().map(|file| network(file, &args.ends.ends())).transpose()?;
    let settings = Settings { thorough: args.thorough, only: String::new(), network };
    let checkup = Checkup::of(&chosen, &settings, &mut |part| global.say(format_args!("{part}")));
    let text = tables(&checkup)?;
    print!("{text}");
    if let Some(report) = &args.report {
        checkup.save(report)?;
        global.say(format_args!("{}", report.display()));
    }
    let complaints = checkup.complaints();
    if complaints.is_empty() {
        return Ok(());
    }
    let advice = match args.report {
        Some(report) => format!("please open an issue with {}", report.display()),
        None => "run it again with --report FILE.json, and open an issue with that file".to_owned(),
    };
    bail!("something is wrong here; {advice}\n  {}", complaints.join("\n  "))
}

/// A table for each adapter with a line that judges it.
fn tables(checkup: &Checkup) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for report in &checkup.reports {
        let mode = if report.thorough { "thorough" } else { "quick" };
        writeln!(text, "# {}\n", report.adapter)?;
        writeln!(text, "entoptic {} on {}; {mode}, {:.0} s\n", report.version, report.system, report.seconds)?;
        table(&mut text, &report.rows)?;
        writeln!(text, "\n{}\n", verdict(report))?;
    }
    for failure in &checkup.failures {
        writeln!(text, "# {}\n\nnot examined: {}\n", failure.adapter, failure.reason)?;
    }
    if !checkup.across.is_empty() {
        writeln!(text, "# Across adapters\n")?;
        for Row { kernel, at, verdict, .. } in &checkup.across {
            writeln!(text, "{kernel}: {at}: {verdict}")?;
        }
    }
    Ok(text)
}

fn table(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(text, "| kernel | variant | cases | worst, of the bound | verdict |\n| --- | --- | --- | --- | --- |")?;
    for Row { kernel, variant, cases, worst, verdict, why, .. } in rows {
        let worst = worst.map_or(String::new(), |worst| format!("{worst:.3}"));
        let verdict = if why.is_empty() { verdict.to_string() } else { format!("{verdict}: {why}") };
        writeln!(text, "| {kernel} | {variant} | {cases} | {worst} | {verdict} |")?;
    }
    Ok(())
}

/// One line.
fn verdict(report: &Report) -> String {
    let count = |wanted: Verdict| report.rows.iter().filter(|row| row.verdict == wanted).count();
    let cases: usize = report.rows.iter().map(|row| row.cases).sum();
    let skipped = match count(Verdict::Skipped) {
        0 => String::new(),
        some => format!("; {some} skipped, which this adapter is never given"),
    };
    let name = &report.adapter.name;
    match count(Verdict::Wrong) {
        0 => format!("{name}: all {} rows right, {cases} results compared{skipped}", count(Verdict::Right)),
        wrong => format!("{name}: {wrong} of {} rows WRONG, {cases} results compared{skipped}", report.rows.len()),
    }
}

/// The network that a file describes.
fn network(file: &Path, ends: &Ends) -> anyhow::Result<Structure> {
    match Structure::read_between(Checkpoint::open(file).context("--network")?, ends)? {
        Ok((structure, _)) => Ok(structure),
        Err(_) => bail!(
            "--network {}: holds weights alone; the layers of the networks that are known are tried with --thorough",
            file.display()
        ),
    }
}
