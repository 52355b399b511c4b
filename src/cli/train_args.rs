//! Arguments of `entoptic train` as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use entoptic::nets::BatchNormMode;
use entoptic::ops::Metric;
use entoptic::training::{Schedule, TeacherLoss};

use super::models::Named;
use super::options::NormalizeArg;

/// `--teacher` and `--images`, or `--data`.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("lesson").required(true).args(["teacher", "data"]))]
pub struct TrainArgs {
    /// The network that learns: resnet50, googlenet or another that is known, or a file that describes one (.pt2, .onnx, or what was
    /// trained from these); by default the one that --weights tell
    #[arg(long, short, visible_alias = "student", value_name = "NETWORK", required_unless_present = "weights")]
    pub model: Option<Named>,
    /// Weights to start from: a file, `demo` for the small network built in, or the name of a fetched checkpoint; by default
    /// random ones for --data, else a fetched checkpoint of that network, else the small one
    #[arg(long, short, visible_alias = "student-weights", value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// The network whose outputs are learnt, known by its name or described by a file
    #[arg(long, value_name = "NETWORK", requires = "images")]
    pub teacher: Option<Named>,
    /// Its weights; by default a fetched checkpoint of that network, else the small one built in (`demo`)
    #[arg(long, value_name = "FILE", requires = "teacher")]
    pub teacher_weights: Option<PathBuf>,
    /// Pictures on which the outputs are learnt: a file, or a folder of them, which follow each other in a circle
    #[arg(long, value_name = "FOLDER|FILE", requires = "teacher")]
    pub images: Option<PathBuf>,
    /// How student and teacher are compared [default: sse]
    #[arg(long, requires = "teacher")]
    pub loss: Option<LossArg>,
    /// Which output of the student's file, where it has several: by name or place from 0 on
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// The same of the teacher's file
    #[arg(long, value_name = "NAME", requires = "teacher")]
    pub teacher_output: Option<String>,
    /// Labelled photographs: FOLDER/train/CLASS/*.jpg and FOLDER/val/CLASS/*.jpg
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Channels of a new network, as a share of the full one's [default: 1]
    #[arg(long, value_parser = width, conflicts_with_all = ["teacher", "weights"])]
    pub width: Option<f64>,
    /// Passes over the photographs [default: 20]
    #[arg(long, conflicts_with_all = ["teacher", "steps"], value_parser = count)]
    pub epochs: Option<usize>,
    /// Train on pictures made hard: largest L2 distance from the photograph, in units of pixel values 0..1
    #[arg(long, default_value_t = 0.0, value_name = "EPS", conflicts_with = "teacher", value_parser = not_negative)]
    pub adversarial_eps: f32,
    /// Steps that make a picture hard
    #[arg(long, default_value_t = 3, value_name = "K", requires = "adversarial_eps", value_parser = count)]
    pub adversarial_steps: usize,
    /// Share of the label's probability spread over all classes [default: 0.05]
    #[arg(long, value_name = "SHARE", conflicts_with = "teacher", value_parser = share)]
    pub smoothing: Option<f32>,
    /// Steps [default: 1000, or as many as the epochs have]
    #[arg(long, value_parser = count)]
    pub steps: Option<usize>,
    /// Largest learning rate [default: 1e-5 towards a teacher; on labels 0.05 from scratch, 0.01 from weights; with --adam 1e-4
    /// and 1e-3]
    #[arg(long, value_parser = not_negative)]
    pub lr: Option<f32>,
    /// How the rate changes; one-cycle rises for a tenth of the steps, then falls [default: constant, on labels one-cycle]
    #[arg(long)]
    pub schedule: Option<ScheduleArg>,
    /// Share of SGD's velocity that each step keeps [default: 0, on labels 0.9]
    #[arg(long, value_parser = share, conflicts_with = "adam")]
    pub momentum: Option<f32>,
    /// Multiple of each parameter that is added to its gradient [default: 0, on labels 0.0005]
    #[arg(long, value_parser = not_negative)]
    pub weight_decay: Option<f32>,
    /// Whether SGD looks ahead along its velocity [default: false, on labels true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", conflicts_with = "adam")]
    pub nesterov: Option<bool>,
    /// Adam instead of SGD
    #[arg(long)]
    pub adam: bool,
    /// Batch norm with the statistics of the weights, which stay, or with those of the batch, which the weights take up
    /// [default: frozen, on labels train]
    #[arg(long)]
    pub batch_norm: Option<BatchNormArg>,
    /// Pictures of a step [default: 1, on labels 64]
    #[arg(long, value_parser = count)]
    pub batch: Option<usize>,
    /// Side of the pictures in pixels [default: as the weights were trained, else 224; on labels 128]
    #[arg(long, value_parser = count)]
    pub size: Option<usize>,
    /// What pixel values become before the first layer; by default what the student was trained with, on labels imagenet
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Of new weights, of the order of photographs and their crops
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Steps between two states to go on from [default: 250, on labels one epoch]
    #[arg(long, value_name = "STEPS", value_parser = count)]
    pub checkpoint_every: Option<usize>,
    /// Go on with the run that wrote --out, from its last state; all else as it was
    #[arg(long)]
    pub resume: bool,
    /// Weights to write (safetensors); the loss of every step goes beside it as .csv, the state as .state.safetensors
    #[arg(long, short)]
    pub out: PathBuf,
    /// Print progress and results as lines of JSON (docs/json.md)
    #[arg(id = "events", long = "json")]
    pub json: bool,
}

fn number<T: std::str::FromStr + PartialOrd>(text: &str, fits: impl Fn(&T) -> bool, what: &str) -> Result<T, String> {
    text.parse().ok().filter(fits).ok_or_else(|| format!("expected {what}"))
}

fn count(text: &str) -> Result<usize, String> {
    number(text, |&count| (1..=1 << 24).contains(&count), "a whole number from 1 to 16777216")
}

fn width(text: &str) -> Result<f64, String> {
    number(text, |&width| width > 0.0 && width <= 4.0, "a number above 0, at most 4")
}

fn share(text: &str) -> Result<f32, String> {
    number(text, |share| (0.0..1.0).contains(share), "a number from 0 to below 1")
}

fn not_negative(text: &str) -> Result<f32, String> {
    number(text, |&number: &f32| number >= 0.0 && number.is_finite(), "a number from 0 on")
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LossArg {
    /// Sum of squared differences of the logits
    Sse,
    /// Sum of absolute differences
    L1,
    /// Root of the sum of squares
    L2,
    /// Cross-entropy with the class that the teacher puts first
    Ce,
}

impl From<LossArg> for TeacherLoss {
    fn from(argument: LossArg) -> Self {
        match argument {
            LossArg::Sse => TeacherLoss::Distance(Metric::SumOfSquares),
            LossArg::L1 => TeacherLoss::Distance(Metric::L1),
            LossArg::L2 => TeacherLoss::Distance(Metric::L2),
            LossArg::Ce => TeacherLoss::CrossEntropy,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ScheduleArg {
    Constant,
    Cosine,
    OneCycle,
}

impl From<ScheduleArg> for Schedule {
    fn from(argument: ScheduleArg) -> Self {
        match argument {
            ScheduleArg::Constant => Schedule::Constant,
            ScheduleArg::Cosine => Schedule::Cosine,
            ScheduleArg::OneCycle => Schedule::OneCycle,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum BatchNormArg {
    Frozen,
    Train,
}

impl From<BatchNormArg> for BatchNormMode {
    fn from(argument: BatchNormArg) -> Self {
        match argument {
            BatchNormArg::Frozen => BatchNormMode::Frozen,
            BatchNormArg::Train => BatchNormMode::Batch,
        }
    }
}
