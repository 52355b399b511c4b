//! The brightness of a picture.

use super::pass::View;
use super::shader;
use crate::device::{Kernel, Recorder};

/// picture *= factor, one factor for each picture. Without a gradient.
///
/// **Shapes** `picture` [N, C, H, W], `factor` [N, 1, 1, 1].
///
/// **Reference** `torchvision.transforms.functional.adjust_brightness`, which also clamps to 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brighten;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    area: u32,
    picture_offset: u32,
    picture_stride: u32,
    factor_offset: u32,
    factor_stride: u32,
    pad: u32,
}

shader!("brighten", Params);

impl Brighten {
    /// Appends the change of `picture`, in place.
    pub fn record(recorder: &mut Recorder, picture: View, factor: View) {
        let params = Params {
            vectors: picture.vectors() as u32,
            groups: picture.shape.groups() as u32,
            area: (picture.shape.h() * picture.shape.w()) as u32,
            picture_offset: picture.offset,
            picture_stride: picture.stride,
            factor_offset: factor.offset,
            factor_stride: factor.stride,
            pad: 0,
        };
        let bindings = [(1, factor.buffer), (2, picture.buffer)];
        let kernel = Kernel::new(&SHADER, "brighten");
        recorder.launch(kernel, &params, &bindings, picture.vectors(), 1, picture.vectors() * 4);
    }
}
