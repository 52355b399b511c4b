//! Mean over windows.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, pooled};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Mean over windows that may overlap, with zero padding.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, OH, OW] with OH = floor((H + 2·padding − KH) / stride) + 1.
///
/// **Errors** [`Error::TooSmall`](crate::Error::TooSmall) when no window fits, [`Error::Shape`](crate::Error::Shape) when
/// the padding is more than half the kernel.
///
/// **Reference** `torch.nn.functional.avg_pool2d` without `ceil_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Size of the window, [height, width].
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// Whether the sum is divided by the size of the window, instead of by the pixels that it sees of the input.
    pub count_include_pad: bool,
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
}

shader!("avg_pool2d", Params);

impl AvgPool2d {
    fn params(&self, x: View, y: View) -> Params {
        Params {
            n: x.shape.n() as u32,
            h: x.shape.h() as u32,
            w: x.shape.w() as u32,
            groups: x.shape.groups() as u32,
            oh: y.shape.h() as u32,
            ow: y.shape.w() as u32,
            kh: self.kernel[0] as u32,
            kw: self.kernel[1] as u32,
            stride_h: self.stride[0] as u32,
            stride_w: self.stride[1] as u32,
            pad_h: self.padding[0] as u32,
            pad_w: self.padding[1] as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
        }
    }

    fn kernel(&self, entry: &'static str) -> Kernel {
        Kernel::new(&SHADER, entry).with("count_include_pad", self.count_include_pad)
    }

    /// Additions of a forward pass.
    fn flops(&self, y: View) -> usize {
        y.vectors() * 4 * self.kernel[0] * self.kernel[1]
    }
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        pooled(self.name(), x, self.kernel, self.stride, self.padding, false)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let bindings = [(1, x.buffer), (3, y.buffer)];
        recorder.launch(self.kernel("forward"), &self.params(x, y), &bindings, y.vectors(), 1, self.flops(y));
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let g = pass.grad_output;
        let (params, bindings) = (self.params(grad_x, g), [(2, g.buffer), (3, grad_x.buffer)]);
        recorder.launch(self.kernel("grad_input"), &params, &bindings, grad_x.vectors(), 1, self.flops(g));
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |kernel, stride, padding, count_include_pad, x: [usize; 4]| {
        Sample::new(AvgPool2d { kernel, stride, padding, count_include_pad }, [Domain::linear(Shape(x))])
    };
    vec![
        sample([3, 3], [1, 1], [1, 1], true, [2, 3, 7, 5]),
        sample([3, 3], [1, 1], [1, 1], false, [1, 8, 6, 5]),
        sample([5, 5], [3, 3], [0, 0], true, [1, 5, 13, 12]),
        sample([2, 4], [3, 2], [1, 2], false, [2, 3, 9, 11]),
    ]
}
