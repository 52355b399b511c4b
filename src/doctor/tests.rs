//! Kernels that are broken on purpose are caught and named; so is what was forgotten.

mod orders;

use super::row::Finding;
use super::*;
use std::sync::Arc;

use crate::device::{AdapterChoice, Shader, expand};
use crate::ops::{Conv2d, Domain, samples};
use crate::tensor::Shape;

fn device() -> Device {
    let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
    Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter")
}

/// Mistakes as drivers and people make them: file, what is written there, what is written instead, the operation, the kernels
/// that are named.
const BROKEN: &[(&str, &str, &str, &str, &str)] = &[
    ("relu", "where_positive(g, v)", "g", "relu", "relu.grad_input"),
    // A NaN that becomes a zero, or the other number.
    ("relu", "where_positive(v, v)", "max(v, vec4<f32>(0.0))", "relu", "relu.forward"),
    ("minimum", "select(select(min(u, v), u, is_nan(u)), v, is_nan(v))", "min(u, v)", "minimum", "minimum.forward"),
    ("minimum", "let", "let  ", "minimum", ""),
    ("add", "+ b[pixel", "- b[pixel", "add", "add.forward"),
    ("max_pool2d", "(v > best)", "(v >= best)", "max_pool2d", "max_pool2d.grad_input"),
    ("batch_norm_train", "* (n / (n - 1.0))", "", "batch_norm_train", "batch_norm_train.statistics"),
    (
        "cross_entropy",
        "exp(logits(n, c) - m) / total",
        "exp(logits(n, c) - m)",
        "cross_entropy",
        "cross_entropy.grad_input",
    ),
    ("total_variation", "abs(", "(", "total_variation", "total_variation.forward"),
    // A slope at the limit of a clip, a mean that counts the lanes that fill up, a product that forgets to add its pixels up.
    ("activation", "(x > vec4<f32>(a)) &", "(x >= vec4<f32>(a)) &", "activation", "activation.grad_input"),
    (
        "layer_norm",
        "real(c, x[from_group + c] - mean);",
        "x[from_group + c] - mean;",
        "layer_norm",
        "layer_norm.forward",
    ),
    ("binary", "part += share(", "part = share(", "binary", "binary.grad_sum"),
    ("softmax", "v * (g - mean)", "v * g", "softmax", "softmax.grad_input"),
];

fn examined(device: &Device, only: &str) -> Vec<Row> {
    let settings = Settings { only: only.into(), ..Settings::default() };
    examine(device, &settings, &mut |_| {}).expect("shapes fit").rows
}

fn wrong(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|row| row.verdict == Verdict::Wrong).collect()
}

#[test]
fn broken_kernels_are_caught_and_named() {
    for &(file, written, instead, only, kernel) in BROKEN {
        let shader = shaders().find(|shader| shader.name == file).expect("a shader of that name");
        let text = expand(shader.text);
        assert!(text.contains(written), "{file} no longer has {written}");
        let device = device();
        device.rewrite_shader(shader, move |text| text.replacen(written, instead, 1));
        let rows = examined(&device, only);
        let wrong = wrong(&rows);
        if kernel.is_empty() {
            // The same kernel in other words is as good.
            assert!(wrong.is_empty() && !rows.is_empty(), "{file}: {wrong:?}");
            continue;
        }
        assert!(!wrong.is_empty(), "{file} without {written} passes");
        assert!(wrong.iter().any(|row| row.kernel.contains(kernel) && !row.why.is_empty()), "{file}: {wrong:?}");
        assert!(wrong.iter().all(|row| row.kernel.contains(only)), "others are blamed for {file}: {wrong:?}");
    }
}

/// What a compiler may do to a kernel with tiles: leave out a barrier, the last step of a sum, a part of it.
#[test]
fn a_broken_tile_is_caught_and_named_with_its_size() {
    let shader = shaders().find(|shader| shader.name == "conv2d_tiled").expect("a shader of that name");
    let device = device();
    let written = "params.splits; split++";
    let text = expand(shader.text);
    assert!(text.contains(written), "conv2d_tiled no longer has {written}");
    device.rewrite_shader(shader, move |text| text.replacen(written, "params.splits - 1u; split++", 1));
    let domains = [Domain::linear(Shape::new(1, 64, 6, 5)), Domain::filter(Shape::new(40, 64, 3, 3))];
    let case = Case::new(Arc::new(Conv2d::new(1, 1)), &domains, 1, false).expect("shapes fit");
    let mut tally = Tally::default();
    let case = Case { tiles: cases::Tiles::Each, ..case };
    kernels::examine(&device, &case, 0, false, &mut tally).expect("records");
    let wrong = wrong(&tally.rows);
    assert!(!wrong.is_empty());
    assert!(wrong.iter().all(|row| row.kernel.contains("conv2d_tiled.reduce")), "{wrong:?}");
    assert!(tally.rows.iter().any(|row| row.kernel == "conv2d.forward" && row.verdict == Verdict::Right));
    assert!(wrong.iter().any(|row| row.variant == "64x64"), "{wrong:?}");
}

#[test]
fn every_operation_of_the_list_has_a_formula() {
    for sample in samples() {
        assert!(crate::oracle::of(&*sample.op).is_some(), "{}", sample.op.name());
    }
}

#[test]
fn kernels_that_nothing_reaches_are_wrong() {
    let device = device();
    let mut tally = Tally::default();
    uncovered(&device, &mut tally);
    let entries: usize = shaders().map(|shader| entries(shader.text).count()).sum();
    let marks: usize = shaders().map(|shader| shader.text.matches("@compute").count()).sum();
    assert_eq!((tally.rows.len(), entries), (marks, marks));
    let skipped: Vec<&Row> = tally.rows.iter().filter(|row| row.verdict == Verdict::Skipped).collect();
    assert!(skipped.iter().all(|row| row.kernel.starts_with("conv2d_subgroup.") && !row.why.is_empty()));
    assert!(tally.rows.iter().any(|row| row.kernel == "relu.forward" && row.verdict == Verdict::Wrong));
}

#[test]
fn a_row_keeps_its_worst_case_and_stays_wrong() {
    let mut tally = Tally::default();
    let kernels = ["a.forward".to_owned()];
    let mut enter = |share, at: &str| {
        tally.enter(&kernels, "", Finding { share, trouble: None, at: at.into() });
    };
    enter(0.2, "first");
    enter(0.5, "second");
    enter(0.1, "third");
    enter(1.5, "fourth");
    enter(0.9, "fifth");
    enter(f64::INFINITY, "sixth");
    let row = &tally.rows[0];
    assert_eq!((row.cases, row.verdict, row.at.as_str()), (6, Verdict::Wrong, "fourth"));
    assert_eq!((row.why.as_str(), row.worst), ("1.500 times the bound", None));
}

#[test]
fn a_lost_device_is_said_and_ends_the_examination() {
    let device = device();
    device.destroy();
    let report = examine(&device, &Settings::default(), &mut |_| {}).expect("reports");
    assert_eq!(report.verdict, Verdict::Wrong);
    assert!(report.wrong().any(|row| row.kernel == "the device" && row.why.contains("lost")), "{:?}", report.rows);
}

#[test]
fn an_adapter_that_cannot_be_opened_is_a_failure_and_does_not_end_the_others() {
    let mut absent = device().adapter().clone();
    absent.index = 99;
    absent.name = "a card that was pulled out".into();
    let checkup = Checkup::of(&[absent], &Settings { only: "relu".into(), ..Settings::default() }, &mut |_| {});
    assert!(checkup.reports.is_empty());
    let complaints = checkup.complaints();
    assert!(complaints[0].contains("a card that was pulled out") && complaints[0].contains("no adapter matches"));
    // Twice the same one: nothing lies between its pictures, for there are none, which is said.
    let twice = [device().adapter().clone(), device().adapter().clone()];
    let checkup = Checkup::of(&twice, &Settings { only: "relu".into(), ..Settings::default() }, &mut |_| {});
    assert_eq!((checkup.reports.len(), checkup.across.len()), (2, 1));
    assert_eq!(checkup.across[0].verdict, Verdict::Wrong);
}
