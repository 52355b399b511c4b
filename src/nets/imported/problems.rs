//! Everything that keeps a file from being read, in one list.

use std::collections::BTreeMap;

use super::names::node_name;
use super::value::Refusal;
use crate::weights::Node;

/// What has been refused so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// By operator and reason: how often, and the first layer that has it.
    found: BTreeMap<(Refusal, String), (usize, String)>,
    /// Others, which concern the file as a whole.
    others: Vec<String>,
}

/// More lines than this do not help.
const SHOWN: usize = 40;

impl Problems {
    /// One that concerns the file as a whole.
    pub fn of(line: String) -> Self {
        Problems { others: vec![line], ..Problems::default() }
    }

    /// Whether pictures of other sizes may have none of them: all are about what operations are given.
    pub fn may_be_of_sizes(&self) -> bool {
        self.found.keys().all(|(refusal, _)| matches!(refusal, Refusal::Given(_)))
    }

    /// Whether attention is among them.
    pub fn has_attention(&self) -> bool {
        self.found.keys().any(|(refusal, _)| *refusal == Refusal::Attention)
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.others.is_empty()
    }

    /// Notes why an operation cannot be read.
    pub fn note(&mut self, node: &Node, refusal: Refusal) {
        if refusal == Refusal::Unknown {
            return;
        }
        let name = || match node.modules.last() {
            Some(module) => module.clone(),
            None => node_name(node),
        };
        let entry = self.found.entry((refusal, node.operator.clone())).or_insert_with(|| (0, name()));
        entry.0 += 1;
    }

    /// Notes what concerns the whole file.
    pub fn say(&mut self, line: impl Into<String>) {
        self.others.push(line.into());
    }

    /// One line for each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.others.clone();
        let attention: usize = self
            .found
            .iter()
            .filter(|((refusal, _), _)| *refusal == Refusal::Attention)
            .map(|(_, (count, _))| *count)
            .sum();
        if attention > 0 {
            let first = self.found.iter().find(|((refusal, _), _)| *refusal == Refusal::Attention);
            let layer = first.map_or("", |(_, (_, layer))| layer);
            lines.push(format!(
                "attention ({attention} times, first in {}): this network is a transformer, and transformers are not read",
                layer.escape_debug()
            ));
        }
        for ((refusal, operator), (count, layer)) in &self.found {
            let times = match count {
                1 => "once".to_owned(),
                count => format!("{count} times, first"),
            };
            let (operator, layer) = (operator.escape_debug(), layer.escape_debug());
            match refusal {
                Refusal::Operator(advice) => {
                    let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                    lines.push(format!("{operator} ({times} in {layer}) is not supported{advice}"));
                }
                Refusal::Given(words) => lines.push(format!("{operator} ({times} in {layer}) {words}")),
                Refusal::Attention | Refusal::Unknown => {}
            }
        }
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}
