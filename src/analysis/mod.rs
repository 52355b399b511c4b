//! Pictures and logits in, numbers out. No drawing, no files, no printing.

mod alterations;
mod scores;
mod spectrum;

pub use alterations::{ALTERATIONS, Alteration, altered};
pub use scores::{Judged, Pixels, eight_bit, judge, noise, pixels, softmax};
pub use spectrum::{MAX_SPECTRUM_SIDE, Spectrum, spectrum};
