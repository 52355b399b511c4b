//! The cache of compiled modules and pipelines.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::kept::Kept;
use super::recording::Kernel;
use super::shader::Shader;

/// Compiled modules and pipelines, each made once per device.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<Text, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
    /// What the driver keeps on disk, where the user and the driver want that.
    kept: OnceLock<Option<Kept>>,
    /// What is done to the texts of shaders, by those who look for mistakes.
    #[cfg(test)]
    rewritten: Mutex<HashMap<&'static Shader, Rewrite>>,
}

/// What a text is made of: a file by its name and text, for another one may have its name, and the numbers in it.
type Text = (&'static Shader, Vec<(&'static str, u32)>);

#[cfg(test)]
pub(super) type Rewrite = Box<dyn Fn(&str) -> String + Send + Sync>;

impl Pipelines {
    /// Keeps what the driver compiles from now on; the first folder given is the one.
    pub(super) fn keep_in(&self, device: &wgpu::Device, folder: &Path) -> Option<&Kept> {
        self.kept.get_or_init(|| Kept::open(device, folder)).as_ref()
    }

    /// What is kept, if anything is.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.get().and_then(Option::as_ref)
    }

    /// Rewrites every text of a shader, before any kernel of it is made: mistakes on purpose.
    #[cfg(test)]
    pub(super) fn rewrite(&self, shader: &'static Shader, rewrite: Rewrite) {
        self.rewritten.lock().expect("no panic happens while the lock is held").insert(shader, rewrite);
    }

    /// The text that the driver is given for a kernel.
    fn text(&self, kernel: &Kernel) -> String {
        let text = kernel.text();
        #[cfg(test)]
        if let Some(rewrite) =
            self.rewritten.lock().expect("no panic happens while the lock is held").get(kernel.shader)
        {
            return rewrite(&text);
        }
        text
    }

    /// Forgets a kernel that the device has refused, so that another try is one.
    pub(super) fn forget(&self, kernel: &Kernel) {
        self.pipelines.lock().expect("no panic happens while the lock is held").remove(kernel);
    }

    pub(super) fn get(&self, device: &wgpu::Device, kernel: &Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().expect("no panic happens while the lock is held");
        if let Some(pipeline) = pipelines.get(kernel) {
            return pipeline.clone();
        }
        let mut modules = self.modules.lock().expect("no panic happens while the lock is held");
        let module = modules.entry((kernel.shader, kernel.numbers().to_vec())).or_insert_with(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.shader.name),
                source: wgpu::ShaderSource::Wgsl(self.text(kernel).into()),
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

#[cfg(test)]
mod tests {
    use crate::device::{AdapterChoice, Device, Externals, Kernel, Program, Recorder, Shader};

    macro_rules! filling {
        ($value:literal) => {
            Shader {
                name: "fill",
                text: concat!(
                    "@group(0) @binding(0) var<uniform> params: vec4<f32>;\n",
                    "@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;\n",
                    "@compute @workgroup_size(1) fn update() { y[0] = params + vec4<f32>(",
                    $value,
                    "); }\n",
                ),
                params_size: 16,
            }
        };
    }

    static ONE: Shader = filling!("1.0");
    static TWO: Shader = filling!("2.0");

    fn device() -> Device {
        let choice = std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default();
        Device::open(&choice).expect("the tests need a Vulkan, Metal or DX12 adapter")
    }

    fn filled(device: &Device, shader: &'static Shader) -> Vec<f32> {
        let y = device.buffer("y", 16).expect("room");
        let mut recorder = Recorder::new(device.tuning());
        let out = recorder.external("y", 16);
        recorder.launch_workgroups(Kernel::new(shader, "update"), &[0.5f32; 4], &[(1, out)], 1, 4);
        let externals = Externals::from([("y".to_owned(), y.clone())]);
        let mut program = Program::prepare(device, "fill", &recorder.finish(), &externals).expect("compiles");
        program.run().expect("runs");
        device.readback(16).expect("room").read(device, &y).expect("reads")
    }

    #[test]
    fn shaders_of_one_name_are_told_apart_by_their_texts() {
        let device = device();
        assert_eq!(filled(&device, &ONE), [1.5; 4]);
        assert_eq!(filled(&device, &TWO), [2.5; 4]);
    }

    #[test]
    fn one_shader_alone_is_rewritten() {
        let device = device();
        device.rewrite_shader(&ONE, |text| text.replace("1.0", "3.0"));
        assert_eq!(filled(&device, &ONE), [3.5; 4]);
        assert_eq!(filled(&device, &TWO), [2.5; 4]);
    }
}
