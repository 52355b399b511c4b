//! What every reader finds in a file, whatever its format: arrays by name, where each lies, how its numbers are stored.

use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};

use super::program::Program;
use super::zip::Deflated;

/// What a reader of some format finds in a file.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub metadata: BTreeMap<String, String>,
    pub entries: BTreeMap<String, Entry>,
    /// Under which keys of the file's dictionaries there are weights, in the order in which they are taken; the whole file is "".
    pub keys: Vec<String>,
    /// Which of these the entries are from.
    pub taken: usize,
    /// What the file says of the network, where it describes a whole one.
    pub program: Option<Program>,
}

/// One array, little-endian.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub shape: Vec<usize>,
    /// From one element to the next along each dimension, in elements; `None` when row-major.
    pub strides: Option<Vec<usize>>,
    /// The type of its elements, or the name of one that we cannot read.
    pub element: Result<Element, String>,
    /// The bytes it is in are compressed.
    pub deflated: Option<Deflated>,
    /// From its first element to its last: bytes of the file, or of what `deflated` unpacks to.
    pub at: Range<usize>,
    /// It is not in the file as such.
    pub made: Option<Box<Made>>,
}

/// How an array follows from others.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// What is there, times this: a pruned weight is kept beside the mask of what is left of it.
    Masked(Entry),
    /// From some values and their places.
    Sparse(Sparse),
}

/// A tensor of which most elements are zero: the indices of the others, and their values.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    pub layout: Layout,
    /// As many as [`Layout::indices`] says.
    pub indices: Vec<Entry>,
    pub values: Entry,
}

/// How places are written down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layout {
    /// One column of indices for each value; a place that comes twice holds the sum.
    Coordinates,
    /// For each row where its values begin and end, and the column of each value.
    Rows,
    /// For each column where its values begin and end, and the row of each value.
    Columns,
}

impl Layout {
    /// PyTorch's name; none for layouts of blocks.
    pub fn named(name: &str) -> Option<Layout> {
        match name {
            "torch.sparse_coo" => Some(Layout::Coordinates),
            "torch.sparse_csr" => Some(Layout::Rows),
            "torch.sparse_csc" => Some(Layout::Columns),
            _ => None,
        }
    }

    /// Number of arrays of indices.
    pub fn indices(self) -> usize {
        if self == Layout::Coordinates { 1 } else { 2 }
    }
}

/// How one number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Entry {
    /// One in row-major order that lies in a file as it is.
    pub fn plain(shape: Vec<usize>, element: Result<Element, String>, at: Range<usize>) -> Self {
        Entry { shape, strides: None, element, deflated: None, at, made: None }
    }

    /// The numbers in `bytes`, row-major.
    pub fn values(&self, element: Element, bytes: &[u8]) -> Vec<f32> {
        match element {
            Element::F16 => self.each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Element::Bf16 => self.each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Element::F32 => self.each(bytes, f32::from_le_bytes),
            Element::F64 => self.each(bytes, |b| f64::from_le_bytes(b) as f32),
            Element::I8 => self.each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Element::I16 => self.each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Element::I32 => self.each(bytes, |b| i32::from_le_bytes(b) as f32),
            Element::I64 => self.each(bytes, |b| i64::from_le_bytes(b) as f32),
            Element::U8 => self.each(bytes, |b| f32::from(u8::from_le_bytes(b))),
            Element::U16 => self.each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Element::U32 => self.each(bytes, |b| u32::from_le_bytes(b) as f32),
            Element::U64 => self.each(bytes, |b| u64::from_le_bytes(b) as f32),
        }
    }

    fn each<const N: usize>(&self, bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let elements = bytes.as_chunks::<N>().0;
        match &self.strides {
            None => elements.iter().map(|element| value(*element)).collect(),
            Some(strides) => {
                let count = self.shape.iter().product();
                let mut values = Vec::with_capacity(count);
                let (mut index, mut at) = (vec![0; strides.len()], 0);
                while values.len() < count {
                    values.push(value(elements[at]));
                    // On to the next index: the last dimension that has not reached its end moves, those after restart.
                    for (k, stride) in strides.iter().enumerate().rev() {
                        index[k] += 1;
                        at += stride;
                        if index[k] < self.shape[k] {
                            break;
                        }
                        at -= stride * index[k];
                        index[k] = 0;
                    }
                }
                values
            }
        }
    }
}

impl Element {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 => 8,
        }
    }

    /// Whether it has a fractional part.
    pub fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::Bf16 | Element::F32 | Element::F64)
    }

    /// The word of safetensors for it.
    pub fn name(self) -> &'static str {
        match self {
            Element::F16 => "F16",
            Element::Bf16 => "BF16",
            Element::F32 => "F32",
            Element::F64 => "F64",
            Element::I8 => "I8",
            Element::I16 => "I16",
            Element::I32 => "I32",
            Element::I64 => "I64",
            Element::U8 => "U8",
            Element::U16 => "U16",
            Element::U32 => "U32",
            Element::U64 => "U64",
        }
    }
}
