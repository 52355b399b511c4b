//! [`registers`](super::registers) for adapters that compute on a CPU and share registers between the lanes of a vector.

use super::super::activation::Activation;
use super::super::pass::View;
use super::super::shader;
use super::registers::{Params, activated};
use super::sizes::Sizes;
use super::tiled::{add_up, partial_sums};
use crate::device::{BufferId, Kernel, Recorder};
use crate::tensor::Shape;

shader!("conv2d_subgroup", Params);

/// Lanes of a subgroup, each of which has a channel group.
const LANES: usize = 8;

/// Pixels of a workgroup where there are few, as in the kernel; and where there are many, in the two passes: each doubling takes a
/// quarter of the loads away, and lets the driver compile for more than twice as long.
const FEW: usize = 16;
const MANY_FORWARD: usize = 64;
const MANY_BACK: usize = 32;

/// Multiplications and additions that are worth compiling for long. Small networks do without.
const LARGE: usize = 1 << 24;

/// Groups of four rows that a workgroup has in the gradient of the weights; as in the kernel.
const ROWS: usize = 16;

/// Workgroups that keep processors busy, and pixels that are worth one, in the gradient of the weights.
const BUSY: usize = 16;
const RUN: usize = 256;

/// Whether the lanes of this adapter can share, and enough of them have a channel group.
pub(super) fn suits(recorder: &Recorder, channels: Shape) -> bool {
    recorder.tuning().subgroup && 2 * channels.groups() >= LANES
}

/// Pixels of a workgroup, where there are so many in all: not so many that most would be none.
fn pixels_at_a_time(pixels: usize, many: usize, flops: usize) -> usize {
    if flops > LARGE && 2 * pixels > many { many } else { FEW }
}

/// An entry point for so many pixels in a workgroup.
fn kernel(entry: &'static str, pixels: usize) -> Kernel {
    Kernel::new(&SHADER, entry).number("LOADS", (pixels / LANES) as u32)
}

/// Appends the forward pass.
pub(super) fn forward(
    recorder: &mut Recorder,
    sizes: &Sizes,
    params: &Params,
    activation: Option<Activation>,
    bindings: &[(u32, BufferId)],
) {
    let pixels = pixels_at_a_time(sizes.y.pixels(), MANY_FORWARD, sizes.flops());
    let workgroups = sizes.y.pixels().div_ceil(pixels) * sizes.y.groups().div_ceil(LANES);
    let kernel = activated(kernel("forward", pixels), activation);
    recorder.launch_workgroups(kernel, params, bindings, workgroups, sizes.flops());
}

/// Appends the gradient of `x`, whose pixels belong to as many phases as the stride has steps.
pub(super) fn grad_input(recorder: &mut Recorder, sizes: &Sizes, params: &Params, bindings: &[(u32, BufferId)]) {
    let pixels = pixels_at_a_time(sizes.pixels_of_phase(), MANY_BACK, sizes.flops());
    let workgroups = sizes.phases() * sizes.pixels_of_phase().div_ceil(pixels) * sizes.x.groups().div_ceil(LANES);
    recorder.launch_workgroups(kernel("grad_input", pixels), params, bindings, workgroups, sizes.flops());
}

/// Appends the gradient of the weights, whose sums are taken in parts where there would be few workgroups.
pub(super) fn grad_weight(recorder: &mut Recorder, sizes: &Sizes, [x, grad_y, grad_weight]: [View; 3]) {
    let rows = sizes.taps() * sizes.x.groups();
    let tiles = rows.div_ceil(ROWS) * sizes.y.groups().div_ceil(LANES);
    let splits = parts(tiles, sizes.y.pixels());
    let [rows, columns] = [4 * rows, sizes.y.groups()];
    let scratch = partial_sums(recorder, rows * columns, splits);
    let params = Params::new(sizes, x, grad_y).in_parts(splits);
    let bindings = [(1, x.buffer), (5, grad_y.buffer), (6, scratch.unwrap_or(grad_weight.buffer))];
    let workgroups = tiles * splits as usize;
    let kernel = Kernel::new(&SHADER, "grad_weight");
    recorder.launch_workgroups(kernel, &params, &bindings, workgroups, sizes.flops());
    if let Some(scratch) = scratch {
        add_up(recorder, scratch, [rows, columns], splits, grad_weight.buffer);
    }
}

/// In how many parts so many tiles take their sums over pixels: as the shapes alone want it, so that bits do not depend on a machine.
fn parts(tiles: usize, pixels: usize) -> u32 {
    BUSY.div_ceil(tiles).min(pixels / RUN).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tiles_with_many_pixels_are_taken_in_parts() {
        assert_eq!(parts(1, 8192), 16);
        assert_eq!(parts(5, 8192), 4);
        assert_eq!(parts(1, 600), 2);
        assert_eq!(parts(1, 255), 1);
        assert_eq!(parts(16, 1 << 20), 1);
        assert_eq!(parts(40, 1 << 20), 1);
    }

    #[test]
    fn few_pixels_and_small_layers_are_not_taken_many_at_a_time() {
        let of = |many, flops| [1, 16, 17, 32, 33, 5625].map(|pixels| pixels_at_a_time(pixels, many, flops));
        assert_eq!(of(MANY_FORWARD, LARGE + 1), [16, 16, 16, 16, 64, 64]);
        assert_eq!(of(MANY_BACK, LARGE + 1), [16, 16, 32, 32, 32, 32]);
        assert_eq!(of(MANY_FORWARD, LARGE), [FEW; 6]);
    }
}
