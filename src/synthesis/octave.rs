//! The schedule of a run: every number of every step, known before the first one.
//!
//! # Randomness
//! Each random number comes from ChaCha8. The key is four little-endian 64-bit words: the seed, the picture, the use
//! (0 initial picture, 1 crop, 2 shift, 3 scale, 4 rotation, 5 flip, 6 colour), zero; the stream is
//! `stage * 2^32 + step`. So a picture's numbers depend on nothing but its seed and its name: not on the batch it
//! travels in, its place there, or what else the recipe draws.
//!
//! One file past 500 lines: all numbers of a step are drawn in one order, which is part of what a seed means, and almost half of the
//! file are tests of them.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::recipe::{Recipe, Start};
use super::spectrum;
use super::stage::{MAX_SIZE, Stage, scaled, share};
use crate::error::{Error, Result};
use crate::ops::Irfft2;
use crate::tensor::{Array, Shape};

/// Where a picture's random numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The seed that the user gave.
    pub seed: u64,
    /// A number that names the picture among those of one seed, for instance its class; not its place in the batch.
    pub picture: u64,
}

/// What a random number is used for; the values are part of the random streams and do not change.
#[derive(Clone, Copy)]
enum Use {
    Initial = 0,
    Crop = 1,
    Shift = 2,
    Scale = 3,
    Rotation = 4,
    Flip = 5,
    Colour = 6,
}

impl Stream {
    fn numbers(self, purpose: Use, stage: usize, step: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([self.seed, self.picture, purpose as u64]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut numbers = ChaCha8Rng::from_seed(key);
        numbers.set_stream((stage as u64) << 32 | u64::from(step));
        numbers
    }
}

/// The numbers of a run for a batch of pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    stages: Vec<StageNumbers>,
}

/// The numbers of one stage; the stage of the same place in the recipe says what is done with them.
#[derive(Clone, Debug, PartialEq)]
pub struct StageNumbers {
    /// The steps in order.
    pub steps: Vec<StepNumbers>,
    /// Height and width of the picture before each step, and after the last.
    extents: Vec<[u32; 2]>,
    crop: Option<u32>,
}

/// The numbers of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNumbers {
    /// Step size, in the unit of the stage's step rule.
    pub rate: f32,
    /// Standard deviation of the blur in pixels; 0 where this step does not blur.
    pub sigma: f32,
    /// Taps of the blur, `blur_kernel` of them; 0 .. 1 .. 0 where this step does not blur.
    pub taps: Vec<f32>,
    /// What differs between the pictures of the batch, in its order.
    pub pictures: Vec<PictureNumbers>,
}

/// The random numbers of one step for one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureNumbers {
    /// First row of the window.
    pub top: u32,
    /// First column of the window.
    pub left: u32,
    /// Pixels by which the window moves down and right before the network sees it.
    pub shift: [i32; 2],
    /// Magnification of the window.
    pub scale: f32,
    /// Turn of the window in degrees, counter-clockwise.
    pub rotation: f32,
    /// Whether the window is mirrored left to right.
    pub flip: bool,
    /// Factor by which the picture is multiplied before the step.
    pub brightness: f32,
}

impl PictureNumbers {
    /// What the network sees, as [`Warp`](crate::ops::Warp) takes it: the window shifted, magnified, turned and mirrored, in
    /// this order; for each place of the result, the place in the window.
    pub fn map(&self) -> [f32; 6] {
        let (sin, cos) = f64::from(self.rotation).to_radians().sin_cos();
        let [sin, cos] = [sin, cos].map(|part| part / f64::from(self.scale));
        let mirror = if self.flip { -1.0 } else { 1.0 };
        let [down, right] = self.shift.map(f64::from);
        // Rows count downwards, so that a counter-clockwise turn of the window takes its right end up.
        [mirror * cos, -sin, -right, mirror * sin, cos, -down].map(|entry| entry as f32)
    }
}

impl Schedule {
    /// The numbers of a recipe for a batch of square pictures.
    ///
    /// # Errors
    /// [`Error::Recipe`] when the recipe is not valid.
    pub fn new(recipe: &Recipe, pictures: &[Stream]) -> Result<Schedule> {
        Self::of_shape(recipe, pictures, [1, 1])
    }

    /// The same for pictures of another shape, given as any height and width in that ratio: sizes of the recipe are those of the
    /// shorter side.
    ///
    /// # Errors
    /// As [`Schedule::new`], and [`Error::Recipe`] when the longer side would be longer than [`MAX_SIZE`].
    pub fn of_shape(recipe: &Recipe, pictures: &[Stream], shape: [u32; 2]) -> Result<Schedule> {
        recipe.validate()?;
        let mut stages = Vec::with_capacity(recipe.stages.len());
        let mut left = scaled(shape, recipe.init.size);
        for (index, stage) in recipe.stages.iter().enumerate() {
            let start = stage.start_extent(left);
            let extents: Vec<[u32; 2]> = (0..=stage.iterations).map(|i| stage.extent_at(start, i)).collect();
            if let Some([h, w]) = extents.iter().find(|[h, w]| *h.max(w) > MAX_SIZE) {
                let reason = format!(
                    "the picture would be {w} x {h} pixels, allowed are up to {MAX_SIZE} a side; cut it to a wider shape"
                );
                return Err(Error::Recipe { name: recipe.name.clone(), reason });
            }
            let steps = (0..stage.iterations).zip(&extents);
            let steps = steps.map(|(i, extent)| step_numbers(stage, index, *extent, i, pictures)).collect();
            left = *extents.last().expect("there is one after the last step");
            stages.push(StageNumbers { steps, extents, crop: stage.crop });
        }
        Ok(Schedule { stages })
    }

    /// The stages in order, as many as the recipe has.
    pub fn stages(&self) -> &[StageNumbers] {
        &self.stages
    }

    /// The stages, to give steps other numbers than those drawn: crops found elsewhere, for instance.
    pub fn stages_mut(&mut self) -> &mut [StageNumbers] {
        &mut self.stages
    }

    /// Whether a recipe can run with these numbers for a batch of `pictures`.
    ///
    /// # Errors
    /// [`Error::Recipe`] when stages, steps, pictures or taps are not as many, or a window leaves the picture.
    pub fn check(&self, recipe: &Recipe, pictures: usize) -> Result<()> {
        let fits = |stage: &Stage, numbers: &StageNumbers| {
            numbers.steps.len() < numbers.extents.len()
                && numbers.steps.iter().zip(&numbers.extents).all(|(step, &[h, w])| {
                    let inside = |place: u32, size: u32| {
                        place.checked_add(stage.crop.unwrap_or(size)).is_some_and(|end| end <= size)
                    };
                    step.pictures.len() == pictures
                        && step.taps.len() == stage.blur_kernel as usize
                        && step.pictures.iter().all(|picture| inside(picture.top, h) && inside(picture.left, w))
                })
        };
        let stages = recipe.stages.iter().zip(&self.stages);
        if recipe.stages.len() == self.stages.len() && stages.clone().all(|(stage, numbers)| fits(stage, numbers)) {
            return Ok(());
        }
        let reason = format!("the numbers of its steps do not fit it, or not {pictures} pictures");
        Err(Error::Recipe { name: recipe.name.clone(), reason })
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps.len()).sum()
    }
}

impl StageNumbers {
    /// Height and width of the picture before step `i`; `i = steps.len()` gives the end of the stage. Where two neighbours differ,
    /// step `i` ended with a pad or a resize, and a recording for the new size is needed.
    ///
    /// # Panics
    /// When the stage has fewer than `i` steps.
    pub fn extent_at(&self, i: usize) -> [u32; 2] {
        self.extents[i]
    }

    /// The shorter side of the picture before step `i`.
    ///
    /// # Panics
    /// As [`StageNumbers::extent_at`].
    pub fn size_at(&self, i: usize) -> u32 {
        let [h, w] = self.extents[i];
        h.min(w)
    }

    /// The shorter side of the window that the networks see in step `i`.
    ///
    /// # Panics
    /// When the stage has fewer than `i` steps.
    pub fn window_at(&self, i: usize) -> u32 {
        self.crop.unwrap_or_else(|| self.size_at(i))
    }

    /// Whether any step blurs.
    pub fn blurs(&self) -> bool {
        self.steps.iter().any(|step| step.sigma > 0.0)
    }
}

/// The picture before the first step, [1, 3, size, size]; its values are drawn in row-major order.
///
/// # Errors
/// [`Error::Recipe`] when the recipe starts from a photograph, which only the caller has.
pub fn initial(recipe: &Recipe, stream: Stream) -> Result<Array> {
    let side = recipe.init.size as usize;
    let shape = Shape::new(1, 3, side, side);
    let mut numbers = stream.numbers(Use::Initial, 0, 0);
    let mut fill = |value: &mut dyn FnMut(&mut ChaCha8Rng) -> f64| {
        Array::new(shape, (0..shape.elements()).map(|_| value(&mut numbers) as f32).collect())
    };
    match recipe.init.start {
        Start::Normal { mean, std } => Ok(fill(&mut |n| mean + std * n.sample::<f64, _>(StandardNormal))),
        Start::Uniform { low, range } => Ok(fill(&mut |n| low + range * n.random::<f64>())),
        Start::Spectral { mean, std, decay } => {
            let spectrum = Irfft2::spectrum_shape(shape);
            let scales = Irfft2::scales(decay, [side, side]);
            let waves: Vec<f64> = (0..spectrum.elements()).map(|_| numbers.sample(StandardNormal)).collect();
            let planes = waves.chunks_exact(spectrum.h() * spectrum.w());
            Ok(spectral(planes.map(|waves| spectrum::plane(waves, [side, side], &scales)), shape, mean, std))
        }
        Start::Image => {
            let reason = "starts from an image, and none was given".into();
            Err(Error::Recipe { name: recipe.name.clone(), reason })
        }
    }
}

/// Planes of noise as pictures that have this mean in each channel and this standard deviation in all of them together.
fn spectral(planes: impl Iterator<Item = Vec<f64>>, shape: Shape, mean: f64, std: f64) -> Array {
    let centred = planes.flat_map(|plane| {
        let middle = plane.iter().sum::<f64>() / plane.len() as f64;
        plane.into_iter().map(move |value| value - middle)
    });
    let centred: Vec<f64> = centred.collect();
    let deviation = (centred.iter().map(|value| value * value).sum::<f64>() / centred.len() as f64).sqrt();
    // A single pixel does not deviate.
    let factor = if deviation > 0.0 { std / deviation } else { 0.0 };
    Array::new(shape, centred.into_iter().map(|value| (mean + factor * value) as f32).collect())
}

/// Taps of a Gaussian blur in one direction: exp(-(p/sigma)²/2) at p = -(kernel-1)/2 .. (kernel-1)/2, divided by their
/// sum; 0 .. 1 .. 0 for sigma 0. Matches `torchvision.transforms.functional.gaussian_blur`.
pub fn gaussian_taps(kernel: u32, sigma: f64) -> Vec<f32> {
    let positions = (0..kernel).map(|k| f64::from(k) - f64::from(kernel - 1) / 2.0);
    if sigma == 0.0 {
        return positions.map(|p| if p == 0.0 { 1.0 } else { 0.0 }).collect();
    }
    let bells: Vec<f64> = positions.map(|p| (-0.5 * (p / sigma) * (p / sigma)).exp()).collect();
    let sum: f64 = bells.iter().sum();
    bells.iter().map(|bell| (bell / sum) as f32).collect()
}

/// `(start * (n - i) + end * i) / n`: begins at `start`, approaches `end`, does not reach it.
fn between([start, end]: [f64; 2], i: u32, n: u32) -> f64 {
    (start * f64::from(n - i) + end * f64::from(i)) / f64::from(n)
}

fn step_numbers(stage: &Stage, index: usize, extent: [u32; 2], i: u32, pictures: &[Stream]) -> StepNumbers {
    let blurs = i < share(stage.iterations, stage.blur_until);
    let sigma = if blurs { between(stage.sigma, i, stage.iterations) } else { 0.0 };
    StepNumbers {
        rate: between(stage.rate, i, stage.iterations) as f32,
        sigma: sigma as f32,
        taps: gaussian_taps(stage.blur_kernel, sigma),
        pictures: pictures.iter().map(|&stream| picture_numbers(stage, extent, stream, index, i)).collect(),
    }
}

fn picture_numbers(stage: &Stage, extent: [u32; 2], stream: Stream, index: usize, i: u32) -> PictureNumbers {
    let numbers = |purpose| stream.numbers(purpose, index, i);
    let [top, left] = match stage.crop {
        Some(crop) => corner(extent.map(|size| size - crop), stage.jitter, &mut numbers(Use::Crop)),
        None => [0, 0],
    };
    let reach = stage.shift as i32;
    let mut shift = numbers(Use::Shift);
    PictureNumbers {
        top,
        left,
        shift: [shift.random_range(-reach..=reach), shift.random_range(-reach..=reach)],
        scale: numbers(Use::Scale).random_range(stage.scale[0]..=stage.scale[1]) as f32,
        rotation: numbers(Use::Rotation).random_range(-stage.rotation..=stage.rotation) as f32,
        flip: stage.flip && numbers(Use::Flip).random(),
        brightness: numbers(Use::Colour).random_range(1.0 - stage.colour_jitter..=1.0 + stage.colour_jitter) as f32,
    }
}

/// Top and left of a window with `slack` pixels to spare below and to the right, both ends included.
fn corner(slack: [u32; 2], jitter: Option<u32>, numbers: &mut impl Rng) -> [u32; 2] {
    slack.map(|slack| {
        let centre = slack / 2;
        numbers.random_range(match jitter {
            Some(jitter) => centre.saturating_sub(jitter)..=(centre + jitter).min(slack),
            None => 0..=slack,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthesis::recipe::Init;
    use crate::synthesis::stage::{NearestSizes, Pad};

    const STREAM: Stream = Stream { seed: 1, picture: 11 };

    fn recipe(stages: Vec<Stage>) -> Recipe {
        Recipe { stages, ..Recipe::named("demo").unwrap() }
    }

    fn schedule(name: &str, pictures: &[Stream]) -> Schedule {
        Schedule::new(&Recipe::named(name).unwrap(), pictures).unwrap()
    }

    #[test]
    fn end_values_are_approached_and_not_reached() {
        let schedule = schedule("googlenet", &[STREAM]);
        assert_eq!((schedule.stages().len(), schedule.steps()), (2, 720));
        let first = &schedule.stages()[0].steps;
        assert_eq!([first[0].rate, first[110].rate, first[219].rate], [1.5, 1.25, 1.002_272_7]);
        assert_eq!([first[0].sigma, first[219].sigma], [2.4, 0.807_272_73]);
        let last = &schedule.stages()[1].steps[499];
        assert_eq!([last.rate, last.sigma], [0.4517, 0.4022]);
    }

    #[test]
    fn taps_are_those_of_a_normalised_gaussian() {
        for (sigma, side, centre) in [
            (2.4, 0.323_552_913_154_754_9, 0.352_894_173_690_490_25),
            (1.5, 0.307_801_329_123_469_97, 0.384_397_341_753_06),
            (0.8, 0.238_994_265_622_990_5, 0.522_011_468_754_019),
            (0.4, 0.040_387_893_253_289_34, 0.919_224_213_493_421_3),
            (0.0, 0.0, 1.0),
        ] {
            assert_eq!(gaussian_taps(3, sigma), [side, centre, side].map(|tap: f64| tap as f32));
        }
        assert_eq!(gaussian_taps(1, 2.0), [1.0]);
        let tiny = gaussian_taps(5, 1e-300);
        assert_eq!(tiny, [0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn sizes_follow_pads_resizes_and_stages() {
        let padded = schedule("padded", &[STREAM]);
        let [first, second] = padded.stages() else { panic!("two stages") };
        assert_eq!([first.size_at(0), first.size_at(1), first.size_at(220)], [299, 301, 739]);
        assert_eq!([first.window_at(1), second.window_at(1)], [301, 450]);
        assert_eq!([second.size_at(0), second.size_at(500)], [490, 490]);
        let multiscale = schedule("multiscale", &[STREAM]);
        let stage = &multiscale.stages()[0];
        let sizes: Vec<u32> = (0..7).map(|i| stage.size_at(i)).collect();
        assert_eq!(sizes, [256, 256, 198, 160, 180, 200, 256]);
        assert_eq!(stage.size_at(100), 200);
    }

    #[test]
    fn a_stage_without_size_begins_where_the_one_before_ended() {
        let grown = Stage { pad: Some(Pad { width: 3, value: 0.0 }), ..Stage::new(4, [1.0, 1.0]) };
        let sizes = NearestSizes { sizes: vec![90, 50], until: 1.0 };
        let resized = Stage { nearest_sizes: Some(sizes), ..Stage::new(2, [1.0, 1.0]) };
        let recipe = recipe(vec![grown, resized, Stage::new(1, [1.0, 1.0])]);
        let schedule = Schedule::new(&recipe, &[STREAM]).unwrap();
        let starts: Vec<u32> = schedule.stages().iter().map(|stage| stage.size_at(0)).collect();
        assert_eq!(starts, [112, 136, 50]);
    }

    #[test]
    fn the_blur_stops_at_its_share_of_the_iterations() {
        let schedule = schedule("multiscale", &[STREAM]);
        let stage = &schedule.stages()[0];
        assert!(stage.blurs());
        assert_eq!((stage.steps[74].sigma, stage.steps[75].sigma), (0.8, 0.0));
        assert_eq!(stage.steps[75].taps, [0.0, 1.0, 0.0]);
        let plain = Schedule::new(&recipe(vec![Stage::new(3, [1.0, 1.0])]), &[STREAM]).unwrap();
        assert!(!plain.stages()[0].blurs());
    }

    // The expected numbers come from ChaCha8 written from its specification in another language.
    #[test]
    fn the_numbers_of_a_seed_do_not_change() {
        let schedule = schedule("googlenet", &[STREAM]);
        let corner = |i: usize| schedule.stages()[1].steps[i].pictures[0];
        assert_eq!([0, 1, 499].map(|i| [corner(i).top, corner(i).left]), [[16, 8], [17, 9], [7, 6]]);
        let noise = initial(&Recipe::named("inception_v3").unwrap(), STREAM).unwrap();
        assert_eq!(noise.values[..3], [0.536_236_7, 0.515_323_1, 0.529_022_6]);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_gives_others() {
        let other = Stream { seed: 2, ..STREAM };
        assert_eq!(schedule("demo", &[STREAM]), schedule("demo", &[STREAM]));
        assert_ne!(schedule("demo", &[STREAM]), schedule("demo", &[other]));
        let demo = Recipe::named("demo").unwrap();
        assert_eq!(initial(&demo, STREAM).unwrap(), initial(&demo, STREAM).unwrap());
        assert_ne!(initial(&demo, STREAM).unwrap(), initial(&demo, other).unwrap());
    }

    #[test]
    fn a_picture_alone_has_the_numbers_it_has_in_a_batch() {
        let batch: Vec<Stream> = (0..4).map(|picture| Stream { seed: 7, picture }).collect();
        let together = schedule("demo", &batch);
        for (k, &stream) in batch.iter().enumerate() {
            let alone = schedule("demo", &[stream]);
            for (one, all) in alone.stages().iter().zip(together.stages()) {
                for (one, all) in one.steps.iter().zip(&all.steps) {
                    assert_eq!(one.pictures[0], all.pictures[k]);
                }
            }
        }
        let step = &together.stages()[1].steps;
        assert!(step.iter().any(|step| step.pictures[0] != step.pictures[1]));
    }

    #[test]
    fn numbers_given_from_outside_are_checked() {
        let demo = Recipe::named("demo").unwrap();
        let good = Schedule::new(&demo, &[STREAM]).unwrap();
        good.check(&demo, 1).unwrap();
        let changed = |change: fn(&mut Schedule)| {
            let mut schedule = good.clone();
            change(&mut schedule);
            schedule.check(&demo, 1)
        };
        changed(|schedule| schedule.stages_mut()[1].steps[0].pictures[0].top = 20).unwrap();
        changed(|schedule| schedule.stages_mut()[1].steps.truncate(1)).unwrap();
        changed(|schedule| schedule.stages_mut()[1].steps[0].pictures[0].top = 21).unwrap_err();
        changed(|schedule| schedule.stages_mut()[1].steps[0].taps.clear()).unwrap_err();
        changed(|schedule| drop(schedule.stages.pop())).unwrap_err();
        good.check(&demo, 2).unwrap_err();
    }

    #[test]
    fn what_else_is_drawn_does_not_move_the_crop() {
        let plain = Stage { crop: Some(100), ..Stage::new(9, [1.0, 1.0]) };
        let busy =
            Stage { shift: 5, scale: [0.9, 1.1], flip: true, rotation: 9.0, colour_jitter: 0.1, ..plain.clone() };
        let plain = Schedule::new(&recipe(vec![plain]), &[STREAM]).unwrap();
        let busy = Schedule::new(&recipe(vec![busy]), &[STREAM]).unwrap();
        for (plain, busy) in plain.stages()[0].steps.iter().zip(&busy.stages()[0].steps) {
            let (plain, busy) = (plain.pictures[0], busy.pictures[0]);
            assert_eq!((plain.top, plain.left), (busy.top, busy.left));
        }
    }

    /// Every number that 2000 steps of a stage draw, for a picture of 112 pixels.
    fn drawn(stage: Stage) -> Vec<PictureNumbers> {
        let recipe = recipe(vec![Stage { iterations: 2000, ..stage }]);
        let schedule = Schedule::new(&recipe, &[STREAM]).unwrap();
        schedule.stages()[0].steps.iter().map(|step| step.pictures[0]).collect()
    }

    #[test]
    fn corners_cover_their_whole_range_and_no_more() {
        let tops = |numbers: &[PictureNumbers]| {
            let corners = || numbers.iter().flat_map(|n| [n.top, n.left]);
            (0..=20).map(|place| corners().any(|c| c == place)).collect::<Vec<_>>()
        };
        let stage = Stage { crop: Some(108), ..Stage::new(1, [1.0, 1.0]) };
        let expected: Vec<bool> = (0..=20).map(|place| place <= 4).collect();
        assert_eq!(tops(&drawn(stage.clone())), expected);
        let near = Stage { crop: Some(100), jitter: Some(2), ..stage.clone() };
        let expected: Vec<bool> = (0..=20).map(|place| (4..=8).contains(&place)).collect();
        assert_eq!(tops(&drawn(near)), expected);
        let whole = Stage { crop: Some(112), ..stage };
        assert!(drawn(whole).iter().all(|n| (n.top, n.left) == (0, 0)));
    }

    #[test]
    fn transforms_stay_in_their_ranges_and_use_them() {
        let stage = Stage { shift: 2, scale: [0.9, 1.1], flip: true, rotation: 10.0, ..Stage::new(1, [1.0, 1.0]) };
        let numbers = drawn(Stage { colour_jitter: 0.05, ..stage });
        for shift in -2..=2 {
            assert!(numbers.iter().any(|n| n.shift[0] == shift) && numbers.iter().any(|n| n.shift[1] == shift));
        }
        assert!(numbers.iter().all(|n| n.shift[0].abs() <= 2 && n.shift[1].abs() <= 2));
        let reached = |of: fn(&PictureNumbers) -> f32, low: f32, high: f32| {
            let (least, most) = numbers.iter().map(of).fold((f32::MAX, f32::MIN), |(l, m), v| (l.min(v), m.max(v)));
            let rim = (high - low) * 0.02;
            (low..low + rim).contains(&least) && (high - rim..=high).contains(&most)
        };
        assert!(reached(|n| n.scale, 0.9, 1.1));
        assert!(reached(|n| n.rotation, -10.0, 10.0));
        assert!(reached(|n| n.brightness, 0.95, 1.05));
        let flips = numbers.iter().filter(|n| n.flip).count();
        assert!((900..1100).contains(&flips), "{flips} of 2000");
        let still = drawn(Stage::new(1, [1.0, 1.0]));
        let none =
            PictureNumbers { top: 0, left: 0, shift: [0, 0], scale: 1.0, rotation: 0.0, flip: false, brightness: 1.0 };
        assert!(still.iter().all(|numbers| *numbers == none));
    }

    #[test]
    fn maps_lead_from_what_is_seen_to_the_window() {
        let still =
            PictureNumbers { top: 0, left: 0, shift: [0, 0], scale: 1.0, rotation: 0.0, flip: false, brightness: 1.0 };
        // Where the place (column, row) right of and below the centre of what is seen lies in the window.
        let seen = |numbers: PictureNumbers, [u, v]: [f32; 2]| {
            let [a, b, c, d, e, f] = numbers.map();
            [a * u + b * v + c, d * u + e * v + f].map(|place| (place * 1000.0).round() / 1000.0)
        };
        assert_eq!(seen(still, [3.0, 5.0]), [3.0, 5.0]);
        // Moved down by 1 and right by 2, a thing seen at (3, 5) was at (1, 4).
        assert_eq!(seen(PictureNumbers { shift: [1, 2], ..still }, [3.0, 5.0]), [1.0, 4.0]);
        assert_eq!(seen(PictureNumbers { scale: 2.0, ..still }, [3.0, 5.0]), [1.5, 2.5]);
        // Turned counter-clockwise, what was on the right is seen above: negative rows.
        assert_eq!(seen(PictureNumbers { rotation: 90.0, ..still }, [0.0, -4.0]), [4.0, 0.0]);
        assert_eq!(seen(PictureNumbers { flip: true, ..still }, [3.0, 5.0]), [-3.0, 5.0]);
        // From (4, 0) right by 2 to (6, 0), magnified to (12, 0), turned to (0, -12), where a mirror changes nothing.
        let all = PictureNumbers { shift: [0, 2], scale: 2.0, rotation: 90.0, flip: true, ..still };
        assert_eq!(seen(all, [0.0, -12.0]), [4.0, 0.0]);
        // From (0, 1) right by 2 to (2, 1), magnified to (4, 2), turned to (2, -4), mirrored to (-2, -4).
        assert_eq!(seen(all, [-2.0, -4.0]), [0.0, 1.0]);
    }

    #[test]
    fn initial_noise_has_its_mean_and_deviation() {
        let noise = initial(&Recipe::named("googlenet").unwrap(), STREAM).unwrap();
        assert_eq!(noise.shape, Shape::new(1, 3, 299, 299));
        let count = noise.values.len() as f64;
        let mean = noise.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = noise.values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        // Five standard errors of 268,203 values.
        assert!((mean - 0.7).abs() < 5.0 * 0.05 / count.sqrt(), "{mean}");
        assert!((variance.sqrt() - 0.05).abs() < 5.0 * 0.05 / (2.0 * count).sqrt(), "{}", variance.sqrt());
    }

    #[test]
    fn spectral_noise_has_its_mean_and_deviation_and_falls_with_frequency() {
        let mut demo = Recipe::named("demo").unwrap();
        demo.init = Init { size: 48, start: Start::Spectral { mean: 0.5, std: 0.15, decay: 1.0 } };
        let noise = initial(&demo, STREAM).unwrap();
        for plane in noise.values.chunks_exact(48 * 48) {
            let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / 2304.0;
            assert!((mean - 0.5).abs() < 1e-6, "{mean}");
        }
        let variance = noise.values.iter().map(|&v| (f64::from(v) - 0.5).powi(2)).sum::<f64>() / 6912.0;
        assert!((variance.sqrt() - 0.15).abs() < 1e-6, "{variance}");
        // White noise differs twice as much between neighbours as it varies; this one is smooth.
        let steps = noise.values.chunks_exact(48).flat_map(|row| row.windows(2));
        let steps: Vec<f64> = steps.map(|pair| f64::from(pair[0] - pair[1]).powi(2)).collect();
        let rough = steps.iter().sum::<f64>() / steps.len() as f64 / variance;
        assert!(rough < 1.0, "{rough}");
    }

    #[test]
    fn a_recipe_that_starts_from_an_image_has_no_noise() {
        let mut demo = Recipe::named("demo").unwrap();
        demo.init.start = Start::Image;
        let error = initial(&demo, STREAM).unwrap_err().to_string();
        assert_eq!(error, "recipe demo: starts from an image, and none was given");
    }

    #[test]
    fn sizes_of_a_recipe_are_those_of_the_shorter_side() {
        let stages = vec![
            Stage { size: Some(60), crop: Some(40), ..Stage::new(3, [1.0, 1.0]) },
            Stage { pad: Some(Pad { width: 2, value: 0.0 }), ..Stage::new(2, [1.0, 1.0]) },
            Stage { nearest_sizes: Some(NearestSizes { sizes: vec![50], until: 1.0 }), ..Stage::new(2, [1.0, 1.0]) },
        ];
        let recipe = recipe(stages);
        let schedule = Schedule::of_shape(&recipe, &[STREAM], [90, 200]).unwrap();
        let extents = |index: usize, steps: std::ops::RangeInclusive<usize>| {
            steps.map(|i| schedule.stages()[index].extent_at(i)).collect::<Vec<_>>()
        };
        assert_eq!(extents(0, 0..=3), [[60, 133]; 4]);
        assert_eq!(extents(1, 0..=2), [[60, 133], [64, 137], [68, 141]]);
        assert_eq!(extents(2, 0..=2), [[68, 141], [50, 104], [50, 104]]);
        schedule.check(&recipe, 1).unwrap();
        // Windows go over all of it.
        let streams: Vec<Stream> = (0..64).map(|picture| Stream { seed: 1, picture }).collect();
        let many = Schedule::of_shape(&recipe, &streams, [90, 200]).unwrap();
        let corners = many.stages()[0].steps.iter().flat_map(|step| &step.pictures);
        let most =
            corners.map(|numbers| [numbers.top, numbers.left]).fold([0, 0], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        assert!(most[0] > 15 && most[0] <= 20 && most[1] > 80 && most[1] <= 93, "{most:?}");
        // Squares draw what they have always drawn.
        assert_eq!(Schedule::of_shape(&recipe, &streams, [7, 7]).unwrap(), Schedule::new(&recipe, &streams).unwrap());
        let error = Schedule::of_shape(&recipe, &[STREAM], [1, 1000]).unwrap_err().to_string();
        assert!(error.contains("pixels, allowed are up to 16384 a side"), "{error}");
    }
}
