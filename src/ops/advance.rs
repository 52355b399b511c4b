//! The step that a replay has reached, and the tables it reads and writes there.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Numbers that change from step to step, without any upload between replays. Without a gradient.
///
/// `step` is a buffer of one `u32`, the step counted from 0. A replay begins with [`Advance::read_row`], which puts the
/// numbers of the step (corners of a crop, rate, taps of a blur) where operations read them as arguments, and ends with
/// [`Advance::next`]. Replays beyond the last row of a table see the last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance;

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    vectors: u32,
    groups: u32,
    value_offset: u32,
    value_stride: u32,
    increment: u32,
    pad: [u32; 2],
}

shader!("advance", Params);

fn params(rows: usize, value: View) -> Params {
    assert!(rows > 0, "a table has at least one row");
    Params {
        rows: rows as u32,
        vectors: value.vectors() as u32,
        groups: value.shape.groups() as u32,
        value_offset: value.offset,
        value_stride: value.stride,
        ..Params::default()
    }
}

impl Advance {
    /// Appends `now = table[step]`, for a table of `rows` rows, each as many `vec4`s as `now` has.
    pub fn read_row(recorder: &mut Recorder, step: BufferId, table: BufferId, rows: usize, now: View) {
        let bindings = [(1, step), (2, table), (3, now.buffer)];
        let kernel = Kernel::new(&SHADER, "read_row");
        recorder.launch(kernel, &params(rows, now), &bindings, now.vectors(), 1, now.vectors());
    }

    /// Appends `history[step] = value`, for a history of `rows` rows, each as many `vec4`s as `value` has.
    pub fn log(recorder: &mut Recorder, step: BufferId, value: View, history: BufferId, rows: usize) {
        let bindings = [(1, step), (2, value.buffer), (3, history)];
        let kernel = Kernel::new(&SHADER, "write_row");
        recorder.launch(kernel, &params(rows, value), &bindings, value.vectors(), 1, value.vectors());
    }

    /// Appends `step += 1`.
    pub fn next(recorder: &mut Recorder, step: BufferId) {
        let params = Params { increment: 1, ..Params::default() };
        recorder.launch_workgroups(Kernel::new(&SHADER, "next"), &params, &[(1, step)], 1, 1);
    }
}
