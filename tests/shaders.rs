//! Every kernel, without a GPU: it parses, validates and translates, keeps to the limits that any adapter has, and agrees
//! with its Rust side about parameters and bindings.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use entoptic::device::{Dispatch, Kernel, Recorder, Shader, Source, Tile, Tiling, Tuning, Variant, expand};
use entoptic::ops::{Backward, Finish, Forward, Sample, View, samples, shaders};
use entoptic::tensor::Layout;
use naga::back::pipeline_constants::process_overrides;
use naga::back::{PipelineConstants, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};

/// What WebGPU promises of every adapter.
const STORAGE_BINDINGS: usize = 8;
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16 << 10;

/// What a file may use that not every adapter has: only recordings for adapters that have it launch such kernels.
fn capabilities(shader: &Shader) -> Capabilities {
    match shader.name {
        "conv2d_subgroup" => Capabilities::SUBGROUP,
        _ => Capabilities::default(),
    }
}

fn parse(shader: &Shader) -> (Module, ModuleInfo) {
    let text = expand(shader.text);
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), capabilities(shader)).validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{}: {}", shader.name, e.emit_to_string(&text)));
    (module, info)
}

/// What an operation launches forwards and then backwards towards every input that has a gradient.
fn dispatches(sample: &Sample, tuning: Tuning) -> Vec<Dispatch> {
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

fn all_dispatches() -> Vec<Dispatch> {
    let on_cpu = |subgroup| Tuning { workgroup: 8, subgroup, ..Tuning::default() };
    let mut tunings = vec![on_cpu(false), on_cpu(true), Tuning::default()];
    for tile in Tile::ALL {
        let tiling = [1, 3].map(|splits| Tiling::Always(Variant::Tiled(tile, splits)));
        tunings.extend(tiling.map(|tiling| Tuning { tiling, ..Tuning::default() }));
    }
    let of = |sample| tunings.iter().flat_map(move |tuning| dispatches(sample, tuning.clone()));
    samples().iter().flat_map(of).collect()
}

/// Every kernel that the samples launch, and every other entry point with its default constants.
fn kernels() -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for dispatch in all_dispatches() {
        if !kernels.contains(&dispatch.kernel) {
            kernels.push(dispatch.kernel);
        }
    }
    for shader in shaders() {
        for entry in parse(shader).0.entry_points {
            if !kernels.iter().any(|kernel| kernel.shader == shader && kernel.entry == entry.name) {
                kernels.push(Kernel::new(shader, entry.name.leak()));
            }
        }
    }
    kernels
}

#[test]
fn every_file_is_registered_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let names = |folder: &Path| -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let wgsl = files.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
        wgsl.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let registered: Vec<&str> = shaders().map(|shader| shader.name).collect();
    let distinct: BTreeSet<&str> = registered.iter().copied().collect();
    assert_eq!(registered.len(), distinct.len(), "a file is registered twice");
    let files = names(&folder);
    assert_eq!(distinct, files.iter().map(String::as_str).collect());
    for fragment in names(&folder.join("shared")) {
        assert!(!expand(&format!("#import {fragment}")).starts_with("#import"), "{fragment}");
        let import = format!("#import {fragment}");
        let users = shaders().filter(|shader| shader.text.lines().any(|line| line == import)).count();
        assert!(users > 0, "nobody imports {fragment}");
    }
}

#[test]
fn operations_are_named_like_their_files() {
    for sample in samples() {
        let own = dispatches(&sample, Tuning::default());
        // A convolution has files for groups, whose names begin with its own; what adds partial sums up is one of them. The slope
        // of a function that it has taken in is in the file of these.
        let named = |name: &str| {
            let rest = name.strip_prefix(sample.op.name());
            rest.is_some_and(|rest| rest.is_empty() || sample.op.name() == "conv2d" && rest.starts_with('_'))
                || sample.op.name() == "conv2d" && name == "activation"
        };
        assert!(own.iter().all(|dispatch| named(dispatch.kernel.shader.name)), "{:?}", sample.op);
    }
}

/// An entry point that no sample reaches is one that no walk over the samples tests.
#[test]
fn samples_reach_every_entry_point() {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for dispatch in all_dispatches() {
        reached.entry(dispatch.kernel.shader.name).or_default().insert(dispatch.kernel.entry);
    }
    for shader in shaders() {
        let Some(reached) = reached.get(shader.name) else { continue };
        let (module, _) = parse(shader);
        let entries: BTreeSet<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(reached, &entries, "{}", shader.name);
    }
}

#[test]
fn params_have_the_size_of_their_rust_twin() {
    for shader in shaders() {
        let (module, _) = parse(shader);
        let params = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
        let (_, params) = params.unwrap_or_else(|| panic!("{} has no struct Params", shader.name));
        let TypeInner::Struct { span, ref members } = params.inner else { panic!("Params is a struct") };
        assert_eq!(span as usize, shader.params_size, "{}", shader.name);
        assert_eq!(span % 16, 0, "{}: uniforms are padded to 16 bytes", shader.name);
        for member in members {
            let scalar = matches!(module.types[member.ty].inner, TypeInner::Scalar(_));
            assert!(scalar, "{}: {:?} is no scalar", shader.name, member.name);
        }
    }
}

#[test]
fn kernels_validate_and_translate_with_their_constants() {
    for kernel in kernels() {
        let label = kernel.label();
        let (module, info) = parse(kernel.shader);
        let constants: PipelineConstants = kernel.constants().map(|(name, value)| (name.to_owned(), value)).collect();
        let entry = Some((ShaderStage::Compute, kernel.entry));
        let (module, info) =
            process_overrides(&module, &info, entry, &constants).unwrap_or_else(|e| panic!("{label}: {e}"));
        let [entry] = &module.entry_points[..] else { panic!("{label}: one entry point is left") };
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(invocations <= INVOCATIONS, "{label}: {invocations} invocations");
        let used = module.global_variables.iter().filter(|(handle, global)| {
            global.space == AddressSpace::WorkGroup && !info.get_entry_point(0)[*handle].is_empty()
        });
        let bytes: u32 = used.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= WORKGROUP_BYTES, "{label}: {bytes} bytes of workgroup memory");

        let options = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: kernel.entry.into() };
        spv::write_vec(
            &module,
            &info,
            &spv::Options { lang_version: (1, 3), ..spv::Options::default() },
            Some(&options),
        )
        .unwrap_or_else(|e| panic!("{label} to SPIR-V: {e}"));
        msl::write_string(&module, &info, &msl::Options::default(), &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{label} to MSL: {e}"));
        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
        hlsl::Writer::new(&mut String::new(), &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{label} to HLSL: {e}"));
    }
}

/// Binding numbers that an entry point names, and whether it may write there.
fn bindings(shader: &Shader, entry: &str) -> BTreeMap<u32, bool> {
    let (module, info) = parse(shader);
    let index = module.entry_points.iter().position(|point| point.name == entry).expect("an entry point");
    let named = module.global_variables.iter().filter(|(handle, _)| !info.get_entry_point(index)[*handle].is_empty());
    let bound = named.filter_map(|(_, global)| Some((global, global.binding?)));
    bound
        .map(|(global, binding)| {
            let stores = StorageAccess::STORE;
            let writes = matches!(global.space, AddressSpace::Storage { access } if access.contains(stores));
            assert_eq!(binding.group, 0, "{}", shader.name);
            (binding.binding, writes)
        })
        .collect()
}

#[test]
fn entry_points_keep_to_eight_storage_bindings() {
    for kernel in kernels() {
        let storage = bindings(kernel.shader, kernel.entry).keys().filter(|&&binding| binding > 0).count();
        assert!(storage <= STORAGE_BINDINGS, "{}: {storage} storage bindings", kernel.label());
    }
}

/// The layout of a pipeline follows from what its entry point names, so that a binding too few or too many is refused.
#[test]
fn dispatches_bind_what_their_kernels_name() {
    for dispatch in all_dispatches() {
        let named = bindings(dispatch.kernel.shader, dispatch.kernel.entry);
        let bound: BTreeSet<u32> = dispatch.bindings.iter().map(|(binding, _)| *binding).chain([0]).collect();
        assert_eq!(bound, named.keys().copied().collect(), "{}", dispatch.label);
        assert_eq!(dispatch.params.len(), dispatch.kernel.shader.params_size, "{}", dispatch.label);
        for (binding, buffer) in &dispatch.bindings {
            let elsewhere = dispatch.bindings.iter().any(|(other, same)| other != binding && same == buffer);
            assert!(!(named[binding] && elsewhere), "{} writes a buffer that it also reads", dispatch.label);
        }
    }
}
