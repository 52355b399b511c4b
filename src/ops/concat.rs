//! Values side by side.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, same};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::{Layout, Shape};
use crate::{Error, Result};

/// Values one after another along the channels.
///
/// **Shapes** one or more [N, Ci, H, W] -> [N,sum of Ci,H,W].
///
/// **Errors** [`Error::Shape`] when there is no argument, or when they differ in more than channels.
///
/// **Reference** `torch.cat` with `dim=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    channels: u32,
    lanes: u32,
    from_first: u32,
    from_stride: u32,
    to_first: u32,
    to_stride: u32,
    pad: u32,
}

shader!("concat", Params);

/// Some channels of each pixel of a value.
struct Part {
    view: View,
    /// First channel.
    start: usize,
}

/// Appends the copy of `channels` channels, and of zeros into the rest of `lanes`.
fn copy(recorder: &mut Recorder, from: Part, to: Part, channels: usize, lanes: usize) {
    let pixels = to.view.shape.pixels();
    let first = |part: &Part| part.view.offset * 4 + part.start as u32;
    let params = Params {
        pixels: pixels as u32,
        channels: channels as u32,
        lanes: lanes as u32,
        from_first: first(&from),
        from_stride: from.view.stride * 4,
        to_first: first(&to),
        to_stride: to.view.stride * 4,
        pad: 0,
    };
    let bindings = [(1, from.view.buffer), (2, to.view.buffer)];
    recorder.launch(Kernel::new(&SHADER, "forward"), &params, &bindings, pixels * lanes, 1, pixels * lanes);
}

/// Appends a copy of a value, for values on and off the tape.
pub(super) fn record_copy(recorder: &mut Recorder, from: View, to: View) {
    let shape = to.shape;
    copy(recorder, Part { view: from, start: 0 }, Part { view: to, start: 0 }, shape.c(), shape.groups() * 4);
}

/// First channel of each argument in the result.
fn starts(channels: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    channels.scan(0, |next, channels| {
        *next += channels;
        Some(*next - channels)
    })
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let Some(first) = inputs.first() else {
            return Err(Error::shape(self.name(), "number of arguments", "at least 1", 0));
        };
        let with = |channels| Shape::new(first.n(), channels, first.h(), first.w());
        for (index, &input) in inputs.iter().enumerate() {
            same(self.name(), &format!("argument {index}"), with(input.c()), input)?;
        }
        Ok(with(inputs.iter().map(Shape::c).sum()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let y = pass.output;
        for (&x, start) in pass.inputs.iter().zip(starts(pass.inputs.iter().map(|x| x.shape.c()))) {
            let channels = x.shape.c();
            let end = start + channels;
            let padding = if end == y.shape.c() { y.shape.groups() * 4 - end } else { 0 };
            copy(recorder, Part { view: x, start: 0 }, Part { view: y, start }, channels, channels + padding);
        }
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let view = pass.grad_output;
        for (grad, start) in pass.grads.iter().zip(starts(pass.inputs.iter().map(|x| x.shape.c()))) {
            let Some(grad_x) = *grad else { continue };
            let shape = grad_x.shape;
            copy(recorder, Part { view, start }, Part { view: grad_x, start: 0 }, shape.c(), shape.groups() * 4);
        }
        Ok(())
    }

    fn selects(&self) -> bool {
        true
    }

    fn side_by_side(&self, inputs: &[Shape]) -> Option<Vec<usize>> {
        Some(starts(inputs.iter().map(Shape::c)).collect())
    }
}

/// Filters one after another along the output channels.
///
/// **Shapes** one or more [Couti, Cin, KH, KW] -> [sum of Couti, Cin, KH, KW].
///
/// **Errors** [`Error::Shape`] when there is no argument, or when they differ in more than output channels;
/// [`Error::NoGradient`] for every gradient.
///
/// **Reference** `torch.cat` with `dim=0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcatFilters;

/// A filter [KH, KW, Cin, Cout] as the kernel sees it: a pixel for each row, whose channels are the output channels.
fn as_rows(filter: View) -> View {
    let rows = filter.shape.h() * filter.shape.w() * filter.shape.groups() * 4;
    View { shape: Shape::new(1, filter.shape.n(), 1, rows), layout: Layout::Picture, ..filter }
}

impl Op for ConcatFilters {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let Some(&Shape([_, c, h, w])) = inputs.first() else {
            return Err(Error::shape(self.name(), "number of arguments", "at least 1", 0));
        };
        for (index, &input) in inputs.iter().enumerate() {
            same(self.name(), &format!("argument {index}"), Shape::new(input.n(), c, h, w), input)?;
        }
        Ok(Shape::new(inputs.iter().map(Shape::n).sum(), c, h, w))
    }

    fn layout(&self) -> Layout {
        Layout::Filter
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let inputs: Vec<View> = pass.inputs.iter().map(|&filter| as_rows(filter)).collect();
        Concat.forward(recorder, &Forward { inputs: &inputs, output: as_rows(pass.output), saved: &[] });
    }

    fn backward(&self, _recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        (0..pass.grads.len()).try_for_each(|input| pass.no_gradient(self.name(), input))
    }

    fn side_by_side(&self, inputs: &[Shape]) -> Option<Vec<usize>> {
        Some(starts(inputs.iter().map(Shape::n)).collect())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |channels: &[usize]| {
        let inputs: Vec<Domain> = channels.iter().map(|&c| Domain::linear(Shape::new(2, c, 4, 5))).collect();
        Sample::new(Concat, inputs)
    };
    vec![sample(&[3, 1, 4, 2]), sample(&[8, 4, 5]), sample(&[6])]
}
