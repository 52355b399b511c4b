//! How far an output lies from a goal.

use serde::{Deserialize, Serialize};

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments, same};
use super::shader;
use crate::Result;
use crate::device::{Kernel, Recorder, Source};
use crate::tensor::Shape;

/// Distance of each picture's values from those of a goal. The goal is fixed: it has no gradient.
///
/// **Shapes** `x`, `goal` [N, C, H, W] -> [N, 1, 1, 1].
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) when the two differ, [`Error::NoGradient`](crate::Error::NoGradient) for
/// the goal.
///
/// **Reference** `torch.sum(torch.abs(x - goal))`, its root and its squares; the gradient at a kink is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// What is measured.
    pub metric: Metric,
}

/// What [`Distance`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Sum of absolute differences; its gradient is 0 where there is none.
    L1,
    /// Root of the sum of squares; its gradient is 0 at the goal itself.
    L2,
    /// Sum of squares.
    #[serde(rename = "sse")]
    SumOfSquares,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    groups: u32,
    n: u32,
    area: u32,
    x_offset: u32,
    x_stride: u32,
    goal_offset: u32,
    goal_stride: u32,
    gx_offset: u32,
    gx_stride: u32,
    y_offset: u32,
    y_stride: u32,
    g_offset: u32,
    g_stride: u32,
    parts: u32,
    pad: u32,
}

shader!("distance", Params);

/// `vec4`s of a picture that one workgroup adds up.
const PART: usize = 4096;

impl Distance {
    fn kernel(&self, entry: &'static str) -> Kernel {
        let metric: u32 = match self.metric {
            Metric::L1 => 0,
            Metric::L2 => 1,
            Metric::SumOfSquares => 2,
        };
        Kernel::new(&SHADER, entry).with("metric", metric)
    }
}

fn params(x: View, goal: View, y: View) -> Params {
    Params {
        vectors: x.vectors() as u32,
        groups: x.shape.groups() as u32,
        n: x.shape.n() as u32,
        area: (x.shape.h() * x.shape.w()) as u32,
        x_offset: x.offset,
        x_stride: x.stride,
        goal_offset: goal.offset,
        goal_stride: goal.stride,
        y_offset: y.offset,
        y_stride: y.stride,
        ..Params::default()
    }
}

impl Op for Distance {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [x, goal] = arguments(self.name(), inputs)?;
        same(self.name(), "goal", x, goal)?;
        Ok(Shape::per_picture(x.n()))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (x, goal, y) = (pass.inputs[0], pass.inputs[1], pass.output);
        let n = x.shape.n();
        let parts = (x.vectors() / n.max(1)).div_ceil(PART);
        let flops = x.vectors() * 12;
        if parts <= 1 {
            let bindings = [(1, x.buffer), (2, goal.buffer), (5, y.buffer)];
            return recorder.launch_workgroups(self.kernel("forward"), &params(x, goal, y), &bindings, n, flops);
        }
        let params = Params { parts: parts as u32, ..params(x, goal, y) };
        let sums = recorder.buffer("sums of parts", (n * parts * 16) as u64, Source::Transient);
        let bindings = [(1, x.buffer), (2, goal.buffer), (5, sums)];
        recorder.launch_workgroups(self.kernel("part"), &params, &bindings, n * parts, flops);
        recorder.launch_workgroups(self.kernel("join"), &params, &[(1, sums), (5, y.buffer)], n, n * parts * 4);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        pass.no_gradient(self.name(), 1)?;
        let Some(grad_x) = pass.grads[0] else { return Ok(()) };
        let (x, goal, y, g) = (pass.inputs[0], pass.inputs[1], pass.output, pass.grad_output);
        let params = Params {
            gx_offset: grad_x.offset,
            gx_stride: grad_x.stride,
            g_offset: g.offset,
            g_stride: g.stride,
            ..params(x, goal, y)
        };
        let bindings = [(1, x.buffer), (2, goal.buffer), (3, y.buffer), (4, g.buffer), (5, grad_x.buffer)];
        recorder.launch(self.kernel("grad_input"), &params, &bindings, x.vectors(), 1, x.vectors() * 12);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |metric, x: [usize; 4]| {
        // Kinks of L1 lie where x meets the goal: an index of one class is a goal of zeros.
        let goal = if metric == Metric::L1 { Domain::Index(Shape(x), 1) } else { Domain::Fixed(Shape(x)) };
        Sample::new(Distance { metric }, [Domain::Apart(Shape(x)), goal])
    };
    let large =
        |metric, x: [usize; 4]| Sample::new(Distance { metric }, [Domain::Smooth(Shape(x)), Domain::Fixed(Shape(x))]);
    vec![
        sample(Metric::L1, [2, 3, 7, 5]),
        sample(Metric::L2, [2, 3, 7, 5]),
        sample(Metric::SumOfSquares, [2, 3, 7, 5]),
        sample(Metric::L2, [3, 10, 1, 1]),
        // More than one part, whose values must not grow with their number.
        large(Metric::L2, [2, 17, 31, 33]),
        large(Metric::SumOfSquares, [1, 17, 31, 33]),
    ]
}
