//! Weights, inputs and targets from a seed: `tests/fixtures/recipe.md`, sections 1 and 2, in Rust.
//!
//! Arithmetic is in f64 with exactly the operations written there, then one rounding to f32. Element k depends on
//! nothing but seed, name and k, so long tensors are filled by several threads.

use std::collections::BTreeMap;
use std::thread;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Below this many elements a thread costs more than it saves.
const ALONE: usize = 1 << 16;

/// FNV-1a over the bytes of a name.
pub fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// The finishing step of SplitMix64.
pub fn mix64(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Sum over k of (k + 1) times the bits of element k, wrapping.
pub fn checksum(values: &[f32]) -> u64 {
    let term = |(k, value): (usize, &f32)| (k as u64 + 1).wrapping_mul(u64::from(value.to_bits()));
    values.iter().enumerate().map(term).fold(0, u64::wrapping_add)
}

/// How one entry of a state_dict is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Batch norm weight: (0.5 + u) · scale.
    Gamma { scale: f64 },
    /// Batch norm bias and running mean: 0.4 · (u - 0.5).
    Pm02,
    /// Batch norm running variance: 0.5 + u.
    Var,
    /// Convolution and linear weight: bound · (2u - 1).
    Weight { bound: f64 },
    /// Linear bias: 0.1 · (2u - 1).
    Bias,
}

impl Rule {
    /// The rule for an entry of a network; `normed` says whether a `running_mean` stands beside it.
    ///
    /// # Panics
    /// For an entry that no network has.
    pub fn of(net: &str, entry: &str, shape: &[usize], normed: bool) -> Rule {
        let (prefix, leaf) = entry.rsplit_once('.').expect("an entry has a layer and a leaf");
        match (normed, leaf) {
            (true, "weight") if ends_block(net, prefix) => Rule::Gamma { scale: 0.25 },
            (true, "weight") => Rule::Gamma { scale: 1.0 },
            (true, "bias" | "running_mean") => Rule::Pm02,
            (true, "running_var") => Rule::Var,
            (false, "weight") => Rule::Weight { bound: (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt() },
            (false, "bias") => Rule::Bias,
            _ => panic!("{net} has no entry {entry}"),
        }
    }

    /// The value for u.
    pub fn value(self, u: f64) -> f64 {
        match self {
            Rule::Gamma { scale } => (0.5 + u) * scale,
            Rule::Pm02 => 0.4 * (u - 0.5),
            Rule::Var => 0.5 + u,
            Rule::Weight { bound } => bound * (2.0 * u - 1.0),
            Rule::Bias => 0.1 * (2.0 * u - 1.0),
        }
    }
}

/// Whether a batch norm is the last of a residual block; it is damped so that sums over many blocks stay small.
fn ends_block(net: &str, norm: &str) -> bool {
    match net {
        "resnet18" | "resnet34" => norm.ends_with(".bn2"),
        "resnet50" | "resnet101" | "resnet152" | "wide_resnet50_2" | "wide_resnet101_2" => norm.ends_with(".bn3"),
        _ => false,
    }
}

/// Everything that comes from one seed.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// The seed; all stored fixtures have 1.
    pub seed: u64,
}

impl Generator {
    /// Where the stream of a name starts.
    pub fn key(self, name: &str) -> u64 {
        mix64(self.seed.wrapping_mul(GOLDEN).wrapping_add(fnv1a64(name)))
    }

    /// Element k of the stream, 64 bits.
    pub fn hash(self, name: &str, k: u64) -> u64 {
        at(self.key(name), k)
    }

    /// Element k of the stream, an integer below 2^24.
    pub fn top24(self, name: &str, k: u64) -> u64 {
        self.hash(name, k) >> 40
    }

    /// `count` values of `value(u)`, u uniform in [0, 1).
    pub fn map(self, name: &str, count: usize, value: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
        let key = self.key(name);
        filled(count, |k| value(unit(at(key, k))) as f32)
    }

    /// Uniform in [low, high).
    pub fn tensor_uniform(self, name: &str, count: usize, low: f64, high: f64) -> Vec<f32> {
        let width = high - low;
        self.map(name, count, |u| low + width * u)
    }

    /// Uniform in [-bound, bound).
    pub fn tensor_symmetric(self, name: &str, count: usize, bound: f64) -> Vec<f32> {
        self.map(name, count, |u| bound * (2.0 * u - 1.0))
    }

    /// Nearly normal, the sum of twelve uniform values less six: g / divisor + offset.
    pub fn tensor_gaussish(self, name: &str, count: usize, divisor: f64, offset: f64) -> Vec<f32> {
        let key = self.key(name);
        filled(count, |k| {
            let g = (12 * k..12 * k + 12).map(|j| unit(at(key, j))).sum::<f64>() - 6.0;
            (g / divisor + offset) as f32
        })
    }

    /// Small integers with many ties: floor(u · levels) + shift.
    pub fn tied(self, case: &str, count: usize, levels: f64, shift: f64) -> Vec<f32> {
        self.map(&format!("op/{case}/tied"), count, |u| (u * levels).floor() + shift)
    }

    /// White noise, [n, 3, side, side].
    pub fn input(self, n: usize, side: usize) -> Vec<f32> {
        self.tensor_uniform("input", n * 3 * side * side, 0.0, 1.0)
    }

    /// Squares of 23 by 23 pixels in one colour each, [n, 3, side, side].
    pub fn blocks(self, n: usize, side: usize) -> Vec<f32> {
        const CELL: usize = 23;
        let cells = side.div_ceil(CELL);
        let colours = self.tensor_uniform(&format!("blocks/{side}"), n * 3 * cells * cells, 0.0, 1.0);
        filled(n * 3 * side * side, |k| {
            let (plane, y, x) = (k as usize / (side * side), k as usize / side % side, k as usize % side);
            colours[(plane * cells + y / CELL) * cells + x / CELL]
        })
    }

    /// Logits to aim at, [n, 1000].
    pub fn target(self, n: usize) -> Vec<f32> {
        self.tensor_uniform("target", n * 1000, -2.0, 2.0)
    }

    /// The picture an octave run starts from, [1, 3, side, side].
    pub fn init(self, side: usize) -> Vec<f32> {
        self.tensor_gaussish("init", 3 * side * side, 20.0, 0.7)
    }

    /// Top and left of the crop at a step.
    pub fn crop(self, step: u64) -> [usize; 2] {
        [2 * step, 2 * step + 1].map(|k| (self.hash("crop", k) % 13) as usize)
    }

    /// Row-major indices of the elements that fixtures store of a large tensor.
    pub fn picks(self, name: &str, elements: usize, count: usize) -> Vec<usize> {
        let name = format!("sample/{name}");
        (0..count as u64).map(|j| (self.hash(&name, j) % elements as u64) as usize).collect()
    }

    /// Class labels below `classes` of a case of the `ops` fixture.
    pub fn labels(self, case: &str, classes: usize, count: usize) -> Vec<usize> {
        let name = format!("op/{case}/label");
        (0..count as u64).map(|j| (self.hash(&name, j) % classes as u64) as usize).collect()
    }

    /// One entry of a network's state_dict.
    pub fn fill(self, net: &str, entry: &str, shape: &[usize], rule: Rule) -> Vec<f32> {
        self.map(&format!("{net}/{entry}"), shape.iter().product(), |u| rule.value(u))
    }

    /// A whole state_dict from its shapes, without `num_batches_tracked`.
    pub fn state(self, net: &str, shapes: &BTreeMap<String, Vec<usize>>) -> BTreeMap<String, Vec<f32>> {
        let normed = |entry: &str| {
            entry.rsplit_once('.').is_some_and(|(prefix, _)| shapes.contains_key(&format!("{prefix}.running_mean")))
        };
        let fill =
            |entry: &str, shape: &[usize]| self.fill(net, entry, shape, Rule::of(net, entry, shape, normed(entry)));
        shapes.iter().map(|(entry, shape)| (entry.clone(), fill(entry, shape))).collect()
    }
}

fn at(key: u64, k: u64) -> u64 {
    mix64(key.wrapping_add((k + 1).wrapping_mul(GOLDEN)))
}

/// The upper 24 bits as a number in [0, 1), exact.
fn unit(hash: u64) -> f64 {
    (hash >> 40) as f64 / f64::from(1 << 24)
}

/// `count` values by index, on several threads where that pays.
fn filled(count: usize, value: impl Fn(u64) -> f32 + Sync) -> Vec<f32> {
    let mut values = vec![0.0; count];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(ALONE);
    let fill = |first: usize, part: &mut [f32]| {
        for (k, slot) in part.iter_mut().enumerate() {
            *slot = value((first + k) as u64);
        }
    };
    if count <= share {
        fill(0, &mut values);
    } else {
        thread::scope(|scope| {
            for (part, slots) in values.chunks_mut(share).enumerate() {
                let fill = &fill;
                scope.spawn(move || fill(part * share, slots));
            }
        });
    }
    values
}
