//! Which kernels are fastest on this adapter: measured, checked, remembered on disk. For GPUs; not for software drivers.
//!
//! Not here: what a kernel is made of, and the fixed table (`ops`).

mod measure;
mod memory;
mod trial;
mod tuner;

pub use measure::time;
pub use memory::kernels;
pub use tuner::{Autotuner, Settings, install};
