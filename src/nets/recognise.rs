//! Which network a checkpoint is of, by the names and sizes of its tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::structure::{Structure, shapes_of};
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
}

fn recognise(shapes: &BTreeMap<String, Vec<usize>>) -> Option<Structure> {
    let share = |structure: &Structure, names: &BTreeSet<String>| {
        let common = names.iter().filter(|name| shapes.contains_key(*name)).count();
        let own = shapes.keys().filter(|name| !structure.is_of_a_head(name) && !structure.tolerates(name)).count();
        common as f64 / names.len().max(own).max(1) as f64
    };
    let all = Structure::all().iter().zip(NAMES.iter());
    let mut alike: Vec<(f64, f64, &Structure)> = all
        .map(|(structure, names)| (share(structure, names), structure))
        .filter(|(share, _)| *share >= ALIKE)
        .map(|(share, structure)| (share, agreement(structure, shapes), structure))
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let &(share, _, structure) = alike.first()?;
    // All names but other shapes: a relative, such as one with grouped convolutions.
    let relative = share == 1.0 && structure.fit(shapes).is_err() && structure.has_all(shapes);
    (!relative).then(|| structure.clone())
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
}
