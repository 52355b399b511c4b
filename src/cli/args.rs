//! Arguments as typed: the commands, and what several of them take. What one command takes stands in its own file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use entoptic::nets::Normalize;
use entoptic::ops::Metric;
use serde::{Deserialize, Serialize};

use super::accuracy::AccuracyArgs;
use super::bench::BenchArgs;
use super::blend::BlendArgs;
use super::compare::CompareArgs;
use super::completions::{CompletionsArgs, ManArgs};
use super::demo::DemoArgs;
use super::difference::DifferenceArgs;
use super::doctor::DoctorArgs;
use super::feature::{DreamArgs, FeatureArgs};
use super::gallery::GalleryArgs;
use super::generate::GenerateArgs;
use super::gradient::GradientArgs;
use super::layers::LayersArgs;
use super::merge::MergeArgs;
use super::messages::tell;
use super::opposite::OppositeArgs;
use super::outputs::OutputsArgs;
use super::recipes::RecipesArgs;
use super::replay::{ReplayArgs, VerifyArgs};
use super::represent::MatchArgs;
use super::score::ScoreArgs;
use super::train_args::TrainArgs;
use super::watching::WatchingArgs;
use super::weights::WeightsArgs;

/// See what image classifiers see.
#[derive(Parser)]
#[command(name = "entoptic", version, about, max_term_width = 110)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

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

    /// A line for the curious.
    pub fn explain(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            tell(format_args!("{}", line()));
        }
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Make pictures of three classes in five ways, with the networks in the program, and show and score them
    Demo(DemoArgs),
    /// Make a picture of a class, with one network or several at once
    Generate(GenerateArgs),
    /// Make the picture of what one network sees in a class and another does not
    Difference(DifferenceArgs),
    /// Make the picture that a network cannot tell from a photograph, or from another network's picture
    Match(MatchArgs),
    /// Make the picture that is least like a class
    Opposite(OppositeArgs),
    /// Go from one class to another, as a film
    Blend(BlendArgs),
    /// Make a picture of two classes at once
    Merge(MergeArgs),
    /// Make a picture of what a channel, a unit or a whole layer responds to
    Feature(FeatureArgs),
    /// Let a layer exaggerate what it sees in a photograph
    Dream(DreamArgs),
    /// Make a picture of every class, in a folder that can be left and gone on with
    Gallery(GalleryArgs),
    /// Train a network towards another network's outputs, or on labelled photographs
    Train(TrainArgs),
    /// Run networks on pictures: logits, or a layer's values
    Outputs(OutputsArgs),
    /// Make a picture again from what its file says
    Replay(ReplayArgs),
    /// Whether pictures come out the same when they are made again from what their files say
    Verify(VerifyArgs),
    /// Judge pictures of a class by numbers: what other networks make of them, and what their pixels are like
    Score(ScoreArgs),
    /// Compare networks by what they make of sets of pictures: tables, and a page to look at
    Compare(CompareArgs),
    /// How many photographs networks get right
    Accuracy(AccuracyArgs),
    /// The gradient of an objective with respect to a picture
    Gradient(GradientArgs),
    /// List a network's layers: names, shapes, parameters
    Layers(LayersArgs),
    /// List the recipes, or print one to change it
    Recipes(RecipesArgs),
    /// Files of weights: which there are, what is in one, conversion, checks
    Weights(WeightsArgs),
    /// How fast this machine is: the three networks at full size, beside what its GPU does at best
    Bench(BenchArgs),
    /// Check every kernel of this program on this machine's GPU, and say what is wrong
    Doctor(DoctorArgs),
    /// List the GPUs that could be used
    Adapters,
    /// Print what a shell needs to complete commands and options
    Completions(CompletionsArgs),
    /// Write manual pages for all commands
    Man(ManArgs),
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

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
