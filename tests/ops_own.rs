//! Operations that networks of users have, as kernels and as the oracle computes them, against the stored answers of PyTorch.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::compare::{Bound, assert_close};
use common::fixture::Fixture;
use common::gpu::{run_tuned, tunings};
use entoptic::ops::{
    Activation, Add, AvgPool2d, Binary, Channels, Concat, Conv2d, LayerNorm, LocalResponseNorm, MaxPool2d, Op, Softmax,
    Window,
};
use entoptic::oracle;
use entoptic::tensor::{Array, Layout, Shape};
use serde_json::Value;

/// One case of the stored reference.
struct Case<'a> {
    fixture: &'a Fixture,
    name: &'a str,
    settings: &'a Value,
}

impl Case<'_> {
    fn key(&self, tensor: &str) -> String {
        format!("{}/{tensor}", self.name)
    }

    fn array(&self, tensor: &str) -> Array {
        let shape = match self.fixture.shape(&self.key(tensor))[..] {
            [c] => Shape::channels(c),
            [n, c] => Shape::new(n, c, 1, 1),
            [n, c, h, w] => Shape::new(n, c, h, w),
            _ => panic!("{} has another number of sizes", self.key(tensor)),
        };
        Array::new(shape, self.fixture.values(&self.key(tensor)))
    }

    fn number(&self, setting: &str) -> f32 {
        self.settings[setting].as_f64().unwrap_or_else(|| panic!("{}: no number {setting}", self.name)) as f32
    }

    fn count(&self, setting: &str) -> usize {
        self.settings[setting].as_u64().unwrap_or_else(|| panic!("{}: no count {setting}", self.name)) as usize
    }

    fn flag(&self, setting: &str) -> bool {
        self.settings[setting].as_bool().unwrap_or_else(|| panic!("{}: no flag {setting}", self.name))
    }

    fn word(&self, setting: &str) -> &str {
        self.settings[setting].as_str().unwrap_or_else(|| panic!("{}: no word {setting}", self.name))
    }

    fn pair(&self, setting: &str) -> [usize; 2] {
        pair(&self.settings[setting])
    }

    /// [[top, left], [bottom, right]].
    fn padding(&self) -> [[usize; 2]; 2] {
        [0, 1].map(|end| pair(&self.settings["padding"][end]))
    }

    fn activation(&self) -> Activation {
        let numbers = &self.settings["numbers"];
        let number = |k: usize| numbers[k].as_f64().unwrap_or_else(|| panic!("{}: no number {k}", self.name)) as f32;
        match self.word("function") {
            "clip" => Activation::Clip { low: number(0), high: number(1) },
            "leaky_relu" => Activation::LeakyRelu { slope: number(0) },
            "sigmoid" => Activation::Sigmoid,
            "silu" => Activation::Silu,
            "hard_sigmoid" => Activation::HardSigmoid,
            "hard_swish" => Activation::HardSwish,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "tanh" => Activation::Tanh,
            "elu" => Activation::Elu { alpha: number(0) },
            "softplus" => Activation::Softplus { beta: number(0), threshold: number(1) },
            other => panic!("{}: no function {other}", self.name),
        }
    }

    fn op(&self) -> Arc<dyn Op> {
        match self.word("op") {
            "conv2d" => {
                let window = Window {
                    stride: self.pair("stride"),
                    padding: self.padding(),
                    dilation: self.pair("dilation"),
                    groups: self.count("groups"),
                };
                let activation = self.settings.get("function").map(|_| self.activation());
                Arc::new(Conv2d { activation, ..Conv2d::of(window) })
            }
            "activation" => Arc::new(self.activation()),
            "binary" => Arc::new(match self.word("operator") {
                "plus" => Binary::Plus,
                "minus" => Binary::Minus,
                "times" => Binary::Times,
                _ => Binary::Over,
            }),
            "channels" => {
                let [first, count, groups] = ["first", "count", "groups"].map(|setting| self.count(setting));
                Arc::new(Channels { first, count, groups })
            }
            "concat" => Arc::new(Concat),
            "layer_norm" => Arc::new(LayerNorm { eps: self.number("eps") }),
            "local_response_norm" => Arc::new(LocalResponseNorm {
                before: self.count("before"),
                after: self.count("after"),
                alpha: self.number("alpha"),
                beta: self.number("beta"),
                k: self.number("k"),
            }),
            "softmax" => Arc::new(Softmax),
            "avg_pool2d" => Arc::new(AvgPool2d {
                kernel: self.pair("kernel"),
                stride: self.pair("stride"),
                padding: self.padding(),
                ceil_mode: self.flag("ceil_mode"),
                count_include_pad: self.flag("count_include_pad"),
            }),
            "max_pool2d" => Arc::new(MaxPool2d {
                kernel: self.pair("kernel"),
                stride: self.pair("stride"),
                padding: self.padding(),
                dilation: self.pair("dilation"),
                ceil_mode: self.flag("ceil_mode"),
            }),
            other => panic!("no operation {other}"),
        }
    }

    /// Its arguments, and what the reference calls them.
    fn inputs(&self) -> (Vec<&'static str>, Vec<(Array, Layout)>) {
        let all = ["input", "weight", "bias", "residual", "a", "b", "c"];
        let names: Vec<&str> = all.into_iter().filter(|name| self.fixture.has(&self.key(name))).collect();
        let layout = |name: &str| match self.word("op") == "conv2d" && name == "weight" {
            true => Layout::Filter,
            false => Layout::Picture,
        };
        let inputs = names.iter().map(|name| (self.array(name), layout(name))).collect();
        (names, inputs)
    }

    #[track_caller]
    fn expect(&self, tensor: &str, found: &Array, bound: Bound) {
        let expected = self.array(tensor);
        assert_eq!(found.shape.elements(), expected.shape.elements(), "{}", self.key(tensor));
        // What is not zero in f64 but in f32 has no relative distance.
        let bound =
            if expected.values.iter().all(|value| value.abs() < f32::MIN_POSITIVE) { Bound::abs(1e-30) } else { bound };
        assert_close(&self.key(tensor), &found.values, &expected.values, bound);
    }
}

fn pair(value: &Value) -> [usize; 2] {
    [0, 1].map(|k| value[k].as_u64().unwrap_or_else(|| panic!("{value} is no pair")) as usize)
}

fn each_case(check: impl Fn(&Case)) {
    let fixture = Fixture::load("ops_own");
    let mut kinds = BTreeSet::new();
    for name in fixture.cases() {
        let case = Case { fixture: &fixture, name, settings: fixture.case(name) };
        check(&case);
        kinds.insert(case.word("op").to_owned());
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn kernels_of_own_networks_equal_the_reference() {
    each_case(|case| {
        let (op, (names, inputs)) = (case.op(), case.inputs());
        let upstream = case.array("upstream");
        for tuning in tunings(op.name()) {
            let outcome = run_tuned(&*op, &inputs, Some(&upstream), &vec![true; inputs.len()], 0, tuning);
            case.expect("out", &outcome.output, case.fixture.bound(&case.key("out")));
            for (name, grad) in names.iter().zip(&outcome.grads) {
                let tensor = format!("grad_{name}");
                let grad = grad.as_ref().expect("every gradient was asked for");
                case.expect(&tensor, grad, case.fixture.bound(&case.key(&tensor)));
            }
        }
    });
}

#[test]
fn formulas_of_own_networks_equal_the_reference() {
    // Both are computed in f64 from the same numbers; the stored ones are rounded to f32, and so are settings.
    let bound = Bound::rel_l2(2e-7);
    let rounded = |values: &oracle::Values| {
        Array::new(values.shape, values.numbers.iter().map(|number| number.value as f32).collect())
    };
    each_case(|case| {
        let (op, (names, inputs)) = (case.op(), case.inputs());
        let inputs: Vec<Array> = inputs.into_iter().map(|(array, _)| array).collect();
        let formula = oracle::of(&*op).expect("a formula");
        case.expect("out", &rounded(&formula.result(&inputs)), bound);
        for (name, grad) in names.iter().zip(formula.gradients(&inputs, &case.array("upstream"))) {
            case.expect(&format!("grad_{name}"), &rounded(&grad.expect("it has a gradient")), bound);
        }
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = Shape::new(1, 6, 4, 5);
    let refused = |op: &dyn Op, inputs: &[Shape]| op.output_shape(inputs).expect_err(op.name()).to_string();
    let conv = |window: Window| Conv2d::of(window);
    let plain = Window::plain([1; 2], [1; 2]);
    let grouped = conv(Window { groups: 3, ..plain });
    assert_eq!(refused(&grouped, &[x, Shape::new(6, 3, 3, 3)]), "conv2d: input channels of x is 6, expected 9");
    assert_eq!(
        refused(&grouped, &[x, Shape::new(4, 2, 3, 3)]),
        "conv2d: output channels is 4, expected a multiple of the 3 groups"
    );
    assert!(refused(&conv(Window { groups: 0, ..plain }), &[x, Shape::new(4, 6, 3, 3)]).contains("groups"));
    let far = conv(Window { dilation: [4, 1], ..plain });
    assert!(refused(&far, &[x, Shape::new(2, 6, 3, 3)]).contains("leaves no pixel"));
    for window in [Window { stride: [0, 1], ..plain }, Window { dilation: [1, 0], ..plain }] {
        assert!(refused(&conv(window), &[x, Shape::new(2, 6, 3, 3)]).contains("at least 1x1"));
    }
    let huge = conv(Window { padding: [[usize::MAX / 2, 0], [usize::MAX / 2, 0]], ..plain });
    assert!(refused(&huge, &[x, Shape::new(2, 6, 3, 3)]).contains("at most"));
    // Of two taps that are two pixels apart none sees the only row.
    let apart = MaxPool2d { kernel: [2, 1], dilation: [2, 1], padding: [[1, 0], [1, 0]], ..MaxPool2d::new(2, 1, 0) };
    assert!(refused(&apart, &[Shape::new(1, 1, 1, 3)]).contains("leaves no pixel"));
    assert!(refused(&LayerNorm { eps: 1e-6 }, &[x, Shape::channels(6), Shape::channels(5)]).contains("bias"));
    assert!(refused(&Add, &[x, Shape::new(1, 6, 1, 1)]).contains("second argument"));
}
