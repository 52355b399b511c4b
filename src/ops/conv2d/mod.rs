//! Two-dimensional convolution, of which a linear layer is the case of a window that covers its input.

mod choice;
mod grouped;
mod registers;
mod sizes;
mod subgroup;
mod tiled;
mod tiled_weight;

pub use choice::{Pass, Problem, alone, choose};
pub use sizes::{Sizes, Window};

pub(super) use registers::SHADER;

use std::any::Any;
use std::sync::Arc;

use self::choice::{Family, family};
use self::registers::Params;
use self::tiled::Epilogue;
use super::activation::Activation;
use super::add::Add;
use super::batch_norm::BatchNorm;
use super::fold::{FoldBias, FoldWeight};
use super::pass::{Backward, Domain, Finish, Forward, Live, Op, Sample, View, same};
use super::relu::Relu;
use crate::device::{Recorder, Shader, Tiling, Variant};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Cross-correlation with zero padding, as `torch.nn.functional.conv2d`; then, where they are wanted, the sum with a residual
/// and max(., 0) or another function, in the same kernel.
///
/// **Shapes** `x` [N, Cin, H, W], `weight` [Cout, Cin / groups, KH, KW], optionally `bias` [1, Cout, 1, 1], after which optionally
/// `residual` [N, Cout, OH, OW] -> [N, Cout, OH, OW] with OH = floor((H + top + bottom − dilation·(KH − 1) − 1) / stride) + 1.
/// Output channel co sees the input channels of group floor(co · groups / Cout) alone, of which there are Cin / groups.
///
/// **Errors** [`Error::Shape`] when channels or the residual differ, when channels do not come in so many groups, or when a
/// step is 0; [`Error::TooSmall`] when no window fits; [`Error::NoGradient`] for a function whose result does not say its slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Step of the window, [height, width].
    pub stride: [usize; 2],
    /// Zeros around the input: [top, left] and [bottom, right].
    pub padding: [[usize; 2]; 2],
    /// Step from one tap of the window to the next, [height, width].
    pub dilation: [usize; 2],
    /// Groups of channels, each of which sees its own input channels alone.
    pub groups: usize,
    /// Whether the result is max(., 0).
    pub relu: bool,
    /// Another function whose result it is; not with `relu`. The gradient is taken from the result; functions whose slope it
    /// does not say have none.
    pub activation: Option<Activation>,
}

/// Kernel files that compute what [`SHADER`] does, for other adapters.
pub(super) const VARIANTS: &[&Shader] =
    &[&grouped::SHADER, &grouped::depthwise::SHADER, &subgroup::SHADER, &tiled::SHADER, &tiled_weight::SHADER];

impl Conv2d {
    /// Stride and padding equal in both directions, neighbouring taps, one group.
    pub const fn new(stride: usize, padding: usize) -> Self {
        Conv2d {
            stride: [stride; 2],
            padding: [[padding; 2]; 2],
            dilation: [1; 2],
            groups: 1,
            relu: false,
            activation: None,
        }
    }

    /// One without a function behind it.
    pub fn of(Window { stride, padding, dilation, groups }: Window) -> Self {
        Conv2d { stride, padding, dilation, groups, relu: false, activation: None }
    }

    /// The gradient of what the activation is taken of, written into that of the residual where there is one: they are the same.
    fn gradient_before(&self, recorder: &mut Recorder, pass: &Backward) -> Result<View> {
        let g = pass.grad_output;
        let Some(function) = self.activation.filter(|_| self.live().is_none()) else { return Ok(g) };
        if !function.slope_is_in_result() {
            return Err(Error::NoGradient { op: self.name(), input: 0 });
        }
        let residual = pass.grads.get(3).copied().flatten();
        let before = residual.unwrap_or_else(|| View::transient(recorder, "gradient before the activation", g.shape));
        function.record_gradient_of_result(recorder, pass.output, g, before);
        Ok(before)
    }

    fn window(&self) -> Window {
        let Conv2d { stride, padding, dilation, groups, .. } = *self;
        Window { stride, padding, dilation, groups }
    }

    fn sizes(&self, x: Shape, weight: Shape, y: Shape) -> Sizes {
        Sizes { x, weight, y, window: self.window() }
    }
}

/// The variant for a pass; groups have none by tiles.
fn variant(recorder: &Recorder, pass: Pass, sizes: Sizes) -> Variant {
    if family(&sizes) != Family::Dense {
        return Variant::Registers;
    }
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
        let y = Sizes::of(inputs[0], inputs[1], self.window())?.y;
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
            let Conv2d { relu, activation, .. } = *self;
            let epilogue = Epilogue { bias: bias.copied(), addend: residual, relu, activation, mask: None };
            return tiled::forward(recorder, &sizes, [x, weight, y], epilogue, (tile, splits));
        }
        let params = Params::new(&sizes, x, y).activated(bias.is_some(), self.relu, self.activation).adding(residual);
        // The kernel names what it may read, so something must be bound there.
        let bias = bias.unwrap_or(&weight).buffer;
        let addend = residual.unwrap_or(weight).buffer;
        let bindings = [(1, x.buffer), (2, weight.buffer), (3, bias), (4, addend), (6, y.buffer)];
        if family(&sizes) != Family::Dense {
            grouped::forward(recorder, &sizes, &params, self.activation, &bindings);
        } else if subgroup::suits(recorder, sizes.y) {
            subgroup::forward(recorder, &sizes, &params, self.activation, &bindings);
        } else {
            registers::forward(recorder, &sizes, &params, self.activation, &bindings);
        }
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let (x, weight) = (pass.inputs[0], pass.inputs[1]);
        let g = self.gradient_before(recorder, pass)?;
        let sizes = self.sizes(x.shape, weight.shape, g.shape);
        if let Some(grad_x) = pass.grads[0] {
            record_grad_input(recorder, &sizes, [x, weight, g, grad_x], pass.finish);
        }
        if let Some(grad_weight) = pass.grads[1] {
            match variant(recorder, Pass::GradWeight, sizes) {
                Variant::Tiled(tile, splits) => {
                    tiled_weight::grad_weight(recorder, &sizes, [x, g, grad_weight], (tile, splits));
                }
                Variant::Registers if family(&sizes) == Family::Dense && subgroup::suits(recorder, sizes.y) => {
                    subgroup::grad_weight(recorder, &sizes, [x, g, grad_weight]);
                }
                Variant::Registers if family(&sizes) == Family::Dense => {
                    registers::grad_weight(recorder, &sizes, [x, g, grad_weight]);
                }
                Variant::Registers => grouped::grad_weight(recorder, &sizes, [x, g, grad_weight]),
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

    /// A residual's gradient is that of the sum, which a function that only cuts off leaves as it is.
    fn passes_gradient(&self, input: usize) -> bool {
        input == 3 && (self.activation.is_none() || self.live().is_some())
    }

    fn live(&self) -> Option<Live> {
        match self.activation {
            None => self.relu.then_some(Live::Positive),
            Some(Activation::Clip { low, high }) => Some(Live::Between([low, high])),
            Some(_) => None,
        }
    }

    fn finishes(&self) -> bool {
        true
    }

    fn absorb(&self, arguments: usize, follower: &dyn Op, differentiated: bool) -> Option<Arc<dyn Op>> {
        let follower: &dyn Any = follower;
        // The kernel adds a residual after the bias, and takes functions last.
        if self.relu || self.activation.is_some() {
            None
        } else if follower.is::<Relu>() {
            Some(Arc::new(Conv2d { relu: true, ..*self }))
        } else if follower.is::<Add>() && arguments == 3 {
            Some(Arc::new(*self))
        } else if let Some(&function) = follower.downcast_ref::<Activation>() {
            // What lies between is not kept: a gradient must do with the result. So SiLU, hard swish and GELU stay by themselves
            // where there is one, and what they are taken of stays with them.
            let possible = !differentiated || function.slope_is_in_result();
            possible.then(|| Arc::new(Conv2d { activation: Some(function), ..*self }) as _)
        } else {
            None
        }
    }

    fn fold(&self, arguments: usize, follower: &dyn Op) -> Option<[Arc<dyn Op>; 2]> {
        let &BatchNorm { eps } = (follower as &dyn Any).downcast_ref()?;
        (arguments <= 3 && !self.relu && self.activation.is_none())
            .then(|| [Arc::new(FoldWeight { eps }) as _, Arc::new(FoldBias { eps }) as _])
    }

    fn joins(&self, arguments: usize, sibling: &dyn Op) -> bool {
        // Side by side, the groups of several would be groups of one that sees other channels.
        arguments == 3 && self.groups == 1 && (sibling as &dyn Any).downcast_ref() == Some(self)
    }

    fn has_tiles(&self) -> bool {
        self.groups == 1
    }
}

fn record_grad_input(recorder: &mut Recorder, sizes: &Sizes, [x, weight, g, grad_x]: [View; 4], finish: Finish) {
    let Finish { addend, mask } = finish;
    let mask = mask.map(|live| (x, live));
    if let Variant::Tiled(tile, splits) = variant(recorder, Pass::GradInput, *sizes) {
        let epilogue = Epilogue { addend, mask, ..Epilogue::default() };
        return tiled::grad_input(recorder, sizes, [g, weight, grad_x], epilogue, (tile, splits));
    }
    let params = Params::new(sizes, grad_x, g).adding(addend).masking(mask);
    // The kernel names what it may read, so something must be bound there.
    let [addend, mask] = [addend, mask.map(|(x, _)| x)].map(|value| value.unwrap_or(weight).buffer);
    let bindings = [(1, mask), (2, weight.buffer), (4, addend), (5, g.buffer), (6, grad_x.buffer)];
    if family(sizes) != Family::Dense {
        grouped::grad_input(recorder, sizes, &params, &bindings);
    } else if subgroup::suits(recorder, sizes.x) {
        subgroup::grad_input(recorder, sizes, &params, &bindings);
    } else {
        registers::grad_input(recorder, sizes, &params, &bindings);
    }
}

/// Configurations for tests and benches, without relu, whose kinks lie anywhere.
pub fn samples() -> Vec<Sample> {
    let sample = |stride, padding, x: [usize; 4], weight: [usize; 4]| {
        let inputs = [Domain::linear(Shape(x)), Domain::filter(Shape(weight))];
        Sample::new(Conv2d { stride, padding: [padding; 2], ..Conv2d::new(1, 0) }, inputs)
    };
    let window = |window: Window, x: [usize; 4], weight: [usize; 4]| {
        let bias = Domain::linear(Shape::channels(weight[0]));
        Sample::new(Conv2d::of(window), [Domain::linear(Shape(x)), Domain::filter(Shape(weight)), bias])
    };
    let plain = Window::plain([1; 2], [1; 2]);
    // Functions without a kink, whose places nobody knows before.
    let activated = |function, window: Window, x: [usize; 4], weight: [usize; 4], residual: Option<[usize; 4]>| {
        let mut inputs = vec![Domain::Smooth(Shape(x)), Domain::Weight(Shape(weight))];
        inputs.push(Domain::Smooth(Shape::channels(weight[0])));
        inputs.extend(residual.map(|residual| Domain::Smooth(Shape(residual))));
        Sample::new(Conv2d { activation: Some(function), ..Conv2d::of(window) }, inputs)
    };
    let softplus = Activation::Softplus { beta: 1.0, threshold: 20.0 };
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
        // So large that lanes on a CPU take many pixels at a time, and not all of the last ones are there.
        sample([1, 1], [1, 1], [1, 44, 20, 21], [68, 44, 3, 3]),
        with_bias,
        with_residual,
        // Taps apart; a step that has a divisor in common with the distance of taps, so that some phases see none; more zeros on
        // one side than on the other.
        window(Window { dilation: [2, 3], ..Window::plain([1; 2], [2, 3]) }, [2, 5, 9, 10], [6, 5, 3, 3]),
        window(Window { dilation: [2, 2], ..Window::plain([2; 2], [2; 2]) }, [1, 6, 9, 8], [5, 6, 3, 3]),
        window(Window { dilation: [2, 4], ..Window::plain([3, 6], [1, 0]) }, [1, 18, 10, 15], [18, 18, 3, 2]),
        window(Window { padding: [[0, 1], [2, 0]], ..plain }, [2, 4, 6, 7], [8, 4, 3, 3]),
        window(Window { padding: [[0, 0], [1, 1]], stride: [2; 2], ..plain }, [1, 3, 8, 7], [6, 3, 3, 3]),
        // Groups of whole vectors, of parts of one, of more than one, with more output channels than input channels and fewer.
        window(Window { groups: 3, ..plain }, [2, 12, 6, 5], [24, 4, 3, 3]),
        window(Window { groups: 2, stride: [2; 2], ..plain }, [1, 16, 7, 6], [8, 8, 3, 3]),
        window(Window { groups: 3, ..plain }, [2, 6, 5, 4], [9, 2, 3, 3]),
        window(Window { groups: 2, stride: [2, 1], ..plain }, [1, 10, 6, 7], [6, 5, 3, 2]),
        window(Window { groups: 5, dilation: [2; 2], ..plain }, [2, 15, 7, 6], [5, 3, 3, 3]),
        window(Window { groups: 4, ..plain }, [1, 4, 5, 6], [8, 1, 3, 3]),
        // Depthwise, and so many pixels that the sum over them is taken in parts.
        window(Window { groups: 7, ..plain }, [2, 7, 9, 10], [7, 1, 3, 3]),
        window(Window { groups: 12, stride: [2; 2], padding: [[0; 2], [1; 2]], ..plain }, [1, 12, 8, 9], [12, 1, 3, 3]),
        window(Window { groups: 6, dilation: [2, 1], padding: [[2; 2]; 2], ..plain }, [1, 6, 7, 8], [6, 1, 3, 5]),
        activated(Activation::Tanh, plain, [2, 3, 6, 5], [7, 3, 3, 3], None),
        activated(
            Activation::Sigmoid,
            Window::plain([1; 2], [0; 2]),
            [1, 18, 5, 6],
            [18, 18, 1, 1],
            Some([1, 18, 5, 6]),
        ),
        activated(softplus, Window { groups: 3, ..plain }, [2, 6, 5, 4], [9, 2, 3, 3], None),
        activated(Activation::Sigmoid, Window { groups: 5, ..plain }, [1, 5, 6, 4], [5, 1, 3, 3], Some([1, 5, 6, 4])),
    ]
}
