//! A tape on its way into a recording: what one request needs of it, and what the passes have found out.

use std::sync::Arc;

use super::{Node, Origin, Request, Tape, Value, Var};
use crate::ops::{Live, Op};
use crate::tensor::{Layout, Shape};

/// What a request needs of a tape. Passes change the operations and write down what they have decided; the numbers of values
/// stay what they were on the tape.
pub(super) struct Graph {
    pub tape: Tape,
    /// Values that somebody wants to see, or to differentiate with respect to: no pass may do away with them.
    wanted: Vec<Var>,
    wrt: Vec<Var>,
    /// Values that depend on what is differentiated with respect to.
    pub differentiated: Vec<bool>,
    /// Values that lie inside of another: the whole, and the first channel. Pass [`super::passes::PLACE`] fills it in.
    pub inside: Vec<Option<(Var, usize)>>,
    /// Where values must lie for their gradients to matter. Pass [`super::passes::MASK`] fills it in.
    pub live: Vec<Option<Live>>,
}

impl Graph {
    /// The operations that a request depends on, in the order of the tape.
    pub fn new(tape: &Tape, request: &Request) -> Graph {
        let mut tape = tape.clone();
        let wanted: Vec<Var> = request.keep.iter().chain(&request.loss).chain(&request.wrt).copied().collect();
        let mut needed = vec![false; tape.values.len()];
        request.keep.iter().chain(&request.loss).for_each(|&var| needed[tape.whole(var).0] = true);
        for index in (0..tape.nodes.len()).rev() {
            if needed[tape.nodes[index].output.0] {
                tape.nodes[index].inputs.iter().for_each(|&input| needed[tape.whole(input).0] = true);
            }
        }
        tape.nodes.retain(|node| needed[node.output.0]);
        let wrt = if request.loss.is_some() { request.wrt.clone() } else { vec![] };
        let mut graph = Graph { tape, wanted, wrt, differentiated: vec![], inside: vec![], live: vec![] };
        graph.differentiate();
        graph
    }

    /// Finds out again which values depend on what is differentiated, and makes room for the notes of the passes.
    fn differentiate(&mut self) {
        let count = self.tape.values.len();
        self.differentiated = vec![false; count];
        self.wrt.iter().for_each(|var| self.differentiated[var.0] = true);
        let parts = self.parts();
        for node in &self.tape.nodes {
            let depends = node.inputs.iter().any(|input| self.differentiated[input.0]);
            self.differentiated[node.output.0] |= depends;
            for part in &parts[node.output.0] {
                self.differentiated[part.0] |= self.differentiated[node.output.0];
            }
        }
        self.inside.resize(count, None);
        self.live.resize(count, None);
    }

    /// Parts of each value that is seen in parts.
    pub fn parts(&self) -> Vec<Vec<Var>> {
        let mut parts = vec![Vec::new(); self.tape.values.len()];
        for var in (0..self.tape.values.len()).map(Var) {
            if let Origin::Part(whole, _) = self.tape.values[var.0].origin {
                parts[whole.0].push(var);
            }
        }
        parts
    }

    pub fn shape(&self, var: Var) -> Shape {
        self.tape.shape(var)
    }

    /// Whether somebody asks for a gradient with respect to this value.
    pub fn is_asked_for(&self, var: Var) -> bool {
        self.wrt.contains(&var)
    }

    /// For each value the node that computes it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.tape.values.len()];
        for (index, node) in self.tape.nodes.iter().enumerate() {
            producers[node.output.0] = Some(index);
        }
        producers
    }

    /// For each value the nodes that read it, once for each time that they do.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.tape.values.len()];
        for (index, node) in self.tape.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| readers[input.0].push(index));
        }
        readers
    }

    /// Whether somebody wants to see this value, or one of its parts.
    pub fn is_wanted(&self, var: Var) -> bool {
        self.wanted.iter().any(|&wanted| wanted == var || self.tape.whole(wanted) == var)
    }

    /// For each value that depends on parameters of one set alone, and is not differentiated, that set: it can be computed ahead.
    pub fn fixed(&self) -> Vec<Option<Arc<str>>> {
        let set = |value: &Value| match &value.origin {
            Origin::Parameter(set, _) => Some(set.clone()),
            _ => None,
        };
        let mut fixed: Vec<Option<Arc<str>>> = self.tape.values.iter().map(set).collect();
        self.wrt.iter().for_each(|var| fixed[var.0] = None);
        for node in &self.tape.nodes {
            fixed[node.output.0] = common_set(&fixed, &node.inputs);
        }
        fixed
    }

    /// A name for a value that is fixed: what computes it, and from which parameters. Equal names have equal contents.
    pub fn name(&self, var: Var) -> String {
        if let Origin::Parameter(_, name) = &self.tape.values[var.0].origin {
            return name.clone();
        }
        let node = self.tape.nodes.iter().find(|node| node.output == var).expect("what is fixed has a node");
        let inputs: Vec<String> = node.inputs.iter().map(|&input| self.name(input)).collect();
        format!("{:?}({})", node.op, inputs.join(", "))
    }

    /// A node with a new value for its result; to be put into place with [`Graph::rewrite`].
    pub fn node(&mut self, op: Arc<dyn Op>, inputs: Vec<Var>, layer: &Arc<str>) -> Node {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = op.output_shape(&shapes).expect("a pass puts in what fits what it takes out");
        let output = self.tape.value(shape, op.layout(), Origin::Node);
        Node { op, inputs, output, layer: layer.clone() }
    }

    /// Makes the results of several nodes parts of one.
    pub fn part(&mut self, var: Var, whole: Var, first: usize) {
        self.tape.values[var.0].origin = Origin::Part(whole, first);
    }

    pub fn layout(&self, var: Var) -> Layout {
        self.tape.values[var.0].layout
    }

    /// Puts nodes in the place of each; those that are replaced by nothing are gone. What is fixed comes first, so that later passes
    /// can make use of it anywhere.
    pub fn rewrite(&mut self, mut replacements: Vec<Option<Vec<Node>>>) {
        let nodes = std::mem::take(&mut self.tape.nodes);
        for (index, node) in nodes.into_iter().enumerate() {
            match replacements[index].take() {
                Some(nodes) => self.tape.nodes.extend(nodes),
                None => self.tape.nodes.push(node),
            }
        }
        let fixed = self.fixed();
        self.tape.nodes.sort_by_key(|node| fixed[node.output.0].is_none());
        self.differentiate();
    }
}

/// The set that all of these values belong to, where they are fixed.
pub(super) fn common_set(fixed: &[Option<Arc<str>>], vars: &[Var]) -> Option<Arc<str>> {
    let set = fixed[vars.first()?.0].as_ref()?;
    vars.iter().all(|var| fixed[var.0].as_ref() == Some(set)).then(|| set.clone())
}
