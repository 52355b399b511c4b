//! The list of commands. What each takes stands in its own file, what several take in [`options`](super::options).

use clap::{Parser, Subcommand};

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
use super::opposite::OppositeArgs;
use super::options::Global;
use super::outputs::OutputsArgs;
use super::recipes::RecipesArgs;
use super::replay::{ReplayArgs, VerifyArgs};
use super::represent::MatchArgs;
use super::score::ScoreArgs;
use super::train_args::TrainArgs;
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
    /// How fast this machine is: ResNet50, GoogLeNet and InceptionV3 (or --model) at full size, beside what its GPU does at best
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
