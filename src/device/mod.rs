//! The GPU: adapters, buffers, pipelines, recordings of dispatches and their replay. The only room that names wgpu.
//!
//! Not here: shapes with a meaning, names of operations, weights.

mod adapter;
mod cards;
mod context;
mod faults;
mod kept;
mod memory;
mod pipelines;
mod plan;
mod program;
mod recording;
mod shader;
mod timing;
mod tuning;

pub use adapter::{AdapterChoice, AdapterSummary, Class, adapters};
pub use context::{Buffer, Counters, Device, Readback};
pub use plan::{Plan, Slot};
pub use program::{Externals, Program};
pub use recording::{BufferId, BufferSpec, Dispatch, Kernel, Recorder, Recording, Source};
pub use shader::{Shader, expand};
pub use tuning::{Choices, Tile, TileForm, Tiling, Tuning, Variant};
