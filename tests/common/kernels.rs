//! Every kernel and variant that the engine launches, with the text that a driver is given.

use std::collections::BTreeMap;

use entoptic::device::{Dispatch, Kernel, Recorder, Shader, Source, Tile, Tiling, Tuning, Variant};
use entoptic::ops::{Backward, Finish, Forward, Sample, View, samples, shaders};
use entoptic::tensor::Layout;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};

/// What a file may use that not every adapter has: only recordings for adapters that have it launch such kernels.
fn capabilities(shader: &Shader) -> Capabilities {
    match shader.name {
        "conv2d_subgroup" => Capabilities::SUBGROUP,
        _ => Capabilities::default(),
    }
}

/// A kernel's text, as naga understands it.
pub fn parse(kernel: &Kernel) -> (Module, ModuleInfo) {
    let text = kernel.text();
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), capabilities(kernel.shader)).validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{}: {}", kernel.shader.name, e.emit_to_string(&text)));
    (module, info)
}

/// A file with the numbers that stand in it.
pub fn parse_file(shader: &'static Shader) -> (Module, ModuleInfo) {
    parse(&Kernel::new(shader, ""))
}

/// What an operation launches forwards and then backwards towards every input that has a gradient.
pub fn dispatches(sample: &Sample, tuning: Tuning) -> Vec<Dispatch> {
    let mut recorder = Recorder::new(tuning);
    let view = |recorder: &mut Recorder, shape, layout: Layout| {
        View::whole(recorder.buffer("value", layout.bytes(shape), Source::Transient), shape, layout)
    };
    let forms: Vec<_> = sample.inputs.iter().map(|domain| domain.form()).collect();
    let shapes: Vec<_> = forms.iter().map(|(shape, _)| *shape).collect();
    let inputs: Vec<View> = forms.iter().map(|&(shape, layout)| view(&mut recorder, shape, layout)).collect();
    let output = view(&mut recorder, sample.op.output_shape(&shapes).unwrap(), Layout::Picture);
    let grad_output = view(&mut recorder, output.shape, Layout::Picture);
    let saved = sample.op.saved(&shapes);
    let saved: Vec<View> = saved.into_iter().map(|shape| view(&mut recorder, shape, Layout::Picture)).collect();
    sample.op.forward(&mut recorder, &Forward { inputs: &inputs, output, saved: &saved });
    let mut refused = 0;
    for (index, &(shape, layout)) in forms.iter().enumerate() {
        // One at a time, for an input without a gradient refuses the whole pass.
        let mut grads = vec![None; forms.len()];
        grads[index] = Some(view(&mut recorder, shape, layout));
        let pass =
            Backward { inputs: &inputs, output, saved: &saved, grad_output, grads: &grads, finish: Finish::default() };
        refused += usize::from(sample.op.backward(&mut recorder, &pass).is_err());
    }
    assert!(refused < forms.len(), "{:?} has no gradient at all", sample.op);
    recorder.finish().dispatches
}

/// What all samples launch, in all tunings.
pub fn all_dispatches() -> Vec<Dispatch> {
    let on_cpu = |subgroup| Tuning { workgroup: 8, subgroup, ..Tuning::default() };
    let mut tunings = vec![on_cpu(false), on_cpu(true)];
    tunings.extend(gpu_tunings());
    dispatches_in(&tunings)
}

fn gpu_tunings() -> Vec<Tuning> {
    let tiles =
        Tile::ALL.into_iter().flat_map(|tile| [1, 3].map(|splits| Tiling::Always(Variant::Tiled(tile, splits))));
    let tiles = tiles.map(|tiling| Tuning { tiling, ..Tuning::default() });
    [Tuning::default()].into_iter().chain(tiles).collect()
}

fn dispatches_in(tunings: &[Tuning]) -> Vec<Dispatch> {
    let of = |sample| tunings.iter().flat_map(move |tuning| dispatches(sample, tuning.clone()));
    samples().iter().flat_map(of).collect()
}

/// Every kernel that the samples launch, and every other entry point with the constants and numbers that stand in its file.
pub fn kernels() -> Vec<Kernel> {
    kernels_of(all_dispatches(), |_| true)
}

/// The same as a GPU has them.
pub fn gpu_kernels() -> Vec<Kernel> {
    kernels_of(dispatches_in(&gpu_tunings()), |shader| shader.name != "conv2d_subgroup")
}

fn kernels_of(dispatches: Vec<Dispatch>, wanted: impl Fn(&Shader) -> bool) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for dispatch in dispatches {
        if !kernels.contains(&dispatch.kernel) {
            kernels.push(dispatch.kernel);
        }
    }
    for shader in shaders().filter(|shader| wanted(shader)) {
        for entry in parse_file(shader).0.entry_points {
            if !kernels.iter().any(|kernel| kernel.shader == shader && kernel.entry == entry.name) {
                kernels.push(Kernel::new(shader, entry.name.leak()));
            }
        }
    }
    kernels
}

/// Binding numbers that a kernel names, and whether it may write there.
pub fn bindings(kernel: &Kernel) -> BTreeMap<u32, bool> {
    let (module, info) = parse(kernel);
    let index = module.entry_points.iter().position(|point| point.name == kernel.entry).expect("an entry point");
    let named = module.global_variables.iter().filter(|(handle, _)| !info.get_entry_point(index)[*handle].is_empty());
    let bound = named.filter_map(|(_, global)| Some((global, global.binding?)));
    bound
        .map(|(global, binding)| {
            let stores = StorageAccess::STORE;
            let writes = matches!(global.space, AddressSpace::Storage { access } if access.contains(stores));
            assert_eq!(binding.group, 0, "{}", kernel.label());
            (binding.binding, writes)
        })
        .collect()
}
