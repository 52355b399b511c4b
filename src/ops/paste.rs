//! A window put back into its picture.

use super::pass::View;
use super::shader;
use crate::device::{Kernel, Recorder};

/// Writes a window where [`Crop`](super::Crop) with the same corners took it; the rest of the picture stays. Without a
/// gradient.
///
/// **Shapes** `x` [N, C, OH, OW], `corners` [N, 2, 1, 1] (top and left in pixels), `picture` [N, C, H, W].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paste;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    corners_offset: u32,
    corners_stride: u32,
    x_offset: u32,
    x_stride: u32,
    picture_offset: u32,
    picture_stride: u32,
}

shader!("paste", Params);

impl Paste {
    /// Appends the change of `picture`, in place.
    pub fn record(recorder: &mut Recorder, x: View, corners: View, picture: View) {
        let [_, _, h, w] = picture.shape.0;
        let [_, _, oh, ow] = x.shape.0;
        assert!(oh <= h && ow <= w, "a window fits into the picture that it was taken from");
        let params = Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            h: h as u32,
            w: w as u32,
            oh: oh as u32,
            ow: ow as u32,
            corners_offset: corners.offset,
            corners_stride: corners.stride,
            x_offset: x.offset,
            x_stride: x.stride,
            picture_offset: picture.offset,
            picture_stride: picture.stride,
        };
        let bindings = [(1, x.buffer), (2, corners.buffer), (3, picture.buffer)];
        recorder.launch(Kernel::new(&SHADER, "paste"), &params, &bindings, x.vectors(), 1, x.vectors());
    }
}
