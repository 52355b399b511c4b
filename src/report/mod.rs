//! Pictures brought together for people to look at. No networks, no GPU, no files.

mod sheet;

pub use sheet::{Labels, contact_sheet};
