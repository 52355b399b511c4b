//! ResNet50: a stem, sixteen bottleneck blocks in four stages, an average, a linear layer.
//!
//! **Reference** He et al., "Deep residual learning for image recognition" (2015), as in torchvision: the stride of a stage
//! sits on the 3x3 convolution of its first block.

use super::head::Head;
use super::layers::{Conv, Layers, Then};
use crate::Result;
use crate::ops::{AdaptiveAvgPool2d, MaxPool2d};
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-5;

/// Blocks and inner channels of each stage.
const STAGES: [(usize, usize); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

/// The tensor whose first size gives the width, and that size in the full network.
pub(super) const FIRST: (&str, usize) = ("conv1.weight", 64);

/// x [N, 3, H, W] -> logits [N, classes, 1, 1] of the one head.
pub(super) fn forward(net: &mut Layers, x: Var) -> Result<Vec<(Head, Var)>> {
    let x = net.conv_norm(["conv1", "bn1"], x, Conv::halving(64, 7, 3), EPS, Then::Relu)?;
    let x = net.tap("relu", x);
    let pool = MaxPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil_mode: false };
    let mut x = net.max_pool("maxpool", x, pool)?;
    for (index, (blocks, channels)) in STAGES.into_iter().enumerate() {
        let stage = format!("layer{}", index + 1);
        for block in 0..blocks {
            let stride = if index > 0 && block == 0 { 2 } else { 1 };
            x = bottleneck(net, &format!("{stage}.{block}"), x, channels, stride, block == 0)?;
        }
        net.tap(&stage, x);
    }
    let x = net.average("avgpool", x, AdaptiveAvgPool2d { output: [1, 1] })?;
    Ok(vec![(Head::Main, net.linear("fc", x, None, 1000)?)])
}

/// 1x1 to fewer channels, 3x3, 1x1 to four times as many, added to the input or to a 1x1 projection of it.
fn bottleneck(net: &mut Layers, name: &str, x: Var, channels: usize, stride: usize, project: bool) -> Result<Var> {
    let mut unit = |[conv, norm]: [&str; 2], x, shape, then| {
        net.conv_norm([&format!("{name}.{conv}"), &format!("{name}.{norm}")], x, shape, EPS, then)
    };
    let y = unit(["conv1", "bn1"], x, Conv::same(channels, 1), Then::Relu)?;
    let y = unit(["conv2", "bn2"], y, Conv { stride, ..Conv::same(channels, 3) }, Then::Relu)?;
    let shortcut = match project {
        true => {
            let conv = Conv { stride, ..Conv::same(channels * 4, 1) };
            unit(["downsample.0", "downsample.1"], x, conv, Then::Nothing)?
        }
        false => x,
    };
    let y = unit(["conv3", "bn3"], y, Conv::same(channels * 4, 1), Then::AddRelu(shortcut, name))?;
    Ok(net.tap(name, y))
}
