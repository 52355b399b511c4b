//! Which operations of a file are attention, however an exporter spells it: a softmax that weighs values which are computed too.

use std::collections::BTreeMap;

use super::order::given;
use crate::weights::Node;

/// Operations that pass their first value on, in another shape or type.
const MOVES: [&str; 16] = [
    "_to_copy",
    "_unsafe_view",
    "clone",
    "contiguous",
    "dropout",
    "expand",
    "permute",
    "reshape",
    "squeeze",
    "to",
    "transpose",
    "type_as",
    "unsqueeze",
    "view",
    "cast",
    "identity",
];

/// An operator without its package and its overload: `aten.softmax.int` is `softmax`.
fn word(node: &Node) -> &str {
    match node.operator.strip_prefix("aten.") {
        Some(rest) => rest.split('.').next().unwrap_or(rest),
        None => &node.operator,
    }
}

/// Whether an operation is a move. ONNX writes with a capital what torch writes without.
fn moves(node: &Node) -> bool {
    let word = word(node);
    MOVES.iter().any(|name| name.eq_ignore_ascii_case(word))
}

fn is_softmax(node: &Node) -> bool {
    matches!(word(node), "softmax" | "_softmax" | "Softmax")
}

fn is_product(node: &Node) -> bool {
    matches!(word(node), "matmul" | "bmm" | "baddbmm" | "einsum" | "MatMul" | "Einsum")
}

/// The products of a softmax with another value that operations make, in the order of the nodes.
pub(super) fn products<'a>(nodes: &[&'a Node]) -> Vec<&'a Node> {
    let makers: BTreeMap<&str, &Node> =
        nodes.iter().flat_map(|node| node.outputs.iter().map(|name| (name.as_str(), *node))).collect();
    let from_softmax = |name: &str| {
        let mut maker = makers.get(name);
        // A file may have a circle, which is refused elsewhere.
        for _ in 0..nodes.len() {
            let Some(node) = maker.filter(|node| moves(node)) else { break };
            maker = given(node).first().and_then(|name| makers.get(*name));
        }
        maker.is_some_and(|node| is_softmax(node))
    };
    let attends = |node: &&&Node| {
        let values: Vec<&str> = given(node).into_iter().filter(|name| makers.contains_key(name)).collect();
        is_product(node) && values.len() > 1 && values.iter().any(|name| from_softmax(name))
    };
    nodes.iter().filter(attends).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            name: output.to_owned(),
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![output.to_owned()],
            attributes: BTreeMap::new(),
            modules: vec![],
        }
    }

    #[test]
    fn a_softmax_that_weighs_computed_values_is_attention_in_any_spelling() {
        for (softmax, between, product, found) in [
            ("aten.softmax.int", "aten.dropout.default", "aten.matmul.default", 1),
            ("aten._softmax.default", "aten.expand.default", "aten.bmm.default", 1),
            ("Softmax", "Identity", "MatMul", 1),
            ("Softmax", "Unsqueeze", "Einsum", 1),
            // A gate, and numbers that no softmax made.
            ("Softmax", "Identity", "Mul", 0),
            ("Sigmoid", "Identity", "MatMul", 0),
        ] {
            let nodes = [
                node("Conv", &["x", "w"], "v"),
                node(softmax, &["v"], "s"),
                node(between, &["s"], "t"),
                node(product, &["t", "v"], "y"),
            ];
            let nodes: Vec<&Node> = nodes.iter().collect();
            assert_eq!(products(&nodes).len(), found, "{softmax} {product}");
        }
    }

    #[test]
    fn a_softmax_before_a_matrix_of_the_file_is_none() {
        let nodes = [node("Softmax", &["x"], "s"), node("MatMul", &["s", "weight"], "y")];
        assert!(products(&nodes.iter().collect::<Vec<_>>()).is_empty());
    }

    #[test]
    fn a_circle_of_moves_ends() {
        let nodes = [
            node("Identity", &["b"], "a"),
            node("Identity", &["a"], "b"),
            node("Conv", &["x", "w"], "v"),
            node("MatMul", &["a", "v"], "y"),
        ];
        assert!(products(&nodes.iter().collect::<Vec<_>>()).is_empty());
    }
}
