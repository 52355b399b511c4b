//! Tapes recorded with the passes that a test chooses, and run.

use entoptic::device::{Externals, Program, Recorder, Tuning};
use entoptic::ops::View;
use entoptic::tape::passes::Pass;
use entoptic::tape::{Derived, Request, Tape};
use entoptic::tensor::{Array, Layout, Shape};

use super::gpu::device;

/// What a request for kept values and gradients gave, and the kernels that were launched.
pub fn run(passes: &[Pass], tape: &Tape, request: &Request, externals: &Externals) -> (Vec<Array>, Vec<String>) {
    run_with(device().tuning(), passes, tape, request, externals)
}

/// As [`run`], with chosen kernels.
pub fn run_with(
    tuning: Tuning,
    passes: &[Pass],
    tape: &Tape,
    request: &Request,
    externals: &Externals,
) -> (Vec<Array>, Vec<String>) {
    let mut recorder = Recorder::new(tuning);
    let recorded = tape.record_after(passes, &mut recorder, request).unwrap();
    let recording = recorder.finish();
    let mut externals = externals.clone();
    for Derived { recording, .. } in &recorded.derived {
        Program::provide(device(), recording, &mut externals).unwrap();
        Program::prepare(device(), "derived", recording, &externals).unwrap().run().unwrap();
    }
    let mut program = Program::prepare(device(), "fusion", &recording, &externals).unwrap();
    program.run().unwrap();
    let views = recorded.kept.iter().chain(&recorded.gradients);
    let found = views.map(|&view| fetch(&program, view));
    (found.collect(), recording.dispatches.iter().map(|dispatch| dispatch.kernel.label()).collect())
}

/// Reads a value back, which may be some channels of another.
fn fetch(program: &Program, view: View) -> Array {
    let read = |shape| device().download(program.buffer(view.buffer), view.layout, shape).unwrap();
    if view.layout == Layout::Filter {
        return read(view.shape);
    }
    let [n, c, h, w] = view.shape.0;
    let wide = 4 * view.stride as usize * h * w;
    let whole = read(Shape::new(n, 4 * view.stride as usize, h, w)).values;
    let part = |n: usize| whole[n * wide..][4 * view.offset as usize * h * w..][..c * h * w].to_vec();
    Array::new(view.shape, (0..n).flat_map(part).collect())
}
