//! The tape: gradients that arrive from several consumers add up (`accumulate`), and nothing is computed that nobody asked
//! for.

mod common;

use common::gpu::device;
use entoptic::Error;
use entoptic::device::{Externals, Program, Recorder};
use entoptic::ops::{Add, ChannelAffine, Concat, Conv2d, Relu};
use entoptic::tape::{Recorded, Request, Tape, Var};
use entoptic::tensor::{Array, Layout, Shape};

const SHAPE: Shape = Shape::new(1, 4, 2, 3);

/// Small integers, so that sums are exact.
fn x() -> Array {
    Array::new(SHAPE, (0..SHAPE.elements()).map(|k| k as f32 - 11.5).collect())
}

/// `factor` times x, as a convolution, whose gradient is written to a buffer of its own.
fn times(tape: &mut Tape, x: Var, name: &str) -> Var {
    let weight = tape.external(name, Shape::new(4, 4, 1, 1), Layout::Filter);
    tape.apply(Conv2d::new(1, 0), &[x, weight]).expect("fits")
}

/// The gradient of the sum of y with respect to x, and the kernels that were launched.
fn gradient(tape: &Tape, y: Var, x_var: Var) -> (Vec<f32>, Vec<String>) {
    let mut recorder = Recorder::new(device().tuning());
    let request = Request { keep: vec![y], loss: Some(y), wrt: vec![x_var] };
    let Recorded { gradients, .. } = tape.record(&mut recorder, &request).expect("differentiable");
    let recording = recorder.finish();
    let mut externals = Externals::new();
    externals.insert("x".into(), device().upload("x", Layout::Picture, &x()).expect("room"));
    for (name, factor) in [("two", 2.0), ("three", 3.0)] {
        let diagonal = (0..16).map(|k| if k % 5 == 0 { factor } else { 0.0 }).collect();
        let array = Array::new(Shape::new(4, 4, 1, 1), diagonal);
        externals.insert(name.into(), device().upload(name, Layout::Filter, &array).expect("room"));
    }
    let mut program = Program::prepare(device(), "tape", &recording, &externals).expect("prepares");
    program.run().expect("runs");
    let found = device().download(program.buffer(gradients[0].buffer), Layout::Picture, SHAPE).expect("reads");
    (found.values, recording.dispatches.iter().map(|dispatch| dispatch.kernel.label()).collect())
}

#[test]
fn gradients_of_three_consumers_add_up() {
    let mut tape = Tape::default();
    let x = tape.input("x", SHAPE);
    let [two, three] = [2.0, 3.0].map(|factor| {
        let [scale, shift] = [factor, 0.0].map(|number| tape.constant(&Array::filled(Shape::channels(4), number)));
        tape.apply(ChannelAffine, &[x, scale, shift]).expect("fits")
    });
    let sum = tape.apply(Add, &[two, three]).expect("fits");
    let y = tape.apply(Add, &[sum, x]).expect("fits");
    let (found, kernels) = gradient(&tape, y, x);
    assert_eq!(found, [6.0; 24]);
    assert_eq!(kernels.iter().filter(|kernel| *kernel == "accumulate.update").count(), 2, "{kernels:?}");
}

#[test]
fn convolutions_add_what_has_arrived_before() {
    let mut tape = Tape::default();
    let x = tape.input("x", SHAPE);
    let (two, three) = (times(&mut tape, x, "two"), times(&mut tape, x, "three"));
    let sum = tape.apply(Add, &[two, three]).expect("fits");
    let y = tape.apply(Add, &[sum, x]).expect("fits");
    let (found, kernels) = gradient(&tape, y, x);
    assert_eq!(found, [6.0; 24]);
    assert_eq!(kernels[4..], ["conv2d.grad_input", "conv2d.grad_input"]);
}

#[test]
fn a_gradient_that_two_share_is_not_added_to() {
    // Both arguments of the sum are x, and its gradient is a buffer that others still read.
    let mut tape = Tape::default();
    let x = tape.input("x", SHAPE);
    let positive = tape.apply(Relu, &[x]).expect("fits");
    let twice = tape.apply(Add, &[positive, positive]).expect("fits");
    let y = tape.apply(Add, &[twice, positive]).expect("fits");
    let (found, _) = gradient(&tape, y, x);
    let expected: Vec<f32> = self::x().values.iter().map(|&x| if x > 0.0 { 3.0 } else { 0.0 }).collect();
    assert_eq!(found, expected);
}

#[test]
fn parts_of_a_concatenation_have_the_gradient_of_their_place() {
    let mut tape = Tape::default();
    let x = tape.input("x", SHAPE);
    let (two, three) = (times(&mut tape, x, "two"), times(&mut tape, x, "three"));
    let y = tape.apply(Concat, &[two, three]).expect("fits");
    let (found, kernels) = gradient(&tape, y, x);
    assert_eq!(found, [5.0; 24]);
    assert!(kernels.iter().all(|kernel| !kernel.starts_with("concat")), "{kernels:?}");
}

#[test]
fn nothing_is_computed_that_nobody_asked_for() {
    let mut tape = Tape::default();
    let x = tape.input("x", SHAPE);
    let y = times(&mut tape, x, "two");
    let unused = times(&mut tape, x, "three");
    tape.apply(Relu, &[unused]).expect("fits");
    let (_, kernels) = gradient(&tape, y, x);
    assert_eq!(kernels, ["conv2d.forward", "conv2d.grad_input"]);
}

#[test]
fn a_loss_that_does_not_depend_on_it_is_an_error() {
    let mut tape = Tape::default();
    let (x, other) = (tape.input("x", SHAPE), tape.input("other", SHAPE));
    let y = tape.apply(Relu, &[x]).expect("fits");
    let request = Request { keep: vec![], loss: Some(y), wrt: vec![other] };
    let result = tape.record(&mut Recorder::new(device().tuning()), &request);
    assert!(matches!(result, Err(Error::Objective { .. })), "{result:?}");
}
