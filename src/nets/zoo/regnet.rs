//! RegNets X and Y: a stem, four stages of bottlenecks with grouped convolutions whose widths lie on a line, an average, a
//! linear layer. Blocks of Y weigh their channels by what they see of the whole picture (squeeze and excitation).
//!
//! **Reference** Radosavovic et al., "Designing network design spaces" (2020), equations 2 to 4, as in torchvision.

use crate::Result;
use crate::nets::head::Head;
use crate::nets::layers::{Conv, Layers};
use crate::nets::structure::Structure;
use crate::ops::Activation;
use crate::tape::Var;

/// Epsilon of every batch norm.
const EPS: f32 = 1e-5;

/// Widths are multiples of this.
const QUANTUM: f64 = 8.0;

/// The line on which the widths of a network's blocks lie: block j has w0 + wa·j channels, rounded to a power of wm times w0.
#[derive(Clone, Copy)]
struct Line {
    blocks: usize,
    w0: f64,
    wa: f64,
    wm: f64,
    /// Channels of a group, where a block has as many.
    group: usize,
    /// Squeezed channels over those that come into a block; none for X.
    squeezed: Option<f64>,
}

/// Blocks, w0, wa, wm, channels of a group.
const X: [(&str, usize, f64, f64, f64, usize); 7] = [
    ("400mf", 22, 24.0, 24.48, 2.54, 16),
    ("800mf", 16, 56.0, 35.73, 2.28, 16),
    ("1_6gf", 18, 80.0, 34.01, 2.25, 24),
    ("3_2gf", 25, 88.0, 26.31, 2.25, 48),
    ("8gf", 23, 80.0, 49.56, 2.88, 120),
    ("16gf", 22, 216.0, 55.59, 2.1, 128),
    ("32gf", 23, 320.0, 69.86, 2.0, 168),
];
const Y: [(&str, usize, f64, f64, f64, usize); 8] = [
    ("400mf", 16, 48.0, 27.89, 2.09, 8),
    ("800mf", 14, 56.0, 38.84, 2.4, 16),
    ("1_6gf", 27, 48.0, 20.71, 2.65, 24),
    ("3_2gf", 21, 80.0, 42.63, 2.66, 24),
    ("8gf", 17, 192.0, 76.82, 2.19, 56),
    ("16gf", 18, 200.0, 106.23, 2.48, 112),
    ("32gf", 20, 232.0, 115.89, 2.53, 232),
    ("128gf", 27, 456.0, 160.83, 2.52, 264),
];

pub(super) fn family() -> Vec<Structure> {
    let members = |letter: char, squeezed| {
        move |&(size, blocks, w0, wa, wm, group): &(&str, usize, f64, f64, f64, usize)| {
            let line = Line { blocks, w0, wa, wm, group, squeezed };
            Structure::new(&format!("regnet_{letter}_{size}"), "fc", move |net, x| forward(net, x, line))
        }
    };
    X.iter().map(members('x', None)).chain(Y.iter().map(members('y', Some(0.25)))).collect()
}

impl Line {
    /// Channels of each block and of a group of its channels; blocks of one width are a stage.
    fn widths(self) -> Vec<(usize, usize)> {
        let width = |block: usize| {
            let power = ((self.wa * block as f64 + self.w0) / self.w0).log(self.wm).round_ties_even();
            let width = ((self.w0 * self.wm.powf(power) / QUANTUM).round_ties_even() * QUANTUM) as usize;
            let group = self.group.min(width);
            // The nearest multiple of a group, but not below nine tenths.
            let near = ((width + group / 2) / group * group).max(group);
            (if 10 * near < 9 * width { near + group } else { near }, group)
        };
        (0..self.blocks).map(width).collect()
    }
}

/// x [N, 3, H, W] -> logits [N, classes, 1, 1].
fn forward(net: &mut Layers, x: Var, line: Line) -> Result<()> {
    let x = net.conv("stem.0", x, Conv::halving(32, 3, 1))?;
    let x = net.batch_norm("stem.1", x, EPS)?;
    let x = net.relu(x)?;
    let mut x = net.tap("stem", x);
    let (mut stage, mut place, mut before) = (0, 0, 32);
    for (width, group) in line.widths() {
        let first = stage == 0 || width != before;
        (stage, place) = if first { (stage + 1, 0) } else { (stage, place + 1) };
        let squeezed = line.squeezed.map(|share| (share * before as f64).round_ties_even() as usize);
        let shape = Bottleneck { width, group, stride: if first { 2 } else { 1 }, squeezed, project: first };
        x = block(net, &format!("trunk_output.block{stage}.block{stage}-{place}"), x, shape)?;
        net.tap(&format!("trunk_output.block{stage}"), x);
        before = width;
    }
    let x = net.average_to("avgpool", x, 1)?;
    let logits = net.linear("fc", x, 1000)?;
    net.logits(Head::Main, logits);
    Ok(())
}

struct Bottleneck {
    width: usize,
    group: usize,
    stride: usize,
    squeezed: Option<usize>,
    project: bool,
}

/// Three convolutions, added to the input or to a projection of it.
fn block(net: &mut Layers, name: &str, x: Var, shape: Bottleneck) -> Result<Var> {
    let Bottleneck { width, group, stride, squeezed, project } = shape;
    let conv_norm = |net: &mut Layers, name: &str, x, conv| {
        let y = net.conv(&format!("{name}.0"), x, conv)?;
        net.batch_norm(&format!("{name}.1"), y, EPS)
    };
    let y = conv_norm(net, &format!("{name}.f.a"), x, Conv::same(width, 1))?;
    let y = net.relu(y)?;
    let y = conv_norm(net, &format!("{name}.f.b"), y, Conv { stride, ..Conv::same(width, 3) }.grouped(group))?;
    let mut y = net.relu(y)?;
    if let Some(squeezed) = squeezed {
        let seen = net.average_to(&format!("{name}.f.se.avgpool"), y, 1)?;
        let less = net.conv(&format!("{name}.f.se.fc1"), seen, Conv::same(squeezed, 1).biased())?;
        let less = net.relu(less)?;
        let weights = net.conv(&format!("{name}.f.se.fc2"), less, Conv::same(width, 1).biased())?;
        let weights = net.activation(Activation::Sigmoid, weights)?;
        y = net.mul(&format!("{name}.f.se"), y, weights)?;
    }
    let mut shortcut = x;
    if project {
        shortcut = conv_norm(net, &format!("{name}.proj"), x, Conv { stride, ..Conv::same(width, 1) })?;
    }
    let y = conv_norm(net, &format!("{name}.f.c"), y, Conv::same(width, 1))?;
    let sum = net.add(name, y, shortcut)?;
    let y = net.relu(sum)?;
    Ok(net.tap(name, y))
}
