//! Choices on disk. A file belongs to one adapter, driver, version of this program and text of the kernels; what is damaged
//! or belongs to another counts for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::device::{AdapterSummary, Variant, expand};
use crate::digest::{hex, sha256};
use crate::files;
use crate::ops::{Problem, shaders};

/// What measurements are valid for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    about: Value,
}

impl Place {
    pub(super) fn new(adapter: &AdapterSummary) -> Place {
        Place {
            about: json!({
                "adapter": adapter.name,
                "backend": adapter.backend,
                "driver": adapter.driver,
                "version": env!("CARGO_PKG_VERSION"),
                "kernels": kernels(),
            }),
        }
    }

    /// Name of its file.
    pub(super) fn file(&self) -> String {
        format!("kernels-{}.json", &sha256(self.about.to_string())[..16])
    }
}

/// SHA-256 of the text of all kernels: what a version of this program computes may change between two of its commits.
pub fn kernels() -> String {
    let mut text = Sha256::new();
    shaders().for_each(|shader| text.update(expand(shader.text)));
    hex(&text.finalize())
}

/// A problem as one line: `conv2d.forward 1 75 75 64 ...`.
pub(super) fn key(entry: &str, sizes: &[u32]) -> String {
    sizes.iter().fold(entry.to_owned(), |key, size| format!("{key} {size}"))
}

/// The problem of a line.
fn problem(key: &str) -> Option<Problem> {
    let mut words = key.split(' ');
    let entry = words.next()?;
    let sizes: Vec<u32> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    Problem::from_sizes(entry, &sizes).filter(|_| self::key(entry, &sizes) == key)
}

/// What is kept of an adapter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    /// The kernel for each problem.
    pub choices: BTreeMap<String, Choice>,
    /// Kernels with which a process has ended, or a device was lost, by problem.
    pub deadly: BTreeMap<String, BTreeSet<String>>,
}

/// A kernel for a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub variant: Variant,
    /// Whether it was compared with the oracle, by this driver.
    pub checked: bool,
}

impl Kept {
    /// Whether a kernel should not run.
    pub(super) fn is_deadly(&self, key: &str, variant: Variant) -> bool {
        self.deadly.get(key).is_some_and(|deadly| deadly.contains(&variant.to_string()))
    }

    /// Never runs that kernel again for that problem.
    pub(super) fn bury(&mut self, key: &str, variant: Variant) {
        self.deadly.entry(key.to_owned()).or_default().insert(variant.to_string());
    }
}

/// What is in a file, nothing where it is absent, damaged or made for another place.
pub(super) fn load(path: &Path, place: &Place, units: u32) -> Kept {
    read(path, place, units).unwrap_or_default()
}

fn read(path: &Path, place: &Place, units: u32) -> Option<Kept> {
    let mut file: Value = serde_json::from_slice(&files::read(path).ok()?).ok()?;
    if file["about"] != place.about || file["checksum"] != checksum(&file["choices"], &file["deadly"]) {
        return None;
    }
    let (Value::Object(choices), Value::Object(deadly)) = (file["choices"].take(), file["deadly"].take()) else {
        return None;
    };
    let choices = choices.into_iter().map(|(key, choice)| {
        let variant = choice["kernel"].as_str()?.parse().ok()?;
        let choice = Choice { variant, checked: choice["checked"].as_bool()? };
        problem(&key)?.candidates(units).contains(&variant).then_some((key, choice))
    });
    let variants = |list: &Value| -> Option<BTreeSet<String>> {
        list.as_array()?.iter().map(|variant| Some(variant.as_str()?.parse::<Variant>().ok()?.to_string())).collect()
    };
    let deadly = deadly.iter().map(|(key, list)| problem(key).and(Some((key.clone(), variants(list)?))));
    Some(Kept { choices: choices.collect::<Option<_>>()?, deadly: deadly.collect::<Option<_>>()? })
}

fn checksum(choices: &Value, deadly: &Value) -> String {
    sha256(format!("{choices}{deadly}"))
}

/// Writes what is kept, whole or not at all.
pub(super) fn save(path: &Path, place: &Place, kept: &Kept) -> Result<()> {
    let choice = |choice: &Choice| json!({ "kernel": choice.variant.to_string(), "checked": choice.checked });
    let choices: Value = kept.choices.iter().map(|(key, kernel)| (key.clone(), choice(kernel))).collect();
    let deadly = json!(kept.deadly);
    let checksum = checksum(&choices, &deadly);
    let file = json!({ "about": place.about, "checksum": checksum, "choices": choices, "deadly": deadly });
    files::replace(path, |out| writeln!(out, "{file:#}"))
}

/// The problem and the kernel that a mark tells of, if it is whole.
pub(super) fn marked(text: &str) -> Option<(String, Variant)> {
    let (key, variant) = text.trim_end().split_once('\t')?;
    problem(key)?;
    Some((key.to_owned(), variant.parse().ok()?))
}

/// The text of a mark.
pub(super) fn mark(key: &str, variant: Variant) -> String {
    format!("{key}\t{variant}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Class, Tile};

    fn place(driver: &str) -> Place {
        Place::new(&AdapterSummary {
            index: 0,
            name: "a card".into(),
            backend: "Vulkan".into(),
            class: Class::Discrete,
            driver: driver.into(),
            max_buffer: 0,
            max_binding: 0,
            workgroup_memory: 0,
            workgroup_invocations: 0,
            features: vec![],
        })
    }

    #[test]
    fn files_are_read_as_they_were_written_and_not_at_all_once_damaged() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (place, other) = (place("1.0"), place("1.1"));
        assert_ne!(place.file(), other.file(), "another driver, another file");
        let path = folder.path().join(place.file());
        let nothing = Kept::default();
        assert_eq!(load(&path, &place, 128), nothing, "no file");
        let problem = "conv2d.forward 1 75 75 64 64 3 3 1 1 1 1";
        let choice = |variant| Choice { variant, checked: true };
        let of =
            |key: &str, variant| Kept { choices: BTreeMap::from([(key.into(), choice(variant))]), ..Kept::default() };
        let mut kept = of(problem, Variant::Tiled(Tile::T64x64, 2));
        kept.bury(problem, Variant::Registers);
        save(&path, &place, &kept).expect("writes");
        assert_eq!(load(&path, &place, 128), kept);
        assert!(kept.is_deadly(problem, Variant::Registers) && !kept.is_deadly("another", Variant::Registers));
        assert_eq!(load(&path, &other, 128), nothing, "made by another driver");

        let text = std::fs::read_to_string(&path).expect("reads");
        for (good, bad) in [
            ("64x64/2", "64x64/1"),
            ("64x64/2", "32x32/2"),
            ("75 75", "75 76"),
            ("true", "false"),
            ("\"registers\"", "\"32x32\""),
            ("{", ""),
        ] {
            assert!(text.contains(good), "{text}");
            std::fs::write(&path, text.replacen(good, bad, 1)).expect("writes");
            assert_eq!(load(&path, &place, 128), nothing, "{bad} instead of {good}");
        }
        std::fs::write(&path, &text[..text.len() / 2]).expect("writes");
        assert_eq!(load(&path, &place, 128), nothing, "half a file");
        // Well-formed, but nothing that can be chosen.
        for (key, variant) in [
            (problem.to_owned(), Variant::Tiled(Tile::T64x64, 7)),
            (format!("{problem} 1"), Variant::Registers),
            (problem.replace("64 3 3", "64 0 3"), Variant::Registers),
            (problem.replace("3 3 1 1", "3 3 0 1"), Variant::Registers),
            (problem.replace("forward", "backward"), Variant::Registers),
        ] {
            save(&path, &place, &of(&key, variant)).expect("writes");
            assert_eq!(load(&path, &place, 128), nothing, "{key}: {variant}");
        }
    }

    #[test]
    fn marks_are_read_whole_or_not() {
        let (key, variant) = ("conv2d.forward 1 75 75 64 64 3 3 1 1 1 1", Variant::Tiled(Tile::T64x64, 2));
        assert_eq!(marked(&mark(key, variant)), Some((key.to_owned(), variant)));
        for text in ["", "\n", "conv2d.forward 1 75\t64x64", "conv2d.forward 1 75 75 64 64 3 3 1 1 1 1\t64x"] {
            assert_eq!(marked(text), None, "{text:?}");
        }
    }
}
