//! The mask of a relu, in the kernels that compute its gradient.
//!
//! **Looks for** values whose gradient does not matter where they are not positive, since the operation that has made them
//! drops it there: what a relu makes ([`Op::rectifies`](crate::ops::Op::rectifies)), and what is selected from that alone, as
//! by a pooling.
//!
//! **Puts there** nothing: it notes which values these are, and operations that finish a gradient mask it as they write it.
//!
//! **Must not touch** a value whose gradient somebody asks for: he gets all of it.

use crate::tape::graph::Graph;

pub(super) fn run(graph: &mut Graph) {
    let parts = graph.parts();
    for node in graph.tape.nodes.clone() {
        let selected = node.op.selects() && node.inputs.iter().all(|input| graph.rectified[input.0]);
        for var in std::iter::once(&node.output).chain(&parts[node.output.0]) {
            graph.rectified[var.0] = (node.op.rectifies() || selected) && !graph.is_asked_for(*var);
        }
    }
}
