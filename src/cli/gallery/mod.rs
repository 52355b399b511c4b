//! `entoptic gallery`: a picture of every class, in a folder that can be left and gone on with; and folders joined.

mod batch;
mod classes;
mod folder;
mod identity;
mod manifest;
mod merge;
mod progress;
mod run;
mod shard;
mod state;

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, Error as ClapError, FromArgMatches, Subcommand, ValueEnum};

use super::models::Models;
use super::options::{Global, NormalizeArg};
use shard::Shard;

/// The pictures, or a command about galleries. Derived, the arguments of the pictures would be asked of the command too.
pub enum GalleryArgs {
    Make(GalleryMaking),
    Command(GalleryCommand),
}

impl Args for GalleryArgs {
    fn augment_args(command: Command) -> Command {
        let command = command.args_conflicts_with_subcommands(true).subcommand_negates_reqs(true);
        GalleryMaking::augment_args(GalleryCommand::augment_subcommands(command)).subcommand_required(false)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GalleryArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        Ok(match matches.subcommand() {
            None => GalleryArgs::Make(GalleryMaking::from_arg_matches(matches)?),
            Some(_) => GalleryArgs::Command(GalleryCommand::from_arg_matches(matches)?),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Subcommand)]
pub enum GalleryCommand {
    /// Join the shards of a gallery, after looking whether any picture is missing or doubled
    Merge(MergeArgs),
}

#[derive(Args)]
pub struct GalleryMaking {
    #[command(flatten)]
    models: Models,
    /// What the pictures show
    #[arg(long, default_value = "class")]
    objective: ObjectiveArg,
    /// `all`, a range of indices such as 0-99, classes by index, synset or name with commas between them, or a file with
    /// one on each line
    #[arg(long, default_value = "all", value_name = "all|0-99|LIST|FILE")]
    classes: String,
    /// Folder for the pictures, gallery.json and manifest.jsonl; one that holds a part of the same gallery is gone on with
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// The logit C aimed at, as `generate` has it
    #[arg(long, default_value_t = entoptic::studio::CONSTANT, value_name = "C")]
    constant: f32,
    /// A recipe's name (`entoptic recipes`) or a TOML file; by default the one that suits the network
    #[arg(long, value_name = "NAME-or-FILE.toml")]
    recipe: Option<PathBuf>,
    /// The same seed gives the same pictures on the same adapter
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What pixel values 0..1 become before the first layer; by default what the recipe says
    #[arg(long)]
    normalize: Option<NormalizeArg>,
    /// Pictures made at once; by default as many as fit into the memory that this kind of adapter has. They are the same,
    /// however many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: Option<u32>,
    /// Make only part I of N, counted from 1, in its own folder inside of the one named; by default the task of the Slurm array
    /// or indexed Kubernetes job that this runs in
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How many parts, where the surroundings tell the part and not their number
    #[arg(long, value_name = "N", conflicts_with = "shard", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    shards: Option<u32>,
    /// Delete the gallery that is in the folder, where it is another one
    #[arg(long)]
    overwrite: bool,
    /// Print progress and results as lines of JSON (docs/json.md)
    #[arg(id = "events", long = "json")]
    json: bool,
}

#[derive(Args)]
pub struct MergeArgs {
    /// Shards, or folders that hold them
    #[arg(required = true, value_name = "FOLDER")]
    shards: Vec<PathBuf>,
    /// Folder for the whole gallery
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
}

/// What the pictures of a gallery show.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveArg {
    /// A class, as one network sees it
    Class,
    /// A class, as several networks do
    Joint,
    /// What the first networks see in a class and the last does not
    Difference,
    /// A picture to which the first network answers as to the second one's picture of a class
    Match,
    /// What is least like a class
    Opposite,
}

pub fn run(global: &Global, args: GalleryArgs) -> anyhow::Result<()> {
    match args {
        GalleryArgs::Make(making) => run::run(global, making),
        GalleryArgs::Command(GalleryCommand::Merge(merge)) => merge::run(global, merge),
    }
}
