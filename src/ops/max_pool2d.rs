//! Maximum over windows.

use super::pass::{Backward, Domain, Forward, Op, Pooling, Sample, View, arguments, pooled};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// Maximum over windows that may overlap, with padding of minus infinity; the first maximum in row-major order takes the
/// whole gradient.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, OH, OW] with OH = floor or ceil of (H + top + bottom − dilation·(KH − 1) − 1) / stride, plus
/// 1; with `ceil_mode` a last window that would start outside is dropped.
///
/// **Errors** [`Error::TooSmall`](crate::Error::TooSmall) when no window fits or one sees no pixel,
/// [`Error::Shape`](crate::Error::Shape) when the padding is more than half the window.
///
/// **Reference** `torch.nn.functional.max_pool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Size of the window, [height, width].
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Pixels around the input: [top, left] and [bottom, right].
    pub padding: [[usize; 2]; 2],
    /// Step from one tap of the window to the next, [height, width].
    pub dilation: [usize; 2],
    /// Whether a last window may reach beyond the padding.
    pub ceil_mode: bool,
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
    dilation_h: u32,
    dilation_w: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 2],
}

shader!("max_pool2d", Params);

impl MaxPool2d {
    /// Square windows of neighbouring pixels, none of which reaches beyond the padding.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [[padding; 2]; 2]);
        MaxPool2d { kernel, stride, padding, dilation: [1; 2], ceil_mode: false }
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
            dilation_h: self.dilation[0] as u32,
            dilation_w: self.dilation[1] as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: [0; 2],
        }
    }

    /// Comparisons of a forward pass.
    fn flops(&self, y: View) -> usize {
        y.vectors() * 4 * self.kernel[0] * self.kernel[1]
    }
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let MaxPool2d { kernel, stride, padding, dilation, ceil_mode } = *self;
        pooled(self.name(), x, Pooling { kernel, stride, padding, dilation, ceil_mode })
    }

    /// Where each maximum was, iy·W + ix: the bits of a `u32`, not of a number.
    fn saved(&self, inputs: &[Shape]) -> Vec<Shape> {
        let shape = self.output_shape(inputs);
        vec![shape.expect("the shapes were checked when the operation was applied")]
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y, argmax) = (pass.inputs[0], pass.output, pass.saved[0]);
        let bindings = [(1, x.buffer), (4, y.buffer), (5, argmax.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch(kernel, &self.params(x, y), &bindings, y.vectors(), 1, self.flops(y));
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (g, argmax) = (pass.grad_output, pass.saved[0]);
        let bindings = [(2, argmax.buffer), (3, g.buffer), (4, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch(kernel, &self.params(grad_x, g), &bindings, grad_x.vectors(), 1, self.flops(g));
        Ok(())
    }

    fn selects(&self) -> bool {
        true
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |kernel, stride, padding, ceil_mode, x: [usize; 4]| {
        let op = MaxPool2d { kernel, stride, padding: [padding; 2], dilation: [1; 2], ceil_mode };
        Sample::new(op, [Domain::Apart(Shape(x))])
    };
    let wide = |stride, padding, dilation, ceil_mode, x: [usize; 4]| {
        Sample::new(MaxPool2d { kernel: [3, 2], stride, padding, dilation, ceil_mode }, [Domain::Apart(Shape(x))])
    };
    vec![
        sample([3, 3], [2, 2], [1, 1], false, [2, 3, 7, 6]),
        sample([3, 3], [2, 2], [0, 0], true, [1, 5, 8, 7]),
        sample([3, 3], [1, 1], [1, 1], true, [1, 8, 5, 4]),
        sample([2, 3], [3, 2], [1, 0], true, [2, 3, 9, 11]),
        sample([3, 3], [2, 2], [0, 0], true, [2, 5, 2, 2]),
        wide([1, 1], [[2, 1], [2, 1]], [2, 3], false, [2, 3, 7, 6]),
        wide([2, 3], [[0, 1], [1, 0]], [1, 2], true, [1, 5, 6, 9]),
        wide([2, 2], [[0, 0], [1, 1]], [1, 1], false, [1, 4, 6, 7]),
    ]
}
