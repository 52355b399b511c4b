//! Pictures and numbers brought together for people to look at, and for other programs. No networks, no GPU, no files.

mod layout;
mod page;
mod sheet;
mod tables;

pub use layout::layout;
pub use page::{Page, PageGraph, PageMeeting, PageOpinion, PagePicture, PagePlane, PageSet};
pub use sheet::{Labels, contact_sheet};
pub use tables::{Csv, npy};
