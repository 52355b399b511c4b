//! Rectified linear unit.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// y = max(x, 0), the gradient at 0 being 0 as in torch.
///
/// **Shapes** `x` [N, C, H, W] -> the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relu;

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    g_offset: u32,
    g_stride: u32,
}

shader!("relu", Params);

impl Relu {
    /// Appends grad_x = grad_y where y > 0, else 0, for values on and off the tape.
    pub(super) fn record_gradient(recorder: &mut Recorder, y: View, g: View, grad_x: View) {
        let params = Params {
            vectors: y.vectors() as u32,
            groups: y.shape.groups() as u32,
            x_offset: grad_x.offset,
            x_stride: grad_x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            g_offset: g.offset,
            g_stride: g.stride,
        };
        let bindings = [(2, y.buffer), (3, g.buffer), (4, grad_x.buffer)];
        recorder.launch(Kernel::new(&SHADER, "grad_input"), &params, &bindings, y.vectors(), 1, y.vectors() * 4);
    }
}

impl Op for Relu {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        Ok(x)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let params = Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            ..Params::default()
        };
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch(kernel, &params, &[(1, x.buffer), (4, y.buffer)], x.vectors(), 1, x.vectors() * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        if let Some(grad_x) = pass.grads[0] {
            Relu::record_gradient(recorder, pass.output, pass.grad_output, grad_x);
        }
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    vec![Sample::new(Relu, [Domain::Apart(Shape::new(2, 3, 7, 5))])]
}
