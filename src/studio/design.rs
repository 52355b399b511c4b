//! What decides how a picture looks, as data: what it is to show, the networks, the random numbers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::loaded::{Loaded, file_name, shared_classes};
use crate::classes::ClassList;
use crate::nets::{Ends, Pixels};
use crate::ops::Metric;
use crate::{Error, Result};

/// The logit aimed at where the user gives none.
pub const CONSTANT: f32 = 200.0;

/// What decides how a picture looks, besides its recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// What it is to show.
    pub objective: Aim,
    /// Of its random numbers.
    pub seed: u64,
    /// Which of the seed's streams of random numbers it has.
    pub stream: u64,
    /// What it starts from.
    pub init: Init,
    /// The networks, in the order in which the objective counts them.
    pub networks: Vec<Maker>,
}

/// What a picture starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Random numbers, as the recipe says.
    Noise,
    /// A file, and which of its pictures where it has several.
    Image {
        /// Its name.
        file: String,
        /// Its checksum.
        sha256: String,
        /// Which of its pictures.
        picture: Option<usize>,
    },
}

/// A network that made a picture, and its part in the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maker {
    /// Its structure's name.
    pub network: String,
    /// The name of its weights' file.
    pub weights: String,
    /// Their checksum.
    pub sha256: String,
    /// Where in the file the weights are, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which input and output of its file, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The output, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How its training pictures were normalised, where the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
    /// Whether the user has named its classes: the file of names need not be there again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renamed: bool,
    /// Whether its forward pass begins with torchvision's `transform_input`.
    pub transform_input: bool,
    /// Share in the objective.
    pub weight: f32,
    /// Name of the head through which it is looked at.
    pub head: String,
}

/// What a picture is to show; with its networks, its recipe and its random numbers this is all that makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Aim {
    /// A class, as one network sees it.
    Class {
        /// Its index.
        class: usize,
        /// Its name.
        name: String,
        /// The logit aimed at.
        constant: f32,
    },
    /// A class, as several do.
    Joint {
        /// Its index.
        class: usize,
        /// Its name.
        name: String,
        /// The logit aimed at.
        constant: f32,
    },
    /// What the first networks see in a class and the last `minus` do not.
    Difference {
        /// Its index.
        class: usize,
        /// Its name.
        name: String,
        /// Networks that are not to see it.
        minus: usize,
    },
    /// What is least like a class.
    Opposite {
        /// Its index.
        class: usize,
        /// Its name.
        name: String,
    },
    /// From one class to another.
    Blend {
        /// Their indices.
        classes: [usize; 2],
        /// Their names.
        names: [String; 2],
    },
    /// Two classes at once.
    Merge {
        /// Their indices.
        classes: [usize; 2],
        /// Their names.
        names: [String; 2],
        /// Whether the lower of the two logits counts, rather than their sum.
        juxtapose: bool,
    },
    /// What a layer responds to, all of it, a channel, or a unit [channel, row, column].
    Feature {
        /// The layer.
        layer: String,
        /// One of its channels.
        channel: Option<usize>,
        /// One of its units.
        unit: Option<[usize; 3]>,
    },
    /// A photograph in which a layer exaggerates.
    Dream {
        /// The layer.
        layer: String,
        /// One of its channels.
        channel: Option<usize>,
    },
    /// A picture to which a network answers as to another one; of a class, where that one is.
    Match {
        /// The class.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The other picture.
        of: Target,
        /// The layer that is compared; none: the logits.
        layer: Option<String>,
        /// How distances are measured.
        metric: Metric,
    },
    /// A sum that is to be raised, in the words of [`crate::objective::read`].
    Sum {
        /// The sum.
        text: String,
    },
}

/// The picture that another one is to match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// Another network's picture of a class, made for this, by a recipe (its text).
    Made {
        /// The other network.
        network: String,
        /// The checksum of its weights.
        sha256: String,
        /// The class.
        class: usize,
        /// Its name.
        name: String,
        /// What decides how that picture looks.
        made: Box<Design>,
        /// Its recipe.
        recipe: String,
    },
    /// Another network's picture of a class, made before.
    Given {
        /// The other network.
        network: String,
        /// The checksum of its weights.
        sha256: String,
        /// The class.
        class: usize,
        /// Its name.
        name: String,
        /// The picture's file.
        picture: String,
        /// Its checksum.
        picture_sha256: String,
    },
    /// Any picture.
    Image {
        /// Its file.
        image: String,
        /// Its checksum.
        image_sha256: String,
    },
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
    pub fn matching(of: Target, layer: Option<String>, metric: Metric) -> Self {
        Aim::Match { name: of.class().map(str::to_owned), of, layer, metric }
    }

    /// What the first number is called that the objective measures.
    pub fn measured(&self) -> &'static str {
        match self {
            Aim::Class { .. } | Aim::Joint { .. } | Aim::Difference { .. } | Aim::Opposite { .. } => "logit",
            Aim::Blend { .. } | Aim::Merge { .. } => "first logit",
            Aim::Feature { .. } | Aim::Dream { .. } => "response",
            Aim::Match { .. } => "distance",
            Aim::Sum { .. } => "first term",
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
            Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } | Aim::Sum { .. } => vec![],
        }
    }

    /// Whether the networks can have made it: as many as it takes, with classes of these names.
    ///
    /// # Errors
    /// [`Error::Request`] where they cannot.
    pub fn check(&self, networks: &[&Loaded]) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request { reason });
        let (least, most) = match self {
            Aim::Joint { .. } => (2, usize::MAX),
            Aim::Difference { minus, .. } => (minus + 1, usize::MAX),
            Aim::Opposite { .. } | Aim::Blend { .. } | Aim::Merge { .. } | Aim::Sum { .. } => (1, usize::MAX),
            Aim::Class { .. } | Aim::Feature { .. } | Aim::Dream { .. } | Aim::Match { .. } => (1, 1),
        };
        if !(least..=most).contains(&networks.len()) || matches!(self, Aim::Difference { minus: 0, .. }) {
            return refuse(format!("it takes another number of networks than {}", networks.len()));
        }
        if let Aim::Match { name, of, .. } = self
            && name.as_deref() != of.class()
        {
            return refuse("what it says of the picture that it matches does not agree with itself".into());
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
                Some(found) => return refuse(format!("it calls class {class} {name}, its network calls it {found}")),
                None => return refuse(format!("it names class {class}, its network has {}", known.len())),
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
