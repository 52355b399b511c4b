//! Mean over as many windows as the output has pixels.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Mean over windows that divide the input as evenly as whole pixels allow.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, OH, OW] as asked for; window i of OH goes from floor(i·H/OH) to ceil((i+1)·H/OH).
///
/// **Errors** [`Error::TooSmall`] when the input has no pixels, [`Error::Shape`] when the output has none.
///
/// **Reference** `torch.nn.functional.adaptive_avg_pool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    /// Size of the output, [height, width].
    pub output: [usize; 2],
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    h: u32,
    w: u32,
    groups: u32,
    oh: u32,
    ow: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("adaptive_avg_pool2d", Params);

fn params(x: View, y: View) -> Params {
    Params {
        n: x.shape.n() as u32,
        h: x.shape.h() as u32,
        w: x.shape.w() as u32,
        groups: x.shape.groups() as u32,
        oh: y.shape.h() as u32,
        ow: y.shape.w() as u32,
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: [0; 2],
    }
}

impl Op for AdaptiveAvgPool2d {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let [oh, ow] = self.output;
        let size = format!("{oh}x{ow}");
        if oh * ow == 0 {
            return Err(Error::shape(self.name(), "output", "at least 1x1", size));
        }
        if x.h() * x.w() == 0 {
            return Err(Error::TooSmall { op: self.name().into(), input: x, kernel: size });
        }
        Ok(Shape::new(x.n(), x.c(), oh, ow))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let (kernel, bindings) = (Kernel::new(&SHADER, "forward"), [(1, x.buffer), (3, y.buffer)]);
        recorder.launch(kernel, &params(x, y), &bindings, y.vectors(), 1, x.vectors() * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let g = pass.grad_output;
        let (kernel, bindings) = (Kernel::new(&SHADER, "grad_input"), [(2, g.buffer), (3, grad_x.buffer)]);
        recorder.launch(kernel, &params(grad_x, g), &bindings, grad_x.vectors(), 1, grad_x.vectors() * 4);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |output, x: [usize; 4]| Sample::new(AdaptiveAvgPool2d { output }, [Domain::linear(Shape(x))]);
    vec![
        sample([1, 1], [2, 6, 10, 9]),
        sample([4, 4], [1, 3, 18, 13]),
        sample([4, 3], [2, 5, 3, 7]),
        sample([2, 7], [1, 8, 8, 7]),
    ]
}
