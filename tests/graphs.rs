//! Whatever is put on a tape, the passes change how it is computed and not what: random graphs of small operations, and every
//! network of the zoo in a narrow version, plainly and after the passes.
//!
//! Numbers in the random graphs are small integers and quarters, so that sums are exact in any order and a ReLU or a pooling
//! window decides ties by its rule: values and gradients must be equal to the bit. `ENTOPTIC_GRAPHS` is the number of graphs,
//! 400 by default; `tests/regressions/graphs.txt` keeps the seeds of those that failed.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::device;
use common::reference::input;
use common::tapes::run;
use entoptic::classes::ClassList;
use entoptic::device::Externals;
use entoptic::evaluate::PICTURE;
use entoptic::nets::{BatchNormMode, Head, Network, Structure};
use entoptic::ops::{Add, AvgPool2d, BatchNorm, Concat, Conv2d, MaxPool2d, Op, Relu};
use entoptic::tape::passes::{self, Pass};
use entoptic::tape::{Request, Tape, Var};
use entoptic::tensor::{Array, Layout, Shape};
use entoptic::weights::NamedArray;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

/// Graphs when nobody says how many.
const GRAPHS: usize = 400;

/// Above this a sum of quarters might not be exact in f32.
const EXACT: f32 = 4_000_000.0;

/// One step of a graph: what is done, and numbers that choose the values it reads and its settings.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: usize,
    from: usize,
    with: usize,
    channels: usize,
    /// Whether somebody looks at the result, and whether a gradient with respect to it is asked for.
    seen: bool,
    differentiated: bool,
}

fn step() -> impl Strategy<Value = Step> {
    // Seldom seen, since a value that is looked at is never merged away.
    let flags = (prop::bool::weighted(0.12), prop::bool::weighted(0.12));
    (0..9usize, 0..64usize, 0..64usize, 1..=9usize, flags).prop_map(
        |(kind, from, with, channels, (seen, differentiated))| Step {
            kind,
            from,
            with,
            channels,
            seen,
            differentiated,
        },
    )
}

/// A graph in the making.
struct Graph {
    tape: Tape,
    externals: Externals,
    values: Vec<Var>,
    parameters: Vec<Var>,
    /// Each operation's arguments and its result.
    made: Vec<(Vec<Var>, Var)>,
    seed: u64,
}

impl Graph {
    fn new(seed: u64, batch: usize, channels: usize, side: usize) -> Graph {
        let mut graph = Graph {
            tape: Tape::default(),
            externals: Externals::new(),
            values: Vec::new(),
            parameters: Vec::new(),
            made: Vec::new(),
            seed,
        };
        let shape = Shape::new(batch, channels, side, side + 1);
        graph.put("x", shape, Layout::Picture, &[-2.0, -1.0, 0.0, 1.0, 2.0]);
        graph.values.push(graph.tape.input("x", shape));
        graph
    }

    /// A buffer of numbers taken from `among`.
    fn put(&mut self, name: &str, shape: Shape, layout: Layout, among: &[f32]) {
        let generator = Generator { seed: self.seed };
        let pick = |k| among[(generator.top24(name, k as u64) % among.len() as u64) as usize];
        let array = Array::new(shape, (0..shape.elements()).map(pick).collect());
        self.externals.insert(name.to_owned(), device().upload(name, layout, &array).expect("room"));
    }

    fn parameter(&mut self, leaf: &str, shape: Shape, layout: Layout, among: &[f32]) -> Var {
        let name = format!("{}.{leaf}", self.tape.operations().count());
        self.put(&name, shape, layout, among);
        let var = self.tape.parameter("", &name, shape, layout);
        self.parameters.push(var);
        var
    }

    fn apply(&mut self, op: impl Op + 'static, inputs: &[Var]) -> Var {
        let y = self.tape.apply(op, inputs).expect("shapes that fit");
        self.made.push((inputs.to_vec(), y));
        y
    }

    /// Everything that a value was made of.
    fn behind(&self, var: Var) -> BTreeSet<Var> {
        let mut found = BTreeSet::from([var]);
        for (inputs, y) in self.made.iter().rev() {
            if found.contains(y) {
                found.extend(inputs);
            }
        }
        found
    }

    /// A convolution that keeps height and width.
    fn conv(&mut self, x: Var, channels: usize, kernel: usize, biased: bool) -> Var {
        let shape = Shape::new(channels, self.tape.shape(x).c(), kernel, kernel);
        let mut inputs = vec![x, self.parameter("weight", shape, Layout::Filter, &[-1.0, 0.0, 0.0, 1.0])];
        if biased {
            inputs.push(self.parameter("bias", Shape::channels(channels), Layout::Picture, &[-1.0, 0.0, 2.0]));
        }
        self.apply(Conv2d::new(1, kernel / 2), &inputs)
    }

    fn batch_norm(&mut self, x: Var) -> Var {
        let c = Shape::channels(self.tape.shape(x).c());
        let mut inputs = vec![x];
        for (leaf, among) in [("scale", &[1.0, 2.0, -1.0]), ("shift", &[-1.0, 0.0, 3.0]), ("mean", &[0.0, 1.0, 2.0])] {
            inputs.push(self.parameter(leaf, c, Layout::Picture, among));
        }
        inputs.push(self.parameter("var", c, Layout::Picture, &[1.0]));
        // Statistics have no gradient.
        self.parameters.truncate(self.parameters.len() - 2);
        self.apply(BatchNorm { eps: 0.0 }, &inputs)
    }

    /// Values with as many pixels as `x`, one of them chosen by `with`; with as many channels too where they are added.
    fn beside(&self, x: Var, with: usize, channels: bool) -> Var {
        let shape = |var: Var| self.tape.shape(var);
        let fits = |var: &&Var| {
            [shape(**var).h(), shape(**var).w()] == [shape(x).h(), shape(x).w()]
                && (!channels || shape(**var).c() == shape(x).c())
        };
        let all: Vec<Var> = self.values.iter().filter(fits).copied().collect();
        all[with % all.len()]
    }

    /// Does a step and adds its results to the values that later steps may read.
    fn take(&mut self, step: Step) {
        // The latest values are read most, so that graphs are deep.
        let from = self.values.len() - 1 - (step.from % self.values.len()).min(step.from % 3);
        let x = self.values[from];
        let y = match step.kind {
            0 => self.conv(x, step.channels, 1, step.with.is_multiple_of(2)),
            1 => self.conv(x, step.channels, 3, step.with.is_multiple_of(2)),
            2 => {
                let y = self.conv(x, step.channels, 1, step.with.is_multiple_of(2));
                self.batch_norm(y)
            }
            3 => {
                // Siblings: a block's branches begin so.
                let first = self.conv(x, step.channels, 1, true);
                let first = self.apply(Relu, &[first]);
                self.values.push(first);
                let second = self.conv(x, 1 + step.with % 8, 1, true);
                self.apply(Relu, &[second])
            }
            4 => self.apply(Relu, &[x]),
            5 => {
                let other = self.beside(x, step.with, true);
                self.apply(Add, &[x, other])
            }
            6 => {
                let parts = [self.beside(x, step.with, false), x, self.beside(x, step.with / 8, false)];
                self.apply(Concat, &parts[step.channels % 2..])
            }
            7 => {
                let pool = MaxPool2d::new(3, 1, 1);
                self.apply(pool, &[x])
            }
            _ => self.batch_norm(x),
        };
        self.values.push(y);
    }
}

/// Which passes run, in their order: all of them, or those whose bit is set.
fn chosen(bits: usize) -> Vec<Pass> {
    let all = passes::ALL.iter().enumerate();
    all.filter(|(k, _)| bits == 0 || bits >> k & 1 == 1).map(|(_, &pass)| pass).collect()
}

#[test]
fn passes_change_no_value_and_no_gradient_of_a_random_graph() {
    let cases = std::env::var("ENTOPTIC_GRAPHS").map_or(GRAPHS, |count| count.parse().expect("a number of graphs"));
    let config = Config {
        cases: cases as u32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/regressions/graphs.txt"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let steps = prop::collection::vec(step(), 2..=9);
    // Half of all graphs run after every pass, the others after some.
    let bits = prop_oneof![Just(0usize), 1..32usize];
    let strategy = (steps, 0..1_000_000u64, 1..=2usize, 1..=6usize, 3..=5usize, bits, 0..256usize, any::<bool>());
    let (fewer, tried) = (Cell::new(0), Cell::new(0));
    let outcome =
        TestRunner::new(config).run(&strategy, |(steps, seed, batch, channels, side, bits, parameters, pooled)| {
            let mut graph = Graph::new(seed, batch, channels, side);
            let (mut keep, mut wrt) = (Vec::new(), vec![graph.values[0]]);
            for step in steps {
                graph.take(step);
                let y = *graph.values.last().expect("a value");
                keep.extend(step.seen.then_some(y));
                wrt.extend(step.differentiated.then_some(y));
            }
            let mut loss = *graph.values.last().expect("a value");
            if pooled {
                let average = AvgPool2d::new(2, 2, 0);
                loss = graph.apply(average, &[loss]);
            }
            keep.push(loss);
            // Mostly weights are what they are; sometimes a few of them are trained.
            wrt.extend(
                graph.parameters.iter().enumerate().filter(|(k, _)| parameters >> (k + 3) & 1 == 1).map(|(_, v)| v),
            );
            let behind = graph.behind(loss);
            wrt.retain(|var| behind.contains(var));
            prop_assume!(!wrt.is_empty());
            let request = Request { keep, loss: Some(loss), wrt };
            let (plain, launches) = run(&[], &graph.tape, &request, &graph.externals);
            let largest = plain.iter().flat_map(|array| &array.values).fold(0f32, |max, value| max.max(value.abs()));
            prop_assume!(largest < EXACT);
            let (fused, after) = run(&chosen(bits), &graph.tape, &request, &graph.externals);
            for (k, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
                prop_assert!(fused == plain, "value {k}: {fused:?} after the passes, {plain:?} without; {after:?}");
            }
            tried.set(tried.get() + 1);
            fewer.set(fewer.get() + usize::from(after.len() < launches.len()));
            Ok(())
        });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (fewer, tried) = (fewer.get(), tried.get());
    println!("{tried} graphs, {fewer} of them with fewer launches after the passes");
    // Some of them after a single pass, and many with nothing to merge.
    assert!(4 * fewer > tried, "only {fewer} of {tried} graphs take fewer launches after the passes");
}

/// A network of an eighth of the width and 5 classes, filled from its names.
fn narrow(structure: &Structure) -> Network {
    let shapes = structure.tensors(0.125, 5, &[]).expect("a structure").into_iter().collect();
    let state = Generator { seed: 3 }.state(structure.name(), &shapes).into_iter();
    let mut state: Vec<NamedArray> =
        state.map(|(name, values)| NamedArray { shape: shapes[&name].clone(), name, values }).collect();
    // The generator damps the blocks of ResNets. Those of RegNets would grow to 10,000, and roundings with them through the
    // squeeze-and-excitation: plain and fused logits of regnet_y_128gf were 1e-2 apart.
    for array in state.iter_mut().filter(|array| array.name.ends_with(".f.c.1.weight")) {
        array.values.iter_mut().for_each(|value| *value *= 0.25);
    }
    Network::from_arrays(device(), structure, &state, ClassList::unnamed(5), structure.name())
        .expect("weights that fit")
}

#[test]
fn every_narrow_network_is_the_same_after_the_passes() {
    for structure in Structure::all() {
        let network = narrow(structure);
        let name = structure.name();
        let picture = input(2, structure.smallest_side().expect("a structure").max(64));
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[Head::Main], &[]).expect("a forward pass");
        let logits = outputs.head(Head::Main);
        let mut externals = network.buffers().clone();
        externals.insert(PICTURE.into(), device().upload(PICTURE, Layout::Picture, &picture).expect("room"));
        let request = Request { keep: vec![logits], loss: Some(logits), wrt: vec![x] };
        let [(plain, launches), (fused, after)] =
            [&[], passes::ALL].map(|passes| run(passes, &tape, &request, &externals));
        println!("{name}: {} launches, {} after the passes", launches.len(), after.len());
        assert!(after.len() < launches.len(), "{name}: the passes found nothing");
        assert_close(&format!("{name} logits"), &fused[0].values, &plain[0].values, Bound::rel_l2(1e-5));
        // A ReLU within rounding of zero may let a gradient pass in one and not in the other.
        assert_close(&format!("{name} gradient"), &fused[1].values, &plain[1].values, Bound::rel_l2(1e-3));
    }
}
