//! The update of a picture by its gradient.

use super::pass::View;
use super::shader;
use crate::device::{BufferId, Kernel, Recorder, Source};
use crate::tensor::{Layout, Shape};

/// picture -= rate · direction, where the rule makes the direction from the gradient. Without a gradient itself.
///
/// **Shapes** `picture`, `grad` [N, C, H, W], `rate` [1, 1, 1, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descend {
    /// From gradient to direction.
    pub rule: Rule,
    /// Lowest and highest value of the picture afterwards, if any.
    pub limits: Option<[f32; 2]>,
}

/// How [`Descend`] makes a direction from a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The gradient itself.
    Raw,
    /// The gradient of each picture over its mean absolute value; nothing where that is zero.
    Normalized {
        /// Elements that the mean is over: those of the window, outside of which the gradient is zero.
        count: usize,
    },
    /// Running means, with beta 0.9 and 0.999, eps 1e-8 and the correction for their start.
    ///
    /// **Reference** Kingma and Ba 2015, algorithm 1; `torch.optim.Adam` with its defaults.
    Adam {
        /// Running mean of the gradient, as large as the picture, zero at first.
        m: BufferId,
        /// Running mean of its square, as large as the picture, zero at first.
        v: BufferId,
        /// The step counted from 0, one `u32`, as [`Advance`](super::Advance) keeps it.
        step: BufferId,
    },
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    c: u32,
    area: u32,
    count: f32,
    low: f32,
    high: f32,
    picture_offset: u32,
    picture_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    rate_offset: u32,
    parts: u32,
    pad: [u32; 2],
}

shader!("descend", Params);

/// Vectors of a picture that one workgroup adds up, and parts that every invocation of the update can add up again.
const PART: usize = 4096;
const MOST_PARTS: usize = 32;

fn parts(picture: View) -> usize {
    (picture.vectors() / picture.shape.n()).div_ceil(PART).min(MOST_PARTS)
}

impl Descend {
    /// Appends the update, in place.
    pub fn record(&self, recorder: &mut Recorder, picture: View, grad: View, rate: View) {
        let params = self.params(picture, grad, rate);
        let mut bindings = vec![(1, grad.buffer), (2, rate.buffer), (7, picture.buffer)];
        let entry = match self.rule {
            Rule::Raw => "raw",
            Rule::Normalized { .. } => {
                let shape = Shape::per_picture(picture.shape.n() * parts(picture));
                let sums = recorder.buffer("sums of |grad|", Layout::Picture.bytes(shape), Source::Transient);
                let reduce = Kernel::new(&SHADER, "sum_abs");
                let read = [(1, grad.buffer), (4, sums)];
                recorder.launch_workgroups(reduce, &params, &read, shape.n(), grad.vectors() * 8);
                bindings.push((4, sums));
                "normalized"
            }
            Rule::Adam { m, v, step } => {
                bindings.extend([(3, step), (5, m), (6, v)]);
                "adam"
            }
        };
        let kernel = Kernel::new(&SHADER, entry).with("has_limits", self.limits.is_some());
        recorder.launch(kernel, &params, &bindings, picture.vectors(), 1, picture.vectors() * 8);
    }

    fn params(&self, picture: View, grad: View, rate: View) -> Params {
        let [n, c, h, w] = picture.shape.0;
        let [low, high] = self.limits.unwrap_or_default();
        Params {
            vectors: picture.vectors() as u32,
            groups: picture.shape.groups() as u32,
            n: n as u32,
            c: c as u32,
            area: (h * w) as u32,
            count: if let Rule::Normalized { count } = self.rule { count as f32 } else { 1.0 },
            low,
            high,
            picture_offset: picture.offset,
            picture_stride: picture.stride,
            grad_offset: grad.offset,
            grad_stride: grad.stride,
            rate_offset: rate.offset,
            parts: parts(picture) as u32,
            pad: [0; 2],
        }
    }
}
