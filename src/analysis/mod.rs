//! Pictures and logits in, numbers out. No drawing, no files, no printing.

mod alterations;
mod comparison;
mod judge;
mod neighbours;
mod output_distance;
mod principal;
mod scores;
mod spectrum;
mod standing;
mod statistics;

pub use alterations::{ALTERATIONS, Alteration, altered};
pub use comparison::{COMPONENTS, Comparison, Meeting, Opinion, Pair, Shown, compare};
pub use judge::{Judge, Judged};
pub use neighbours::{Nearest, Neighbours, nearest, neighbours};
pub use output_distance::{OutputDistance, output_distance};
pub use principal::{Principal, principal};
pub use scores::{Pixels, THUMBNAIL, alikeness, eight_bit, noise, pixels, softmax};
pub use spectrum::{FREQUENCIES, LogPower, MAX_SPECTRUM_SIDE, Spectrum, frequency, spectrum};
pub use standing::{Standing, standing};
pub use statistics::{Distance, FIRST_LAYER, calibrated, distance};
