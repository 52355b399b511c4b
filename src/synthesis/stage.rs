//! One stage of a recipe: what its keys mean, and the size of the picture at each of its steps.
//!
//! One step does, in this order: multiply by the colour jitter; take the window (the crop, or the whole picture);
//! transform it (shift, scale, rotate, flip); gradient of the objective on that and of the penalties on the window as it
//! was; change the window by the step rule; clamp; blur; then the picture is resized to the next of `nearest_sizes`, or padded.

use serde::{Deserialize, Serialize};

/// Largest side of a picture, in pixels.
pub const MAX_SIZE: u32 = 16_384;

/// Largest number of iterations of one stage.
pub const MAX_ITERATIONS: u32 = 100_000;

/// One stage: steps at one size (or on a size that each step changes), with linear ranges of rate and blur.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Side in pixels to which the picture is resized before the first step, the shorter one where it is no square; absent: as it
    /// is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// How it is resized to `size`.
    #[serde(default)]
    pub resize: Resize,
    /// Number of steps.
    pub iterations: u32,
    /// Step size at the first step and the value approached at the end; its unit is that of `step`.
    pub rate: [f64; 2],
    /// What becomes of the gradient.
    #[serde(default)]
    pub step: StepRule,
    /// Standard deviation of the blur in pixels, likewise; 0: no blur.
    #[serde(default)]
    pub sigma: [f64; 2],
    /// Taps of the blur in each direction, an odd number.
    #[serde(default = "three")]
    pub blur_kernel: u32,
    /// Where the blur acts.
    #[serde(default)]
    pub blur_on: BlurOn,
    /// Share of the iterations after which the blur stops, 0..1.
    #[serde(default = "one")]
    pub blur_until: f64,
    /// Side in pixels of the window that the networks see, at a new random place in each step; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<u32>,
    /// Farthest that the window's corner goes from its central place, in pixels; absent: anywhere in the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<u32>,
    /// A border that each step adds; the picture grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<Pad>,
    /// Sizes that the picture takes in turn, one after each step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_sizes: Option<NearestSizes>,
    /// Lowest and highest pixel value after each step; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f64; 2]>,
    /// Before each step the picture is multiplied by a random factor within 1 ± this (brightness, 0..1).
    #[serde(default)]
    pub colour_jitter: f64,
    /// Weight of the sum of absolute pixel values of the window, added to the loss.
    #[serde(default)]
    pub l1: f64,
    /// Weight of the sum of squared pixel values of the window.
    #[serde(default)]
    pub l2: f64,
    /// Weight of the sum of absolute differences between neighbouring pixels of the window.
    #[serde(default)]
    pub total_variation: f64,
    /// Weight of the distance between the batch statistics and the running statistics of the batch norms.
    #[serde(default)]
    pub bn_statistics: f64,
    /// The window is shifted by up to this many pixels in each direction before the network sees it.
    #[serde(default)]
    pub shift: u32,
    /// The window is magnified by a random factor between these two before the network sees it.
    #[serde(default = "one_to_one")]
    pub scale: [f64; 2],
    /// The window is mirrored left to right in half of the steps.
    #[serde(default)]
    pub flip: bool,
    /// The window is turned by up to this many degrees either way.
    #[serde(default)]
    pub rotation: f64,
}

/// How a picture is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Bilinear with antialiasing, torchvision's default.
    #[default]
    Bilinear,
    /// Bilinear from the four nearest pixels.
    BilinearNoAntialias,
    /// The nearest pixel.
    Nearest,
}

/// What becomes of the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepRule {
    /// It is taken as it is: `x - rate * g`, as the original experiments did.
    #[default]
    Raw,
    /// It is divided by its mean absolute value over the window: `rate` is the mean change per step in pixel values.
    Normalized,
    /// Adam (betas 0.9 and 0.999, eps 1e-8).
    Adam,
}

/// Where the blur acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlurOn {
    /// The whole picture, also where the step changed nothing.
    #[default]
    Whole,
    /// The window of the step.
    Crop,
}

/// A border of one colour that each step adds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Pixels on each side.
    pub width: u32,
    /// Value of the three channels.
    pub value: f64,
}

/// Sizes that the picture takes in turn, by the nearest pixel: after step i (from 0) the entry `i mod len`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearestSizes {
    /// Sides in pixels.
    pub sizes: Vec<u32>,
    /// Share of the iterations after which the size stays, 0..1.
    pub until: f64,
}

fn three() -> u32 {
    3
}

fn one() -> f64 {
    1.0
}

fn one_to_one() -> [f64; 2] {
    [1.0, 1.0]
}

/// Number of iterations that come before a share of them.
pub(super) fn share(iterations: u32, until: f64) -> u32 {
    (until * f64::from(iterations)).round() as u32
}

/// Height and width of a picture of this shape whose shorter side is `side`.
pub fn scaled(extent: [u32; 2], side: u32) -> [u32; 2] {
    let shorter = u64::from(extent[0].min(extent[1]).max(1));
    // To the nearest pixel.
    extent
        .map(|length| ((2 * u64::from(length) * u64::from(side) + shorter) / (2 * shorter)).min(u32::MAX.into()) as u32)
}

impl Stage {
    /// A stage of raw steps on the whole picture, without blur and everything else that is optional.
    pub fn new(iterations: u32, rate: [f64; 2]) -> Stage {
        Stage {
            size: None,
            resize: Resize::Bilinear,
            iterations,
            rate,
            step: StepRule::Raw,
            sigma: [0.0, 0.0],
            blur_kernel: three(),
            blur_on: BlurOn::Whole,
            blur_until: one(),
            crop: None,
            jitter: None,
            pad: None,
            nearest_sizes: None,
            clamp: None,
            colour_jitter: 0.0,
            l1: 0.0,
            l2: 0.0,
            total_variation: 0.0,
            bn_statistics: 0.0,
            shift: 0,
            scale: one_to_one(),
            flip: false,
            rotation: 0.0,
        }
    }

    /// Whether the networks see the window other than it is.
    pub fn transforms(&self) -> bool {
        self.shift > 0 || self.scale != one_to_one() || self.flip || self.rotation > 0.0
    }

    /// Side of the picture at the stage's first step, when the stage before left `size`.
    pub fn start_size(&self, size: u32) -> u32 {
        self.size.unwrap_or(size)
    }

    /// Height and width of the picture at the stage's first step, when the stage before left these.
    pub fn start_extent(&self, left: [u32; 2]) -> [u32; 2] {
        self.size.map_or(left, |side| scaled(left, side))
    }

    /// Height and width of the picture before step `i` of a stage that starts with these; `i = iterations` gives the end.
    pub fn extent_at(&self, start: [u32; 2], i: u32) -> [u32; 2] {
        match self.pad {
            Some(pad) => start.map(|length| length + 2 * pad.width * i),
            None => scaled(start, self.size_at(start[0].min(start[1]), i)),
        }
    }

    /// Side of the picture before step `i` of a stage that starts at `start`; `i = iterations` gives the end.
    pub fn size_at(&self, start: u32, i: u32) -> u32 {
        if let Some(pad) = self.pad {
            return start + 2 * pad.width * i;
        }
        match &self.nearest_sizes {
            Some(NearestSizes { sizes, until }) => match i.min(share(self.iterations, *until)) {
                0 => start,
                resizes => sizes[(resizes as usize - 1) % sizes.len()],
            },
            None => start,
        }
    }
}
