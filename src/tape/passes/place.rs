//! Values that will lie side by side are computed where they will lie, so that nothing is copied.
//!
//! **Looks for** an operation whose result is its arguments side by side ([`Op::side_by_side`](crate::ops::Op::side_by_side)), each
//! of them a node's result that begins at a whole channel group and lies nowhere else yet.
//!
//! **Puts there** nothing: it notes that the arguments lie inside of the result.
//!
//! **Must not touch** arguments that the operation takes twice, that the caller provides, or that are parts of other values; and
//! arguments of which one is computed from another: a kernel may not read and write one buffer.

use std::collections::HashSet;

use crate::tape::graph::Graph;
use crate::tape::{Node, Origin, Var};
use crate::tensor::Shape;

pub(super) fn run(graph: &mut Graph) {
    let mut placed = HashSet::new();
    for node in graph.tape.nodes.clone() {
        let shapes: Vec<Shape> = node.inputs.iter().map(|&var| graph.shape(var)).collect();
        let Some(starts) = node.op.side_by_side(&shapes) else { continue };
        let free = |var: &Var| {
            let once = node.inputs.iter().filter(|other| *other == var).count() == 1;
            once && graph.inside[var.0].is_none() && matches!(graph.tape.values[var.0].origin, Origin::Node)
        };
        if !starts.iter().all(|start| start % 4 == 0) || !node.inputs.iter().all(free) {
            continue;
        }
        for (input, start) in node.inputs.iter().zip(starts) {
            graph.inside[input.0] = Some((node.output, start));
        }
        placed.insert(node.output);
        if reads_what_it_writes(graph, &placed, buffer(graph, node.output)) {
            node.inputs.iter().for_each(|input| graph.inside[input.0] = None);
            placed.remove(&node.output);
        }
    }
}

/// The value whose memory holds this one.
fn buffer(graph: &Graph, var: Var) -> Var {
    let var = graph.tape.whole(var);
    graph.inside[var.0].map_or(var, |(whole, _)| buffer(graph, whole))
}

/// Whether a node reads and writes this memory; what has only been put into its place is not computed at all.
fn reads_what_it_writes(graph: &Graph, placed: &HashSet<Var>, memory: Var) -> bool {
    let computed = |node: &&Node| !placed.contains(&node.output) && buffer(graph, node.output) == memory;
    let reads = |node: &Node| node.inputs.iter().any(|&input| buffer(graph, input) == memory);
    graph.tape.nodes.iter().filter(computed).any(reads)
}
