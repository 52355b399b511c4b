//! Making a picture.
//!

mod check;
pub mod recipe;
pub mod stage;
