//! The tape: which value came from which, as data. A network is put on it plainly, one operation after another; what makes it
//! fast are [`passes`] over it; `gradient` has the reverse walk, `lower` the way into a recording.
//!
//! Not here: the names of operations (but for those that the reverse walk and the passes put in by themselves), shapes of
//! networks, GPU handles.

mod gradient;
mod graph;
mod lower;
pub mod passes;

use std::sync::Arc;

use crate::ops::Op;
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

pub use lower::{Derived, GRADIENT_OF, Recorded, Watch};

/// A value on a [`Tape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(usize);

/// A network, or any function, as a list of operations on values.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    values: Vec<Value>,
    nodes: Vec<Node>,
    layer: Arc<str>,
}

#[derive(Clone, Debug)]
struct Value {
    shape: Shape,
    layout: Layout,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    /// A buffer that the caller provides under this name, with other contents for each replay.
    External(String),
    /// A buffer that the caller provides under this name, and says when its contents change: a tensor of the weights. The set of
    /// tensors that it belongs to, and the name, which begins with that of the set.
    Parameter(Arc<str>, String),
    /// Numbers fixed on the tape, in the engine's order.
    Constant(Arc<[f32]>),
    /// Result of a node.
    Node,
    /// Some channels of the result of a node, from this one on.
    Part(Var, usize),
}

#[derive(Clone, Debug)]
struct Node {
    op: Arc<dyn Op>,
    inputs: Vec<Var>,
    output: Var,
    layer: Arc<str>,
}

/// What a recording of a tape must compute.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Values to be still there after a replay.
    pub keep: Vec<Var>,
    /// A value whose elements are added up and differentiated; none for a forward pass alone.
    pub loss: Option<Var>,
    /// Values to differentiate with respect to.
    pub wrt: Vec<Var>,
}

impl Tape {
    /// A value that the caller provides under `name` when the recording is prepared, with other contents for each replay.
    pub fn external(&mut self, name: &str, shape: Shape, layout: Layout) -> Var {
        self.value(shape, layout, Origin::External(name.to_owned()))
    }

    /// A picture-like value that the caller provides.
    pub fn input(&mut self, name: &str, shape: Shape) -> Var {
        self.external(name, shape, Layout::Picture)
    }

    /// A tensor of the weights, which the caller provides under the name of its `set` with `name` behind it. What depends on
    /// tensors of one set alone is computed once, and once more when they change: see [`Derived`].
    pub fn parameter(&mut self, set: &str, name: &str, shape: Shape, layout: Layout) -> Var {
        self.value(shape, layout, Origin::Parameter(set.into(), format!("{set}{name}")))
    }

    /// Fixed numbers.
    pub fn constant(&mut self, array: &Array) -> Var {
        self.constant_as(array, Layout::Picture)
    }

    /// Fixed numbers of any layout.
    pub fn constant_as(&mut self, array: &Array, layout: Layout) -> Var {
        let stored = layout.pack(array.shape, &array.values);
        self.value(array.shape, layout, Origin::Constant(stored.into()))
    }

    /// Shape of a value.
    pub fn shape(&self, var: Var) -> Shape {
        self.values[var.0].shape
    }

    /// Names the layer that the next operations belong to, for errors, labels and plans.
    pub fn layer(&mut self, name: &str) {
        self.layer = name.into();
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// Those of [`Op::output_shape`], with the layer's name before the operation's.
    pub fn apply(&mut self, op: impl Op + 'static, inputs: &[Var]) -> Result<Var> {
        self.apply_shared(Arc::new(op), inputs)
    }

    /// [`Tape::apply`] for an operation whose type is not known.
    ///
    /// # Errors
    /// As [`Tape::apply`].
    pub fn apply_shared(&mut self, op: Arc<dyn Op>, inputs: &[Var]) -> Result<Var> {
        let shapes: Vec<Shape> = inputs.iter().map(|&var| self.shape(var)).collect();
        let shape = op.output_shape(&shapes).map_err(|error| self.in_layer(error))?;
        let output = self.value(shape, op.layout(), Origin::Node);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output, layer: self.layer.clone() });
        Ok(output)
    }

    /// Every operation in order, with shapes and layouts of its arguments.
    pub fn operations(&self) -> impl Iterator<Item = (&Arc<dyn Op>, Vec<(Shape, Layout)>)> {
        self.nodes.iter().map(|node| {
            let form = |var: &Var| (self.values[var.0].shape, self.values[var.0].layout);
            (&node.op, node.inputs.iter().map(form).collect())
        })
    }

    fn value(&mut self, shape: Shape, layout: Layout, origin: Origin) -> Var {
        self.values.push(Value { shape, layout, origin });
        Var(self.values.len() - 1)
    }

    /// The value that holds the memory of another: the whole of a part, or itself.
    fn whole(&self, var: Var) -> Var {
        match self.values[var.0].origin {
            Origin::Part(whole, _) => whole,
            _ => var,
        }
    }

    fn in_layer(&self, error: Error) -> Error {
        let named = |op: String| if self.layer.is_empty() { op } else { format!("{}: {op}", self.layer) };
        match error {
            Error::Shape { op, what, expected, found } => Error::Shape { op: named(op), what, expected, found },
            Error::TooSmall { op, input, kernel } => Error::TooSmall { op: named(op), input, kernel },
            other => other,
        }
    }
}
