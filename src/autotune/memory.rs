//! Choices on disk. A file belongs to one adapter, driver, version of this program and text of the kernels; what is damaged
//! or belongs to another counts for nothing.

use std::collections::BTreeMap;
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

/// The choices in a file, none where it is absent, damaged or made for another place.
pub(super) fn load(path: &Path, place: &Place, units: u32) -> BTreeMap<String, Variant> {
    read(path, place, units).unwrap_or_default()
}

fn read(path: &Path, place: &Place, units: u32) -> Option<BTreeMap<String, Variant>> {
    let mut file: Value = serde_json::from_slice(&files::read(path).ok()?).ok()?;
    if file["about"] != place.about || file["checksum"] != checksum(&file["choices"]) {
        return None;
    }
    let Value::Object(choices) = file["choices"].take() else { return None };
    choices
        .into_iter()
        .map(|(key, variant)| {
            let variant = variant.as_str()?.parse().ok()?;
            problem(&key)?.candidates(units).contains(&variant).then_some((key, variant))
        })
        .collect()
}

fn checksum(choices: &Value) -> String {
    sha256(choices.to_string())
}

/// Writes the choices, whole or not at all.
pub(super) fn save(path: &Path, place: &Place, choices: &BTreeMap<String, Variant>) -> Result<()> {
    let choices: Value = choices.iter().map(|(key, variant)| (key.clone(), json!(variant.to_string()))).collect();
    let file = json!({ "about": place.about, "checksum": checksum(&choices), "choices": choices });
    files::replace(path, |out| writeln!(out, "{file:#}"))
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
        assert!(load(&path, &place, 128).is_empty(), "no file");
        let problem = "conv2d.forward 1 75 75 64 64 3 3 1 1 1 1";
        let choices = BTreeMap::from([(problem.to_owned(), Variant::Tiled(Tile::T64x64, 2))]);
        save(&path, &place, &choices).expect("writes");
        assert_eq!(load(&path, &place, 128), choices);
        assert!(load(&path, &other, 128).is_empty(), "made by another driver");

        let text = std::fs::read_to_string(&path).expect("reads");
        for (good, bad) in [("64x64/2", "64x64/1"), ("64x64/2", "32x32/2"), ("75 75", "75 76"), ("{", "")] {
            std::fs::write(&path, text.replacen(good, bad, 1)).expect("writes");
            assert!(load(&path, &place, 128).is_empty(), "{bad} instead of {good}");
        }
        std::fs::write(&path, &text[..text.len() / 2]).expect("writes");
        assert!(load(&path, &place, 128).is_empty(), "half a file");
        // Well-formed, but nothing that can be chosen.
        for (key, variant) in [
            (problem.to_owned(), Variant::Tiled(Tile::T64x64, 7)),
            (format!("{problem} 1"), Variant::Registers),
            (problem.replace("64 3 3", "64 0 3"), Variant::Registers),
            (problem.replace("3 3 1 1", "3 3 0 1"), Variant::Registers),
            (problem.replace("forward", "backward"), Variant::Registers),
        ] {
            save(&path, &place, &BTreeMap::from([(key.clone(), variant)])).expect("writes");
            assert!(load(&path, &place, 128).is_empty(), "{key}: {variant}");
        }
    }
}
