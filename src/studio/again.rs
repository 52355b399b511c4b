//! A picture made again from what is inside of its file, and compared.

use std::ops::ControlFlow;

use super::design::{Aim, Design, Init, Target};
use super::goal::Goal;
use super::loaded::Loaded;
use super::making::{Making, Picture};
use super::note::{Ear, Note};
use super::origin::{Origin, Record};
use super::sources::Sources;
use crate::analysis::eight_bit;
use crate::device::Device;
use crate::picture;
use crate::synthesis::octave::{Stream, initial};
use crate::synthesis::recipe::Recipe;
use crate::synthesis::{Event, run};
use crate::tensor::Array;
use crate::{Error, Result};

/// Where a picture is computed otherwise (another adapter, driver or version), steps amplify what rounding leaves: after some
/// dozens a picture may be as far from itself as from another seed's. So three things are asked there; `docs/gallery.md` has
/// the measurements. How far the loss before the first step may be off, in its own unit and as a share of it: with other kernels
/// it came out the same, with another seed at least 0.002 off.
const FIRST_LOSS: [f32; 2] = [1e-5, 1e-6];

/// How many times as much, at most, one of the two falls as the other.
const FALL: f32 = 1.5;

/// How far off the picture may be, as a share of the distance to the picture of the next seed.
const PIXELS: f64 = 1.25;

/// A picture made again.
pub struct Again {
    /// What made it now.
    pub origin: Origin,
    /// Not yet rounded to 256 levels.
    pub picture: Array,
    /// What it starts from, at its size.
    start: Array,
}

/// Told of the events of a run that makes something again; ends it early with [`ControlFlow::Break`].
pub type Watch<'a> = &'a mut dyn FnMut(&Aim, Event) -> ControlFlow<()>;

impl Again {
    /// Makes a picture again that was read from its file.
    ///
    /// # Errors
    /// [`Error::Request`] where what it says of itself does not agree, weights or pictures are nowhere, or `watch` ended the run;
    /// those of [`run`].
    pub fn of(ear: Ear, device: &Device, sources: &Sources, record: &Record, watch: Watch) -> Result<Self> {
        let Origin { design, steps, demo, .. } = &record.origin;
        let picture = again(ear, device, sources, (design, &record.recipe), Some(*steps), watch)?;
        Ok(Again {
            origin: Origin::new(
                picture.origin.design,
                (picture.origin.steps, picture.origin.loss),
                picture.origin.place,
                *demo,
            ),
            ..picture
        })
    }

    /// Whether it came out as it was, and how near, for people. `other` makes the picture of the next seed.
    ///
    /// # Errors
    /// Those of `other`.
    pub fn compared(
        &self,
        record: &Record,
        other: impl FnOnce() -> Result<Array>,
    ) -> Result<std::result::Result<String, String>> {
        if self.picture.shape != record.picture.shape {
            return Ok(Err(format!("comes out as {}, and is {}", self.picture.shape, record.picture.shape)));
        }
        let (now, then) = (picture::rgb(&self.picture), picture::rgb(&record.picture));
        let differences = self.origin.place.differences(&record.origin.place);
        let elsewhere = differences.join(", ");
        if now == then {
            return Ok(Ok(match differences.is_empty() {
                true => "comes out the same, bit by bit, on the same adapter by the same version".into(),
                false => format!("comes out the same, bit by bit, though with {elsewhere}"),
            }));
        }
        let differing = now.iter().zip(&then).filter(|(a, b)| a != b).count();
        let off = distance(&now, &then);
        let many = format!("{differing} of {} values differ, by {off:.2} of 256 levels", now.len());
        if differences.is_empty() {
            return Ok(Err(format!("does not come out the same, on the same adapter by the same version: {many}")));
        }
        let next = distance(&now, &picture::rgb(&other()?));
        // Where a photograph is the start, nothing may depend on the seed; then the way from there is the measure.
        let (what, scale) = match next {
            0.0 => ("its start", distance(&now, &picture::rgb(&self.start))),
            next => ("the picture of the next seed", next),
        };
        let [(first, fall), (first_then, fall_then)] = [&self.origin, &record.origin].map(|origin| {
            let [first, last] = origin.loss.map(|loss| loss.unwrap_or(f32::NAN));
            (first, first - last)
        });
        let said = format!(
            "{many}, {:.2} of the distance to {what}; its loss begins with {first}, then {first_then}, and falls by {fall}, then \
             {fall_then}; with {elsewhere}",
            off / scale
        );
        let [of_fall, of_itself] = FIRST_LOSS;
        let allowed = of_fall * fall_then.abs() + of_itself * first_then.abs();
        let wrong = if (first - first_then).abs() > allowed || first.is_nan() != first_then.is_nan() {
            format!("its loss before the first step differs by more than {allowed}")
        } else if (fall - fall_then).abs() > allowed && !(1.0 / FALL..=FALL).contains(&(fall / fall_then)) {
            format!("one falls more than {FALL} times as much as the other")
        } else if off > PIXELS * scale {
            format!("it is more than {PIXELS} times as far off as {what}")
        } else {
            return Ok(Ok(format!("comes out alike, as far as can be asked elsewhere: {said}")));
        };
        Ok(Err(format!("does not come out alike, {wrong}: {said}")))
    }
}

/// Root of the mean square of all differences, in levels of 256.
fn distance(a: &[u8], b: &[u8]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// Makes what a design and a recipe say, up to a step.
///
/// # Errors
/// As [`Again::of`].
pub fn again(
    ear: Ear,
    device: &Device,
    sources: &Sources,
    (design, recipe): (&Design, &Recipe),
    steps: Option<usize>,
    watch: Watch,
) -> Result<Again> {
    let networks = sources.networks(device, &design.networks)?;
    let networks: Vec<&Loaded> = networks.iter().collect();
    design.objective.check(&networks)?;
    let mut making = Making::with_recipe(device, networks, recipe.clone());
    let mut index = None;
    if let Init::Image { file, sha256, picture } = &design.init {
        (making.start, index) = (Some(sources.image(file, sha256)?), *picture);
    }
    let goal = match &design.objective {
        Aim::Match { of, .. } => {
            let aimed_at = target(ear, device, sources, of, watch)?;
            Some(Goal::new(ear, &making, design.objective.place(&making), &aimed_at)?.values)
        }
        _ => None,
    };
    let stream = Stream { seed: design.seed, picture: design.stream };
    let picture = Picture { name: String::new(), stream, aim: design.objective.clone() };
    let mut job = making.job(std::slice::from_ref(&picture), goal.as_ref())?;
    if let (Some(start), Some(index)) = (&job.start, index) {
        let there = start.shape.n();
        require(index < there, || format!("it starts from picture {index} of a file that has {there}"))?;
        job.start = Some(start.picture(index));
    }
    let all = recipe.steps();
    let steps = steps.unwrap_or(all);
    require((1..=all).contains(&steps), || format!("it was made in {steps} steps, its recipe has {all}"))?;
    // A picture of a run that was stopped is compared with the same step.
    job.report_every = if steps < all { 1 } else { job.report_every };
    let finished = run(&making.device, &job, &mut |event| {
        let there = matches!(&event, Event::Progress(progress) if progress.step == steps);
        if there { ControlFlow::Break(()) } else { watch(&picture.aim, event) }
    })?;
    require(finished.steps == steps, || format!("stopped after {} steps; nothing was written", finished.steps))?;
    let origin = making.origin(&picture, 0, design.init.clone(), &finished);
    let start = match job.start {
        Some(start) => start,
        None => initial(recipe, stream)?,
    };
    let made = finished.pictures.shape;
    let start = picture::resize(&start, [made.h(), made.w()]);
    Ok(Again { origin, picture: finished.pictures, start })
}

/// What a picture is to match, as it was read from its file.
fn target(ear: Ear, device: &Device, sources: &Sources, of: &Target, watch: Watch) -> Result<Array> {
    Ok(match of {
        Target::Image { image, image_sha256 } => sources.read_image(image, image_sha256)?,
        Target::Given { picture, picture_sha256, .. } => sources.read_image(picture, picture_sha256)?,
        Target::Made { network, sha256, class, name, made, recipe } => {
            let [maker] = made.networks.as_slice() else {
                return Err(Error::request("it matches a picture by one network, not by several"));
            };
            let told = matches!(&made.objective, Aim::Class { class: c, name: n, .. } if (c, n) == (class, name));
            require(told && (network, sha256) == (&maker.network, &maker.sha256), || {
                "what it says of the picture that it matches does not agree with itself".into()
            })?;
            let recipe = Recipe::parse("of the picture that it matches", recipe)?;
            ear(Note::Info("the picture that it matches:".into()));
            eight_bit(&again(ear, device, sources, (made, &recipe), None, watch)?.picture)
        }
    })
}

fn require(fits: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Request { reason: reason() }) }
}
