//! The tape: which value came from which, the order of the reverse walk, and when gradients add up.
//!
//! Not here: the name of any operation but [`Accumulate`], shapes of networks, GPU handles.
//!
//! A little long: the way forth and the way back read the same private nodes.

use crate::device::{Recorder, Source};
use crate::ops::{Accumulate, Backward, Finish, Forward, Op, View};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// A value on a [`Tape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(usize);

/// A network, or any function, as a list of operations on values.
#[derive(Debug, Default)]
pub struct Tape {
    values: Vec<Value>,
    nodes: Vec<Node>,
    layer: String,
}

#[derive(Debug)]
struct Value {
    shape: Shape,
    layout: Layout,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// A buffer that the caller provides under this name.
    External(String),
    /// Numbers fixed on the tape, in the engine's order.
    Constant(Vec<f32>),
    /// Result of a node.
    Node(usize),
    /// Some channels of the result of a node, from this one on.
    Part(Var, usize),
}

#[derive(Debug)]
struct Node {
    op: Box<dyn Op>,
    inputs: Vec<Var>,
    output: Var,
    layer: String,
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

/// Where a recording leaves what was asked for.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Views of [`Request::keep`].
    pub kept: Vec<View>,
    /// Gradients with respect to [`Request::wrt`].
    pub gradients: Vec<View>,
}

/// What stands before a layer's name where its gradient is meant.
pub const GRADIENT_OF: &str = "the gradient of ";

/// Is shown every value and every gradient, with its layer's name, a gradient's after [`GRADIENT_OF`], right after the dispatches that compute it: its memory
/// may serve another value later.
pub type Watch<'a> = &'a mut dyn FnMut(&mut Recorder, &str, View);

impl Tape {
    /// A value that the caller provides under `name` when the recording is prepared.
    pub fn external(&mut self, name: &str, shape: Shape, layout: Layout) -> Var {
        self.value(shape, layout, Origin::External(name.to_owned()))
    }

    /// A picture-like value that the caller provides.
    pub fn input(&mut self, name: &str, shape: Shape) -> Var {
        self.external(name, shape, Layout::Picture)
    }

    /// Fixed numbers.
    pub fn constant(&mut self, array: &Array) -> Var {
        let stored = Layout::Picture.pack(array.shape, &array.values);
        self.value(array.shape, Layout::Picture, Origin::Constant(stored))
    }

    /// Shape of a value.
    pub fn shape(&self, var: Var) -> Shape {
        self.values[var.0].shape
    }

    /// Names the layer that the next operations belong to, for errors, labels and plans.
    pub fn layer(&mut self, name: &str) {
        name.clone_into(&mut self.layer);
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// Those of [`Op::output_shape`], with the layer's name before the operation's.
    pub fn apply(&mut self, op: impl Op + 'static, inputs: &[Var]) -> Result<Var> {
        self.apply_boxed(Box::new(op), inputs)
    }

    /// [`Tape::apply`] for an operation whose type is not known.
    ///
    /// # Errors
    /// As [`Tape::apply`].
    pub fn apply_boxed(&mut self, op: Box<dyn Op>, inputs: &[Var]) -> Result<Var> {
        let shapes: Vec<Shape> = inputs.iter().map(|&var| self.shape(var)).collect();
        let shape = op.output_shape(&shapes).map_err(|error| self.in_layer(error))?;
        let output = self.value(shape, Layout::Picture, Origin::Node(self.nodes.len()));
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output, layer: self.layer.clone() });
        Ok(output)
    }

    /// Every operation in order, with shapes and layouts of its arguments.
    pub fn into_operations(self) -> impl Iterator<Item = (Box<dyn Op>, Vec<(Shape, Layout)>)> {
        let Tape { values, nodes, .. } = self;
        nodes.into_iter().map(move |node| {
            let form = |var: &Var| (values[var.0].shape, values[var.0].layout);
            (node.op, node.inputs.iter().map(form).collect())
        })
    }

    /// Applies an operation whose result is seen in parts of so many channels, the whole by nobody: several operations in one.
    ///
    /// # Errors
    /// As [`Tape::apply`].
    ///
    /// # Panics
    /// When a part but the last has no whole channel groups, or when the parts are not the whole.
    pub fn apply_in_parts(&mut self, op: impl Op + 'static, inputs: &[Var], channels: &[usize]) -> Result<Vec<Var>> {
        let whole = self.apply(op, inputs)?;
        if let [_] = channels {
            return Ok(vec![whole]);
        }
        let [n, c, h, w] = self.shape(whole).0;
        assert_eq!(c, channels.iter().sum::<usize>(), "the parts are the whole");
        let mut first = 0;
        let part = |&channels: &usize| {
            assert!(first % 4 == 0, "parts are whole channel groups");
            let part = self.value(Shape::new(n, channels, h, w), Layout::Picture, Origin::Part(whole, first));
            first += channels;
            part
        };
        Ok(channels.iter().map(part).collect())
    }

    /// The value that holds the memory of another: the whole of a part, or itself.
    fn whole(&self, var: Var) -> Var {
        match self.values[var.0].origin {
            Origin::Part(whole, _) => whole,
            _ => var,
        }
    }

    fn value(&mut self, shape: Shape, layout: Layout, origin: Origin) -> Var {
        self.values.push(Value { shape, layout, origin });
        Var(self.values.len() - 1)
    }

    fn in_layer(&self, error: Error) -> Error {
        let named = |op: String| if self.layer.is_empty() { op } else { format!("{}: {op}", self.layer) };
        match error {
            Error::Shape { op, what, expected, found } => Error::Shape { op: named(op), what, expected, found },
            Error::TooSmall { op, input, kernel } => Error::TooSmall { op: named(op), input, kernel },
            other => other,
        }
    }

    /// Appends to a recording what the request needs, and only that.
    ///
    /// # Errors
    /// [`Error::NoGradient`] when a path to the loss is not differentiable, [`Error::Objective`] when there is no path.
    pub fn record(&self, recorder: &mut Recorder, request: &Request) -> Result<Recorded> {
        self.record_watched(recorder, request, &mut |_, _, _| {})
    }

    /// [`Tape::record`] with somebody watching.
    ///
    /// # Errors
    /// As [`Tape::record`].
    pub fn record_watched(&self, recorder: &mut Recorder, request: &Request, watch: Watch) -> Result<Recorded> {
        let mut lowering = Lowering::new(self, recorder, request, watch);
        lowering.forward();
        let gradients = lowering.backward(request)?;
        let kept: Vec<View> = request.keep.iter().map(|&var| lowering.view(var)).collect();
        for view in kept.iter().chain(&gradients) {
            recorder.keep(view.buffer);
        }
        Ok(Recorded { kept, gradients })
    }
}

/// A tape on its way into a recording.
struct Lowering<'a> {
    tape: &'a Tape,
    recorder: &'a mut Recorder,
    watch: Watch<'a>,
    /// Nodes that the request depends on.
    needed: Vec<bool>,
    /// Values that depend on what the request differentiates with respect to.
    differentiated: Vec<bool>,
    /// Values whose gradient does not matter where they are not positive: what a relu makes, and what is selected from that.
    rectified: Vec<bool>,
    /// Values that lie inside of another: the whole, and the first channel.
    inside: Vec<Option<(Var, usize)>>,
    /// Parts of values that are seen in parts.
    parts: Vec<Vec<Var>>,
    /// Nodes that read each value first, and so are the last to add to its gradient.
    first_reader: Vec<usize>,
    /// Gradients of values that are seen in parts, made when that of the first part is.
    joint: Vec<Option<View>>,
    views: Vec<Option<View>>,
    saved: Vec<Vec<View>>,
}

/// A gradient that has arrived at a value.
#[derive(Clone, Copy)]
struct Arrived {
    view: View,
    /// Whether nobody else reads this buffer, so that it may be added to.
    own: bool,
    /// Whether it is zero where the value is not positive.
    masked: bool,
}

impl<'a> Lowering<'a> {
    fn new(tape: &'a Tape, recorder: &'a mut Recorder, request: &Request, watch: Watch<'a>) -> Self {
        let mut wanted = vec![false; tape.values.len()];
        for &var in request.keep.iter().chain(&request.loss) {
            wanted[tape.whole(var).0] = true;
        }
        let mut needed = vec![false; tape.nodes.len()];
        let mut first_reader = vec![usize::MAX; tape.values.len()];
        for (index, node) in tape.nodes.iter().enumerate().rev() {
            if wanted[node.output.0] {
                needed[index] = true;
                for &input in &node.inputs {
                    wanted[tape.whole(input).0] = true;
                    first_reader[input.0] = index;
                }
            }
        }
        let mut parts = vec![Vec::new(); tape.values.len()];
        for var in (0..tape.values.len()).map(Var) {
            if let Origin::Part(whole, _) = tape.values[var.0].origin {
                parts[whole.0].push(var);
            }
        }
        let mut differentiated = vec![false; tape.values.len()];
        if request.loss.is_some() {
            request.wrt.iter().for_each(|var| differentiated[var.0] = true);
        }
        for (node, _) in tape.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            differentiated[node.output.0] |= node.inputs.iter().any(|input| differentiated[input.0]);
            for part in &parts[node.output.0] {
                differentiated[part.0] |= differentiated[node.output.0];
            }
        }
        let mut rectified = vec![false; tape.values.len()];
        for node in &tape.nodes {
            let selected = node.op.selects() && node.inputs.iter().all(|input| rectified[input.0]);
            for var in std::iter::once(&node.output).chain(&parts[node.output.0]) {
                // Who asks for a gradient gets all of it.
                rectified[var.0] = (node.op.rectifies() || selected) && !request.wrt.contains(var);
            }
        }
        let mut lowering = Lowering {
            tape,
            recorder,
            watch,
            needed,
            differentiated,
            rectified,
            inside: vec![None; tape.values.len()],
            parts,
            first_reader,
            joint: vec![None; tape.values.len()],
            views: vec![None; tape.values.len()],
            saved: vec![Vec::new(); tape.nodes.len()],
        };
        lowering.place();
        lowering
    }

    fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Node)> + use<'a> {
        let needed = self.needed.clone();
        self.tape.nodes.iter().enumerate().filter(move |(index, _)| needed[*index])
    }

    /// Puts the arguments of side-by-side operations where the result will be, so that nothing is copied.
    fn place(&mut self) {
        for (_, node) in self.nodes() {
            let shapes: Vec<Shape> = node.inputs.iter().map(|&var| self.tape.shape(var)).collect();
            let Some(starts) = node.op.side_by_side(&shapes) else { continue };
            let free = |var: &Var| {
                let once = node.inputs.iter().filter(|other| *other == var).count() == 1;
                once && self.inside[var.0].is_none() && matches!(self.tape.values[var.0].origin, Origin::Node(_))
            };
            if starts.iter().all(|start| start % 4 == 0) && node.inputs.iter().all(free) {
                for (input, start) in node.inputs.iter().zip(starts) {
                    self.inside[input.0] = Some((node.output, start));
                }
            }
        }
    }

    fn placed(&self, node: &Node) -> bool {
        node.inputs.iter().any(|input| matches!(self.inside[input.0], Some((whole, _)) if whole == node.output))
    }

    /// The memory of a value, made when it is first needed.
    fn view(&mut self, var: Var) -> View {
        if let Some(view) = self.views[var.0] {
            return view;
        }
        let value = &self.tape.values[var.0];
        let bytes = value.layout.bytes(value.shape);
        let view = match (&value.origin, self.inside[var.0]) {
            (_, Some((whole, start))) => self.view(whole).slice(start, value.shape.c()),
            (Origin::External(name), None) => {
                let buffer = self.recorder.external(name, bytes);
                View::whole(buffer, value.shape, value.layout)
            }
            (Origin::Constant(stored), None) => {
                let buffer = self.recorder.constants("constant", stored);
                View::whole(buffer, value.shape, value.layout)
            }
            (&Origin::Part(whole, first), None) => self.view(whole).slice(first, value.shape.c()),
            (Origin::Node(index), None) => {
                let what = self.tape.nodes[*index].op.name();
                View::transient(self.recorder, what, value.shape)
            }
        };
        self.views[var.0] = Some(view);
        view
    }

    fn forward(&mut self) {
        for (index, node) in self.nodes() {
            self.recorder.layer(&node.layer);
            let inputs: Vec<View> = node.inputs.iter().map(|&input| self.view(input)).collect();
            let output = self.view(node.output);
            let shapes: Vec<Shape> = inputs.iter().map(|view| view.shape).collect();
            let saved = node.op.saved(&shapes);
            self.saved[index] = saved.iter().map(|&shape| View::transient(self.recorder, "saved", shape)).collect();
            if !self.placed(node) {
                node.op.forward(self.recorder, &Forward { inputs: &inputs, output, saved: &self.saved[index] });
            }
            (self.watch)(self.recorder, &node.layer, output);
        }
    }

    fn backward(&mut self, request: &Request) -> Result<Vec<View>> {
        let Some(loss) = request.loss else { return Ok(Vec::new()) };
        let mut arrived: Vec<Option<Arrived>> = vec![None; self.tape.values.len()];
        let shape = self.tape.shape(loss);
        self.recorder.layer("loss");
        let ones = Layout::Picture.pack(shape, &vec![1.0; shape.elements()]);
        let seed = self.recorder.constants("gradient of itself", &ones);
        arrived[loss.0] = Some(Arrived { view: View::whole(seed, shape, Layout::Picture), own: false, masked: false });
        for (index, node) in self.nodes().rev() {
            if !self.differentiated[node.output.0] {
                continue;
            }
            self.recorder.layer(&node.layer);
            let Some(mut grad_output) = self.arrived_at(node, &arrived) else { continue };
            if (self.rectified[node.output.0] || node.op.rectifies()) && !grad_output.masked {
                let value = self.view(node.output);
                let view = Accumulate::where_positive(self.recorder, grad_output.view, value);
                grad_output = Arrived { view, own: true, masked: true };
            }
            self.node_backward(index, node, grad_output, &mut arrived)?;
        }
        let missing = || Error::Objective {
            objective: "gradient".into(),
            reason: "the loss does not depend on what it is to be differentiated with respect to".into(),
        };
        request.wrt.iter().map(|var| arrived[var.0].map(|arrived| arrived.view).ok_or_else(missing)).collect()
    }

    /// The gradient of a node's result; where that is seen in parts, theirs side by side.
    fn arrived_at(&mut self, node: &Node, arrived: &[Option<Arrived>]) -> Option<Arrived> {
        let parts = self.parts[node.output.0].clone();
        if parts.is_empty() {
            return arrived[node.output.0];
        }
        parts.iter().find_map(|part| arrived[part.0])?;
        for part in parts {
            let (place, value) = (self.gradient_place(part), self.view(part));
            match arrived[part.0] {
                Some(Arrived { view, .. }) if view == place => {}
                Some(Arrived { view, masked, .. }) if masked || !node.op.rectifies() => {
                    Accumulate::copy(self.recorder, view, place);
                }
                Some(Arrived { view, .. }) => Accumulate::copy_where_positive(self.recorder, view, value, place),
                None => {
                    let zeros = vec![0.0f32; value.layout.stored(value.shape)];
                    let zeros = self.recorder.constants("no gradient", &zeros);
                    Accumulate::copy(self.recorder, View::whole(zeros, value.shape, value.layout), place);
                }
            }
        }
        let view = self.joint[node.output.0].expect("its parts have their places");
        Some(Arrived { view, own: true, masked: node.op.rectifies() })
    }

    /// Where the gradient of a part belongs.
    fn gradient_place(&mut self, part: Var) -> View {
        let Origin::Part(whole, first) = self.tape.values[part.0].origin else { unreachable!("it is a part") };
        let shape = self.tape.shape(whole);
        let joint = &mut self.joint[whole.0];
        let joint = *joint.get_or_insert_with(|| View::transient(self.recorder, "gradient", shape));
        joint.slice(first, self.tape.shape(part).c())
    }

    /// Memory for the gradient that a node computes of one of its inputs. That of a part is computed in its place where nothing
    /// remains to be done to it.
    fn new_gradient(&mut self, (index, node): (usize, &Node), position: usize) -> View {
        let input = node.inputs[position];
        if let Origin::Part(whole, _) = self.tape.values[input.0].origin {
            let Origin::Node(source) = self.tape.values[whole.0].origin else { unreachable!("nodes have parts") };
            let finished = position == 0 && node.op.finishes() && self.first_reader[input.0] == index;
            if finished && (self.rectified[input.0] || !self.tape.nodes[source].op.rectifies()) {
                return self.gradient_place(input);
            }
        }
        let Value { shape, layout, .. } = self.tape.values[input.0];
        let buffer = self.recorder.buffer("gradient", layout.bytes(shape), Source::Transient);
        View::whole(buffer, shape, layout)
    }

    fn node_backward(
        &mut self,
        index: usize,
        node: &Node,
        grad_output: Arrived,
        arrived: &mut [Option<Arrived>],
    ) -> Result<()> {
        let inputs: Vec<View> = node.inputs.iter().map(|&input| self.view(input)).collect();
        let selected = node.op.selects() && grad_output.masked;
        let mut grads = Vec::with_capacity(inputs.len());
        let mut arriving = Vec::with_capacity(inputs.len());
        for (position, (&input, view)) in node.inputs.iter().zip(&inputs).enumerate() {
            let wanted = self.differentiated[input.0];
            let passed = match self.inside[input.0] {
                Some((whole, start)) if whole == node.output => Some(grad_output.view.slice(start, view.shape.c())),
                _ => node.op.passes_gradient(position).then_some(grad_output.view),
            };
            match passed {
                Some(view) => {
                    grads.push(None);
                    arriving.push(wanted.then_some(Arrived { view, own: false, masked: selected }));
                }
                None => {
                    let grad = wanted.then(|| self.new_gradient((index, node), position));
                    grads.push(grad);
                    arriving.push(grad.map(|view| Arrived { view, own: true, masked: selected }));
                }
            }
        }
        if grads.iter().any(Option::is_some) {
            let finish = self.finish(node, &mut arriving[0], arrived);
            let output = self.view(node.output);
            let saved = &self.saved[index];
            let pass =
                Backward { inputs: &inputs, output, saved, grad_output: grad_output.view, grads: &grads, finish };
            node.op.backward(self.recorder, &pass)?;
            for &grad in grads.iter().flatten() {
                (self.watch)(self.recorder, &format!("{GRADIENT_OF}{}", node.layer), grad);
            }
        }
        for (&input, new) in node.inputs.iter().zip(arriving) {
            let Some(new) = new else { continue };
            let sum = match arrived[input.0] {
                None => new,
                Some(old) => self.sum(old, new),
            };
            arrived[input.0] = Some(sum);
        }
        Ok(())
    }

    /// What an operation that finishes the gradient of its first argument is to do: all that is known to be left to do.
    fn finish(&self, node: &Node, arriving: &mut Option<Arrived>, arrived: &mut [Option<Arrived>]) -> Finish {
        let Some(new) = arriving.as_mut().filter(|new| new.own && node.op.finishes()) else { return Finish::default() };
        let input = node.inputs[0];
        new.masked = self.rectified[input.0];
        Finish { addend: arrived[input.0].take().map(|old| old.view), mask: new.masked }
    }

    fn sum(&mut self, old: Arrived, new: Arrived) -> Arrived {
        let masked = old.masked && new.masked;
        match (old.own, new.own) {
            (true, _) => {
                Accumulate::in_place(self.recorder, old.view, new.view);
                Arrived { masked, ..old }
            }
            (false, true) => {
                Accumulate::in_place(self.recorder, new.view, old.view);
                Arrived { masked, ..new }
            }
            (false, false) => {
                Arrived { view: Accumulate::into_new(self.recorder, old.view, new.view), own: true, masked }
            }
        }
    }
}
