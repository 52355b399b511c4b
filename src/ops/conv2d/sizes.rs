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

    /// The same layer for as many pictures, or else as many rows of one, as take no more than so many operations; a row of windows
    /// at least.
    pub fn within(&self, flops: usize) -> Sizes {
        let fewer = self.with_pictures((flops / self.with_pictures(1).flops()).clamp(1, self.x.n()));
        if fewer.flops() <= flops {
            return fewer;
        }
        let rows = (fewer.y.h() * flops / fewer.flops()).max(1);
        fewer.reduced(fewer.weight, [rows, fewer.y.w()]).unwrap_or(fewer)
    }

    /// A small layer of the same kind, of two pictures: not above so many channels [Cout, Cin], and some windows each way.
    pub(super) fn small(&self, [c_out, c_in]: [usize; 2]) -> Sizes {
        const WINDOWS: usize = 9;
        let [all, of, kh, kw] = self.weight.0;
        let weight = Shape::new(all.min(c_out), of.min(c_in), kh, kw);
        let windows = [self.y.h(), self.y.w()].map(|count| count.min(WINDOWS));
        self.with_pictures(2).reduced(weight, windows).unwrap_or(*self)
    }

    /// The same with other channels, and pictures in which so many windows fit.
    fn reduced(&self, weight: Shape, windows: [usize; 2]) -> Option<Sizes> {
        let side = |axis: usize, kernel: usize| {
            ((windows[axis] - 1) * self.stride[axis] + kernel).saturating_sub(2 * self.padding[axis]).max(1)
        };
        let x = Shape::new(self.x.n(), weight.c(), side(0, weight.h()), side(1, weight.w()));
        Sizes::of(x, weight, self.stride, self.padding).ok()
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
    fn pieces_are_of_the_same_kind_and_keep_to_their_operations() {
        for numbers in [
            [64, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1],
            [1, 299, 299, 3, 64, 7, 7, 2, 2, 3, 3],
            [4, 1, 1, 2048, 1000, 1, 1, 1, 1, 0, 0],
            [2, 7, 7, 512, 4096, 7, 7, 1, 1, 0, 0],
            [2, 17, 17, 768, 192, 1, 7, 1, 1, 0, 3],
        ] {
            let layer = Sizes::from_numbers(&numbers).expect("a layer");
            let piece = layer.within(20_000_000);
            let row = piece.y.n() == 1 && piece.y.h() == 1;
            assert!(piece.flops() <= 20_000_000 || row, "{numbers:?}: {piece:?}");
            assert_eq!(layer.within(usize::MAX), layer);
            let small = layer.small([132, 12]);
            for part in [piece, small] {
                assert_eq!((part.stride, part.padding), (layer.stride, layer.padding));
                assert_eq!([part.weight.h(), part.weight.w()], [layer.weight.h(), layer.weight.w()]);
                assert_eq!(Sizes::from_numbers(&part.numbers()), Some(part));
            }
            assert!(small.x.n() == 2 && small.y.n() == 2 && small.weight.n() <= 132 && small.x.c() <= 12, "{small:?}");
            assert!(small.flops() <= 40_000_000, "{small:?}");
        }
    }

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
