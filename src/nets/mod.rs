//! The three networks as calls on a tape, with torchvision's tensor names. Widths come from the weights' shapes.
//!
//! Not here: wgpu, losses, learning rates.

mod googlenet;
mod head;
mod inception_v3;
mod layers;
mod network;
mod preprocessing;
mod resnet50;

pub use head::Head;
pub use layers::{BatchNormMode, Layers, Norm, Parameter};
pub use network::{Architecture, Fit, Network, Outputs};
pub use preprocessing::Normalize;
