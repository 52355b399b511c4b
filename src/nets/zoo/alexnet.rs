//! AlexNet: five convolutions, three of them with a max pooling behind, an average over 6x6 places, three linear layers.
//!
//! **Reference** Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014), as in torchvision.
//! Dropout does nothing outside of training and is left out.

use crate::Result;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::tape::Var;

use super::vgg::classifier;

/// Each convolution, its place among the layers, and whether a pooling follows.
const CONVS: [(usize, Conv, bool); 5] = [
    (0, Conv { stride: 4, padding: [2, 2], ..Conv::same(64, 11).biased() }, true),
    (3, Conv::same(192, 5).biased(), true),
    (6, Conv::same(384, 3).biased(), false),
    (8, Conv::same(256, 3).biased(), false),
    (10, Conv::same(256, 3).biased(), true),
];

pub(super) fn family() -> Vec<Structure> {
    vec![Structure::new("alexnet", "classifier.6", forward)]
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, mut x: Var) -> Result<()> {
    for (place, conv, pooled) in CONVS {
        x = net.conv(&format!("features.{place}"), x, conv)?;
        x = net.relu(x)?;
        net.tap(&format!("features.{}", place + 1), x);
        if pooled {
            x = net.max_pool(&format!("features.{}", place + 2), x, 3, 2, 0, false)?;
        }
    }
    x = net.average_to("avgpool", x, 6)?;
    // Dropout comes before the linear layers.
    classifier(net, x, [1, 4])
}
