//! Where a run stands: enough to go on as if it had never stopped.

use std::collections::BTreeMap;
use std::path::Path;

use crate::weights::{Checkpoint, NamedArray, Precision, write};
use crate::{Error, Result};

/// A run between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: usize,
    /// What must be the same for the run to go on, by name.
    pub settings: BTreeMap<String, String>,
    /// The student's weights.
    pub weights: Vec<NamedArray>,
    /// What the optimiser remembers.
    pub memory: Vec<NamedArray>,
    /// Where epochs are judged, the weights of the best one so far: what the run hands out, which a state alone must be able to
    /// give again.
    pub best: Vec<NamedArray>,
    /// The adapter and its driver: on another one a run goes on, but to other bits.
    pub adapter: String,
    /// Loss of every step.
    pub losses: Vec<f32>,
    /// Validation accuracies, one for each epoch.
    pub accuracies: Vec<f32>,
}

const WEIGHT: &str = "weight/";
const MEMORY: &str = "memory/";
const BEST: &str = "best/";
const LOSSES: &str = "losses";
const ACCURACIES: &str = "accuracies";
const STEP: &str = "step";
const ADAPTER: &str = "adapter";
const SETTING: &str = "setting ";

impl State {
    /// Writes everything to one `.safetensors` file, which appears whole or not at all.
    ///
    /// # Errors
    /// As [`weights::write`](crate::weights::write()).
    pub fn write(&self, path: &Path) -> Result<()> {
        let list = |name: &str, values: &[f32]| {
            let array = NamedArray { name: name.to_owned(), shape: vec![values.len()], values: values.to_vec() };
            (!values.is_empty()).then_some(array)
        };
        let under = |prefix: &str, arrays: &[NamedArray]| {
            let named = |array: &NamedArray| NamedArray { name: format!("{prefix}{}", array.name), ..array.clone() };
            arrays.iter().map(named).collect::<Vec<_>>()
        };
        let mut arrays = under(WEIGHT, &self.weights);
        arrays.extend(under(MEMORY, &self.memory));
        arrays.extend(under(BEST, &self.best));
        arrays.extend(list(LOSSES, &self.losses));
        arrays.extend(list(ACCURACIES, &self.accuracies));
        let mut words: BTreeMap<String, String> =
            self.settings.iter().map(|(key, value)| (format!("{SETTING}{key}"), value.clone())).collect();
        words.insert(STEP.into(), self.step.to_string());
        words.insert(ADAPTER.into(), self.adapter.clone());
        write(path, &arrays, &words, Precision::F32)
    }

    /// Reads what [`State::write`] wrote.
    ///
    /// # Errors
    /// [`Error::File`] when it is something else; those of [`Checkpoint::open`] and [`Checkpoint::read`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = Checkpoint::open(path)?;
        let step = file.metadata().get(STEP).and_then(|step| step.parse().ok());
        let step = step.ok_or_else(|| Error::file(path, "is not the state of a training run"))?;
        let array = |name: &str| -> Result<NamedArray> {
            let shape = file.shape(name).unwrap_or_default().to_vec();
            Ok(NamedArray { name: name.to_owned(), shape, values: file.read(name)? })
        };
        let under = |prefix: &str| -> Result<Vec<NamedArray>> {
            let found = file.names().filter_map(|name| Some((name, name.strip_prefix(prefix)?)));
            found.map(|(name, short)| Ok(NamedArray { name: short.to_owned(), ..array(name)? })).collect()
        };
        let list = |name: &str| if file.shape(name).is_some() { file.read(name) } else { Ok(Vec::new()) };
        let setting = |(key, value): (&String, &String)| Some((key.strip_prefix(SETTING)?.to_owned(), value.clone()));
        Ok(State {
            step,
            settings: file.metadata().iter().filter_map(setting).collect(),
            weights: under(WEIGHT)?,
            memory: under(MEMORY)?,
            best: under(BEST)?,
            adapter: file.metadata().get(ADAPTER).cloned().unwrap_or_default(),
            losses: list(LOSSES)?,
            accuracies: list(ACCURACIES)?,
        })
    }

    /// The same with weights in the order of these, which is the network's: a file has them by name.
    pub fn in_order(mut self, of: &[NamedArray]) -> Self {
        for arrays in [&mut self.weights, &mut self.best] {
            arrays.sort_by_key(|array| of.iter().position(|other| other.name == array.name));
        }
        self
    }

    /// Whether a run with these settings is the one that stopped.
    ///
    /// # Errors
    /// [`Error::Shape`] with the first setting that differs.
    pub fn check(&self, settings: &BTreeMap<String, String>) -> Result<()> {
        for key in self.settings.keys().chain(settings.keys()) {
            let [was, is] = [&self.settings, settings].map(|all| all.get(key).map_or("absent", String::as_str));
            if was != is {
                return Err(Error::shape("resume", key, was, is));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back_and_know_their_run() {
        let array = |name: &str| NamedArray { name: name.into(), shape: vec![2], values: vec![0.1, -3.0e-39] };
        let settings = |rate: &str| BTreeMap::from([("rate".to_owned(), rate.to_owned())]);
        let state = State {
            step: 12,
            settings: settings("0.5"),
            weights: vec![array("fc.bias")],
            memory: vec![array("velocity/fc.bias")],
            best: vec![array("fc.bias"), array("fc.weight")],
            adapter: "a card (Vulkan, discrete, 1.0)".into(),
            losses: vec![3.0, 2.5],
            accuracies: vec![],
        };
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.state.safetensors");
        state.write(&path).expect("written");
        let back = State::read(&path).expect("a good file");
        assert_eq!(back, state);
        assert!(back.check(&settings("0.5")).is_ok());
        let [bias, weight] = [array("fc.bias"), array("fc.weight")];
        let ordered = back.clone().in_order(&[weight.clone(), bias.clone()]);
        assert_eq!((ordered.best, ordered.weights), (vec![weight, bias.clone()], vec![bias]));
        let error = back.check(&settings("0.25")).expect_err("another run").to_string();
        assert_eq!(error, "resume: rate is 0.25, expected 0.5");
        write(&path, &[array("fc.bias")], &BTreeMap::new(), Precision::F32).expect("written");
        assert!(
            State::read(&path).expect_err("weights alone").to_string().ends_with("is not the state of a training run")
        );
    }
}
