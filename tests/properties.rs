//! Operations of random shapes, strides, paddings and windows against the oracle, forwards and backwards, in the kernels that
//! this adapter is given and in one by tiles.
//!
//! `ENTOPTIC_PROPERTIES` is the number of cases, 1,000 by default. A case that fails is made as small as it can be, and its
//! seed is kept in `tests/regressions`: it is tried first from then on.

mod common;

use std::sync::Arc;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use common::gpu::device;
use entoptic::doctor::{Case, Verdict, examine_case};
use entoptic::ops::*;
use entoptic::tensor::Shape;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// Cases when nobody says how many.
const CASES: usize = 1000;

/// Operations that get a share for each of their settings.
const SHARES: usize = 37;

/// A range for each number that makes up a case.
type Ranges = &'static [RangeInclusive<usize>];

/// What some numbers mean: an operation and its arguments.
type Build = fn(&[usize]) -> (Arc<dyn Op>, Vec<Domain>);

/// One test for each operation; PROPERTIES lists them.
macro_rules! properties {
    ($($name:ident: $shares:literal, $ranges:expr, $build:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let kept = concat!("tests/regressions/", stringify!($name), ".txt");
                check(stringify!($name), kept, $shares, $ranges, $build);
            }
        )*

        const PROPERTIES: &[(&str, usize)] = &[$((stringify!($name), $shares)),*];
    };
}

fn check(name: &str, kept: &'static str, shares: usize, ranges: Ranges, build: Build) {
    let cases = std::env::var("ENTOPTIC_PROPERTIES").map_or(CASES, |count| count.parse().expect("a number of cases"));
    let config = Config {
        cases: (cases * shares).div_ceil(SHARES) as u32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        source_file: Some(file!()),
        max_global_rejects: 1_000_000,
        ..Config::default()
    };
    let tried = Cell::new(0);
    let strategy = (ranges.to_vec(), 0..1_000_000u64, any::<bool>(), 0..2usize, 0..64usize);
    let outcome = TestRunner::new(config).run(&strategy, |(numbers, seed, tied, margin, number)| {
        let (op, domains) = build(&numbers);
        assert_eq!(op.name(), name);
        // Shapes that do not fit are refused, which other tests look at.
        let Ok(case) = Case::new(op, &domains, seed, tied) else { return Err(TestCaseError::reject("no window fits")) };
        let case = Case { margin, ..case };
        tried.set(tried.get() + 1);
        let rows = examine_case(device(), &case, number).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(!rows.is_empty());
        let wrong: Vec<_> = rows.iter().filter(|row| row.verdict != Verdict::Right).collect();
        prop_assert!(wrong.is_empty(), "{}: {wrong:#?}", case.about());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
    println!("{name}: {} cases", tried.get());
}

#[test]
fn every_operation_of_the_list_is_tried() {
    let named: BTreeSet<&str> = PROPERTIES.iter().map(|(name, _)| *name).collect();
    let listed: BTreeSet<&str> = samples().iter().map(|sample| sample.op.name()).collect();
    assert_eq!(named, listed);
    assert_eq!(PROPERTIES.iter().map(|(_, shares)| shares).sum::<usize>(), SHARES);
}

fn shape(numbers: &[usize]) -> Shape {
    Shape::new(numbers[0], numbers[1], numbers[2], numbers[3])
}

fn boxed(op: impl Op + 'static, domains: impl Into<Vec<Domain>>) -> (Arc<dyn Op>, Vec<Domain>) {
    (Arc::new(op), domains.into())
}

fn vectors(c: usize) -> [Domain; 4] {
    let c = Shape::channels(c);
    [Domain::linear(c), Domain::linear(c), Domain::Fixed(c), Domain::Positive(c)]
}

const EPS: [f32; 2] = [1e-3, 1e-5];

/// Pictures, channels, height, width.
const N: RangeInclusive<usize> = 1..=3;
const C: RangeInclusive<usize> = 1..=11;
const SIDE: RangeInclusive<usize> = 1..=12;

/// Those of a convolution: x, output channels, window, stride, padding, relu, bias and residual, groups, more padding behind, and
/// dilation.
const CONVOLUTIONS: Ranges = &[
    N,
    1..=37,
    SIDE,
    SIDE,
    1..=37,
    1..=5,
    1..=5,
    1..=3,
    1..=3,
    0..=3,
    0..=3,
    0..=4,
    0..=2,
    0..=16,
    0..=5,
    0..=5,
    0..=5,
];

/// What may stand behind a convolution besides relu, which is the second.
const BEHIND: [Option<Activation>; 5] = [
    None,
    None,
    Some(Activation::Tanh),
    Some(Activation::Clip { low: -0.5, high: 0.75 }),
    Some(Activation::Elu { alpha: 0.7 }),
];

/// A number for the functions of `activation` that have some.
fn function(kind: usize, a: f32) -> Activation {
    match kind {
        0 => Activation::Clip { low: -a, high: 2.0 * a },
        1 => Activation::LeakyRelu { slope: a },
        2 => Activation::Sigmoid,
        3 => Activation::Silu,
        4 => Activation::HardSigmoid,
        5 => Activation::HardSwish,
        6 => Activation::Gelu,
        7 => Activation::GeluTanh,
        8 => Activation::Tanh,
        9 => Activation::Elu { alpha: a },
        _ => Activation::Softplus { beta: 4.0 * a, threshold: 20.0 },
    }
}

properties! {
    activation: 1, &[N, C, SIDE, SIDE, 0..=10, 1..=8], |v| {
        boxed(function(v[4], v[5] as f32 / 8.0), [Domain::Apart(shape(v))])
    };
    adaptive_avg_pool2d: 1, &[N, C, SIDE, SIDE, SIDE, SIDE], |v| {
        boxed(AdaptiveAvgPool2d { output: [v[4], v[5]] }, [Domain::linear(shape(v))])
    };
    add: 1, &[N, C, SIDE, SIDE], |v| boxed(Add, [Domain::linear(shape(v)), Domain::linear(shape(v))]);
    avg_pool2d: 1, &[N, C, SIDE, SIDE, 1..=5, 1..=5, 1..=3, 1..=3, 0..=2, 0..=2, 0..=1, 0..=1, 0..=2], |v| {
        let [top, left] = [v[8] % (v[4] / 2 + 1), v[9] % (v[5] / 2 + 1)];
        let op = AvgPool2d {
            kernel: [v[4], v[5]],
            stride: [v[6], v[7]],
            padding: [[top, left], [top.saturating_sub(v[12]), left]],
            ceil_mode: v[11] == 1,
            count_include_pad: v[10] == 1,
        };
        boxed(op, [Domain::linear(shape(v))])
    };
    batch_norm: 1, &[N, C, SIDE, SIDE, 0..=1], |v| {
        boxed(BatchNorm { eps: EPS[v[4]] }, [&[Domain::linear(shape(v))], &vectors(v[1])[..]].concat())
    };
    batch_norm_train: 1, &[N, C, SIDE, SIDE, 0..=1], |v| {
        let op = BatchNormTrain { eps: EPS[v[4]], momentum: 0.1 };
        boxed(op, [&[Domain::Smooth(shape(v))], &vectors(v[1])[..]].concat())
    };
    binary: 2, &[N, C, SIDE, SIDE, 0..=3, 0..=15, 0..=15], |v| {
        let op = [Binary::Plus, Binary::Minus, Binary::Times, Binary::Over][v[4]];
        // Each bit says whether an argument is the same along a side.
        let along = |bits: usize| {
            let mut sizes = shape(v).0;
            sizes.iter_mut().enumerate().filter(|(side, _)| bits >> side & 1 == 1).for_each(|(_, size)| *size = 1);
            Shape(sizes)
        };
        let b = along(v[6]);
        let b = if op == Binary::Over { Domain::Divisor(b) } else { Domain::linear(b) };
        boxed(op, [Domain::linear(along(v[5])), b])
    };
    channels: 1, &[N, 1..=3, SIDE, SIDE, 0..=5, 1..=4, 0..=3], |v| {
        let op = Channels { first: v[4], count: v[5] * v[1], groups: v[1] };
        boxed(op, [Domain::linear(Shape::new(v[0], v[4] + op.count + v[6], v[2], v[3]))])
    };
    channel_affine: 1, &[N, C, SIDE, SIDE], |v| {
        boxed(ChannelAffine, [&[Domain::linear(shape(v))], &vectors(v[1])[..2]].concat())
    };
    concat: 1, &[N, 1..=4, SIDE, SIDE, C, C, C, C], |v| {
        let part = |c: &usize| Domain::linear(Shape::new(v[0], *c, v[2], v[3]));
        boxed(Concat, v[4..][..v[1]].iter().map(part).collect::<Vec<_>>())
    };
    conv2d: 8, CONVOLUTIONS, |v| {
        // Half of all are in one group; of the others every fourth is depthwise.
        let groups = match v[13] {
            0..=7 => 1,
            15..=16 => v[1],
            groups => groups - 6,
        };
        let [c_in, c_out] = [v[1], if v[13] > 14 { v[1] } else { v[4] }].map(|c| c.div_ceil(groups) * groups);
        let x = Shape::new(v[0], c_in, v[2], v[3]);
        let weight = Shape::new(c_out, c_in / groups, v[5], v[6]);
        let op = Conv2d {
            stride: [v[7], v[8]],
            padding: [[v[9], v[10]], [v[9] + v[14] / 3, v[10].saturating_sub(v[14] / 3)]],
            dilation: [1 + v[15] / 3, 1 + v[16] / 3],
            groups,
            relu: v[11] == 1,
            activation: BEHIND[v[11]],
        };
        let mut domains = vec![Domain::linear(x), Domain::filter(weight)];
        if let Ok(y) = op.output_shape(&[x, weight]) {
            domains.extend([Domain::linear(Shape::channels(c_out)), Domain::linear(y)].into_iter().take(v[12]));
        }
        boxed(op, domains)
    };
    crop: 1, &[N, C, SIDE, SIDE, SIDE, SIDE], |v| {
        let op = Crop { height: 1 + v[4] % v[2], width: 1 + v[5] % v[3] };
        boxed(op, [Domain::linear(shape(v)), Domain::Index(Shape::new(v[0], 2, 1, 1), 14)])
    };
    cross_entropy: 1, &[N, 1..=300, 0..=1], |v| {
        let x = Shape::new(v[0], v[1], 1, 1);
        let op = CrossEntropy { smoothing: [0.0, 0.2][v[2]] };
        boxed(op, [Domain::Smooth(x), Domain::Index(Shape::per_picture(v[0]), v[1] + 2)])
    };
    distance: 1, &[N, C, SIDE, SIDE, 0..=2], |v| {
        let metric = [Metric::L1, Metric::L2, Metric::SumOfSquares][v[4]];
        boxed(Distance { metric }, [Domain::Apart(shape(v)), Domain::Index(shape(v), 2)])
    };
    gaussian_blur: 1, &[N, C, SIDE, SIDE, 0..=4], |v| {
        let kernel = 1 + 2 * v[4];
        boxed(GaussianBlur { kernel }, [Domain::linear(shape(v)), Domain::Fixed(Shape::channels(kernel))])
    };
    irfft2: 1, &[N, C, 1..=40, 1..=40, 0..=4], |v| {
        let op = Irfft2 { width: v[3], decay: v[4] as f64 / 2.0 };
        boxed(op, [Domain::linear(Irfft2::spectrum_shape(shape(v)))])
    };
    layer_norm: 1, &[N, 1..=300, 1..=5, 1..=5, 0..=1], |v| {
        let vector = Domain::linear(Shape::channels(v[1]));
        boxed(LayerNorm { eps: EPS[v[4]] }, [Domain::Smooth(shape(v)), vector, vector])
    };
    local_response_norm: 1, &[N, C, SIDE, SIDE, 0..=4, 0..=4, 1..=8], |v| {
        let op = LocalResponseNorm { before: v[4], after: v[5], alpha: v[6] as f32 / 4.0, beta: 0.75, k: 1.0 };
        boxed(op, [Domain::Smooth(shape(v))])
    };
    max_pool2d: 1, &[N, C, SIDE, SIDE, 1..=5, 1..=5, 1..=3, 1..=3, 0..=2, 0..=2, 0..=1, 0..=2, 0..=3], |v| {
        let [top, left] = [v[8] % (v[4] / 2 + 1), v[9] % (v[5] / 2 + 1)];
        let op = MaxPool2d {
            kernel: [v[4], v[5]],
            stride: [v[6], v[7]],
            padding: [[top, left], [top, left.saturating_sub(v[11])]],
            dilation: [1 + v[12] / 2, 1 + v[12] % 2],
            ceil_mode: v[10] == 1,
        };
        boxed(op, [Domain::Apart(shape(v))])
    };
    minimum: 1, &[N, C, SIDE, SIDE], |v| boxed(Minimum, [Domain::Apart(shape(v)), Domain::Apart(shape(v))]);
    pad: 1, &[N, C, SIDE, SIDE, 0..=4, 0..=4, 0..=4, 0..=4], |v| {
        boxed(Pad { left: v[4], top: v[5], right: v[6], bottom: v[7], value: 0.7 }, [Domain::Smooth(shape(v))])
    };
    pick: 1, &[N, C, SIDE, SIDE], |v| {
        boxed(Pick, [Domain::linear(shape(v)), Domain::Index(Shape::per_picture(v[0]), v[1] + 2)])
    };
    region_sum: 1, &[N, C, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE], |v| {
        let within = |first: usize, end: usize, size: usize| {
            let first = first % size;
            first..first + 1 + end % (size - first)
        };
        let op = RegionSum {
            channels: within(v[4], v[5], v[1]),
            rows: within(v[6], v[7], v[2]),
            columns: within(v[8], v[9], v[3]),
        };
        boxed(op, [Domain::linear(shape(v))])
    };
    relu: 1, &[N, C, SIDE, SIDE], |v| boxed(Relu, [Domain::Apart(shape(v))]);
    resize: 1, &[N, C, SIDE, SIDE, 1..=19, 1..=19, 0..=2], |v| {
        let modes = [true, false].map(|antialias| ResizeMode::Bilinear { antialias });
        let mode = [modes[0], modes[1], ResizeMode::Nearest][v[6]];
        boxed(Resize { height: v[4], width: v[5], mode }, [Domain::linear(shape(v))])
    };
    softmax: 1, &[N, 1..=300, 1..=4, 1..=4], |v| boxed(Softmax, [Domain::Smooth(shape(v))]);
    statistics_distance: 1, &[N, C, SIDE, SIDE, 0..=1], |v| {
        let [_, _, mean, var] = vectors(v[1]);
        boxed(StatisticsDistance { eps: EPS[v[4]] }, [Domain::Smooth(shape(v)), mean, var])
    };
    total_variation: 1, &[N, C, SIDE, SIDE], |v| boxed(TotalVariation, [Domain::Apart(shape(v))]);
    warp: 1, &[N, C, SIDE, SIDE], |v| {
        boxed(Warp, [Domain::linear(shape(v)), Domain::Fixed(Shape::new(v[0], 6, 1, 1))])
    };
}
