//! Resizing of pictures.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Resampling to another size, one axis after the other.
///
/// Which pixels make up a pixel of the result, and with what weight, is worked out on the host in f64; the kernel only adds.
///
/// **Shapes** `x` [N, C, H, W] -> [N, C, `height`, `width`].
///
/// **Errors** [`Error::Shape`] when a side is 0.
///
/// **Reference** `torchvision.transforms.functional.resize` with `antialias` as here; `F.interpolate(mode="nearest")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Height of the result.
    pub height: usize,
    /// Width of the result.
    pub width: usize,
    /// How pixels of the result come about.
    pub mode: ResizeMode,
}

/// How [`Resize`] makes up a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// Linear between pixel centres, which lie at halves.
    Bilinear {
        /// Whether a shrinking picture is averaged over all pixels that a pixel of the result covers.
        antialias: bool,
    },
    /// The pixel at floor(index · (size before / size after)), the ratio in f32 as torch has it.
    Nearest,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    x_length: u32,
    y_length: u32,
    step: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    pad: [u32; 3],
}

shader!("resize", Params);

/// A sparse matrix from an axis to another, by rows: row `o` holds entries `starts[o]..starts[o + 1]`.
#[derive(Debug, Default, PartialEq)]
struct Table {
    starts: Vec<u32>,
    indices: Vec<u32>,
    weights: Vec<f32>,
    /// Pixels of the axis that is read.
    columns: usize,
}

impl Table {
    fn new(columns: usize, rows: impl IntoIterator<Item = Vec<(usize, f64)>>) -> Self {
        let mut table = Table { starts: vec![0], columns, ..Table::default() };
        for row in rows {
            for (index, weight) in row.into_iter().filter(|&(_, weight)| weight != 0.0) {
                table.indices.push(index as u32);
                table.weights.push(weight as f32);
            }
            table.starts.push(table.indices.len() as u32);
        }
        table
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> {
        let entries = self.starts[row] as usize..self.starts[row + 1] as usize;
        entries.map(|entry| (self.indices[entry] as usize, self.weights[entry]))
    }

    fn transposed(&self) -> Table {
        let mut rows = vec![Vec::new(); self.columns];
        for o in 0..self.rows() {
            for (i, weight) in self.row(o) {
                rows[i].push((o, f64::from(weight)));
            }
        }
        Table::new(self.rows(), rows)
    }
}

impl ResizeMode {
    fn table(self, from: usize, to: usize) -> Table {
        Table::new(from, (0..to).map(|o| self.weights(from, to, o)))
    }

    /// Pixels of the axis before that make up pixel `o` of the axis after.
    fn weights(self, from: usize, to: usize, o: usize) -> Vec<(usize, f64)> {
        let scale = from as f64 / to as f64;
        let last = from - 1;
        match self {
            ResizeMode::Nearest => {
                let index = (o as f32 * (from as f32 / to as f32)).floor();
                vec![((index as usize).min(last), 1.0)]
            }
            ResizeMode::Bilinear { antialias: true } if scale > 1.0 => {
                let centre = (o as f64 + 0.5) * scale;
                let first = (centre - scale + 0.5).max(0.0) as usize;
                let end = ((centre + scale + 0.5) as usize).min(from);
                let triangle = |i: usize| (1.0 - ((i as f64 + 0.5 - centre) / scale).abs()).max(0.0);
                let total: f64 = (first..end).map(triangle).sum();
                (first..end).map(|i| (i, triangle(i) / total)).collect()
            }
            ResizeMode::Bilinear { .. } => {
                let at = ((o as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
                let first = at as usize;
                let beyond = at - first as f64;
                vec![(first, 1.0 - beyond), ((first + 1).min(last), beyond)]
            }
        }
    }
}

/// The side that a dispatch resizes; the other stays.
#[derive(Clone, Copy)]
enum Axis {
    Height,
    Width,
}

fn resample(recorder: &mut Recorder, axis: Axis, table: &Table, x: View, y: View) {
    let params = Params {
        vectors: y.vectors() as u32,
        groups: y.shape.groups() as u32,
        x_length: table.columns as u32,
        y_length: table.rows() as u32,
        step: match axis {
            Axis::Height => x.shape.w() as u32,
            Axis::Width => 1,
        },
        x_offset: x.offset,
        x_stride: x.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        pad: [0; 3],
    };
    let starts = recorder.constants("first weights", &table.starts);
    let indices = recorder.constants("pixels", &table.indices);
    let weights = recorder.constants("weights", &table.weights);
    let bindings = [(1, x.buffer), (2, starts), (3, indices), (4, weights), (5, y.buffer)];
    let flops = y.vectors() * 4 * 2 * table.weights.len() / table.rows();
    recorder.launch(Kernel::new(&SHADER, "resample"), &params, &bindings, y.vectors(), 1, flops);
}

impl Resize {
    /// Appends a resize off the tape.
    pub fn record(&self, recorder: &mut Recorder, x: View, y: View) {
        let [n, c, h, w] = x.shape.0;
        let between = View::transient(recorder, "resized rows", Shape::new(n, c, h, self.width));
        resample(recorder, Axis::Width, &self.mode.table(w, self.width), x, between);
        resample(recorder, Axis::Height, &self.mode.table(h, self.height), between, y);
    }
}

impl Op for Resize {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x] = arguments(self.name(), inputs)?;
        if self.height == 0 || self.width == 0 {
            let found = format!("{}x{}", self.height, self.width);
            return Err(Error::shape(self.name(), "size of the result", "at least 1x1", found));
        }
        Ok(Shape::new(x.n(), x.c(), self.height, self.width))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        self.record(recorder, pass.inputs[0], pass.output);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let [n, c, h, w] = grad_x.shape.0;
        let rows = self.mode.table(h, self.height).transposed();
        let columns = self.mode.table(w, self.width).transposed();
        let between = View::transient(recorder, "gradient of resized rows", Shape::new(n, c, h, self.width));
        resample(recorder, Axis::Height, &rows, pass.grad_output, between);
        resample(recorder, Axis::Width, &columns, between, grad_x);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let x = Shape::new(2, 3, 7, 5);
    let sample = |height, width, mode| Sample::new(Resize { height, width, mode }, [Domain::linear(x)]);
    let (smooth, sharp) = (ResizeMode::Bilinear { antialias: true }, ResizeMode::Bilinear { antialias: false });
    vec![
        sample(11, 9, smooth),
        sample(3, 9, smooth),
        sample(3, 2, sharp),
        sample(7, 5, sharp),
        sample(4, 11, ResizeMode::Nearest),
        sample(1, 1, smooth),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_pixel_add_up_to_one() {
        for mode in [ResizeMode::Bilinear { antialias: true }, ResizeMode::Bilinear { antialias: false }] {
            for (from, to) in [(13, 17), (17, 13), (20, 5), (5, 5), (1, 4), (4, 1)] {
                let table = mode.table(from, to);
                assert_eq!(table.rows(), to);
                for o in 0..to {
                    let total: f32 = table.row(o).map(|(_, weight)| weight).sum();
                    assert!((total - 1.0).abs() < 1e-6, "{mode:?} {from} to {to}, pixel {o}: {total}");
                }
            }
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let table = ResizeMode::Bilinear { antialias: true }.table(6, 6);
        assert_eq!(table.weights, [1.0; 6]);
        assert_eq!(table.indices, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let table = ResizeMode::Bilinear { antialias: true }.table(9, 4);
        assert_eq!(table.transposed().transposed(), table);
    }
}
