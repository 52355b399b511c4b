//! Where in a dictionary of dictionaries the weights are.

use std::collections::BTreeSet;

use super::pickle::{Pickle, Value};

/// Keys under which tools keep weights, in the order in which they are taken where a file has several: the weights as they were
/// trained come before averages of them.
///
/// `state_dict`: Lightning, timm, MoCo and most scripts. `model_state_dict`, `model_state`, `net`, `weights`: tutorials and scripts.
/// `model`: torchvision's and fastai's training, robustness. `state`: Composer. `module`: DeepSpeed. `params`: BasicSR.
/// `student`, `teacher`: DINO. `model_ema`: torchvision; `state_dict_ema`: timm; `ema`: many.
const KEYS: [&str; 24] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "net_state_dict",
    "network",
    "weights",
    "params",
    "state",
    "module",
    "classifier",
    "backbone",
    "encoder",
    "student",
    "teacher",
    "state_dict_ema",
    "model_state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "ema",
    "params_ema",
    "swa_model",
];

/// How deep dictionaries are searched: `model` of a training script, then `state_dict`, is usual.
const DEEPEST: usize = 4;

/// Dictionaries that hold weights.
pub(super) struct Found<'a> {
    /// Each with the keys that lead to it, joined by dots; "" for the whole file.
    pub dictionaries: Vec<(String, Value<'a>)>,
    /// The keys of the outermost dictionary, for messages.
    pub outer: Vec<String>,
}

impl<'a> Found<'a> {
    /// Looks through a pickle: dictionaries within one come before it, since what stands beside weights may be a tensor too. Where
    /// no name is that of a weight, any array is one.
    pub fn of(pickle: &Pickle<'a>) -> Found<'a> {
        let text =
            |(key, _): (Value<'a>, Value<'a>)| if let Value::Text(key) = key { Some(key.to_owned()) } else { None };
        let mut found = Found { dictionaries: vec![], outer: pickle.pairs(pickle.value).filter_map(text).collect() };
        for named in [true, false] {
            if found.dictionaries.is_empty() {
                found.search(pickle, pickle.value, String::new(), &mut BTreeSet::new(), named);
            }
        }
        found
    }

    fn search(
        &mut self,
        pickle: &Pickle<'a>,
        dictionary: Value<'a>,
        path: String,
        seen: &mut BTreeSet<usize>,
        named: bool,
    ) {
        let Value::Dict(at) = dictionary else { return };
        let depth = if path.is_empty() { 0 } else { path.split('.').count() };
        // A dictionary may hold itself.
        if depth >= DEEPEST || !seen.insert(at) {
            return;
        }
        let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let known = KEYS.iter().filter_map(|key| Some((*key, pickle.get(dictionary, key)?)));
        for (key, value) in known.collect::<Vec<_>>() {
            self.search(pickle, value, inner(key), seen, named);
        }
        let all_arrays =
            pickle.pairs(dictionary).all(|(_, value)| matches!(value, Value::Tensor(_) | Value::Sparse(_)));
        let is_tensor = |(key, value): (Value<'a>, Value<'a>)| match (key, value) {
            // A single number beside other things is an accuracy or a count.
            (Value::Text(_), Value::Tensor(at)) if !named => all_arrays || !pickle.tensor(at).0.shape.is_empty(),
            (Value::Text(key), Value::Tensor(_)) => is_weight(key),
            (Value::Text(key), Value::Sparse(_)) => !named || is_weight(key),
            // Weights of a kind that is not read.
            (Value::Text(key), Value::Opaque(_)) => key.contains('.') && is_weight(key),
            _ => false,
        };
        if pickle.pairs(dictionary).any(is_tensor) {
            self.dictionaries.push((path.clone(), dictionary));
        }
        for (key, value) in pickle.pairs(dictionary).collect::<Vec<_>>() {
            if let Value::Text(key) = key {
                self.search(pickle, value, inner(key), seen, named);
            }
        }
    }

    /// What stands where weights were looked for and is not made here, such as a whole network.
    pub fn behind(pickle: &Pickle) -> Option<String> {
        let known = KEYS.iter().filter_map(|key| pickle.get(pickle.value, key));
        std::iter::once(pickle.value)
            .chain(known)
            .find_map(|value| pickle.opaque(value))
            .or_else(|| pickle.unknown().next())
    }

    /// Which of them a user means by a key: its whole path, or its last part.
    pub fn named(&self, key: &str) -> Option<usize> {
        let paths = || self.dictionaries.iter().map(|(path, _)| path.as_str());
        paths().position(|path| path == key).or_else(|| paths().position(|path| path.rsplit('.').next() == Some(key)))
    }
}

/// Whether a name is that of a weight: something else may stand among weights, or be a tensor too.
pub(super) fn is_weight(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    ["weight", "bias", "running_"].iter().any(|word| last.starts_with(word)) || name.contains("_packed_params")
}
