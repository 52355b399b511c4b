//! Networks on their way onto the GPU, and what the user is told of it.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use entoptic::Error;
use entoptic::analysis::softmax;
use entoptic::autotune::{self, Settings};
use entoptic::classes::ClassList;
use entoptic::device::{AdapterChoice, Class, Device};
use entoptic::nets::{Ends, Head, Network, Normalize, Pixels, Structure};
use entoptic::picture;
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::Array;
use entoptic::weights::{Checkpoint, KNOWN, Known, cache_folder, demo};

use super::messages::tell;
use super::models::{Model, Weights};
use super::options::{Global, NormalizeArg};

/// A network ready to run, with what its checkpoint says of itself.
pub struct Loaded {
    pub network: Network,
    /// Share in the objective.
    pub weight: f32,
    pub head: Head,
    /// How its training pictures were normalised.
    pub trained_with: Normalize,
    /// Side of its training pictures, where its checkpoint tells.
    pub side: Option<usize>,
    /// The recipe that suits it.
    pub recipe: &'static str,
    /// How its training pictures were normalised, where the user has said so.
    pub told: Option<Pixels>,
    /// Whether the user has named its classes.
    pub renamed: bool,
}

impl Loaded {
    /// A network of a checkpoint, with its part in the objective.
    pub fn new(network: Network, weight: f32, head: Head) -> Self {
        let card = &network.card;
        let (trained_with, side) = (card.normalize(), card.side);
        let recipe = if card.is_small() { "demo" } else { network.structure.recipe() };
        Loaded { network, weight, head, trained_with, side, recipe, told: None, renamed: false }
    }

    /// Whether these are the weights of a published file.
    pub fn is_published(&self) -> bool {
        KNOWN.iter().any(|known| self.network.checksum.starts_with(known.checksum()))
    }

    /// Warns where pixel values are to be given to the network otherwise than it seems to have been trained with them.
    pub fn check_preprocessing(&self, global: &Global, device: &Device, chosen: Normalize) -> anyhow::Result<()> {
        if let Some(other) = self.network.preprocessing_misfit(device, chosen)? {
            let name = |normalize| if normalize == Normalize::Source { "source" } else { "imagenet" };
            let switch = |on| if on { "on" } else { "off" };
            let (mut better, mut now) = (vec![], vec![]);
            if other.normalize != chosen {
                better.push(format!("--normalize {}", name(other.normalize)));
                now.push(name(chosen));
            }
            if other.transform_input != self.network.transform_input {
                better.push(format!("--transform-input {}", switch(other.transform_input)));
                now.push(switch(self.network.transform_input));
            }
            global.warn(format_args!(
                "{} expects other pixel values, as its first batch norm tells; {} fits it better than {}",
                self.network.source,
                better.join(" "),
                now.join(" and "),
            ));
        }
        Ok(())
    }
}

/// What becomes of pixel values: what the user has `chosen`, else what a recipe says. A network that normalises by itself was
/// trained so, and one that a file describes as the file says, or as is likely; the recipes in the program are for others.
pub fn normalize_for(recipe: &Recipe, chosen: Option<NormalizeArg>, networks: &[Loaded]) -> Normalize {
    let own = |loaded: &&Loaded| loaded.network.card.normaliser || loaded.network.structure.is_imported();
    match (chosen, networks.iter().find(own)) {
        (Some(chosen), _) => chosen.into(),
        (None, Some(own)) if Recipe::named(&recipe.name).is_ok() => own.trained_with,
        (None, _) => recipe.normalize,
    }
}

/// The recipe that the user has chosen, else the usual one; with pixel values as the networks want them, and, where it is one of those
/// in the program, with pictures that they take: of this side, where the user has chosen one.
pub fn settled(
    global: &Global,
    given: Option<&Path>,
    usual: &str,
    networks: &[Loaded],
    (normalize, side): (Option<NormalizeArg>, Option<u32>),
) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::load(given.unwrap_or(Path::new(usual)))?;
    recipe.normalize = normalize_for(&recipe, normalize, networks);
    let in_program = Recipe::named(&recipe.name).is_ok();
    // One side may be all that a file's network takes; and a small network has learnt things of a certain size.
    let only = |loaded: &Loaded| {
        let structure = &loaded.network.structure;
        let takes =
            recipe.stages.iter().map(|stage| stage.crop.unwrap_or(recipe.final_side())).chain([recipe.init.size]);
        match takes.filter_map(|side| structure.only_sides(side as usize)).next() {
            Some([h, w]) if h == w => Some((h, "the only ones for the network")),
            Some(_) => None,
            None if structure.is_imported() && loaded.network.card.is_small() => {
                loaded.side.map(|side| (side, "as were those for the network"))
            }
            None => None,
        }
    };
    let wanted = match side {
        Some(side) => Some((side as usize, "as asked for", None)),
        None => networks
            .iter()
            .filter(|_| in_program)
            .find_map(|loaded| only(loaded).map(|(side, why)| (side, why, Some(&loaded.network.source)))),
    };
    if let Some((side, why, source)) = wanted {
        recipe = recipe.fitted(side as u32)?;
        let of = source.map_or(String::new(), |source| format!(" of {source}"));
        global.say(format_args!("recipe {}: pictures of {side} x {side} pixels, {why}{of}", recipe.name));
    }
    Ok(recipe)
}

/// [`Loaded::check_preprocessing`] for what a recipe says, or the user has `chosen` instead. Recipes in the program for published
/// networks are those of the experiments, which gave them pixel values as they are, and meant it.
pub fn check_recipe(
    global: &Global,
    device: &Device,
    networks: &[Loaded],
    recipe: &Recipe,
    chosen: bool,
) -> anyhow::Result<()> {
    let meant = !chosen && Recipe::named(&recipe.name).is_ok();
    let mut doubtful = networks.iter().filter(|loaded| !(meant && loaded.is_published()));
    doubtful.try_for_each(|loaded| loaded.check_preprocessing(global, device, recipe.normalize))
}

/// [`Loaded::check_preprocessing`] for what the user has chosen for a picture; tensors may have been normalised before.
pub fn check_normalize(
    global: &Global,
    device: &Device,
    networks: &[Loaded],
    chosen: Option<NormalizeArg>,
    picture: &Path,
) -> anyhow::Result<()> {
    let Some(chosen) = chosen.filter(|_| picture.extension().is_none_or(|e| e != "safetensors")) else { return Ok(()) };
    networks.iter().try_for_each(|loaded| loaded.check_preprocessing(global, device, chosen.into()))
}

/// Side of the pictures of networks whose weights say none: torchvision's.
pub const SIDE: usize = 224;

/// Probabilities of classes from a network's logits: each by itself where the file has a sigmoid behind them.
pub fn probabilities(network: &Network, logits: &[f32]) -> Vec<f32> {
    let alone = network.structure.behind_logits() == Some("sigmoid") || logits.len() == 1;
    if alone { logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect() } else { softmax(logits) }
}

/// A picture as a user wants to have it looked at: the square of that side in its middle, or as it is.
pub fn sized(picture: Array, side: Option<u32>) -> Array {
    match side.map(|side| side as usize) {
        Some(side) if [picture.shape.h(), picture.shape.w()] != [side; 2] => picture::fit(&picture, side),
        _ => picture,
    }
}

/// Warns of a picture that is taken as it is, and whose things are far larger or smaller than those that a network was trained on.
pub fn check_size(global: &Global, path: &Path, picture: &Array, networks: &[Loaded]) {
    // Training shows things at half and at twice the size; beyond that answers change.
    const FAR: f64 = 1.75;
    let [_, _, h, w] = picture.shape.0;
    for loaded in networks {
        let side = loaded.side.unwrap_or(SIDE);
        let times = h.min(w) as f64 / side as f64;
        if !(1.0 / FAR..=FAR).contains(&times) {
            let (path, source) = (path.display(), &loaded.network.source);
            global.warn(format_args!(
                "{path}: is {w} x {h} pixels, {source} was trained with {side}; its answer may be another at --size {side}"
            ));
        }
    }
}

/// The lowest and the highest of a picture's values and of 0 and 1.
pub fn extent(picture: &Array) -> [f32; 2] {
    picture.values.iter().fold([0.0, 1.0], |[low, high], &value| [low.min(value), high.max(value)])
}

/// Warns of values that are far from those of pixels, which only tensors and some TIFF files can hold.
pub fn check_range(global: &Global, path: &Path, picture: &Array, normalize: Normalize) {
    let [low, high] = extent(picture);
    // As they are, values may have been normalised before: ImageNet's then go from -2.1 to 2.6.
    let margin = if normalize == Normalize::Source { 9.0 } else { 1.0 };
    if low < -margin || high > 1.0 + margin {
        let advice = if high > 10.0 {
            "divide them by 255 if they are bytes"
        } else {
            "--normalize source takes values that have been normalised"
        };
        let path = path.display();
        global
            .warn(format_args!("{path}: its values go from {low} to {high}, those of a picture from 0 to 1; {advice}"));
    }
}

/// Opens the adapter that the user wants and says which it is.
pub fn open(global: &Global) -> anyhow::Result<Device> {
    let choice = global.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Named);
    equipped(global, Device::open(&choice)?)
}

/// Opens the same adapter again, in place of a device that was lost.
pub fn reopen(global: &Global, lost: &Device) -> anyhow::Result<Device> {
    equipped(global, lost.another()?)
}

fn equipped(global: &Global, device: Device) -> anyhow::Result<Device> {
    if let Some(mebibytes) = global.memory {
        device.limit_memory(mebibytes << 20);
    }
    global.say(format_args!("adapter: {}", device.adapter()));
    // A software driver has one kernel that is best, and keeps by itself what it compiles.
    if device.adapter().class != Class::Software {
        let folder = cache_folder();
        if let Some(folder) = &folder {
            device.keep_pipelines(folder);
        }
        if !global.no_autotune {
            let quiet = global.quiet;
            let warn = move |line: &str| {
                if !quiet {
                    tell(format_args!("{line}"));
                }
            };
            autotune::install(&device, Settings::new(folder, warn));
        }
    }
    Ok(device)
}

/// Loads every network and says which weights it has.
pub fn load<'a>(
    global: &Global,
    device: &Device,
    models: impl IntoIterator<Item = &'a Model>,
) -> anyhow::Result<Vec<Loaded>> {
    models.into_iter().enumerate().map(|(index, model)| model.load(global, device, index)).collect()
}

/// The class list that all networks of an objective share.
pub fn shared_classes<'a>(networks: impl IntoIterator<Item = &'a Loaded>) -> anyhow::Result<&'a ClassList> {
    let mut networks = networks.into_iter();
    let first = &networks.next().context("no network is given")?.network;
    let classes = &first.classes;
    if classes.is_empty() {
        bail!("{} has no classifier; feature and dream look at its layers", first.source);
    }
    for Loaded { network, .. } in networks {
        if network.classes != *classes {
            bail!(
                "{} and {} have different classes ({} and {}); an objective needs networks with the same list",
                first.source,
                network.source,
                classes.len(),
                network.classes.len(),
            );
        }
    }
    Ok(classes)
}

impl Model {
    pub fn load(&self, global: &Global, device: &Device, index: usize) -> anyhow::Result<Loaded> {
        let (structure, checkpoint) = self.find()?;
        let loaded = Network::load(device, &structure, &checkpoint, &index.to_string());
        let mut network = match loaded {
            // The one error that does not name the file itself.
            Err(error @ Error::Weights { .. }) => {
                return Err(error).with_context(|| format!("loading {}", checkpoint.name()));
            }
            loaded => loaded?,
        };
        if let Some(transform) = self.transform_input {
            network.transform_input = transform;
        }
        let told = self.pixels()?;
        if let Some(pixels) = told {
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
        global.say(format_args!("network: {structure}, weights {}, {classes}", network.source));
        match told {
            Some(pixels) => global.say(format_args!("  pixel values are normalised as asked for: {pixels}")),
            None => {
                network.notes.iter().for_each(|note| global.say(format_args!("  {note}")));
                guess_pixels(global, device, &mut network)?;
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
            global.say(format_args!(
                "  torchvision's rescaling (transform_input): {}, {why}",
                if switch { "on" } else { "off" }
            ));
        }
        if !network.has_batch_norms() {
            global.say(format_args!(
                "  no batch norms: no prior of their statistics, and pixel values are not checked against them"
            ));
        }
        if let Some(function) = structure.behind_logits() {
            global.say(format_args!("logits: the values before the {function} at the end"));
        }
        global.explain(|| format!("SHA-256 of the weights: {}", network.checksum));
        let renamed = self.classes.is_some();
        Ok(Loaded { told, renamed, ..Loaded::new(network, self.weight, self.head) })
    }

    /// The weights as given, or else a published checkpoint that has been fetched, or the demo network; and the structure that
    /// they are for.
    pub fn find(&self) -> anyhow::Result<(Structure, Checkpoint)> {
        let fetched = || Known::fetched(self.structure.as_ref()?.name());
        match (&self.weights, self.structure.clone()) {
            (Weights::File(path), wanted) => of(wanted, open_weights(path, self.key.as_deref())?, &self.ends),
            _ if self.ends != Ends::default() => {
                bail!(
                    "--input and --output belong to a file that describes its network (--weights FILE.pt2 or FILE.onnx)"
                )
            }
            _ if self.key.is_some() => bail!("--key belongs to a file of weights (--weights FILE)"),
            (Weights::Usual, wanted) if let Some(path) = fetched() => of(wanted, Checkpoint::open(&path)?, &self.ends),
            (weights, Some(structure)) => {
                let twin = if *weights == Weights::DemoPlain { "-plain" } else { "" };
                let name = format!("{structure}{twin}");
                let found = demo(&name)?.map(|checkpoint| (structure, checkpoint));
                found.with_context(|| format!("there is no demo-{name}; `entoptic weights list` names those there are"))
            }
            (_, None) => bail!("--weights demo and demo-plain need a --model"),
        }
    }
}

/// Settles how pixel values are given to a network of which its file says nothing, and says that it is a guess. Grey ones are as they
/// are; others are normalised as ImageNet's networks are, unless the first batch norm tells that they are not.
pub fn guess_pixels(global: &Global, device: &Device, network: &mut Network) -> anyhow::Result<()> {
    if !network.structure.is_imported() || network.card.tells_pixels() {
        return Ok(());
    }
    let (normalize, guess) = match network.structure.channels() {
        1 => (Normalize::Source, "as they are, from 0 to 1"),
        3 => match network.preprocessing_misfit(device, Normalize::Imagenet)? {
            Some(other) if other.normalize == Normalize::Source => {
                (Normalize::Source, "as they are, from 0 to 1, which its first batch norm agrees with")
            }
            _ => (Normalize::Imagenet, "normalised as ImageNet's"),
        },
        _ => return Ok(()),
    };
    network.card.normalisation = Some(normalize);
    global.say(format_args!(
        "  pixel values {guess}: a guess, for its file says nothing; --mean and --std do, or --normalize"
    ));
    Ok(())
}

/// The names of so many classes, from a file with one a line or with a JSON list.
fn named_classes(file: &Path, count: usize) -> anyhow::Result<ClassList> {
    let text = std::fs::read_to_string(file).with_context(|| format!("--class-names {}", file.display()))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let list = match text.trim_start().starts_with('[') {
        true => ClassList::parse(&text),
        // As a list, since names may hold commas.
        false => ClassList::parse(&serde_json::to_string(&lines)?),
    };
    if list.len() != count {
        bail!("--class-names {}: it names {} classes, the network has {count}", file.display(), list.len());
    }
    Ok(list)
}

/// The structure that weights are for, which the user may have named.
fn of(wanted: Option<Structure>, checkpoint: Checkpoint, ends: &Ends) -> anyhow::Result<(Structure, Checkpoint)> {
    let checkpoint = match (Structure::read_between(checkpoint, ends)?, &wanted) {
        (Ok(read), None) => return Ok(read),
        (Ok((_, checkpoint)), Some(wanted)) => {
            bail!("{}: this file describes its network itself; leave out --model {wanted}", checkpoint.name())
        }
        (Err(weights), _) => weights,
    };
    match (wanted, Structure::of(&checkpoint)) {
        (Some(wanted), Some(found)) if found != wanted => {
            bail!(
                "{}: these are weights of {found}, not of {wanted}; name that network, or another file",
                checkpoint.name()
            )
        }
        (Some(wanted), _) => Ok((wanted, checkpoint)),
        (None, Some(found)) => Ok((found, checkpoint)),
        (None, None) => Err(no_network(&checkpoint)),
    }
}

/// A file, or a known checkpoint that has been fetched.
fn open_weights(path: &Path, key: Option<&str>) -> anyhow::Result<Checkpoint> {
    let known = path.to_str().and_then(Known::named).filter(|_| !path.exists());
    Ok(match known {
        None => Checkpoint::open_at(path, key)?,
        Some(known) => match known.in_cache() {
            Some(path) => Checkpoint::open_at(&path, key)?,
            None => bail!("{} has not been fetched; `entoptic weights fetch {}` does", known.name, known.name),
        },
    })
}

/// The error for a file whose network nobody knows.
pub fn no_network(checkpoint: &Checkpoint) -> anyhow::Error {
    let known = Structure::all().iter().map(Structure::name).collect::<Vec<_>>().join(", ");
    let (count, first) = (checkpoint.names().count(), checkpoint.names().next().unwrap_or_default());
    let name = checkpoint.name();
    anyhow!("{name}: its tensors ({first} the first of {count}) are those of no network known here ({known})")
}

/// A file's name without its folder, for messages and metadata.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
