//! conv2d: y[n,co,oy,ox] = sum over k,ky,kx of x[n,ci,oy·stride+ky·dilation−top,ox·stride+kx·dilation−left] · weight[co,k,ky,kx],
//! where ci is channel k of those that the group of co sees, plus bias[co], plus residual[n,co,oy,ox], then max(., 0) where
//! wanted, or another function. Outside of x is zero.

use super::{Formula, Sum, Values, at, exact};
use crate::ops::Conv2d;
use crate::tensor::{Array, Shape};

impl Conv2d {
    /// The row or column of x under tap `k` of window `o`.
    fn seen(&self, side: usize, o: usize, k: usize, size: usize) -> Option<usize> {
        (o * self.stride[side] + k * self.dilation[side]).checked_sub(self.padding[0][side]).filter(|&i| i < size)
    }

    /// The window whose tap `k` lies over row or column `i` of x.
    fn seeing(&self, side: usize, i: usize, k: usize, count: usize) -> Option<usize> {
        let start = (i + self.padding[0][side]).checked_sub(k * self.dilation[side])?;
        let o = start / self.stride[side];
        (start % self.stride[side] == 0 && o < count).then_some(o)
    }

    fn grad_x(&self, x: Shape, weight: &Array, g: &Values) -> Values {
        let ([c_out, seen, kh, kw], [_, _, oh, ow]) = (weight.shape.0, g.shape.0);
        let by_group = c_out / self.groups;
        Values::fill(x, |[n, ci, iy, ix]| {
            let group = ci / seen;
            let mut sum = Sum::default();
            for ky in 0..kh {
                let Some(oy) = self.seeing(0, iy, ky, oh) else { continue };
                for kx in 0..kw {
                    let Some(ox) = self.seeing(1, ix, kx, ow) else { continue };
                    for co in group * by_group..(group + 1) * by_group {
                        sum.add_multiple(g.at([n, co, oy, ox]), at(weight, [co, ci % seen, ky, kx]));
                    }
                }
            }
            sum.total()
        })
    }

    fn grad_weight(&self, x: &Array, weight: Shape, g: &Values) -> Values {
        let ([pictures, _, h, w], [_, _, oh, ow]) = (x.shape.0, g.shape.0);
        Values::fill(weight, |[co, k, ky, kx]| {
            let ci = co / (weight.n() / self.groups) * weight.c() + k;
            let mut sum = Sum::default();
            for n in 0..pictures {
                for oy in 0..oh {
                    let Some(iy) = self.seen(0, oy, ky, h) else { continue };
                    for ox in 0..ow {
                        let Some(ix) = self.seen(1, ox, kx, w) else { continue };
                        sum.add_multiple(g.at([n, co, oy, ox]), at(x, [n, ci, iy, ix]));
                    }
                }
            }
            sum.total()
        })
    }
}

impl Formula for Conv2d {
    fn result(&self, inputs: &[Array]) -> Values {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let ([n, _, h, w], [c_out, seen, kh, kw]) = (x.shape.0, weight.shape.0);
        let windows = |side: usize, size, kernel: usize| {
            let zeros = self.padding[0][side] + self.padding[1][side];
            (size + zeros - self.dilation[side] * (kernel - 1) - 1) / self.stride[side] + 1
        };
        let y = Shape::new(n, c_out, windows(0, h, kh), windows(1, w, kw));
        Values::fill(y, |[n, co, oy, ox]| {
            let mut sum = Sum::default();
            for ky in 0..kh {
                let Some(iy) = self.seen(0, oy, ky, h) else { continue };
                for kx in 0..kw {
                    let Some(ix) = self.seen(1, ox, kx, w) else { continue };
                    let first = co / (c_out / self.groups) * seen;
                    for k in 0..seen {
                        sum.add_product(at(x, [n, first + k, iy, ix]), at(weight, [co, k, ky, kx]));
                    }
                }
            }
            if let Some(bias) = inputs.get(2) {
                sum.add(exact(bias, [0, co, 0, 0]));
            }
            if let Some(residual) = inputs.get(3) {
                sum.add(exact(residual, [n, co, oy, ox]));
            }
            match &self.activation {
                Some(function) => function.of(sum.total()),
                None if self.relu => sum.total().rectified(),
                None => sum.total(),
            }
        })
    }

    /// Of a `grad_output` that is zero where max(., 0) was taken of what is not positive.
    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let result = self.activation.map(|_| self.result(inputs));
        let through = |i| match (&self.activation, &result) {
            (Some(function), Some(y)) => exact(g, i) * function.slope_of_result(y.at(i)),
            _ => exact(g, i),
        };
        let g = &Values::fill(g.shape, through);
        let bias = || {
            Values::fill(Shape::channels(g.shape.c()), |[_, co, _, _]| {
                let mut sum = Sum::default();
                for n in 0..g.shape.n() {
                    for oy in 0..g.shape.h() {
                        (0..g.shape.w()).for_each(|ox| sum.add(g.at([n, co, oy, ox])));
                    }
                }
                sum.total()
            })
        };
        let mut grads = vec![Some(self.grad_x(x.shape, weight, g)), Some(self.grad_weight(x, weight.shape, g))];
        grads.extend(inputs.get(2).map(|_| Some(bias())));
        grads.extend(inputs.get(3).map(|_| Some(g.clone())));
        grads
    }
}
