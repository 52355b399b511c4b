//! How far a layer's statistics lie from those that a batch norm has run up in training.

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;

/// For each picture the mean over channels of (m − running_mean)² / (running_var + eps) +
/// ln((v + eps) / (running_var + eps))², with m and v the mean and the biased variance over the pixels of that picture.
///
/// Statistics are taken for each picture alone, not over the batch: a picture does not depend on what else is in its batch.
/// A picture of one pixel has no variance, and its logarithm is left out. `eps`, that of the batch norm, keeps channels
/// that never varied in training from weighing without bound.
///
/// **Shapes** `x` [N, C, H, W], `running_mean`, `running_var` [1, C, 1, 1] -> [N, 1, 1, 1].
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when channels differ;
/// [`Error::NoGradient`](crate::Error::NoGradient) for the running statistics.
///
/// **Reference** After the feature regulariser of Yin et al., "Dreaming to distill" (2020), with the logarithm of the ratio
/// in place of the difference of variances, so that wide and narrow channels count alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatisticsDistance {
    /// Added to the variances.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    c: u32,
    area: u32,
    eps: f32,
    x_offset: u32,
    x_stride: u32,
    gx_offset: u32,
    gx_stride: u32,
    y_offset: u32,
    y_stride: u32,
}

shader!("statistics_distance", Params);

impl StatisticsDistance {
    /// Appends the means and the biased variances over the pixels of each picture of `x`: both [N, C, 1, 1].
    pub fn moments(recorder: &mut Recorder, x: View) -> [View; 2] {
        let [n, c, _, _] = x.shape.0;
        let moments = ["mean", "variance"].map(|what| View::transient(recorder, what, Shape::new(n, c, 1, 1)));
        // Plain moments: nothing is added to a variance.
        StatisticsDistance { eps: 0.0 }.record_moments(recorder, x, x, moments);
        moments
    }

    fn record_moments(&self, recorder: &mut Recorder, x: View, y: View, [mean, variance]: [View; 2]) {
        let rows = x.shape.n() * x.shape.groups();
        let bindings = [(1, x.buffer), (7, mean.buffer), (8, variance.buffer)];
        let kernel = Kernel::new(&SHADER, "statistics");
        recorder.launch_workgroups(kernel, &self.params(x, x, y), &bindings, rows, x.vectors() * 20);
    }

    fn params(&self, x: View, grad_x: View, y: View) -> Params {
        let [n, c, h, w] = x.shape.0;
        Params {
            vectors: x.vectors() as u32,
            groups: x.shape.groups() as u32,
            n: n as u32,
            c: c as u32,
            area: (h * w) as u32,
            eps: self.eps,
            x_offset: x.offset,
            x_stride: x.stride,
            gx_offset: grad_x.offset,
            gx_stride: grad_x.stride,
            y_offset: y.offset,
            y_stride: y.stride,
        }
    }
}

impl Op for StatisticsDistance {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, mean, var] = arguments(self.name(), inputs)?;
        for (what, found) in [("running_mean", mean), ("running_var", var)] {
            same(self.name(), what, Shape::channels(x.c()), found)?;
        }
        Ok(Shape::per_picture(x.n()))
    }

    /// Mean and variance of each picture.
    fn saved(&self, inputs: &[Shape]) -> Vec<Shape> {
        let [n, c, _, _] = inputs[0].0;
        vec![Shape::new(n, c, 1, 1); 2]
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, y) = (pass.inputs[0], pass.output);
        let [running_mean, running_var] = [1, 2].map(|input: usize| pass.inputs[input].buffer);
        let [mean, variance] = [pass.saved[0], pass.saved[1]];
        self.record_moments(recorder, x, y, [mean, variance]);
        let bindings = [(2, running_mean), (3, running_var), (4, mean.buffer), (5, variance.buffer), (7, y.buffer)];
        let kernel = Kernel::new(&SHADER, "forward");
        let flops = x.shape.n() * x.shape.groups() * 40;
        recorder.launch_workgroups(kernel, &self.params(x, x, y), &bindings, x.shape.n(), flops);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        pass.no_gradient(self.name(), 2)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, g) = (pass.inputs[0], pass.grad_output);
        let running = [(1, x.buffer), (2, pass.inputs[1].buffer), (3, pass.inputs[2].buffer)];
        let own = [(4, pass.saved[0].buffer), (5, pass.saved[1].buffer), (6, g.buffer), (7, grad_x.buffer)];
        let bindings = [&running[..], &own[..]].concat();
        let kernel = Kernel::new(&SHADER, "grad_input");
        recorder.launch(kernel, &self.params(x, grad_x, g), &bindings, x.vectors(), 1, x.vectors() * 60);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |eps, x: [usize; 4]| {
        let c = Shape::channels(x[1]);
        Sample::new(StatisticsDistance { eps }, [Domain::Smooth(Shape(x)), Domain::Fixed(c), Domain::Positive(c)])
    };
    vec![sample(1e-5, [2, 5, 7, 6]), sample(1e-3, [3, 8, 3, 5]), sample(1e-3, [2, 6, 1, 1])]
}
