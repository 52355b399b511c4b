//! Whether a value has elements that are infinite or not a number, or nothing but zeros.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

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
    pad: [u32; 3],
}

shader!("check_finite", Params);

impl CheckFinite {
    /// Appends `flags[slot] = 1.0` when any element of `x` is infinite or not a number, else `-1.0` when all are zero, else `0.0`.
    ///
    /// `flags` is a run of `f32`s, one for each value that is watched.
    pub fn record(recorder: &mut Recorder, x: View, flags: BufferId, slot: usize) {
        let params = Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            slot: slot as u32,
            pad: [0; 3],
        };
        let bindings = [(1, x.buffer), (2, flags)];
        recorder.launch_workgroups(Kernel::new(&SHADER, "check"), &params, &bindings, 1, x.vectors() * 4);
    }
}
