//! Which networks the user means: `--model M`, and what follows it up to the next one.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error as ClapError, FromArgMatches, value_parser};
use entoptic::nets::{Architecture, Head};

/// `--model M` (or what the role calls it) with `--weights`, `--weight`, `--head` and `--transform-input`, any number of times; each of these belongs to
/// the network before it. Some commands name networks in a second role.
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

/// One network as typed.
#[derive(Clone, Debug)]
pub struct Model {
    pub architecture: Architecture,
    pub weights: Option<PathBuf>,
    /// Share in the objective.
    pub weight: f32,
    pub head: Head,
    /// None: as the checkpoint says.
    pub transform_input: Option<bool>,
}

const WEIGHTS: &str = "weights";
const WEIGHT: &str = "weight";
const HEAD: &str = "head";
const TRANSFORM: &str = "transform-input";

fn argument(name: &'static str, value: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
}

impl<R: Role> Args for Models<R> {
    fn augment_args(command: Command) -> Command {
        let (first, short) = R::FIRST;
        let known = Architecture::ALL.map(Architecture::name).join(", ");
        let network = |name, help: String| argument(name, "NETWORK", help).value_parser(Architecture::from_str);
        let main = network(first, format!("Network: {known}")).short(short);
        let mut command = command.arg(match R::NEEDED_UNLESS {
            Some(other) => main.required_unless_present(other),
            None => main.required(true),
        });
        if let Some((name, help)) = R::OTHER {
            command = command.arg(network(name, help.into()).required(name == "minus"));
        }
        command
            .arg(
                argument(WEIGHTS, "FILE", "Weights of the network before it; by default the small demo network built in")
                    .short('w')
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(
                argument(WEIGHT, "W", "Share of the network before it in the objective [default: 1]")
                    .value_parser(value_parser!(f32)),
            )
            .arg(argument(HEAD, "HEAD", "Head of the network before it [default: main]").value_parser(Head::ALL.map(Head::name)))
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
            for (index, architecture) in occurrences::<Architecture>(matches, name) {
                let head = Head::Main;
                named.push((
                    index,
                    second,
                    Model { architecture, weights: None, weight: 1.0, head, transform_input: None },
                ));
            }
        }
        named.sort_by_key(|(index, ..)| *index);
        attach(&mut named, matches, WEIGHTS, |model, file: PathBuf| model.weights = Some(file))?;
        attach(&mut named, matches, WEIGHT, |model, weight: f32| model.weight = weight)?;
        attach(&mut named, matches, HEAD, |model, name: String| {
            model.head = Head::ALL.into_iter().find(|head| head.name() == name).unwrap_or_default();
        })?;
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
    let misplaced = |what| ClapError::raw(clap::error::ErrorKind::ArgumentConflict, format!("--{argument} {what}\n"));
    let mut last = None;
    for (index, value) in occurrences(matches, argument) {
        let owner = named.iter_mut().rev().find(|(at, ..)| *at < index);
        let (at, _, model) = owner.ok_or_else(|| misplaced("belongs to the network before it, and there is none"))?;
        if last.replace(*at) == Some(*at) {
            return Err(misplaced("is given twice for one network"));
        }
        set(model, value);
    }
    Ok(())
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
