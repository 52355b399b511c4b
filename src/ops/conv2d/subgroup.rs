//! [`registers`](super::registers) for adapters that compute on a CPU and share registers between the lanes of a vector.

use super::super::activation::Activation;
use super::super::shader;
use super::registers::{Params, activated};
use super::sizes::Sizes;
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

/// Appends the forward pass.
pub(super) fn forward(
    recorder: &mut Recorder,
    sizes: &Sizes,
    params: &Params,
    activation: Option<Activation>,
    bindings: &[(u32, BufferId)],
) {
    let workgroups = sizes.y.pixels().div_ceil(PIXELS) * sizes.y.groups().div_ceil(LANES);
    let kernel = activated(Kernel::new(&SHADER, "forward"), activation);
    recorder.launch_workgroups(kernel, params, bindings, workgroups, sizes.flops());
}

/// Appends the gradient of `x`, whose pixels belong to as many phases as the stride has steps.
pub(super) fn grad_input(recorder: &mut Recorder, sizes: &Sizes, params: &Params, bindings: &[(u32, BufferId)]) {
    let workgroups = sizes.phases() * sizes.pixels_of_phase().div_ceil(PIXELS) * sizes.x.groups().div_ceil(LANES);
    recorder.launch_workgroups(Kernel::new(&SHADER, "grad_input"), params, bindings, workgroups, sizes.flops());
}
