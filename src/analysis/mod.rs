//! Pictures and logits in, numbers out. No drawing, no files, no printing.

mod alterations;
mod judge;
mod scores;
mod spectrum;
mod standing;
mod statistics;

pub use alterations::{ALTERATIONS, Alteration, altered};
pub use judge::{Judge, Judged};
pub use scores::{Pixels, eight_bit, noise, pixels, softmax};
pub use spectrum::{FREQUENCIES, LogPower, MAX_SPECTRUM_SIDE, Spectrum, frequency, spectrum};
pub use standing::{Standing, standing};
pub use statistics::{Distance, FIRST_LAYER, calibrated, distance};
