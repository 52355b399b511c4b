//! What decides how a picture looks, as data: what it is to show, the networks, the random numbers.

use std::path::Path;

use anyhow::bail;
use entoptic::classes::ClassList;
use entoptic::nets::{Ends, Pixels};
use serde::{Deserialize, Serialize};

use super::networks::{Loaded, file_name, shared_classes};
use super::options::MetricArg;

/// The logit aimed at where the user gives none.
pub const CONSTANT: f32 = 200.0;

/// What decides how a picture looks, besides its recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    pub objective: Aim,
    pub seed: u64,
    pub stream: u64,
    pub init: Init,
    pub networks: Vec<Maker>,
}

/// What a picture starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    Noise,
    /// A file, and which of its pictures where it has several.
    Image {
        file: String,
        sha256: String,
        picture: Option<usize>,
    },
}

/// A network that made a picture, and its part in the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maker {
    pub network: String,
    pub weights: String,
    pub sha256: String,
    /// Where in the file the weights are, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which input and output of its file, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How its training pictures were normalised, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
    /// Whether the user has named its classes: the file of names need not be there again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renamed: bool,
    pub transform_input: bool,
    pub weight: f32,
    pub head: String,
}

/// What a picture is to show; with its networks, its recipe and its random numbers this is all that makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Aim {
    /// A class, as one network sees it.
    Class { class: usize, name: String, constant: f32 },
    /// A class, as several do.
    Joint { class: usize, name: String, constant: f32 },
    /// What the first networks see in a class and the last `minus` do not.
    Difference { class: usize, name: String, minus: usize },
    /// What is least like a class.
    Opposite { class: usize, name: String },
    /// From one class to another.
    Blend { classes: [usize; 2], names: [String; 2] },
    /// Two classes at once.
    Merge { classes: [usize; 2], names: [String; 2], juxtapose: bool },
    /// What a layer responds to, all of it, a channel, or a unit [channel, row, column].
    Feature { layer: String, channel: Option<usize>, unit: Option<[usize; 3]> },
    /// A photograph in which a layer exaggerates.
    Dream { layer: String, channel: Option<usize> },
    /// A picture to which a network answers as to another one; of a class, where that one is.
    Match {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        of: Target,
        layer: Option<String>,
        metric: MetricArg,
    },
}

/// The picture that another one is to match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// Another network's picture of a class, made for this, by a recipe (its text).
    Made { network: String, sha256: String, class: usize, name: String, made: Box<Design>, recipe: String },
    /// Another network's picture of a class, made before.
    Given { network: String, sha256: String, class: usize, name: String, picture: String, picture_sha256: String },
    /// Any picture.
    Image { image: String, image_sha256: String },
}

impl Target {
    /// The class that it shows, where it is known.
    fn class(&self) -> Option<&str> {
        match self {
            Target::Made { name, .. } | Target::Given { name, .. } => Some(name),
            Target::Image { .. } => None,
        }
    }
}

impl Aim {
    /// A picture that is to match another one.
    pub fn matching(of: Target, layer: Option<String>, metric: MetricArg) -> Self {
        Aim::Match { name: of.class().map(str::to_owned), of, layer, metric }
    }

    /// What the first number is called that the objective measures.
    pub fn measured(&self) -> &'static str {
        match self {
            Aim::Class { .. } | Aim::Joint { .. } | Aim::Difference { .. } | Aim::Opposite { .. } => "logit",
            Aim::Blend { .. } | Aim::Merge { .. } => "first logit",
            Aim::Feature { .. } | Aim::Dream { .. } => "response",
            Aim::Match { .. } => "distance",
        }
    }

    /// The classes that it is about, by index and name.
    pub fn classes(&self) -> Vec<(usize, &str)> {
        match self {
            Aim::Class { class, name, .. }
            | Aim::Joint { class, name, .. }
            | Aim::Difference { class, name, .. }
            | Aim::Opposite { class, name } => vec![(*class, name)],
            Aim::Blend { classes, names } | Aim::Merge { classes, names, .. } => {
                vec![(classes[0], &names[0]), (classes[1], &names[1])]
            }
            Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } => vec![],
        }
    }

    /// Whether the networks can have made it: as many as it takes, with classes of these names.
    pub fn check(&self, networks: &[Loaded]) -> anyhow::Result<()> {
        let (least, most) = match self {
            Aim::Joint { .. } => (2, usize::MAX),
            Aim::Difference { minus, .. } => (minus + 1, usize::MAX),
            Aim::Opposite { .. } | Aim::Blend { .. } | Aim::Merge { .. } => (1, usize::MAX),
            Aim::Class { .. } | Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } => (1, 1),
        };
        if !(least..=most).contains(&networks.len()) || matches!(self, Aim::Difference { minus: 0, .. }) {
            bail!("it takes another number of networks than {}", networks.len());
        }
        if let Aim::Match { name, of, .. } = self
            && name.as_deref() != of.class()
        {
            bail!("what it says of the picture that it matches does not agree with itself");
        }
        let about = self.classes();
        if about.is_empty() {
            return Ok(());
        }
        // Names that the user has given are in the picture alone.
        let (renamed, named): (Vec<&Loaded>, Vec<&Loaded>) = networks.iter().partition(|loaded| loaded.renamed);
        let known = match &named[..] {
            [] => &ClassList::unnamed(renamed[0].network.class_count()),
            named => shared_classes(named.iter().copied())?,
        };
        for (class, name) in about {
            let found = (class < known.len()).then(|| known.name(class));
            match found.filter(|_| renamed.iter().all(|loaded| loaded.network.class_count() == known.len())) {
                Some(found) if found == name || named.is_empty() => {}
                Some(found) => bail!("it calls class {class} {name}, its network calls it {found}"),
                None => bail!("it names class {class}, its network has {}", known.len()),
            }
        }
        Ok(())
    }
}

impl From<&Loaded> for Maker {
    fn from(Loaded { network, weight, head, told, renamed, .. }: &Loaded) -> Self {
        let Ends { input, output } = network.structure.ends();
        Maker {
            network: network.structure.name().to_owned(),
            weights: file_name(Path::new(&network.source)),
            sha256: network.checksum.clone(),
            key: network.key.clone(),
            input,
            output,
            pixels: *told,
            renamed: *renamed,
            transform_input: network.transform_input,
            weight: *weight,
            head: head.name().to_owned(),
        }
    }
}

impl Design {
    /// All networks that had a part in it, those of a picture that it matches included.
    pub fn makers(&self) -> Vec<&Maker> {
        let matched = match &self.objective {
            Aim::Match { of: Target::Made { made, .. }, .. } => made.makers(),
            _ => vec![],
        };
        self.networks.iter().chain(matched).collect()
    }
}
