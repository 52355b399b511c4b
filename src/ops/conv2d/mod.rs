//! Two-dimensional convolution, of which a linear layer is the case of a window that covers its input.

mod choice;
mod registers;
mod sizes;
mod subgroup;
mod tiled;
mod tiled_weight;

pub use choice::{Pass, Problem, alone, choose};
pub use sizes::Sizes;

pub(super) use registers::SHADER;

use std::any::Any;
use std::sync::Arc;

use self::registers::Params;
use self::tiled::Epilogue;
use super::add::Add;
use super::batch_norm::BatchNorm;
use super::fold::{FoldBias, FoldWeight};
use super::pass::{Backward, Domain, Finish, Forward, Op, Sample, View, same};
use super::relu::Relu;
use crate::device::{Recorder, Shader, Tiling, Variant};
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

/// Kernel files that compute what [`SHADER`] does, for other adapters.
pub(super) const VARIANTS: &[&Shader] = &[&subgroup::SHADER, &tiled::SHADER, &tiled_weight::SHADER];

impl Conv2d {
    /// Stride and padding equal in both directions.
    pub fn new(stride: usize, padding: usize) -> Self {
        Conv2d { stride: [stride; 2], padding: [padding; 2], relu: false }
    }

    fn sizes(&self, x: Shape, weight: Shape, y: Shape) -> Sizes {
        Sizes { x, weight, y, stride: self.stride, padding: self.padding }
    }
}

fn variant(recorder: &Recorder, pass: Pass, sizes: Sizes) -> Variant {
    choose(&Problem { pass, sizes }, &recorder.tuning().tiling)
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        if !(2..=4).contains(&inputs.len()) {
            return Err(Error::shape(self.name(), "number of arguments", "2 to 4", inputs.len()));
        }
        let y = Sizes::of(inputs[0], inputs[1], self.stride, self.padding)?.y;
        for ((what, expected), &found) in
            [("bias", Shape::channels(y.c())), ("residual", y)].into_iter().zip(&inputs[2..])
        {
            same(self.name(), what, expected, found)?;
        }
        Ok(y)
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, weight, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let sizes = self.sizes(x.shape, weight.shape, y.shape);
        let bias = pass.inputs.get(2);
        let residual = pass.inputs.get(3).copied();
        if let Variant::Tiled(tile, splits) = variant(recorder, Pass::Forward, sizes) {
            let epilogue = Epilogue { bias: bias.copied(), addend: residual, relu: self.relu, mask: None };
            return tiled::forward(recorder, &sizes, [x, weight, y], epilogue, (tile, splits));
        }
        let params = Params::new(&sizes, x, y).activated(bias.is_some(), self.relu).adding(residual);
        // The kernel names what it may read, so something must be bound there.
        let bias = bias.unwrap_or(&weight).buffer;
        let addend = residual.unwrap_or(weight).buffer;
        let bindings = [(1, x.buffer), (2, weight.buffer), (3, bias), (4, addend), (6, y.buffer)];
        if subgroup::suits(recorder, sizes.y) {
            subgroup::forward(recorder, &sizes, &params, &bindings);
        } else {
            registers::forward(recorder, &sizes, &params, &bindings);
        }
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (x, weight, g) = (pass.inputs[0], pass.inputs[1], pass.grad_output);
        let sizes = self.sizes(x.shape, weight.shape, g.shape);
        if let Some(grad_x) = pass.grads[0] {
            record_grad_input(recorder, &sizes, [x, weight, g, grad_x], pass.finish);
        }
        if let Some(grad_weight) = pass.grads[1] {
            match variant(recorder, Pass::GradWeight, sizes) {
                Variant::Tiled(tile, splits) => {
                    tiled_weight::grad_weight(recorder, &sizes, [x, g, grad_weight], (tile, splits));
                }
                Variant::Registers => registers::grad_weight(recorder, &sizes, [x, g, grad_weight]),
            }
        }
        if let Some(grad_bias) = pass.grads.get(2).copied().flatten() {
            match recorder.tuning().tiling {
                Tiling::Always(Variant::Registers) => registers::grad_bias(recorder, &sizes, [x, g, grad_bias]),
                _ => tiled_weight::grad_bias(recorder, &sizes, [x, g, grad_bias]),
            }
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

    fn absorb(&self, arguments: usize, follower: &dyn Op) -> Option<Arc<dyn Op>> {
        let follower: &dyn Any = follower;
        // The kernel adds a residual after the bias, and rectifies last.
        if self.relu {
            None
        } else if follower.is::<Relu>() {
            Some(Arc::new(Conv2d { relu: true, ..*self }))
        } else if follower.is::<Add>() && arguments == 3 {
            Some(Arc::new(*self))
        } else {
            None
        }
    }

    fn fold(&self, arguments: usize, follower: &dyn Op) -> Option<[Arc<dyn Op>; 2]> {
        let &BatchNorm { eps } = (follower as &dyn Any).downcast_ref()?;
        (arguments <= 3 && !self.relu).then(|| [Arc::new(FoldWeight { eps }) as _, Arc::new(FoldBias { eps }) as _])
    }

    fn joins(&self, arguments: usize, sibling: &dyn Op) -> bool {
        arguments == 3 && (sibling as &dyn Any).downcast_ref() == Some(self)
    }

    fn has_tiles(&self) -> bool {
        true
    }
}

fn record_grad_input(recorder: &mut Recorder, sizes: &Sizes, [x, weight, g, grad_x]: [View; 4], finish: Finish) {
    let Finish { addend, mask } = finish;
    let mask = mask.then_some(x);
    if let Variant::Tiled(tile, splits) = variant(recorder, Pass::GradInput, *sizes) {
        let epilogue = Epilogue { addend, mask, ..Epilogue::default() };
        return tiled::grad_input(recorder, sizes, [g, weight, grad_x], epilogue, (tile, splits));
    }
    let params = Params::new(sizes, grad_x, g).adding(addend).masking(mask);
    // The kernel names what it may read, so something must be bound there.
    let [addend, mask] = [addend, mask].map(|value| value.unwrap_or(weight).buffer);
    let bindings = [(1, mask), (2, weight.buffer), (4, addend), (5, g.buffer), (6, grad_x.buffer)];
    if subgroup::suits(recorder, sizes.x) {
        subgroup::grad_input(recorder, sizes, &params, &bindings);
    } else {
        registers::grad_input(recorder, sizes, &params, &bindings);
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
