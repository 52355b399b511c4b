//! What makes a gallery this one and no other: two processes with the same identity make the same pictures.

use std::path::Path;

use anyhow::Context;
use entoptic::digest::sha256;
use entoptic::files;
use entoptic::studio::Maker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ObjectiveArg;
use super::shard::Shard;

/// Name of its file.
pub const FILE: &str = "gallery.json";

/// How it is written.
const FORMAT: u32 = 1;

/// Written once, when the folder is new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    pub version: String,
    /// First digits of the SHA-256 of the kernels' text.
    pub shaders: String,
    pub objective: ObjectiveArg,
    /// The logit aimed at, where there is one.
    pub constant: Option<f32>,
    pub seed: u64,
    pub networks: Vec<Maker>,
    pub recipe: String,
    /// The network and the recipe of the pictures that are matched.
    pub target: Option<(Maker, String)>,
    /// Indices and names, those of all shards.
    pub classes: Vec<(usize, String)>,
    pub shard: Option<Shard>,
}

impl Identity {
    /// With the numbers of this program.
    pub fn new(
        (objective, constant, seed): (ObjectiveArg, Option<f32>, u64),
        (networks, recipe): (Vec<Maker>, String),
        target: Option<(Maker, String)>,
        classes: Vec<(usize, String)>,
        shard: Option<Shard>,
    ) -> Self {
        Identity {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shaders: entoptic::autotune::kernels()[..12].to_owned(),
            objective,
            constant,
            seed,
            networks,
            recipe,
            target,
            classes,
            shard,
        }
    }

    /// The same of another part, or of the whole.
    pub fn with_shard(&self, shard: Option<Shard>) -> Self {
        Identity { shard, ..self.clone() }
    }

    /// The classes of this shard, or all.
    pub fn own(&self) -> Vec<(usize, String)> {
        let all: Vec<usize> = (0..self.classes.len()).collect();
        let own = self.shard.map_or_else(|| all.clone(), |shard| shard.share(&all));
        own.into_iter().map(|place| self.classes[place].clone()).collect()
    }

    /// Of the gallery in a folder, if one has been begun there.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match files::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).with_context(|| format!("{}: is damaged, or of another version of Entoptic", path.display()))
    }

    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("numbers, texts and lists have a form in JSON");
        Ok(files::replace(&folder.join(FILE), |file| writeln!(file, "{text}"))?)
    }

    /// In what another one differs, for people; nothing where it is the same.
    pub fn differences(&self, other: &Identity) -> Vec<String> {
        let [here, there] = [self, other].map(|one| serde_json::to_value(one).expect("it has a form in JSON"));
        let (Value::Object(here), Value::Object(there)) = (here, there) else { return vec![] };
        let differing = here.iter().filter(|(key, value)| there.get(*key) != Some(value));
        differing.map(|(key, now)| leaf(key.clone(), there.get(key).unwrap_or(&Value::Null), now)).collect()
    }

    /// SHA-256, by which a state knows its gallery.
    pub fn sum(&self) -> String {
        sha256(serde_json::to_vec(self).expect("it has a form in JSON"))
    }
}

/// The first difference inside of two values that differ, as `networks.0.weights (was "a", is "b")`.
fn leaf(path: String, then: &Value, now: &Value) -> String {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) if then.keys().eq(now.keys()) => {
            let (key, _) = now.iter().find(|(key, value)| then.get(*key) != Some(value)).expect("they differ");
            leaf(format!("{path}.{key}"), &then[key], &now[key])
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            let at = (0..now.len()).find(|&at| then[at] != now[at]).expect("they differ");
            leaf(format!("{path}.{at}"), &then[at], &now[at])
        }
        (Value::Array(then), Value::Array(now)) => format!("{path} (were {}, are {})", then.len(), now.len()),
        // A recipe: its first line that differs.
        (Value::String(then), Value::String(now)) if then.contains('\n') || now.contains('\n') => {
            let line = then.lines().zip(now.lines()).find(|(then, now)| then != now);
            line.map_or_else(|| path.clone(), |(then, now)| format!("{path} (was {then}, is {now})"))
        }
        _ => format!("{path} (was {then}, is {now})"),
    }
}
