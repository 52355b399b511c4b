//! WGSL sources, the `#import` of shared fragments, and the cache of modules and pipelines.

use std::collections::HashMap;
use std::sync::Mutex;

use super::recording::Kernel;

/// One WGSL file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Base name of the file, which is the operation's.
    pub name: &'static str,
    /// Its text, with `#import` lines.
    pub text: &'static str,
    /// Bytes of the Rust twin of `struct Params`.
    pub params_size: usize,
}

/// Fragments for `#import`.
const SHARED: &[(&str, &str)] = &[
    ("corner", include_str!("../../shaders/shared/corner.wgsl")),
    ("linear", include_str!("../../shaders/shared/linear.wgsl")),
    ("reduce", include_str!("../../shaders/shared/reduce.wgsl")),
    ("window", include_str!("../../shaders/shared/window.wgsl")),
];

/// The text with every `#import name` line replaced by `shaders/shared/name.wgsl`.
///
/// # Panics
/// When a shader of this library names a fragment that does not exist, which the shader tests exclude.
pub fn expand(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len() + 1024);
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let fragment = SHARED.iter().find(|(shared, _)| *shared == name.trim());
                let (_, fragment) = fragment.unwrap_or_else(|| panic!("no shared fragment named {name}"));
                expanded.push_str(fragment);
            }
            None => expanded.push_str(line),
        }
        expanded.push('\n');
    }
    expanded
}

/// Compiled modules and pipelines, each made once per device.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
}

impl Pipelines {
    pub(super) fn get(&self, device: &wgpu::Device, kernel: &Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().expect("no panic happens while the lock is held");
        if let Some(pipeline) = pipelines.get(kernel) {
            return pipeline.clone();
        }
        let mut modules = self.modules.lock().expect("no panic happens while the lock is held");
        let module = modules.entry(kernel.shader.name).or_insert_with(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.shader.name),
                source: wgpu::ShaderSource::Wgsl(expand(kernel.shader.text).into()),
            })
        });
        let constants: Vec<(&str, f64)> = kernel.constants().collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.label()),
            layout: None,
            module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Kernels write workgroup memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        pipelines.insert(kernel.clone(), pipeline.clone());
        pipeline
    }
}
