//! Work for the GPU as plain data: a list of dispatches over numbered buffers, built once and replayed every step.

use super::shader::Shader;
use super::tuning::Tuning;

/// A compute pipeline by name: shader, entry point and override constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The WGSL file.
    pub shader: &'static Shader,
    /// Entry point.
    pub entry: &'static str,
    /// Numbers in its text: see [`Shader::written`].
    numbers: Vec<(&'static str, u32)>,
    // Bits, so that kernels can be keys of the pipeline cache.
    constants: Vec<(&'static str, u64)>,
}

impl Kernel {
    /// A kernel without override constants.
    pub fn new(shader: &'static Shader, entry: &'static str) -> Self {
        Kernel { shader, entry, numbers: Vec::new(), constants: Vec::new() }
    }

    /// The same with one more override constant; a flag is 0 or 1.
    pub fn with(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        self.constants.push((name, value.into().to_bits()));
        self
    }

    /// Override constants.
    pub fn constants(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.constants.iter().map(|&(name, bits)| (name, f64::from_bits(bits)))
    }

    /// The same with one more number in its text, for those that an override constant cannot be.
    pub fn number(mut self, name: &'static str, value: u32) -> Self {
        self.numbers.push((name, value));
        self
    }

    /// Numbers in its text.
    pub fn numbers(&self) -> &[(&'static str, u32)] {
        &self.numbers
    }

    /// The text that a driver compiles.
    pub fn text(&self) -> String {
        self.shader.written(&self.numbers)
    }

    /// `shader.entry`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.shader.name, self.entry)
    }
}

/// A buffer of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) u32);

impl BufferId {
    /// Its place in [`Recording::buffers`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a buffer's contents come from, and how long they must last.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Written by one dispatch and read by later ones; its memory is reused afterwards.
    Transient,
    /// Like transient, but still there when the replay ends.
    Kept,
    /// Given by name when the recording is prepared: inputs, weights, state.
    External(String),
    /// These bytes, uploaded once.
    Constant(Vec<u8>),
}

/// Size and origin of one buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferSpec {
    /// Shown in plans, errors and GPU debuggers.
    pub label: String,
    /// Size.
    pub bytes: u64,
    /// Origin and lifetime.
    pub source: Source,
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// Contents of the uniform at binding 0.
    pub params: Vec<u8>,
    /// Binding number and buffer.
    pub bindings: Vec<(u32, BufferId)>,
    /// Workgroups in x, y, z.
    pub workgroups: [u32; 3],
    /// `layer: shader.entry`.
    pub label: String,
    /// Floating-point operations, roughly.
    pub flops: u64,
}

/// A list of dispatches and the buffers they use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Buffers, by [`BufferId`].
    pub buffers: Vec<BufferSpec>,
    /// Launches, in order.
    pub dispatches: Vec<Dispatch>,
}

impl Recording {
    /// Puts another recording behind this one; external buffers of the same name are the same buffer.
    pub fn append(&mut self, other: &Recording) {
        let first = u32::try_from(self.buffers.len()).expect("a recording has few buffers");
        self.buffers.extend(other.buffers.iter().cloned());
        self.dispatches.extend(other.dispatches.iter().cloned().map(|dispatch| {
            let bindings = dispatch.bindings.iter().map(|&(binding, BufferId(id))| (binding, BufferId(first + id)));
            Dispatch { bindings: bindings.collect(), ..dispatch }
        }));
    }

    /// Floating-point operations of one replay, roughly.
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|dispatch| dispatch.flops).sum()
    }
}

/// Builds a [`Recording`].
#[derive(Debug, Default)]
pub struct Recorder {
    recording: Recording,
    tuning: Tuning,
    layer: String,
}

/// WebGPU's limit on workgroups in one dimension; dispatches beyond it are folded into the next.
const MAX_WORKGROUPS: u32 = 65_535;

impl Recorder {
    /// An empty recording for one kind of adapter.
    pub fn new(tuning: Tuning) -> Self {
        Recorder { tuning, ..Recorder::default() }
    }

    /// What the recording depends on besides shapes.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The name of the layer that the next dispatches and buffers belong to.
    pub fn layer(&mut self, name: &str) {
        name.clone_into(&mut self.layer);
    }

    /// A new buffer.
    pub fn buffer(&mut self, what: &str, bytes: u64, source: Source) -> BufferId {
        let label = if self.layer.is_empty() { what.to_owned() } else { format!("{}: {what}", self.layer) };
        let id = BufferId(u32::try_from(self.recording.buffers.len()).expect("a recording has few buffers"));
        // Bindings are whole vec4s, and never empty.
        self.recording.buffers.push(BufferSpec { label, bytes: bytes.next_multiple_of(16).max(16), source });
        id
    }

    /// The buffer that the caller gives under `name`; the same one each time.
    pub fn external(&mut self, name: &str, bytes: u64) -> BufferId {
        let known = self.recording.buffers.iter_mut().enumerate();
        for (index, spec) in known {
            if matches!(&spec.source, Source::External(other) if other == name) {
                spec.bytes = spec.bytes.max(bytes.next_multiple_of(16));
                return BufferId(index as u32);
            }
        }
        let layer = std::mem::take(&mut self.layer);
        let id = self.buffer(name, bytes, Source::External(name.to_owned()));
        self.layer = layer;
        id
    }

    /// A buffer of constants, uploaded once when the recording is prepared.
    pub fn constants<T: bytemuck::NoUninit>(&mut self, what: &str, values: &[T]) -> BufferId {
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.buffer(what, bytes.len() as u64, Source::Constant(bytes))
    }

    /// Makes a transient buffer last until the replay ends.
    pub fn keep(&mut self, id: BufferId) {
        let source = &mut self.recording.buffers[id.0 as usize].source;
        if *source == Source::Transient {
            *source = Source::Kept;
        }
    }

    /// Appends a launch with one invocation for each of `invocations`, in workgroups that suit the adapter.
    ///
    /// The shader imports `linear` and finds its number with `linear_index`. `planes` is the size in z.
    pub fn launch<P: bytemuck::Pod>(
        &mut self,
        kernel: Kernel,
        params: &P,
        bindings: &[(u32, BufferId)],
        invocations: usize,
        planes: usize,
        flops: usize,
    ) {
        let workgroups = invocations.div_ceil(self.tuning.workgroup as usize);
        let kernel = kernel.with("WG", self.tuning.workgroup);
        self.push(kernel, params, bindings, workgroups, planes, flops);
    }

    /// Appends a launch of `workgroups` workgroups whose size the shader fixes, folded into two dimensions.
    pub fn launch_workgroups<P: bytemuck::Pod>(
        &mut self,
        kernel: Kernel,
        params: &P,
        bindings: &[(u32, BufferId)],
        workgroups: usize,
        flops: usize,
    ) {
        self.push(kernel, params, bindings, workgroups, 1, flops);
    }

    fn push<P: bytemuck::Pod>(
        &mut self,
        kernel: Kernel,
        params: &P,
        bindings: &[(u32, BufferId)],
        workgroups: usize,
        planes: usize,
        flops: usize,
    ) {
        let count = u32::try_from(workgroups.max(1)).expect("shapes whose kernels need 2^32 workgroups are refused");
        let rows = count.div_ceil(MAX_WORKGROUPS);
        assert!(rows <= MAX_WORKGROUPS, "{} needs {count} workgroups", kernel.label());
        let label = match self.layer.as_str() {
            "" => kernel.label(),
            layer => format!("{layer}: {}", kernel.label()),
        };
        self.recording.dispatches.push(Dispatch {
            kernel,
            params: bytemuck::bytes_of(params).to_vec(),
            bindings: bindings.to_vec(),
            workgroups: [count.div_ceil(rows), rows, planes.max(1) as u32],
            label,
            flops: flops as u64,
        });
    }

    /// The finished recording.
    pub fn finish(self) -> Recording {
        self.recording
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SHADER: Shader = Shader { name: "none", text: "", params_size: 16 };

    #[test]
    fn launches_beyond_the_dimension_limit_are_folded() {
        let mut recorder = Recorder::new(Tuning::default());
        recorder.launch(Kernel::new(&SHADER, "forward"), &[0u32; 4], &[], 64 * 65_535 * 3 + 1, 1, 0);
        let [x, y, z] = recorder.finish().dispatches[0].workgroups;
        assert!(x <= 65_535 && y <= 65_535 && z == 1);
        assert!(u64::from(x) * u64::from(y) > 65_535 * 3);
    }
}
