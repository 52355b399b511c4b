//! [`Conv2d`](super::Conv2d) for adapters that compute on a CPU and share registers between the lanes of a vector.

use super::super::shader;
use super::Params;
use crate::device::{BufferId, Kernel, Recorder};
use crate::tensor::Shape;

shader!("conv2d_subgroup", Params);

/// Lanes of a subgroup, each of which has a channel group.
const LANES: usize = 8;

/// Pixels of a workgroup.
const PIXELS: usize = 16;

/// Whether the lanes of this adapter can share, and enough of them have a channel group.
pub(super) fn suits(recorder: &Recorder, channels: Shape) -> bool {
    recorder.tuning().subgroup && 2 * channels.groups() >= LANES
}

/// Appends the forward pass to `y`.
pub(super) fn forward(recorder: &mut Recorder, params: Params, bindings: &[(u32, BufferId)], y: Shape, flops: usize) {
    let workgroups = y.pixels().div_ceil(PIXELS) * y.groups().div_ceil(LANES);
    recorder.launch_workgroups(Kernel::new(&SHADER, "forward"), &params, bindings, workgroups, flops);
}

/// Appends the gradient of `x`, whose pixels belong to as many phases as the stride has steps.
pub(super) fn grad_input(
    recorder: &mut Recorder,
    params: Params,
    bindings: &[(u32, BufferId)],
    (x, stride): (Shape, [usize; 2]),
    flops: usize,
) {
    let pixels = x.n() * x.h().div_ceil(stride[0]) * x.w().div_ceil(stride[1]);
    let workgroups = stride[0] * stride[1] * pixels.div_ceil(PIXELS) * x.groups().div_ceil(LANES);
    recorder.launch_workgroups(Kernel::new(&SHADER, "grad_input"), &params, bindings, workgroups, flops);
}
