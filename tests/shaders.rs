//! Every kernel, without a GPU: it parses, validates and translates, keeps to the limits that any adapter has, and agrees
//! with its Rust side about parameters and bindings.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use common::kernels::{all_dispatches, bindings, dispatches, kernels, parse, parse_file};
use entoptic::device::{Tuning, expand};
use entoptic::ops::{samples, shaders};
use naga::back::pipeline_constants::process_overrides;
use naga::back::{PipelineConstants, hlsl, msl, spv};
use naga::{AddressSpace, ShaderStage, TypeInner};

/// What WebGPU promises of every adapter.
const STORAGE_BINDINGS: usize = 8;
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16 << 10;

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
        let (module, _) = parse_file(shader);
        let entries: BTreeSet<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(reached, &entries, "{}", shader.name);
    }
}

#[test]
fn params_have_the_size_of_their_rust_twin() {
    for shader in shaders() {
        let (module, _) = parse_file(shader);
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
        let (module, info) = parse(&kernel);
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

#[test]
fn entry_points_keep_to_eight_storage_bindings() {
    for kernel in kernels() {
        let storage = bindings(&kernel).keys().filter(|&&binding| binding > 0).count();
        assert!(storage <= STORAGE_BINDINGS, "{}: {storage} storage bindings", kernel.label());
    }
}

/// The layout of a pipeline follows from what its entry point names, so that a binding too few or too many is refused.
#[test]
fn dispatches_bind_what_their_kernels_name() {
    let mut known = HashMap::new();
    for dispatch in all_dispatches() {
        let named = known.entry(dispatch.kernel.clone()).or_insert_with(|| bindings(&dispatch.kernel));
        let bound: BTreeSet<u32> = dispatch.bindings.iter().map(|(binding, _)| *binding).chain([0]).collect();
        assert_eq!(bound, named.keys().copied().collect(), "{}", dispatch.label);
        assert_eq!(dispatch.params.len(), dispatch.kernel.shader.params_size, "{}", dispatch.label);
        for (binding, buffer) in &dispatch.bindings {
            let elsewhere = dispatch.bindings.iter().any(|(other, same)| other != binding && same == buffer);
            assert!(!(named[binding] && elsewhere), "{} writes a buffer that it also reads", dispatch.label);
        }
    }
}

/// For the compilers that `scripts/test.sh` finds: every text that a driver is given, each in a file of its own.
#[test]
fn every_text_is_written_to_a_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    let texts: BTreeSet<(&str, String)> = kernels().iter().map(|kernel| (kernel.shader.name, kernel.text())).collect();
    for (number, (name, text)) in texts.iter().enumerate() {
        assert!(!text.contains('#'), "{name} is not written out");
        std::fs::write(folder.join(format!("{name}-{number}.wgsl")), text).unwrap();
    }
    let names: BTreeSet<&str> = texts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), shaders().count(), "a file without a kernel");
}
