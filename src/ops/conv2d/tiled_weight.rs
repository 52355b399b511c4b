//! Gradients of a convolution's weight and bias by tiles in workgroup memory.

use super::super::pass::View;
use super::super::shader;
use super::sizes::{Sizes, Uniform};
use super::tiled::{add_up, partial_sums};
use crate::device::{Kernel, Recorder, Tile};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    sizes: Uniform,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    splits: u32,
    pad: [u32; 2],
}

shader!("conv2d_tiled_weight", Params);

/// Pixels whose gradients one workgroup adds up for a bias, and how many workgroups are worth it.
const BIAS_RUN: usize = 1024;
const BIAS_SPLITS: usize = 256;

/// Channel groups that one workgroup adds up for a bias; as in the kernel.
const BIAS_GROUPS: usize = 16;

/// Appends the gradient of the weights by tiles, each sum in so many parts.
pub(super) fn grad_weight(
    recorder: &mut Recorder,
    sizes: &Sizes,
    [x, grad_y, grad_weight]: [View; 3],
    (tile, splits): (Tile, u32),
) {
    let form = tile.form();
    let [rows, columns] = [sizes.taps() * sizes.x.groups() * 4, sizes.y.groups()];
    let scratch = partial_sums(recorder, rows * columns, splits);
    let params = params(sizes, x, grad_y, splits);
    let kernel = Kernel::new(&SHADER, "grad_weight")
        .number("LANES_X", form.lanes_x)
        .number("LANES_Y", form.lanes_y)
        .number("ROWS", form.rows / 4)
        .number("GROUPS", form.columns / 4)
        .number("DEPTH", form.summands)
        .number("X_LOADS", form.summands * form.rows / 4 / form.lanes_x)
        .number("Y_LOADS", form.summands * form.columns / 4 / form.lanes_y);
    let bindings = [(1, x.buffer), (5, grad_y.buffer), (6, scratch.unwrap_or(grad_weight.buffer))];
    let [tile_rows, tile_columns] = tile.size();
    let workgroups = rows.div_ceil(tile_rows) * (columns * 4).div_ceil(tile_columns) * splits as usize;
    recorder.launch_workgroups(kernel, &params, &bindings, workgroups, sizes.flops());
    if let Some(scratch) = scratch {
        add_up(recorder, scratch, [rows, columns], splits, grad_weight.buffer);
    }
}

/// Appends the gradient of the bias, pixels in parts that depend on their number alone.
pub(super) fn grad_bias(recorder: &mut Recorder, sizes: &Sizes, [x, grad_y, grad_bias]: [View; 3]) {
    let columns = sizes.y.groups();
    let splits = sizes.y.pixels().div_ceil(BIAS_RUN).min(BIAS_SPLITS) as u32;
    let scratch = partial_sums(recorder, columns, splits);
    let params = params(sizes, x, grad_y, splits);
    let bindings = [(5, grad_y.buffer), (6, scratch.unwrap_or(grad_bias.buffer))];
    let workgroups = columns.div_ceil(BIAS_GROUPS) * splits as usize;
    let kernel = Kernel::new(&SHADER, "grad_bias");
    recorder.launch_workgroups(kernel, &params, &bindings, workgroups, grad_y.vectors() * 4);
    if let Some(scratch) = scratch {
        add_up(recorder, scratch, [1, columns], splits, grad_bias.buffer);
    }
}

fn params(sizes: &Sizes, x: View, grad_y: View, splits: u32) -> Params {
    Params {
        sizes: sizes.uniform(),
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: grad_y.offset,
        y_stride: grad_y.stride,
        splits,
        pad: [0; 2],
    }
}
