//! Networks ready to run, with what their checkpoints say of them.

use std::path::Path;

use super::note::{Ear, Note};
use crate::analysis::softmax;
use crate::classes::ClassList;
use crate::device::Device;
use crate::nets::{Head, Network, Normalize, Pixels};
use crate::weights::KNOWN;
use crate::{Error, Result};

/// Side of the pictures of networks whose weights say none: torchvision's.
pub const SIDE: usize = 224;

/// A network ready to run, with what its checkpoint says of itself.
pub struct Loaded {
    /// The network.
    pub network: Network,
    /// Share in the objective.
    pub weight: f32,
    /// The head through which it is looked at.
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
    ///
    /// # Errors
    /// Those of the device.
    pub fn check_preprocessing(&self, ear: Ear, device: &Device, chosen: Normalize) -> Result<()> {
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
            ear(Note::Warning(format!(
                "{} expects other pixel values, as its first batch norm tells; {} fits it better than {}",
                self.network.source,
                better.join(" "),
                now.join(" and "),
            )));
        }
        Ok(())
    }
}

/// Probabilities of classes from a network's logits: each by itself where the file has a sigmoid behind them.
pub fn probabilities(network: &Network, logits: &[f32]) -> Vec<f32> {
    let alone = network.structure.behind_logits() == Some("sigmoid") || logits.len() == 1;
    if alone { logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect() } else { softmax(logits) }
}

/// The class list that all networks of an objective share.
///
/// # Errors
/// [`Error::Request`] without networks, for one without a classifier, and where lists differ.
pub fn shared_classes<'a>(networks: impl IntoIterator<Item = &'a Loaded>) -> Result<&'a ClassList> {
    let mut networks = networks.into_iter();
    let first = &networks.next().ok_or_else(|| Error::request("no network is given"))?.network;
    let classes = &first.classes;
    if classes.is_empty() {
        return Err(Error::request(format!(
            "{} has no classifier; feature and dream look at its layers",
            first.source
        )));
    }
    match networks.find(|loaded| loaded.network.classes != *classes) {
        None => Ok(classes),
        Some(Loaded { network, .. }) => Err(Error::request(format!(
            "{} and {} have different classes ({} and {}); an objective needs networks with the same list",
            first.source,
            network.source,
            classes.len(),
            network.classes.len(),
        ))),
    }
}

/// Settles how pixel values are given to a network of which its file says nothing, and says that it is a guess. Grey ones are as they
/// are; others are normalised as ImageNet's networks are, unless the first batch norm tells that they are not.
///
/// # Errors
/// Those of the device.
pub fn guess_pixels(ear: Ear, device: &Device, network: &mut Network) -> Result<()> {
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
        _ => (Normalize::Source, ""),
    };
    network.card.normalisation = Some(normalize);
    // Values that are no pictures are never changed, so that there is nothing to guess.
    if !guess.is_empty() {
        ear(Note::Info(format!(
            "  pixel values {guess}: a guess, for its file says nothing; --mean and --std do, or --normalize"
        )));
    }
    Ok(())
}

/// A file's name without its folder, for messages and metadata.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
