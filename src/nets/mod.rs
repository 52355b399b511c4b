//! Networks: what each is as plain data, its weights on a device, its classes and heads, its preprocessing.
//!
//! Not here: what makes them fast (the passes of the tape), losses, learning rates.

mod card;
mod head;
mod imported;
mod layers;
mod network;
mod normalize;
mod parameters;
mod preprocessing;
mod reading;
mod recognise;
mod structure;
mod zoo;

pub use card::Card;
pub use head::Head;
pub use layers::{BatchNormMode, Conv, Layers, Norm, Parameter};
pub use network::{Network, Outputs};
pub(crate) use normalize::mean_of_colours;
pub use normalize::{Normalize, Pixels};
pub use parameters::Parameters;
pub use preprocessing::Preprocessing;
pub use reading::Reading;
pub use structure::{Ends, Fit, Structure};
