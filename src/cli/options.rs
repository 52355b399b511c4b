//! What several commands take. What one command takes stands in its own file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use entoptic::nets::Normalize;
use entoptic::ops::Metric;
use entoptic::studio::Note;

use super::messages::tell;
use super::terminal::ShowArg;

/// What every command takes.
#[derive(Args)]
pub struct Global {
    /// GPU to use: its number in `entoptic adapters`, or a part of its name
    #[arg(long, global = true, env = "ENTOPTIC_ADAPTER", value_name = "NAME-OR-INDEX")]
    pub adapter: Option<String>,
    /// Memory that may be taken on the GPU, in MiB; by default all that there is
    #[arg(long, global = true, env = "ENTOPTIC_MEMORY", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub memory: Option<u64>,
    /// Say more: checksums of weights, where memory goes, how many kernels a step launches, how long it all took
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// On a GPU, choose kernels by a fixed table instead of measuring each layer once; measurements are kept in the cache folder
    #[arg(long, global = true)]
    pub no_autotune: bool,
    /// Look for NaN and infinity behind every layer, and name the first one that makes any (slow)
    #[arg(long, global = true)]
    pub check_finite: bool,
    /// Lines of JSON on standard output: `--json` of the commands that make something
    #[arg(skip)]
    pub events: bool,
}

impl Global {
    /// A line for the user, unless quiet.
    pub fn say(&self, line: std::fmt::Arguments) {
        if !self.quiet {
            tell(line);
        }
    }

    /// A line about what looks wrong and may be meant, unless quiet.
    pub fn warn(&self, line: std::fmt::Arguments) {
        self.say(format_args!("warning: {line}"));
    }

    /// What becomes of the library's notes.
    pub fn ear(&self) -> impl Fn(Note) {
        |note| match note {
            Note::Info(line) => self.say(format_args!("{line}")),
            Note::Warning(line) => self.warn(format_args!("{line}")),
            Note::Detail(line) => self.explain(|| line),
        }
    }

    /// A line for the curious.
    pub fn explain(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            tell(format_args!("{}", line()));
        }
    }
}

/// How pictures are made.
#[derive(Args, Clone)]
pub struct MakingArgs {
    /// A recipe's name (`entoptic recipes`) or a TOML file; by default the one that suits the network
    #[arg(long, value_name = "NAME-or-FILE.toml")]
    pub recipe: Option<PathBuf>,
    /// The same seed gives the same picture on the same adapter
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What pixel values 0..1 become before the first layer: `source` gives them as they are, `imagenet` normalises them; by
    /// default what the recipe says (`entoptic recipes`)
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Side of the picture in pixels, at every step; by default as the recipe says, or that of the pictures which a .pt2 or .onnx file
    /// was made for, where its network takes no other or was trained on small ones
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub size: Option<u32>,
    /// Start from noise or from an image file
    #[arg(long, default_value = "noise", value_name = "noise|IMAGE")]
    pub init: PathBuf,
    /// Picture to write (PNG), or a folder for several
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    /// Film of the first picture: a .gif or .apng file, or a folder for numbered frames; may be given again
    #[arg(long, value_name = "FILE.gif|FILE.apng|FOLDER")]
    pub film: Vec<PathBuf>,
    /// Frames of the film, about
    #[arg(long, default_value_t = 40)]
    pub frames: u32,
    #[command(flatten)]
    pub watching: WatchingArgs,
}

impl MakingArgs {
    /// From noise, into no file, and nothing else that a user may choose.
    pub fn plain(seed: u64) -> Self {
        MakingArgs {
            recipe: None,
            seed,
            normalize: None,
            size: None,
            init: "noise".into(),
            out: None,
            film: vec![],
            frames: 0,
            watching: WatchingArgs::default(),
        }
    }
}

/// How a run is watched.
#[derive(Args, Clone, Default)]
pub struct WatchingArgs {
    /// Beside each frame of the film, what the networks make of it: their logits, the class in red
    #[arg(long)]
    pub film_logits: bool,
    /// Show the first picture in the terminal while it forms; HOW is found out unless it is given
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub preview: Option<ShowArg>,
    /// Show it in a file instead, which is replaced every few steps
    #[arg(long, value_name = "FILE.png")]
    pub preview_file: Option<PathBuf>,
    /// Print progress and results as lines of JSON (docs/json.md)
    #[arg(id = "events", long = "json")]
    pub json: bool,
}

/// Which pictures are made.
#[derive(Args)]
pub struct PicturesArgs {
    /// Class: index, synset or name; several with commas make a batch
    #[arg(long, required = true, value_delimiter = ',')]
    pub class: Vec<String>,
    /// Pictures of each class, with seeds counting up from --seed
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub seeds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum NormalizeArg {
    Source,
    Imagenet,
}

impl From<NormalizeArg> for Normalize {
    fn from(argument: NormalizeArg) -> Self {
        match argument {
            NormalizeArg::Source => Normalize::Source,
            NormalizeArg::Imagenet => Normalize::Imagenet,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum MetricArg {
    /// Sum of absolute differences
    L1,
    /// Root of the sum of squares
    L2,
    /// Sum of squares
    Sse,
}

impl From<MetricArg> for Metric {
    fn from(argument: MetricArg) -> Self {
        match argument {
            MetricArg::L1 => Metric::L1,
            MetricArg::L2 => Metric::L2,
            MetricArg::Sse => Metric::SumOfSquares,
        }
    }
}
