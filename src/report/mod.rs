//! Pictures brought together for people to look at. No networks, no GPU.

mod film;
mod letters;
mod plot;
mod sheet;

pub use film::Film;
pub use plot::{Plot, beside};
pub use sheet::{Labels, contact_sheet};
