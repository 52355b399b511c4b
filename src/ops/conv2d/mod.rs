//! Two-dimensional convolution, of which a linear layer is the case of a window that covers its input.

mod choice;
mod subgroup;
mod tiled;
mod tiled_weight;

pub use choice::{Pass, Problem, alone, choose};

use self::tiled::Epilogue;
use super::pass::{Backward, Domain, Finish, Forward, Op, Sample, View, same, windows};
use super::shader;
use crate::device::{Kernel, Recorder, Shader, Tiling, Variant};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Cross-correlation with zero padding, as `torch.nn.functional.conv2d` with one group; then, where they are wanted, the sum
/// with a residual and max(., 0), in the same kernel.
///
/// **Shapes** `x` [N, Cin, H, W], `weight` [Cout, Cin, KH, KW], optionally `bias` [1, Cout, 1, 1], after which optionally
/// `residual` [N, Cout, OH, OW] -> [N, Cout, OH, OW] with OH = floor((H + 2·padding − KH) / stride) + 1.
///
/// **Errors** [`Error::Shape`] when channels or the residual differ, [`Error::TooSmall`] when no window fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Step of the window, [height, width].
    pub stride: [usize; 2],
    /// Zeros around the input, [height, width].
    pub padding: [usize; 2],
    /// Whether the result is max(., 0).
    pub relu: bool,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    n: u32,
    h: u32,
    w: u32,
    c_in: u32,
    oh: u32,
    ow: u32,
    c_out: u32,
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
    has_bias: u32,
    has_addend: u32,
    a_offset: u32,
    a_stride: u32,
    relu: u32,
    mask: u32,
    m_offset: u32,
    m_stride: u32,
    pad: [u32; 3],
}

shader!("conv2d", Params);

/// Kernel files that compute what [`SHADER`] does, for other adapters.
pub(super) const VARIANTS: &[&Shader] = &[&subgroup::SHADER, &tiled::SHADER, &tiled_weight::SHADER];

/// Pixels that one invocation computes.
const BLOCK: usize = 8;

impl Conv2d {
    /// Stride and padding equal in both directions.
    pub fn new(stride: usize, padding: usize) -> Self {
        Conv2d { stride: [stride; 2], padding: [padding; 2], relu: false }
    }

    fn variant(&self, recorder: &Recorder, pass: Pass, x: Shape, weight: Shape, y: Shape) -> Variant {
        let (stride, padding) = (self.stride, self.padding);
        choose(&Problem { pass, x, weight, y, stride, padding }, &recorder.tuning().tiling)
    }

    fn params(&self, x: View, weight: Shape, y: View) -> Params {
        let [n, _, h, w] = x.shape.0.map(|size| size as u32);
        Params {
            n,
            h,
            w,
            c_in: x.shape.groups() as u32,
            oh: y.shape.h() as u32,
            ow: y.shape.w() as u32,
            c_out: y.shape.groups() as u32,
            kh: weight.h() as u32,
            kw: weight.w() as u32,
            stride_h: self.stride[0] as u32,
            stride_w: self.stride[1] as u32,
            pad_h: self.padding[0] as u32,
            pad_w: self.padding[1] as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            has_bias: 0,
            has_addend: 0,
            a_offset: 0,
            a_stride: 0,
            relu: 0,
            mask: 0,
            m_offset: 0,
            m_stride: 0,
            pad: [0; 3],
        }
    }
}

impl Params {
    /// The same with a value of the result's shape added to each sum.
    fn adding(self, addend: Option<View>) -> Params {
        match addend {
            Some(View { offset, stride, .. }) => Params { has_addend: 1, a_offset: offset, a_stride: stride, ..self },
            None => self,
        }
    }
}

/// Multiplications and additions of a convolution; its gradients cost the same.
fn flops(weight: Shape, y: Shape) -> usize {
    2 * weight.elements() * y.pixels()
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        if !(2..=4).contains(&inputs.len()) {
            return Err(Error::shape(self.name(), "number of arguments", "2 to 4", inputs.len()));
        }
        let (x, weight) = (inputs[0], inputs[1]);
        if weight.c() != x.c() {
            return Err(Error::shape(self.name(), "input channels of x", weight.c(), x.c()));
        }
        let [kh, kw] = [weight.h(), weight.w()];
        let oh = windows(x.h(), kh, self.stride[0], self.padding[0], false);
        let ow = windows(x.w(), kw, self.stride[1], self.padding[1], false);
        let (Some(oh), Some(ow)) = (oh, ow) else {
            return Err(Error::TooSmall { op: self.name().into(), input: x, kernel: format!("{kh}x{kw}") });
        };
        let y = Shape::new(x.n(), weight.n(), oh, ow);
        for ((what, expected), &found) in
            [("bias", Shape::channels(y.c())), ("residual", y)].into_iter().zip(&inputs[2..])
        {
            same(self.name(), what, expected, found)?;
        }
        Ok(y)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, weight, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let bias = pass.inputs.get(2);
        let residual = pass.inputs.get(3).copied();
        if let Variant::Tiled(tile, splits) = self.variant(recorder, Pass::Forward, x.shape, weight.shape, y.shape) {
            let epilogue = Epilogue { bias: bias.copied(), addend: residual, relu: self.relu, mask: None };
            return self.forward_tiled(recorder, [x, weight, y], epilogue, (tile, splits));
        }
        let params = Params {
            has_bias: bias.is_some().into(),
            relu: self.relu.into(),
            ..self.params(x, weight.shape, y).adding(residual)
        };
        // The kernel names what it may read, so something must be bound there.
        let bias = bias.unwrap_or(&weight).buffer;
        let addend = residual.unwrap_or(weight).buffer;
        let bindings = [(1, x.buffer), (2, weight.buffer), (3, bias), (4, addend), (6, y.buffer)];
        let flops = flops(weight.shape, y.shape);
        if subgroup::suits(recorder, y.shape) {
            return subgroup::forward(recorder, params, &bindings, y.shape, flops);
        }
        let kernel = Kernel::new(&SHADER, "forward");
        let invocations = y.shape.pixels().div_ceil(BLOCK) * y.shape.groups();
        recorder.launch(kernel, &params, &bindings, invocations, 1, flops);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (x, weight, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        let flops = flops(weight.shape, g.shape);
        let variant = |recorder: &Recorder, pass| self.variant(recorder, pass, x.shape, weight.shape, g.shape);
        let [grad_x, grad_weight] = [pass.grads[0], pass.grads[1]];
        let grad_bias = pass.grads.get(2).copied().flatten();
        let Finish { addend, mask } = pass.finish;
        if let Some(grad_x) = grad_x
            && let Variant::Tiled(tile, splits) = variant(recorder, Pass::GradInput)
        {
            let epilogue = Epilogue { addend, mask: mask.then_some(x), ..Epilogue::default() };
            self.grad_input_tiled(recorder, [g, weight, grad_x], epilogue, (tile, splits));
        } else if let Some(grad_x) = grad_x {
            let params = self.params(grad_x, weight.shape, g).adding(addend);
            let params = Params { mask: mask.into(), m_offset: x.offset, m_stride: x.stride, ..params };
            let [rows, columns] = [x.shape.h().div_ceil(self.stride[0]), x.shape.w().div_ceil(self.stride[1])];
            let invocations = (x.shape.n() * rows * columns).div_ceil(BLOCK) * x.shape.groups();
            let phases = self.stride[0] * self.stride[1];
            // The kernel names what it may read, so something must be bound there.
            let addend = addend.unwrap_or(weight).buffer;
            let mask = if mask { x } else { weight }.buffer;
            let bindings = [(1, mask), (2, weight.buffer), (4, addend), (5, g.buffer), (6, grad_x.buffer)];
            if subgroup::suits(recorder, x.shape) {
                subgroup::grad_input(recorder, params, &bindings, (x.shape, self.stride), flops);
            } else {
                recorder.launch(Kernel::new(&SHADER, "grad_input"), &params, &bindings, invocations, phases, flops);
            }
        }
        if let Some(grad_weight) = grad_weight
            && let Variant::Tiled(tile, splits) = variant(recorder, Pass::GradWeight)
        {
            self.grad_weight_tiled(recorder, [x, g, grad_weight], (tile, splits));
        } else if let Some(grad_weight) = grad_weight {
            let params = self.params(x, weight.shape, g);
            let taps = weight.shape.h() * weight.shape.w();
            let invocations = taps * x.shape.groups().div_ceil(2) * g.shape.groups();
            let bindings = [(1, x.buffer), (5, g.buffer), (6, grad_weight.buffer)];
            recorder.launch(Kernel::new(&SHADER, "grad_weight"), &params, &bindings, invocations, 1, flops);
        }
        let on_gpu = !matches!(recorder.tuning().tiling, Tiling::Always(Variant::Registers));
        if let Some(grad_bias) = grad_bias.filter(|_| on_gpu) {
            self.grad_bias_tiled(recorder, x, weight.shape, [g, grad_bias]);
        } else if let Some(grad_bias) = grad_bias {
            let params = self.params(x, weight.shape, g);
            let bindings = [(5, g.buffer), (6, grad_bias.buffer)];
            let kernel = Kernel::new(&SHADER, "grad_bias");
            recorder.launch_workgroups(kernel, &params, &bindings, g.shape.groups(), g.vectors() * 4);
        }
        Ok(())
    }

    /// A residual's gradient is that of the sum.
    fn passes_gradient(&self, input: usize) -> bool {
        input == 3
    }

    fn rectifies(&self) -> bool {
        self.relu
    }

    fn finishes(&self) -> bool {
        true
    }

    fn has_tiles(&self) -> bool {
        true
    }
}

/// Configurations for tests and benches, without relu, whose kinks lie anywhere.
pub fn samples() -> Vec<Sample> {
    let sample = |stride, padding, x: [usize; 4], weight: [usize; 4]| {
        let inputs = [Domain::linear(Shape(x)), Domain::filter(Shape(weight))];
        Sample::new(Conv2d { stride, padding, relu: false }, inputs)
    };
    let with_bias = Sample::new(
        Conv2d::new(1, 1),
        [
            Domain::linear(Shape::new(2, 5, 7, 6)),
            Domain::filter(Shape::new(9, 5, 3, 3)),
            Domain::linear(Shape::channels(9)),
        ],
    );
    let with_residual = Sample::new(
        Conv2d::new(2, 1),
        [
            Domain::linear(Shape::new(2, 5, 7, 6)),
            Domain::filter(Shape::new(6, 5, 3, 3)),
            Domain::linear(Shape::channels(6)),
            Domain::linear(Shape::new(2, 6, 4, 3)),
        ],
    );
    vec![
        sample([1, 1], [1, 1], [2, 5, 7, 6], [6, 5, 3, 3]),
        sample([2, 2], [3, 3], [1, 3, 19, 17], [8, 3, 7, 7]),
        sample([2, 2], [0, 0], [2, 8, 9, 8], [10, 8, 1, 1]),
        sample([1, 1], [0, 3], [2, 4, 8, 10], [6, 4, 1, 7]),
        sample([3, 2], [1, 2], [1, 3, 11, 12], [4, 3, 2, 3]),
        sample([1, 1], [0, 0], [3, 6, 5, 5], [9, 6, 5, 5]),
        // More channels than half of the lanes that share them, and no multiple.
        sample([1, 1], [1, 1], [2, 13, 5, 7], [18, 13, 3, 3]),
        sample([2, 2], [0, 1], [1, 36, 6, 5], [38, 36, 2, 3]),
        sample([3, 2], [1, 2], [3, 16, 1, 12], [16, 16, 2, 3]),
        with_bias,
        with_residual,
    ]
}
