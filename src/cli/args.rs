//! Arguments as typed.
//!
//! One long file: all that a user may type, one struct for each command, stands in one place.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use entoptic::nets::{Architecture, Normalize};
use entoptic::ops::Metric;
use serde::{Deserialize, Serialize};

use super::compare::CompareArgs;
use super::completions::{CompletionsArgs, ManArgs};
use super::doctor::DoctorArgs;
use super::gallery::GalleryArgs;
use super::models::{Judges, Minus, Models, Target};
use super::replay::{ReplayArgs, VerifyArgs};
use super::train_args::TrainArgs;
use super::watching::WatchingArgs;

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
            eprintln!("{line}");
        }
    }

    /// A line about what looks wrong and may be meant, unless quiet.
    pub fn warn(&self, line: std::fmt::Arguments) {
        self.say(format_args!("warning: {line}"));
    }

    /// A line for the curious.
    pub fn explain(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", line());
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

#[derive(Args)]
pub struct DemoArgs {
    /// Folder for the pictures
    #[arg(long, short, default_value = "entoptic-demo")]
    pub out: PathBuf,
    /// A recipe's name (`entoptic recipes`) or a TOML file for all pictures [default: demo-quick, and demo-quick-match for
    /// the match]
    #[arg(long, value_name = "NAME-or-FILE.toml")]
    pub recipe: Option<PathBuf>,
    /// The same seed gives the same pictures on the same adapter
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How the pictures are shown on standard output
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub show: ShowArg,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ShowArg {
    /// As the terminal can; not at all where there is none
    Auto,
    /// kitty's graphics protocol
    Kitty,
    /// iTerm2's inline images
    Iterm2,
    /// Sixels
    Sixel,
    /// Half-blocks in colours
    Blocks,
    /// Not at all
    None,
}

#[derive(Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    /// The logit C aimed at. One network: the loss is |C - logit|; several: the mean of weight * (C - logit), in which C
    /// carries no gradient
    #[arg(long, default_value_t = 200.0, value_name = "C")]
    pub constant: f32,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct DifferenceArgs {
    #[command(flatten)]
    pub models: Models<Minus>,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct MatchArgs {
    #[command(flatten)]
    pub models: Models<Target>,
    /// Photograph, or any picture, whose output is aimed at
    #[arg(long, required_unless_present = "target-model", conflicts_with = "target-model")]
    pub image: Option<PathBuf>,
    /// Class of the other network's picture
    #[arg(long, requires = "target-model", required_unless_present = "image", conflicts_with = "image")]
    pub class: Option<String>,
    /// The other network's picture, when it has been made before
    #[arg(long, requires = "target-model", conflicts_with = "image", value_name = "IMAGE")]
    pub target_picture: Option<PathBuf>,
    /// Layer to match instead of the logits
    #[arg(long)]
    pub layer: Option<String>,
    /// How the distance is measured
    #[arg(long, default_value = "l1")]
    pub metric: MetricArg,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct OppositeArgs {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub pictures: PicturesArgs,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct BlendArgs {
    #[command(flatten)]
    pub models: Models,
    /// Class to start with: index, synset or name
    #[arg(long)]
    pub from: String,
    /// Class to end with
    #[arg(long)]
    pub to: String,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct MergeArgs {
    #[command(flatten)]
    pub models: Models,
    /// The two classes, given twice
    #[arg(long, num_args = 1, required = true)]
    pub class: Vec<String>,
    /// Raise whichever of the two logits is lower, rather than both
    #[arg(long)]
    pub juxtapose: bool,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct FeatureArgs {
    #[command(flatten)]
    pub models: Models,
    /// Layer (`entoptic layers`)
    #[arg(long)]
    pub layer: String,
    /// Channel of the layer; without one, the whole layer
    #[arg(long, conflicts_with = "unit")]
    pub channel: Option<usize>,
    /// One unit of the layer: channel, row, column
    #[arg(long, value_name = "K,Y,X", value_delimiter = ',')]
    pub unit: Option<Vec<usize>>,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct DreamArgs {
    #[command(flatten)]
    pub models: Models,
    /// Layer (`entoptic layers`)
    #[arg(long)]
    pub layer: String,
    /// Photograph to start from
    #[arg(long)]
    pub image: PathBuf,
    /// Only this channel of the layer
    #[arg(long)]
    pub channel: Option<usize>,
    #[command(flatten)]
    pub making: MakingArgs,
}

#[derive(Args)]
pub struct OutputsArgs {
    #[command(flatten)]
    pub models: Models,
    /// PNG, JPEG, or safetensors with one tensor `image` [N, 3, H, W], taken as it is
    #[arg(long)]
    pub image: PathBuf,
    /// Layer whose values to write instead of the logits
    #[arg(long)]
    pub layer: Option<String>,
    /// What pixel values become before the first layer; by default what the network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// File to write (safetensors)
    #[arg(long, short)]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct ScoreArgs {
    /// Pictures, or folders of them (PNG, JPEG), also with a folder for each class
    #[arg(required_unless_present = "photographs", value_name = "PICTURE|FOLDER")]
    pub pictures: Vec<PathBuf>,
    /// The networks that judge; best also those that had no part in making the pictures
    #[command(flatten)]
    pub judges: Models<Judges>,
    /// Class: index, synset or name; by default what each picture was made to show, else the class that its folder is named
    /// after, else the one that its own name begins with
    #[arg(long)]
    pub class: Option<String>,
    /// Photographs to compare with, brought to the size of the first picture: a picture, a folder, or a folder with one for
    /// each class; of each class as many count as a set has pictures, at least 8. Without pictures: what photographs are like
    #[arg(long, value_name = "FOLDER")]
    pub photographs: Option<PathBuf>,
    /// Look at pictures at this side, rather than as they are
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub size: Option<u32>,
    /// What pixel values become before the first layer; by default what each judge was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Show every picture, also of more than 16
    #[arg(long)]
    pub each: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct AccuracyArgs {
    #[command(flatten)]
    pub models: Models,
    /// Photographs: a folder with one for each class, named by synset or class, or one with such a folder `val`
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// Only so many photographs, spread evenly
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Side of the pictures in pixels [default: as the weights were trained, else 224]
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub size: Option<u32>,
    /// Pictures that are looked at together
    #[arg(long, default_value_t = 32, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// What pixel values become before the first layer; by default what each network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Also count what is left under attack: largest L2 distance from the photograph, in units of pixel values 0..1
    #[arg(long, value_name = "EPS")]
    pub attack_eps: Option<f32>,
    /// Steps of the attack along the gradient
    #[arg(long, default_value_t = 10, value_name = "K", requires = "attack_eps",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attack_steps: u32,
    /// Of the attack's random starts
    #[arg(long, default_value_t = 0, requires = "attack_eps")]
    pub seed: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct GradientArgs {
    #[command(flatten)]
    pub models: Models,
    /// PNG, JPEG, or safetensors with one tensor `image` [N, 3, H, W], taken as it is
    #[arg(long)]
    pub image: PathBuf,
    /// class:C, joint:C, difference:C (the last network is subtracted), opposite:C, merge:C+D, channel:LAYER/K, layer:LAYER,
    /// or match:FILE.safetensors with one tensor, `target` or `logits`; C is an index or a name
    #[arg(long)]
    pub objective: String,
    /// What pixel values become before the first layer; by default what the first network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// File to write: safetensors with `gradient` and `loss`, or a picture of the gradient (PNG)
    #[arg(long, short)]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct LayersArgs {
    #[command(flatten)]
    pub models: Models,
    /// Side of the picture that shapes are given for
    #[arg(long, default_value_t = 224)]
    pub size: usize,
    /// Show one layer only
    #[arg(long)]
    pub layer: Option<String>,
}

#[derive(Args)]
pub struct BenchArgs {
    /// Network; by default all three, may be given again
    #[arg(long)]
    pub model: Vec<Architecture>,
    /// Side of the pictures in pixels
    #[arg(long, default_value_t = 299, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(75..=2048))]
    pub size: u32,
    /// Pictures at once
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: u32,
    /// Times that each is done, besides the first
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// File for the table, to be shared (Markdown)
    #[arg(long, short, value_name = "FILE.md")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct RecipesArgs {
    #[command(subcommand)]
    pub command: Option<RecipesCommand>,
}

#[derive(Subcommand)]
pub enum RecipesCommand {
    /// Print a recipe, to be saved and changed
    Show {
        /// Its name
        name: String,
    },
}

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
        /// .safetensors, .pth or .pt
        file: PathBuf,
    },
    /// Write any readable file as safetensors; numbers become f32, tensors `num_batches_tracked` are left out
    Convert {
        /// .safetensors, .pth or .pt
        file: PathBuf,
        /// File to write
        #[arg(value_name = "OUT.safetensors", value_parser = PathBufValueParser::new().try_map(safetensors_path))]
        out: PathBuf,
        /// Two bytes a number instead of four
        #[arg(long)]
        f16: bool,
    },
    /// Check a file: every number is finite, the tensors are those of a network, the checksum is the published one
    Verify {
        /// .safetensors, .pth or .pt
        file: PathBuf,
    },
}

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

fn safetensors_path(path: PathBuf) -> Result<PathBuf, &'static str> {
    let named = path.extension().is_some_and(|extension| extension == "safetensors");
    if named { Ok(path) } else { Err("its name must end in .safetensors") }
}
