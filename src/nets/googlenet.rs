//! GoogLeNet with batch norm: a stem, nine inception blocks of four branches, an average, a linear layer, two side heads.
//!
//! **Reference** Szegedy et al., "Going deeper with convolutions" (2014), as in torchvision: branch 3 has 3x3 windows where
//! the paper has 5x5, and pooling rounds up.

use super::head::Head;
use super::layers::{Conv, Layers};
use crate::Result;
use crate::ops::{AdaptiveAvgPool2d, MaxPool2d};
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-3;

/// The tensor whose first size gives the width, and that size in the full network.
pub(super) const FIRST: (&str, usize) = ("conv1.conv.weight", 64);

/// Channels of the branches: 1x1; reduction and 3x3; reduction and "5x5"; projection after pooling.
type Branches = [usize; 6];

const BLOCKS: [(&str, Branches); 9] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

/// Which block each side head looks at.
const HEADS: [(&str, Head, &str); 2] = [("inception4a", Head::Aux1, "aux1"), ("inception4d", Head::Aux2, "aux2")];

const fn pool(kernel: usize, stride: usize, padding: usize) -> MaxPool2d {
    MaxPool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], ceil_mode: true }
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1] of each head asked for, the main one first.
pub(super) fn forward(net: &mut Layers, x: Var, heads: &[Head]) -> Result<Vec<(Head, Var)>> {
    let mut logits = Vec::new();
    let x = net.conv_norm_relu("conv1", x, Conv::halving(64, 7, 3), EPS)?;
    let x = net.max_pool("maxpool1", x, pool(3, 2, 0))?;
    let x = net.conv_norm_relu("conv2", x, Conv::same(64, 1), EPS)?;
    let x = net.conv_norm_relu("conv3", x, Conv::same(192, 3), EPS)?;
    let mut x = net.max_pool("maxpool2", x, pool(3, 2, 0))?;
    for (name, branches) in BLOCKS {
        x = inception(net, name, x, branches)?;
        match name {
            "inception3b" => x = net.max_pool("maxpool3", x, pool(3, 2, 0))?,
            "inception4e" => x = net.max_pool("maxpool4", x, pool(2, 2, 0))?,
            _ => {}
        }
        for (block, head, prefix) in HEADS {
            if block == name && heads.contains(&head) {
                logits.push((head, side_head(net, prefix, x)?));
            }
        }
    }
    let x = net.average("avgpool", x, AdaptiveAvgPool2d { output: [1, 1] })?;
    logits.insert(0, (Head::Main, net.linear("fc", x, None, 1000)?));
    Ok(logits)
}

fn inception(net: &mut Layers, name: &str, x: Var, branches: Branches) -> Result<Var> {
    let [one, reduce3, three, reduce5, five, projection] = branches;
    let branch = |leaf: &str| format!("{name}.{leaf}");
    let branch1 = net.conv_norm_relu(&branch("branch1"), x, Conv::same(one, 1), EPS)?;
    let reductions = [(&*branch("branch2.0"), reduce3), (&*branch("branch3.0"), reduce5)];
    let [y2, y3] = net.siblings(x, reductions, EPS)?;
    let branch2 = net.conv_norm_relu(&branch("branch2.1"), y2, Conv::same(three, 3), EPS)?;
    let branch3 = net.conv_norm_relu(&branch("branch3.1"), y3, Conv::same(five, 3), EPS)?;
    let y = net.max_pool(&branch("branch4.0"), x, pool(3, 1, 1))?;
    let branch4 = net.conv_norm_relu(&branch("branch4.1"), y, Conv::same(projection, 1), EPS)?;
    net.concat(name, &[branch1, branch2, branch3, branch4])
}

fn side_head(net: &mut Layers, name: &str, x: Var) -> Result<Var> {
    let y = net.average(&format!("{name}.pool"), x, AdaptiveAvgPool2d { output: [4, 4] })?;
    let y = net.conv_norm_relu(&format!("{name}.conv"), y, Conv::same(128, 1), EPS)?;
    let y = net.linear(&format!("{name}.fc1"), y, None, 1024)?;
    let y = net.relu(y)?;
    net.linear(&format!("{name}.fc2"), y, None, 1000)
}
