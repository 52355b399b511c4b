//! What an adapter can do at best.

use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Work that measures an adapter: arithmetic without memory, and memory without arithmetic. Without a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak;

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    rounds: u32,
    factor: f32,
    term: f32,
}

shader!("peak", Params);

impl Peak {
    /// Appends `rounds` of 8 multiplications and additions for each number of `out`, which has `vectors` `vec4`s: number i
    /// becomes `8 * i + 28 + 8 * rounds`, exactly as long as that is below 2^24.
    pub fn multiply_add(recorder: &mut Recorder, out: BufferId, vectors: usize, rounds: usize) {
        let params = Params { vectors: vectors as u32, rounds: rounds as u32, factor: 1.0, term: 1.0 };
        let kernel = Kernel::new(&SHADER, "multiply_add");
        recorder.launch(kernel, &params, &[(2, out)], vectors, 1, vectors * rounds * 8 * 4 * 2);
    }

    /// Appends `out = x`, both of `vectors` `vec4`s.
    pub fn copy(recorder: &mut Recorder, x: BufferId, out: BufferId, vectors: usize) {
        let params = Params { vectors: vectors as u32, ..Params::default() };
        recorder.launch(Kernel::new(&SHADER, "copy"), &params, &[(1, x), (2, out)], vectors, 1, 0);
    }
}
