//! Every operation's gradients against its own forward pass, which other tests compare with stored answers.

mod common;

use common::generator::Generator;
use common::gpu::{Outcome, run_tuned, tunings};
use entoptic::device::Tuning;
use entoptic::ops::{Domain, Sample, samples};
use entoptic::tensor::{Array, Layout, Shape};

const RANDOM: Generator = Generator { seed: 1 };

/// Distance between neighbouring values of [`Domain::Apart`]: two steps of [`Probe::step`] each do not bridge it.
const GAP: f32 = 0.05;

/// One sample with its values, and a name for every stream of numbers.
struct Case {
    name: String,
    sample: Sample,
    tuning: Tuning,
    inputs: Vec<(Array, Layout)>,
    upstream: Array,
}

/// How far to go from an argument, and how well difference and gradient must agree, relative to the gradient's length.
struct Probe {
    step: f32,
    bound: f64,
}

/// The probe for an argument; none where the operation is not differentiated.
fn probe(domain: &Domain) -> Option<Probe> {
    match domain {
        // Nothing is lost in a difference of linear functions but the roundings of the two.
        Domain::Linear(..) => Some(Probe { step: 0.5, bound: 2e-5 }),
        // Roundings of 6e-8 of the result over a step of 1e-2, and the third derivative times its square.
        Domain::Smooth(_) | Domain::Weight(_) | Domain::Divisor(_) | Domain::Apart(_) => {
            Some(Probe { step: 1e-2, bound: 1e-3 })
        }
        Domain::Positive(_) | Domain::Index(..) | Domain::Fixed(_) => None,
    }
}

fn values(name: &str, domain: &Domain) -> Vec<f32> {
    let count = domain.form().0.elements();
    match *domain {
        Domain::Linear(..) | Domain::Smooth(_) | Domain::Weight(_) | Domain::Fixed(_) => {
            RANDOM.tensor_symmetric(name, count, 1.0)
        }
        Domain::Positive(_) | Domain::Divisor(_) => RANDOM.tensor_uniform(name, count, 0.5, 1.5),
        Domain::Index(_, below) => RANDOM.map(name, count, |u| (u * below as f64).floor()),
        Domain::Apart(_) => {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by_key(|&k| RANDOM.hash(name, k as u64));
            let mut values = vec![0.0; count];
            for (rank, k) in order.into_iter().enumerate() {
                // Halves: no value is zero.
                values[k] = (rank as f32 - (count / 2) as f32 + 0.5) * GAP;
            }
            values
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let tuned = samples().into_iter().enumerate().flat_map(|(number, sample)| {
        let tunings = tunings(sample.op.name());
        // Samples cannot be cloned, but made again.
        let again = move |tuning| (number, samples().swap_remove(number), tuning);
        tunings.into_iter().map(again)
    });
    for (number, sample, tuning) in tuned {
        let name = format!("{:?} (sample {number}, {})", sample.op, tuning.tiling);
        let argument = |(i, domain): (usize, &Domain)| {
            let (shape, layout) = domain.form();
            let mut values = values(&format!("{number}/{i}"), domain);
            if matches!(domain, Domain::Apart(_)) {
                // Apart from those of another argument too, farther than one step.
                values.iter_mut().for_each(|value| *value += 0.25 * GAP * (i % 2) as f32);
            }
            (Array::new(shape, values), layout)
        };
        let inputs: Vec<(Array, Layout)> = sample.inputs.iter().enumerate().map(argument).collect();
        let shapes: Vec<Shape> = inputs.iter().map(|(array, _)| array.shape).collect();
        let shape = sample.op.output_shape(&shapes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let upstream = Array::new(shape, RANDOM.tensor_symmetric(&format!("{number}/u"), shape.elements(), 1.0));
        cases.push(Case { name, sample, tuning, inputs, upstream });
    }
    cases
}

impl Case {
    /// Arguments with a gradient.
    fn wanted(&self) -> Vec<bool> {
        self.sample.inputs.iter().map(|domain| probe(domain).is_some()).collect()
    }

    fn gradients(&self) -> Outcome {
        self.gradients_between(0)
    }

    /// The same with other values beside those of the arguments.
    fn gradients_between(&self, margin: usize) -> Outcome {
        let op = &*self.sample.op;
        run_tuned(op, &self.inputs, Some(&self.upstream), &self.wanted(), margin, self.tuning.clone())
    }

    /// The result with another value of one argument.
    fn forward(&self, argument: usize, value: impl Fn(usize, f32) -> f32) -> Vec<f32> {
        let mut inputs = self.inputs.clone();
        inputs[argument].0.values.iter_mut().enumerate().for_each(|(k, slot)| *slot = value(k, *slot));
        run_tuned(&*self.sample.op, &inputs, None, &[], 0, self.tuning.clone()).output.values
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

#[test]
fn gradients_of_linear_operations_are_their_adjoints() {
    let mut worst = (0.0, String::new());
    for case in cases() {
        let outcome = case.gradients();
        for (i, domain) in case.sample.inputs.iter().enumerate() {
            if !matches!(domain, Domain::Linear(..)) {
                continue;
            }
            let label = format!("{}, argument {i}", case.name);
            // Less what does not depend on the argument, such as a bias.
            let at_zero = case.forward(i, |_, _| 0.0);
            let image: Vec<f32> = outcome.output.values.iter().zip(at_zero).map(|(y, zero)| y - zero).collect();
            let gradient = outcome.grads[i].as_ref().expect("it was wanted");
            let there = dot(&image, &case.upstream.values);
            let back = dot(&case.inputs[i].0.values, &gradient.values);
            let scale = norm(&image) * norm(&case.upstream.values);
            assert!(scale > 0.0, "{label}: the result is zero");
            let off = (there - back).abs() / scale;
            // Measured: 1.8e-7, a few roundings of the sums.
            assert!(off <= 5e-7, "{label}: <A x, y> = {there}, <x, A' y> = {back}, off by {off:.1e}");
            if off > worst.0 {
                worst = (off, label);
            }
        }
    }
    println!("worst: {:.1e}, {}", worst.0, worst.1);
}

#[test]
fn gradients_predict_what_a_step_changes() {
    let mut worst = (0.0, String::new());
    for case in cases() {
        let outcome = case.gradients();
        let mut checked = 0;
        for (i, domain) in case.sample.inputs.iter().enumerate() {
            let Some(Probe { step, bound }) = probe(domain) else { continue };
            let label = format!("{}, argument {i}", case.name);
            let gradient = &outcome.grads[i].as_ref().expect("it was wanted").values;
            let v = RANDOM.tensor_symmetric(&format!("{label}/v"), gradient.len(), 1.0);
            let ahead = case.forward(i, |k, x| x + step * v[k]);
            let behind = case.forward(i, |k, x| x - step * v[k]);
            let change = dot(&ahead, &case.upstream.values) - dot(&behind, &case.upstream.values);
            let measured = change / (2.0 * f64::from(step));
            let predicted = dot(gradient, &v);
            // The gradient's length times that of one element of v; the result's, where a gradient may be zero.
            let scale = (norm(gradient) * norm(&v) / (v.len() as f64).sqrt())
                .max(1e-3 * norm(&outcome.output.values) * norm(&case.upstream.values));
            assert!(scale > 0.0, "{label}: result and gradient are zero, which tests nothing");
            let off = (predicted - measured).abs() / scale;
            assert!(off <= bound, "{label}: <grad, v> = {predicted}, measured {measured}, off by {off:.1e}");
            if off / bound > worst.0 {
                worst = (off / bound, format!("{label}: {off:.1e} of {bound:.0e}"));
            }
            checked += 1;
        }
        assert!(checked > 0, "{}: no argument has a gradient", case.name);
    }
    println!("worst: {}", worst.1);
}

#[test]
fn values_may_be_some_channels_of_a_wider_buffer() {
    for case in cases() {
        let outcome = case.gradients();
        let between = case.gradients_between(1);
        assert_eq!(outcome.output, between.output, "{}: result", case.name);
        for (i, (alone, between)) in outcome.grads.iter().zip(&between.grads).enumerate() {
            assert_eq!(alone, between, "{}: gradient of argument {i}", case.name);
        }
    }
}
