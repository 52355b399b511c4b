//! Some channels of a value, in their order or shuffled.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Channels `first` to `first + count`, then shuffled: channel c of the result is channel
/// first + (c mod groups) · (count / groups) + floor(c / groups) of `x`.
///
/// **Shapes** `x` [N, C, H, W] -> [N, count, H, W].
///
/// **Errors** [`Error::Shape`] when `x` has fewer channels, none is taken, or they do not come in so many groups.
///
/// **Reference** torch's `narrow`, `split` and `chunk` along the channels; `torch.nn.functional.channel_shuffle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// First channel.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Groups of the shuffle; 1 leaves the order as it is.
    pub groups: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    c: u32,
    first: u32,
    count: u32,
    groups: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 3],
}

shader!("channels", Params);

impl Channels {
    /// Channels in their order.
    pub const fn slice(first: usize, count: usize) -> Self {
        Channels { first, count, groups: 1 }
    }

    /// All of so many channels, shuffled.
    pub const fn shuffle(count: usize, groups: usize) -> Self {
        Channels { first: 0, count, groups }
    }

    fn params(&self, x: View, y: View) -> Params {
        Params {
            pixels: x.shape.pixels() as u32,
            c: x.shape.c() as u32,
            first: self.first as u32,
            count: self.count as u32,
            groups: self.groups as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: [0; 3],
        }
    }
}

impl Op for Channels {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let Channels { first, count, groups } = *self;
        if count == 0 || groups == 0 || !count.is_multiple_of(groups) {
            let expected = format!("at least 1, in {groups} groups");
            return Err(Error::shape(self.name(), "number of channels", expected, count));
        }
        if first.checked_add(count).is_none_or(|end| end > x.c()) {
            let expected = format!("at least {count} from {first} on");
            return Err(Error::shape(self.name(), "channels of x", expected, x.c()));
        }
        Ok(Shape::new(x.n(), count, x.h(), x.w()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let (kernel, bindings) = (Kernel::new(&SHADER, "forward"), [(1, x.buffer), (2, y.buffer)]);
        recorder.launch(kernel, &self.params(x, y), &bindings, y.vectors(), 1, y.vectors() * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let g = pass.grad_output;
        let (kernel, bindings) = (Kernel::new(&SHADER, "grad_input"), [(1, g.buffer), (2, grad_x.buffer)]);
        recorder.launch(kernel, &self.params(grad_x, g), &bindings, grad_x.vectors(), 1, grad_x.vectors() * 4);
        Ok(())
    }

    fn selects(&self) -> bool {
        true
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |op, c| Sample::new(op, [Domain::linear(Shape::new(2, c, 4, 5))]);
    vec![
        sample(Channels::slice(0, 3), 7),
        sample(Channels::slice(5, 6), 13),
        sample(Channels::slice(4, 8), 12),
        sample(Channels::shuffle(6, 2), 6),
        sample(Channels::shuffle(15, 3), 15),
        sample(Channels { first: 2, count: 8, groups: 4 }, 11),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_are_not_there_are_refused() {
        let shape = |op: Channels| op.output_shape(&[Shape::new(1, 7, 2, 3)]).map_err(|error| error.to_string());
        assert_eq!(shape(Channels::slice(2, 5)), Ok(Shape::new(1, 5, 2, 3)));
        assert_eq!(
            shape(Channels::slice(3, 5)),
            Err("channels: channels of x is 7, expected at least 5 from 3 on".into())
        );
        assert!(shape(Channels::slice(usize::MAX, 5)).is_err());
        assert!(shape(Channels::slice(1, 0)).is_err());
        assert!(shape(Channels::shuffle(7, 2)).is_err());
    }
}
