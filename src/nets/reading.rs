//! How the tensors of a checkpoint are those of a network: under which prefix they are, in which naming, and which is the last layer.

use std::collections::{BTreeMap, BTreeSet};

use super::head::Head;
use super::structure::Structure;
use crate::weights::{Checkpoint, NAMINGS, translated};
use crate::{Error, Result};

/// Names of last layers besides those of the networks, with any number behind them: where a tool has replaced one, or calls it
/// otherwise.
const LAST: [&str; 9] =
    ["fc", "classifier", "head", "head.fc", "last_linear", "linear", "logits", "output", "final_layer"];

/// Names of the two tensors of a normalisation of pixels within a network: means and standard deviations.
const NORMALISERS: [[&str; 2]; 5] =
    [["new_mean", "new_std"], ["mean", "std"], ["mu", "sigma"], ["pixel_mean", "pixel_std"], ["_mean", "_std"]];

/// A checkpoint as one of a network.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What stands before the names of the network's layers in the file.
    pub prefix: String,
    /// The tool in whose spelling the file has them, where it is not torchvision's.
    pub naming: Option<&'static str>,
    /// Names of tensors as the network has them, each with the name in the file.
    pub names: BTreeMap<String, String>,
    /// Means and standard deviations of pixels, by their names in the file.
    pub normaliser: Option<[String; 2]>,
    /// Other prefixes under which the network is there as completely.
    pub others: Vec<String>,
    /// Sizes by the network's names.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    /// Of the tensors of the network and of the file's under the prefix, how many have the same name.
    pub(super) share: f64,
    /// Tensors of the network that are there, heads excepted, and all of them.
    pub(super) there: [usize; 2],
    /// Layers of a classifier of more than one layer, which is left out.
    pub(super) left_out: Vec<String>,
    /// The last layer, where its name in the file is another than the network's.
    pub(super) last: Option<String>,
}

/// The names of a file by their spelling in each naming, the file's own first.
pub(super) fn spellings(
    shapes: &BTreeMap<String, Vec<usize>>,
) -> impl Iterator<Item = (Option<&'static str>, BTreeMap<String, &str>)> {
    let own = shapes.keys().map(|name| (name.clone(), name.as_str())).collect();
    let others = NAMINGS
        .iter()
        .filter_map(|(tool, rules)| Some((Some(*tool), translated(shapes.keys().map(String::as_str), rules)?)));
    std::iter::once((None, own)).chain(others)
}

impl Reading {
    /// Every tensor under the name that it has, none of which is among the `wanted` ones.
    pub(super) fn as_it_is(shapes: &BTreeMap<String, Vec<usize>>, wanted: usize) -> Reading {
        let names = shapes.keys().map(|name| (name.clone(), name.clone())).collect();
        Reading { names, shapes: shapes.clone(), there: [0, wanted], ..Reading::default() }
    }

    /// The tensors under a prefix, in a spelling of their names. `wanted` are the structure's, heads excepted.
    pub(super) fn under(
        structure: &Structure,
        wanted: &BTreeSet<String>,
        shapes: &BTreeMap<String, Vec<usize>>,
        (naming, spelling): (Option<&'static str>, &BTreeMap<String, &str>),
        prefix: &str,
    ) -> Reading {
        let top = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let tops: BTreeSet<String> = wanted.iter().map(|name| top(name)).collect();
        let own = |name: &str| tops.contains(&top(name)) || structure.is_of_a_head(name);
        let mut reading = Reading { prefix: prefix.to_owned(), naming, ..Reading::default() };
        reading.normaliser = normaliser(shapes, spelling, prefix, &own);
        let mut foreign = 0;
        for (name, file) in spelling {
            let Some(name) = name.strip_prefix(prefix).filter(|name| !name.is_empty()) else { continue };
            // Single numbers beside the layers count something, such as the averages of a weight.
            let number = shapes[*file].iter().product::<usize>() <= 1;
            let of_pixels = reading.normaliser.iter().flatten().any(|other| other == file);
            if !own(name) && (number || of_pixels) {
                continue;
            }
            foreign += usize::from(
                own(name) && !wanted.contains(name) && !structure.is_of_a_head(name) && !structure.tolerates(name),
            );
            reading.names.insert(name.to_owned(), (*file).to_owned());
        }
        let common = wanted.iter().filter(|name| reading.names.contains_key(*name)).count();
        reading.share = common as f64 / wanted.len().max(common + foreign).max(1) as f64;
        reading.there = [common, wanted.len()];
        reading.find_last(structure, &own, (shapes, spelling));
        reading.shapes = reading.names.iter().map(|(name, file)| (name.clone(), shapes[file].clone())).collect();
        reading
    }

    /// Finds the last layer where the network's name for it is missing: a single layer under one of the usual names, beside the
    /// network's or outside of it.
    fn find_last(
        &mut self,
        structure: &Structure,
        own: &dyn Fn(&str) -> bool,
        (shapes, spelling): (&BTreeMap<String, Vec<usize>>, &BTreeMap<String, &str>),
    ) {
        let Some(classifier) = structure.classifier(Head::Main) else { return };
        if self.names.contains_key(&classifier) || self.share < 0.5 {
            return;
        }
        let layer = classifier.trim_end_matches(".weight");
        // Without its numbers, so that all layers of one classifier have one name.
        let root = |name: &str| {
            let (layer, leaf) = name.rsplit_once('.')?;
            let root = layer.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
            (LAST.contains(&root) && (leaf == "weight" || leaf == "bias")).then(|| root.to_owned())
        };
        let beside = spelling.iter().filter_map(|(name, file)| Some((name.strip_prefix(self.prefix.as_str())?, *file)));
        let around =
            self.prefix.trim_end_matches('.').rsplit_once('.').map_or(String::new(), |(outer, _)| format!("{outer}."));
        let outside = spelling.iter().filter_map(|(name, file)| Some((name.strip_prefix(around.as_str())?, *file)));
        let taken = |name: &str| own(name) && !structure.is_of_a_head(name);
        for place in [beside.collect::<Vec<_>>(), outside.collect()] {
            let mut found: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
            for (name, file) in place.into_iter().filter(|(name, _)| !taken(name)) {
                if let Some(root) = root(name) {
                    found.entry(root).or_default().push((name, file));
                }
            }
            let Some(tensors) = found.into_values().next() else { continue };
            let weights: Vec<&(&str, &str)> = tensors.iter().filter(|(name, _)| name.ends_with(".weight")).collect();
            for (_, file) in &tensors {
                self.names.retain(|_, other| other != file);
            }
            let single = tensors.len() <= 2 && weights.len() == 1 && shapes[weights[0].1].len() >= 2;
            if !single {
                self.left_out = weights.iter().map(|(_, file)| (*file).to_owned()).collect();
                return;
            }
            for (name, file) in &tensors {
                let leaf = name.rsplit('.').next().unwrap_or_default();
                self.names.insert(format!("{layer}.{leaf}"), (*file).to_owned());
            }
            self.last = Some(weights[0].1.trim_end_matches(".weight").to_owned());
            return;
        }
    }

    /// The numbers of a tensor, by the network's name.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read(&self, checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>> {
        checkpoint.read(self.names.get(name).map_or(name, String::as_str))
    }

    /// What is not plain about it, in sentences for people.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![];
        if !self.prefix.is_empty() {
            let prefixes: Vec<String> = self.others.iter().map(|other| format!("\"{other}\"")).collect();
            let others = if prefixes.is_empty() {
                String::new()
            } else {
                format!("; it is also under {}", prefixes.join(" and "))
            };
            notes.push(format!("the network is under \"{}\" in the names of tensors{others}", self.prefix));
        }
        if let Some(naming) = self.naming {
            notes.push(format!("tensors have the names that {naming} gives them"));
        }
        if let Some(last) = &self.last {
            notes.push(format!("its last layer is {last}"));
        }
        if !self.left_out.is_empty() {
            let layers = self.left_out.join(", ");
            notes.push(format!(
                "its classifier is no single linear layer ({layers}), so only the layers before it are there"
            ));
        }
        notes
    }

    /// An error of weights that do not fit, with what the names say of it.
    pub(super) fn explain(&self, error: Error) -> Error {
        let Error::Weights { network, mut problems } = error else { return error };
        let [there, all] = self.there;
        if 2 * there < all {
            let tensors = self.names.len();
            let firsts: Vec<&str> = self.names.values().take(3).map(String::as_str).collect();
            let firsts = firsts.join(", ");
            problems = vec![if there == 0 {
                format!(
                    "none of its {all} tensors is among the {tensors} of the file, under any prefix; those are {firsts} and so on"
                )
            } else {
                format!(
                    "only {there} of its {all} tensors are there, under any prefix; the file has {firsts} and so on"
                )
            }];
        } else if !self.prefix.is_empty() {
            problems.insert(0, format!("under \"{}\" are {there} of its {all} tensors:", self.prefix));
        }
        Error::Weights { network, problems }
    }
}

/// Means and standard deviations of pixels among the tensors of a file: three numbers each, beside each other, and not within the
/// network's own layers; of several the nearest to the network.
fn normaliser(
    shapes: &BTreeMap<String, Vec<usize>>,
    spelling: &BTreeMap<String, &str>,
    prefix: &str,
    own: &dyn Fn(&str) -> bool,
) -> Option<[String; 2]> {
    let three = |name: &str| shapes.get(name).is_some_and(|sizes| sizes.iter().product::<usize>() == 3);
    let pair = |(name, mean): (&String, &&str)| {
        let (parent, leaf) = mean.rsplit_once('.').map_or(("", *mean), |(parent, leaf)| (parent, leaf));
        if name.strip_prefix(prefix).is_some_and(own) {
            return None;
        }
        let [_, deviation] = NORMALISERS.iter().find(|[known, _]| *known == leaf)?;
        let deviation = if parent.is_empty() { (*deviation).to_owned() } else { format!("{parent}.{deviation}") };
        (three(mean) && three(&deviation)).then(|| [(*mean).to_owned(), deviation])
    };
    let shared = |name: &str| name.bytes().zip(prefix.bytes()).take_while(|(a, b)| a == b).count();
    let found = spelling.iter().filter_map(pair);
    found.min_by_key(|[mean, _]| (usize::MAX - shared(mean), mean.len()))
}
