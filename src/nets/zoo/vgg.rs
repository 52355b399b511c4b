//! VGG: 3x3 convolutions in five stages with a max pooling behind each, an average over 7x7 places, three linear layers.
//!
//! **Reference** Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014), as in
//! torchvision, with or without batch norm. Dropout does nothing outside of training and is left out.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-5;

/// Channels of the convolutions of each stage.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Convolutions in each stage.
const MEMBERS: [(&str, [usize; 5]); 4] =
    [("vgg11", [1, 1, 2, 2, 2]), ("vgg13", [2, 2, 2, 2, 2]), ("vgg16", [2, 2, 3, 3, 3]), ("vgg19", [2, 2, 4, 4, 4])];

pub(super) fn family() -> Vec<Structure> {
    let member = |(name, stages), norms| {
        let name = if norms { format!("{name}_bn") } else { name };
        Structure::new(&name, "classifier.6", move |net, x| forward(net, x, stages, norms))
    };
    [false, true]
        .iter()
        .flat_map(|&norms| MEMBERS.map(|(name, stages)| member((name.to_owned(), stages), norms)))
        .collect()
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, mut x: Var, stages: [usize; 5], norms: bool) -> Result<()> {
    // Layers are numbered one by one, whatever they do.
    let mut names = (0..).map(|place| format!("features.{place}"));
    let mut next = move || names.next().expect("there are numbers enough");
    for (convs, channels) in stages.into_iter().zip(CHANNELS) {
        for _ in 0..convs {
            x = net.conv(&next(), x, Conv::same(channels, 3).biased())?;
            if norms {
                x = net.batch_norm(&next(), x, EPS)?;
            }
            x = net.relu(x)?;
            net.tap(&next(), x);
        }
        x = net.max_pool(&next(), x, 2, 2, 0, false)?;
    }
    x = net.average_to("avgpool", x, 7)?;
    // Dropout comes after the linear layers.
    classifier(net, x, [0, 3])
}

/// Three linear layers, whose first two stand at these places among the layers of the classifier; the last is the seventh.
pub(super) fn classifier(net: &mut Layers, mut x: Var, places: [usize; 2]) -> Result<()> {
    for place in places {
        x = net.linear(&format!("classifier.{place}"), x, 4096)?;
        x = net.relu(x)?;
        net.tap(&format!("classifier.{}", place + 1), x);
    }
    let logits = net.linear("classifier.6", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}
