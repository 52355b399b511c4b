//! `entoptic weights`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use entoptic::nets::{Card, Ends, Fit, Reading, Structure};
use entoptic::picture;
use entoptic::weights::{Checkpoint, KNOWN, Known, NamedArray, PROGRAM, Precision, cache_folder, demo, demos, write};

use super::events::print_path;
use super::fetch::{self, FetchArgs};
use super::messages::shown;
use super::models::EndsArgs;
use super::networks::{file_name, no_network};
use super::options::Global;

#[derive(Args)]
pub struct WeightsArgs {
    #[command(subcommand)]
    pub command: WeightsCommand,
}

#[derive(Subcommand)]
pub enum WeightsCommand {
    /// List the published checkpoints and the networks in the program
    List,
    /// Download a published checkpoint into the cache, check it and print its path
    Fetch(FetchArgs),
    /// Show what a file holds: network, metadata, tensors with their statistics
    Inspect {
        /// .safetensors, .pth, .pt, .ckpt, .pt2 or .onnx, or a folder of Hugging Face's libraries
        file: PathBuf,
        /// Where in the file the weights are (docs/checkpoints.md)
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        ends: EndsArgs,
    },
    /// Write any readable file as safetensors; numbers become f32, tensors `num_batches_tracked` are left out. Weights of a known
    /// network get its names, and what the file says of classes and pixels comes along
    Convert {
        /// .safetensors, .pth, .pt, .ckpt, .pt2 or .onnx, or a folder of Hugging Face's libraries
        file: PathBuf,
        /// Where in the file the weights are (docs/checkpoints.md)
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        ends: EndsArgs,
        /// File to write
        #[arg(value_name = "OUT.safetensors", value_parser = PathBufValueParser::new().try_map(safetensors_path))]
        out: PathBuf,
        /// Two bytes a number instead of four
        #[arg(long)]
        f16: bool,
    },
    /// Check a file: every number is finite, the tensors are those of a network, the checksum is the published one
    Verify {
        /// .safetensors, .pth, .pt, .ckpt, .pt2 or .onnx, or a folder of Hugging Face's libraries
        file: PathBuf,
        /// Where in the file the weights are (docs/checkpoints.md)
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        ends: EndsArgs,
    },
}

fn safetensors_path(path: PathBuf) -> Result<PathBuf, &'static str> {
    let named = path.extension().is_some_and(|extension| extension == "safetensors");
    if named { Ok(path) } else { Err("its name must end in .safetensors") }
}

/// Longer metadata is cut, unless the user wants to see more.
const SHOWN: usize = 90;

const MEBIBYTE: f32 = 1_048_576.0;

pub fn run(global: &Global, args: WeightsArgs) -> anyhow::Result<()> {
    match args.command {
        WeightsCommand::List => unless_closed(list(&mut io::stdout().lock())),
        WeightsCommand::Fetch(args) => fetch::run(global, &args),
        WeightsCommand::Inspect { file, key, ends } => {
            unless_closed(inspect(&mut io::stdout().lock(), global, &file, (key.as_deref(), ends.ends())))
        }
        WeightsCommand::Convert { file, key, ends, out, f16 } => {
            convert(&file, (key.as_deref(), ends.ends()), &out, f16)
        }
        WeightsCommand::Verify { file, key, ends } => verify(&file, (key.as_deref(), ends.ends())),
    }
}

/// Whoever reads a table may stop when it has seen enough, as `head` does.
fn unless_closed(result: anyhow::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        result => result,
    }
}

fn list(out: &mut impl Write) -> anyhow::Result<()> {
    let folder = cache_folder();
    writeln!(out, "{:<30} {:<16} {:>10}  {:<9} place", "name", "network", "size", "sha256")?;
    let mut row = |name: &str, network: &str, mebibytes: f32, sha256: &str, place: &str| {
        writeln!(out, "{name:<30} {network:<16} {mebibytes:>6.1} MiB  {sha256:<9} {place}")
    };
    for known in &KNOWN {
        let place = if known.in_cache().is_some() { "in the cache" } else { "not here" };
        row(known.name, known.network, known.mebibytes, &format!("{}…", known.sha256_prefix()), place)?;
    }
    for name in demos() {
        if let Some(checkpoint) = demo(name)? {
            let mebibytes = checkpoint.size() as f32 / MEBIBYTE;
            let sha256 = format!("{}…", &checkpoint.sha256()[..8]);
            let network = Structure::of(&checkpoint).map(|structure| structure.name().to_owned()).unwrap_or_default();
            row(&format!("demo-{name}"), &network, mebibytes, &sha256, "in the program")?;
        }
    }
    writeln!(out)?;
    match folder {
        Some(folder) => writeln!(out, "cache: {}", folder.display())?,
        None => writeln!(out, "cache: none, the environment names no folder for one")?,
    }
    for known in &KNOWN {
        writeln!(out, "{}: {}, {}", known.name, known.published_as, known.url())?;
    }
    let mut licences: Vec<&str> = KNOWN.iter().map(|known| known.licence).collect();
    licences.dedup();
    for licence in licences {
        writeln!(out, "licence: {licence}")?;
    }
    Ok(())
}

fn inspect(out: &mut impl Write, global: &Global, file: &Path, which: Which) -> anyhow::Result<()> {
    let (structure, checkpoint) = read(file, which)?;
    writeln!(out, "file: {}, {} bytes", shown(checkpoint.name()), checkpoint.size())?;
    if let Some((taken, others)) = checkpoint.alternatives() {
        writeln!(out, "key: {}, others {}", plain(taken, SHOWN), plain(&others.join(", "), SHOWN))?;
    }
    match structure {
        None => writeln!(out, "network: none that is known here")?,
        Some(structure) => {
            match structure.check(&checkpoint) {
                Ok(fit) => writeln!(out, "network: {}", described(&structure, &fit))?,
                Err(error) => writeln!(out, "network: {structure}, but {}", lines(&error))?,
            }
            for note in Reading::of(&structure, &checkpoint).notes() {
                writeln!(out, "note: {}", plain(&note, usize::MAX))?;
            }
        }
    }
    let length = if global.verbose { usize::MAX } else { SHOWN };
    for (key, value) in checkpoint.metadata() {
        writeln!(out, "{} = {}", plain(key, length), plain(value, length))?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<48} {:<5} {:>18} {:>11} {:>11} {:>11} {:>10}",
        "tensor", "type", "shape", "min", "max", "mean", "not finite"
    )?;
    let (mut tensors, mut parameters, mut odd) = (0, 0, 0);
    for name in checkpoint.names() {
        let shape = checkpoint.shape(name).unwrap_or_default();
        tensors += 1;
        if !name.contains("running_") && !name.ends_with(UNUSED) {
            parameters += shape.iter().product::<usize>();
        }
        write!(
            out,
            "{:<48} {:<5} {:>18} ",
            plain(name, usize::MAX),
            checkpoint.dtype(name).unwrap_or_default(),
            format!("{shape:?}")
        )?;
        match checkpoint.read_unchecked(name) {
            Ok(values) => {
                let found = Statistics::of(&values);
                odd += found.not_finite;
                writeln!(out, "{found}")?;
            }
            Err(error) => writeln!(out, "unreadable: {}", lines(&error))?,
        }
    }
    writeln!(out)?;
    writeln!(out, "{tensors} tensors, {parameters} parameters, {odd} values that are not finite")?;
    Ok(())
}

/// What of a file is meant: the key of its weights, and which input and output of its network.
type Which<'a> = (Option<&'a str>, Ends);

/// A file, and the network that it describes or that its tensors tell.
fn read(file: &Path, (key, ends): Which) -> anyhow::Result<(Option<Structure>, Checkpoint)> {
    Ok(match Structure::read_between(Checkpoint::open_at(file, key)?, &ends)? {
        Ok((structure, checkpoint)) => (Some(structure), checkpoint),
        Err(weights) => (Structure::of(&weights), weights),
    })
}

fn convert(file: &Path, which: Which, out: &Path, f16: bool) -> anyhow::Result<()> {
    picture::check_writable(out)?;
    let (structure, checkpoint) = read(file, which)?;
    let (names, words): (BTreeMap<String, String>, _) = match structure {
        Some(structure) => {
            let reading = Reading::of(&structure, &checkpoint);
            let mut words = Card::of(&checkpoint, &reading).words;
            // What a file has described is described by the other one as well.
            if let Some(text) = structure.description()? {
                words.insert(PROGRAM.to_owned(), text);
                words.insert("network".to_owned(), structure.name().to_owned());
            }
            (reading.names, words)
        }
        None => {
            (checkpoint.names().map(|name| (name.to_owned(), name.to_owned())).collect(), checkpoint.metadata().clone())
        }
    };
    let array = |(name, file): (&String, &String)| -> anyhow::Result<NamedArray> {
        let shape = checkpoint.shape(file).unwrap_or_default().to_vec();
        Ok(NamedArray { name: name.clone(), shape, values: checkpoint.read(file)? })
    };
    let used = names.iter().filter(|(name, _)| !name.ends_with(UNUSED));
    let arrays = used.map(array).collect::<anyhow::Result<Vec<_>>>()?;
    let precision = if f16 { Precision::F16 } else { Precision::F32 };
    write(out, &arrays, &words, precision)?;
    print_path(out)?;
    Ok(())
}

fn verify(file: &Path, which: Which) -> anyhow::Result<()> {
    let (structure, checkpoint) = read(file, which)?;
    let Some(structure) = structure else { return Err(no_network(&checkpoint).into()) };
    let fit = structure.check(&checkpoint).with_context(|| format!("checking {}", file.display()))?;
    if let Some(said) = checkpoint.metadata().get("network")
        && said != structure.name()
    {
        bail!("{}: metadata says {said}, its tensors are those of {structure}", file.display());
    }
    let sha256 = checkpoint.sha256();
    let known = Known::of_file(&file_name(file));
    if let Some(known) = known
        && !sha256.starts_with(known.sha256_prefix())
    {
        bail!(
            "{}: SHA-256 is {sha256}, the published file's begins with {}; download it again",
            file.display(),
            known.sha256_prefix()
        );
    }
    for name in checkpoint.names() {
        checkpoint.read(name)?;
    }
    println!("network: {}", described(&structure, &fit));
    println!("tensors: {}, every number finite", checkpoint.names().count());
    let published = known.map(|known| format!(", begins as published for {}", known.published_as));
    println!("sha256: {sha256}{}", published.unwrap_or_default());
    Ok(())
}

/// Counters that training in PyTorch leaves behind and nothing reads.
const UNUSED: &str = "num_batches_tracked";

fn described(structure: &Structure, fit: &Fit) -> String {
    let heads: Vec<&str> = fit.side_heads.iter().map(|head| head.name()).collect();
    let heads = if heads.is_empty() { String::new() } else { format!(", side heads {}", heads.join(" and ")) };
    let classes = fit.classes.map_or("no classifier".to_owned(), |classes| format!("{classes} classes"));
    format!("{structure}, width {}, {classes}{heads}", fit.width)
}

/// Words from a file, fit for a terminal: without control characters, and not longer than that.
fn plain(text: &str, length: usize) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().map(clean).take(length).collect();
    if text.chars().nth(length).is_some() {
        shown.push('…');
    }
    shown
}

/// An error that quotes a file.
fn lines(error: &entoptic::Error) -> String {
    error.to_string().lines().map(|line| plain(line, usize::MAX)).collect::<Vec<_>>().join("\n")
}

/// Of the finite values of a tensor, and how many others there are.
struct Statistics {
    min: f32,
    max: f32,
    mean: f64,
    finite: usize,
    not_finite: usize,
}

impl Statistics {
    fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count();
        Statistics {
            min: finite().fold(f32::INFINITY, f32::min),
            max: finite().fold(f32::NEG_INFINITY, f32::max),
            mean: finite().map(f64::from).sum::<f64>() / count as f64,
            finite: count,
            not_finite: values.len() - count,
        }
    }
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.finite == 0 {
            return write!(f, "{:>11} {:>11} {:>11} {:>10}", "-", "-", "-", self.not_finite);
        }
        write!(f, "{:>11.3e} {:>11.3e} {:>11.3e} {:>10}", self.min, self.max, self.mean, self.not_finite)
    }
}
