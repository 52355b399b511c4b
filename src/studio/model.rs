//! A network as a user names it, found and loaded.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::loaded::{Loaded, guess_pixels};
use super::note::{Ear, Note};
use crate::classes::ClassList;
use crate::device::Device;
use crate::nets::{Ends, Head, Network, Pixels, Structure};
use crate::weights::{Checkpoint, Known, demo};
use crate::{Error, Result};

/// One network as a user names it.
#[derive(Clone, Debug)]
pub struct Model {
    /// None: as the weights tell.
    pub structure: Option<Structure>,
    /// Where its weights are.
    pub weights: Weights,
    /// Where in the file of the weights they are.
    pub key: Option<String>,
    /// Share in the objective.
    pub weight: f32,
    /// The head through which it is looked at.
    pub head: Head,
    /// None: as the checkpoint says.
    pub transform_input: Option<bool>,
    /// A file with the names of its classes.
    pub classes: Option<PathBuf>,
    /// Means and standard deviations with which its training pictures were normalised, where the user says them.
    pub normalised: [Option<Numbers>; 2],
    /// Which input and output of its file.
    pub ends: Ends,
}

/// One number for each colour, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub Vec<f32>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split(',').map(|number| number.trim().parse::<f32>().ok()).collect::<Option<Vec<f32>>>();
        let numbers = numbers.filter(|numbers| matches!(numbers.len(), 1 | 3));
        let numbers = numbers.ok_or("expected a number, or three with commas between them")?;
        match numbers.iter().all(|number| (0.0..=2.0).contains(number)) {
            true => Ok(Numbers(numbers)),
            false => Err("expected numbers for pixel values from 0 to 1; divide those for 0 to 255 by 255".into()),
        }
    }
}

/// Where weights are.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// A published checkpoint that has been fetched, else the demo network.
    Usual,
    /// The demo network, whatever has been fetched.
    Demo,
    /// Its twin that was trained on plain photographs.
    DemoPlain,
    /// A file, or the name of a known checkpoint that has been fetched.
    File(PathBuf),
}

impl From<PathBuf> for Weights {
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("demo") => Weights::Demo,
            Some("demo-plain") => Weights::DemoPlain,
            _ => Weights::File(path),
        }
    }
}

/// A network as typed: one that is known by name, or a file that tells which it is.
#[derive(Clone, Debug)]
pub enum Named {
    /// One that is known.
    Known(Structure),
    /// A file.
    File(PathBuf),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        match text.parse::<Structure>() {
            Ok(structure) => Ok(Named::Known(structure)),
            Err(_) if path.is_file() || path.extension().is_some() => Ok(Named::File(path)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Model {
    /// A network looked at through its main head, everything else as its weights say.
    pub fn new(structure: Option<Structure>, weights: Weights) -> Self {
        Model {
            structure,
            weights,
            key: None,
            weight: 1.0,
            head: Head::Main,
            transform_input: None,
            classes: None,
            normalised: [None, None],
            ends: Ends::default(),
        }
    }

    /// A network with its weights, where it is not a file of its own.
    ///
    /// # Errors
    /// [`Error::Request`] when both are given; it names the `argument` for the network.
    pub fn of(named: Option<Named>, weights: Option<PathBuf>, argument: &str) -> Result<Self> {
        match (named, weights) {
            (Some(Named::File(file)), None) => Ok(Model::new(None, Weights::from(file))),
            (Some(Named::File(file)), Some(_)) => Err(Error::request(format!(
                "{argument} {}: is a file, which has its weights; leave out one of the two",
                file.display()
            ))),
            (Some(Named::Known(structure)), weights) => {
                Ok(Model::new(Some(structure), weights.map_or(Weights::Usual, Weights::from)))
            }
            (None, weights) => Ok(Model::new(None, weights.map_or(Weights::Usual, Weights::from))),
        }
    }

    /// How its training pictures were normalised, where the user says it.
    ///
    /// # Errors
    /// [`Error::Request`] for numbers that are none of pixel values.
    pub fn pixels(&self) -> Result<Option<Pixels>> {
        let [mean, std] = &self.normalised;
        if mean.is_none() && std.is_none() {
            return Ok(None);
        }
        let numbers = |given: &Option<Numbers>, usual: f32| given.clone().map_or(vec![usual], |Numbers(given)| given);
        let pixels = Pixels::of(&numbers(mean, 0.0), &numbers(std, 1.0));
        let wrong = "--mean takes numbers from 0 to 1, --std numbers from 0.001 to 2, for pixel values from 0 to 1";
        pixels.map(Some).ok_or_else(|| Error::request(wrong))
    }

    /// Loads it, and tells which weights it has. `id` tells networks of one objective apart.
    ///
    /// # Errors
    /// Those of [`Model::find`], [`Network::load`] and of the device; [`Error::Request`] for what does not fit the network.
    pub fn load(&self, ear: Ear, device: &Device, id: &str) -> Result<Loaded> {
        let say = |line: String| ear(Note::Info(line));
        let (structure, checkpoint) = self.find()?;
        let loaded = Network::load(device, &structure, &checkpoint, id);
        let mut network = match loaded {
            // The one error that does not name the file itself.
            Err(error @ Error::Weights { .. }) => {
                return Err(Error::within(format_args!("loading {}", checkpoint.name()))(error));
            }
            loaded => loaded?,
        };
        if let Some(transform) = self.transform_input {
            network.transform_input = transform;
        }
        let told = self.pixels()?;
        if let Some(pixels) = told {
            let channels = structure.channels();
            if !matches!(channels, 1 | 3) {
                return Err(Error::request(format!(
                    "--mean, --std: {} takes values of {channels} channels, which are given as they are",
                    network.source
                )));
            }
            network.tell_pixels(pixels);
        }
        if network.has_classifier() || self.head != Head::Main {
            network.look_through(self.head)?;
        }
        if let Some(file) = &self.classes {
            network.classes = named_classes(file, network.class_count())?;
        }
        let classes = match network.class_count() {
            0 => "no classifier, so only its layers can be looked at".to_owned(),
            1 => "1 class".to_owned(),
            count => format!("{count} classes"),
        };
        say(format!("network: {structure}, weights {}, {classes}", network.source));
        match told {
            Some(pixels) => say(format!("  pixel values are normalised as asked for: {pixels}")),
            None => {
                network.notes.iter().for_each(|note| say(format!("  {note}")));
                guess_pixels(ear, device, &mut network)?;
            }
        }
        if structure.transforms_input() {
            let (switch, why) = match (network.transform_input, self.transform_input, network.card.transform_input) {
                (on, Some(_), _) => (on, "as asked for"),
                (on, None, Some(_)) => (on, "as the weights say"),
                (on, None, None) => (
                    on,
                    "as torchvision uses its pretrained weights; --transform-input off if they were trained without",
                ),
            };
            say(format!("  torchvision's rescaling (transform_input): {}, {why}", if switch { "on" } else { "off" }));
        }
        if !network.has_batch_norms() {
            say("  no batch norms: no prior of their statistics, and pixel values are not checked against them".into());
        }
        if let Some(function) = structure.behind_logits() {
            say(format!("logits: the values before the {function} at the end"));
        }
        ear(Note::Detail(format!("SHA-256 of the weights: {}", network.checksum)));
        let renamed = self.classes.is_some();
        Ok(Loaded { told, renamed, ..Loaded::new(network, self.weight, self.head) })
    }

    /// The weights as given, or else a published checkpoint that has been fetched, or the demo network; and the structure that
    /// they are for.
    ///
    /// # Errors
    /// [`Error::Request`] for weights that are not there or are those of another network; those of [`Checkpoint::open`].
    pub fn find(&self) -> Result<(Structure, Checkpoint)> {
        let fetched = || Known::fetched(self.structure.as_ref()?.name());
        match (&self.weights, self.structure.clone()) {
            (Weights::File(path), wanted) => of(wanted, open_weights(path, self.key.as_deref())?, &self.ends),
            _ if self.ends != Ends::default() => Err(Error::request(
                "--input and --output belong to a file that describes its network (--weights FILE.pt2 or FILE.onnx)",
            )),
            _ if self.key.is_some() => Err(Error::request("--key belongs to a file of weights (--weights FILE)")),
            (Weights::Usual, wanted) if let Some(path) = fetched() => of(wanted, Checkpoint::open(&path)?, &self.ends),
            (weights, Some(structure)) => {
                let twin = if *weights == Weights::DemoPlain { "-plain" } else { "" };
                let name = format!("{structure}{twin}");
                let found = demo(&name)?.map(|checkpoint| (structure, checkpoint));
                found.ok_or_else(|| {
                    Error::request(format!("there is no demo-{name}; `entoptic weights list` names those there are"))
                })
            }
            (_, None) => Err(Error::request("--weights demo and demo-plain need a --model")),
        }
    }
}

/// The names of so many classes, from a file with one a line or with a JSON list.
fn named_classes(file: &Path, count: usize) -> Result<ClassList> {
    let argument = || format!("--class-names {}", file.display());
    // With the argument before the system's words, which do not name the file.
    let text = std::fs::read_to_string(file).map_err(|error| Error::request(format!("{}: {error}", argument())))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let list = match text.trim_start().starts_with('[') {
        true => ClassList::parse(&text),
        // As a list, since names may hold commas.
        false => ClassList::parse(&serde_json::to_string(&lines).expect("texts have a form in JSON")),
    };
    if list.len() != count {
        return Err(Error::request(format!(
            "{}: it names {} classes, the network has {count}",
            argument(),
            list.len()
        )));
    }
    Ok(list)
}

/// The structure that weights are for, which the user may have named.
fn of(wanted: Option<Structure>, checkpoint: Checkpoint, ends: &Ends) -> Result<(Structure, Checkpoint)> {
    let checkpoint = match (Structure::read_between(checkpoint, ends)?, &wanted) {
        (Ok(read), None) => return Ok(read),
        (Ok((_, checkpoint)), Some(wanted)) => {
            return Err(Error::request(format!(
                "{}: this file describes its network itself; leave out --model {wanted}",
                checkpoint.name()
            )));
        }
        (Err(weights), _) => weights,
    };
    match (wanted, Structure::of(&checkpoint)) {
        (Some(wanted), Some(found)) if found != wanted => Err(Error::request(format!(
            "{}: these are weights of {found}, not of {wanted}; name that network, or another file",
            checkpoint.name()
        ))),
        (Some(wanted), _) => Ok((wanted, checkpoint)),
        (None, Some(found)) => Ok((found, checkpoint)),
        (None, None) => Err(no_network(&checkpoint)),
    }
}

/// A file, or a known checkpoint that has been fetched.
fn open_weights(path: &Path, key: Option<&str>) -> Result<Checkpoint> {
    let known = path.to_str().and_then(Known::named).filter(|_| !path.exists());
    match known {
        None => Checkpoint::open_at(path, key),
        Some(known) => match known.in_cache() {
            Some(path) => Checkpoint::open_at(&path, key),
            None => Err(Error::request(format!(
                "{} has not been fetched; `entoptic weights fetch {}` does",
                known.name, known.name
            ))),
        },
    }
}

/// The error for a file whose network nobody knows.
pub fn no_network(checkpoint: &Checkpoint) -> Error {
    let known = Structure::all().iter().map(Structure::name).collect::<Vec<_>>().join(", ");
    let (count, first) = (checkpoint.names().count(), checkpoint.names().next().unwrap_or_default());
    let name = checkpoint.name();
    Error::request(format!(
        "{name}: its tensors ({first} the first of {count}) are those of no network known here ({known})"
    ))
}
