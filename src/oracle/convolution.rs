//! conv2d: y[n,co,oy,ox] = sum over ci,ky,kx of x[n,ci,oy·stride+ky−padding,ox·stride+kx−padding] · weight[co,ci,ky,kx],
//! plus bias[co], plus residual[n,co,oy,ox], then max(., 0) where wanted. Outside of x is zero.

use super::{Formula, Sum, Values, at, exact};
use crate::ops::Conv2d;
use crate::tensor::{Array, Shape};

impl Conv2d {
    /// The row or column of x under tap `k` of window `o`.
    fn seen(&self, side: usize, o: usize, k: usize, size: usize) -> Option<usize> {
        (o * self.stride[side] + k).checked_sub(self.padding[side]).filter(|&i| i < size)
    }

    /// The window whose tap `k` lies over row or column `i` of x.
    fn window(&self, side: usize, i: usize, k: usize, count: usize) -> Option<usize> {
        let start = (i + self.padding[side]).checked_sub(k)?;
        let o = start / self.stride[side];
        (start % self.stride[side] == 0 && o < count).then_some(o)
    }

    fn grad_x(&self, x: Shape, weight: &Array, g: &Array) -> Values {
        let ([c_out, _, kh, kw], [_, _, oh, ow]) = (weight.shape.0, g.shape.0);
        Values::fill(x, |[n, ci, iy, ix]| {
            let mut sum = Sum::default();
            for ky in 0..kh {
                let Some(oy) = self.window(0, iy, ky, oh) else { continue };
                for kx in 0..kw {
                    let Some(ox) = self.window(1, ix, kx, ow) else { continue };
                    for co in 0..c_out {
                        sum.add_product(at(g, [n, co, oy, ox]), at(weight, [co, ci, ky, kx]));
                    }
                }
            }
            sum.total()
        })
    }

    fn grad_weight(&self, x: &Array, weight: Shape, g: &Array) -> Values {
        let ([pictures, _, h, w], [_, _, oh, ow]) = (x.shape.0, g.shape.0);
        Values::fill(weight, |[co, ci, ky, kx]| {
            let mut sum = Sum::default();
            for n in 0..pictures {
                for oy in 0..oh {
                    let Some(iy) = self.seen(0, oy, ky, h) else { continue };
                    for ox in 0..ow {
                        let Some(ix) = self.seen(1, ox, kx, w) else { continue };
                        sum.add_product(at(x, [n, ci, iy, ix]), at(g, [n, co, oy, ox]));
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
        let ([n, c_in, h, w], [c_out, _, kh, kw]) = (x.shape.0, weight.shape.0);
        let windows = |side: usize, size, kernel| (size + 2 * self.padding[side] - kernel) / self.stride[side] + 1;
        let y = Shape::new(n, c_out, windows(0, h, kh), windows(1, w, kw));
        Values::fill(y, |[n, co, oy, ox]| {
            let mut sum = Sum::default();
            for ky in 0..kh {
                let Some(iy) = self.seen(0, oy, ky, h) else { continue };
                for kx in 0..kw {
                    let Some(ix) = self.seen(1, ox, kx, w) else { continue };
                    for ci in 0..c_in {
                        sum.add_product(at(x, [n, ci, iy, ix]), at(weight, [co, ci, ky, kx]));
                    }
                }
            }
            if let Some(bias) = inputs.get(2) {
                sum.add(exact(bias, [0, co, 0, 0]));
            }
            if let Some(residual) = inputs.get(3) {
                sum.add(exact(residual, [n, co, oy, ox]));
            }
            if self.relu { sum.total().rectified() } else { sum.total() }
        })
    }

    /// Of a `grad_output` that is zero where max(., 0) was taken of what is not positive.
    fn gradients(&self, inputs: &[Array], g: &Array) -> Vec<Option<Values>> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let bias = || {
            Values::fill(Shape::channels(g.shape.c()), |[_, co, _, _]| {
                let mut sum = Sum::default();
                for n in 0..g.shape.n() {
                    for oy in 0..g.shape.h() {
                        (0..g.shape.w()).for_each(|ox| sum.add(exact(g, [n, co, oy, ox])));
                    }
                }
                sum.total()
            })
        };
        let mut grads = vec![Some(self.grad_x(x.shape, weight, g)), Some(self.grad_weight(x, weight.shape, g))];
        grads.extend(inputs.get(2).map(|_| Some(bias())));
        grads.extend(inputs.get(3).map(|_| Some(Values::exact(g))));
        grads
    }
}
