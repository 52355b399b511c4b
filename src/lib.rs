//! Entoptic runs image classifiers (torchvision's ResNets, VGGs, AlexNet, SqueezeNets, DenseNets, GoogLeNet and InceptionV3)
//! forwards and backwards on any Vulkan, Metal or DX12 GPU, and uses the gradients to show what the networks see.
//!
//! Rooms import only from rooms above them in this list, and synthesis, training and analysis not from each other;
//! `tests/arrows.rs` holds them to it.

pub mod tensor;

mod error;

pub mod digest;

pub mod files;

pub mod device;

pub mod ops;

pub mod oracle;

pub mod autotune;

pub mod tape;

pub mod weights;

pub mod classes;

pub mod picture;

pub mod nets;

pub mod objective;

pub mod evaluate;

pub mod synthesis;

pub mod training;

pub mod analysis;

pub mod report;

pub mod measure;

pub mod doctor;

pub mod studio;

pub use error::{Error, Result};
