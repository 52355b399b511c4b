//! Residuals and activations move into the operations before them, so that their results are written once.
//!
//! **Looks for** an operation whose result goes to one other operation alone, where the first can do what the second does
//! ([`Op::absorb`](crate::ops::Op::absorb)); and again with what comes of it. Of two arguments that could both take a sum in, the
//! first one does.
//!
//! **Puts there** the first operation with the other arguments of the second behind its own, in the place of the second, by which
//! time all of them have been computed.
//!
//! **Must not touch** a result that somebody wants to see.

use crate::tape::graph::Graph;

pub(super) fn run(graph: &mut Graph) {
    let (readers, mut producers) = (graph.readers(), graph.producers());
    let mut nodes = graph.tape.nodes.clone();
    let mut replacements = vec![None; nodes.len()];
    for index in 0..nodes.len() {
        let absorbed = nodes[index].inputs.iter().enumerate().find_map(|(position, &input)| {
            let before = producers[input.0]?;
            let alone = readers[input.0] == [index] && !graph.is_wanted(input);
            let differentiated = graph.differentiated[input.0];
            let op = nodes[before].op.absorb(nodes[before].inputs.len(), &*nodes[index].op, differentiated);
            Some((position, before, op.filter(|_| alone)?))
        });
        let Some((position, before, op)) = absorbed else { continue };
        let others = nodes[index].inputs.iter().enumerate().filter(|(k, _)| *k != position).map(|(_, &input)| input);
        let inputs = nodes[before].inputs.iter().copied().chain(others).collect();
        let layer = nodes[before].layer.clone();
        let node = &mut nodes[index];
        (node.op, node.inputs, node.layer) = (op, inputs, layer);
        producers[node.output.0] = Some(index);
        replacements[index] = Some(vec![node.clone()]);
        replacements[before] = Some(vec![]);
    }
    graph.rewrite(replacements);
}
