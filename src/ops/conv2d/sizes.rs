//! The sizes of a convolution: its result's shape, the choice of its kernels and the parameters of each come from them.

use super::super::pass::windows;
use crate::tensor::Shape;
use crate::{Error, Result};

/// Shapes of a convolution's arguments and result, and how its window moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Its input [N, Cin, H, W].
    pub x: Shape,
    /// Its weights [Cout, Cin, KH, KW].
    pub weight: Shape,
    /// Its result [N, Cout, OH, OW].
    pub y: Shape,
    /// Step of the window, [height, width].
    pub stride: [usize; 2],
    /// Zeros around the input, [height, width].
    pub padding: [usize; 2],
}

/// The sizes as every kernel has them, `shaders/shared/conv2d_sizes.wgsl`, with which each `Params` begins.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Uniform {
    n: u32,
    h: u32,
    w: u32,
    c_in: u32,
    oh: u32,
    ow: u32,
    c_out: u32,
    kh: u32,
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
}

impl Sizes {
    /// The sizes of a convolution of `x` by `weight`, with OH = floor((H + 2·padding − KH) / stride) + 1.
    ///
    /// **Errors** [`Error::Shape`] when the input channels differ, [`Error::TooSmall`] when no window fits.
    pub fn of(x: Shape, weight: Shape, stride: [usize; 2], padding: [usize; 2]) -> Result<Sizes> {
        if weight.c() != x.c() {
            return Err(Error::shape("conv2d", "input channels of x", weight.c(), x.c()));
        }
        let [kh, kw] = [weight.h(), weight.w()];
        let oh = windows(x.h(), kh, stride[0], padding[0], false);
        let ow = windows(x.w(), kw, stride[1], padding[1], false);
        let (Some(oh), Some(ow)) = (oh, ow) else {
            return Err(Error::TooSmall { op: "conv2d".into(), input: x, kernel: format!("{kh}x{kw}") });
        };
        Ok(Sizes { x, weight, y: Shape::new(x.n(), weight.n(), oh, ow), stride, padding })
    }

    /// The numbers by which measurements are told apart: n, h, w, c_in, c_out, kernel, stride, padding.
    pub fn numbers(&self) -> [u32; 11] {
        let ([n, c, h, w], [c_out, _, kh, kw]) = (self.x.0, self.weight.0);
        let ([sh, sw], [ph, pw]) = (self.stride, self.padding);
        [n, h, w, c, c_out, kh, kw, sh, sw, ph, pw].map(|size| size as u32)
    }

    /// The sizes that have these [`Sizes::numbers`], if a convolution has them.
    pub fn from_numbers(numbers: &[u32]) -> Option<Sizes> {
        let sizes: [usize; 11] = numbers.iter().map(|&size| size as usize).collect::<Vec<_>>().try_into().ok()?;
        let [n, h, w, c, c_out, kh, kw, sh, sw, ph, pw] = sizes;
        if sizes[..9].contains(&0) {
            return None;
        }
        Sizes::of(Shape::new(n, c, h, w), Shape::new(c_out, c, kh, kw), [sh, sw], [ph, pw]).ok()
    }

    /// The same layer with another number of pictures.
    pub fn with_pictures(&self, n: usize) -> Sizes {
        let of = |Shape([_, c, h, w]): Shape| Shape::new(n, c, h, w);
        Sizes { x: of(self.x), y: of(self.y), ..*self }
    }

    /// Multiplications and additions; a gradient costs the same.
    pub fn flops(&self) -> usize {
        2 * self.weight.elements() * self.y.pixels()
    }

    /// Bytes that must move at least once: both arguments and the result.
    pub fn bytes(&self) -> usize {
        4 * (self.x.elements() + self.weight.elements() + self.y.elements())
    }

    /// Positions of the window's taps.
    pub(super) fn taps(&self) -> usize {
        self.weight.h() * self.weight.w()
    }

    /// Phases of the gradient of `x`: pixels as far apart as a step of the window see the same taps.
    pub(super) fn phases(&self) -> usize {
        self.stride[0] * self.stride[1]
    }

    /// Pixels of `x` in a phase.
    pub(super) fn pixels_of_phase(&self) -> usize {
        self.x.n() * self.x.h().div_ceil(self.stride[0]) * self.x.w().div_ceil(self.stride[1])
    }

    /// What each kernel is told of them.
    pub(super) fn uniform(&self) -> Uniform {
        Uniform {
            n: self.x.n() as u32,
            h: self.x.h() as u32,
            w: self.x.w() as u32,
            c_in: self.x.groups() as u32,
            oh: self.y.h() as u32,
            ow: self.y.w() as u32,
            c_out: self.y.groups() as u32,
            kh: self.weight.h() as u32,
            kw: self.weight.w() as u32,
            stride_h: self.stride[0] as u32,
            stride_w: self.stride[1] as u32,
            pad_h: self.padding[0] as u32,
            pad_w: self.padding[1] as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_make_the_sizes_again() {
        let numbers = [2, 75, 60, 64, 128, 3, 1, 2, 1, 1, 0];
        let sizes = Sizes::from_numbers(&numbers).expect("a layer");
        assert_eq!(sizes.numbers(), numbers);
        assert_eq!(sizes.y, Shape::new(2, 128, 38, 60));
        assert_eq!(sizes.flops(), 2 * 2 * 38 * 60 * 128 * 64 * 3);
        assert_eq!(Sizes::from_numbers(&[1; 10]), None);
    }
}
