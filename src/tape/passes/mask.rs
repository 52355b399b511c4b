//! The mask of a relu or a clip, in the kernels that compute its gradient.
//!
//! **Looks for** values whose gradient does not matter where they lie at a limit, since the operation that has made them
//! drops it there: what a relu makes ([`Op::live`](crate::ops::Op::live)), and what is selected from such values alone, as
//! by a pooling.
//!
//! **Puts there** nothing: it notes which values these are, and operations that finish a gradient mask it as they write it.
//!
//! **Must not touch** a value whose gradient somebody asks for: he gets all of it.

use crate::tape::graph::Graph;

pub(super) fn run(graph: &mut Graph) {
    let parts = graph.parts();
    for node in graph.tape.nodes.clone() {
        // What is selected from values of one kind is of that kind.
        let of_first = node.inputs.first().and_then(|input| graph.live[input.0]);
        let alike = node.inputs.iter().all(|input| graph.live[input.0] == of_first);
        let live = node.op.live().or(of_first.filter(|_| alike && node.op.selects()));
        for var in std::iter::once(&node.output).chain(&parts[node.output.0]) {
            graph.live[var.0] = live.filter(|_| !graph.is_asked_for(*var));
        }
    }
}
