//! What operations are tried on: the samples of each, the layers of ResNet50, GoogLeNet and InceptionV3, and shapes that are awkward.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Result;
use crate::device::{Device, Tile};
use crate::nets::{BatchNormMode, Structure};
use crate::ops::{
    Add, BatchNorm, BatchNormTrain, Binary, ChannelAffine, Conv2d, Distance, Domain, LayerNorm, Metric, Op, Pick,
    RegionSum, Relu, Sample, StatisticsDistance, TotalVariation, Window, samples,
};
use crate::oracle;
use crate::tape::{Request, passes};
use crate::tensor::{Array, Layout, Shape};

/// Numbers from 0 to below 1, the upper 24 bits of a hash of their place; other seeds give others.
pub(super) fn hashed(seed: u64, count: usize) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |k| {
        let z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(k.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    })
}

/// An array of numbers from -1 to 1.
pub(super) fn random(seed: u64, shape: Shape) -> Array {
    Array::new(shape, hashed(seed, shape.elements()).map(|u| (2.0 * u - 1.0) as f32).collect())
}

/// An operation with arguments.
pub struct Case {
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Its arguments.
    pub inputs: Vec<(Array, Layout)>,
    /// The gradient with respect to the result.
    pub upstream: Array,
    /// Groups of other channels beside values.
    pub margin: usize,
    /// Which tiles are tried, where there are any.
    pub tiles: Tiles,
    /// Whether it is also tried on arguments and gradients that are no numbers.
    pub with_nan: bool,
}

/// Which tiles a case is tried on in a quick run. A thorough one tries each where this says the next, and otherwise every number
/// of parts of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiles {
    /// Each, with sums whole and in parts.
    Each,
    /// This one, with sums whole and in parts.
    One(Tile),
    /// One after another from case to case.
    Next,
}

impl Case {
    /// Fills arguments with numbers of their domains; `tied` ones are few and whole, so that equals meet.
    ///
    /// # Errors
    /// Those of [`Op::output_shape`].
    pub fn new(op: Arc<dyn Op>, domains: &[Domain], seed: u64, tied: bool) -> Result<Case> {
        let fill = |(index, domain): (usize, &Domain)| {
            let (shape, layout) = domain.form();
            let uniform = hashed(seed.wrapping_add(1 + index as u64), shape.elements());
            let values: Vec<f32> = match *domain {
                Domain::Positive(_) | Domain::Divisor(_) => uniform.map(|u| (0.5 + u) as f32).collect(),
                Domain::Index(_, below) => uniform.map(|u| (u * below as f64).floor() as f32).collect(),
                Domain::Apart(_) if tied => uniform.map(|u| (u * 4.0).floor() as f32 - 1.0).collect(),
                _ => uniform.map(|u| (2.0 * u - 1.0) as f32).collect(),
            };
            (Array::new(shape, values), layout)
        };
        let inputs: Vec<(Array, Layout)> = domains.iter().enumerate().map(fill).collect();
        let shapes: Vec<Shape> = inputs.iter().map(|(array, _)| array.shape).collect();
        let mut upstream = random(seed, op.output_shape(&shapes)?);
        if let Some(live) = op.live() {
            // The operation is promised a gradient of zero there.
            let arrays: Vec<Array> = inputs.iter().map(|(array, _)| array.clone()).collect();
            if let Some(formula) = oracle::of(&*op) {
                let result = formula.result(&arrays).numbers;
                upstream
                    .values
                    .iter_mut()
                    .zip(result)
                    .filter(|(_, y)| !live.holds(y.value))
                    .for_each(|(g, _)| *g = 0.0);
            }
        }
        Ok(Case { op, inputs, upstream, margin: 0, tiles: Tiles::Next, with_nan: false })
    }

    /// What it is, for people.
    pub fn about(&self) -> String {
        let shapes: Vec<String> = self.inputs.iter().map(|(array, _)| array.shape.to_string()).collect();
        format!("{:?} of {}", self.op, shapes.join(" "))
    }
}

/// Every sample of every operation: apart from others, inside of wider values, and with equals among its numbers.
pub(super) fn of_samples() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (margin, tied) in [(0, false), (1, false), (0, true)] {
        for (index, Sample { op, inputs }) in samples().into_iter().enumerate() {
            if tied && !inputs.iter().any(|domain| matches!(domain, Domain::Apart(_))) {
                continue;
            }
            let case = Case::new(op, &inputs, 1000 * (index as u64 + 1), tied)?;
            let tiles = if margin == 0 { Tiles::Each } else { Tiles::Next };
            cases.push(Case { margin, tiles, with_nan: margin == 0 && !tied, ..case });
        }
    }
    Ok(cases)
}

/// Networks whose layers a quick run tries; a thorough one tries those of all.
const QUICK: [&str; 3] = ["resnet50", "googlenet", "inception_v3"];

/// The layers of networks at full width for small pictures, each shape once: as they run, plainly, and as they are trained.
pub(super) fn of_networks(thorough: bool) -> Result<Vec<Case>> {
    let wanted = Structure::all().iter().filter(|one| thorough || QUICK.contains(&one.name()));
    of_structures(&wanted.collect::<Vec<_>>(), thorough)
}

/// The same of these networks.
pub(super) fn of_structures(structures: &[&Structure], thorough: bool) -> Result<Vec<Case>> {
    let known = samples();
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    let forms = [
        (passes::ALL, BatchNormMode::Frozen),
        (passes::WATCHED, BatchNormMode::Frozen),
        (passes::WATCHED, BatchNormMode::Batch),
    ];
    for (passes, mode) in forms {
        let before = names.clone();
        for structure in structures {
            let pictures = match (structure.sides(), thorough, mode) {
                (Some([h, w]), ..) => Shape::new(2, structure.colours(), h, w),
                (None, true, _) => {
                    let least = structure.smallest_side()?.max(64);
                    Shape::new(2, 3, least + 32, least + 21)
                }
                (None, false, mode) => {
                    let least = structure.smallest_side()?.max(64);
                    Shape::new(if mode == BatchNormMode::Batch { 2 } else { 1 }, 3, least, least)
                }
            };
            let (tape, logits) = structure.sketch(pictures, mode)?;
            let tape = tape.after(passes, &Request { keep: vec![logits], ..Request::default() });
            for (op, forms) in tape.operations() {
                let new = !before.contains(op.name());
                names.insert(op.name());
                let wanted = if thorough { true } else { new && worth(&forms) };
                if wanted && seen.insert(format!("{op:?} {forms:?}")) {
                    let domains = domains_like(&known, &**op, &forms);
                    cases.push(Case::new(op.clone(), &domains, 500_000 + cases.len() as u64 * 100, false)?);
                }
            }
        }
    }
    Ok(cases)
}

/// Whether a layer is small enough for a quick run: a few million products, so that each kind of layer is there.
fn worth(forms: &[(Shape, Layout)]) -> bool {
    let filter = forms.iter().find(|(_, layout)| *layout == Layout::Filter);
    filter.is_none_or(|(weight, _)| weight.elements() * forms[0].0.pixels() <= 6_000_000)
}

/// What a layer's arguments may be: as those of the operation's samples.
fn domains_like(known: &[Sample], op: &dyn Op, forms: &[(Shape, Layout)]) -> Vec<Domain> {
    let samples = || known.iter().filter(|sample| sample.op.name() == op.name());
    let domain = |(index, &(shape, layout)): (usize, &(Shape, Layout))| {
        let like = samples().find_map(|sample| sample.inputs.get(index)).or(samples().find_map(|s| s.inputs.last()));
        match like {
            Some(Domain::Positive(_)) => Domain::Positive(shape),
            Some(Domain::Divisor(_)) => Domain::Divisor(shape),
            Some(Domain::Fixed(_)) => Domain::Fixed(shape),
            Some(Domain::Index(_, below)) => Domain::Index(shape, *below),
            _ => Domain::Linear(shape, layout),
        }
    };
    forms.iter().enumerate().map(domain).collect()
}

/// x, channels and window of the weights, stride, padding.
type Layer = ([usize; 4], [usize; 3], [usize; 2], [usize; 2]);

const AWKWARD: [Layer; 9] = [
    // One pixel, one channel, windows of the whole picture.
    ([1, 1, 1, 1], [1, 1, 1], [1, 1], [0, 0]),
    ([3, 20, 1, 1], [37, 1, 1], [1, 1], [0, 0]),
    ([2, 7, 5, 4], [9, 5, 4], [1, 1], [0, 0]),
    // Phases without taps, windows that leave pixels over, unequal strides.
    ([2, 24, 9, 10], [40, 1, 1], [2, 2], [0, 0]),
    ([1, 9, 14, 13], [30, 3, 3], [2, 2], [0, 0]),
    ([1, 5, 11, 12], [6, 2, 3], [3, 2], [1, 2]),
    // Not square.
    ([2, 16, 8, 12], [20, 1, 7], [1, 1], [0, 3]),
    ([2, 17, 12, 8], [19, 7, 1], [1, 1], [3, 0]),
    // Many pixels: long sums in the gradient of the weights.
    ([1, 3, 131, 107], [5, 1, 1], [1, 1], [0, 0]),
];

/// Convolutions around the edges of tiles, and sums over more pixels than one run takes.
pub(super) fn awkward(device: &Device) -> Result<Vec<Case>> {
    let mut layers: Vec<(Layer, Tiles)> = AWKWARD.map(|layer| (layer, Tiles::Next)).to_vec();
    for tile in Tile::ALL {
        let [rows, columns] = tile.size();
        for (pixels, channels) in [(rows - 1, columns + 1), (rows, columns), (rows + 1, columns - 1)] {
            let flat = ([1, channels, 1, pixels], [channels + 1, 1, 1], [1, 1], [0, 0]);
            let deep = ([1, 6, 2, pixels / 2 + 1], [channels, 3, 3], [1, 1], [1, 1]);
            layers.extend([flat, deep].map(|layer| (layer, Tiles::One(tile))));
        }
    }
    let mut cases = Vec::new();
    for ((x, [c_out, kh, kw], stride, padding), tiles) in layers {
        let op = Conv2d { stride, padding: [padding; 2], relu: true, ..Conv2d::new(1, 0) };
        let shapes = [Shape(x), Shape::new(c_out, x[1], kh, kw)];
        let y = op.output_shape(&shapes)?;
        let domains = [
            Domain::linear(shapes[0]),
            Domain::filter(shapes[1]),
            Domain::linear(Shape::channels(c_out)),
            Domain::linear(y),
        ];
        let case = Case::new(Arc::new(op), &domains, 700_000 + cases.len() as u64 * 100, false)?;
        cases.push(Case { tiles, ..case });
    }
    for Sample { op, inputs } in long_sums(device) {
        cases.push(Case::new(op, &inputs, 800_000 + cases.len() as u64 * 100, false)?);
    }
    Ok(cases)
}

/// Sums over more pixels than one run takes, and more elements than one dimension of a launch has.
fn long_sums(device: &Device) -> Vec<Sample> {
    let x = Shape::new(2, 3, 70, 61);
    let c = Shape::channels(3);
    let vectors = [Domain::linear(c), Domain::linear(c), Domain::Fixed(c), Domain::Positive(c)];
    let normalised = |x: Domain| [&[x], &vectors[..]].concat();
    let row = 65_535 * device.tuning().workgroup as usize;
    // Of a GPU a row is 50 MB.
    let folded = Shape::new(1, 1, row / 2048 + 2, 2048);
    vec![
        Sample::new(BatchNorm { eps: 1e-3 }, normalised(Domain::linear(x))),
        Sample::new(BatchNormTrain { eps: 1e-3, momentum: 0.1 }, normalised(Domain::Smooth(x))),
        Sample::new(ChannelAffine, [Domain::linear(x), vectors[0], vectors[1]]),
        Sample::new(Binary::Times, [Domain::linear(x), vectors[0]]),
        Sample::new(LayerNorm { eps: 1e-3 }, [Domain::Smooth(x), vectors[0], vectors[1]]),
        Sample::new(
            Conv2d::of(Window { groups: 3, ..Window::plain([1; 2], [1; 2]) }),
            [Domain::linear(x), Domain::filter(Shape::new(3, 1, 3, 3)), vectors[0]],
        ),
        Sample::new(
            Conv2d::of(Window { groups: 3, ..Window::plain([2; 2], [1; 2]) }),
            [Domain::linear(x), Domain::filter(Shape::new(6, 1, 3, 3))],
        ),
        Sample::new(StatisticsDistance { eps: 1e-3 }, [Domain::Smooth(x), Domain::Fixed(c), Domain::Positive(c)]),
        Sample::new(TotalVariation, [Domain::Apart(x)]),
        Sample::new(Distance { metric: Metric::L2 }, [Domain::Apart(x), Domain::Fixed(x)]),
        Sample::new(RegionSum::all(x), [Domain::linear(x)]),
        Sample::new(Pick, [Domain::linear(x), Domain::Index(Shape::per_picture(2), 3)]),
        Sample::new(Relu, [Domain::Apart(folded)]),
        Sample::new(Add, [Domain::linear(folded), Domain::linear(folded)]),
    ]
}
