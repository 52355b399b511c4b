//! Candidates for a layer: each compared with the oracle on a small one of its kind, then with the kernel without workgroup memory
//! on a piece of it, and timed.

use std::collections::HashMap;
use std::time::Duration;

use super::trial::{Trial, answer};
use crate::device::{Device, Variant};
use crate::ops::Problem;
use crate::oracle::Values;
use crate::tensor::Array;
use crate::{Error, Result};

/// Pictures of a piece: two, so that a kernel that mixes pictures up is found, and not more, for results are read back.
const CHECKED: usize = 2;

/// Operations of a piece. A GPU of ten years ago needs a fifth of a second for it by a kernel that is far from good, a tenth of
/// what a watchdog allows.
const PIECE: usize = 2_000_000_000;

/// A layer is timed whole where that should take no longer, as its piece tells; else the piece must do.
const WHOLE: Duration = Duration::from_millis(200);

/// A candidate whose first run takes so many times as long as the best so far is not run again.
const HOPELESS: u32 = 4;

/// Relative distance that a candidate may have from the reference. Sums of 100,000 products in another order are up to 1e-5
/// apart; a kernel that misses a summand, a pixel or a channel is far beyond.
const BOUND: f64 = 1e-4;

/// What trying the candidates came to.
#[derive(Default)]
pub(super) struct Tried {
    /// The fastest that computes the right thing, if any does.
    pub best: Option<Variant>,
    /// Those that do not, or that the driver refused, and why.
    pub excluded: Vec<(Variant, String)>,
    /// Those of them with which the device was lost.
    pub deadly: Vec<Variant>,
    /// Whether the device was lost again at once, so that nothing can be said of what comes next.
    pub broken: bool,
}

/// Told which candidate is about to run, before it does.
pub(super) type Mark<'a> = &'a mut dyn FnMut(Variant);

/// Where candidates run: a device of their own, made anew when one of them is the end of it.
pub(super) struct Bench {
    parent: Device,
    device: Option<Device>,
    answers: HashMap<Problem, Values>,
    /// What comparing a variant with the oracle came to.
    compared: HashMap<(Problem, Variant), Option<String>>,
}

impl Bench {
    pub(super) fn new(parent: Device) -> Bench {
        Bench { parent, device: None, answers: HashMap::new(), compared: HashMap::new() }
    }

    fn device(&mut self) -> Result<Device> {
        if self.device.as_ref().is_none_or(Device::is_lost) {
            self.device = Some(self.parent.another()?);
        }
        Ok(self.device.clone().expect("it has just been made"))
    }

    /// Tries the candidates in order. The kernel without workgroup memory is no reference where it is not `safe` to run.
    ///
    /// # Errors
    /// When a device cannot hold the problem.
    pub(super) fn measure(
        &mut self,
        problem: &Problem,
        candidates: &[Variant],
        safe: bool,
        mark: Mark,
    ) -> Result<Tried> {
        let piece = Problem { sizes: problem.sizes.with_pictures(problem.sizes.x.n().min(CHECKED)), ..*problem };
        let piece = Problem { sizes: piece.sizes.within(PIECE), ..piece };
        let mut reference: Option<Option<Array>> = None;
        try_all(candidates, |variant, best| {
            mark(variant);
            let device = self.device()?;
            self.compare(&device, problem, variant)?;
            let checked = Trial::with_numbers(&device, &piece)?;
            if safe && reference.is_none() {
                mark(Variant::Registers);
                // It has been compared with the oracle like any other; where it is wrong itself, it is no measure of others.
                let compared = self.compare(&device, problem, Variant::Registers);
                reference = Some(match compared.and_then(|()| checked.result(Variant::Registers)) {
                    Err(error @ Error::OutOfMemory { .. }) => return Err(error),
                    Err(error) if device.is_lost() => return Err(error),
                    computed => computed.ok(),
                });
                mark(variant);
            }
            if let Some(Some(expected)) = &reference {
                near(&checked.result(variant)?.values, &expected.values).map_err(wrong)?;
            }
            let enough = best.saturating_mul(HOPELESS);
            let ratio = problem.sizes.flops() as f64 / piece.sizes.flops() as f64;
            let enough_of_piece = Duration::try_from_secs_f64(enough.as_secs_f64() / ratio).unwrap_or(Duration::MAX);
            let of_piece = Trial::new(&device, &piece)?.fastest(variant, enough_of_piece)?;
            let whole = of_piece.mul_f64(ratio);
            if piece == *problem || whole > WHOLE.min(enough) {
                return Ok(whole);
            }
            Trial::new(&device, problem)?.fastest(variant, enough)
        })
    }

    /// Compares a variant with the oracle, on a small problem like this one.
    ///
    /// # Errors
    /// [`Error::Gpu`] when it computes something else; those of the device.
    pub(super) fn verify(&mut self, problem: &Problem, variant: Variant) -> Result<()> {
        let device = self.device()?;
        self.compare(&device, problem, variant)
    }

    fn compare(&mut self, device: &Device, problem: &Problem, variant: Variant) -> Result<()> {
        let small = problem.small();
        if !self.compared.contains_key(&(small, variant)) {
            let found = Trial::with_numbers(device, &small)?.result(variant)?;
            let right = self.answers.entry(small).or_insert_with(|| answer(&small));
            let off = right.numbers.iter().zip(&found.values).position(|(right, found)| {
                let off = (f64::from(*found) - right.value).abs();
                let bound = right.error.max(f64::from(f32::MIN_POSITIVE));
                off.is_nan() || off > bound
            });
            let said = off.map(|at| format!("computes {}, not {}", found.values[at], right.numbers[at].value));
            self.compared.insert((small, variant), said);
        }
        match &self.compared[&(small, variant)] {
            None => Ok(()),
            Some(said) => Err(wrong(said.clone())),
        }
    }
}

fn wrong(reason: String) -> Error {
    Error::Gpu { label: "its result".into(), reason }
}

/// Tries candidates in order. `attempt` says how long one takes, and is told the least time so far.
fn try_all(candidates: &[Variant], mut attempt: impl FnMut(Variant, Duration) -> Result<Duration>) -> Result<Tried> {
    let mut tried = Tried::default();
    let mut least = Duration::MAX;
    let mut alive = true;
    for &candidate in candidates {
        match attempt(candidate, least) {
            Ok(elapsed) if elapsed < least => {
                least = elapsed;
                tried.best = Some(candidate);
                alive = true;
            }
            Ok(_) => alive = true,
            Err(error @ (Error::OutOfMemory { .. } | Error::BufferLimit { .. })) => return Err(error),
            // The first may have been the fault of the candidate; a device that is made anew and lost at once is beyond that.
            Err(Error::DeviceLost { .. } | Error::DeviceRequest { .. }) if !alive => {
                tried.broken = true;
                return Ok(tried);
            }
            Err(error) => {
                if matches!(error, Error::DeviceLost { .. }) {
                    tried.deadly.push(candidate);
                    alive = false;
                }
                tried.excluded.push((candidate, error.to_string()));
            }
        }
    }
    Ok(tried)
}

fn near(result: &[f32], reference: &[f32]) -> Result<(), String> {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let off = length(&mut result.iter().zip(reference).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let off = off / length(&mut reference.iter().map(|value| f64::from(*value)));
    // A NaN is not within the bound.
    if off <= BOUND && result.len() == reference.len() { Ok(()) } else { Err(format!("is off by {off:.1e}")) }
}

/// The least time of three in which a variant computes a problem, for benches.
///
/// # Errors
/// When the device cannot hold the problem, or fails.
pub fn time(device: &Device, problem: &Problem, variant: Variant) -> Result<Duration> {
    Trial::new(device, problem)?.fastest(variant, Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Tile;

    const FAST: Variant = Variant::Tiled(Tile::T128x128, 1);
    const SLOW: Variant = Variant::Tiled(Tile::T64x64, 1);
    const SLOWEST: Variant = Variant::Registers;

    fn milliseconds(variant: Variant) -> Duration {
        Duration::from_millis(if variant == FAST {
            1
        } else if variant == SLOW {
            2
        } else {
            3
        })
    }

    fn lost() -> Error {
        Error::DeviceLost { label: "conv2d".into(), reason: "reset".into() }
    }

    #[test]
    fn the_fastest_of_those_that_are_right_wins() {
        let mut told = Vec::new();
        let tried = try_all(&[SLOWEST, FAST, SLOW], |variant, best| {
            told.push(best);
            Ok(milliseconds(variant))
        });
        let tried = tried.expect("nothing fails");
        assert_eq!(tried.best, Some(FAST));
        assert!(tried.excluded.is_empty() && tried.deadly.is_empty() && !tried.broken);
        assert_eq!(told, [Duration::MAX, milliseconds(SLOWEST), milliseconds(FAST)]);
    }

    #[test]
    fn wrong_and_refused_candidates_are_excluded_and_named() {
        let refuse = |variant, _| match variant == FAST {
            true => Err(Error::Gpu { label: "conv2d".into(), reason: "no such thing".into() }),
            false => Ok(milliseconds(variant)),
        };
        let tried = try_all(&[FAST, SLOWEST, SLOW], refuse).expect("others are tried");
        assert_eq!((tried.best, tried.excluded), (Some(SLOW), vec![(FAST, "conv2d: no such thing".to_owned())]));
        for bad in [vec![1.0, 2.0, 3.01], vec![1.0, f32::NAN, 3.0], vec![1.0, 2.0]] {
            assert!(near(&bad, &[1.0, 2.0, 3.0]).is_err(), "{bad:?}");
        }
        assert_eq!(near(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), Ok(()));
    }

    #[test]
    fn a_candidate_that_is_the_end_of_a_device_is_excluded_and_the_next_is_tried() {
        let deadly = |variant, _| if variant == FAST { Err(lost()) } else { Ok(milliseconds(variant)) };
        let tried = try_all(&[FAST, SLOWEST, SLOW], deadly).expect("others are tried");
        assert_eq!((tried.best, &tried.deadly[..], tried.broken), (Some(SLOW), &[FAST][..], false));
        // Where the device is lost twice in a row, it is not the candidate, and nothing has been measured.
        let tried = try_all(&[SLOW, FAST, SLOWEST], |_, _| Err(lost())).expect("it is said otherwise");
        assert_eq!((tried.best, &tried.deadly[..], tried.broken), (None, &[SLOW][..], true));
    }

    #[test]
    fn a_device_without_memory_says_nothing_of_a_candidate() {
        let full = |_, _| Err(Error::OutOfMemory { label: "x".into() });
        assert!(matches!(try_all(&[FAST, SLOW], full), Err(Error::OutOfMemory { .. })));
    }
}
