//! What a checkpoint says of itself, in its metadata: read and written here.

use std::collections::BTreeMap;

use super::normalize::{Normalize, Pixels};
use super::reading::Reading;
use crate::weights::Checkpoint;

/// What is known of a checkpoint besides its tensors. Published files say nothing of themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// Name of its structure.
    pub network: Option<String>,
    /// Synsets or names of its classes, in the order of the logits, separated by commas.
    pub classes: Option<String>,
    /// Whether its forward pass begins with torchvision's `transform_input`.
    pub transform_input: Option<bool>,
    /// How its training pictures were normalised.
    pub normalisation: Option<Normalize>,
    /// The numbers of that, where the checkpoint has any.
    pub pixels: Option<Pixels>,
    /// Whether these are tensors of the network, which then normalises by itself whatever it is given.
    pub normaliser: bool,
    /// Side of its training pictures, in pixels.
    pub side: Option<usize>,
    /// Everything that the metadata say, these included.
    pub words: BTreeMap<String, String>,
}

/// What the metadata say of the normalisation where the network had a part for it.
const OWN: &str = "own";

/// Side of the pictures, in pixels, from which on published recipes suit a network.
const LARGE: usize = 200;

impl Card {
    /// What a checkpoint says; what cannot be understood counts as not said.
    pub fn of(checkpoint: &Checkpoint, reading: &Reading) -> Card {
        let mut card =
            Card::read(checkpoint.metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect());
        let values = |name: &String| checkpoint.read(name).unwrap_or_default();
        let within = reading.normaliser.as_ref().and_then(|[mean, std]| Pixels::new(&values(mean), &values(std)));
        if let Some(pixels) = within {
            card.tell(pixels);
        }
        card
    }

    /// Says that whatever the network is given is normalised by these numbers.
    pub(super) fn tell(&mut self, pixels: Pixels) {
        (self.pixels, self.normaliser) = (Some(pixels), true);
        let list = |numbers: [f32; 3]| numbers.map(|number| number.to_string()).join(",");
        self.words.insert("pixel_mean".into(), list(pixels.mean));
        self.words.insert("pixel_std".into(), list(pixels.std));
        self.words.insert("normalisation".into(), OWN.into());
    }

    /// Whether it says anything of how training pictures were normalised.
    pub fn tells_pixels(&self) -> bool {
        self.normaliser || self.normalisation.is_some() || self.pixels.is_some()
    }

    fn read(words: BTreeMap<String, String>) -> Card {
        let said = |key: &str| words.get(key).map(String::as_str);
        let numbers = |key: &str| -> Vec<f32> {
            said(key).unwrap_or_default().split(',').filter_map(|number| number.trim().parse().ok()).collect()
        };
        Card {
            network: said("network").map(str::to_owned),
            classes: said("classes").map(str::to_owned),
            transform_input: said("transform_input").map(|said| said.eq_ignore_ascii_case("true")),
            normalisation: match said("normalisation") {
                Some("none") => Some(Normalize::Source),
                Some(_) => Some(Normalize::Imagenet),
                None => None,
            },
            pixels: Pixels::of(&numbers("pixel_mean"), &numbers("pixel_std")),
            normaliser: said("normalisation") == Some(OWN),
            side: said("side").and_then(|side| side.parse().ok()),
            words,
        }
    }

    /// The metadata with which a checkpoint says this: those of `words`, with what the card itself knows in place of theirs.
    pub fn write(&self) -> BTreeMap<String, String> {
        let normalisation = self.normalisation.map(|normalize| match normalize {
            _ if self.normaliser => OWN.to_owned(),
            Normalize::Source => "none".to_owned(),
            Normalize::Imagenet => "imagenet".to_owned(),
        });
        let known = [
            ("network", self.network.clone()),
            ("classes", self.classes.clone()),
            ("transform_input", self.transform_input.map(|on| on.to_string())),
            ("normalisation", normalisation),
            ("side", self.side.map(|side| side.to_string())),
        ];
        let known = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        self.words.clone().into_iter().chain(known).collect()
    }

    /// How pixel values are to be given to the network: torchvision trained published files, which say nothing, with ImageNet's
    /// mean and standard deviation, and a network that has numbers of its own is given these for ImageNet's.
    pub fn normalize(&self) -> Normalize {
        if self.normaliser { Normalize::Imagenet } else { self.normalisation.unwrap_or(Normalize::Imagenet) }
    }

    /// Whether the network was trained on small pictures, for which the recipes of the demo networks are made.
    pub fn is_small(&self) -> bool {
        self.side.is_some_and(|side| side < LARGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_file_says_is_read() {
        let said = words(&[
            ("network", "resnet18"),
            ("classes", "cat,dog"),
            ("transform_input", "false"),
            ("normalisation", "none"),
            ("side", "96"),
            ("trained_by", "somebody"),
        ]);
        let card = Card::read(said.clone());
        assert_eq!((card.network.as_deref(), card.classes.as_deref()), (Some("resnet18"), Some("cat,dog")));
        assert_eq!(card.words, said);
        assert_eq!(card.write(), said);
        let other = Card { side: Some(64), network: None, ..card.clone() };
        assert_eq!(Card::read(other.write()), Card { words: other.write(), network: card.network.clone(), ..other });
        assert_eq!((card.normalize(), card.is_small(), card.transform_input), (Normalize::Source, true, Some(false)));
    }

    #[test]
    fn a_file_that_says_nothing_is_as_torchvision_publishes() {
        let card = Card::read(words(&[("side", "many")]));
        assert_eq!((card.side, card.normalize(), card.is_small()), (None, Normalize::Imagenet, false));
    }
}
