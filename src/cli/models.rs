//! Which networks the user means: `--model M`, and what follows it up to the next one; or weights alone, which tell their
//! network.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error as ClapError, FromArgMatches, value_parser};
use entoptic::nets::{Ends, Head, Structure};
pub use entoptic::studio::{Model, Named, Numbers, Weights};

/// `--model M` (or what the role calls it) with `--weights` and what is said of these, any number of times; each of these belongs to
/// the network before it. Weights that none is waiting for are a network by themselves. Some commands name networks in a
/// second role.
#[derive(Clone, Debug)]
pub struct Models<R = Alone> {
    pub models: Vec<Model>,
    /// Networks in the second role.
    pub others: Vec<Model>,
    role: PhantomData<R>,
}

/// The arguments that name networks.
pub trait Role {
    /// The argument that names networks in the first role, and its short form.
    const FIRST: (&'static str, char) = ("model", 'm');
    /// The argument that makes networks in the first role unnecessary.
    const NEEDED_UNLESS: Option<&'static str> = None;
    /// The argument that names networks in a second role, and its help.
    const OTHER: Option<(&'static str, &'static str)>;
}

/// There is no second role.
#[derive(Clone, Debug)]
pub struct Alone;

/// Networks whose logit is lowered.
#[derive(Clone, Debug)]
pub struct Minus;

/// The network whose picture is aimed at.
#[derive(Clone, Debug)]
pub struct Target;

/// Networks that judge pictures.
#[derive(Clone, Debug)]
pub struct Judges;

impl Role for Judges {
    const FIRST: (&'static str, char) = ("judge", 'j');
    const NEEDED_UNLESS: Option<&'static str> = Some("photographs");
    const OTHER: Option<(&'static str, &'static str)> = None;
}

impl Role for Alone {
    const OTHER: Option<(&'static str, &'static str)> = None;
}

impl Role for Minus {
    const OTHER: Option<(&'static str, &'static str)> = Some(("minus", "Network whose logit is lowered"));
}

impl Role for Target {
    const OTHER: Option<(&'static str, &'static str)> =
        Some(("target-model", "Network that makes the picture whose output is aimed at"));
}

/// The same for commands that look at one file.
#[derive(Args, Clone, Debug, Default)]
pub struct EndsArgs {
    /// Of a .pt2 or .onnx file with several inputs: the one that takes the picture, by name or place from 0 on
    #[arg(long, value_name = "NAME")]
    pub input: Option<String>,
    /// Of a .pt2 or .onnx file with several outputs: the one that is looked at, by name or place from 0 on
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
}

impl EndsArgs {
    pub fn ends(&self) -> Ends {
        Ends { input: self.input.clone(), output: self.output.clone() }
    }
}

const WEIGHTS: &str = "weights";
const KEY: &str = "key";
const WEIGHT: &str = "weight";
const HEAD: &str = "head";
const CLASSES: &str = "class-names";
const TRANSFORM: &str = "transform-input";
const NORMALISED: [&str; 2] = ["mean", "std"];
const ENDS: [&str; 2] = ["input", "output"];

const USUAL: &str = "Weights of the network before it: a file, `demo` or `demo-plain` for a small network built in, or the \
                     name of a fetched checkpoint (`entoptic weights list`); by default a fetched one of that network, else the small \
                     one. Before or without any network, the file tells which it is";

/// Names of the heads that networks have.
fn heads() -> Vec<&'static str> {
    let mut names = vec![Head::Main.name()];
    for head in Structure::all().iter().flat_map(Structure::side_heads) {
        if !names.contains(&head.name()) {
            names.push(head.name());
        }
    }
    names
}

fn argument(name: &'static str, value: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
}

impl<R: Role> Args for Models<R> {
    fn augment_args(command: Command) -> Command {
        let (first, short) = R::FIRST;
        let known = Structure::all().iter().map(Structure::name).collect::<Vec<_>>().join(", ");
        let network = |name, help: String| argument(name, "NETWORK", help).value_parser(Named::from_str);
        let others = R::NEEDED_UNLESS.into_iter().chain([WEIGHTS]);
        let help =
            format!("Network: a file that describes it (.pt2, .onnx, or what was trained from these), or {known}");
        let first = network(first, help).short(short);
        let mut command = command.arg(first.required_unless_present_any(others));
        if let Some((name, help)) = R::OTHER {
            command = command.arg(network(name, help.into()).required(name == "minus"));
        }
        command
            .arg(
                argument(WEIGHTS, "FILE", USUAL)
                    .short('w')
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(argument(
                KEY,
                "NAME",
                "Of weights with several networks: the key of a dictionary in the file, or what the names of the tensors begin with \
                 (docs/checkpoints.md); by default the first by the usual order",
            ))
            .arg(
                argument(WEIGHT, "W", "Share of the network before it in the objective [default: 1]")
                    .value_parser(value_parser!(f32)),
            )
            .arg(argument(HEAD, "HEAD", "Head of the network before it [default: main]").value_parser(heads()))
            .arg(
                argument(
                    CLASSES,
                    "FILE",
                    "Names of the classes of the network before it: one a line, or a JSON list, in the order of its logits; by \
                     default those that its file says, and ImageNet's where there are a thousand",
                )
                .value_parser(value_parser!(PathBuf)),
            )
            .arg(
                argument(
                    NORMALISED[0],
                    "R,G,B",
                    "Means that were subtracted from pixel values 0..1 in the training of the network before it, or one for all colours; \
                     by default what its file says, else ImageNet's",
                )
                .value_parser(Numbers::from_str),
            )
            .arg(
                argument(
                    NORMALISED[1],
                    "R,G,B",
                    "Standard deviations by which the rest was divided, or one for all colours",
                )
                .value_parser(Numbers::from_str),
            )
            .arg(argument(
                ENDS[0],
                "NAME",
                "Of a .pt2 or .onnx file with several inputs: the one that takes the picture, by name or place from 0 on",
            ))
            .arg(argument(
                ENDS[1],
                "NAME",
                "Of a .pt2 or .onnx file with several outputs: the one that is looked at, by name or place from 0 on",
            ))
            .arg(
                argument(
                    TRANSFORM,
                    "WHEN",
                    "torchvision's rescaling at the start of the network before it; auto: as the weights say, and on for \
                     googlenet and inception_v3 when they are silent [default: auto]",
                )
                .value_parser(["auto", "on", "off"]),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<R: Role> FromArgMatches for Models<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        let mut named: Vec<(usize, bool, Model)> = Vec::new();
        let other = R::OTHER.map(|(name, _)| (name, true));
        for (name, second) in [(R::FIRST.0, false)].into_iter().chain(other) {
            for (index, network) in occurrences::<Named>(matches, name) {
                let model = match network {
                    Named::Known(structure) => Model::new(Some(structure), Weights::Usual),
                    Named::File(file) => Model::new(None, Weights::from(file)),
                };
                named.push((index, second, model));
            }
        }
        named.sort_by_key(|(index, ..)| *index);
        // Weights are for the network before them; where there is none, or it came from weights itself, they are one.
        for (index, file) in occurrences::<PathBuf>(matches, WEIGHTS) {
            let weights = Weights::from(file);
            let at = named.partition_point(|(at, ..)| *at < index);
            match at.checked_sub(1).map(|before| &mut named[before].2) {
                Some(Model { structure: Some(_), weights: Weights::Usual, .. }) => named[at - 1].2.weights = weights,
                Some(Model { structure: Some(_), .. }) => {
                    return Err(misplaced(WEIGHTS, "is given twice for one network"));
                }
                _ => named.insert(at, (index, false, Model::new(None, weights))),
            }
        }
        let needed = !R::NEEDED_UNLESS.is_some_and(|other| matches.contains_id(other));
        if needed && named.iter().all(|(_, second, _)| *second) {
            let message = format!("no --{} is given, nor weights before any network\n", R::FIRST.0);
            return Err(ClapError::raw(clap::error::ErrorKind::MissingRequiredArgument, message));
        }
        attach(&mut named, matches, KEY, |model, key: String| model.key = Some(key))?;
        attach(&mut named, matches, WEIGHT, |model, weight: f32| model.weight = weight)?;
        attach(&mut named, matches, HEAD, |model, name: String| {
            model.head = Head::named(&name);
        })?;
        attach(&mut named, matches, CLASSES, |model, file: PathBuf| model.classes = Some(file))?;
        for (which, argument) in NORMALISED.into_iter().enumerate() {
            attach(&mut named, matches, argument, |model, numbers: Numbers| model.normalised[which] = Some(numbers))?;
        }
        attach(&mut named, matches, ENDS[0], |model, name: String| model.ends.input = Some(name))?;
        attach(&mut named, matches, ENDS[1], |model, name: String| model.ends.output = Some(name))?;
        attach(&mut named, matches, TRANSFORM, |model, when: String| {
            model.transform_input = match when.as_str() {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            };
        })?;
        let of = |role: bool| named.iter().filter(|(_, second, _)| *second == role).map(|(.., m)| m.clone()).collect();
        Ok(Models { models: of(false), others: of(true), role: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Values of an argument with their places on the command line.
fn occurrences<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<(usize, T)> {
    let indices = matches.indices_of(name).into_iter().flatten();
    indices.zip(matches.get_many::<T>(name).into_iter().flatten().cloned()).collect()
}

/// Gives each value of an argument to the network before it.
fn attach<T: Clone + Send + Sync + 'static>(
    named: &mut [(usize, bool, Model)],
    matches: &ArgMatches,
    argument: &str,
    set: impl Fn(&mut Model, T),
) -> Result<(), ClapError> {
    let mut last = None;
    for (index, value) in occurrences(matches, argument) {
        let owner = named.iter_mut().rev().find(|(at, ..)| *at < index);
        let (at, _, model) =
            owner.ok_or_else(|| misplaced(argument, "belongs to the network before it, and there is none"))?;
        if last.replace(*at) == Some(*at) {
            return Err(misplaced(argument, "is given twice for one network"));
        }
        set(model, value);
    }
    Ok(())
}

fn misplaced(argument: &str, what: &str) -> ClapError {
    ClapError::raw(clap::error::ErrorKind::ArgumentConflict, format!("--{argument} {what}\n"))
}

impl<R> Models<R> {
    /// The one network of a command that takes no more.
    pub fn single(&self, command: &str) -> anyhow::Result<()> {
        match self.models.len() {
            1 => Ok(()),
            count => bail!("{command} takes one --model, not {count}"),
        }
    }
}
