//! Convolutions whose channels are in groups, each of which sees its own input channels alone.
//!
//! Their weights lie as every filter does, [KH, KW, Cin / groups padded to 4, Cout/4], so that a depthwise one takes four times
//! its memory: folding, training and files know one layout, and such weights are small.

use super::super::activation::Activation;
use super::super::pass::View;
use super::super::shader;
use super::choice::{Family, family};
use super::registers::{Params, activated};
use super::sizes::Sizes;
use super::tiled::{add_up, partial_sums};
use crate::device::{BufferId, Kernel, Recorder};

/// The kernels of convolutions with as many groups as channels.
pub(super) mod depthwise {
    use super::{Params, shader};

    shader!("conv2d_depthwise", Params);
}

shader!("conv2d_grouped", Params);

/// Pixels that one invocation computes.
const BLOCK: usize = 4;

/// Pixels that one invocation adds up for a weight, and how many parts of a sum are worth it.
const RUN: usize = 128;
const SPLITS: usize = 256;

/// Partial sums may take so many bytes.
const SCRATCH: usize = 64 << 20;

fn kernel(sizes: &Sizes, entry: &'static str) -> Kernel {
    match family(sizes) {
        Family::Depthwise => Kernel::new(&depthwise::SHADER, entry),
        Family::Grouped { aligned } => Kernel::new(&SHADER, entry).with("aligned", aligned),
        Family::Dense => unreachable!("a convolution in one group has other kernels"),
    }
}

/// Appends the forward pass.
pub(super) fn forward(
    recorder: &mut Recorder,
    sizes: &Sizes,
    params: &Params,
    activation: Option<Activation>,
    bindings: &[(u32, BufferId)],
) {
    let invocations = sizes.y.pixels().div_ceil(BLOCK) * sizes.y.groups();
    let kernel = activated(kernel(sizes, "forward"), activation);
    recorder.launch(kernel, params, bindings, invocations, 1, sizes.flops());
}

/// Appends the gradient of `x`.
pub(super) fn grad_input(recorder: &mut Recorder, sizes: &Sizes, params: &Params, bindings: &[(u32, BufferId)]) {
    let invocations = sizes.pixels_of_phase().div_ceil(BLOCK) * sizes.x.groups();
    recorder.launch(kernel(sizes, "grad_input"), params, bindings, invocations, sizes.phases(), sizes.flops());
}

/// Appends the gradient of the weights, pixels in parts that depend on sizes alone.
pub(super) fn grad_weight(recorder: &mut Recorder, sizes: &Sizes, [x, grad_y, grad_weight]: [View; 3]) {
    let columns = sizes.y.groups();
    let rows = grad_weight.vectors() / columns;
    let fits = (SCRATCH / (rows * columns * 16)).max(1);
    let splits = sizes.y.pixels().div_ceil(RUN).min(SPLITS).min(fits) as u32;
    let scratch = partial_sums(recorder, rows * columns, splits);
    let params = Params::new(sizes, x, grad_y).in_parts(splits);
    let bindings = [(1, x.buffer), (5, grad_y.buffer), (6, scratch.unwrap_or(grad_weight.buffer))];
    // Of a depthwise one every row has its invocation, of the others every four.
    let quad = if family(sizes) == Family::Depthwise { 1 } else { 4 };
    let invocations = rows / quad * columns * splits as usize;
    recorder.launch(kernel(sizes, "grad_weight"), &params, &bindings, invocations, 1, sizes.flops());
    if let Some(scratch) = scratch {
        add_up(recorder, scratch, [rows, columns], splits, grad_weight.buffer);
    }
}
