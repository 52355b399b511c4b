//! A convolution and the frozen batch norm behind it as one convolution.

use super::pass::View;
use super::shader;
use crate::device::{Kernel, Recorder};

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
    pad: u32,
}

shader!("fold", Params);

impl Fold {
    /// Appends what writes `folded`, of the shape of `weight`, and `shift` [1, Cout, 1, 1]. `norm` is the batch norm's weight,
    /// bias, running mean and running variance.
    pub fn record(&self, recorder: &mut Recorder, weight: View, norm: [View; 4], folded: View, shift: View) {
        let groups = shift.shape.groups();
        let rows = weight.vectors() / groups;
        let params = Params { rows: rows as u32, groups: groups as u32, eps: self.eps, pad: 0 };
        let [scale, bias, mean, var] = norm.map(|view| view.buffer);
        let bindings =
            [(1, weight.buffer), (2, scale), (3, bias), (4, mean), (5, var), (6, folded.buffer), (7, shift.buffer)];
        let kernel = Kernel::new(&SHADER, "update");
        recorder.launch(kernel, &params, &bindings, weight.vectors(), 1, weight.vectors() * 4);
    }
}
