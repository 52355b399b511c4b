//! Every operation once more, as plain loops in f64 on the CPU: what the self-test and the tests compare kernels with.
//!
//! Nothing is shared with kernels or with their host code but shapes and settings, and nothing but the self-test and tests
//! may use it. Each result says how far f32 may be from it.

mod activation;
mod convolution;
mod elementwise;
mod linear;
mod losses;
mod normalisation;
mod number;
mod pictures;
mod pooling;
pub mod updates;
mod values;

use std::any::Any;

pub use number::{Number, Sum, U, sum};
pub use values::{Index, Sums, Values, at, exact, places};

use crate::ops::{Op, each_op};
use crate::tensor::Array;

/// What an operation computes, as its definition says it.
pub trait Formula: Op {
    /// The result.
    fn result(&self, inputs: &[Array]) -> Values;

    /// The gradient with respect to each argument that has one, from that with respect to the result.
    fn gradients(&self, inputs: &[Array], grad_output: &Array) -> Vec<Option<Values>>;

    /// Arguments that the forward pass changes, by their position.
    fn changed(&self, _inputs: &[Array]) -> Vec<(usize, Values)> {
        Vec::new()
    }
}

/// A formula for each operation of the list: the program does not compile without.
macro_rules! formulas {
    ($($op:ident),*) => {
        /// The formula of an operation; none for one that is not in the list.
        pub fn of(op: &dyn Op) -> Option<&dyn Formula> {
            let op: &dyn Any = op;
            $(if let Some(op) = op.downcast_ref::<crate::ops::$op>() { return Some(op); })*
            None
        }
    };
}
each_op!(formulas);
