//! The update of a parameter by its gradient and running means of that.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Adam. Without a gradient itself.
///
/// **Reference** Kingma and Ba 2015, algorithm 1; `torch.optim.Adam`, whose `weight_decay` joins the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Shares of the running means of the gradient and of its square that each step keeps.
    pub betas: [f32; 2],
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Multiple of the parameter that is added to its gradient.
    pub weight_decay: f32,
}

impl Default for Adam {
    /// torch's defaults.
    fn default() -> Self {
        Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    grad_offset: u32,
    grad_stride: u32,
    rate_offset: u32,
    beta1: f32,
    beta2: f32,
    ln_beta1: f32,
    ln_beta2: f32,
    eps: f32,
    weight_decay: f32,
    pad: u32,
}

shader!("adam", Params);

impl Adam {
    /// Appends the update, in place, of a parameter of any layout that fills its buffer.
    ///
    /// `means` are the running means of the gradient and of its square, as large as the parameter and zero before the first
    /// step; `rate` is [1, 1, 1, 1]; `step` holds the step counted from 0, as [`Advance`](super::Advance) keeps it.
    ///
    /// # Panics
    /// When shapes differ, which is a mistake of the caller.
    pub fn record(
        &self,
        recorder: &mut Recorder,
        parameter: View,
        grad: View,
        means: [BufferId; 2],
        rate: View,
        step: BufferId,
    ) {
        let (groups, grad_stride) = grad.run_of(parameter, SHADER.name);
        let [beta1, beta2] = self.betas;
        let ln = |beta: f32| f64::from(beta).ln() as f32;
        let params = Params {
            vectors: parameter.vectors() as u32,
            groups,
            grad_offset: grad.offset,
            grad_stride,
            rate_offset: rate.offset,
            beta1,
            beta2,
            ln_beta1: ln(beta1),
            ln_beta2: ln(beta2),
            eps: self.eps,
            weight_decay: self.weight_decay,
            pad: 0,
        };
        let [m, v] = means;
        let bindings = [(1, grad.buffer), (2, rate.buffer), (3, step), (4, m), (5, v), (6, parameter.buffer)];
        recorder.launch(
            Kernel::new(&SHADER, "update"),
            &params,
            &bindings,
            parameter.vectors(),
            1,
            parameter.vectors() * 60,
        );
    }
}
