//! The sum over a box of a layer: a channel, a unit, a row of pixels or all of it.

use std::ops::Range;

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Sum over some channels, rows and columns of each picture.
///
/// **Shapes** `x` [N, C, H, W] -> [N, 1, 1, 1].
///
/// **Errors** [`Error::Shape`] when the box is empty or overhangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSum {
    /// Channels of the box.
    pub channels: Range<usize>,
    /// Rows of the box.
    pub rows: Range<usize>,
    /// Columns of the box.
    pub columns: Range<usize>,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    h: u32,
    w: u32,
    first_channel: u32,
    end_channel: u32,
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: u32,
}

shader!("region_sum", Params);

impl RegionSum {
    /// The sum over whole pictures of that shape.
    pub fn all(x: Shape) -> Self {
        RegionSum { channels: 0..x.c(), rows: 0..x.h(), columns: 0..x.w() }
    }

    fn params(&self, x: View, y: View) -> Params {
        let [n, _, h, w] = x.shape.0;
        Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            n: n as u32,
            h: h as u32,
            w: w as u32,
            first_channel: self.channels.start as u32,
            end_channel: self.channels.end as u32,
            first_row: self.rows.start as u32,
            end_row: self.rows.end as u32,
            first_column: self.columns.start as u32,
            end_column: self.columns.end as u32,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
            pad: 0,
        }
    }
}

impl Op for RegionSum {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        let sides =
            [("channels", &self.channels, x.c()), ("rows", &self.rows, x.h()), ("columns", &self.columns, x.w())];
        for (what, range, size) in sides {
            if range.is_empty() || range.end > size {
                return Err(Error::shape(self.name(), what, format!("within 0..{size}"), format!("{range:?}")));
            }
        }
        Ok(Shape::per_picture(x.n()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let bindings = [(1, x.buffer), (3, y.buffer)];
        let flops = x.shape.n() * self.channels.len() * self.rows.len() * self.columns.len();
        let kernel = Kernel::new(&SHADER, "forward");
        recorder.launch_workgroups(kernel, &self.params(x, y), &bindings, x.shape.n(), flops);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let g = pass.grad_output;
        let bindings = [(2, g.buffer), (3, grad_x.buffer)];
        let kernel = Kernel::new(&SHADER, "grad_input");
        let vectors = grad_x.vectors();
        recorder.launch(kernel, &self.params(grad_x, g), &bindings, vectors, 1, vectors * 4);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let x = Shape::new(2, 11, 9, 7);
    let sample = |channels, rows, columns| Sample::new(RegionSum { channels, rows, columns }, [Domain::linear(x)]);
    vec![
        sample(2..9, 1..8, 3..6),
        sample(5..6, 0..9, 0..7),
        sample(10..11, 4..5, 6..7),
        Sample::new(RegionSum::all(x), [Domain::linear(x)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_empty_or_overhangs_is_refused() {
        let x = Shape::new(1, 4, 3, 2);
        let shape = |channels, rows, columns| RegionSum { channels, rows, columns }.output_shape(&[x]);
        assert!(shape(0..4, 0..3, 0..2).is_ok());
        assert!(shape(0..5, 0..3, 0..2).is_err());
        assert!(shape(0..4, 2..2, 0..2).is_err());
        let error = shape(0..4, 0..3, 1..3).unwrap_err().to_string();
        assert!(error.contains("1..3") && error.contains("0..2"), "{error}");
    }
}
