//! Which network a checkpoint is of, by the names and sizes of its tensors: under any prefix, in any naming that is known.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::reading::{Reading, spellings};
use super::structure::{Fit, Structure, shapes_of};
use crate::Result;
use crate::classes::ClassList;
use crate::weights::Checkpoint;

/// Of the tensors of a checkpoint and of a structure, so many must have the same names for the one to be taken for a damaged
/// checkpoint of the other.
const ALIKE: f64 = 0.9;

/// Names of the tensors of every structure, heads excepted.
static NAMES: LazyLock<Vec<BTreeSet<String>>> = LazyLock::new(|| {
    let names = |structure: &Structure| {
        let tensors = structure.tensors(1.0, 1000, &[]).unwrap_or_default();
        tensors.into_iter().map(|(name, _)| name).filter(|name| !structure.is_of_a_head(name)).collect()
    };
    Structure::all().iter().map(names).collect()
});

impl Structure {
    /// The structure that a checkpoint has, or that its metadata claim.
    pub fn of(checkpoint: &Checkpoint) -> Option<Structure> {
        let said = || checkpoint.metadata().get("network").and_then(|name| name.parse().ok());
        recognise(&shapes_of(checkpoint)).or_else(said)
    }

    /// Checks the names and shapes of weights against the structure, without a GPU and without reading a number.
    ///
    /// # Errors
    /// [`Weights`](crate::Error::Weights) with everything that is missing, unexpected or of a wrong shape;
    /// [`File`](crate::Error::File) when the metadata lists another number of classes.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<Fit> {
        let reading = Reading::of(self, checkpoint);
        let fit = self.fit(&reading.shapes).map_err(|error| reading.explain(error))?.0;
        if let Some(classes) = fit.classes {
            ClassList::of_checkpoint(checkpoint, classes)?;
        }
        Ok(fit)
    }
}

fn recognise(shapes: &BTreeMap<String, Vec<usize>>) -> Option<Structure> {
    let all = Structure::all().iter().zip(NAMES.iter());
    let of = |(structure, names)| Some((structure, names, Reading::best(structure, names, shapes)?));
    let alike = all.filter_map(of).filter(|(.., reading)| reading.share >= ALIKE);
    let rated =
        alike.map(|(structure, names, reading)| (agreement(structure, &reading.shapes), structure, names, reading));
    let better = |a: &(f64, _, _, Reading), b: &(f64, _, _, Reading)| {
        // What comes first stays where both are as good.
        a.3.share.total_cmp(&b.3.share).then(a.0.total_cmp(&b.0)).then(Ordering::Greater)
    };
    let (_, structure, names, mut reading) = rated.max_by(better)?;
    // All names but other shapes: a relative, such as one with grouped convolutions.
    reading.shapes.retain(|name, _| names.contains(name) || structure.is_of_a_head(name));
    let shapes = &reading.shapes;
    let relative = reading.share == 1.0 && structure.fit(shapes).is_err() && structure.has_all(shapes);
    (!relative).then(|| structure.clone())
}

impl Reading {
    /// How a checkpoint is to be read as one of a structure: nothing is checked but names.
    pub fn of(structure: &Structure, checkpoint: &Checkpoint) -> Reading {
        let shapes = shapes_of(checkpoint);
        let Some(index) = Structure::all().iter().position(|other| other == structure) else {
            return Reading::as_it_is(&shapes, 0);
        };
        let wanted = &NAMES[index];
        Reading::best(structure, wanted, &shapes).unwrap_or_else(|| Reading::as_it_is(&shapes, wanted.len()))
    }

    /// The reading that gives a structure most of its tensors: of several prefixes under which it is as complete, one that is of no
    /// copy, then the shortest. None where there is no tensor of it.
    fn best(
        structure: &Structure,
        wanted: &BTreeSet<String>,
        shapes: &BTreeMap<String, Vec<usize>>,
    ) -> Option<Reading> {
        let mut found: Vec<Reading> = vec![];
        for (tool, names) in spellings(shapes) {
            for prefix in prefixes(wanted, names.keys().map(String::as_str)) {
                found.push(Reading::under(structure, wanted, shapes, (tool, &names), prefix));
            }
            // Another spelling is a guess: that of the file itself will do where it is complete.
            if found.iter().any(|reading| reading.share == 1.0) {
                break;
            }
        }
        let rank = |reading: &Reading| (is_copy(&reading.prefix), reading.prefix.len(), reading.prefix.clone());
        found.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| rank(a).cmp(&rank(b))));
        let complete = |reading: &Reading, best: &Reading| reading.share == best.share;
        let others = found.iter().skip(1).filter(|other| complete(other, &found[0])).map(|other| other.prefix.clone());
        let others: Vec<String> = others.collect();
        let best = found.into_iter().next().filter(|best| best.share > 0.0)?;
        Some(Reading { others, ..best })
    }
}

/// Prefixes under which a structure may be: those that stand before one of some names of its own, from the beginning, the middle
/// and the end of it.
fn prefixes<'a>(wanted: &BTreeSet<String>, names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let count = wanted.len();
    let anchors: Vec<&String> =
        [0, count / 2, count.saturating_sub(1)].iter().filter_map(|&k| wanted.iter().nth(k)).collect();
    let before = |name: &'a str| {
        let prefix = |anchor: &&String| name.strip_suffix(anchor.as_str()).filter(|p| p.is_empty() || p.ends_with('.'));
        anchors.iter().find_map(prefix)
    };
    names.filter_map(before).chain([""]).collect()
}

/// Whether a prefix is that of a second copy of a network, which the first is better than: of an attack, an average, a teacher.
fn is_copy(prefix: &str) -> bool {
    const WORDS: [&str; 8] = ["attacker", "encoder_k", "momentum", "ema", "swa", "target", "teacher", "average"];
    prefix.split('.').any(|part| WORDS.iter().any(|word| part == *word || (word.len() > 3 && part.contains(word))))
}

/// The share of tensors whose sizes are those of the structure in the width of the first one: of networks with the same names, the
/// wide and the narrow ones differ in this.
fn agreement(structure: &Structure, shapes: &BTreeMap<String, Vec<usize>>) -> f64 {
    let width = structure.fit(shapes).map_or(1.0, |(fit, _)| fit.width);
    let tensors = structure.tensors(width, 1000, &[]).unwrap_or_default();
    let same = tensors.iter().filter(|(name, sizes)| shapes.get(name) == Some(sizes)).count();
    same as f64 / tensors.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::Head;

    fn shapes(name: &str, width: f64, classes: usize) -> BTreeMap<String, Vec<usize>> {
        let structure: Structure = name.parse().expect("a known network");
        structure.tensors(width, classes, &structure.side_heads()).expect("any width fits").into_iter().collect()
    }

    #[test]
    fn every_network_is_recognised_in_any_width_with_any_head() {
        for structure in Structure::all() {
            for (width, classes) in [(1.0, 1000), (0.25, 37), (0.0625, 1)] {
                let mut shapes = shapes(structure.name(), width, classes);
                assert_eq!(recognise(&shapes).as_ref(), Some(structure), "width {width}");
                shapes.retain(|name, _| !structure.is_of_a_head(name));
                assert_eq!(recognise(&shapes).as_ref(), Some(structure), "width {width} without heads");
                assert!(!structure.has(Head::Main, &shapes));
            }
        }
    }

    #[test]
    fn a_damaged_checkpoint_is_still_of_its_network() {
        let mut damaged = shapes("resnet50", 1.0, 1000);
        damaged.remove("layer4.2.conv2.weight");
        damaged.insert("extra".into(), vec![3]);
        assert_eq!(recognise(&damaged).map(|structure| structure.name().to_owned()).as_deref(), Some("resnet50"));
    }

    #[test]
    fn relatives_are_not_taken_for_networks_that_are_known() {
        let mut grouped = shapes("resnet50", 1.0, 1000);
        grouped.insert("layer1.0.conv2.weight".into(), vec![128, 4, 3, 3]);
        assert_eq!(recognise(&grouped), None, "resnext50_32x4d");
        let mut shorter = shapes("resnet50", 1.0, 1000);
        shorter.retain(|name, _| !["layer3.3.", "layer3.4.", "layer3.5."].iter().any(|block| name.starts_with(block)));
        assert_eq!(recognise(&shorter), None, "a network of thirteen blocks");
        assert_eq!(recognise(&BTreeMap::from([("weight".into(), vec![8, 8, 1, 1])])), None);
    }

    /// The tensors of a network under a prefix, and what else there is.
    fn prefixed(prefix: &str, others: &[(&str, &[usize])]) -> BTreeMap<String, Vec<usize>> {
        let shapes = shapes("resnet18", 0.0625, 5);
        let put = shapes.into_iter().map(|(name, sizes)| (format!("{prefix}{name}"), sizes));
        put.chain(others.iter().map(|(name, sizes)| ((*name).to_owned(), sizes.to_vec()))).collect()
    }

    fn reading(shapes: &BTreeMap<String, Vec<usize>>) -> (String, Reading) {
        let structure = recognise(shapes).expect("a known network");
        let index = Structure::all().iter().position(|other| *other == structure).expect("it is known");
        let reading = Reading::best(&structure, &NAMES[index], shapes).expect("a reading");
        structure.fit(&reading.shapes).expect("it fits");
        (structure.name().to_owned(), reading)
    }

    #[test]
    fn a_network_is_found_under_any_prefix() {
        for prefix in ["", "module.", "model.", "backbone.", "module.model.", "_orig_mod.", "net.0.body."] {
            let others: &[(&str, &[usize])] = &[("n_averaged", &[]), ("other.weight", &[7])];
            let others = if prefix.is_empty() { &others[..1] } else { others };
            let (name, reading) = reading(&prefixed(prefix, others));
            assert_eq!((name.as_str(), reading.prefix.as_str()), ("resnet18", prefix));
            assert_eq!(reading.names["conv1.weight"], format!("{prefix}conv1.weight"));
        }
        // Numbers beside the layers change nothing of them.
        assert_eq!(
            reading(&prefixed("", &[("n_averaged", &[]), ("normalizer.mean", &[3]), ("normalizer.std", &[3])]))
                .1
                .prefix,
            ""
        );
        // A layer that the network does not have may change everything.
        let shapes = prefixed("model.", &[("model.attention.weight", &[8, 8])]);
        let structure = recognise(&shapes).expect("a known network");
        assert!(
            structure
                .fit(&Reading::best(&structure, &NAMES[index("resnet18")], &shapes).expect("found").shapes)
                .is_err()
        );
    }

    fn index(name: &str) -> usize {
        Structure::all().iter().position(|structure| structure.name() == name).expect("a known network")
    }

    #[test]
    fn of_two_copies_the_one_that_was_trained_is_taken() {
        for (taken, other) in [
            ("module.model.", "module.attacker.model."),
            ("module.encoder_q.", "module.encoder_k."),
            ("student.backbone.", "teacher.backbone."),
            ("module.", "ema.module."),
        ] {
            let mut both = prefixed(taken, &[]);
            both.extend(prefixed(other, &[]));
            let (_, reading) = reading(&both);
            assert_eq!((reading.prefix.as_str(), reading.others.as_slice()), (taken, &[other.to_owned()][..]));
        }
    }

    #[test]
    fn a_classifier_by_another_name_is_the_classifier() {
        for name in ["fc.1", "head.fc", "last_linear", "classifier", "fc.0", "head"] {
            let mut shapes = prefixed("model.", &[]);
            let mut moved = |leaf: &str| {
                let sizes = shapes.remove(&format!("model.fc.{leaf}")).expect("it is there");
                shapes.insert(format!("model.{name}.{leaf}"), sizes);
            };
            ["weight", "bias"].into_iter().for_each(&mut moved);
            let (_, found) = reading(&shapes);
            assert_eq!(found.names["fc.weight"], format!("model.{name}.weight"), "{name}");
            assert_eq!(found.names["fc.bias"], format!("model.{name}.bias"), "{name}");
        }
        // Two layers are no last layer: what is before them can be looked at.
        let mut shapes = prefixed("model.", &[("model.fc.2.weight", &[5, 32]), ("model.fc.2.bias", &[5])]);
        shapes.remove("model.fc.weight");
        shapes.remove("model.fc.bias");
        shapes.insert("model.fc.0.weight".into(), vec![32, 32]);
        let (_, found) = reading(&shapes);
        assert!(!found.names.contains_key("fc.weight"), "{:?}", found.names.get("fc.weight"));
        assert!(found.notes().iter().any(|note| note.contains("fc.0.weight")), "{:?}", found.notes());
    }

    #[test]
    fn namings_of_other_tools_are_renamings() {
        let renamed = |prefix: &str, rename: &dyn Fn(&str) -> String| {
            let shapes = prefixed("", &[]);
            shapes
                .into_iter()
                .map(|(name, sizes)| (format!("{prefix}{}", rename(&name)), sizes))
                .collect::<BTreeMap<_, _>>()
        };
        let transformers = |name: &str| {
            let words: Vec<&str> = name.split('.').collect();
            let kind = |word: &str| if word.starts_with("conv") { "convolution" } else { "normalization" };
            let number = |word: &str| word[word.len() - 1..].parse::<usize>().expect("a number") - 1;
            match words[..] {
                ["fc", leaf] => format!("classifier.1.{leaf}"),
                [stem, leaf] => format!("resnet.embedder.embedder.{}.{leaf}", kind(stem)),
                [stage, block, "downsample", which, leaf] => {
                    let kind = if which == "0" { "convolution" } else { "normalization" };
                    format!("resnet.encoder.stages.{}.layers.{block}.shortcut.{kind}.{leaf}", number(stage))
                }
                [stage, block, layer, leaf] => {
                    let (stage, number) = (number(stage), number(layer));
                    format!("resnet.encoder.stages.{stage}.layers.{block}.layer.{number}.{}.{leaf}", kind(layer))
                }
                _ => panic!("{name}"),
            }
        };
        let (name, found) = reading(&renamed("", &transformers));
        assert_eq!((name.as_str(), found.naming), ("resnet18", Some("transformers")));
        assert_eq!(
            found.names["layer2.0.downsample.0.weight"],
            "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight"
        );
        assert_eq!(found.names["fc.weight"], "classifier.1.weight");
        let children = |name: &str| {
            let (first, rest) = name.split_once('.').expect("a layer");
            let places = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"];
            format!("{}.{rest}", places.iter().position(|place| *place == first).expect("a child"))
        };
        let (name, found) = reading(&renamed("features.", &children));
        assert_eq!((name.as_str(), found.naming), ("resnet18", Some("nn.Sequential")));
        assert_eq!(found.prefix, "features.");
    }
}
