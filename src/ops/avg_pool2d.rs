//! Mean over windows.

use super::pass::{Backward, Domain, Forward, Op, Pooling, Sample, View, arguments, pooled};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Mean over windows that may overlap, with zero padding.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, OH, OW] with OH = floor or ceil of (H + top + bottom − KH) / stride, plus 1; with
/// `ceil_mode` a last window that would start outside is dropped.
///
/// **Errors** [`Error::TooSmall`](crate::Error::TooSmall) when no window fits, [`Error::Shape`](crate::Error::Shape) when
/// the padding is more than half the kernel.
///
/// **Reference** `torch.nn.functional.avg_pool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Size of the window, [height, width].
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zeros around the input: [top, left] and [bottom, right].
    pub padding: [[usize; 2]; 2],
    /// Whether a last window may reach beyond the padding.
    pub ceil_mode: bool,
    /// Whether the sum is divided by the pixels that the window sees of the input and of the padding, not of the input alone.
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
    end_h: u32,
    end_w: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("avg_pool2d", Params);

impl AvgPool2d {
    /// Square windows, with zeros that count and no window beyond them.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [[padding; 2]; 2]);
        AvgPool2d { kernel, stride, padding, ceil_mode: false, count_include_pad: true }
    }

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
            pad_h: self.padding[0][0] as u32,
            pad_w: self.padding[0][1] as u32,
            end_h: (x.shape.h() + self.padding[0][0] + self.padding[1][0]) as u32,
            end_w: (x.shape.w() + self.padding[0][1] + self.padding[1][1]) as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: [0; 2],
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
        let AvgPool2d { kernel, stride, padding, ceil_mode, .. } = *self;
        pooled(self.name(), x, Pooling { kernel, stride, padding, dilation: [1; 2], ceil_mode })
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
        let op = AvgPool2d { kernel, stride, padding: [padding; 2], ceil_mode: false, count_include_pad };
        Sample::new(op, [Domain::linear(Shape(x))])
    };
    let uneven = |kernel, stride, padding, count_include_pad, x: [usize; 4]| {
        let op = AvgPool2d { kernel, stride, padding, ceil_mode: true, count_include_pad };
        Sample::new(op, [Domain::linear(Shape(x))])
    };
    vec![
        sample([3, 3], [1, 1], [1, 1], true, [2, 3, 7, 5]),
        sample([3, 3], [1, 1], [1, 1], false, [1, 8, 6, 5]),
        sample([5, 5], [3, 3], [0, 0], true, [1, 5, 13, 12]),
        sample([2, 4], [3, 2], [1, 2], false, [2, 3, 9, 11]),
        uneven([3, 3], [2, 2], [[1, 1], [1, 1]], true, [2, 3, 8, 6]),
        uneven([3, 2], [2, 3], [[0, 1], [1, 0]], false, [1, 5, 8, 9]),
        uneven([3, 5], [3, 4], [[1, 0], [0, 2]], true, [1, 3, 7, 8]),
    ]
}
