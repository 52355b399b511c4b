//! InceptionV3: a stem, eleven blocks of five kinds, an average, a linear layer, one side head.
//!
//! **Reference** Szegedy et al., "Rethinking the Inception architecture" (2015), as in torchvision: average pooling inside
//! of blocks counts the padding.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::ops::AvgPool2d;
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-3;

const AVERAGE: AvgPool2d = AvgPool2d::new(3, 1, 1);
const SIDE_AVERAGE: AvgPool2d = AvgPool2d::new(5, 3, 0);

pub(super) fn family() -> Vec<Structure> {
    let structure = Structure::new("inception_v3", "fc", forward).with_heads(&[(AUX, "AuxLogits.fc")]);
    vec![structure.transforming_input().with_recipe("inception_v3")]
}

/// The side head's name; its picture must be large enough for a 5x5 window on Mixed_6e, as 299 is.
const AUX: &str = "aux";

/// x [N, 3, H, W] -> logits [N, classes, 1, 1] of each head that is wanted.
fn forward(net: &mut Layers, x: Var) -> Result<()> {
    let x = net.conv_norm_relu("Conv2d_1a_3x3", x, Conv::halving(32, 3, 0), EPS)?;
    let x = net.conv_norm_relu("Conv2d_2a_3x3", x, Conv::same(32, 3).valid(), EPS)?;
    let x = net.conv_norm_relu("Conv2d_2b_3x3", x, Conv::same(64, 3), EPS)?;
    let x = net.max_pool("maxpool1", x, 3, 2, 0, false)?;
    let x = net.conv_norm_relu("Conv2d_3b_1x1", x, Conv::same(80, 1), EPS)?;
    let x = net.conv_norm_relu("Conv2d_4a_3x3", x, Conv::same(192, 3).valid(), EPS)?;
    let x = net.max_pool("maxpool2", x, 3, 2, 0, false)?;
    let x = block_a(net, "Mixed_5b", x, 32)?;
    let x = block_a(net, "Mixed_5c", x, 64)?;
    let x = block_a(net, "Mixed_5d", x, 64)?;
    let x = block_b(net, "Mixed_6a", x)?;
    let x = block_c(net, "Mixed_6b", x, 128)?;
    let x = block_c(net, "Mixed_6c", x, 160)?;
    let x = block_c(net, "Mixed_6d", x, 160)?;
    let x = block_c(net, "Mixed_6e", x, 192)?;
    if net.wants(Head::Side(AUX)) {
        side_head(net, "AuxLogits", x)?;
    }
    let x = block_d(net, "Mixed_7a", x)?;
    let x = block_e(net, "Mixed_7b", x)?;
    let x = block_e(net, "Mixed_7c", x)?;
    let x = net.average_to("avgpool", x, 1)?;
    let logits = net.linear("fc", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}

/// Convolutions one after another, each with batch norm and relu.
fn chain(net: &mut Layers, block: &str, mut x: Var, convs: &[(&str, Conv)]) -> Result<Var> {
    for (leaf, conv) in convs {
        x = net.conv_norm_relu(&format!("{block}.{leaf}"), x, *conv, EPS)?;
    }
    Ok(x)
}

fn pooled(net: &mut Layers, block: &str, x: Var, channels: usize) -> Result<Var> {
    let y = net.pool(&format!("{block}.pool"), x, AVERAGE)?;
    chain(net, block, y, &[("branch_pool", Conv::same(channels, 1))])
}

fn block_a(net: &mut Layers, name: &str, x: Var, pool_channels: usize) -> Result<Var> {
    let branch1x1 = chain(net, name, x, &[("branch1x1", Conv::same(64, 1))])?;
    let branch5x5 = chain(net, name, x, &[("branch5x5_1", Conv::same(48, 1)), ("branch5x5_2", Conv::same(64, 5))])?;
    let double = [
        ("branch3x3dbl_1", Conv::same(64, 1)),
        ("branch3x3dbl_2", Conv::same(96, 3)),
        ("branch3x3dbl_3", Conv::same(96, 3)),
    ];
    let branch3x3 = chain(net, name, x, &double)?;
    let pool = pooled(net, name, x, pool_channels)?;
    net.concat(name, &[branch1x1, branch5x5, branch3x3, pool])
}

fn block_b(net: &mut Layers, name: &str, x: Var) -> Result<Var> {
    let branch3x3 = chain(net, name, x, &[("branch3x3", Conv::halving(384, 3, 0))])?;
    let double = [
        ("branch3x3dbl_1", Conv::same(64, 1)),
        ("branch3x3dbl_2", Conv::same(96, 3)),
        ("branch3x3dbl_3", Conv::halving(96, 3, 0)),
    ];
    let double = chain(net, name, x, &double)?;
    let pool = net.max_pool(&format!("{name}.pool"), x, 3, 2, 0, false)?;
    net.concat(name, &[branch3x3, double, pool])
}

fn block_c(net: &mut Layers, name: &str, x: Var, inner: usize) -> Result<Var> {
    let branch1x1 = chain(net, name, x, &[("branch1x1", Conv::same(192, 1))])?;
    let single = [
        ("branch7x7_1", Conv::same(inner, 1)),
        ("branch7x7_2", Conv::rectangle(inner, [1, 7])),
        ("branch7x7_3", Conv::rectangle(192, [7, 1])),
    ];
    let single = chain(net, name, x, &single)?;
    let double = [
        ("branch7x7dbl_1", Conv::same(inner, 1)),
        ("branch7x7dbl_2", Conv::rectangle(inner, [7, 1])),
        ("branch7x7dbl_3", Conv::rectangle(inner, [1, 7])),
        ("branch7x7dbl_4", Conv::rectangle(inner, [7, 1])),
        ("branch7x7dbl_5", Conv::rectangle(192, [1, 7])),
    ];
    let double = chain(net, name, x, &double)?;
    let pool = pooled(net, name, x, 192)?;
    net.concat(name, &[branch1x1, single, double, pool])
}

fn block_d(net: &mut Layers, name: &str, x: Var) -> Result<Var> {
    let three = [("branch3x3_1", Conv::same(192, 1)), ("branch3x3_2", Conv::halving(320, 3, 0))];
    let branch3x3 = chain(net, name, x, &three)?;
    let seven = [
        ("branch7x7x3_1", Conv::same(192, 1)),
        ("branch7x7x3_2", Conv::rectangle(192, [1, 7])),
        ("branch7x7x3_3", Conv::rectangle(192, [7, 1])),
        ("branch7x7x3_4", Conv::halving(192, 3, 0)),
    ];
    let seven = chain(net, name, x, &seven)?;
    let pool = net.max_pool(&format!("{name}.pool"), x, 3, 2, 0, false)?;
    net.concat(name, &[branch3x3, seven, pool])
}

fn block_e(net: &mut Layers, name: &str, x: Var) -> Result<Var> {
    let branch1x1 = chain(net, name, x, &[("branch1x1", Conv::same(320, 1))])?;
    let y = chain(net, name, x, &[("branch3x3_1", Conv::same(384, 1))])?;
    let across = chain(net, name, y, &[("branch3x3_2a", Conv::rectangle(384, [1, 3]))])?;
    let along = chain(net, name, y, &[("branch3x3_2b", Conv::rectangle(384, [3, 1]))])?;
    let y = chain(net, name, x, &[("branch3x3dbl_1", Conv::same(448, 1)), ("branch3x3dbl_2", Conv::same(384, 3))])?;
    let double_across = chain(net, name, y, &[("branch3x3dbl_3a", Conv::rectangle(384, [1, 3]))])?;
    let double_along = chain(net, name, y, &[("branch3x3dbl_3b", Conv::rectangle(384, [3, 1]))])?;
    let pool = pooled(net, name, x, 192)?;
    net.concat(name, &[branch1x1, across, along, double_across, double_along, pool])
}

fn side_head(net: &mut Layers, name: &str, x: Var) -> Result<()> {
    let y = net.pool(&format!("{name}.pool"), x, SIDE_AVERAGE)?;
    let y = chain(net, name, y, &[("conv0", Conv::same(128, 1)), ("conv1", Conv::same(768, 5).valid())])?;
    let y = net.average_to(&format!("{name}.avgpool"), y, 1)?;
    let logits = net.linear(&format!("{name}.fc"), y, 1000)?;
    net.logits(Head::Side(AUX), logits);
    Ok(())
}
