//! One layer's candidates, each checked against the kernel without workgroup memory and then timed.

use std::time::Duration;

use crate::Result;
use crate::device::{Device, Externals, Program, Recorder, Tiling, Tuning, Variant};
use crate::ops::{Backward, Conv2d, Finish, Forward, Op, Pass, Problem, Sizes, View};
use crate::tensor::{Layout, Shape};

/// Runs of which the fastest counts.
const RUNS: usize = 3;

/// Pictures of a check: two, so that a kernel that mixes pictures up is found, and not more, for results are read back.
const CHECKED: usize = 2;

/// Relative distance that a candidate may have from the reference. Sums of 100,000 products in another order are up to 1e-5
/// apart; a kernel that misses a summand, a pixel or a channel is far beyond.
const BOUND: f64 = 1e-4;

/// What trying the candidates came to.
pub(super) struct Tried {
    /// The fastest that computes the right thing, if any does.
    pub best: Option<Variant>,
    /// Those that do not, or that the driver refused, and why.
    pub excluded: Vec<(Variant, String)>,
}

/// Tries candidates in order. `reference` is what each must compute, `compute` and `time` run one.
pub(super) fn try_all(
    candidates: &[Variant],
    reference: &[f32],
    mut compute: impl FnMut(Variant) -> Result<Vec<f32>>,
    mut time: impl FnMut(Variant) -> Result<Duration>,
) -> Tried {
    let mut tried = Tried { best: None, excluded: Vec::new() };
    let mut least = Duration::MAX;
    for &candidate in candidates {
        let checked =
            compute(candidate).map_err(|error| error.to_string()).and_then(|result| right(&result, reference));
        match checked.and_then(|()| time(candidate).map_err(|error| error.to_string())) {
            Ok(elapsed) if elapsed < least => {
                least = elapsed;
                tried.best = Some(candidate);
            }
            Ok(_) => {}
            Err(reason) => tried.excluded.push((candidate, reason)),
        }
    }
    tried
}

fn right(result: &[f32], reference: &[f32]) -> Result<(), String> {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let off = length(&mut result.iter().zip(reference).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let off = off / length(&mut reference.iter().map(|value| f64::from(*value)));
    // A NaN is not within the bound.
    if off <= BOUND && result.len() == reference.len() { Ok(()) } else { Err(format!("is off by {off:.1e}")) }
}

/// Tries the variants on one problem.
///
/// # Errors
/// When the device cannot hold the problem, or fails at the reference.
pub(super) fn measure(device: &Device, problem: &Problem, candidates: &[Variant]) -> Result<Tried> {
    let sizes = problem.sizes.with_pictures(problem.sizes.x.n().min(CHECKED));
    let small = Problem { sizes, ..*problem };
    let checked = Trial::new(device, &small)?.with_numbers()?;
    let reference = checked.result(Variant::Registers)?;
    let timed = Trial::new(device, problem)?;
    Ok(try_all(candidates, &reference, |variant| checked.result(variant), |variant| timed.fastest(variant)))
}

/// The least time of three in which a variant computes a problem, for benches.
///
/// # Errors
/// When the device cannot hold the problem, or fails.
pub fn time(device: &Device, problem: &Problem, variant: Variant) -> Result<Duration> {
    Trial::new(device, problem)?.fastest(variant)
}

/// A problem with buffers, zero at first: kernels take as long whatever is in them.
struct Trial<'a> {
    device: &'a Device,
    problem: Problem,
    externals: Externals,
}

const NAMES: [&str; 3] = ["x", "weight", "y"];

impl<'a> Trial<'a> {
    fn new(device: &'a Device, problem: &Problem) -> Result<Self> {
        let mut externals = Externals::new();
        for (name, (shape, layout)) in NAMES.into_iter().zip(forms(problem)) {
            externals.insert(name.to_owned(), device.buffer(name, layout.bytes(shape))?);
        }
        let (shape, layout) = forms(problem)[result_of(problem.pass)];
        externals.insert("result".to_owned(), device.buffer("result", layout.bytes(shape))?);
        Ok(Trial { device, problem: *problem, externals })
    }

    fn with_numbers(self) -> Result<Self> {
        for (name, (shape, layout)) in NAMES.into_iter().zip(forms(&self.problem)) {
            self.device.write(&self.externals[name], &numbers(shape, layout))?;
        }
        Ok(self)
    }

    fn prepare(&self, variant: Variant) -> Result<Program> {
        let tuning = Tuning { tiling: Tiling::Always(variant), ..self.device.tuning() };
        let mut recorder = Recorder::new(tuning);
        let mut view = |name: &str, (shape, layout): (Shape, Layout)| {
            View::whole(recorder.external(name, layout.bytes(shape)), shape, layout)
        };
        let forms = forms(&self.problem);
        let [x, weight, y] = [0, 1, 2].map(|which| view(NAMES[which], forms[which]));
        let result = view("result", forms[result_of(self.problem.pass)]);
        let Problem { pass, sizes: Sizes { window, .. } } = self.problem;
        let op = Conv2d::of(window);
        let inputs = [x, weight];
        let grads = match pass {
            Pass::Forward => {
                op.forward(&mut recorder, &Forward { inputs: &inputs, output: result, saved: &[] });
                [None; 2]
            }
            Pass::GradInput => [Some(result), None],
            Pass::GradWeight => [None, Some(result)],
        };
        let finish = Finish::default();
        let backward = Backward { inputs: &inputs, output: y, saved: &[], grad_output: y, grads: &grads, finish };
        op.backward(&mut recorder, &backward)?;
        Program::prepare(self.device, pass.entry(), &recorder.finish(), &self.externals)
    }

    fn result(&self, variant: Variant) -> Result<Vec<f32>> {
        let result = &self.externals["result"];
        // What another candidate left must not pass for this one's answer.
        self.device.write(result, &vec![f32::NAN; result.bytes as usize / 4])?;
        self.prepare(variant)?.run()?;
        self.device.readback(result.bytes)?.read(self.device, result)
    }

    fn fastest(&self, variant: Variant) -> Result<Duration> {
        let mut program = self.prepare(variant)?;
        // The first run may compile.
        program.run_timed()?;
        let mut fastest = Duration::MAX;
        for _ in 0..RUNS {
            fastest = fastest.min(program.run_timed()?);
        }
        Ok(fastest)
    }
}

/// Shapes and layouts of x, weight and y.
fn forms(problem: &Problem) -> [(Shape, Layout); 3] {
    let Sizes { x, weight, y, .. } = problem.sizes;
    [(x, Layout::Picture), (weight, Layout::Filter), (y, Layout::Picture)]
}

/// Which of the three has the shape of what a pass computes.
fn result_of(pass: Pass) -> usize {
    match pass {
        Pass::Forward => 2,
        Pass::GradInput => 0,
        Pass::GradWeight => 1,
    }
}

/// Numbers between -0.5 and 0.5 in the engine's order, zero where channels are filled up.
fn numbers(shape: Shape, layout: Layout) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let values = (0..shape.elements()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    });
    layout.pack(shape, &values.collect::<Vec<f32>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::device::Tile;

    const FAST: Variant = Variant::Tiled(Tile::T128x128, 1);
    const SLOW: Variant = Variant::Tiled(Tile::T64x64, 1);
    const SLOWEST: Variant = Variant::Registers;

    fn milliseconds(variant: Variant) -> Result<Duration> {
        Ok(Duration::from_millis(if variant == FAST {
            1
        } else if variant == SLOW {
            2
        } else {
            3
        }))
    }

    #[test]
    fn the_fastest_of_those_that_are_right_wins() {
        let right = |_| Ok(vec![1.0, 2.0, 3.0]);
        let tried = try_all(&[SLOWEST, FAST, SLOW], &[1.0, 2.0, 3.0], right, milliseconds);
        assert_eq!(tried.best, Some(FAST));
        assert!(tried.excluded.is_empty());
    }

    #[test]
    fn wrong_and_refused_candidates_are_excluded_and_named() {
        for wrong in [vec![1.0, 2.0, 3.01], vec![1.0, f32::NAN, 3.0], vec![1.0, 2.0]] {
            let compute = |variant| Ok(if variant == FAST { wrong.clone() } else { vec![1.0, 2.0, 3.0] });
            let tried = try_all(&[FAST, SLOWEST, SLOW], &[1.0, 2.0, 3.0], compute, milliseconds);
            assert_eq!(tried.best, Some(SLOW));
            assert_eq!(tried.excluded.len(), 1);
            assert_eq!(tried.excluded[0].0, FAST);
        }
        let refuse = |_| Err(Error::Gpu { label: "conv2d".into(), reason: "no such thing".into() });
        let tried = try_all(&[FAST], &[1.0], refuse, milliseconds);
        assert_eq!((tried.best, tried.excluded), (None, vec![(FAST, "conv2d: no such thing".to_owned())]));
    }
}
