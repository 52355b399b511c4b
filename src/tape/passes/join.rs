//! Operations on the same value become one, with a larger result: small ones do not fill a GPU.
//!
//! **Looks for** operations that have their first argument in common and are the same but for their other arguments
//! ([`Op::joins`](crate::ops::Op::joins)), these being fixed, of one set of parameters and of the same window, and all results but
//! the last in whole channel groups.
//!
//! **Puts there** nodes that lay the other arguments side by side, ahead of all replays, and one operation in the place of the
//! first, of whose result the results are parts.
//!
//! **Must not touch** an operation whose result can be written into a concatenation: a part of one value cannot lie inside of
//! another. Nor weights that are being trained.

use std::sync::Arc;

use crate::ops::{Concat, ConcatFilters, Op};
use crate::tape::graph::{Graph, common_set};
use crate::tape::{Node, Var};
use crate::tensor::{Layout, Shape};

pub(super) fn run(graph: &mut Graph) {
    let (readers, fixed) = (graph.readers(), graph.fixed());
    let nodes = graph.tape.nodes.clone();
    let free = |node: &Node| {
        let shapes = |node: &Node| node.inputs.iter().map(|&input| graph.shape(input)).collect::<Vec<Shape>>();
        let mut readers = readers[node.output.0].iter();
        readers.all(|&reader| nodes[reader].op.side_by_side(&shapes(&nodes[reader])).is_none())
    };
    let candidate = |node: &Node| {
        let joins = node.op.joins(node.inputs.len(), &*node.op);
        joins && common_set(&fixed, &node.inputs[1..]).is_some() && free(node)
    };
    let candidates: Vec<usize> = (0..nodes.len()).filter(|&index| candidate(&nodes[index])).collect();
    let mut replacements = vec![None; nodes.len()];
    let mut taken = vec![false; nodes.len()];
    for (place, &first) in candidates.iter().enumerate() {
        let window = |node: &Node| {
            let [_, c, h, w] = graph.shape(node.inputs[1]).0;
            [c, h, w]
        };
        let mut siblings = vec![first];
        for &other in &candidates[place + 1..] {
            let (one, two) = (&nodes[first], &nodes[other]);
            let set = |node: &Node| fixed[node.inputs[1].0].clone();
            let alike = one.inputs[0] == two.inputs[0] && window(one) == window(two) && set(one) == set(two);
            let whole_groups = graph.shape(nodes[*siblings.last().expect("the first")].output).c().is_multiple_of(4);
            if alike && whole_groups && one.op.joins(one.inputs.len(), &*two.op) && !taken[other] {
                siblings.push(other);
            }
        }
        if taken[first] || siblings.len() == 1 {
            continue;
        }
        let layer: Vec<&str> = siblings.iter().map(|&index| &*nodes[index].layer).collect();
        let layer: Arc<str> = layer.join(" + ").into();
        let mut put = Vec::new();
        let mut inputs = vec![nodes[first].inputs[0]];
        for k in 1..nodes[first].inputs.len() {
            let arguments: Vec<Var> = siblings.iter().map(|&index| nodes[index].inputs[k]).collect();
            let op: Arc<dyn Op> = match graph.layout(arguments[0]) {
                Layout::Filter => Arc::new(ConcatFilters),
                Layout::Picture => Arc::new(Concat),
            };
            put.push(graph.node(op, arguments, &layer));
            inputs.push(put[k - 1].output);
        }
        put.push(graph.node(nodes[first].op.clone(), inputs, &layer));
        let whole = put[put.len() - 1].output;
        let mut channel = 0;
        for &index in &siblings {
            taken[index] = true;
            graph.part(nodes[index].output, whole, channel);
            channel += graph.shape(nodes[index].output).c();
            replacements[index] = Some(vec![]);
        }
        replacements[first] = Some(put);
    }
    graph.rewrite(replacements);
}
