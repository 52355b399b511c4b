//! Single operations, forwards and backwards, against the stored reference and against what their definitions say.
//!
//! One long file: a table gives each kind of stored case its function, and a case without one fails.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::compare::{Bound, assert_close};
use common::fixture::Fixture;
use common::generator::Generator;
use common::gpu::{Outcome, device, run, run_tuned, tunings};
use entoptic::Error;
use entoptic::device::{Externals, Program, Recorder, Source};
use entoptic::ops::{
    AdaptiveAvgPool2d, Add, AvgPool2d, Backward, BatchNorm, BatchNormTrain, ChannelAffine, Concat, Conv2d, Domain,
    Finish, Forward, MaxPool2d, Op, Relu, Sample, View, Window, samples,
};
use entoptic::tape::{Request, Tape};
use entoptic::tensor::{Array, Layout, Shape};

const SEED: Generator = Generator { seed: 1 };

/// One case of the stored reference.
struct Case<'a> {
    fixture: &'a Fixture,
    name: &'a str,
}

impl Case<'_> {
    fn key(&self, tensor: &str) -> String {
        format!("{}/{tensor}", self.name)
    }

    fn has(&self, tensor: &str) -> bool {
        self.fixture.has(&self.key(tensor))
    }

    /// A tensor of the case; one size is that of channels, two are those of pictures and channels.
    fn array(&self, tensor: &str) -> Array {
        stored(self.fixture, &self.key(tensor))
    }

    fn picture(&self, tensor: &str) -> (Array, Layout) {
        (self.array(tensor), Layout::Picture)
    }

    fn filter(&self, tensor: &str) -> (Array, Layout) {
        (self.array(tensor), Layout::Filter)
    }

    fn number(&self, setting: &str) -> f32 {
        self.fixture.case(self.name)[setting].as_f64().expect("a number") as f32
    }

    fn flag(&self, setting: &str) -> bool {
        self.fixture.case(self.name)[setting].as_bool().expect("true or false")
    }

    /// [height, width], of which one number is both.
    fn pair(&self, setting: &str) -> [usize; 2] {
        let setting = &self.fixture.case(self.name)[setting];
        let size = |value: &serde_json::Value| value.as_u64().expect("a size") as usize;
        match setting.as_array() {
            Some(pair) => [size(&pair[0]), size(&pair[1])],
            None => [size(setting); 2],
        }
    }

    /// Runs an operation towards the gradients of all its inputs.
    fn run(&self, op: impl Op, inputs: &[(Array, Layout)]) -> Outcome {
        run(&op, inputs, Some(&self.array("upstream")), &vec![true; inputs.len()])
    }

    #[track_caller]
    fn expect(&self, tensor: &str, found: &Array) {
        self.expect_within(tensor, found, self.fixture.bound(&self.key(tensor)));
    }

    #[track_caller]
    fn expect_exactly(&self, tensor: &str, found: &Array) {
        self.expect_within(tensor, found, Bound::EXACT);
    }

    #[track_caller]
    fn expect_within(&self, tensor: &str, found: &Array, bound: Bound) {
        let expected = self.array(tensor);
        assert_eq!(found.shape, expected.shape, "{}", self.key(tensor));
        assert_close(&self.key(tensor), &found.values, &expected.values, bound);
    }

    /// Compares the gradients of the inputs, which the reference calls so.
    #[track_caller]
    fn expect_grads(&self, inputs: &[&str], outcome: &Outcome) {
        for (input, grad) in inputs.iter().zip(&outcome.grads) {
            self.expect(&format!("grad_{input}"), grad.as_ref().expect("every gradient was asked for"));
        }
    }
}

fn stored(fixture: &Fixture, key: &str) -> Array {
    let shape = match fixture.shape(key)[..] {
        [] => Shape::channels(1),
        [c] => Shape::channels(c),
        [n, c] => Shape::new(n, c, 1, 1),
        [n, c, h, w] => Shape::new(n, c, h, w),
        _ => panic!("{key} has another number of sizes"),
    };
    Array::new(shape, fixture.values(key))
}

/// One test for each kind of case; KINDS lists what they cover.
macro_rules! kinds {
    ($($test:ident: $kind:literal => $check:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                each_case($kind, $check);
            }
        )*

        const KINDS: &[&str] = &[$($kind),*];
    };
}

kinds! {
    conv2d_equals_the_reference: "conv2d" => conv2d,
    linear_is_a_convolution_of_one_pixel: "linear" => conv2d,
    batch_norm_equals_the_reference: "batch_norm" => batch_norm,
    max_pool2d_equals_the_reference: "max_pool2d" => max_pool2d,
    avg_pool2d_equals_the_reference: "avg_pool2d" => avg_pool2d,
    adaptive_avg_pool2d_equals_the_reference: "adaptive_avg_pool2d" => adaptive_avg_pool2d,
    relu_equals_the_reference: "relu" => relu,
    residual_equals_the_reference: "relu(a + b)" => residual,
    concat_equals_the_reference: "concat over channels, order a b c d" => concat,
    channel_affine_equals_the_reference:
        "per-channel x*(std/0.5) + (mean-0.5)/0.5, mean 0.485 0.456 0.406, std 0.229 0.224 0.225" => transform_input,
}

/// Kinds that `tests/losses.rs` covers, whose tests count their cases.
const LOSSES: &[&str] =
    &["cross_entropy", "l1_sum", "l1_0.05", "l2_norm", "sum_of_squares", "mse_mean", "class_200", "SGD, four steps"];

fn kind<'a>(fixture: &'a Fixture, case: &str) -> &'a str {
    fixture.case(case)["op"].as_str().expect("a case names its operation")
}

fn each_case(of: &str, check: fn(&Case)) {
    let fixture = Fixture::load("ops");
    let names: Vec<&str> = fixture.cases().filter(|name| kind(&fixture, name) == of).collect();
    assert!(!names.is_empty(), "the reference has no case of {of}");
    for name in names {
        check(&Case { fixture: &fixture, name });
    }
}

#[test]
fn every_case_of_the_reference_is_covered() {
    let fixture = Fixture::load("ops");
    let stored: BTreeSet<&str> = fixture.cases().map(|name| kind(&fixture, name)).collect();
    let covered: BTreeSet<&str> = KINDS.iter().chain(LOSSES).copied().collect();
    assert_eq!(stored, covered);
}

fn conv2d(case: &Case) {
    let linear = kind(case.fixture, case.name) == "linear";
    let op = match linear {
        true => Conv2d::new(1, 0),
        false => Conv2d::of(Window::plain(case.pair("stride"), case.pair("padding"))),
    };
    let mut inputs = vec![case.picture("input"), case.filter("weight")];
    if case.has("bias") {
        inputs.push(case.picture("bias"));
    }
    let upstream = case.array("upstream");
    for tuning in tunings(op.name()) {
        println!("{}: {}", case.name, tuning.tiling);
        let outcome = run_tuned(&op, &inputs, Some(&upstream), &vec![true; inputs.len()], 0, tuning);
        case.expect("out", &outcome.output);
        case.expect_grads(&["input", "weight", "bias"], &outcome);
    }
}

fn batch_norm(case: &Case) {
    let (eps, momentum) = (case.number("eps"), case.number("momentum"));
    let (statistics, mode) = case.name.rsplit_once('_').expect("a name ends in its mode");
    let running = |which| (stored(case.fixture, &format!("{statistics}/{which}")), Layout::Picture);
    let (mean, var) = (running("running_mean"), running("running_var"));
    let inputs = [case.picture("input"), case.picture("weight"), case.picture("bias"), mean.clone(), var.clone()];
    let upstream = case.array("upstream");
    let wanted = [true, true, true, false, false];
    let outcome = match mode {
        "eval" => run(&BatchNorm { eps }, &inputs, Some(&upstream), &wanted),
        _ => run(&BatchNormTrain { eps, momentum }, &inputs, Some(&upstream), &wanted),
    };
    case.expect("out", &outcome.output);
    case.expect_grads(&["input", "weight", "bias"], &outcome);
    if mode == "eval" {
        assert_eq!(outcome.inputs[3..], [mean.0, var.0], "{}: frozen statistics stay", case.name);
    } else {
        case.expect("new_running_mean", &outcome.inputs[3]);
        case.expect("new_running_var", &outcome.inputs[4]);
    }
}

fn max_pool2d(case: &Case) {
    let op = MaxPool2d {
        kernel: case.pair("kernel"),
        stride: case.pair("stride"),
        padding: [case.pair("padding"); 2],
        dilation: [1; 2],
        ceil_mode: case.flag("ceil_mode"),
    };
    let outcome = case.run(op, &[case.picture("input")]);
    case.expect_exactly("out", &outcome.output);
    let argmax: Vec<usize> = outcome.saved[0].values.iter().map(|value| value.to_bits() as usize).collect();
    assert_eq!(argmax, case.fixture.indices(&case.key("argmax")), "{}", case.name);
    // Where windows overlap three or more gradients may add up, which f32 rounds.
    case.expect_grads(&["input"], &outcome);
}

fn avg_pool2d(case: &Case) {
    let op = AvgPool2d {
        kernel: case.pair("kernel"),
        stride: case.pair("stride"),
        padding: [case.pair("padding"); 2],
        ceil_mode: false,
        count_include_pad: case.flag("count_include_pad"),
    };
    let outcome = case.run(op, &[case.picture("input")]);
    case.expect("out", &outcome.output);
    case.expect_grads(&["input"], &outcome);
}

fn adaptive_avg_pool2d(case: &Case) {
    let outcome = case.run(AdaptiveAvgPool2d { output: case.pair("output") }, &[case.picture("input")]);
    case.expect("out", &outcome.output);
    case.expect_grads(&["input"], &outcome);
}

fn relu(case: &Case) {
    let outcome = case.run(Relu, &[case.picture("input")]);
    case.expect_exactly("out", &outcome.output);
    case.expect_exactly("grad_input", outcome.grads[0].as_ref().expect("asked for"));
}

fn residual(case: &Case) {
    let sum = run(&Add, &[case.picture("a"), case.picture("b")], None, &[]).output;
    let outcome = case.run(Relu, &[(sum, Layout::Picture)]);
    case.expect_exactly("out", &outcome.output);
    for input in [0, 1] {
        assert!(Add.passes_gradient(input), "the gradient of a sum is that of its parts");
        let tensor = ["grad_a", "grad_b"][input];
        case.expect_exactly(tensor, outcome.grads[0].as_ref().expect("asked for"));
    }
}

fn concat(case: &Case) {
    let parts = ["a", "b", "c", "d"];
    let outcome = case.run(Concat, &parts.map(|part| case.picture(part)));
    case.expect_exactly("out", &outcome.output);
    for (part, grad) in parts.iter().zip(&outcome.grads) {
        case.expect_exactly(&format!("grad_{part}"), grad.as_ref().expect("asked for"));
    }
}

fn transform_input(case: &Case) {
    let vector =
        |values: [f64; 3]| (Array::new(Shape::channels(3), values.map(|value| value as f32).to_vec()), Layout::Picture);
    let scale = vector([0.229, 0.224, 0.225].map(|std| std / 0.5));
    let shift = vector([0.485, 0.456, 0.406].map(|mean| (mean - 0.5) / 0.5));
    let outcome = case.run(ChannelAffine, &[case.picture("input"), scale, shift]);
    case.expect("out", &outcome.output);
    case.expect_grads(&["input"], &outcome);
    // The reference has no gradients of the constants; they are sums over each channel.
    let (x, g) = (case.array("input"), case.array("upstream"));
    let bound = case.fixture.bound(&case.key("out"));
    for (index, factor) in [(1, Some(&x)), (2, None)] {
        let found = outcome.grads[index].as_ref().expect("asked for");
        assert_close(&format!("gradient {index}"), &found.values, &sums(&g, factor), bound);
    }
}

/// For each channel the sum over pictures and pixels of `g`, times `factor` where there is one, in f64.
fn sums(g: &Array, factor: Option<&Array>) -> Vec<f32> {
    let [_, c, h, w] = g.shape.0;
    let mut sums = vec![0.0; c];
    for (index, &g) in g.values.iter().enumerate() {
        sums[index / (h * w) % c] += f64::from(g) * factor.map_or(1.0, |factor| f64::from(factor.values[index]));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// A hundred thousand equal summands, whose rounding adds up unless short sums are taken first.
#[test]
fn sums_over_a_large_picture_keep_their_digits() {
    let (shape, c) = (Shape::new(1, 3, 331, 307), Shape::channels(3));
    let n = shape.pixels() as f64;
    let picture = |name, low, high| Array::new(shape, SEED.tensor_uniform(name, shape.elements(), low, high));
    let x = picture("large x", 99.7, 100.3);
    let g = Array::filled(shape, 0.1);
    let vector = |value| (Array::filled(c, value), Layout::Picture);
    let bound = Bound::rel_l2(2e-6);

    let outcome =
        run(&ChannelAffine, &[(x.clone(), Layout::Picture), vector(1.0), vector(0.0)], Some(&g), &[false, true, true]);
    let (scale, shift) = (outcome.grads[1].as_ref().unwrap(), outcome.grads[2].as_ref().unwrap());
    assert_close("channel_affine scale", &scale.values, &sums(&g, Some(&x)), bound);
    assert_close("channel_affine shift", &shift.values, &sums(&g, None), bound);

    let mean: Vec<f64> = sums(&x, None).iter().map(|&sum| f64::from(sum) / n).collect();
    let centered: Vec<f32> = (x.values.iter().enumerate())
        .map(|(index, &x)| (f64::from(x) - mean[index / (331 * 307) % 3]) as f32)
        .collect();
    let centered = Array::new(shape, centered);
    let unbiased: Vec<f32> =
        sums(&centered, Some(&centered)).iter().map(|&sum| (f64::from(sum) / (n - 1.0)) as f32).collect();
    let inputs = [(x, Layout::Picture), vector(1.0), vector(0.0), vector(0.0), vector(1.0)];
    let frozen = run(&BatchNorm { eps: 0.0 }, &inputs, Some(&g), &[false, true, true, false, false]);
    assert_close("batch_norm bias", &frozen.grads[2].as_ref().unwrap().values, &sums(&g, None), bound);
    let product = sums(&g, Some(&inputs[0].0));
    assert_close("batch_norm weight", &frozen.grads[1].as_ref().unwrap().values, &product, bound);

    let op = BatchNormTrain { eps: 0.0, momentum: 1.0 };
    let trained = run(&op, &inputs, Some(&g), &[false, true, true, false, false]);
    let mean: Vec<f32> = mean.iter().map(|&mean| mean as f32).collect();
    assert_close("batch_norm_train bias", &trained.grads[2].as_ref().unwrap().values, &sums(&g, None), bound);
    assert_close("batch_norm_train mean", &trained.inputs[3].values, &mean, Bound::rel_l2(2e-7));
    assert_close("batch_norm_train variance", &trained.inputs[4].values, &unbiased, Bound::rel_l2(1e-5));
}

#[test]
fn max_pool2d_lets_nan_through() {
    let row = |values: [f32; 5]| [(Array::new(Shape::new(1, 1, 1, 5), values.to_vec()), Layout::Picture)];
    let op = MaxPool2d { kernel: [1, 3], ..MaxPool2d::new(1, 1, 0) };
    let upstream = Array::filled(Shape::new(1, 1, 1, 3), 1.0);
    let outcome = run(&op, &row([3.0, f32::NAN, 4.0, 2.0, f32::NEG_INFINITY]), Some(&upstream), &[true]);
    let [a, b, c] = outcome.output.values[..] else { panic!("three windows") };
    assert!(a.is_nan() && b.is_nan() && c == 4.0, "{a} {b} {c}");
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, [0.0, 2.0, 1.0, 0.0, 0.0]);
    let outcome = run(&op, &row([f32::NEG_INFINITY; 5]), Some(&upstream), &[true]);
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, [1.0, 1.0, 1.0, 0.0, 0.0], "the first of equals wins");
}

#[test]
fn running_statistics_have_no_gradient() {
    let sample = |name: &str| samples().into_iter().find(|sample| sample.op.name() == name).expect("a sample");
    for name in ["batch_norm", "batch_norm_train"] {
        let sample = sample(name);
        let mut recorder = Recorder::new(device().tuning());
        let inputs: Vec<View> =
            sample.inputs.iter().map(|input| View::transient(&mut recorder, "input", input.form().0)).collect();
        let shapes: Vec<Shape> = inputs.iter().map(|input| input.shape).collect();
        let saved: Vec<View> =
            sample.op.saved(&shapes).iter().map(|&shape| View::transient(&mut recorder, "saved", shape)).collect();
        for input in [3, 4] {
            let mut grads = [None; 5];
            grads[input] = Some(inputs[input]);
            let pass = Backward {
                inputs: &inputs,
                output: inputs[0],
                saved: &saved,
                grad_output: inputs[0],
                grads: &grads,
                finish: Finish::default(),
            };
            let refused = sample.op.backward(&mut recorder, &pass);
            assert!(matches!(refused, Err(Error::NoGradient { op, input: i }) if op == name && i == input));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let x = Shape::new(1, 5, 4, 3);
    let refused = |op: &dyn Op, inputs: &[Shape]| op.output_shape(inputs).expect_err(op.name()).to_string();
    let pool = MaxPool2d { padding: [[2, 1]; 2], ..MaxPool2d::new(3, 2, 0) };
    assert_eq!(refused(&pool, &[x]), "max_pool2d: padding is 2x1, expected at most half the window, 1x1");
    let pool = AvgPool2d::new(5, 3, 0);
    assert!(refused(&pool, &[x]).starts_with("avg_pool2d: [1, 5, 4, 3] leaves no pixel after a 5x5 window"));
    let c = Shape::channels(5);
    let other = Shape::channels(4);
    assert_eq!(
        refused(&BatchNorm { eps: 1e-5 }, &[x, c, c, other, c]),
        "batch_norm: running_mean is [1, 4, 1, 1], expected [1, 5, 1, 1]"
    );
    assert_eq!(
        refused(&BatchNormTrain { eps: 1e-5, momentum: 0.1 }, &[c; 5]),
        "batch_norm_train: number of values per channel is 1, expected at least 2"
    );
    assert!(refused(&ChannelAffine, &[x, c, other]).starts_with("channel_affine: shift is"));
    assert_eq!(refused(&Concat, &[]), "concat: number of arguments is 0, expected at least 1");
    assert!(refused(&Concat, &[x, Shape::new(1, 5, 3, 4)]).starts_with("concat: argument 1 is [1, 5, 3, 4]"));
    assert!(refused(&AdaptiveAvgPool2d { output: [0, 1] }, &[x]).contains("at least 1x1"));
}

/// A part that occurs twice cannot lie in the result, so that its channels are copied although they are whole groups.
#[test]
fn a_part_may_occur_twice_in_a_concat() {
    let shape = Shape::new(2, 4, 2, 3);
    let picture = Array::new(shape, SEED.tensor_symmetric("twice", shape.elements(), 1.0));
    let mut tape = Tape::default();
    let x = tape.input("x", shape);
    let part = tape.apply(Relu, &[x]).unwrap();
    let twice = tape.apply(Concat, &[part, part]).unwrap();
    let mut recorder = Recorder::new(device().tuning());
    let request = Request { keep: vec![twice], loss: Some(twice), wrt: vec![x] };
    let recorded = tape.record(&mut recorder, &request).unwrap();
    let externals = Externals::from([("x".into(), device().upload("x", Layout::Picture, &picture).unwrap())]);
    let mut program = Program::prepare(device(), "twice", &recorder.finish(), &externals).unwrap();
    program.run().unwrap();
    let fetch = |view: View| device().download(program.buffer(view.buffer), view.layout, view.shape).unwrap();
    let rectified: Vec<f32> = picture.values.iter().map(|x| x.max(0.0)).collect();
    let expected: Vec<f32> = rectified.chunks(4 * 2 * 3).flat_map(|one| [one, one].concat()).collect();
    assert_eq!(fetch(recorded.kept[0]).values, expected);
    let slope: Vec<f32> = picture.values.iter().map(|&x| if x > 0.0 { 2.0 } else { 0.0 }).collect();
    assert_eq!(fetch(recorded.gradients[0]).values, slope);
}

/// Arguments for a sample, and whether each has a gradient.
fn arguments(sample: &Sample) -> (Vec<(Array, Layout)>, Vec<bool>) {
    let arguments = sample.inputs.iter().enumerate().map(|(index, domain)| {
        let (shape, layout) = domain.form();
        let name = format!("{} {index}", sample.op.name());
        let values = match domain {
            Domain::Positive(_) | Domain::Divisor(_) => SEED.tensor_uniform(&name, shape.elements(), 0.5, 1.5),
            Domain::Index(_, count) => SEED.map(&name, shape.elements(), |u| (u * *count as f64).floor()),
            _ => SEED.tensor_symmetric(&name, shape.elements(), 1.0),
        };
        let differentiated = !matches!(domain, Domain::Positive(_) | Domain::Index(..) | Domain::Fixed(_));
        ((Array::new(shape, values), layout), differentiated)
    });
    arguments.unzip()
}

fn upstream(sample: &Sample) -> Array {
    let shapes: Vec<Shape> = sample.inputs.iter().map(|domain| domain.form().0).collect();
    let shape = sample.op.output_shape(&shapes).unwrap();
    Array::new(shape, SEED.tensor_symmetric(&format!("{} upstream", sample.op.name()), shape.elements(), 1.0))
}

#[test]
fn a_gradient_does_not_depend_on_which_others_are_wanted() {
    for sample in samples() {
        let (inputs, differentiated) = arguments(&sample);
        let upstream = upstream(&sample);
        let all = run(&*sample.op, &inputs, Some(&upstream), &differentiated);
        for alone in (0..inputs.len()).filter(|&input| differentiated[input]) {
            let wanted: Vec<bool> = (0..inputs.len()).map(|input| input == alone).collect();
            let one = run(&*sample.op, &inputs, Some(&upstream), &wanted);
            assert_eq!(one.grads[alone], all.grads[alone], "gradient {alone} of {:?}", sample.op);
        }
    }
}

/// What lies beside a slice and must stay.
const BESIDE: f32 = 7.0;

/// A picture of more channels, of which the value is some; its padding lanes are zero.
struct Wide {
    array: Array,
    view: View,
    name: String,
}

impl Wide {
    fn new(recorder: &mut Recorder, name: String, value: &Array, before: usize, after: usize) -> Wide {
        let [n, c, h, w] = value.shape.0;
        let groups = before + value.shape.groups() + after;
        let mut array = Array::filled(Shape::new(n, groups * 4, h, w), BESIDE);
        for (index, wide) in array.values.iter_mut().enumerate() {
            let (plane, pixel) = (index / (h * w), index % (h * w));
            let lane = (plane % (groups * 4)).wrapping_sub(before * 4);
            if lane < c {
                *wide = value.values[(plane / (groups * 4) * c + lane) * h * w + pixel];
            } else if lane < value.shape.groups() * 4 {
                *wide = 0.0;
            }
        }
        let bytes = Layout::Picture.bytes(array.shape);
        let id = recorder.buffer(&name, bytes, Source::External(name.clone()));
        let view = View::whole(id, array.shape, Layout::Picture).slice(before * 4, c);
        Wide { array, view, name }
    }
}

/// Inside of a concat values are slices of wider pictures, and what lies beside them belongs to others.
#[test]
fn operations_keep_to_slices_of_wider_pictures() {
    for sample in samples() {
        let (inputs, differentiated) = arguments(&sample);
        let upstream = upstream(&sample);
        let expected = run(&*sample.op, &inputs, Some(&upstream), &differentiated);
        let mut recorder = Recorder::new(device().tuning());
        let mut wides = Vec::new();
        let mut wide = |recorder: &mut Recorder, name: String, value: &Array, (before, after)| {
            let wide = Wide::new(recorder, name, value, before, after);
            let view = wide.view;
            wides.push(wide);
            view
        };
        let mut externals = Externals::new();
        let views: Vec<View> = (inputs.iter().enumerate())
            .map(|(index, (array, layout))| {
                let name = format!("input {index}");
                // Filters and vectors over channels are never slices.
                if *layout == Layout::Picture && array.shape.pixels() > 1 {
                    return wide(&mut recorder, name, array, (index + 1, 2));
                }
                let id = recorder.buffer(&name, layout.bytes(array.shape), Source::External(name.clone()));
                externals.insert(name.clone(), device().upload(&name, *layout, array).unwrap());
                View::whole(id, array.shape, *layout)
            })
            .collect();
        let shapes: Vec<Shape> = views.iter().map(|view| view.shape).collect();
        let junk = |shape| Array::filled(shape, BESIDE);
        let output = wide(&mut recorder, "output".into(), &junk(upstream.shape), (2, 0));
        let grad_output = wide(&mut recorder, "upstream".into(), &upstream, (3, 1));
        let saved: Vec<View> =
            sample.op.saved(&shapes).into_iter().map(|shape| View::transient(&mut recorder, "saved", shape)).collect();
        sample.op.forward(&mut recorder, &Forward { inputs: &views, output, saved: &saved });
        let grads: Vec<Option<View>> = (views.iter().enumerate())
            .map(|(index, view)| {
                let has = differentiated[index] && !sample.op.passes_gradient(index);
                has.then(|| match view.layout == Layout::Picture && view.shape.pixels() > 1 {
                    true => wide(&mut recorder, format!("grad {index}"), &junk(view.shape), (index + 4, 1)),
                    false => {
                        let id = recorder.buffer("grad", view.layout.bytes(view.shape), Source::Kept);
                        View::whole(id, view.shape, view.layout)
                    }
                })
            })
            .collect();
        let pass =
            Backward { inputs: &views, output, saved: &saved, grad_output, grads: &grads, finish: Finish::default() };
        sample.op.backward(&mut recorder, &pass).unwrap();
        for wide in &wides {
            let buffer = device().upload(&wide.name, Layout::Picture, &wide.array).unwrap();
            externals.insert(wide.name.clone(), buffer);
        }
        let mut program = Program::prepare(device(), "slices", &recorder.finish(), &externals).unwrap();
        program.run().unwrap();

        let written = [("output".to_owned(), &expected.output)].into_iter();
        let written = written.chain(expected.grads.iter().enumerate().filter_map(|(index, grad)| {
            Some((format!("grad {index}"), grad.as_ref().filter(|_| !sample.op.passes_gradient(index))?))
        }));
        for (name, value) in written {
            let Some(wide) = wides.iter().find(|wide| wide.name == name) else { continue };
            let found = device().download(&externals[&name], Layout::Picture, wide.array.shape).unwrap();
            let before = wide.view.offset as usize;
            let after = wide.view.stride as usize - before - wide.view.shape.groups();
            let whole = Wide::new(&mut Recorder::default(), name.clone(), value, before, after).array;
            assert_eq!(found, whole, "{name} of {:?}", sample.op);
        }
    }
}
