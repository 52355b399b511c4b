//! SqueezeNet: fire modules, each a 1x1 convolution to few channels and from there a 1x1 and a 3x3 side by side; the classifier
//! is a 1x1 convolution whose values are averaged.
//!
//! **Reference** Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters" (2016), and its version 1.1, as in
//! torchvision. Dropout does nothing outside of training and is left out.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::tape::Var;

/// Channels to which a fire module squeezes, and of each of its two branches; or a pooling.
#[derive(Clone, Copy)]
enum Layer {
    Fire(usize, usize),
    Pool,
}

use Layer::{Fire, Pool};

/// The layers from `features.2` on.
const V1_0: [Layer; 11] = [
    Pool,
    Fire(16, 64),
    Fire(16, 64),
    Fire(32, 128),
    Pool,
    Fire(32, 128),
    Fire(48, 192),
    Fire(48, 192),
    Fire(64, 256),
    Pool,
    Fire(64, 256),
];
const V1_1: [Layer; 11] = [
    Pool,
    Fire(16, 64),
    Fire(16, 64),
    Pool,
    Fire(32, 128),
    Fire(32, 128),
    Pool,
    Fire(48, 192),
    Fire(48, 192),
    Fire(64, 256),
    Fire(64, 256),
];

pub(super) fn family() -> Vec<Structure> {
    let members = [("squeezenet1_0", Conv::halving(96, 7, 0), V1_0), ("squeezenet1_1", Conv::halving(64, 3, 0), V1_1)];
    let member =
        |(name, stem, layers)| Structure::new(name, "classifier.1", move |net, x| forward(net, x, stem, layers));
    members.map(member).into()
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, x: Var, stem: Conv, layers: [Layer; 11]) -> Result<()> {
    let mut x = conv_relu(net, ["features.0", "features.1"], x, stem.biased())?;
    for (place, layer) in layers.into_iter().enumerate() {
        let name = format!("features.{}", place + 2);
        x = match layer {
            Pool => net.max_pool(&name, x, 3, 2, 0, true)?,
            Fire(squeezed, channels) => {
                let mut conv = |leaf: &str, x, conv: Conv| {
                    let [conv_name, activation] = [format!("{name}.{leaf}"), format!("{name}.{leaf}_activation")];
                    conv_relu(net, [&conv_name, &activation], x, conv.biased())
                };
                let x = conv("squeeze", x, Conv::same(squeezed, 1))?;
                let branches =
                    [conv("expand1x1", x, Conv::same(channels, 1))?, conv("expand3x3", x, Conv::same(channels, 3))?];
                net.concat(&name, &branches)?
            }
        };
    }
    let x = conv_relu(net, ["classifier.1", "classifier.2"], x, Conv::same(1000, 1).biased())?;
    let logits = net.average_to("classifier.3", x, 1)?;
    net.logits(Head::Main, logits);
    Ok(())
}

fn conv_relu(net: &mut Layers, [name, activation]: [&str; 2], x: Var, conv: Conv) -> Result<Var> {
    let y = net.conv(name, x, conv)?;
    let y = net.relu(y)?;
    Ok(net.tap(activation, y))
}
