//! The reverse walk: from the loss back to what it is differentiated with respect to. Gradients add here and nowhere else.
//!
//! Each value has at most one gradient that has arrived so far. A node takes what has arrived at its result, and writes or
//! passes on a gradient for each of its arguments; where something had arrived there already, the two are added: by the kernel
//! that writes the second where it can ([`Op::finishes`](crate::ops::Op::finishes)), else by [`Accumulate`].

use super::lower::{GRADIENT_OF, Lowering};
use super::{Node, Origin, Request, Var};
use crate::device::Source;
use crate::ops::{Accumulate, Backward, Finish, View};
use crate::tensor::Layout;
use crate::{Error, Result};

/// A gradient that has arrived at a value.
#[derive(Clone, Copy)]
struct Arrived {
    view: View,
    /// Whether nobody else reads this buffer, so that it may be added to.
    own: bool,
    /// Whether it is zero where the value is not live.
    masked: bool,
}

impl<'a> Lowering<'a> {
    pub(super) fn backward(&mut self, request: &Request) -> Result<Vec<View>> {
        let Some(loss) = request.loss else { return Ok(Vec::new()) };
        let mut arrived: Vec<Option<Arrived>> = vec![None; self.graph.tape.values.len()];
        let shape = self.graph.shape(loss);
        self.recorder.layer("loss");
        let ones = Layout::Picture.pack(shape, &vec![1.0; shape.elements()]);
        let seed = self.recorder.constants("gradient of itself", &ones);
        arrived[loss.0] = Some(Arrived { view: View::whole(seed, shape, Layout::Picture), own: false, masked: false });
        for (index, node) in self.nodes().rev() {
            if !self.graph.differentiated[node.output.0] {
                continue;
            }
            self.recorder.layer(&node.layer);
            let Some(mut grad_output) = self.arrived_at(node, &arrived) else { continue };
            if let Some(live) = self.graph.live[node.output.0].or(node.op.live())
                && !grad_output.masked
            {
                let value = self.view(node.output);
                let view = Accumulate::where_live(self.recorder, live, grad_output.view, value);
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
                Some(Arrived { view, masked, .. }) => match node.op.live().filter(|_| !masked) {
                    Some(live) => Accumulate::copy_where_live(self.recorder, live, view, value, place),
                    None => Accumulate::copy(self.recorder, view, place),
                },
                None => {
                    let zeros = vec![0.0f32; value.layout.stored(value.shape)];
                    let zeros = self.recorder.constants("no gradient", &zeros);
                    Accumulate::copy(self.recorder, View::whole(zeros, value.shape, value.layout), place);
                }
            }
        }
        let view = self.joint[node.output.0].expect("its parts have their places");
        Some(Arrived { view, own: true, masked: node.op.live().is_some() })
    }

    /// Where the gradient of a part belongs.
    fn gradient_place(&mut self, part: Var) -> View {
        let Origin::Part(whole, first) = self.graph.tape.values[part.0].origin else { unreachable!("it is a part") };
        let shape = self.graph.shape(whole);
        let joint = &mut self.joint[whole.0];
        let joint = *joint.get_or_insert_with(|| View::transient(self.recorder, "gradient", shape));
        joint.slice(first, self.graph.shape(part).c())
    }

    /// Memory for the gradient that a node computes of one of its inputs. That of a part is computed in its place where nothing
    /// remains to be done to it.
    fn new_gradient(&mut self, (index, node): (usize, &Node), position: usize) -> View {
        let input = node.inputs[position];
        if let Origin::Part(whole, _) = self.graph.tape.values[input.0].origin {
            let mut nodes = self.graph.tape.nodes.iter();
            let source = nodes.find(|node| node.output == whole).expect("a value that is seen in parts has a node");
            let finished = position == 0 && node.op.finishes() && self.first_reader[input.0] == index;
            if finished && (self.graph.live[input.0].is_some() || source.op.live().is_none()) {
                return self.gradient_place(input);
            }
        }
        let value = &self.graph.tape.values[input.0];
        let (shape, layout) = (value.shape, value.layout);
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
            let wanted = self.graph.differentiated[input.0];
            let passed = match self.graph.inside[input.0] {
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
        let mask = self.graph.live[input.0];
        new.masked = mask.is_some();
        Finish { addend: arrived[input.0].take().map(|old| old.view), mask }
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
