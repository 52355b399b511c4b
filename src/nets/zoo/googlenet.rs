//! GoogLeNet with batch norm: a stem, nine inception blocks of four branches, an average, a linear layer, two side heads.
//!
//! **Reference** Szegedy et al., "Going deeper with convolutions" (2014), as in torchvision: branch 3 has 3x3 windows where
//! the paper has 5x5, and pooling rounds up.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-3;

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
const HEADS: [(&str, &str); 2] = [("inception4a", "aux1"), ("inception4d", "aux2")];

pub(super) fn family() -> Vec<Structure> {
    let heads = [("aux1", "aux1.fc2"), ("aux2", "aux2.fc2")];
    vec![Structure::new("googlenet", "fc", forward).with_heads(&heads).transforming_input().with_recipe("googlenet")]
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1] of each head that is wanted.
fn forward(net: &mut Layers, x: Var) -> Result<()> {
    let x = net.conv_norm_relu("conv1", x, Conv::halving(64, 7, 3), EPS)?;
    let x = net.max_pool("maxpool1", x, 3, 2, 0, true)?;
    let x = net.conv_norm_relu("conv2", x, Conv::same(64, 1), EPS)?;
    let x = net.conv_norm_relu("conv3", x, Conv::same(192, 3), EPS)?;
    let mut x = net.max_pool("maxpool2", x, 3, 2, 0, true)?;
    for (name, branches) in BLOCKS {
        x = inception(net, name, x, branches)?;
        match name {
            "inception3b" => x = net.max_pool("maxpool3", x, 3, 2, 0, true)?,
            "inception4e" => x = net.max_pool("maxpool4", x, 2, 2, 0, true)?,
            _ => {}
        }
        for (_, head) in HEADS.into_iter().filter(|(block, _)| *block == name) {
            if net.wants(Head::Side(head)) {
                side_head(net, head, x)?;
            }
        }
    }
    let x = net.average_to("avgpool", x, 1)?;
    let logits = net.linear("fc", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}

fn inception(net: &mut Layers, name: &str, x: Var, branches: Branches) -> Result<Var> {
    let [one, reduce3, three, reduce5, five, projection] = branches;
    let branch = |leaf: &str| format!("{name}.{leaf}");
    let branch1 = net.conv_norm_relu(&branch("branch1"), x, Conv::same(one, 1), EPS)?;
    let y = net.conv_norm_relu(&branch("branch2.0"), x, Conv::same(reduce3, 1), EPS)?;
    let branch2 = net.conv_norm_relu(&branch("branch2.1"), y, Conv::same(three, 3), EPS)?;
    let y = net.conv_norm_relu(&branch("branch3.0"), x, Conv::same(reduce5, 1), EPS)?;
    let branch3 = net.conv_norm_relu(&branch("branch3.1"), y, Conv::same(five, 3), EPS)?;
    let y = net.max_pool(&branch("branch4.0"), x, 3, 1, 1, true)?;
    let branch4 = net.conv_norm_relu(&branch("branch4.1"), y, Conv::same(projection, 1), EPS)?;
    net.concat(name, &[branch1, branch2, branch3, branch4])
}

fn side_head(net: &mut Layers, name: &'static str, x: Var) -> Result<()> {
    let y = net.average_to(&format!("{name}.pool"), x, 4)?;
    let y = net.conv_norm_relu(&format!("{name}.conv"), y, Conv::same(128, 1), EPS)?;
    let y = net.linear(&format!("{name}.fc1"), y, 1024)?;
    let y = net.relu(y)?;
    let logits = net.linear(&format!("{name}.fc2"), y, 1000)?;
    net.logits(Head::Side(name), logits);
    Ok(())
}
