//! What makes a plainly described network fast: passes over its tape, one after another. Each looks for a few operations that
//! can be fewer, asks the operations themselves whether they can ([`Op::fold`](crate::ops::Op::fold) and its like), and leaves
//! alone every value that somebody wants to see: nobody passes lists of layers.
//!
//! Not here: what an operation can take in, which stays with the operation; names of layers.

mod epilogue;
mod fold;
mod join;
mod mask;
mod place;

use super::graph::Graph;

/// One pass.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Its name, which is that of its file.
    pub name: &'static str,
    run: fn(&mut Graph),
}

impl Pass {
    pub(super) fn run(&self, graph: &mut Graph) {
        (self.run)(graph);
    }
}

/// Batch norms into the weights before them.
pub const FOLD: Pass = Pass { name: "fold", run: fold::run };

/// Residuals and activations into the operations before them.
pub const EPILOGUE: Pass = Pass { name: "epilogue", run: epilogue::run };

/// Operations on the same value in one.
pub const JOIN: Pass = Pass { name: "join", run: join::run };

/// Values where their concatenation will be.
pub const PLACE: Pass = Pass { name: "place", run: place::run };

/// The mask of a relu or a clip in the kernels that compute its gradient.
pub const MASK: Pass = Pass { name: "mask", run: mask::run };

/// Every pass, in the order in which they run: activations follow what batch norms have left, operations are joined when
/// they are complete, and the last two look at the values that remain.
pub const ALL: &[Pass] = &[FOLD, EPILOGUE, JOIN, PLACE, MASK];

/// Those that leave every value where it is: each layer can be looked at.
pub const WATCHED: &[Pass] = &[PLACE, MASK];
