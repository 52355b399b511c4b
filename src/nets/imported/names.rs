//! Names of layers: the paths of modules where a file tells them, else the names of its operations.

use std::collections::{BTreeMap, BTreeSet};

use super::step::Id;
use crate::weights::Node;

/// The names that have been given.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    /// The last value of each module, by the module's path.
    last: BTreeMap<String, Id>,
}

/// Endings of the names of tensors.
const LEAVES: [&str; 5] = [".weight", ".bias", ".running_mean", ".running_var", ".gamma"];

impl Names {
    /// The name of an operation that has no tensors of its own.
    pub fn own(&self, node: &Node) -> String {
        match node.modules.last() {
            Some(module) => module.clone(),
            None => node_name(node),
        }
    }

    /// The name of an operation with tensors, which no other has: that of the tensor where it is one of a module, else the
    /// module's, else its own.
    pub fn with_tensors(&mut self, node: &Node, tensor: &str) -> String {
        let of_tensor = LEAVES.iter().find_map(|leaf| tensor.strip_suffix(leaf)).filter(|name| !name.contains("::"));
        let own = node.modules.last().cloned().unwrap_or_else(|| node_name(node));
        // Equal tensors may be stored once, under the name of the first layer that has them.
        let candidates = of_tensor.into_iter().chain([own.as_str()]);
        if let Some(name) = candidates.clone().find(|name| !name.is_empty() && !self.taken.contains(*name)) {
            self.taken.insert(name.to_owned());
            return name.to_owned();
        }
        let name = candidates.last().unwrap_or_default();
        let free = (2..).map(|number| format!("{name}_{number}")).find(|name| !self.taken.contains(name));
        let free = free.expect("there are more numbers than layers");
        self.taken.insert(free.clone());
        free
    }

    /// Notes that a value was made in a node's modules.
    pub fn made(&mut self, node: &Node, value: Id) {
        for module in &node.modules {
            self.last.insert(module.clone(), value);
        }
        if node.modules.is_empty() {
            self.last.insert(node_name(node), value);
        }
    }

    /// For each value the modules whose last it is, the inner ones first.
    pub fn taps(&self) -> BTreeMap<Id, Vec<String>> {
        let mut taps: BTreeMap<Id, Vec<String>> = BTreeMap::new();
        for (module, value) in &self.last {
            taps.entry(*value).or_default().push(module.clone());
        }
        for names in taps.values_mut() {
            names.sort_by_key(|name| std::cmp::Reverse(name.matches('.').count()));
        }
        taps
    }
}

/// An operation's own name, or that of what it makes.
pub(super) fn node_name(node: &Node) -> String {
    let made = node.outputs.iter().find(|name| !name.is_empty());
    match (node.name.is_empty(), made) {
        (false, _) => node.name.trim_start_matches('/').to_owned(),
        (true, Some(made)) => made.clone(),
        (true, None) => node.operator.clone(),
    }
}
