//! The cache of compiled modules and pipelines.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::kept::Kept;
use super::recording::Kernel;
use super::shader::expand;

/// Compiled modules and pipelines, each made once per device.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
    /// What the driver keeps on disk, where the user and the driver want that.
    kept: OnceLock<Option<Kept>>,
}

impl Pipelines {
    /// Keeps what the driver compiles from now on; the first folder given is the one.
    pub(super) fn keep_in(&self, device: &wgpu::Device, folder: &Path) -> Option<&Kept> {
        self.kept.get_or_init(|| Kept::open(device, folder)).as_ref()
    }

    /// What is kept, if anything is.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.get().and_then(Option::as_ref)
    }

    /// Puts another text in a shader's place, before any kernel of it is made: mistakes on purpose.
    #[cfg(test)]
    pub(super) fn replace(&self, device: &wgpu::Device, shader: &'static super::Shader, text: String) {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(shader.name), source: wgpu::ShaderSource::Wgsl(text.into()) };
        let module = device.create_shader_module(descriptor);
        self.modules.lock().expect("no panic happens while the lock is held").insert(shader.name, module);
    }

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
            cache: self.kept().map(|kept| &kept.cache),
        });
        pipelines.insert(kernel.clone(), pipeline.clone());
        pipeline
    }
}
