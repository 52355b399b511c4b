//! From a tape to a recording: the passes, then each operation's dispatches in order.
//!
//! What depends on parameters alone, such as weights into which a batch norm has been folded, is not part of the recording: it
//! comes beside it as [`Derived`] values, to be computed once, and once more when the parameters change.

use std::sync::Arc;

use super::graph::Graph;
use super::passes::{self, Pass};
use super::{Node, Origin, Request, Tape, Var};
use crate::Result;
use crate::device::{Recorder, Recording, Tuning};
use crate::ops::{Forward, View};
use crate::tensor::{Layout, Shape};

/// Where a recording leaves what was asked for.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Views of [`Request::keep`].
    pub kept: Vec<View>,
    /// Gradients with respect to [`Request::wrt`].
    pub gradients: Vec<View>,
    /// What the recording reads that is computed from parameters alone.
    pub derived: Vec<Derived>,
}

/// A value that depends on parameters alone. Recordings read it as an external buffer.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Name of that buffer: what is computed, and from which parameters. Equal names have equal contents.
    pub name: String,
    /// The set that the parameters belong to.
    pub set: Arc<str>,
    /// Computes it.
    pub recording: Recording,
}

/// What stands before a layer's name where its gradient is meant.
pub const GRADIENT_OF: &str = "the gradient of ";

/// Called right after the dispatches that compute a value or a gradient, since its memory may serve another value later. Its
/// arguments are the recorder, the name of the layer that the value belongs to (after [`GRADIENT_OF`] for a gradient), and the
/// value.
pub type Watch<'a> = &'a mut dyn FnMut(&mut Recorder, &str, View);

impl Tape {
    /// Appends to a recording what the request needs, and only that, after all passes.
    ///
    /// # Errors
    /// [`crate::Error::NoGradient`] when a path to the loss is not differentiable, [`crate::Error::Objective`] when there is
    /// no path.
    pub fn record(&self, recorder: &mut Recorder, request: &Request) -> Result<Recorded> {
        self.record_after(passes::ALL, recorder, request)
    }

    /// [`Tape::record`] after some passes only: those of a test, or none for the plain tape, which is the reference.
    ///
    /// # Errors
    /// As [`Tape::record`].
    pub fn record_after(&self, passes: &[Pass], recorder: &mut Recorder, request: &Request) -> Result<Recorded> {
        self.lower(passes, recorder, request, &mut |_, _, _| {})
    }

    /// [`Tape::record`] with somebody watching every value and every gradient, so that no operation is merged with another.
    ///
    /// # Errors
    /// As [`Tape::record`].
    pub fn record_watched(&self, recorder: &mut Recorder, request: &Request, watch: Watch) -> Result<Recorded> {
        self.lower(passes::WATCHED, recorder, request, watch)
    }

    /// The tape after some passes, as far as a request needs it; without what depends on parameters alone. For those who want
    /// to know its operations.
    pub fn after(&self, passes: &[Pass], request: &Request) -> Tape {
        let mut graph = Graph::new(self, request);
        passes.iter().for_each(|pass| pass.run(&mut graph));
        take_derived(&mut graph, &Tuning::default());
        graph.tape
    }

    fn lower(&self, passes: &[Pass], recorder: &mut Recorder, request: &Request, watch: Watch) -> Result<Recorded> {
        let mut graph = Graph::new(self, request);
        passes.iter().for_each(|pass| pass.run(&mut graph));
        let derived = take_derived(&mut graph, recorder.tuning());
        let mut lowering = Lowering::new(&graph, recorder, watch);
        lowering.forward();
        let gradients = lowering.backward(request)?;
        let kept: Vec<View> = request.keep.iter().map(|&var| lowering.view(var)).collect();
        for view in kept.iter().chain(&gradients) {
            recorder.keep(view.buffer);
        }
        Ok(Recorded { kept, gradients, derived })
    }
}

/// Takes the nodes out of a graph that depend on parameters alone; their results that others read become external values.
fn take_derived(graph: &mut Graph, tuning: &Tuning) -> Vec<Derived> {
    let fixed = graph.fixed();
    let (ahead, rest): (Vec<Node>, Vec<Node>) =
        std::mem::take(&mut graph.tape.nodes).into_iter().partition(|node| fixed[node.output.0].is_some());
    let is_read = |var: Var| rest.iter().any(|node| node.inputs.contains(&var)) || graph.is_wanted(var);
    let roots: Vec<Var> = ahead.iter().map(|node| node.output).filter(|&var| is_read(var)).collect();
    graph.tape.nodes = ahead;
    let mut derived = Vec::with_capacity(roots.len());
    for root in roots {
        let name = graph.name(root);
        let mut needed = vec![root];
        for node in graph.tape.nodes.iter().rev() {
            if needed.contains(&node.output) {
                needed.extend(&node.inputs);
            }
        }
        let mut recorder = Recorder::new(tuning.clone());
        let mut watch = |_: &mut Recorder, _: &str, _: View| {};
        let mut lowering = Lowering::new(graph, &mut recorder, &mut watch);
        lowering
            .needed
            .iter_mut()
            .zip(&graph.tape.nodes)
            .for_each(|(flag, node)| *flag = needed.contains(&node.output));
        lowering.external(root, &name);
        lowering.forward();
        let set = fixed[root.0].clone().expect("it is fixed");
        derived.push((root, Derived { name, set, recording: recorder.finish() }));
    }
    graph.tape.nodes = rest;
    let external = |(root, derived): (Var, Derived)| {
        graph.tape.values[root.0].origin = Origin::External(derived.name.clone());
        graph.inside[root.0] = None;
        derived
    };
    derived.into_iter().map(external).collect()
}

/// A graph on its way into a recording.
pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub recorder: &'a mut Recorder,
    pub watch: Watch<'a>,
    /// Nodes to be recorded.
    needed: Vec<bool>,
    /// Parts of values that are seen in parts.
    pub parts: Vec<Vec<Var>>,
    /// Nodes that read each value first, and so are the last to add to its gradient.
    pub first_reader: Vec<usize>,
    views: Vec<Option<View>>,
    pub saved: Vec<Vec<View>>,
    /// Gradients of values that are seen in parts, made when that of the first part is.
    pub joint: Vec<Option<View>>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, recorder: &'a mut Recorder, watch: Watch<'a>) -> Self {
        let values = graph.tape.values.len();
        let mut first_reader = vec![usize::MAX; values];
        for (index, node) in graph.tape.nodes.iter().enumerate().rev() {
            node.inputs.iter().for_each(|input| first_reader[input.0] = index);
        }
        let nodes = graph.tape.nodes.len();
        Lowering {
            graph,
            recorder,
            watch,
            needed: vec![true; nodes],
            parts: graph.parts(),
            first_reader,
            views: vec![None; values],
            saved: vec![Vec::new(); nodes],
            joint: vec![None; values],
        }
    }

    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Node)> + use<'a> {
        let needed = self.needed.clone();
        self.graph.tape.nodes.iter().enumerate().filter(move |(index, _)| needed[*index])
    }

    fn placed(&self, node: &Node) -> bool {
        let inside = |input: &Var| matches!(self.graph.inside[input.0], Some((whole, _)) if whole == node.output);
        node.inputs.iter().any(inside)
    }

    /// Gives a value the memory of an external buffer.
    fn external(&mut self, var: Var, name: &str) {
        let value = &self.graph.tape.values[var.0];
        let buffer = self.recorder.external(name, value.layout.bytes(value.shape));
        self.views[var.0] = Some(View::whole(buffer, value.shape, value.layout));
    }

    /// The memory of a value, made when it is first needed.
    pub fn view(&mut self, var: Var) -> View {
        if let Some(view) = self.views[var.0] {
            return view;
        }
        let value = &self.graph.tape.values[var.0];
        let view = match (&value.origin, self.graph.inside[var.0]) {
            (_, Some((whole, start))) => self.view(whole).slice(start, channels(value.layout, value.shape)),
            (Origin::External(name) | Origin::Parameter(_, name), None) => {
                let buffer = self.recorder.external(name, value.layout.bytes(value.shape));
                View::whole(buffer, value.shape, value.layout)
            }
            (Origin::Constant(stored), None) => {
                let buffer = self.recorder.constants("constant", stored);
                View::whole(buffer, value.shape, value.layout)
            }
            (&Origin::Part(whole, first), None) => self.view(whole).slice(first, value.shape.c()),
            (Origin::Node, None) => {
                let node = self.graph.tape.nodes.iter().find(|node| node.output == var);
                let what = node.expect("a value that is recorded has a node").op.name();
                View::transient_as(self.recorder, what, value.shape, value.layout)
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
}

/// Channels of a picture, output channels of a filter.
fn channels(layout: Layout, shape: Shape) -> usize {
    match layout {
        Layout::Picture => shape.c(),
        Layout::Filter => shape.n(),
    }
}
