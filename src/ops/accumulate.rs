//! What becomes of the gradients that reach one value: their sum, and what is left of it where the value is live.

use super::activation::Activation;
use super::add::Add;
use super::concat;
use super::pass::{Live, View};
use super::relu::Relu;
use super::shader;
use crate::device::{Kernel, Recorder};

/// Adds one gradient to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulate;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    sum_offset: u32,
    sum_stride: u32,
    pad: [u32; 2],
}

shader!("accumulate", Params);

impl Accumulate {
    /// Appends `sum += x`.
    pub fn in_place(recorder: &mut Recorder, sum: View, x: View) {
        // A filter has no channel groups to step over: it is one run of vec4s.
        let fills = |view: View| view == View::whole(view.buffer, view.shape, view.layout);
        let one_run = fills(x) && fills(sum);
        let stride = |view: View| if one_run { 1 } else { view.stride };
        let params = Params {
            vectors: sum.vectors() as u32,
            groups: if one_run { 1 } else { x.shape.groups() as u32 },
            x_offset: x.offset,
            x_stride: stride(x),
            sum_offset: sum.offset,
            sum_stride: stride(sum),
            pad: [0; 2],
        };
        let bindings = [(1, x.buffer), (2, sum.buffer)];
        recorder.launch(Kernel::new(&SHADER, "update"), &params, &bindings, sum.vectors(), 1, sum.vectors() * 4);
    }

    /// Appends `sum = a + b` into a new buffer, for an `a` that others still read.
    pub fn into_new(recorder: &mut Recorder, a: View, b: View) -> View {
        let sum = View::transient(recorder, "gradient sum", a.shape);
        Add::record(recorder, a, b, sum);
        sum
    }

    /// Appends a copy of a gradient that is zero where its value is not live.
    pub fn where_live(recorder: &mut Recorder, live: Live, gradient: View, value: View) -> View {
        let masked = View::transient(recorder, "masked gradient", gradient.shape);
        Accumulate::copy_where_live(recorder, live, gradient, value, masked);
        masked
    }

    /// Appends the same into a place that is already there.
    pub fn copy_where_live(recorder: &mut Recorder, live: Live, gradient: View, value: View, to: View) {
        match live {
            Live::Positive => Relu::record_gradient(recorder, value, gradient, to),
            Live::Between([low, high]) => {
                Activation::Clip { low, high }.record_gradient_of_result(recorder, value, gradient, to);
            }
        }
    }

    /// Appends a copy of a gradient.
    pub fn copy(recorder: &mut Recorder, gradient: View, to: View) {
        concat::record_copy(recorder, gradient, to);
    }
}
