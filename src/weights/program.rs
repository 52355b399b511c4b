//! What files that describe whole networks say, whatever their format: operations by name, and what each is given.
//!
//! Nothing is interpreted here: which operations there are, and what they mean, is for `nets`.

use std::collections::BTreeMap;

/// A network as a file describes it.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// In which words operations are named.
    pub language: Language,
    /// What wrote the file, as far as it says.
    pub producer: String,
    /// Values that the caller gives.
    pub inputs: Vec<Input>,
    /// Names of values that the caller is given.
    pub outputs: Vec<String>,
    /// Operations in the order of the file.
    pub nodes: Vec<Node>,
    /// Tensors of the file, by the names under which nodes ask for them.
    pub tensors: BTreeMap<String, String>,
    /// Numbers of the tensors that are small enough to be sizes, axes and factors, by the same names.
    pub constants: BTreeMap<String, Constant>,
    /// Sizes of the tensors in the file that described the network first, where this is another one: that has its tensors by layers,
    /// as the network has them. Empty for a file that describes its own tensors.
    pub shapes: BTreeMap<String, Vec<usize>>,
}

/// In which words operations are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// ONNX's operators of some version.
    Onnx(u64),
    /// PyTorch's operators, as `torch.export` writes them.
    #[default]
    Aten,
}

/// A value that the caller gives.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its sizes; none where the file does not say how many there are.
    pub sizes: Option<Vec<Option<usize>>>,
    /// Whether it holds numbers with a fractional part.
    pub is_float: bool,
}

/// One operation.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its own name; may be empty.
    pub name: String,
    /// The operation, such as `Conv` or `aten.conv2d.default`; with its domain before it where that is not the usual one.
    pub operator: String,
    /// Names of the values that it takes, by place; an empty one for what is left out. Of [`Language::Aten`] they are among the attributes.
    pub inputs: Vec<String>,
    /// Names of the values that it makes.
    pub outputs: Vec<String>,
    /// Everything else that it is given, by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// The modules that it belongs to, from the outermost to the innermost, each with its whole path; as far as the file says.
    pub modules: Vec<String>,
}

/// Something that an operation is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Left out.
    None,
    /// A whole number, or a kind of number or of memory.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
    /// A value, by its name.
    Value(String),
    /// Several of these.
    List(Vec<Attribute>),
    /// Something that is not read, in words.
    Other(&'static str),
}

/// A small tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Numbers,
}

/// The numbers of a small tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Whole ones.
    Int(Vec<i64>),
    /// Others.
    Float(Vec<f64>),
}

/// Largest number of elements of a tensor whose numbers are among the constants.
pub(super) const SMALL: usize = 4096;

/// More operations than any network has that is read here.
pub(super) const MOST: usize = 1 << 16;

impl Attribute {
    /// Its numbers, when it is one or several whole ones.
    pub fn ints(&self) -> Option<Vec<i64>> {
        let int = |attribute: &Attribute| match attribute {
            Attribute::Int(value) => Some(*value),
            Attribute::Bool(value) => Some(i64::from(*value)),
            _ => None,
        };
        match self {
            Attribute::List(list) => list.iter().map(int).collect(),
            one => int(one).map(|value| vec![value]),
        }
    }

    /// Its number, when it is one.
    pub fn float(&self) -> Option<f64> {
        match self {
            Attribute::Float(value) => Some(*value),
            Attribute::Int(value) => Some(*value as f64),
            _ => None,
        }
    }
}

impl Constant {
    /// Its numbers, when they are whole ones.
    pub fn ints(&self) -> Option<&[i64]> {
        match &self.numbers {
            Numbers::Int(values) => Some(values),
            Numbers::Float(_) => None,
        }
    }

    /// Its numbers, whatever they are.
    pub fn floats(&self) -> Vec<f64> {
        match &self.numbers {
            Numbers::Int(values) => values.iter().map(|value| *value as f64).collect(),
            Numbers::Float(values) => values.clone(),
        }
    }
}
