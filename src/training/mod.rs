//! Changing a network's parameters: towards another network's outputs, or towards labels.
//!
//! Not here: kernels, printing, recipes of pictures.

mod attack;
mod dataset;
mod initialise;
mod run;
mod schedule;
mod state;
mod step;
mod validation;

pub use attack::{Attack, Attacked, Strength};
pub use dataset::{Batch, Batches, Folder, Loader, Photograph, labelled, picture_files};
pub use initialise::{initial_tensor, initial_weights};
pub use run::{Event, Job, Lesson, Observer, TeacherLoss, run};
pub use schedule::Schedule;
pub use state::State;
pub use step::{Goal, Optimiser, Setup, TrainStep};
pub use validation::{Accuracy, Validation};
