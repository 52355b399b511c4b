//! Gradients of a convolution's weight and bias by tiles in workgroup memory.

use super::super::pass::View;
use super::super::shader;
use super::Conv2d;
use super::tiled::{add_up, flops, partial_sums};
use crate::device::{Kernel, Recorder, Tile};
use crate::tensor::Shape;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    h: u32,
    w: u32,
    c_in: u32,
    oh: u32,
    ow: u32,
    c_out: u32,
    kh: u32,
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
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

impl Conv2d {
    /// Appends the gradient of the weights by tiles, each sum in so many parts.
    pub(super) fn grad_weight_tiled(
        &self,
        recorder: &mut Recorder,
        [x, grad_y, grad_weight]: [View; 3],
        (tile, splits): (Tile, u32),
    ) {
        let (weight, form) = (grad_weight.shape, tile.form());
        let [rows, columns] = [weight.h() * weight.w() * x.shape.groups() * 4, grad_y.shape.groups()];
        let scratch = partial_sums(recorder, rows * columns, splits);
        let params = self.params_of_sums(x, weight, grad_y, splits);
        let kernel = Kernel::new(&SHADER, "grad_weight")
            .with("LANES_X", form.lanes_x)
            .with("LANES_Y", form.lanes_y)
            .with("ROWS", form.rows / 4)
            .with("GROUPS", form.columns / 4)
            .with("DEPTH", form.summands);
        let bindings = [(1, x.buffer), (5, grad_y.buffer), (6, scratch.unwrap_or(grad_weight.buffer))];
        let [tile_rows, tile_columns] = tile.size();
        let workgroups = rows.div_ceil(tile_rows) * (columns * 4).div_ceil(tile_columns) * splits as usize;
        recorder.launch_workgroups(kernel, &params, &bindings, workgroups, flops(weight, grad_y.shape));
        if let Some(scratch) = scratch {
            add_up(recorder, scratch, [rows, columns], splits, grad_weight.buffer);
        }
    }

    /// Appends the gradient of the bias, pixels in parts that depend on their number alone.
    pub(super) fn grad_bias_tiled(&self, recorder: &mut Recorder, x: View, weight: Shape, grads: [View; 2]) {
        let [grad_y, grad_bias] = grads;
        let columns = grad_y.shape.groups();
        let splits = grad_y.shape.pixels().div_ceil(BIAS_RUN).min(BIAS_SPLITS) as u32;
        let scratch = partial_sums(recorder, columns, splits);
        let params = self.params_of_sums(x, weight, grad_y, splits);
        let bindings = [(5, grad_y.buffer), (6, scratch.unwrap_or(grad_bias.buffer))];
        let workgroups = columns.div_ceil(BIAS_GROUPS) * splits as usize;
        let kernel = Kernel::new(&SHADER, "grad_bias");
        recorder.launch_workgroups(kernel, &params, &bindings, workgroups, grad_y.vectors() * 4);
        if let Some(scratch) = scratch {
            add_up(recorder, scratch, [1, columns], splits, grad_bias.buffer);
        }
    }

    fn params_of_sums(&self, x: View, weight: Shape, grad_y: View, splits: u32) -> Params {
        Params {
            n: x.shape.n() as u32,
            h: x.shape.h() as u32,
            w: x.shape.w() as u32,
            c_in: x.shape.groups() as u32,
            oh: grad_y.shape.h() as u32,
            ow: grad_y.shape.w() as u32,
            c_out: grad_y.shape.groups() as u32,
            kh: weight.h() as u32,
            kw: weight.w() as u32,
            stride_h: self.stride[0] as u32,
            stride_w: self.stride[1] as u32,
            pad_h: self.padding[0] as u32,
            pad_w: self.padding[1] as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: grad_y.offset,
            y_stride: grad_y.stride,
            splits,
            pad: [0; 2],
        }
    }
}
