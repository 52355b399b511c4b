//! The update of a parameter by its gradient.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Stochastic gradient descent with momentum and weight decay. Without a gradient itself.
///
/// **Reference** `torch.optim.SGD` without dampening.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// Share of the velocity that each step keeps; 0 for none.
    pub momentum: f32,
    /// Multiple of the parameter that is added to its gradient.
    pub weight_decay: f32,
    /// Whether a step looks ahead along the velocity.
    pub nesterov: bool,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    grad_offset: u32,
    grad_stride: u32,
    rate_offset: u32,
    momentum: f32,
    weight_decay: f32,
    pad: u32,
}

shader!("sgd", Params);

impl Sgd {
    /// Whether [`Sgd::record`] wants a velocity.
    pub fn has_velocity(&self) -> bool {
        self.momentum != 0.0
    }

    /// Appends the update, in place, of a parameter of any layout that fills its buffer.
    ///
    /// `velocity` is as large as the parameter and zero before the first step; `rate` is [1, 1, 1, 1].
    ///
    /// # Panics
    /// When there is momentum and no velocity, or shapes differ, which is a mistake of the caller.
    pub fn record(&self, recorder: &mut Recorder, parameter: View, grad: View, velocity: Option<BufferId>, rate: View) {
        let (groups, grad_stride) = grad.run_of(parameter, SHADER.name);
        let params = Params {
            vectors: parameter.vectors() as u32,
            groups,
            grad_offset: grad.offset,
            grad_stride,
            rate_offset: rate.offset,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            pad: 0,
        };
        let mut bindings = vec![(1, grad.buffer), (2, rate.buffer), (4, parameter.buffer)];
        let kernel = if self.has_velocity() {
            bindings.push((3, velocity.expect("momentum comes with a velocity")));
            Kernel::new(&SHADER, "with_momentum").with("nesterov", self.nesterov)
        } else {
            Kernel::new(&SHADER, "plain")
        };
        recorder.launch(kernel, &params, &bindings, parameter.vectors(), 1, parameter.vectors() * 24);
    }
}
