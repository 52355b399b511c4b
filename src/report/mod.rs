//! Pictures and numbers brought together for people to look at, and for other programs. No networks, no GPU, no files.

mod sheet;
mod tables;

pub use sheet::{Labels, contact_sheet};
pub use tables::{Csv, npy};
