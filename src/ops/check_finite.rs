//! Whether a value has elements that are infinite or not a number, or nothing but zeros.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder, Source};

/// Sets a flag where a value is not finite, or zero everywhere. Without a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckFinite;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    slot: u32,
    parts: u32,
    pad: [u32; 2],
}

shader!("check_finite", Params);

/// `vec4`s that one workgroup looks at.
const PART: usize = 4096;

impl CheckFinite {
    /// Appends `flags[slot] = 1.0` when any element of `x` is infinite or not a number, else `-1.0` when all are zero, else `0.0`.
    ///
    /// `flags` is a run of `f32`s, one for each value that is watched.
    pub fn record(recorder: &mut Recorder, x: View, flags: BufferId, slot: usize) {
        let vectors = x.vectors();
        let params = Params {
            vectors: vectors as u32,
            groups: x.shape.groups() as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            slot: slot as u32,
            parts: 1,
            pad: [0; 2],
        };
        let check = Kernel::new(&SHADER, "check");
        if vectors <= PART {
            return recorder.launch_workgroups(check, &params, &[(1, x.buffer), (2, flags)], 1, vectors * 4);
        }
        // The flags of the parts are read four by four: those behind the last part say that all is zero.
        let parts = vectors.div_ceil(PART).next_multiple_of(4);
        let found = recorder.buffer("flags", parts as u64 * 4, Source::Transient);
        let of_parts = Params { slot: 0, parts: parts as u32, ..params };
        recorder.launch_workgroups(check, &of_parts, &[(1, x.buffer), (2, found)], parts, vectors * 4);
        let all = Params { vectors: parts as u32 / 4, ..params };
        recorder.launch_workgroups(Kernel::new(&SHADER, "join"), &all, &[(1, found), (2, flags)], 1, parts);
    }
}
