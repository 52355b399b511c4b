//! Changing a network's parameters: towards another network's outputs, or towards labels.
//!
//! Not here: kernels, printing, recipes of pictures.

mod step;

pub use step::{Goal, Optimiser, Setup, TrainStep};
