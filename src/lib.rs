//! Entoptic shows what image classifiers see. It runs networks of torchvision, of `.pt2` and of ONNX files forwards and backwards on any
//! Vulkan, Metal or DX12 GPU, and makes pictures by following gradients: the same seed gives the same picture, and a picture's
//! file says all that made it.
//!
//! ```no_run
//! use entoptic::studio::{Aim, Picture};
//! use entoptic::synthesis::{octave::Stream, run};
//! use entoptic::{AdapterChoice, Device, Error, Making, Model, Weights, Wishes, picture};
//! # fn main() -> entoptic::Result<()> {
//! let device = Device::open(&AdapterChoice::Best)?;
//! let googlenet = "googlenet".parse().map_err(Error::request)?;
//! let network = Model::new(Some(googlenet), Weights::Demo).load(&|_| {}, &device, "0")?;
//! let making = Making::new(&|_| {}, &device, vec![&network], Wishes::default())?;
//! let (aim, stream) = Aim::raising("logit(church) - 0.001*tv", &making.networks)?;
//! let church = [Picture { name: "church".into(), stream: Stream { seed: 0, picture: stream }, aim }];
//! let made = run(&making.device, &making.job(&church, None)?, &mut |_| std::ops::ControlFlow::Continue(()))?;
//! let texts = making.origin(&church[0], 0, making.init(&|_| {})?, &made).texts(&making.recipe, &made.pictures);
//! picture::write_png("church.png".as_ref(), &made.pictures, &texts)
//! # }
//! ```
//!
//! [`studio`] is where a program begins: networks by name or file, aims, recipes, origins. [`evaluate`] has outputs, gradients and the
//! vector-Jacobian product of any loss; [`objective`] sums of what is to be raised; [`synthesis`] and [`training`] the loops. `examples/`
//! has each in use. Without the default feature `cli` the crate is the engine alone.
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

pub use device::{AdapterChoice, Device};
pub use error::{Error, Result};
pub use evaluate::Scene;
pub use nets::{Network, Normalize, Structure};
pub use objective::Objective;
pub use studio::{Loaded, Making, Model, Weights, Wishes};
pub use synthesis::recipe::Recipe;
pub use tensor::{Array, Shape};
