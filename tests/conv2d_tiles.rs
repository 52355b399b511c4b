//! Tiled kernels of convolutions against the one without workgroup memory, on shapes that fill no tile.

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::{Outcome, device, run_tuned, tunings};
use entoptic::device::{Externals, Program, Recorder, Tiling, Tuning, Variant};
use entoptic::ops::{Conv2d, View, Window};
use entoptic::tape::{Request, Tape};
use entoptic::tensor::{Array, Layout, Shape};

const RANDOM: Generator = Generator { seed: 7 };

/// x, channels and window of the weights, stride, padding.
type Layer = ([usize; 4], [usize; 3], [usize; 2], [usize; 2]);

const LAYERS: [Layer; 10] = [
    // Channels and pixels just beyond each tile; one pixel; batches.
    ([1, 33, 6, 11], [65, 1, 1], [1, 1], [0, 0]),
    ([3, 17, 5, 9], [129, 3, 3], [1, 1], [1, 1]),
    ([2, 132, 3, 3], [4, 3, 3], [1, 1], [0, 0]),
    ([3, 20, 1, 1], [37, 1, 1], [1, 1], [0, 0]),
    // The stem: few channels, many taps.
    ([2, 3, 23, 31], [64, 7, 7], [2, 2], [3, 3]),
    // Phases without taps, windows that leave pixels over, unequal strides.
    ([2, 24, 9, 10], [40, 1, 1], [2, 2], [0, 0]),
    ([1, 9, 14, 13], [30, 3, 3], [2, 2], [0, 0]),
    ([1, 5, 11, 12], [6, 2, 3], [3, 2], [1, 2]),
    // Not square.
    ([2, 16, 8, 12], [20, 1, 7], [1, 1], [0, 3]),
    // A linear layer.
    ([3, 130, 1, 1], [70, 1, 1], [1, 1], [0, 0]),
];

fn run(layer: &Layer, tuning: Tuning) -> Outcome {
    let (x, [c_out, kh, kw], stride, padding) = *layer;
    let op = Conv2d::of(Window::plain(stride, padding));
    let array = |name: &str, shape: Shape| {
        Array::new(shape, RANDOM.tensor_symmetric(&format!("{layer:?} {name}"), shape.elements(), 1.0))
    };
    let weight = Shape::new(c_out, x[1], kh, kw);
    let inputs = [
        (array("x", Shape(x)), Layout::Picture),
        (array("weight", weight), Layout::Filter),
        (array("bias", Shape::channels(c_out)), Layout::Picture),
    ];
    let out = |size: usize, kernel: usize, at: usize| (size + 2 * padding[at] - kernel) / stride[at] + 1;
    let y = Shape::new(x[0], c_out, out(x[2], kh, 0), out(x[3], kw, 1));
    run_tuned(&op, &inputs, Some(&array("upstream", y)), &[true; 3], 0, tuning)
}

#[test]
fn tiles_compute_what_registers_compute() {
    let registers = Tuning { tiling: Tiling::Always(Variant::Registers), ..device().tuning() };
    for layer in &LAYERS {
        let expected = run(layer, registers.clone());
        for tuning in tunings("conv2d") {
            let label = format!("{layer:?}, {}", tuning.tiling);
            let found = run(layer, tuning);
            // Sums of up to 1200 products in two orders. Measured: 6.2e-7.
            let bound = Bound::rel_l2(2e-6);
            assert_close(&label, &found.output.values, &expected.output.values, bound);
            for (input, (found, expected)) in found.grads.iter().zip(&expected.grads).enumerate() {
                let (found, expected) = (found.as_ref().expect("wanted"), expected.as_ref().expect("wanted"));
                let label = format!("{label}: gradient of argument {input}");
                assert_close(&label, &found.values, &expected.values, bound);
            }
        }
    }
}

/// A hundred thousand equal summands, whose rounding adds up unless short sums are taken first.
#[test]
fn gradients_over_many_pixels_keep_their_digits() {
    let (x, weight) = (Shape::new(1, 3, 331, 307), Shape::new(5, 3, 1, 1));
    let inputs = [
        (Array::filled(x, 0.7), Layout::Picture),
        (Array::filled(weight, 1.0), Layout::Filter),
        (Array::filled(Shape::channels(5), 0.0), Layout::Picture),
    ];
    let upstream = Array::filled(Shape::new(1, 5, 331, 307), 0.1);
    let pixels = x.pixels() as f64;
    let table = Tiling::Table { units: 128 };
    let tuning = Tuning { tiling: table, ..device().tuning() };
    let found = run_tuned(&Conv2d::new(1, 0), &inputs, Some(&upstream), &[false, true, true], 0, tuning);
    let exact = |value: f64, count: usize| vec![(value * pixels) as f32; count];
    let (weight, bias) = (found.grads[1].as_ref().expect("wanted"), found.grads[2].as_ref().expect("wanted"));
    let product = f64::from(0.7_f32) * f64::from(0.1_f32);
    assert_close("weight", &weight.values, &exact(product, 15), Bound::rel_l2(2e-6));
    assert_close("bias", &bias.values, &exact(f64::from(0.1_f32), 5), Bound::rel_l2(2e-6));
}

/// On a CPU the lanes that share registers sum few weights over many pixels in parts.
#[test]
fn lanes_that_share_compute_what_registers_compute_over_many_pixels() {
    let own = Tuning { tiling: Tiling::Always(Variant::Registers), ..device().tuning() };
    let layers: [Layer; 3] = [
        ([2, 18, 25, 23], [20, 3, 3], [1, 1], [1, 1]),
        ([3, 3, 33, 31], [34, 5, 3], [2, 1], [2, 1]),
        ([1, 36, 24, 27], [16, 1, 1], [1, 1], [0, 0]),
    ];
    for layer in &layers {
        let expected = run(layer, Tuning { subgroup: false, ..own.clone() });
        let found = run(layer, own.clone());
        assert_close(&format!("{layer:?}"), &found.output.values, &expected.output.values, Bound::rel_l2(2e-6));
        for (input, (found, expected)) in found.grads.iter().zip(&expected.grads).enumerate() {
            let (found, expected) = (found.as_ref().expect("wanted"), expected.as_ref().expect("wanted"));
            let label = format!("{layer:?}: gradient of argument {input}");
            assert_close(&label, &found.values, &expected.values, Bound::rel_l2(2e-6));
        }
    }
}

/// Layers as a residual block has them, so that kernels add biases, the residual and an earlier gradient, rectify, and mask.
#[test]
fn tiles_finish_their_sums_as_registers_do() {
    let array = |name: &str, shape: Shape| Array::new(shape, RANDOM.tensor_symmetric(name, shape.elements(), 1.0));
    let (picture, form) = (Layout::Picture, Layout::Filter);
    let arguments = [
        ("x", Shape::new(2, 6, 9, 7), picture),
        ("weight1", Shape::new(10, 6, 3, 3), form),
        ("bias1", Shape::channels(10), picture),
        ("weight2", Shape::new(10, 10, 3, 3), form),
        ("bias2", Shape::channels(10), picture),
    ];
    let run = |tuning: Tuning| {
        let mut tape = Tape::default();
        let [x, weight1, bias1, weight2, bias2] =
            arguments.map(|(name, shape, layout)| tape.external(name, shape, layout));
        let op = Conv2d { relu: true, ..Conv2d::new(1, 1) };
        let a = tape.apply(op, &[x, weight1, bias1]).expect("fits");
        let inner = tape.apply(op, &[a, weight2, bias2]).expect("fits");
        let b = tape.apply(op, &[inner, weight2, bias2, a]).expect("fits");
        let mut recorder = Recorder::new(tuning);
        let request = Request { keep: vec![b], loss: Some(b), wrt: vec![x, weight1, bias1] };
        let recorded = tape.record(&mut recorder, &request).expect("records");
        let upload = |(name, shape, layout): (&str, Shape, Layout)| {
            (name.to_owned(), device().upload(name, layout, &array(name, shape)).expect("room"))
        };
        let externals: Externals = arguments.into_iter().map(upload).collect();
        let recording = recorder.finish();
        let mut program = Program::prepare(device(), "block", &recording, &externals).expect("prepares");
        program.run().expect("runs");
        let read =
            |view: &View| device().download(program.buffer(view.buffer), view.layout, view.shape).expect("reads");
        let found: Vec<Array> = recorded.kept.iter().chain(&recorded.gradients).map(read).collect();
        let shaders: Vec<&str> = recording.dispatches.iter().map(|dispatch| dispatch.kernel.shader.name).collect();
        (found, shaders)
    };
    let registers = Tuning { tiling: Tiling::Always(Variant::Registers), ..device().tuning() };
    let (expected, shaders) = run(registers);
    assert!(
        !shaders.contains(&"accumulate"),
        "both gradients of the first layer's result are added up by a convolution"
    );
    for values in &expected {
        assert!(values.values.iter().any(|&value| value != 0.0));
    }
    for tuning in tunings("conv2d") {
        let label = tuning.tiling.to_string();
        let tiled = matches!(tuning.tiling, Tiling::Always(Variant::Tiled(..)));
        let (found, shaders) = run(tuning);
        assert!(!shaders.contains(&"accumulate"), "{label}");
        for shader in ["conv2d_tiled", "conv2d_tiled_weight"] {
            assert_eq!(shaders.contains(&shader), tiled, "{label} of {shader}");
        }
        for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // A sum that is zero but for rounding may be positive in one order and not in another; none is here.
            assert_close(&format!("{label}, {which}"), &found.values, &expected.values, Bound::rel_l2(2e-6));
        }
    }
}
