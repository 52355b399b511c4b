//! Convolution and its gradients by kernels that hold their sums in registers alone.

use super::super::activation::Activation;
use super::super::pass::View;
use super::super::shader;
use super::sizes::{Sizes, Uniform};
use crate::device::{BufferId, Kernel, Recorder};

/// Also those of [`subgroup`](super::subgroup) and [`grouped`](super::grouped).
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    sizes: Uniform,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    has_bias: u32,
    has_addend: u32,
    a_offset: u32,
    a_stride: u32,
    relu: u32,
    mask: u32,
    m_offset: u32,
    m_stride: u32,
    bundles: u32,
    bundle_in: u32,
    bundle_out: u32,
    splits: u32,
    numbers: [f32; 2],
    pad: u32,
}

shader!("conv2d", Params);

/// Pixels that one invocation computes.
const BLOCK: usize = 8;

impl Params {
    /// Those of a sum that is stored as it is, where `x` and `y`, or gradients of them, lie in buffers like this.
    pub fn new(sizes: &Sizes, x: View, y: View) -> Params {
        Params {
            sizes: sizes.uniform(),
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            bundles: sizes.window.groups as u32,
            bundle_in: sizes.weight.c() as u32,
            bundle_out: (sizes.weight.n() / sizes.window.groups) as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// The same with a bias as the first summand, and with max(., 0) or an activation as the last step.
    pub fn activated(self, has_bias: bool, relu: bool, activation: Option<Activation>) -> Params {
        let numbers = activation.map_or([0.0; 2], |activation| activation.numbers());
        Params { has_bias: has_bias.into(), relu: relu.into(), numbers, ..self }
    }

    /// The same with a value of the result's shape added to each sum.
    pub fn adding(self, addend: Option<View>) -> Params {
        match addend {
            Some(View { offset, stride, .. }) => Params { has_addend: 1, a_offset: offset, a_stride: stride, ..self },
            None => self,
        }
    }

    /// The same with each sum over pixels in so many parts.
    pub fn in_parts(self, splits: u32) -> Params {
        Params { splits, ..self }
    }

    /// The same with zero where `mask` is not positive.
    pub fn masking(self, mask: Option<View>) -> Params {
        match mask {
            Some(View { offset, stride, .. }) => Params { mask: 1, m_offset: offset, m_stride: stride, ..self },
            None => self,
        }
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
    let kernel = activated(Kernel::new(&SHADER, "forward"), activation);
    recorder.launch(kernel, params, bindings, invocations, 1, sizes.flops());
}

/// A kernel with an activation as its last step. Which one is a constant: a switch over all would be in the way of every
/// convolution, and no network has many.
pub(super) fn activated(kernel: Kernel, activation: Option<Activation>) -> Kernel {
    match activation {
        Some(activation) => kernel.with("ACTIVATION", activation.number()),
        None => kernel,
    }
}

/// Appends the gradient of `x`.
pub(super) fn grad_input(recorder: &mut Recorder, sizes: &Sizes, params: &Params, bindings: &[(u32, BufferId)]) {
    let invocations = sizes.pixels_of_phase().div_ceil(BLOCK) * sizes.x.groups();
    let kernel = Kernel::new(&SHADER, "grad_input");
    recorder.launch(kernel, params, bindings, invocations, sizes.phases(), sizes.flops());
}

/// Appends the gradient of the weights.
pub(super) fn grad_weight(recorder: &mut Recorder, sizes: &Sizes, [x, grad_y, grad_weight]: [View; 3]) {
    let params = Params::new(sizes, x, grad_y);
    let invocations = sizes.taps() * sizes.x.groups().div_ceil(2) * sizes.y.groups();
    let bindings = [(1, x.buffer), (5, grad_y.buffer), (6, grad_weight.buffer)];
    recorder.launch(Kernel::new(&SHADER, "grad_weight"), &params, &bindings, invocations, 1, sizes.flops());
}

/// Appends the gradient of the bias.
pub(super) fn grad_bias(recorder: &mut Recorder, sizes: &Sizes, [x, grad_y, grad_bias]: [View; 3]) {
    let params = Params::new(sizes, x, grad_y);
    let bindings = [(5, grad_y.buffer), (6, grad_bias.buffer)];
    let kernel = Kernel::new(&SHADER, "grad_bias");
    recorder.launch_workgroups(kernel, &params, &bindings, sizes.y.groups(), grad_y.vectors() * 4);
}
