//! ResNets: a stem, residual blocks in four stages, an average, a linear layer.
//!
//! **Reference** He et al., "Deep residual learning for image recognition" (2015), as in torchvision: the stride of a stage
//! sits on the 3x3 convolution of its first block. Zagoruyko and Komodakis, "Wide residual networks" (2016): the inner
//! channels of a bottleneck are twice as many.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::tape::Var;

/// What a block does between its input and the sum.
#[derive(Clone, Copy)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1 to inner channels, 3x3, 1x1 to four times the block's channels; inner channels as a multiple of the block's.
    Bottleneck(usize),
}

const MEMBERS: [(&str, Block, [usize; 4]); 7] = [
    ("resnet18", Block::Basic, [2, 2, 2, 2]),
    ("resnet34", Block::Basic, [3, 4, 6, 3]),
    ("resnet50", Block::Bottleneck(1), [3, 4, 6, 3]),
    ("resnet101", Block::Bottleneck(1), [3, 4, 23, 3]),
    ("resnet152", Block::Bottleneck(1), [3, 8, 36, 3]),
    ("wide_resnet50_2", Block::Bottleneck(2), [3, 4, 6, 3]),
    ("wide_resnet101_2", Block::Bottleneck(2), [3, 4, 23, 3]),
];

pub(super) fn family() -> Vec<Structure> {
    let member = |(name, block, stages)| Structure::new(name, "fc", move |net, x| forward(net, x, block, stages));
    MEMBERS.map(member).into()
}

impl Block {
    /// The convolutions between a block's input and the sum; the last of them has the block's output channels.
    fn convs(self, channels: usize, stride: usize) -> Vec<Conv> {
        let strided = |channels| Conv { stride, ..Conv::same(channels, 3) };
        match self {
            Block::Basic => vec![strided(channels), Conv::same(channels, 3)],
            Block::Bottleneck(factor) => {
                let inner = channels * factor;
                vec![Conv::same(inner, 1), strided(inner), Conv::same(4 * channels, 1)]
            }
        }
    }
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, x: Var, block: Block, stages: [usize; 4]) -> Result<()> {
    let x = conv_norm(net, "conv1", "bn1", x, Conv::halving(64, 7, 3))?;
    let x = net.relu(x)?;
    net.tap("relu", x);
    let mut x = net.max_pool("maxpool", x, 3, 2, 1, false)?;
    let mut before = 64;
    for (index, blocks) in stages.into_iter().enumerate() {
        let stage = format!("layer{}", index + 1);
        for place in 0..blocks {
            let stride = if index > 0 && place == 0 { 2 } else { 1 };
            let convs = block.convs(64 << index, stride);
            let end = convs[convs.len() - 1].channels;
            let projection = (stride == 2 || before != end).then_some(Conv { stride, ..Conv::same(end, 1) });
            x = residual(net, &format!("{stage}.{place}"), x, &convs, projection)?;
            before = end;
        }
        net.tap(&stage, x);
    }
    let x = net.average_to("avgpool", x, 1)?;
    let logits = net.linear("fc", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}

fn conv_norm(net: &mut Layers, conv: &str, norm: &str, x: Var, shape: Conv) -> Result<Var> {
    let y = net.conv(conv, x, shape)?;
    net.batch_norm(norm, y, 1e-5) // PyTorch's default epsilon
}

/// A block's convolutions, added to its input or to a 1x1 projection of it.
fn residual(net: &mut Layers, name: &str, x: Var, convs: &[Conv], projection: Option<Conv>) -> Result<Var> {
    let (mut y, mut shortcut) = (x, x);
    for (number, &conv) in (1..).zip(convs) {
        let last = number == convs.len();
        if let Some(projection) = projection.filter(|_| last) {
            // The last convolution adds the projection while it writes: projected values need not be read again.
            let names = ["0", "1"].map(|leaf| format!("{name}.downsample.{leaf}"));
            shortcut = conv_norm(net, &names[0], &names[1], x, projection)?;
        }
        y = conv_norm(net, &format!("{name}.conv{number}"), &format!("{name}.bn{number}"), y, conv)?;
        if !last {
            y = net.relu(y)?;
        }
    }
    let sum = net.add(name, y, shortcut)?;
    let y = net.relu(sum)?;
    Ok(net.tap(name, y))
}
