//! Operations on pictures against the stored answers of torchvision.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;

use common::compare::{Bound, assert_close};
use common::fixture::Fixture;
use common::generator::Generator;
use common::gpu::run;
use entoptic::ops::{Crop, GaussianBlur, Op, Pad, Resize, ResizeMode};
use entoptic::tensor::{Array, Layout, Shape};

/// The image operations' answers, with the tensors that a test has looked at.
struct Answers {
    fixture: Fixture,
    seen: RefCell<BTreeSet<String>>,
}

const FAMILIES: [&str; 4] = ["blur", "resize", "nearest", "pad"];

impl Answers {
    fn load() -> Answers {
        Answers { fixture: Fixture::load("image_ops"), seen: RefCell::default() }
    }

    fn cases(&self, family: &str) -> Vec<String> {
        let cases: Vec<String> =
            self.fixture.cases().filter(|case| case.starts_with(family)).map(str::to_owned).collect();
        assert!(!cases.is_empty(), "there is no case of {family}");
        cases
    }

    fn values(&self, key: &str) -> Vec<f32> {
        self.seen.borrow_mut().insert(key.to_owned());
        self.fixture.values(key)
    }

    fn indices(&self, key: &str) -> Vec<usize> {
        self.seen.borrow_mut().insert(key.to_owned());
        self.fixture.indices(key)
    }

    fn array(&self, key: &str) -> Array {
        let shape = self.fixture.shape(key).try_into().expect("pictures have four sizes");
        Array::new(Shape(shape), self.values(key))
    }

    /// Numbers of a case, such as the sizes of a resize.
    fn numbers(&self, case: &str, word: &str) -> Vec<usize> {
        let list = self.fixture.case(case)[word].as_array().unwrap_or_else(|| panic!("{case} has no list {word}"));
        list.iter().map(|number| number.as_u64().unwrap() as usize).collect()
    }

    /// What the reference allows for a tensor, and never more than 1e-4 in a pixel (`recipe.md`, section 8).
    fn bound(&self, key: &str) -> Bound {
        Bound { abs: 1e-4, ..self.fixture.bound(key) }
    }

    /// Fails when the file holds a tensor of the family that nothing was compared with.
    fn all_seen(&self, family: &str) {
        let names = self.fixture.names();
        let unseen: Vec<&String> =
            names.iter().filter(|name| name.starts_with(family) && !self.seen.borrow().contains(*name)).collect();
        assert!(unseen.is_empty(), "never compared: {unseen:?}");
    }
}

fn forward(op: &dyn Op, inputs: &[&Array]) -> Array {
    let inputs: Vec<(Array, Layout)> = inputs.iter().map(|&array| (array.clone(), Layout::Picture)).collect();
    run(op, &inputs, None, &[]).output
}

fn generated(name: &str, side: usize) -> Array {
    Array::new(Shape::new(1, 1, side, side), Generator { seed: 1 }.tensor_uniform(name, side * side, 0.0, 1.0))
}

fn at(values: &[f32], indices: &[usize]) -> Vec<f32> {
    indices.iter().map(|&index| values[index]).collect()
}

#[test]
fn every_stored_tensor_belongs_to_a_test() {
    for name in Fixture::load("image_ops").names() {
        assert!(FAMILIES.iter().any(|family| name.starts_with(family)), "no test looks at {name}");
    }
}

#[test]
fn gaussian_blur_equals_torchvision() {
    let answers = Answers::load();
    let x = answers.array("blur/input");
    for case in answers.cases("blur") {
        let kernel = answers.fixture.case(&case)["kernel"].as_u64().unwrap() as usize;
        let taps = Array::new(Shape::channels(kernel), answers.values(&format!("{case}/taps")));
        let y = forward(&GaussianBlur { kernel }, &[&x, &taps]);
        let key = format!("{case}/out");
        let used = assert_close(&case, &y.values, &answers.values(&key), answers.bound(&key));
        println!("{case}: {used:.2} of the bound");
    }
    answers.all_seen("blur");
}

#[test]
fn bilinear_resize_equals_torchvision() {
    let answers = Answers::load();
    for case in answers.cases("resize") {
        let [from, to] = ["from", "to"].map(|word| answers.numbers(&case, word));
        let stored = format!("resize_{}x{}/input", from[0], from[1]);
        let x = if answers.fixture.has(&stored) {
            answers.array(&stored)
        } else {
            generated(&format!("op/resize/{0}x{0}", from[0]), from[0])
        };
        let antialias = answers.fixture.case(&case)["antialias"].as_bool().unwrap();
        let resize = Resize { height: to[0], width: to[1], mode: ResizeMode::Bilinear { antialias } };
        let y = forward(&resize, &[&x]).values;
        let probe = format!("{case}/probe");
        let used = if answers.fixture.has(&probe) {
            let y = at(&y, &answers.indices(&format!("{case}/probe_index")));
            assert_close(&case, &y, &answers.values(&probe), answers.bound(&probe))
        } else {
            let key = format!("{case}/out");
            assert_close(&case, &y, &answers.values(&key), answers.bound(&key))
        };
        println!("{case}: {used:.2} of the bound");
    }
    answers.all_seen("resize");
}

#[test]
fn nearest_resize_takes_the_pixels_that_torch_takes() {
    let answers = Answers::load();
    for case in answers.cases("nearest") {
        let expected = answers.indices(&format!("{case}/source_index"));
        let from: usize = case.split('_').nth(1).unwrap().parse().unwrap();
        let numbers = Array::new(Shape::new(1, 1, 1, from), (0..from).map(|i| i as f32).collect());
        let resize = Resize { height: 1, width: expected.len(), mode: ResizeMode::Nearest };
        let taken: Vec<usize> = forward(&resize, &[&numbers]).values.iter().map(|&i| i as usize).collect();
        assert_eq!(taken, expected, "{case}");
    }
    let x = generated("op/nearest/256x256", 256);
    let y = forward(&Resize { height: 198, width: 198, mode: ResizeMode::Nearest }, &[&x]);
    let taken = at(&y.values, &answers.indices("nearest_256_to_198/probe_index"));
    assert_close("both axes", &taken, &answers.values("nearest_256_to_198/probe"), Bound::EXACT);
    answers.all_seen("nearest");
}

#[test]
fn pad_equals_torchvision() {
    let answers = Answers::load();
    let x = answers.array("pad/input");
    for case in answers.cases("pad") {
        let [left, top, right, bottom] = match answers.numbers(&case, "padding")[..] {
            [all] => [all; 4],
            [x, y] => [x, y, x, y],
            [left, top, right, bottom] => [left, top, right, bottom],
            _ => panic!("{case}: one, two or four numbers"),
        };
        let value = answers.fixture.case(&case)["fill"].as_f64().unwrap() as f32;
        let y = forward(&Pad { left, top, right, bottom, value }, &[&x]);
        assert_close(&case, &y.values, &answers.values(&format!("{case}/out")), Bound::EXACT);
    }
    answers.all_seen("pad");
}

#[test]
fn crop_takes_another_window_from_each_picture() {
    let shape = Shape::new(2, 3, 7, 5);
    let x = Array::new(shape, (0..shape.elements()).map(|k| k as f32).collect());
    // The second one would overhang on both sides, so it starts at 3, 2.
    let corners = Array::new(Shape::new(2, 2, 1, 1), vec![1.0, 2.0, 9.0, 9.0]);
    let y = forward(&Crop { height: 4, width: 3 }, &[&x, &corners]);
    let mut expected = Vec::new();
    for (n, (top, left)) in [(1, 2), (3, 2)].into_iter().enumerate() {
        for (c, row) in (0..3).flat_map(|c| (top..top + 4).map(move |row| (c, row))) {
            expected.extend((left..left + 3).map(|column| (((n * 3 + c) * 7 + row) * 5 + column) as f32));
        }
    }
    assert_eq!(y, Array::new(Shape::new(2, 3, 4, 3), expected));
}
