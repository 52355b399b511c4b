//! Values that will lie side by side are computed where they will lie, so that nothing is copied.
//!
//! **Looks for** an operation whose result is its arguments side by side ([`Op::side_by_side`](crate::ops::Op::side_by_side)), each
//! of them a node's result that begins at a whole channel group and lies nowhere else yet.
//!
//! **Puts there** nothing: it notes that the arguments lie inside of the result.
//!
//! **Must not touch** arguments that the operation takes twice, that the caller provides, or that are parts of other values.

use crate::tape::graph::Graph;
use crate::tape::{Origin, Var};
use crate::tensor::Shape;

pub(super) fn run(graph: &mut Graph) {
    for node in graph.tape.nodes.clone() {
        let shapes: Vec<Shape> = node.inputs.iter().map(|&var| graph.shape(var)).collect();
        let Some(starts) = node.op.side_by_side(&shapes) else { continue };
        let free = |var: &Var| {
            let once = node.inputs.iter().filter(|other| *other == var).count() == 1;
            once && graph.inside[var.0].is_none() && matches!(graph.tape.values[var.0].origin, Origin::Node)
        };
        if starts.iter().all(|start| start % 4 == 0) && node.inputs.iter().all(free) {
            for (input, start) in node.inputs.iter().zip(starts) {
                graph.inside[input.0] = Some((node.output, start));
            }
        }
    }
}
