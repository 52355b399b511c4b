//! The oracle against the stored answers of PyTorch, and its gradients against its results: what is compared with it can rely
//! on it.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::compare::{Bound, assert_close};
use common::fixture::Fixture;
use common::generator::Generator;
use entoptic::ops::*;
use entoptic::oracle::{self, Formula, Values, updates};
use entoptic::tensor::{Array, Shape};
use serde_json::Value;

/// Both are computed in f64 from the same numbers; the stored ones are rounded to f32, and so are settings and upstreams.
const BOUND: Bound = Bound::rel_l2(2e-7);

fn rounded(values: &Values) -> Vec<f32> {
    values.numbers.iter().map(|number| number.value as f32).collect()
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

struct Case<'a> {
    fixture: &'a Fixture,
    name: &'a str,
}

impl Case<'_> {
    fn array(&self, tensor: &str) -> Array {
        stored(self.fixture, &format!("{}/{tensor}", self.name))
    }

    fn setting(&self, word: &str) -> &Value {
        &self.fixture.case(self.name)[word]
    }

    fn number(&self, word: &str) -> f32 {
        self.setting(word).as_f64().unwrap_or_default() as f32
    }

    fn pair(&self, word: &str) -> [usize; 2] {
        let size = |value: &Value| value.as_u64().unwrap() as usize;
        match self.setting(word).as_array() {
            Some(pair) => [size(&pair[0]), size(&pair[1])],
            None => [size(self.setting(word)); 2],
        }
    }

    fn expect(&self, tensor: &str, found: &Values) {
        let expected = self.array(tensor);
        assert_eq!(found.shape.elements(), expected.shape.elements(), "{} {tensor}", self.name);
        assert_close(&format!("{} {tensor}", self.name), &rounded(found), &expected.values, BOUND);
    }

    /// Result and gradients of a formula whose arguments the case calls so.
    fn check(&self, formula: &dyn Formula, arguments: &[&str], inputs: &[Array]) {
        self.expect("out", &formula.result(inputs));
        let grads = formula.gradients(inputs, &self.array("upstream"));
        for (argument, grad) in arguments.iter().zip(grads) {
            self.expect(&format!("grad_{argument}"), &grad.expect("it has a gradient"));
        }
    }
}

fn conv2d(case: &Case) {
    let linear = case.setting("op") == "linear";
    let [stride, padding] = if linear { [[1; 2], [0; 2]] } else { ["stride", "padding"].map(|word| case.pair(word)) };
    let mut names = vec!["input", "weight"];
    if case.fixture.has(&format!("{}/bias", case.name)) {
        names.push("bias");
    }
    let inputs: Vec<Array> = names.iter().map(|name| case.array(name)).collect();
    case.check(&Conv2d::of(Window::plain(stride, padding)), &names, &inputs);
}

fn batch_norm(case: &Case) {
    let (eps, momentum) = (case.number("eps"), case.number("momentum"));
    let (statistics, mode) = case.name.rsplit_once('_').unwrap();
    let names = ["input", "weight", "bias"];
    let mut inputs = names.map(|name| case.array(name)).to_vec();
    inputs.extend(["running_mean", "running_var"].map(|name| stored(case.fixture, &format!("{statistics}/{name}"))));
    if mode == "eval" {
        return case.check(&BatchNorm { eps }, &names, &inputs);
    }
    let train = BatchNormTrain { eps, momentum };
    case.check(&train, &names, &inputs);
    let changed = train.changed(&inputs);
    assert_eq!(changed.iter().map(|(input, _)| *input).collect::<Vec<_>>(), [3, 4]);
    case.expect("new_running_mean", &changed[0].1);
    case.expect("new_running_var", &changed[1].1);
}

fn pool(case: &Case) {
    let [kernel, stride, padding] = ["kernel", "stride", "padding"].map(|word| case.pair(word));
    let input = [case.array("input")];
    if let Some(count_include_pad) = case.setting("count_include_pad").as_bool() {
        return case.check(
            &AvgPool2d { kernel, stride, padding: [padding; 2], ceil_mode: false, count_include_pad },
            &["input"],
            &input,
        );
    }
    let ceil_mode = case.setting("ceil_mode").as_bool().unwrap();
    case.check(&MaxPool2d { kernel, stride, padding: [padding; 2], dilation: [1; 2], ceil_mode }, &["input"], &input);
}

fn residual(case: &Case) {
    let sum = Add.result(&[case.array("a"), case.array("b")]);
    let sum = [Array::new(sum.shape, rounded(&sum))];
    case.expect("out", &Relu.result(&sum));
    let grads = Relu.gradients(&sum, &case.array("upstream"));
    ["grad_a", "grad_b"].iter().for_each(|tensor| case.expect(tensor, grads[0].as_ref().unwrap()));
}

fn transform_input(case: &Case) {
    let vector = |values: [f64; 3]| Array::new(Shape::channels(3), values.map(|value| value as f32).to_vec());
    let scale = vector([0.229, 0.224, 0.225].map(|std| std / 0.5));
    let shift = vector([0.485, 0.456, 0.406].map(|mean| (mean - 0.5) / 0.5));
    case.check(&ChannelAffine, &["input"], &[case.array("input"), scale, shift]);
}

/// One number for all pictures or rows, as torch's losses give it: `factor` of the sum.
fn loss(case: &Case, formula: &dyn Formula, inputs: &[Array], factor: f64) {
    let found: f64 = formula.result(inputs).numbers.iter().map(|number| number.value).sum();
    let out = case.array("out").values;
    assert_close(case.name, &[(found * factor) as f32], &out, BOUND);
    let upstream = f64::from(case.array("upstream").values[0]) * factor;
    let upstream = Array::filled(Shape::per_picture(inputs[0].shape.n()), upstream as f32);
    case.expect("grad_input", formula.gradients(inputs, &upstream)[0].as_ref().unwrap());
}

fn cross_entropy(case: &Case) {
    let x = case.array("input");
    let labels = case.fixture.indices(case.setting("labels").as_str().unwrap());
    let factor = if case.setting("reduction") == "mean" { 1.0 / labels.len() as f64 } else { 1.0 };
    let labels = Array::new(Shape::per_picture(labels.len()), labels.iter().map(|&label| label as f32).collect());
    loss(case, &CrossEntropy::default(), &[x, labels], factor);
}

fn distance(case: &Case) {
    // Both rows are one picture.
    let [x, goal] = ["input", "goal"].map(|name| {
        let Array { shape, values } = case.array(name);
        Array::new(Shape::new(1, 1, shape.n(), shape.c()), values)
    });
    let count = x.shape.elements() as f64;
    let (metric, factor) = match case.setting("op").as_str().unwrap() {
        "l1_sum" => (Metric::L1, 1.0),
        "l1_0.05" => (Metric::L1, 0.05),
        "l2_norm" => (Metric::L2, 1.0),
        "sum_of_squares" => (Metric::SumOfSquares, 1.0),
        "mse_mean" => (Metric::SumOfSquares, 1.0 / count),
        other => panic!("no such loss as {other}"),
    };
    loss(case, &Distance { metric }, &[x, goal], factor);
}

fn class(case: &Case) {
    let x = case.array("input");
    let (first, index) = (x.picture(0), Array::filled(Shape::per_picture(1), 5.0));
    let logit = Pick.result(&[first.clone(), index.clone()]).numbers[0].value;
    assert_close(case.name, &[(200.0 - logit) as f32], &case.array("out").values, BOUND);
    let upstream = Array::filled(Shape::per_picture(1), -case.array("upstream").values[0]);
    let mut grad = rounded(Pick.gradients(&[first, index], &upstream)[0].as_ref().unwrap());
    grad.resize(x.shape.elements(), 0.0);
    assert_close(case.name, &grad, &case.array("grad_input").values, BOUND);
}

fn sgd(case: &Case) {
    let number = |word| case.number(word);
    let nesterov = case.setting("nesterov").as_bool().unwrap_or(false);
    let sgd = Sgd { momentum: number("momentum"), weight_decay: number("weight_decay"), nesterov };
    let mut parameter = case.array("param");
    let mut velocity = Array::filled(parameter.shape, 0.0);
    let grads = case.array("grads").values;
    for grad in grads.chunks(parameter.values.len()) {
        let grad = Array::new(parameter.shape, grad.to_vec());
        let (moved, state) = updates::sgd(&sgd, &parameter, &grad, &velocity, number("lr"));
        parameter.values = rounded(&moved);
        if let Some(next) = state.first() {
            velocity.values = rounded(next);
        }
    }
    // Rounded to f32 after each of four steps.
    assert_close(case.name, &parameter.values, &case.array("out").values, Bound::rel_l2(5e-7));
}

#[test]
fn formulas_equal_torch() {
    let fixture = Fixture::load("ops");
    let mut seen = BTreeSet::new();
    for name in fixture.cases() {
        let case = Case { fixture: &fixture, name };
        let kind = case.setting("op").as_str().unwrap();
        match kind {
            "conv2d" | "linear" => conv2d(&case),
            "batch_norm" => batch_norm(&case),
            "max_pool2d" | "avg_pool2d" => pool(&case),
            "adaptive_avg_pool2d" => {
                case.check(&AdaptiveAvgPool2d { output: case.pair("output") }, &["input"], &[case.array("input")]);
            }
            "relu" => case.check(&Relu, &["input"], &[case.array("input")]),
            "relu(a + b)" => residual(&case),
            "concat over channels, order a b c d" => {
                let names = ["a", "b", "c", "d"];
                case.check(&Concat, &names, &names.map(|name| case.array(name)));
            }
            "cross_entropy" => cross_entropy(&case),
            "class_200" => class(&case),
            "SGD, four steps" => sgd(&case),
            _ if kind.starts_with("per-channel") => transform_input(&case),
            _ => distance(&case),
        }
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.len(), 18, "{seen:?}");
}

fn picture(fixture: &Fixture, key: &str) -> Array {
    Array::new(Shape(fixture.shape(key).try_into().unwrap()), fixture.values(key))
}

fn generated(name: &str, side: usize) -> Array {
    Array::new(Shape::new(1, 1, side, side), Generator { seed: 1 }.tensor_uniform(name, side * side, 0.0, 1.0))
}

fn at(values: &[f32], indices: &[usize]) -> Vec<f32> {
    indices.iter().map(|&index| values[index]).collect()
}

#[test]
fn formulas_of_pictures_equal_torchvision() {
    let fixture = Fixture::load("image_ops");
    for name in fixture.cases() {
        let case = Case { fixture: &fixture, name };
        let numbers = |word: &str| -> Vec<usize> {
            case.setting(word).as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
        };
        let family = name.split('_').next().unwrap();
        match family {
            "blur" => {
                let kernel = case.setting("kernel").as_u64().unwrap() as usize;
                let taps = Array::new(Shape::channels(kernel), fixture.values(&format!("{name}/taps")));
                case.expect("out", &GaussianBlur { kernel }.result(&[picture(&fixture, "blur/input"), taps]));
            }
            "pad" => {
                let [left, top, right, bottom] = match numbers("padding")[..] {
                    [all] => [all; 4],
                    [x, y] => [x, y, x, y],
                    [left, top, right, bottom] => [left, top, right, bottom],
                    _ => panic!("{name}: one, two or four numbers"),
                };
                let pad = Pad { left, top, right, bottom, value: case.number("fill") };
                case.expect("out", &pad.result(&[picture(&fixture, "pad/input")]));
            }
            "resize" => {
                let [from, to] = ["from", "to"].map(numbers);
                let input = format!("resize_{}x{}/input", from[0], from[1]);
                let x = match fixture.has(&input) {
                    true => picture(&fixture, &input),
                    false => generated(&format!("op/resize/{0}x{0}", from[0]), from[0]),
                };
                let mode = ResizeMode::Bilinear { antialias: case.setting("antialias").as_bool().unwrap() };
                let y = Resize { height: to[0], width: to[1], mode }.result(&[x]);
                if fixture.has(&format!("{name}/probe")) {
                    let probed = at(&rounded(&y), &fixture.indices(&format!("{name}/probe_index")));
                    assert_close(name, &probed, &fixture.values(&format!("{name}/probe")), BOUND);
                } else {
                    case.expect("out", &y);
                }
            }
            "nearest" => {
                let expected = fixture.indices(&format!("{name}/source_index"));
                let from: usize = name.split('_').nth(1).unwrap().parse().unwrap();
                let x = Array::new(Shape::new(1, 1, 1, from), (0..from).map(|i| i as f32).collect());
                let y = Resize { height: 1, width: expected.len(), mode: ResizeMode::Nearest }.result(&[x]);
                let taken: Vec<usize> = y.numbers.iter().map(|number| number.value as usize).collect();
                assert_eq!(taken, expected, "{name}");
            }
            _ => panic!("{name} belongs to no family"),
        }
    }
}

/// Steps of this size are exact for numbers between -4 and 4 of which each is a multiple of it.
const STEP: f64 = 1.0 / 4096.0;

/// Arguments for a sample, multiples of the step and apart from each other where the operation has kinks.
fn arguments(number: usize, sample: &Sample) -> Vec<Array> {
    let argument = |(index, domain): (usize, &Domain)| {
        let (shape, _) = domain.form();
        let name = format!("oracle {number} {index}");
        let uniform = |low: f64, high: f64| Generator { seed: 3 }.tensor_uniform(&name, shape.elements(), low, high);
        let values = match domain {
            Domain::Positive(_) | Domain::Divisor(_) => uniform(0.5, 1.5),
            Domain::Index(_, below) => uniform(0.0, *below as f64).into_iter().map(f32::floor).collect(),
            // Far apart, never 0, and never what another argument has.
            Domain::Apart(_) => {
                let order = Generator { seed: 3 }.tensor_uniform(&name, shape.elements(), 0.0, 1.0);
                let mut ranks: Vec<usize> = (0..order.len()).collect();
                ranks.sort_by(|&a, &b| order[a].total_cmp(&order[b]));
                let mut values = vec![0.0; order.len()];
                for (rank, k) in ranks.into_iter().enumerate() {
                    values[k] = (rank as f32 - (order.len() / 2) as f32 + 0.5 + 0.25 * index as f32) / 64.0;
                }
                values
            }
            _ => uniform(-1.0, 1.0),
        };
        let grid = values.into_iter().map(|value| ((f64::from(value) / STEP).round() * STEP) as f32);
        Array::new(shape, grid.collect())
    };
    sample.inputs.iter().enumerate().map(argument).collect()
}

#[test]
fn gradients_are_the_slopes_of_results() {
    let signs = |name: &str, count: usize| Generator { seed: 4 }.map(name, count, |u| (u * 3.0).floor() - 1.0);
    for (number, sample) in samples().into_iter().enumerate() {
        let formula = oracle::of(&*sample.op).expect("a formula");
        let inputs = arguments(number, &sample);
        let result = formula.result(&inputs);
        let upstream = Array::new(result.shape, signs(&format!("upstream {number}"), result.numbers.len()));
        let against = |values: &Values| -> f64 {
            values.numbers.iter().zip(&upstream.values).map(|(number, g)| number.value * f64::from(*g)).sum()
        };
        let grads = formula.gradients(&inputs, &upstream);
        assert_eq!(grads.len(), inputs.len());
        assert!(grads.iter().any(Option::is_some), "{:?} has no gradient", sample.op);
        for (index, grad) in grads.iter().enumerate() {
            let differentiated =
                !matches!(sample.inputs[index], Domain::Positive(_) | Domain::Index(..) | Domain::Fixed(_));
            assert_eq!(grad.is_some(), differentiated, "argument {index} of {:?}", sample.op);
            let Some(grad) = grad else { continue };
            let direction = signs(&format!("direction {number} {index}"), grad.numbers.len());
            let moved = |sign: f64| {
                let mut inputs = inputs.clone();
                let values = inputs[index].values.iter_mut().zip(&direction);
                values.for_each(|(value, v)| *value += (sign * STEP * f64::from(*v)) as f32);
                against(&formula.result(&inputs))
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * STEP);
            let predicted: f64 =
                grad.numbers.iter().zip(&direction).map(|(number, v)| number.value * f64::from(*v)).sum();
            let size = grad.numbers.iter().map(|number| number.value.powi(2)).sum::<f64>().sqrt();
            let scale = size * (direction.len() as f64).sqrt();
            // The third derivative times the square of the step; differences of linear functions are exact.
            let off = (slope - predicted).abs() / scale.max(1e-3);
            assert!(
                off <= 1e-6,
                "argument {index} of {:?}: {predicted} instead of {slope}, off by {off:.1e}",
                sample.op
            );
        }
    }
}
