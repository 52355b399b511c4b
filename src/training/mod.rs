//! Changing a network's parameters: towards another network's outputs, or towards labels.
//!
//! Not here: kernels, printing, recipes of pictures.

mod dataset;
mod initialise;
mod schedule;
mod step;

pub use dataset::{Batch, Batches, Folder, Loader, Photograph, picture_files};
pub use initialise::{initial_tensor, initial_weights};
pub use schedule::Schedule;
pub use step::{Goal, Optimiser, Setup, TrainStep};
