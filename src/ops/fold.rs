//! A convolution and the frozen batch norm behind it as one convolution.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Weights and bias of the one convolution that does what a convolution without bias and a
/// [`BatchNorm`](super::BatchNorm) do one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fold {
    /// Added to the variance.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    groups: u32,
    eps: f32,
    offset: u32,
    stride: u32,
    pad: [u32; 3],
}

shader!("fold", Params);

impl Fold {
    /// Appends what writes `folded`, weights [Cout, Cin, KH, KW], and `shift` [1, Cout, 1, 1]; where the latter is a part of a
    /// longer vector, weights go to the same output channels of `folded`. `norm` is the batch norm's weight, bias, running
    /// mean and running variance.
    pub fn record(&self, recorder: &mut Recorder, weight: View, norm: [View; 4], folded: BufferId, shift: View) {
        let groups = shift.shape.groups();
        let rows = weight.vectors() / groups;
        let params = Params {
            rows: rows as u32,
            groups: groups as u32,
            eps: self.eps,
            offset: shift.offset,
            stride: shift.stride,
            pad: [0; 3],
        };
        let [scale, bias, mean, var] = norm.map(|view| view.buffer);
        let bindings = [(1, weight.buffer), (2, scale), (3, bias), (4, mean), (5, var), (6, folded), (7, shift.buffer)];
        let kernel = Kernel::new(&SHADER, "update");
        recorder.launch(kernel, &params, &bindings, weight.vectors(), 1, weight.vectors() * 4);
    }
}
