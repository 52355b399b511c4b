//! What several test programs share. Nothing here runs the engine.

// Each test program compiles all of this and uses some of it.
#![allow(dead_code)]

pub mod compare;
pub mod fixture;
pub mod generator;
