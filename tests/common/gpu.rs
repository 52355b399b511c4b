//! One device for the test process, and single operations run on it.

// Each test program compiles all of this and uses some of it.
#![allow(dead_code)]

use std::sync::OnceLock;

use entoptic::device::{AdapterChoice, Device, Externals, Program, Recorder, Source};
use entoptic::ops::{Backward, Forward, Op, View};
use entoptic::tensor::{Array, Layout};

/// The adapter that `ENTOPTIC_ADAPTER` names, else the best. No adapter is a failure: tests never skip.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
        Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter")
    })
}

/// What an operation computed.
pub struct Outcome {
    pub output: Array,
    pub saved: Vec<Array>,
    /// For each input its gradient, where it was asked for.
    pub grads: Vec<Option<Array>>,
    /// The inputs afterwards: running statistics change.
    pub inputs: Vec<Array>,
}

/// Runs an operation forwards, and backwards from `upstream` towards the inputs that are `wanted`.
pub fn run(op: &dyn Op, inputs: &[(Array, Layout)], upstream: Option<&Array>, wanted: &[bool]) -> Outcome {
    let device = device();
    let mut recorder = Recorder::new(device.tuning());
    let mut externals = Externals::new();
    let mut external = |recorder: &mut Recorder, name: String, array: &Array, layout: Layout| {
        let buffer = device.upload(&name, layout, array).unwrap();
        externals.insert(name.clone(), buffer);
        let id = recorder.buffer(&name, layout.bytes(array.shape), Source::External(name.clone()));
        View::whole(id, array.shape, layout)
    };
    let views: Vec<View> = inputs
        .iter()
        .enumerate()
        .map(|(i, (array, layout))| external(&mut recorder, format!("input {i}"), array, *layout))
        .collect();
    let shapes: Vec<_> = views.iter().map(|view| view.shape).collect();
    let output = View::transient(&mut recorder, "output", op.output_shape(&shapes).unwrap());
    let saved: Vec<View> =
        op.saved(&shapes).into_iter().map(|shape| View::transient(&mut recorder, "saved", shape)).collect();
    op.forward(&mut recorder, &Forward { inputs: &views, output, saved: &saved });
    let mut grads = vec![None; inputs.len()];
    if let Some(upstream) = upstream {
        assert_eq!(upstream.shape, output.shape, "upstream has the shape of the output");
        let grad_output = external(&mut recorder, "upstream".into(), upstream, Layout::Picture);
        for (i, view) in views.iter().enumerate().filter(|(i, _)| wanted[*i] && !op.passes_gradient(*i)) {
            let id = recorder.buffer("grad", view.layout.bytes(view.shape), Source::Transient);
            grads[i] = Some(View::whole(id, view.shape, view.layout));
        }
        let pass = Backward { inputs: &views, output, saved: &saved, grad_output, grads: &grads };
        op.backward(&mut recorder, &pass).unwrap();
        for (i, grad) in grads.iter_mut().enumerate().filter(|(i, _)| wanted[*i] && op.passes_gradient(*i)) {
            assert!(i < inputs.len());
            *grad = Some(grad_output);
        }
    }
    for view in grads.iter().flatten().chain(&saved).chain([&output]) {
        recorder.keep(view.buffer);
    }
    let mut program = Program::prepare(device, op.name(), &recorder.finish(), &externals).unwrap();
    program.run().unwrap();
    let fetch = |view: &View| device.download(program.buffer(view.buffer), view.layout, view.shape).unwrap();
    Outcome {
        output: fetch(&output),
        saved: saved.iter().filter(|_| upstream.is_some()).map(fetch).collect(),
        grads: grads.iter().map(|grad| grad.as_ref().map(fetch)).collect(),
        inputs: (0..inputs.len())
            .map(|i| device.download(&externals[&format!("input {i}")], inputs[i].1, inputs[i].0.shape).unwrap())
            .collect(),
    }
}
