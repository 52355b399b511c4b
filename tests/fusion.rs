//! Fused against unfused: a convolution with its epilogue against its parts, batch norms folded against batch norms of their
//! own in every block of the three networks, and what may not be fused away.
//!
//! One file past 500 lines: every test runs a tape fused and unfused by the same few helpers, which stand here alone.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::{Bench, device};
use common::reference::{demo_network, input, network};
use common::tapes::{run, run_with};
use entoptic::Error;
use entoptic::device::{Externals, Recorder, Tuning};
use entoptic::evaluate::{self, Forward, PICTURE, Scene, gradient, outputs};
use entoptic::nets::{BatchNormMode, Head, Network, Normalize, Outputs};
use entoptic::objective::{Form, Measure, Objective, Place, Term};
use entoptic::ops::{
    self, Activation, Add, AvgPool2d, BatchNorm, Binary, Concat, Conv2d, FoldBias, FoldWeight, MaxPool2d, Op, Relu,
    View, Window, samples,
};
use entoptic::tape::passes::{self, Pass};
use entoptic::tape::{Request, Tape, Var};
use entoptic::tensor::{Array, Layout, Shape};

const RANDOM: Generator = Generator { seed: 1 };

fn random(name: &str, shape: Shape) -> Array {
    Array::new(shape, RANDOM.tensor_symmetric(name, shape.elements(), 1.0))
}

/// A little network in which every epilogue occurs: a stem and its pooling; a block with its input added; branches side by
/// side, one of them pooled; an average whose gradient knows no mask. The input of a block has several consumers.
struct Little {
    tape: Tape,
    externals: Externals,
}

impl Little {
    fn new() -> Little {
        Little { tape: Tape::default(), externals: Externals::new() }
    }

    fn put(&mut self, name: &str, array: &Array, layout: Layout) {
        let buffer = device().upload(name, layout, array).unwrap();
        self.externals.insert(name.to_owned(), buffer);
    }

    fn filter(&mut self, name: &str, shape: Shape, layout: Layout) -> Var {
        self.put(name, &random(name, shape), layout);
        self.tape.parameter("", name, shape, layout)
    }

    /// Convolution with bias, then a sum where there is something to add, then relu.
    fn conv(&mut self, name: &str, x: Var, channels: usize, kernel: usize, residual: Option<Var>) -> [Var; 3] {
        let c_in = self.tape.shape(x).c();
        let weight = self.filter(&format!("{name}.weight"), Shape::new(channels, c_in, kernel, kernel), Layout::Filter);
        let bias = self.filter(&format!("{name}.bias"), Shape::channels(channels), Layout::Picture);
        let mut y = self.tape.apply(Conv2d::new(1, kernel / 2), &[x, weight, bias]).unwrap();
        if let Some(residual) = residual {
            y = self.tape.apply(Add, &[y, residual]).unwrap();
        }
        [self.tape.apply(Relu, &[y]).unwrap(), weight, bias]
    }

    /// Convolution of one pixel, with a bias where there is one, and a frozen batch norm.
    fn conv_norm(&mut self, name: &str, x: Var, channels: usize, biased: bool) -> Var {
        self.conv_norm_of(name, x, [channels, 1], Window::plain([1; 2], [0; 2]), biased)
    }

    /// Convolution of so many channels and a square window, and a frozen batch norm.
    fn conv_norm_of(&mut self, name: &str, x: Var, [channels, side]: [usize; 2], window: Window, biased: bool) -> Var {
        let c_in = self.tape.shape(x).c() / window.groups;
        let weight = self.filter(&format!("{name}.weight"), Shape::new(channels, c_in, side, side), Layout::Filter);
        let c = Shape::channels(channels);
        let mut inputs = vec![x, weight];
        if biased {
            inputs.push(self.filter(&format!("{name}.bias"), c, Layout::Picture));
        }
        let y = self.tape.apply(Conv2d::of(window), &inputs).unwrap();
        let mut inputs = vec![y];
        for leaf in ["scale", "shift", "mean"] {
            inputs.push(self.filter(&format!("{name}.{leaf}"), c, Layout::Picture));
        }
        let var = format!("{name}.var");
        self.put(&var, &Array::new(c, RANDOM.tensor_uniform(&var, channels, 0.5, 1.5)), Layout::Picture);
        inputs.push(self.tape.parameter("", &var, c, Layout::Picture));
        self.tape.apply(BatchNorm { eps: 1e-3 }, &inputs).unwrap()
    }
}

/// Values and gradients of the little network, and its launches; with `middle` gradients of values in the middle too, and of
/// weights and a bias.
fn little(passes: &[Pass], middle: bool) -> (Vec<Array>, Vec<String>) {
    let mut net = Little::new();
    let shape = Shape::new(2, 3, 9, 8);
    net.put("x", &random("x", shape), Layout::Picture);
    let x = net.tape.input("x", shape);
    let [stem, stem_weight, stem_bias] = net.conv("stem", x, 6, 3, None);
    let pool = MaxPool2d::new(3, 2, 1);
    let pooled = net.tape.apply(pool, &[stem]).unwrap();
    let [inner, inner_weight, _] = net.conv("inner", pooled, 5, 1, None);
    let [block, ..] = net.conv("block", inner, 6, 3, Some(pooled));
    let [one, ..] = net.conv("one", block, 8, 1, None);
    let [two, ..] = net.conv("two", block, 4, 3, None);
    let same = MaxPool2d { ceil_mode: true, ..MaxPool2d::new(3, 1, 1) };
    let three = net.tape.apply(same, &[block]).unwrap();
    let [three, ..] = net.conv("three", three, 7, 1, None);
    let side = net.tape.apply(Concat, &[one, two, three]).unwrap();
    let average = AvgPool2d::new(3, 2, 1);
    let y = net.tape.apply(average, &[side]).unwrap();
    let mut wrt = vec![x];
    if middle {
        wrt.extend([pooled, side, stem_weight, stem_bias, inner_weight]);
    }
    let request = Request { keep: vec![y, block, side], loss: Some(y), wrt };
    run(passes, &net.tape, &request, &net.externals)
}

#[test]
fn a_convolution_with_its_epilogue_equals_its_parts() {
    for middle in [false, true] {
        let ((fused, launches), (parts, _)) = (little(passes::ALL, middle), little(&[], middle));
        for (k, (fused, parts)) in fused.iter().zip(&parts).enumerate() {
            // Sums of gradients go in another order.
            let bound = if k < 3 { Bound::EXACT } else { Bound::rel_l2(1e-6) };
            assert_close(&format!("value {k}"), &fused.values, &parts.values, bound);
        }
        let alone = |kernel: &str| launches.iter().filter(|launch| *launch == kernel).count();
        let found = ["relu.forward", "add.forward", "accumulate.update", "relu.grad_input"].map(alone);
        // The average's gradient is masked on its own; what somebody asks for is not masked, so that what comes before it is:
        // the three parts of `side`, and the stem.
        assert_eq!(found, [0, 0, 0, if middle { 4 } else { 1 }], "{launches:?}");
    }
}

/// Two convolutions of one value, joined or not, and what may become of their results: read once, or by a convolution and a
/// pooling; put beside others; asked for; without a path to the loss. What was found, and the launches.
fn siblings(passes: &[Pass]) -> Vec<(Vec<Array>, Vec<String>)> {
    let mut net = Little::new();
    let shape = Shape::new(2, 6, 5, 7);
    net.put("x", &random("x", shape), Layout::Picture);
    let x = net.tape.input("x", shape);
    let [a, b] = [("a", 8), ("b", 6)].map(|(name, channels)| net.conv(name, x, channels, 1, None)[0]);
    let [a1, ..] = net.conv("a1", a, 4, 3, None);
    let [b1, ..] = net.conv("b1", b, 4, 3, None);
    let [b2, ..] = net.conv("b2", b, 8, 1, None);
    let average = AvgPool2d::new(3, 1, 1);
    let b3 = net.tape.apply(average, &[b]).unwrap();
    let beside = net.tape.apply(Concat, &[a, b2]).unwrap();
    let twice = net.tape.apply(Concat, &[a1, b1, b2]).unwrap();
    let pooled = net.tape.apply(Concat, &[a1, b1, b3]).unwrap();
    let requests = [
        (vec![a, b], twice, vec![x]),
        (vec![b1], pooled, vec![x]),
        (vec![], beside, vec![x]),
        (vec![b], a1, vec![x]),
        (vec![a], b2, vec![x]),
        (vec![], twice, vec![x, a]),
        (vec![], pooled, vec![b, x]),
        (vec![], b, vec![x]),
    ];
    let run = |(keep, loss, wrt)| run(passes, &net.tape, &Request { keep, loss: Some(loss), wrt }, &net.externals);
    requests.map(run).into()
}

#[test]
fn convolutions_of_one_value_are_the_same_in_one_operation() {
    let apart = [passes::FOLD, passes::EPILOGUE, passes::PLACE, passes::MASK];
    let mut fewer = 0;
    for (k, (joined, own)) in siblings(passes::ALL).iter().zip(&siblings(&apart)).enumerate() {
        for (joined, own) in joined.0.iter().zip(&own.0) {
            assert_close(&format!("request {k}"), &joined.values, &own.values, Bound::rel_l2(1e-6));
        }
        fewer += usize::from(joined.1.len() < own.1.len());
    }
    assert!(fewer >= 4, "only {fewer} requests take fewer launches when convolutions are joined");
}

/// A block as MobileNets have it, with groups in its middle and a gate behind: what is found, and the launches, of a forward pass
/// alone or with the gradient of the picture.
fn mobile(passes: &[Pass], function: Activation, groups: usize, differentiated: bool) -> (Vec<Array>, Vec<String>) {
    let mut net = Little::new();
    let shape = Shape::new(2, 6, 7, 5);
    net.put("x", &random("x", shape), Layout::Picture);
    let x = net.tape.input("x", shape);
    let y = net.conv_norm("expand", x, 12, false);
    let y = net.tape.apply(function, &[y]).unwrap();
    let window = Window { groups, ..Window::plain([1; 2], [1; 2]) };
    let y = net.conv_norm_of("middle", y, [12, 3], window, false);
    let y = net.tape.apply(function, &[y]).unwrap();
    let gate = net.tape.apply(ops::AdaptiveAvgPool2d { output: [1, 1] }, &[y]).unwrap();
    let gate = net.conv_norm("gate", gate, 12, true);
    let gate = net.tape.apply(Activation::Sigmoid, &[gate]).unwrap();
    let y = net.tape.apply(Binary::Times, &[y, gate]).unwrap();
    let y = net.conv_norm("project", y, 6, false);
    let y = net.tape.apply(Add, &[x, y]).unwrap();
    let y = net.conv_norm("last", y, 5, true);
    let residual = net.tape.apply(ops::Channels::slice(1, 5), &[x]).unwrap();
    let y = net.tape.apply(Add, &[y, residual]).unwrap();
    let y = net.tape.apply(Activation::Tanh, &[y]).unwrap();
    let (loss, wrt) = if differentiated { (Some(y), vec![x]) } else { (None, vec![]) };
    run(passes, &net.tape, &Request { keep: vec![y], loss, wrt }, &net.externals)
}

#[test]
fn convolutions_take_in_activations() {
    let told = [
        Activation::Clip { low: 0.0, high: 1.5 },
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Elu { alpha: 0.8 },
    ];
    let not_told = [Activation::Silu, Activation::HardSwish, Activation::Gelu];
    for groups in [1, 3, 12] {
        for function in told.into_iter().chain(not_told) {
            for differentiated in [false, true] {
                let label = format!("{function:?}, {groups} groups, gradient: {differentiated}");
                let (fused, launches) = mobile(passes::ALL, function, groups, differentiated);
                let (plain, _) = mobile(&[], function, groups, differentiated);
                for (fused, plain) in fused.iter().zip(&plain) {
                    assert_close(&label, &fused.values, &plain.values, Bound::rel_l2(2e-6));
                }
                // Where the gradient needs what a function is taken of, the function stays by itself: two of three.
                let alone = launches.iter().filter(|launch| *launch == "activation.forward").count();
                let stay = differentiated && not_told.contains(&function);
                assert_eq!(alone, if stay { 2 } else { 0 }, "{label}: {launches:?}");
                let norms = launches.iter().filter(|launch| launch.starts_with("batch_norm")).count();
                assert_eq!(norms, 0, "{label}: {launches:?}");
                // The slope of tanh at the end is taken by itself, and of each function that was taken in; that of a clip in the
                // kernel of the next convolution, but for the one whose result is read by others.
                let slopes = launches.iter().filter(|launch| *launch == "activation.grad_result").count();
                let expected = match function {
                    _ if !differentiated => 0,
                    Activation::Clip { .. } => 2 + 1,
                    _ if stay => 2,
                    _ => 3 + 1,
                };
                assert_eq!(slopes, expected, "{label}: {launches:?}");
                let grouped = launches.iter().filter(|launch| launch.starts_with("conv2d_grouped.")).count();
                let depthwise = launches.iter().filter(|launch| launch.starts_with("conv2d_depthwise.")).count();
                let passes = 1 + usize::from(differentiated);
                let expected = [usize::from(groups == 3) * passes, usize::from(groups == 12) * passes];
                assert_eq!([grouped, depthwise], expected, "{label}: {launches:?}");
            }
        }
    }
}

/// Side by side, convolutions in groups would be groups of one that sees other channels.
#[test]
fn convolutions_in_groups_are_not_joined() {
    let found = [passes::ALL, &[]].map(|passes| {
        let mut net = Little::new();
        let shape = Shape::new(2, 8, 5, 4);
        net.put("x", &random("x", shape), Layout::Picture);
        let x = net.tape.input("x", shape);
        let window = Window { groups: 2, ..Window::plain([1; 2], [1; 2]) };
        let [a, b] = ["a", "b"].map(|name| net.conv_norm_of(name, x, [8, 3], window, true));
        let y = net.tape.apply(Add, &[a, b]).unwrap();
        run(passes, &net.tape, &Request { keep: vec![y], loss: Some(y), wrt: vec![x] }, &net.externals).0
    });
    for (fused, plain) in found[0].iter().zip(&found[1]) {
        assert_close("in groups", &fused.values, &plain.values, Bound::rel_l2(2e-6));
    }
}

/// Branches in groups, and others whose channels are no whole groups of four, lie where their concatenation will be, or are copied.
#[test]
fn branches_in_groups_lie_beside_others() {
    for [one, two] in [[8, 12], [6, 7]] {
        let found = [passes::ALL, &[]].map(|passes| {
            let mut net = Little::new();
            let shape = Shape::new(2, one, 5, 4);
            net.put("x", &random("x", shape), Layout::Picture);
            let x = net.tape.input("x", shape);
            let depthwise = Window { groups: one, ..Window::plain([1; 2], [1; 2]) };
            let a = net.conv_norm_of("a", x, [one, 3], depthwise, true);
            let a = net.tape.apply(Activation::Clip { low: 0.0, high: 1.0 }, &[a]).unwrap();
            let b = net.conv_norm("b", x, two, true);
            let y = net.tape.apply(Concat, &[a, b]).unwrap();
            let count = (one + two) / 2 * 2 - 2;
            let y = net.tape.apply(ops::Channels { first: 1, count, groups: 2 }, &[y]).unwrap();
            run(passes, &net.tape, &Request { keep: vec![y], loss: Some(y), wrt: vec![x] }, &net.externals).0
        });
        for (fused, plain) in found[0].iter().zip(&found[1]) {
            assert_close(&format!("{one} beside {two}"), &fused.values, &plain.values, Bound::rel_l2(2e-6));
        }
    }
}

/// Two networks see one picture: their first layers are the same operation on the same value, and yet belong to each alone.
#[test]
fn convolutions_of_two_networks_are_not_joined() {
    let mut tape = Tape::default();
    let x = tape.input("x", Shape::new(1, 4, 3, 3));
    let ends = ["0/", "1/"].map(|set| {
        let weight = tape.parameter(set, "weight", Shape::new(4, 4, 1, 1), Layout::Filter);
        let bias = tape.parameter(set, "bias", Shape::channels(4), Layout::Picture);
        tape.apply(Conv2d::new(1, 0), &[x, weight, bias]).unwrap()
    });
    let request = Request { keep: ends.into(), ..Request::default() };
    let recorded = tape.record(&mut Recorder::new(device().tuning()), &request).unwrap();
    assert!(recorded.derived.is_empty(), "{:?}", recorded.derived);
    assert_eq!(tape.after(passes::ALL, &request).operations().count(), 2);
}

/// A batch norm goes into the convolution before it, with a bias or without; not where somebody looks at what lies between,
/// where others read it, or where weights are trained.
#[test]
fn batch_norms_are_folded_where_nobody_looks_between() {
    for biased in [false, true] {
        let mut net = Little::new();
        let shape = Shape::new(2, 6, 5, 7);
        net.put("x", &random("x", shape), Layout::Picture);
        let x = net.tape.input("x", shape);
        let y = net.conv_norm("a", x, 7, biased);
        let z = net.conv_norm("b", y, 5, biased);
        let last = net.tape.apply(Add, &[z, z]).unwrap();
        let ask = |keep: Vec<Var>, wrt: Vec<Var>| Request { keep, loss: Some(last), wrt };
        for (request, norms) in [(ask(vec![last], vec![x]), 0), (ask(vec![last, y], vec![x, y]), 0)] {
            let (folded, launches) = run(passes::ALL, &net.tape, &request, &net.externals);
            let (plain, _) = run(&[], &net.tape, &request, &net.externals);
            for (folded, plain) in folded.iter().zip(&plain) {
                assert_close("folded", &folded.values, &plain.values, Bound::rel_l2(1e-6));
            }
            let found = launches.iter().filter(|launch| launch.starts_with("batch_norm")).count();
            assert_eq!(found, norms, "{launches:?}");
        }
    }
    // Weights that are trained stay what they are, and so does a convolution that two read.
    let mut net = Little::new();
    let x = net.tape.input("x", Shape::new(1, 4, 3, 3));
    let y = net.conv_norm("a", x, 4, false);
    let weight = Var::clone(&net.tape.parameter("", "b.weight", Shape::new(4, 4, 1, 1), Layout::Filter));
    let z = net.tape.apply(Conv2d::new(1, 0), &[y, weight]).unwrap();
    let trained = Request { keep: vec![z], loss: Some(z), wrt: vec![weight] };
    let names = |tape: Tape| tape.operations().map(|(op, _)| op.name()).collect::<Vec<_>>();
    assert_eq!(names(net.tape.after(passes::ALL, &trained)), ["conv2d", "conv2d"], "the first is not trained");
}

/// Where lanes share, the sums are the same, to the bit.
#[test]
fn sharing_registers_changes_nothing() {
    let subgroup = device().tuning().subgroup;
    let mut compared = 0;
    for sample in samples().into_iter().filter(|sample| sample.op.name() == "conv2d") {
        let mut tape = Tape::default();
        let mut externals = Externals::new();
        let mut inputs = Vec::new();
        for (k, domain) in sample.inputs.iter().enumerate() {
            let ((shape, layout), name) = (domain.form(), format!("{k}"));
            externals.insert(name.clone(), device().upload(&name, layout, &random(&name, shape)).unwrap());
            inputs.push(tape.external(&name, shape, layout));
        }
        let y = tape.apply_shared(sample.op, &inputs).unwrap();
        let request = Request { keep: vec![y], loss: Some(y), wrt: inputs[..2].to_vec() };
        let [shared, own] = [subgroup, false]
            .map(|subgroup| run_with(Tuning { subgroup, ..device().tuning() }, &[], &tape, &request, &externals));
        assert_eq!(shared.0, own.0);
        compared += usize::from(shared.1 != own.1);
    }
    // Other adapters have one kernel to compare with itself.
    assert!(!subgroup || compared >= 3, "only {compared} samples are launched otherwise");
}

#[test]
fn a_folded_convolution_is_the_two_in_one() {
    let (c_out, c_in, eps) = (6, 3, 1e-3);
    let shape = Shape::new(c_out, c_in, 2, 3);
    let weight = random("weight", shape);
    let vectors = ["norm weight", "norm bias", "mean"].map(|name| random(name, Shape::channels(c_out)));
    let var = Array::new(Shape::channels(c_out), RANDOM.tensor_uniform("var", c_out, 0.5, 1.5));
    let mut bench = Bench::new();
    let given = bench.put("weight", Layout::Filter, &weight);
    let [scale, bias, mean] = &vectors;
    let norm = [("scale", scale), ("bias", bias), ("mean", mean), ("var", &var)];
    let norm = norm.map(|(name, array)| bench.put(name, Layout::Picture, array));
    let folded = bench.put("folded", Layout::Filter, &Array::filled(shape, 9.0));
    let shift = bench.put("shift", Layout::Picture, &Array::filled(Shape::channels(c_out), 9.0));
    let inputs: Vec<View> = [given].into_iter().chain(norm).collect();
    for (op, output) in [(&FoldWeight { eps: eps as f32 } as &dyn Op, folded), (&FoldBias { eps: eps as f32 }, shift)] {
        op.forward(&mut bench.recorder, &ops::Forward { inputs: &inputs, output, saved: &[] });
    }
    let (mut program, buffers) = bench.prepare("fold");
    program.run().unwrap();
    let fetch = |name: &str, layout, shape| device().download(&buffers[name], layout, shape).unwrap().values;
    let factor = |c: usize| f64::from(scale.values[c]) / (f64::from(var.values[c]) + eps).sqrt();
    let row = c_in * 2 * 3;
    let expected: Vec<f32> =
        weight.values.iter().enumerate().map(|(k, w)| (f64::from(*w) * factor(k / row)) as f32).collect();
    assert_close("weight", &fetch("folded", Layout::Filter, shape), &expected, Bound::rel_l2(3e-7));
    let expected: Vec<f32> =
        (0..c_out).map(|c| (f64::from(bias.values[c]) - f64::from(mean.values[c]) * factor(c)) as f32).collect();
    assert_close("shift", &fetch("shift", Layout::Picture, Shape::channels(c_out)), &expected, Bound::rel_l2(3e-7));
    let padding: Vec<f32> =
        device().readback(buffers["shift"].bytes).unwrap().read(device(), &buffers["shift"]).unwrap();
    assert_eq!(padding[c_out..8], [0.0; 2], "the padding lanes stay zero");
}

/// A network on a tape of its own, and its buffers.
struct Built {
    tape: Tape,
    passes: &'static [Pass],
    x: Var,
    outputs: Outputs,
    externals: Externals,
}

impl Built {
    fn new(network: &Network, picture: &Array, passes: &'static [Pass], heads: &[Head]) -> Built {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let heads = [heads, &[Head::Main]].concat();
        let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &heads, &[]).unwrap();
        let mut externals = network.buffers().clone();
        externals.insert(PICTURE.into(), device().upload(PICTURE, Layout::Picture, picture).unwrap());
        Built { tape, passes, x, outputs, externals }
    }

    fn logits(&self) -> Var {
        self.outputs.head(Head::Main)
    }

    fn run(&self, keep: Vec<Var>, loss: Option<Var>, wrt: Vec<Var>) -> Vec<Array> {
        run(self.passes, &self.tape, &Request { keep, loss, wrt }, &self.externals).0
    }
}

/// Every value that both have, and the gradient of each block from its end to its start.
fn blocks_agree(name: &str, side: usize, heads: &[Head], least: usize) {
    let picture = input(2, side);
    let [folded, apart] = [passes::ALL, &[]].map(|passes| Built::new(network(name), &picture, passes, heads));
    // Convolutions and batch norms that are looked at would not be folded.
    let between = |name: &str, var: Var| {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        leaf.starts_with("bn") || name.contains("downsample") || folded.outputs.norms.iter().any(|norm| norm.x == var)
    };
    let taps = folded.outputs.taps.iter().filter(|(name, var)| !between(name, *var));
    let taps: Vec<&str> = taps.map(|(name, _)| name.as_str()).collect();
    let vars = |built: &Built| taps.iter().map(|tap| built.outputs.tap(tap).unwrap()).collect::<Vec<Var>>();
    let found = [&folded, &apart].map(|built| built.run(vars(built), None, vec![]));
    for ((tap, folded), apart) in taps.iter().zip(&found[0]).zip(&found[1]) {
        assert_close(&format!("{name} {tap}"), &folded.values, &apart.values, Bound::rel_l2(1e-5));
    }
    // Blocks have no dot in their names, or are ResNet50's "layer1.0".
    let block = |tap: &&&str| !tap.contains('.') || tap.starts_with("layer") && tap.matches('.').count() == 1;
    let blocks: Vec<&str> = taps.iter().filter(block).copied().collect();
    assert!(blocks.len() >= least, "{name}: only {} blocks are compared", blocks.len());
    let mut before = None;
    for block in blocks {
        let gradient = |built: &Built| {
            let start = before.map_or(built.x, |before| built.outputs.tap(before).unwrap());
            let end = built.outputs.tap(block).unwrap();
            (start != end).then(|| built.run(vec![], Some(end), vec![start]).remove(0))
        };
        if let (Some(folded), Some(apart)) = (gradient(&folded), gradient(&apart)) {
            // A relu within rounding of zero may let a gradient pass in one and not in the other.
            assert_close(&format!("{name} gradient of {block}"), &folded.values, &apart.values, Bound::rel_l2(1e-4));
        }
        before = Some(block);
    }
    let [folded, apart] = [&folded, &apart].map(|built| built.run(vec![], Some(built.logits()), vec![built.x]));
    assert_close(&format!("{name} gradient"), &folded[0].values, &apart[0].values, Bound::rel_l2(2e-2));
}

#[test]
fn resnet50_blocks_are_the_same_folded_and_apart() {
    blocks_agree("resnet50", 64, &[], 20);
}

#[test]
fn googlenet_blocks_are_the_same_folded_and_apart() {
    blocks_agree("googlenet", 64, &[Head::Side("aux1"), Head::Side("aux2")], 17);
}

#[test]
fn inception_v3_blocks_are_the_same_folded_and_apart() {
    blocks_agree("inception_v3", 96, &[], 20);
}

/// Some channels of narrow networks are no whole groups, so that branches are copied.
#[test]
fn narrow_networks_are_the_same_folded_and_apart() {
    for name in ["resnet50", "googlenet"] {
        let network = demo_network(device(), name, "narrow");
        let [folded, apart] = [passes::ALL, &[]].map(|passes| {
            let built = Built::new(&network, &input(2, 64), passes, &[]);
            built.run(vec![built.logits()], Some(built.logits()), vec![built.x])
        });
        assert_close(&format!("{name} logits"), &folded[0].values, &apart[0].values, Bound::rel_l2(1e-5));
        assert_close(&format!("{name} gradient"), &folded[1].values, &apart[1].values, Bound::rel_l2(1e-3));
    }
}

/// The acceptance of issue 5, the loss and its seed included.
#[test]
fn launches_stay_few() {
    for (name, most) in [("resnet50", 117), ("googlenet", 133), ("inception_v3", 205)] {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, Shape::new(1, 3, 299, 299));
        let seen = Normalize::Source.apply(&mut tape, x).unwrap();
        let heads = [Head::Main];
        let outputs = network(name).forward(&mut tape, seen, BatchNormMode::Frozen, &heads, &[]).unwrap();
        let logits = outputs.head(Head::Main);
        let request = Request { keep: vec![logits], loss: Some(logits), wrt: vec![x] };
        let mut recorder = Recorder::new(device().tuning());
        tape.record(&mut recorder, &request).unwrap();
        let launches = recorder.finish().dispatches;
        assert!(launches.len() <= most, "{name}: {} launches", launches.len());
        for kernel in ["batch_norm", "relu.forward", "add", "accumulate", "concat"] {
            let found = launches.iter().filter(|launch| launch.kernel.label().starts_with(kernel)).count();
            assert_eq!(found, 0, "{name}: {kernel}");
        }
    }
}

#[test]
fn a_layer_that_is_asked_for_has_its_value() {
    let network = demo_network(device(), "resnet50", "asked");
    let picture = input(1, 64);
    let layers = ["conv1", "layer1.0.bn2", "layer1.0", "layer2.0.downsample.0", "layer4.2.bn3", "layer4.2"];
    let apart = Built::new(&network, &picture, &[], &[]);
    let expected = apart.run(layers.iter().map(|layer| apart.outputs.tap(layer).unwrap()).collect(), None, vec![]);
    let places: Vec<Place> = layers.iter().map(|layer| Place::Layer(0, (*layer).to_owned())).collect();
    let scene = Scene::of(vec![&network], Normalize::Source);
    let found = outputs(device(), &scene, &picture, &places, false).unwrap();
    for ((layer, found), expected) in layers.iter().zip(&found).zip(&expected) {
        assert_close(layer, &found.values, &expected.values, Bound::rel_l2(1e-5));
    }
    let unknown = [Place::Layer(0, "layer1.0.bn9".to_owned())];
    match outputs(device(), &scene, &picture, &unknown, false) {
        Err(Error::UnknownLayer { candidates, .. }) => {
            assert!(candidates.contains(&"layer1.0.bn2".to_owned()), "{candidates:?}")
        }
        other => panic!("{other:?}"),
    }
}

/// Branches lie inside of their block, and the first layers of two branches are one.
#[test]
fn a_layer_inside_of_a_block_has_its_value_and_its_gradient() {
    let network = network("googlenet");
    let picture = input(2, 32);
    let apart = Built::new(network, &picture, &[], &[]);
    let tap = |layer: &str| apart.outputs.tap(layer).unwrap();
    let scene = Scene::of(vec![network], Normalize::Source);
    let asked = [
        vec!["inception3a.branch2.0", "inception3a.branch3.0", "inception3a.branch2.1", "inception3a.branch4.1"],
        // The one that is asked for is not folded, nor is its sibling, which has no weights of its own then.
        vec!["inception4b.branch3.0.conv", "inception4b.branch2.0", "inception4b"],
    ];
    for layers in asked {
        let expected = apart.run(layers.iter().map(|layer| tap(layer)).collect(), None, vec![]);
        let places: Vec<Place> = layers.iter().map(|layer| Place::Layer(0, (*layer).to_owned())).collect();
        let found = outputs(device(), &scene, &picture, &places, false).unwrap();
        for ((layer, found), expected) in layers.iter().zip(&found).zip(&expected) {
            assert_close(layer, &found.values, &expected.values, Bound::rel_l2(1e-5));
        }
        let region = Measure::Region { channels: None, rows: None, columns: None };
        let term = Term { place: places[0].clone(), measure: region, form: Form::Plain, weight: 1.0 };
        let objective = Objective { terms: vec![term] };
        let found = gradient(device(), &Scene { objective, ..scene.clone() }, &picture, false).unwrap().gradient;
        let expected = apart.run(vec![], Some(tap(layers[0])), vec![apart.x]).remove(0);
        assert_close(layers[0], &found.values, &expected.values, Bound::rel_l2(1e-4));
    }
}

#[test]
fn what_is_folded_follows_the_weights() {
    let network = demo_network(device(), "googlenet", "changing");
    let picture = input(1, 64);
    let scene = Scene::of(vec![&network], Normalize::Source);
    let logits = || outputs(device(), &scene, &picture, &[LOGITS], false).unwrap().remove(0).values;
    // Prepared before the change, it sees it.
    let mut early =
        Forward::prepare(device(), &evaluate::Pass::of(&network, Normalize::Source, picture.shape)).unwrap();
    let stored = Layout::Picture.pack(picture.shape, &picture.values);
    let before = early.logits(&stored).unwrap().values;
    assert_eq!(before, logits());
    let mut weights = network.weights(device()).unwrap();
    for array in weights.iter_mut().filter(|array| array.name.ends_with("bn.weight")) {
        array.values.iter_mut().for_each(|value| *value *= 1.5);
    }
    network.set_weights(device(), &weights).unwrap();
    let plain = Built::new(&network, &picture, &[], &[]);
    let plain = plain.run(vec![plain.logits()], None, vec![]).remove(0).values;
    assert_ne!(before, plain, "the change shows");
    for (how, found) in [("prepared before", early.logits(&stored).unwrap().values), ("prepared after", logits())] {
        assert_close(how, &found, &plain, Bound::rel_l2(1e-5));
    }
}

const LOGITS: Place = Place::Logits(0, Head::Main);
