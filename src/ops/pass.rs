//! What an operation is, and what it is given to record its forward and backward passes.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::device::{BufferId, Recorder, Source};
use crate::tensor::{Layout, Shape};
use crate::{Error, Result};

/// A value as kernels see it: a buffer, or some channels of each pixel of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The memory.
    pub buffer: BufferId,
    /// Sizes of the value.
    pub shape: Shape,
    /// Order of the elements.
    pub layout: Layout,
    /// First channel group of the value in each pixel of the buffer; of output channels in each row of a filter.
    pub offset: u32,
    /// Channel groups of a pixel of the buffer; of output channels of a row of a filter.
    pub stride: u32,
}

impl View {
    /// A value that fills its buffer.
    pub fn whole(buffer: BufferId, shape: Shape, layout: Layout) -> Self {
        let stride = match layout {
            Layout::Picture => shape.groups(),
            Layout::Filter => shape.n().div_ceil(4),
        };
        View { buffer, shape, layout, offset: 0, stride: stride as u32 }
    }

    /// A new transient buffer for a picture-like value.
    pub fn transient(recorder: &mut Recorder, what: &str, shape: Shape) -> Self {
        View::transient_as(recorder, what, shape, Layout::Picture)
    }

    /// A new transient buffer for a value of any layout.
    pub fn transient_as(recorder: &mut Recorder, what: &str, shape: Shape, layout: Layout) -> Self {
        let buffer = recorder.buffer(what, layout.bytes(shape), Source::Transient);
        View::whole(buffer, shape, layout)
    }

    /// `channels` channels from `first` on, which is a multiple of four; output channels of a filter.
    pub fn slice(&self, first: usize, channels: usize) -> Self {
        assert!(first.is_multiple_of(4), "only whole channel groups can be sliced");
        let [n, c, h, w] = self.shape.0;
        let shape = match self.layout {
            Layout::Picture => Shape::new(n, channels, h, w),
            Layout::Filter => Shape::new(channels, c, h, w),
        };
        View { shape, offset: self.offset + (first / 4) as u32, ..*self }
    }

    /// Channel groups and stride by which an update steps through this gradient of a parameter. Where it fills its buffer it
    /// is one run of `vec4`s, whatever its layout: a filter has no channel groups to step over.
    pub(super) fn run_of(&self, parameter: View, op: &str) -> (u32, u32) {
        let form = |view: &View| (view.shape, view.layout);
        assert_eq!(form(&parameter), form(self), "{op}: gradient of another parameter");
        let one_run = *self == View::whole(self.buffer, self.shape, self.layout);
        if one_run { (1, 1) } else { (self.shape.groups() as u32, self.stride) }
    }

    /// Numbers of `vec4`s that the value has, its padding lanes included.
    pub fn vectors(&self) -> usize {
        self.layout.stored(self.shape) / 4
    }
}

/// What a forward pass reads and writes.
pub struct Forward<'a> {
    /// Arguments.
    pub inputs: &'a [View],
    /// Result.
    pub output: View,
    /// What the backward pass will need besides inputs and output.
    pub saved: &'a [View],
}

/// What a backward pass reads and writes.
pub struct Backward<'a> {
    /// Arguments of the forward pass.
    pub inputs: &'a [View],
    /// Result of the forward pass.
    pub output: View,
    /// What the forward pass saved.
    pub saved: &'a [View],
    /// Gradient of the loss with respect to the result.
    pub grad_output: View,
    /// For each argument where its gradient is to be written, or nothing where nobody asked for it.
    pub grads: &'a [Option<View>],
    /// What is done to the gradient of the first argument before it is written, for an operation that [`Op::finishes`] it.
    pub finish: Finish,
}

/// What is done to a gradient in the kernel that computes it, so that it need not be read and written again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Another gradient of the same value, to be added.
    pub addend: Option<View>,
    /// Whether it is zero where the value is not positive; after the addition.
    pub mask: bool,
}

impl Backward<'_> {
    /// An error when somebody asks for the gradient of an argument that has none.
    pub(super) fn no_gradient(&self, op: &'static str, input: usize) -> Result<()> {
        if self.grads[input].is_some() { Err(Error::NoGradient { op, input }) } else { Ok(()) }
    }
}

/// An operation on values: one `.wgsl` file, one Rust file.
pub trait Op: Any + Debug + Send + Sync {
    /// The field's name, that of the kernel file.
    fn name(&self) -> &'static str;

    /// Shape of the result.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::TooSmall`] when the arguments do not fit; kernels trust what passes here.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape>;

    /// How the result lies in its buffer.
    fn layout(&self) -> Layout {
        Layout::Picture
    }

    /// Shapes of what the backward pass needs besides inputs and output.
    fn saved(&self, _inputs: &[Shape]) -> Vec<Shape> {
        Vec::new()
    }

    /// Appends the forward pass.
    fn forward(&self, recorder: &mut Recorder, pass: &Forward);

    /// Appends what writes the gradients that are asked for, and nothing else.
    ///
    /// # Errors
    /// [`Error::NoGradient`] where none is defined.
    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()>;

    /// Whether the gradient of this argument is `grad_output` itself, so that nothing need be computed.
    fn passes_gradient(&self, _input: usize) -> bool {
        false
    }

    /// Whether the result is max(., 0), and the backward pass is given a `grad_output` that is zero where the result is.
    fn rectifies(&self) -> bool {
        false
    }

    /// Whether each element of the result is one of the arguments', and its gradient goes to that element alone.
    fn selects(&self) -> bool {
        false
    }

    /// Whether the backward pass obeys [`Backward::finish`].
    fn finishes(&self) -> bool {
        false
    }

    /// The operation that does what this one with so many arguments and then a `follower` of its result do, and where the result
    /// is `differentiated`, has its gradients. Its arguments are those of this one, then the other arguments of the follower.
    fn absorb(&self, _arguments: usize, _follower: &dyn Op, _differentiated: bool) -> Option<Arc<dyn Op>> {
        None
    }

    /// What weight and bias become when a `follower`, which scales and shifts channels, moves into them. Both operations take
    /// the arguments of this one but for the first, then those of the follower but for the first; this operation then takes its
    /// first argument and what the two of them give.
    fn fold(&self, _arguments: usize, _follower: &dyn Op) -> Option<[Arc<dyn Op>; 2]> {
        None
    }

    /// Whether this operation and `sibling`, which have so many arguments and the first in common, are one operation when their
    /// other arguments lie side by side along the output channels: [`super::ConcatFilters`] and [`super::Concat`] of them.
    fn joins(&self, _arguments: usize, _sibling: &dyn Op) -> bool {
        false
    }

    /// Whether a tuning may choose kernels by tiles for it.
    fn has_tiles(&self) -> bool {
        false
    }

    /// First channels of the arguments in the result, when that is made of them side by side without change.
    fn side_by_side(&self, _inputs: &[Shape]) -> Option<Vec<usize>> {
        None
    }
}

/// An operation with argument shapes, for the tests and benches that walk over all operations.
#[derive(Debug)]
pub struct Sample {
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Its arguments.
    pub inputs: Vec<Domain>,
}

/// What values a test may give an argument.
#[derive(Clone, Copy, Debug)]
pub enum Domain {
    /// The result is a linear function of this argument: adjoints are exact.
    Linear(Shape, Layout),
    /// Any values.
    Smooth(Shape),
    /// Values with a distance to each other and to zero, where the operation has kinks.
    Apart(Shape),
    /// A filter, of any values.
    Weight(Shape),
    /// Values between 0.5 and 1.5: divisors.
    Divisor(Shape),
    /// Values between 0.5 and 1.5, not differentiated: variances.
    Positive(Shape),
    /// Whole numbers below a count, not differentiated.
    Index(Shape, usize),
    /// Any values, not differentiated.
    Fixed(Shape),
}

impl Sample {
    /// A sample.
    pub fn new(op: impl Op + 'static, inputs: impl Into<Vec<Domain>>) -> Self {
        Sample { op: Arc::new(op), inputs: inputs.into() }
    }
}

impl Domain {
    /// A picture-like argument in which the operation is linear.
    pub fn linear(shape: Shape) -> Self {
        Domain::Linear(shape, Layout::Picture)
    }

    /// A filter, in which every convolution is linear.
    pub fn filter(shape: Shape) -> Self {
        Domain::Linear(shape, Layout::Filter)
    }

    /// Shape and layout.
    pub fn form(&self) -> (Shape, Layout) {
        match *self {
            Domain::Linear(shape, layout) => (shape, layout),
            Domain::Weight(shape) => (shape, Layout::Filter),
            Domain::Divisor(s)
            | Domain::Smooth(s)
            | Domain::Apart(s)
            | Domain::Positive(s)
            | Domain::Index(s, _)
            | Domain::Fixed(s) => (s, Layout::Picture),
        }
    }
}

/// The one place that says how many arguments an operation takes.
pub(super) fn arguments<const N: usize>(op: &str, inputs: &[Shape]) -> Result<[Shape; N]> {
    <[Shape; N]>::try_from(inputs).map_err(|_| Error::shape(op, "number of arguments", N, inputs.len()))
}

/// An error unless two shapes are equal.
pub(super) fn same(op: &str, what: &str, expected: Shape, found: Shape) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::shape(op, what, expected, found)) }
}

/// The largest step, padding and window: kernels count pixels around a picture in less than 2^16.
const LARGEST: usize = 4096;

/// An error unless sizes [height, width] are at least and at most so large; `what` they are.
pub(super) fn bounded(op: &str, what: &str, least: usize, sizes: [usize; 2]) -> Result<()> {
    let found = || format!("{}x{}", sizes[0], sizes[1]);
    if sizes.iter().any(|&size| size < least) {
        return Err(Error::shape(op, what, format!("at least {least}x{least}"), found()));
    }
    if sizes.iter().any(|&size| size > LARGEST) {
        return Err(Error::shape(op, what, format!("at most {LARGEST}x{LARGEST}"), found()));
    }
    Ok(())
}

/// Pixels that a window yields along one side: floor or ceil of (size + padding at both ends − kernel) / stride, plus one.
///
/// With `ceil_mode` a last window that would start in the padding behind or outside is dropped, as torch does.
pub(super) fn windows(
    size: usize,
    kernel: usize,
    stride: usize,
    [before, after]: [usize; 2],
    ceil_mode: bool,
) -> Option<usize> {
    // Rounding up also lets in a first window that reaches over the far edge by less than a step.
    let over = if ceil_mode { stride - 1 } else { 0 };
    let count = (size + before + after + over).checked_sub(kernel)? / stride + 1;
    let starts_outside = ceil_mode && (count - 1) * stride >= size + before;
    Some(if starts_outside { count - 1 } else { count }).filter(|&count| count > 0)
}

/// The windows of a pooling.
#[derive(Clone, Copy)]
pub(super) struct Pooling {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [[usize; 2]; 2],
    pub dilation: [usize; 2],
    pub ceil_mode: bool,
}

/// Shape after a pooling whose windows each hold a pixel of `x`: the padding is at most half the window, as torch demands.
pub(super) fn pooled(op: &str, x: Shape, pooling: Pooling) -> Result<Shape> {
    let Pooling { kernel, stride, padding, dilation, ceil_mode } = pooling;
    let show = |[h, w]: [usize; 2]| format!("{h}x{w}");
    for (what, sizes) in [("window", kernel), ("stride", stride), ("dilation", dilation)] {
        bounded(op, what, 1, sizes)?;
    }
    let reach = [0, 1].map(|side| dilation[side] * (kernel[side] - 1) + 1);
    let most = reach.map(|reach| reach / 2);
    if let Some(found) = padding.into_iter().find(|found| found[0] > most[0] || found[1] > most[1]) {
        return Err(Error::shape(op, "padding", format!("at most half the window, {}", show(most)), show(found)));
    }
    let side = |side: usize, size: usize| {
        let [before, after] = padding.map(|padding| padding[side]);
        let count = windows(size, reach[side], stride[side], [before, after], ceil_mode)?;
        // Taps that are far apart may all miss a small picture.
        let sees = |window: usize| {
            (0..kernel[side]).any(|tap| (window * stride[side] + tap * dilation[side]).wrapping_sub(before) < size)
        };
        (dilation[side] == 1 || (0..count).all(sees)).then_some(count)
    };
    match (side(0, x.h()), side(1, x.w())) {
        (Some(oh), Some(ow)) => Ok(Shape::new(x.n(), x.c(), oh, ow)),
        _ => Err(Error::TooSmall { op: op.into(), input: x, kernel: show(kernel) }),
    }
}

#[cfg(test)]
mod tests {
    use super::windows;

    #[test]
    fn windows_round_as_torch_does() {
        assert_eq!(windows(299, 7, 2, [3; 2], false), Some(150));
        assert_eq!(windows(150, 3, 2, [0; 2], true), Some(75));
        assert_eq!(windows(150, 3, 2, [0; 2], false), Some(74));
        // The third window would start at pixel 4 of a padded row of which pixels 1 to 3 are real.
        assert_eq!(windows(3, 2, 2, [1; 2], true), Some(2));
        assert_eq!(windows(2, 5, 1, [1; 2], false), None);
        // A window of three over two pixels, as in GoogLeNet for a picture of 15.
        assert_eq!(windows(2, 3, 2, [0; 2], true), Some(1));
        assert_eq!(windows(2, 3, 2, [0; 2], false), None);
        assert_eq!(windows(1, 3, 2, [0; 2], true), None);
    }
}
