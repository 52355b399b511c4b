//! The sizes of a convolution: its result's shape, the choice of its kernels and the parameters of each come from them.

use super::super::pass::{bounded, windows};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Which pixels and channels of its input each element of a convolution's result sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Step of the window, [height, width].
    pub stride: [usize; 2],
    /// Zeros around the input: [top, left] and [bottom, right].
    pub padding: [[usize; 2]; 2],
    /// Step from one tap of the window to the next, [height, width].
    pub dilation: [usize; 2],
    /// Groups of channels, each of which sees its own input channels alone.
    pub groups: usize,
}

impl Window {
    /// A window over all channels, whose taps are neighbours, with as many zeros on one side as on the other.
    pub fn plain(stride: [usize; 2], padding: [usize; 2]) -> Self {
        Window { stride, padding: [padding; 2], dilation: [1; 2], groups: 1 }
    }

    fn is_plain(&self) -> bool {
        *self == Window::plain(self.stride, self.padding[0])
    }

    /// From a tap that sees a pixel to the next one that does, when the window moves by its steps.
    fn tap_step(&self) -> [usize; 2] {
        let [h, w] =
            [0, 1].map(|side: usize| self.stride[side] / common_divisor(self.stride[side], self.dilation[side]));
        [h, w]
    }
}

/// The greatest number that divides both, neither of which is 0.
fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Shapes of a convolution's arguments and result, and how its window moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Its input [N, Cin, H, W].
    pub x: Shape,
    /// Its weights [Cout, Cin / groups, KH, KW].
    pub weight: Shape,
    /// Its result [N, Cout, OH, OW].
    pub y: Shape,
    /// What each element of the result sees.
    pub window: Window,
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
    dilation_h: u32,
    dilation_w: u32,
    step_h: u32,
    step_w: u32,
}

impl Sizes {
    /// The sizes of a convolution of `x` by `weight`, with OH = floor((H + top + bottom − dilation·(KH − 1) − 1) / stride) + 1.
    ///
    /// **Errors** [`Error::Shape`] when the input channels differ, when channels do not come in so many groups, or when a step
    /// is 0; [`Error::TooSmall`] when no window fits.
    pub fn of(x: Shape, weight: Shape, window: Window) -> Result<Sizes> {
        let Window { stride, padding, dilation, groups } = window;
        bounded("conv2d", "padding", 0, padding[0])?;
        bounded("conv2d", "padding", 0, padding[1])?;
        for (what, sizes) in [("stride", stride), ("dilation", dilation), ("window", [weight.h(), weight.w()])] {
            bounded("conv2d", what, 1, sizes)?;
        }
        if groups == 0 || !weight.n().is_multiple_of(groups) {
            let expected = format!("a multiple of the {groups} groups");
            return Err(Error::shape("conv2d", "output channels", expected, weight.n()));
        }
        if weight.c() * groups != x.c() {
            return Err(Error::shape("conv2d", "input channels of x", weight.c() * groups, x.c()));
        }
        let side = |size: usize, taps: usize, side: usize| {
            let reach = dilation[side] * (taps - 1) + 1;
            windows(size, reach, stride[side], [padding[0][side], padding[1][side]], false)
        };
        let (Some(oh), Some(ow)) = (side(x.h(), weight.h(), 0), side(x.w(), weight.w(), 1)) else {
            let kernel = format!("{}x{}", weight.h(), weight.w());
            return Err(Error::TooSmall { op: "conv2d".into(), input: x, kernel });
        };
        Ok(Sizes { x, weight, y: Shape::new(x.n(), weight.n(), oh, ow), window })
    }

    /// The numbers by which measurements are told apart: n, h, w, c_in, c_out, kernel, stride, padding above and to the left; and
    /// where they are not plain, padding below and to the right, and dilation.
    pub fn numbers(&self) -> Vec<u32> {
        let ([n, c, h, w], [c_out, _, kh, kw]) = (self.x.0, self.weight.0);
        let Window { stride: [sh, sw], padding: [[top, left], [bottom, right]], dilation, groups: _ } = self.window;
        let mut all = vec![n, h, w, c, c_out, kh, kw, sh, sw, top, left];
        if !self.window.is_plain() {
            all.extend([bottom, right, dilation[0], dilation[1]]);
        }
        all.into_iter().map(|size| size as u32).collect()
    }

    /// The sizes that have these [`Sizes::numbers`], if a convolution in one group has them.
    pub fn from_numbers(numbers: &[u32]) -> Option<Sizes> {
        let sizes: Vec<usize> = numbers.iter().map(|&size| size as usize).collect();
        let (&[n, h, w, c, c_out, kh, kw, sh, sw, top, left], rest) = sizes.split_first_chunk()?;
        let plain = Window::plain([sh, sw], [top, left]);
        let window = match *rest {
            [] => plain,
            [bottom, right, dh, dw] => {
                let window = Window { padding: [[top, left], [bottom, right]], dilation: [dh, dw], ..plain };
                Some(window).filter(|window| !window.is_plain())?
            }
            _ => return None,
        };
        if sizes[..9].contains(&0) {
            return None;
        }
        Sizes::of(Shape::new(n, c, h, w), Shape::new(c_out, c, kh, kw), window).ok()
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

    /// The most taps of a window that see the same pixel of `x`.
    pub(super) fn taps_of_phase(&self) -> usize {
        let [step_h, step_w] = self.window.tap_step();
        self.weight.h().div_ceil(step_h) * self.weight.w().div_ceil(step_w)
    }

    /// Phases of the gradient of `x`: pixels as far apart as a step of the window see the same taps.
    pub(super) fn phases(&self) -> usize {
        self.window.stride[0] * self.window.stride[1]
    }

    /// Pixels of `x` in a phase.
    pub(super) fn pixels_of_phase(&self) -> usize {
        let [sh, sw] = self.window.stride;
        self.x.n() * self.x.h().div_ceil(sh) * self.x.w().div_ceil(sw)
    }

    /// What each kernel is told of them.
    pub(super) fn uniform(&self) -> Uniform {
        let Window { stride, padding: [[top, left], _], dilation, .. } = self.window;
        let step = self.window.tap_step();
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
            stride_h: stride[0] as u32,
            stride_w: stride[1] as u32,
            pad_h: top as u32,
            pad_w: left as u32,
            dilation_h: dilation[0] as u32,
            dilation_w: dilation[1] as u32,
            step_h: step[0] as u32,
            step_w: step[1] as u32,
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
        let numbers = [2, 75, 60, 64, 128, 3, 1, 2, 1, 1, 0, 2, 0, 3, 1];
        let sizes = Sizes::from_numbers(&numbers).expect("a layer");
        assert_eq!(sizes.numbers(), numbers);
        assert_eq!(sizes.y, Shape::new(2, 128, 36, 60));
        assert_eq!(
            Sizes::from_numbers(&[2, 75, 60, 64, 128, 3, 1, 2, 1, 1, 0, 1, 0, 1, 1]),
            None,
            "it has a shorter name"
        );
    }
}
