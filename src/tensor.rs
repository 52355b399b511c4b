//! Shapes, and how arrays lie in GPU buffers. No arithmetic.
//!
//! Arrays enter and leave in the order of the field, row-major [N, C, H, W]. Inside the engine channels come last and are
//! padded with zeros to a multiple of four, so that every kernel reads `vec4<f32>`; the padding lanes stay zero.

use std::fmt;
use std::ops::Range;

/// Sizes [N, C, H, W]; a filter is [Cout, Cin, KH, KW], a vector over channels [1, C, 1, 1], a number per picture [N, 1, 1, 1].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(pub [usize; 4]);

impl Shape {
    /// A shape [n, c, h, w].
    pub const fn new(n: usize, c: usize, h: usize, w: usize) -> Self {
        Shape([n, c, h, w])
    }

    /// A vector over channels: [1, c, 1, 1].
    pub const fn channels(c: usize) -> Self {
        Shape([1, c, 1, 1])
    }

    /// One number for each of n pictures: [n, 1, 1, 1].
    pub const fn per_picture(n: usize) -> Self {
        Shape([n, 1, 1, 1])
    }

    /// Pictures in the batch; output channels of a filter.
    pub const fn n(&self) -> usize {
        self.0[0]
    }

    /// Channels; input channels of a filter.
    pub const fn c(&self) -> usize {
        self.0[1]
    }

    /// Height.
    pub const fn h(&self) -> usize {
        self.0[2]
    }

    /// Width.
    pub const fn w(&self) -> usize {
        self.0[3]
    }

    /// Number of elements, N·C·H·W.
    pub const fn elements(&self) -> usize {
        self.n() * self.c() * self.h() * self.w()
    }

    /// Number of pixels in the batch, N·H·W.
    pub const fn pixels(&self) -> usize {
        self.n() * self.h() * self.w()
    }

    /// Groups of four channels, the last one padded.
    pub const fn groups(&self) -> usize {
        self.c().div_ceil(4)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [n, c, h, w] = self.0;
        write!(f, "[{n}, {c}, {h}, {w}]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How an array lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// [N, H, W, C/4] of `vec4<f32>`: pictures, activations, vectors over channels.
    Picture,
    /// [KH, KW, Cin padded to 4, Cout/4] of `vec4<f32>`: convolution and linear weights.
    Filter,
}

impl Layout {
    /// Numbers stored for a shape, padding included.
    pub const fn stored(self, shape: Shape) -> usize {
        match self {
            Layout::Picture => shape.pixels() * shape.groups() * 4,
            Layout::Filter => shape.h() * shape.w() * shape.groups() * 4 * shape.n().div_ceil(4) * 4,
        }
    }

    /// Bytes stored for a shape.
    pub const fn bytes(self, shape: Shape) -> u64 {
        self.stored(shape) as u64 * 4
    }

    /// Where element (n, c, h, w) lies.
    const fn position(self, shape: Shape, [n, c, h, w]: [usize; 4]) -> usize {
        match self {
            Layout::Picture => ((n * shape.h() + h) * shape.w() + w) * shape.groups() * 4 + c,
            Layout::Filter => ((h * shape.w() + w) * shape.groups() * 4 + c) * shape.n().div_ceil(4) * 4 + n,
        }
    }

    /// Row-major [N, C, H, W] to the engine's order, padding filled with zeros.
    ///
    /// # Panics
    /// When `values` has not `shape.elements()` numbers.
    pub fn pack(self, shape: Shape, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), shape.elements(), "{shape} has another number of elements");
        let mut stored = vec![0.0; self.stored(shape)];
        self.each(shape, |index, position| stored[position] = values[index]);
        stored
    }

    /// The engine's order back to row-major [N, C, H, W].
    ///
    /// # Panics
    /// When `stored` is shorter than the layout of `shape`.
    pub fn unpack(self, shape: Shape, stored: &[f32]) -> Vec<f32> {
        let mut values = vec![0.0; shape.elements()];
        self.each(shape, |index, position| values[index] = stored[position]);
        values
    }

    fn each(self, shape: Shape, mut visit: impl FnMut(usize, usize)) {
        let mut index = 0;
        for n in 0..shape.n() {
            for c in 0..shape.c() {
                for h in 0..shape.h() {
                    for w in 0..shape.w() {
                        visit(index, self.position(shape, [n, c, h, w]));
                        index += 1;
                    }
                }
            }
        }
    }
}

/// An array on the host, row-major [N, C, H, W].
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes.
    pub shape: Shape,
    /// `shape.elements()` numbers.
    pub values: Vec<f32>,
}

impl Array {
    /// An array from its numbers.
    ///
    /// # Panics
    /// When the count is not that of the shape.
    pub fn new(shape: Shape, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), shape.elements(), "{shape} has another number of elements");
        Array { shape, values }
    }

    /// The same number everywhere.
    pub fn filled(shape: Shape, value: f32) -> Self {
        Array { shape, values: vec![value; shape.elements()] }
    }

    /// Picture `n` of the batch, shape [1, C, H, W].
    pub fn picture(&self, n: usize) -> Array {
        self.pictures(n..n + 1)
    }

    /// Some pictures of the batch.
    pub fn pictures(&self, range: Range<usize>) -> Array {
        let [_, c, h, w] = self.shape.0;
        let size = c * h * w;
        Array::new(Shape::new(range.len(), c, h, w), self.values[range.start * size..range.end * size].to_vec())
    }

    /// The same with the rows of another behind its own: the two differ in the first size alone, or in the second of vectors over
    /// channels.
    ///
    /// # Panics
    /// When they differ in more.
    pub fn with_rows(mut self, other: Array) -> Array {
        let axis = usize::from(self.shape.n() == 1 && self.shape.elements() == self.shape.c());
        let mut sizes = self.shape.0;
        sizes[axis] += other.shape.0[axis];
        self.values.extend(other.values);
        Array::new(Shape(sizes), self.values)
    }

    /// The pictures of several batches in one.
    ///
    /// # Panics
    /// When there is none, or when they differ in more than their numbers of pictures.
    pub fn batch(parts: Vec<Array>) -> Array {
        let [_, c, h, w] = parts[0].shape.0;
        let n = parts.iter().map(|part| part.shape.n()).sum();
        Array::new(Shape::new(n, c, h, w), parts.into_iter().flat_map(|part| part.values).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_pads_channels_and_comes_back() {
        let shape = Shape::new(2, 3, 2, 2);
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let stored = Layout::Picture.pack(shape, &values);
        assert_eq!(stored.len(), 2 * 2 * 2 * 4);
        assert_eq!(&stored[..4], &[0.0, 4.0, 8.0, 0.0]);
        assert_eq!(Layout::Picture.unpack(shape, &stored), values);
    }

    #[test]
    fn filters_lie_with_output_channels_fastest() {
        let shape = Shape::new(2, 3, 1, 1);
        let stored = Layout::Filter.pack(shape, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(stored, [1.0, 4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 0.0, 3.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(Layout::Filter.unpack(shape, &stored), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
