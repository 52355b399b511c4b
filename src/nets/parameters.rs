//! The tensors of a network on a device, and what has been derived from them: weights into which a batch norm is folded.
//!
//! Derived values are computed once, when a program first needs them, and once more after the tensors have changed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::layers::Parameter;
use crate::device::{Device, Externals, Program, Recording};
use crate::tape::Derived;
use crate::tensor::Array;
use crate::weights::NamedArray;
use crate::{Error, Result};

/// Buffers of all tensors.
pub struct Parameters {
    prefix: String,
    /// By [`Parameter::name`]: a large tensor is several.
    forms: Vec<Parameter>,
    buffers: Externals,
    derived: Mutex<Store>,
    /// Counts the changes of the tensors.
    version: AtomicU64,
}

#[derive(Default)]
struct Store {
    buffers: Externals,
    /// Compute all of them.
    programs: Vec<Program>,
    /// The version of the tensors that they have been computed from.
    version: u64,
}

impl Parameters {
    /// Uploads the tensors that `read` gives by name.
    ///
    /// # Errors
    /// Those of `read` and of [`Device::buffer`].
    pub(super) fn upload(
        device: &Device,
        prefix: String,
        forms: Vec<Parameter>,
        read: &dyn Fn(&str) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut buffers = Externals::new();
        let mut last: Option<(String, Vec<f32>)> = None;
        for form in &forms {
            let values = match last.take() {
                Some((name, values)) if name == form.tensor => values,
                _ => read(&form.tensor)?,
            };
            let key = format!("{prefix}{}", form.name);
            let buffer = if form.is_whole() {
                device.upload(&key, form.layout, &Array::new(form.shape, values))?
            } else {
                let part = device.upload(&key, form.layout, &form.part_of(&values))?;
                last = Some((form.tensor.clone(), values));
                part
            };
            buffers.insert(key, buffer);
        }
        Ok(Parameters { prefix, forms, buffers, derived: Mutex::default(), version: AtomicU64::new(0) })
    }

    /// The name under which recordings know a parameter.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What is put before a parameter's name to name its buffer.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tensors' buffers, by the names that recordings use.
    pub fn buffers(&self) -> &Externals {
        &self.buffers
    }

    /// Sizes of a tensor.
    pub(super) fn sizes(&self, tensor: &str) -> Option<&[usize]> {
        self.forms.iter().find(|form| form.tensor == tensor).map(|form| &form.sizes[..])
    }

    /// Buffers of derived values that depend on these tensors, computed where they are not there yet. They are shared: programs
    /// that were prepared earlier see them too.
    ///
    /// # Errors
    /// Those of the device.
    pub fn derive(&self, device: &Device, wanted: &[Derived]) -> Result<Externals> {
        let mut store = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let mine: Vec<&Derived> = wanted.iter().filter(|value| *value.set == *self.prefix).collect();
        let mut recording = Recording::default();
        for value in mine.iter().filter(|value| !store.buffers.contains_key(&value.name)) {
            recording.append(&value.recording);
        }
        if !recording.dispatches.is_empty() {
            let mut externals = self.buffers.clone();
            Program::provide(device, &recording, &mut externals)?;
            let mut program = Program::prepare(device, "derived weights", &recording, &externals)?;
            program.run()?;
            store.programs.push(program);
            externals.retain(|name, _| !self.buffers.contains_key(name));
            store.buffers.extend(externals);
        }
        self.bring_up_to_date(&mut store)?;
        Ok(mine.iter().map(|value| (value.name.clone(), store.buffers[&value.name].clone())).collect())
    }

    /// Says that the tensors have changed: what is derived from them holds no longer, until [`Parameters::refresh`].
    pub fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Computes again what is derived from the tensors, if they have changed since.
    ///
    /// # Errors
    /// Those of the device.
    pub fn refresh(&self) -> Result<()> {
        self.bring_up_to_date(&mut self.derived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bring_up_to_date(&self, store: &mut Store) -> Result<()> {
        let version = self.version.load(Ordering::Relaxed);
        if store.version != version {
            store.programs.iter_mut().try_for_each(Program::run)?;
            store.version = version;
        }
        Ok(())
    }

    /// A tensor of the weights as it is now, in the order of elements of checkpoints.
    ///
    /// # Errors
    /// As [`Device::download`].
    ///
    /// # Panics
    /// When there is no tensor of that name.
    pub fn tensor(&self, device: &Device, tensor: &str) -> Result<NamedArray> {
        let mut parts = self.forms.iter().filter(|form| form.tensor == tensor).peekable();
        let shape = parts.peek().expect("a tensor of this network").sizes.clone();
        let fetch = |form: &Parameter| device.download(&self.buffers[&self.key(&form.name)], form.layout, form.shape);
        let mut values = Vec::with_capacity(shape.iter().product());
        for form in parts {
            values.extend(fetch(form)?.values);
        }
        Ok(NamedArray { name: tensor.to_owned(), shape, values })
    }

    /// All tensors as they are now, in the order in which the network uses them.
    ///
    /// # Errors
    /// As [`Device::download`].
    pub fn tensors(&self, device: &Device) -> Result<Vec<NamedArray>> {
        let mut names: Vec<&str> = self.forms.iter().map(|form| form.tensor.as_str()).collect();
        names.dedup();
        // Parts of a weight and of its bias take turns.
        let mut seen = BTreeSet::new();
        names.into_iter().filter(|name| seen.insert(*name)).map(|name| self.tensor(device, name)).collect()
    }

    /// Overwrites tensors; those that are not among them stay.
    ///
    /// # Errors
    /// [`Error::Shape`] for an array that `network` has not or has otherwise; as [`Device::write_array`].
    pub fn write(&self, device: &Device, network: &str, arrays: &[NamedArray]) -> Result<()> {
        for NamedArray { name, shape, values } in arrays {
            let known = self.sizes(name);
            if known != Some(&shape[..]) {
                let expected = known.map_or("absent".to_owned(), |sizes| format!("{sizes:?}"));
                return Err(Error::shape(network, name, expected, format!("{shape:?}")));
            }
            for form in self.forms.iter().filter(|form| form.tensor == *name) {
                device.write_array(&self.buffers[&self.key(&form.name)], form.layout, &form.part_of(values))?;
            }
        }
        self.changed();
        self.refresh()
    }
}

impl Parameter {
    fn is_whole(&self) -> bool {
        self.rows.len() == self.sizes[0]
    }

    /// The rows of a tensor that this parameter holds.
    fn part_of(&self, values: &[f32]) -> Array {
        let row = self.shape.elements() / self.rows.len();
        Array::new(self.shape, values[self.rows.start * row..self.rows.end * row].to_vec())
    }
}
