//! Batch norms with frozen statistics move into the weights before them.
//!
//! **Looks for** an operation whose result goes to one other operation alone, where the first can take the second into its
//! weight and bias ([`Op::fold`](crate::ops::Op::fold)), and where everything but the first argument of each is fixed: computed
//! from parameters of one set alone, and not differentiated.
//!
//! **Puts there** two nodes that compute weight and bias, ahead of all replays, and the first operation with these.
//!
//! **Must not touch** a result that somebody wants to see, nor weights that are being trained.

use crate::tape::graph::{Graph, common_set};
use crate::tape::{Node, Var};

pub(super) fn run(graph: &mut Graph) {
    let (readers, fixed) = (graph.readers(), graph.fixed());
    let nodes = graph.tape.nodes.clone();
    let mut replacements = vec![None; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let &[follower] = &readers[node.output.0][..] else { continue };
        let next = &nodes[follower];
        let others = |node: &Node| node.inputs.iter().skip(1).copied().collect::<Vec<Var>>();
        let from = [others(node), others(next)].concat();
        if graph.is_wanted(node.output) || next.inputs[0] != node.output || common_set(&fixed, &from).is_none() {
            continue;
        }
        let Some(ops) = node.op.fold(node.inputs.len(), &*next.op) else { continue };
        let [weight, bias] = ops.map(|op| graph.node(op, from.clone(), &node.layer));
        let mut folded = node.clone();
        folded.inputs = vec![node.inputs[0], weight.output, bias.output];
        folded.output = next.output;
        replacements[index] = Some(vec![weight, bias, folded]);
        replacements[follower] = Some(vec![]);
    }
    graph.rewrite(replacements);
}
