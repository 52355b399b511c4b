//! Making a picture: what a recipe says, and the numbers of every step that follow from it.
//!
//! In this room: recipes, what is optimised in the place of pixels, the octave schedule, the loop. Not here: kernels, printing, names of output files.

mod canvas;
mod check;
mod fault;
pub mod octave;
pub mod parametrisation;
pub mod recipe;
mod run;
mod spectrum;
pub mod stage;
mod step;

pub use run::{Event, Finished, Job, Observer, Progress, memory, resume, run, run_schedule};
