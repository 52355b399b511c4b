//! Puts the steps of a network that was read from a file on a tape.

use std::sync::Arc;

use super::step::{Id, Network, Operation, Step};
use crate::nets::head::Head;
use crate::nets::layers::Layers;
use crate::ops::{LayerNorm, MaxPool2d, Window};
use crate::tape::Var;
use crate::{Error, Result};

/// A network that can be laid.
pub(super) struct Laid {
    pub network: Arc<Network>,
    /// Height and width of the pictures that the file was made with.
    pub sides: [usize; 2],
    /// Whether the file says them.
    pub fixed: bool,
    /// Channels of its pictures.
    pub channels: usize,
}

impl Laid {
    /// x [N, C, H, W], or colours for a network of grey pictures -> logits [N, classes, 1, 1].
    pub fn forward(&self, net: &mut Layers, x: Var) -> Result<()> {
        let x = if self.channels == 1 && net.shape(x).c() == 3 { net.grey(x)? } else { x };
        let mut values = vec![x];
        for (index, step) in self.network.steps.iter().enumerate() {
            let y = self.step(net, step, &values)?;
            values.push(y);
            let own = index + 1;
            // A module whose last value comes later is known by that.
            let of_module = self.network.taps.iter().any(|(id, names)| *id != own && names.contains(&step.layer));
            if !step.tensors.is_empty() && !of_module {
                net.tap(&step.layer, y);
            }
            for name in self.network.taps.get(&own).into_iter().flatten() {
                if step.tensors.is_empty() || *name != step.layer {
                    net.tap(name, y);
                }
            }
            if self.network.logits.is_some_and(|(id, _)| id == own) {
                self.logits(net, y, &step.layer)?;
                break;
            }
        }
        Ok(())
    }

    fn logits(&self, net: &mut Layers, y: Var, layer: &str) -> Result<()> {
        let [_, _, h, w] = net.shape(y).0;
        if (h, w) != (1, 1) {
            return Err(self.wrong_size(layer, [1, 1], [h, w]));
        }
        net.logits(Head::Main, y);
        Ok(())
    }

    fn wrong_size(&self, layer: &str, expected: [usize; 2], found: [usize; 2]) -> Error {
        Error::PictureSize { layer: layer.to_owned(), sides: self.sides, fixed: self.fixed, expected, found }
    }

    fn step(&self, net: &mut Layers, step: &Step, values: &[Var]) -> Result<Var> {
        let inputs: Vec<Var> = step.inputs.iter().map(|id: &Id| values[*id]).collect();
        let x = inputs[0];
        let layer = step.layer.as_str();
        let sizes = |leaf: &str| step.tensors.iter().find(|(name, _)| *name == leaf).map(|(_, view)| &view.sizes[..]);
        match &step.operation {
            Operation::Apply(op) => {
                let [_, _, h, w] = net.shape(x).0;
                let op = step.same.map_or_else(|| op.clone(), |same| same.pooling(op, [h, w]));
                net.apply(layer, op, &inputs)
            }
            Operation::Largest => {
                let [_, _, h, w] = net.shape(x).0;
                let whole = MaxPool2d { kernel: [h, w], stride: [h, w], ..MaxPool2d::new(1, 1, 0) };
                net.apply(layer, Arc::new(whole), &inputs)
            }
            Operation::Conv(window) => {
                let weight = sizes("weight").expect("a convolution has a weight");
                let [c_out, c_in, kh, kw] =
                    weight.try_into().map(|[a, b, c, d]: [usize; 4]| [a, b, c, d]).expect("four sizes");
                let [_, _, h, w] = net.shape(x).0;
                let same = step.same.map(|same| same.padding([h, w], [kh, kw], window.stride, window.dilation));
                let window = Window { padding: same.unwrap_or(window.padding), ..*window };
                net.windowed(layer, x, window, [c_out, c_in, kh, kw], sizes("bias").is_some())
            }
            Operation::BatchNorm(eps) => net.norm(layer, x, *eps),
            Operation::LayerNorm(eps) => {
                let c = net.shape(x).c();
                let vectors = ["weight", "bias"].map(|leaf| match sizes(leaf) {
                    Some(_) => net.vector(&format!("{layer}.{leaf}"), c),
                    None => net.numbers(&vec![if leaf == "weight" { 1.0 } else { 0.0 }; c]),
                });
                net.apply(layer, Arc::new(LayerNorm { eps: *eps }), &[x, vectors[0], vectors[1]])
            }
            Operation::Linear { pixels } => {
                let &[out, all] = sizes("weight").expect("a linear layer has a weight") else {
                    unreachable!("a matrix")
                };
                let [_, c, h, w] = net.shape(x).0;
                let window = if *pixels { [1, 1] } else { [h, w] };
                let given = c * window[0] * window[1];
                if given != all {
                    let side = ((all / c.max(1)) as f64).sqrt().round() as usize;
                    return Err(self.wrong_size(layer, [side, side], [h, w]));
                }
                net.linear_window(layer, x, window, out, sizes("bias").is_some())
            }
            Operation::Constant(op, numbers, first) => {
                let other = match sizes("factor") {
                    Some(sizes) => net.vector(&format!("{layer}.factor"), sizes[0]),
                    None => net.numbers(numbers),
                };
                let pair = if *first { [other, x] } else { [x, other] };
                net.apply(layer, Arc::new(*op), &pair)
            }
        }
    }
}
