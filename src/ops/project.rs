//! The update of a picture that climbs a gradient and stays near another: an attack.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder};

/// Steps of an attack within an L2 ball around each clean picture. Without a gradient itself.
///
/// **Shapes** `clean`, `picture`, `grad` [N, C, H, W]; the first two fill their buffers.
///
/// **Units and ranges** Pixel values 0..1, radius and rate in their units.
///
/// **Reference** Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", with the L2 norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Project {
    /// Largest L2 distance from the clean picture.
    pub radius: f32,
    /// Length of a step along the gradient.
    pub rate: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    c: u32,
    groups: u32,
    size: u32,
    grad_offset: u32,
    grad_stride: u32,
    seed: u32,
    radius: f32,
    rate: f32,
    pad: [u32; 3],
}

shader!("project", Params);

impl Project {
    /// Appends `picture = clean + a random offset` in a random direction, of a length between 0 and the radius. `step` holds
    /// the step counted from 0, as [`Advance`](super::Advance) keeps it: every step has other numbers.
    pub fn start(&self, recorder: &mut Recorder, clean: View, picture: View, step: BufferId, seed: u32) {
        let params = Params { seed, ..self.params(picture) };
        let bindings = [(1, clean.buffer), (3, step), (4, picture.buffer)];
        let kernel = Kernel::new(&SHADER, "start");
        recorder.launch_workgroups(kernel, &params, &bindings, picture.shape.n(), picture.vectors() * 200);
    }

    /// Appends one step of `picture` along `grad`, back into the ball and between 0 and 1.
    pub fn climb(&self, recorder: &mut Recorder, clean: View, picture: View, grad: View) {
        let params = Params { grad_offset: grad.offset, grad_stride: grad.stride, ..self.params(picture) };
        let bindings = [(1, clean.buffer), (2, grad.buffer), (4, picture.buffer)];
        let kernel = Kernel::new(&SHADER, "climb");
        recorder.launch_workgroups(kernel, &params, &bindings, picture.shape.n(), picture.vectors() * 60);
    }

    fn params(&self, picture: View) -> Params {
        let [n, c, h, w] = picture.shape.0;
        let groups = picture.shape.groups();
        Params {
            n: n as u32,
            c: c as u32,
            groups: groups as u32,
            size: (h * w * groups) as u32,
            grad_offset: 0,
            grad_stride: 0,
            seed: 0,
            radius: self.radius,
            rate: self.rate,
            pad: [0; 3],
        }
    }
}
