//! One convolution with buffers, run in the variants that are asked for.

use std::time::Duration;

use crate::Result;
use crate::device::{Device, Externals, Program, Recorder, Tiling, Tuning, Variant};
use crate::ops::{Backward, Conv2d, Finish, Forward, Live, Op, Pass, Problem, Sizes, View};
use crate::oracle::{Number, Values, exact, of};
use crate::tensor::{Array, Layout, Shape};

/// Runs of which the fastest counts.
const RUNS: usize = 3;

/// A problem with buffers, zero at first: kernels take as long whatever is in them.
pub(super) struct Trial<'a> {
    device: &'a Device,
    problem: Problem,
    /// Whether all is done that a kernel can do besides: bias, residual and relu, or another gradient and a mask.
    finished: bool,
    externals: Externals,
}

/// Arguments, in order: the last is a residual, or another gradient of the same value.
const NAMES: [&str; 5] = ["x", "weight", "y", "bias", "addend"];

impl<'a> Trial<'a> {
    /// Of the sum alone, to be timed.
    pub(super) fn new(device: &'a Device, problem: &Problem) -> Result<Self> {
        let mut externals = Externals::new();
        for (name, (shape, layout)) in NAMES.into_iter().zip(forms(problem)) {
            externals.insert(name.to_owned(), device.buffer(name, layout.bytes(shape))?);
        }
        let (shape, layout) = forms(problem)[result_of(problem.pass)];
        externals.insert("result".to_owned(), device.buffer("result", layout.bytes(shape))?);
        Ok(Trial { device, problem: *problem, finished: false, externals })
    }

    /// Of numbers, with all that a kernel can do besides.
    pub(super) fn with_numbers(device: &'a Device, problem: &Problem) -> Result<Self> {
        let trial = Trial { finished: true, ..Trial::new(device, problem)? };
        for (index, (name, (shape, layout))) in NAMES.into_iter().zip(forms(problem)).enumerate() {
            device.write_array(&trial.externals[name], layout, &numbers(index, shape))?;
        }
        Ok(trial)
    }

    fn prepare(&self, variant: Variant) -> Result<Program> {
        let tuning = Tuning { tiling: Tiling::Always(variant), ..self.device.tuning() };
        let mut recorder = Recorder::new(tuning);
        let mut view = |name: &str, (shape, layout): (Shape, Layout)| {
            View::whole(recorder.external(name, layout.bytes(shape)), shape, layout)
        };
        let forms = forms(&self.problem);
        let [x, weight, y, bias, addend] = [0, 1, 2, 3, 4].map(|which| view(NAMES[which], forms[which]));
        let result = view("result", forms[result_of(self.problem.pass)]);
        let op = operation(&self.problem, self.finished);
        let plain = [x, weight];
        let grads = match self.problem.pass {
            Pass::Forward => {
                let all = [x, weight, bias, addend];
                let inputs = if self.finished { &all[..] } else { &plain };
                op.forward(&mut recorder, &Forward { inputs, output: result, saved: &[] });
                [None; 2]
            }
            Pass::GradInput => [Some(result), None],
            Pass::GradWeight => [None, Some(result)],
        };
        let finish = match self.finished {
            true => Finish { addend: Some(addend), mask: Some(Live::Positive) },
            false => Finish::default(),
        };
        let backward = Backward { inputs: &plain, output: y, saved: &[], grad_output: y, grads: &grads, finish };
        op.backward(&mut recorder, &backward)?;
        Program::prepare(self.device, self.problem.pass.entry(), &recorder.finish(), &self.externals)
    }

    /// What a variant computes, in torch's order.
    pub(super) fn result(&self, variant: Variant) -> Result<Array> {
        let result = &self.externals["result"];
        // What another candidate left must not pass for this one's answer.
        self.device.write(result, &vec![f32::NAN; result.bytes as usize / 4])?;
        self.prepare(variant)?.run()?;
        let (shape, layout) = forms(&self.problem)[result_of(self.problem.pass)];
        self.device.download(result, layout, shape)
    }

    /// The least time of some runs; of one, where that took longer than `enough`.
    pub(super) fn fastest(&self, variant: Variant, enough: Duration) -> Result<Duration> {
        let mut program = self.prepare(variant)?;
        // The first run may compile.
        program.run_timed()?;
        let mut fastest = program.run_timed()?;
        for _ in 1..RUNS {
            if fastest > enough {
                break;
            }
            fastest = fastest.min(program.run_timed()?);
        }
        Ok(fastest)
    }
}

/// What [`Trial::with_numbers`] must compute, as the oracle has it.
pub(super) fn answer(problem: &Problem) -> Values {
    let forms = forms(problem);
    let [x, weight, y, bias, addend] = [0, 1, 2, 3, 4].map(|which| numbers(which, forms[which].0));
    let op = operation(problem, true);
    let formula = of(&op).expect("convolutions have a formula");
    match problem.pass {
        Pass::Forward => formula.result(&[x, weight, bias, addend]),
        Pass::GradWeight => formula.gradients(&[x, weight], &y).remove(1).expect("weights have a gradient"),
        Pass::GradInput => {
            let gradient = formula.gradients(&[x.clone(), weight], &y).remove(0).expect("pictures have a gradient");
            Values::fill(x.shape, |at| match exact(&x, at).value > 0.0 {
                true => gradient.at(at) + exact(&addend, at),
                false => Number::ZERO,
            })
        }
    }
}

fn operation(problem: &Problem, finished: bool) -> Conv2d {
    Conv2d { relu: finished && problem.pass == Pass::Forward, ..Conv2d::of(problem.sizes.window) }
}

/// Shapes and layouts of [`NAMES`].
fn forms(problem: &Problem) -> [(Shape, Layout); 5] {
    let Sizes { x, weight, y, .. } = problem.sizes;
    let addend = if problem.pass == Pass::GradInput { x } else { y };
    let picture = |shape| (shape, Layout::Picture);
    [picture(x), (weight, Layout::Filter), picture(y), picture(Shape::channels(y.c())), picture(addend)]
}

/// Which of the arguments has the shape of what a pass computes.
fn result_of(pass: Pass) -> usize {
    match pass {
        Pass::Forward => 2,
        Pass::GradInput => 0,
        Pass::GradWeight => 1,
    }
}

/// Numbers between -0.5 and 0.5, others for each argument.
fn numbers(which: usize, shape: Shape) -> Array {
    let mut state = 0x9e37_79b9_u32.wrapping_mul(2 * which as u32 + 1);
    let values = (0..shape.elements()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    });
    Array::new(shape, values.collect())
}
