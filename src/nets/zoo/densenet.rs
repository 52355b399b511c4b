//! DenseNets: blocks in which every layer sees what all layers before it have made, with halvings between them.
//!
//! **Reference** Huang et al., "Densely connected convolutional networks" (2016), as in torchvision: batch norm and relu come
//! before each convolution.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::ops::AvgPool2d;
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-5;

/// Channels of a layer's inner convolution, as a multiple of what it adds.
const BOTTLENECK: usize = 4;

const HALVING: AvgPool2d = AvgPool2d::new(2, 2, 0);

/// Channels that each layer adds, channels of the stem, and layers of each block.
type Form = (usize, usize, [usize; 4]);

const MEMBERS: [(&str, Form); 4] = [
    ("densenet121", (32, 64, [6, 12, 24, 16])),
    ("densenet161", (48, 96, [6, 12, 36, 24])),
    ("densenet169", (32, 64, [6, 12, 32, 32])),
    ("densenet201", (32, 64, [6, 12, 48, 32])),
];

pub(super) fn family() -> Vec<Structure> {
    MEMBERS.map(|(name, form)| Structure::new(name, "classifier", move |net, x| forward(net, x, form))).into()
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, x: Var, (growth, stem, blocks): Form) -> Result<()> {
    let x = net.conv("features.conv0", x, Conv::halving(stem, 7, 3))?;
    let x = norm_relu(net, ["features.norm0", "features.relu0"], x)?;
    let mut x = net.max_pool("features.pool0", x, 3, 2, 1, false)?;
    let mut channels = stem;
    for (index, layers) in blocks.into_iter().enumerate() {
        let block = format!("features.denseblock{}", index + 1);
        for layer in 1..=layers {
            let y = dense_layer(net, &format!("{block}.denselayer{layer}"), x, growth)?;
            // Each layer's input is the one before with more beside it, so that all of them are one value in memory.
            let name = if layer == layers { &block } else { &format!("{block}.denselayer{}.input", layer + 1) };
            x = net.concat(name, &[x, y])?;
            channels += growth;
        }
        if index + 1 < blocks.len() {
            let name = format!("features.transition{}", index + 1);
            let leaf = |leaf: &str| format!("{name}.{leaf}");
            x = norm_relu(net, [&leaf("norm"), &leaf("relu")], x)?;
            channels /= 2;
            x = net.conv(&leaf("conv"), x, Conv::same(channels, 1))?;
            x = net.pool(&leaf("pool"), x, HALVING)?;
            net.tap(&name, x);
        }
    }
    let x = norm_relu(net, ["features.norm5", "relu"], x)?;
    let x = net.average_to("avgpool", x, 1)?;
    let logits = net.linear("classifier", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}

/// What a layer adds to x: a 1x1 convolution to few channels, then a 3x3 one.
fn dense_layer(net: &mut Layers, name: &str, x: Var, growth: usize) -> Result<Var> {
    let leaf = |leaf: &str| format!("{name}.{leaf}");
    let y = norm_relu(net, [&leaf("norm1"), &leaf("relu1")], x)?;
    let y = net.conv(&leaf("conv1"), y, Conv::same(BOTTLENECK * growth, 1))?;
    let y = norm_relu(net, [&leaf("norm2"), &leaf("relu2")], y)?;
    let y = net.conv(&leaf("conv2"), y, Conv::same(growth, 3))?;
    Ok(net.tap(name, y))
}

fn norm_relu(net: &mut Layers, [norm, relu]: [&str; 2], x: Var) -> Result<Var> {
    let y = net.batch_norm(norm, x, EPS)?;
    let y = net.relu(y)?;
    Ok(net.tap(relu, y))
}
