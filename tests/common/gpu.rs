//! One device for the test process, and single operations run on it.

use std::sync::OnceLock;

use entoptic::device::{AdapterChoice, Device, Externals, Program, Recorder, Source, Tile, Tiling, Tuning, Variant};
use entoptic::ops::{Backward, Finish, Forward, Op, View};
use entoptic::tensor::{Array, Layout, Shape};

/// The adapter that `ENTOPTIC_ADAPTER` names, else the best. No adapter is a failure: tests never skip.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
        Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter")
    })
}

/// Every way in which this device can be made to run an operation, its own first: other adapters choose other kernels.
pub fn tunings(op: &str) -> Vec<Tuning> {
    let own = device().tuning();
    let mut all = vec![own.clone()];
    if op == "conv2d" {
        let variants = Tile::ALL.into_iter().flat_map(|tile| [1, 3].map(|splits| Variant::Tiled(tile, splits)));
        all.extend(variants.map(|variant| Tuning { tiling: Tiling::Always(variant), ..own.clone() }));
        all.push(Tuning { subgroup: false, tiling: Tiling::Always(Variant::Registers), ..own });
    }
    all
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
    run_between(op, inputs, upstream, wanted, 0)
}

/// As [`run`], with `margin` channel groups of other values on either side of the first input and those of its shape, of the
/// output and of their gradients.
pub fn run_between(
    op: &dyn Op,
    inputs: &[(Array, Layout)],
    upstream: Option<&Array>,
    wanted: &[bool],
    margin: usize,
) -> Outcome {
    run_tuned(op, inputs, upstream, wanted, margin, device().tuning())
}

/// As [`run_between`], with chosen kernels.
pub fn run_tuned(
    op: &dyn Op,
    inputs: &[(Array, Layout)],
    upstream: Option<&Array>,
    wanted: &[bool],
    margin: usize,
    tuning: Tuning,
) -> Outcome {
    let mut bench = Bench { recorder: Recorder::new(tuning), externals: Externals::new() };
    let shapes: Vec<Shape> = inputs.iter().map(|(array, _)| array.shape).collect();
    let margins: Vec<usize> = shapes.iter().map(|&shape| if shape == shapes[0] { margin } else { 0 }).collect();
    let views: Vec<View> = (0..inputs.len())
        .map(|i| bench.place(&format!("input {i}"), shapes[i], inputs[i].1, margins[i], Some(&inputs[i].0)))
        .collect();
    let output = bench.place("output", op.output_shape(&shapes).unwrap(), Layout::Picture, margin, None);
    let saved: Vec<View> = op
        .saved(&shapes)
        .into_iter()
        .enumerate()
        .map(|(i, shape)| bench.place(&format!("saved {i}"), shape, Layout::Picture, 0, None))
        .collect();
    op.forward(&mut bench.recorder, &Forward { inputs: &views, output, saved: &saved });
    let mut grads = vec![None; inputs.len()];
    if let Some(upstream) = upstream {
        assert_eq!(upstream.shape, output.shape, "upstream has the shape of the output");
        let grad_output = bench.place("upstream", upstream.shape, Layout::Picture, margin, Some(upstream));
        for (i, view) in views.iter().enumerate().filter(|(i, _)| wanted[*i] && !op.passes_gradient(*i)) {
            grads[i] = Some(bench.place(&format!("grad {i}"), view.shape, view.layout, margins[i], None));
        }
        let pass =
            Backward { inputs: &views, output, saved: &saved, grad_output, grads: &grads, finish: Finish::default() };
        op.backward(&mut bench.recorder, &pass).unwrap();
        for (i, grad) in grads.iter_mut().enumerate().filter(|(i, _)| wanted[*i] && op.passes_gradient(*i)) {
            assert!(i < inputs.len());
            *grad = Some(grad_output);
        }
    }
    let (mut program, externals) = bench.prepare(op.name());
    program.run().unwrap();
    let fetch = |name: &str, view: &View, margin: usize| fetch(&externals, op.name(), name, view, margin);
    // What an operation saves is its own business, its padding lanes too.
    let own = |name: &str, view: &View| {
        Array::new(view.shape, view.layout.unpack(view.shape, &stored(&externals, op.name(), name, view, 0)))
    };
    let grad = |i: usize| {
        let passed = op.passes_gradient(i);
        let name = if passed { "upstream".to_owned() } else { format!("grad {i}") };
        grads[i].as_ref().map(|view| fetch(&name, view, if passed { margin } else { margins[i] }))
    };
    Outcome {
        output: fetch("output", &output, margin),
        saved: saved.iter().enumerate().map(|(i, view)| own(&format!("saved {i}"), view)).collect(),
        grads: (0..inputs.len()).map(grad).collect(),
        inputs: (0..inputs.len()).map(|i| fetch(&format!("input {i}"), &views[i], margins[i])).collect(),
    }
}

/// What lies beside values, and in results before they are written.
const OTHERS: f32 = 12345.0;

/// A recording in the making, with its buffers.
pub struct Bench {
    pub recorder: Recorder,
    externals: Externals,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { recorder: Recorder::new(device().tuning()), externals: Externals::new() }
    }

    /// A value that fills a buffer of its own.
    pub fn put(&mut self, name: &str, layout: Layout, array: &Array) -> View {
        self.place(name, array.shape, layout, 0, Some(array))
    }

    /// What was recorded, ready to run, and the buffers by name.
    pub fn prepare(self, label: &str) -> (Program, Externals) {
        let program = Program::prepare(device(), label, &self.recorder.finish(), &self.externals).unwrap();
        (program, self.externals)
    }

    fn place(&mut self, name: &str, shape: Shape, layout: Layout, margin: usize, array: Option<&Array>) -> View {
        let packed = match array {
            Some(array) => layout.pack(shape, &array.values),
            None => vec![OTHERS; layout.stored(shape)],
        };
        let [n, _, h, w] = shape.0;
        let wide = Shape::new(n, 4 * (shape.groups() + 2 * margin), h, w);
        let mut stored = packed;
        let mut bytes = layout.bytes(shape);
        if margin > 0 {
            let narrow = std::mem::replace(&mut stored, vec![OTHERS; layout.stored(wide)]);
            let pixels = stored.chunks_mut(4 * wide.groups()).zip(narrow.chunks(4 * shape.groups()));
            pixels.for_each(|(wide, narrow)| wide[4 * margin..][..narrow.len()].copy_from_slice(narrow));
            bytes = layout.bytes(wide);
        }
        let buffer = device().buffer(name, bytes).unwrap();
        device().write(&buffer, &stored).unwrap();
        self.externals.insert(name.to_owned(), buffer);
        let id = self.recorder.buffer(name, bytes, Source::External(name.to_owned()));
        if margin == 0 {
            View::whole(id, shape, layout)
        } else {
            View::whole(id, wide, layout).slice(4 * margin, shape.c())
        }
    }
}

/// Reads a value back, in the engine's order. Nobody may have touched what lies beside it.
fn stored(externals: &Externals, op: &str, name: &str, view: &View, margin: usize) -> Vec<f32> {
    let buffer = &externals[name];
    let stored: Vec<f32> = device().readback(buffer.bytes).unwrap().read(device(), buffer).unwrap();
    if margin == 0 {
        return stored;
    }
    let (first, length) = (4 * view.offset as usize, 4 * view.shape.groups());
    let mut narrow = Vec::new();
    for pixel in stored.chunks(4 * view.stride as usize) {
        narrow.extend_from_slice(&pixel[first..first + length]);
        let beside = pixel[..first].iter().chain(&pixel[first + length..]);
        assert!(beside.copied().all(|value| value == OTHERS), "{op}: changed what lies beside {name}");
    }
    narrow
}

/// Reads a value back; the lanes that fill up its channels must be zero.
fn fetch(externals: &Externals, op: &str, name: &str, view: &View, margin: usize) -> Array {
    let stored = stored(externals, op, name, view, margin);
    let array = Array::new(view.shape, view.layout.unpack(view.shape, &stored));
    let bits = |values: &[f32]| values.iter().map(|value| value.abs().to_bits()).collect::<Vec<_>>();
    let clean = bits(&view.layout.pack(view.shape, &array.values)) == bits(&stored[..view.layout.stored(view.shape)]);
    assert!(clean, "{op}: the lanes that fill up the channels of {name} are not zero");
    array
}
