//! What several test programs share. Only `gpu` runs the engine.

// Each test program compiles all of this and uses some of it.
#![allow(dead_code)]
// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

pub mod compare;
pub mod desk;
pub mod fixture;
pub mod generator;
pub mod gpu;
pub mod jobs;
pub mod kernels;
pub mod reference;
pub mod tapes;
