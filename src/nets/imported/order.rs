//! In which order the operations of a file are taken: only those that the output depends on, each after what it is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::weights::{Attribute, Node};

/// The names of the values that an operation is given.
pub(super) fn given(node: &Node) -> Vec<&str> {
    let mut names: Vec<&str> = node.inputs.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for attribute in node.attributes.values() {
        match attribute {
            Attribute::Value(name) => names.push(name),
            Attribute::List(list) => names.extend(list.iter().filter_map(|one| match one {
                Attribute::Value(name) => Some(name.as_str()),
                _ => None,
            })),
            _ => {}
        }
    }
    names
}

/// Which operation makes each value.
fn producers(nodes: &[Node]) -> BTreeMap<&str, usize> {
    let mut producers = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            producers.entry(name.as_str()).or_insert(index);
        }
    }
    producers
}

/// Names of all values that the outputs depend on.
pub(super) fn used<'a>(nodes: &'a [Node], outputs: &'a [String]) -> BTreeSet<&'a str> {
    let producers = producers(nodes);
    let mut used = BTreeSet::new();
    let mut open: Vec<&str> = outputs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if used.insert(name)
            && let Some(&node) = producers.get(name)
        {
            open.extend(given(&nodes[node]));
        }
    }
    used
}

/// The operations that the outputs depend on, each after those that make what it is given.
///
/// # Errors
/// In words, when operations depend on each other in a circle.
pub(super) fn sorted<'a>(nodes: &'a [Node], outputs: &[String]) -> Result<Vec<&'a Node>, String> {
    let producers = producers(nodes);
    let (mut done, mut begun) = (vec![false; nodes.len()], vec![false; nodes.len()]);
    let mut order = Vec::new();
    // Each operation is looked at twice: when it is met, and when all that it needs is there.
    let first = |name: &str| producers.get(name).copied();
    let mut open: Vec<usize> = outputs.iter().rev().filter_map(|name| first(name)).collect();
    while let Some(index) = open.pop() {
        if done[index] {
            continue;
        }
        let node = &nodes[index];
        let needed: Vec<usize> = given(node).into_iter().filter_map(first).filter(|needed| !done[*needed]).collect();
        if needed.is_empty() {
            done[index] = true;
            order.push(index);
        } else if begun[index] {
            return Err(format!(
                "its operations depend on each other in a circle, at {}",
                super::names::node_name(node).escape_debug()
            ));
        } else {
            begun[index] = true;
            open.push(index);
            open.extend(needed);
        }
    }
    // The file's own order where it is one, since layers are named in it.
    let mut place = vec![usize::MAX; nodes.len()];
    order.iter().enumerate().for_each(|(at, index)| place[*index] = at);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let before =
        |index: usize, other: usize| given(&nodes[index]).into_iter().filter_map(first).all(|needed| needed < other);
    let order = if sorted.iter().all(|index| before(*index, *index)) { sorted } else { order };
    Ok(order.into_iter().map(|index| &nodes[index]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(nodes: &[(&str, &[&str])]) -> Vec<Node> {
        let node = |(made, given): &(&str, &[&str])| Node {
            outputs: vec![(*made).to_owned()],
            inputs: given.iter().map(|name| (*name).to_owned()).collect(),
            ..Node::default()
        };
        nodes.iter().map(node).collect()
    }

    #[test]
    fn operations_come_after_what_they_are_given_whatever_the_order_of_the_file() {
        let outputs = |name: &str| vec![name.to_owned()];
        let mixed = program(&[("c", &["b", "a"]), ("b", &["a"]), ("a", &["x"]), ("unused", &["a"])]);
        let order = sorted(&mixed, &outputs("c")).expect("no circle");
        let order: Vec<&str> = order.iter().map(|node| node.outputs[0].as_str()).collect();
        assert_eq!(order, ["a", "b", "c"]);
        let outputs_of_c = outputs("c");
        let used = used(&mixed, &outputs_of_c);
        assert!(used.contains("x") && !used.contains("unused"));
        let circle = program(&[("a", &["b"]), ("b", &["a"])]);
        assert!(sorted(&circle, &outputs("a")).expect_err("a circle").contains("in a circle"));
        assert!(sorted(&program(&[("a", &["a"])]), &outputs("a")).is_err());
    }
}
