//! The rooms that read files, compiled alone: without the GPU's a fuzzer is built in a minute.

// What other rooms use of these is not used here.
#![allow(dead_code, unused_imports)]

#[path = "../../src/digest.rs"]
mod digest;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/files.rs"]
mod files;
#[path = "../../src/picture.rs"]
pub mod picture;
#[path = "."]
pub mod synthesis {
    //! Recipes alone.
    #[path = "../../src/synthesis/check.rs"]
    mod check;
    #[path = "../../src/synthesis/fault.rs"]
    mod fault;
    #[path = "../../src/synthesis/recipe.rs"]
    pub mod recipe;
    #[path = "../../src/synthesis/stage.rs"]
    pub mod stage;
}
#[path = "../../src/tensor.rs"]
pub mod tensor;
#[path = "../../src/weights/mod.rs"]
pub mod weights;

/// What recipes name of the networks.
pub mod nets {
    use serde::{Deserialize, Serialize};

    /// As `src/nets/normalize.rs` has it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Normalize {
        /// Pixel values as they are.
        #[default]
        Source,
        /// Less ImageNet's mean, over its deviation.
        Imagenet,
    }
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub use error::{Error, Result};
use weights::Checkpoint;

/// The most that may be allocated for a file of weights of the length that is tried, 16 KiB.
const MEMORY: isize = 32 << 20;

/// The system's allocator, counting what each thread holds and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: Everything is passed on to the system's allocator; counting neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: The caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: The caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Opens a file of weights and reads every tensor, as any command may.
///
/// # Panics
/// When a tensor has another number of values than its shape says, when values that are not finite get through, or when
/// much memory is taken: those are what the fuzzer looks for beside panics of the readers.
pub fn survive(bytes: Vec<u8>) {
    let held = HELD.get();
    PEAK.set(held);
    if let Ok(checkpoint) = Checkpoint::from_bytes("fuzzed", bytes) {
        for name in checkpoint.names() {
            let count: usize = checkpoint.shape(name).expect("it is named").iter().product();
            checkpoint.dtype(name).expect("it is named");
            if let Ok(values) = checkpoint.read(name) {
                assert_eq!(values.len(), count, "{name}");
                assert!(values.iter().all(|value| value.is_finite()), "{name}");
            }
            if let Ok(values) = checkpoint.read_unchecked(name) {
                assert_eq!(values.len(), count, "{name}");
            }
        }
    }
    let peak = PEAK.get() - held;
    assert!(peak < MEMORY, "allocated {peak} bytes");
}
