//! Files to arrays by tensor name, and back; published files, and how they are fetched. No GPU, no layer structure.
//!
//! A file format is one reader that turns bytes into an index of named arrays ([`Checkpoint`] picks it by the first
//! bytes) and, for the format we write, one writer.

mod bytes;
mod checkpoint;
mod container;
mod demo;
mod entry;
mod fetch;
mod folder;
mod globals;
mod kept_program;
mod known;
mod names;
mod onnx;
mod pickle;
mod program;
mod protobuf;
mod pt2;
mod safetensors;
mod sparse;
mod torch_file;
mod zip;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::TensorView;
pub use demo::{demo, demos};
pub use fetch::{Download, Event, Fetched, Watch, is_url};
pub use kept_program::PROGRAM;
pub use known::{KNOWN, Known, cache_folder};
pub use names::{NAMINGS, Rules, translated};
pub use program::{Attribute, Constant, Input, Language, Node, Numbers, Program};
pub use safetensors::{NamedArray, Precision, write};
