//! Pictures and numbers brought together for people to look at, and for other programs. No networks, no GPU.

mod film;
mod layout;
mod letters;
mod page;
mod plot;
mod sheet;
mod tables;

pub use film::Film;
pub use layout::layout;
pub use page::{ClassDistances, Page, PageGraph, PageMeeting, PageOpinion, PagePicture, PagePlane, PageSet};
pub use plot::{Plot, beside};
pub use sheet::{Labels, contact_sheet};
pub use tables::{Csv, npy};
