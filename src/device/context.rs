//! A device with its queue, its buffers and what has gone wrong on it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::adapter::{self, AdapterChoice, AdapterSummary, Class};
use super::memory::{Claim, Memory};
use super::pipelines::Pipelines;
use super::tuning::{Tiling, Tuning, Variant};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// An open GPU. Cheap to clone; all clones are the same device.
#[derive(Clone)]
pub struct Device {
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: Arc<Pipelines>,
    summary: Arc<AdapterSummary>,
    faults: Arc<Mutex<Faults>>,
    /// Floating-point operations that one submission may hold.
    pub(super) budget: Arc<AtomicU64>,
    /// Largest binding that anybody may make, where that is less than the adapter's.
    binding: Arc<AtomicU64>,
    memory: Arc<Memory>,
    tiling: Arc<Mutex<Tiling>>,
    /// Whether the lanes of a vector can read each other's registers.
    subgroup: bool,
}

/// What the driver reported outside of any call that could return it.
#[derive(Default)]
struct Faults {
    lost: Option<String>,
    error: Option<String>,
    out_of_memory: bool,
}

/// A GPU buffer. Cheap to clone; all clones are the same memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    /// Size.
    pub bytes: u64,
    /// Name in errors and GPU debuggers.
    pub label: Arc<str>,
    /// Held for its `Drop`.
    _claim: Arc<Claim>,
}

/// How much exists on the device right now, to show that replays allocate nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Buffers.
    pub buffers: i64,
    /// Bytes in buffers.
    pub buffer_bytes: i64,
    /// Bind groups.
    pub bind_groups: i64,
    /// Compute pipelines.
    pub pipelines: i64,
    /// Shader modules.
    pub shader_modules: i64,
}

/// Features that measurements and starts are better with; nothing fails without them.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::PIPELINE_CACHE);

/// Submissions of unknown speed start this small: a display driver kills what takes about two seconds.
const FIRST_BUDGET: u64 = 2_000_000_000;

/// Where nothing is measured.
fn fixed_tiling(class: Class) -> Tiling {
    match class {
        // On a CPU workgroup memory and barriers cost two to three times what they save.
        Class::Software => Tiling::Always(Variant::Registers),
        _ => Tiling::Table { units: class.units() },
    }
}

impl Device {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::UnknownAdapter`], [`Error::DeviceRequest`].
    pub fn open(choice: &AdapterChoice) -> Result<Self> {
        Self::with_limits(choice, |limits| limits)
    }

    /// Opens an adapter with WebGPU's default limits, the least that any adapter offers.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open_with_default_limits(choice: &AdapterChoice) -> Result<Self> {
        Self::with_limits(choice, |_| wgpu::Limits::default())
    }

    fn with_limits(choice: &AdapterChoice, limits: impl FnOnce(wgpu::Limits) -> wgpu::Limits) -> Result<Self> {
        let (adapter, summary) = adapter::choose(choice)?;
        let info = adapter.get_info();
        let subgroup = summary.class == Class::Software
            && adapter.features().contains(wgpu::Features::SUBGROUP)
            && [info.subgroup_min_size, info.subgroup_max_size] == [8; 2];
        let wanted = if subgroup { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("entoptic"),
            required_features: wanted | adapter.features() & WANTED,
            required_limits: limits(adapter.limits()),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        });
        let (raw, queue) = pollster::block_on(request)
            .map_err(|error| Error::DeviceRequest { adapter: summary.name.clone(), reason: error.to_string() })?;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let seen = Arc::clone(&faults);
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut faults = seen.lock().expect("no panic happens while the lock is held");
            faults.out_of_memory |= matches!(error, wgpu::Error::OutOfMemory { .. });
            faults.error.get_or_insert_with(|| error.to_string());
        }));
        let seen = Arc::clone(&faults);
        raw.set_device_lost_callback(move |reason, message| {
            let mut faults = seen.lock().expect("no panic happens while the lock is held");
            faults.lost.get_or_insert_with(|| format!("{reason:?} {message}").trim().to_owned());
        });
        let budget = if summary.class == Class::Software { u64::MAX } else { FIRST_BUDGET };
        let tiling = fixed_tiling(summary.class);
        Ok(Device {
            raw,
            queue,
            pipelines: Arc::default(),
            summary: Arc::new(summary),
            faults,
            budget: Arc::new(AtomicU64::new(budget)),
            binding: Arc::new(AtomicU64::new(u64::MAX)),
            memory: Memory::unlimited(),
            tiling: Arc::new(Mutex::new(tiling)),
            subgroup,
        })
    }

    /// The adapter in use.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.summary
    }

    /// What recordings for this adapter depend on.
    pub fn tuning(&self) -> Tuning {
        // One invocation per lane of a CPU's vector unit: a measured factor of two over larger workgroups.
        let workgroup = if self.summary.class == Class::Software { 8 } else { 64 };
        let tiling = self.tiling.lock().expect("no panic happens while the lock is held").clone();
        Tuning { workgroup, subgroup: self.subgroup, tiling }
    }

    /// The same device, whose recordings choose kernels independently of this one's.
    pub fn apart(&self) -> Device {
        let tiling = Arc::new(Mutex::new(fixed_tiling(self.summary.class)));
        Device { tiling, ..self.clone() }
    }

    /// Sets how recordings from now on choose kernels that multiply matrices.
    pub fn set_tiling(&self, tiling: Tiling) {
        *self.tiling.lock().expect("no panic happens while the lock is held") = tiling;
    }

    /// Puts another text in a shader's place on this device, for tests of those who look for mistakes.
    #[cfg(test)]
    pub(crate) fn replace_shader(&self, shader: &'static super::Shader, text: String) {
        self.pipelines.replace(&self.raw, shader, text);
    }

    /// Largest binding and largest buffer, in bytes.
    pub(super) fn buffer_limits(&self) -> (u64, u64) {
        let limits = self.raw.limits();
        let binding = limits.max_storage_buffer_binding_size.min(self.binding.load(Ordering::Relaxed));
        (binding, limits.max_buffer_size)
    }

    /// Allows no binding from now on that is larger than this, as a lesser adapter would: batches are done in more parts.
    pub fn limit_bindings(&self, bytes: u64) {
        self.binding.store(bytes, Ordering::Relaxed);
    }

    /// Lets buffers of this device take so many bytes in all from now on: one that would take more is refused as by a driver that
    /// has no memory left. For a GPU that is shared, and to see what a smaller one would do.
    pub fn limit_memory(&self, bytes: u64) {
        self.memory.limit(bytes);
    }

    /// Keeps what the driver compiles in a folder, made where it is absent, for the next process; says whether the driver does
    /// such a thing. The file is written when the last clone of the device goes, or by [`Device::save_pipelines`].
    pub fn keep_pipelines(&self, folder: &Path) -> bool {
        self.pipelines.keep_in(&self.raw, folder).is_some()
    }

    /// Writes what the driver compiled since [`Device::keep_pipelines`].
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made or written.
    pub fn save_pipelines(&self) -> Result<()> {
        self.pipelines.kept().map_or(Ok(()), |kept| kept.save())
    }

    /// Runs `make` and turns what the driver says of it into an error with that label.
    pub(super) fn checked<T>(&self, label: &str, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        let invalid = pollster::block_on(validation.pop());
        let exhausted = pollster::block_on(memory.pop());
        self.check(label)?;
        if exhausted.is_some() {
            return Err(Error::OutOfMemory { label: label.to_owned() });
        }
        match invalid {
            Some(error) => Err(Error::Gpu { label: label.to_owned(), reason: error.to_string() }),
            None => Ok(made),
        }
    }

    /// Turns a fault that the driver reported meanwhile into an error.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`] with `label`.
    pub fn check(&self, label: &str) -> Result<()> {
        let mut faults = self.faults.lock().expect("no panic happens while the lock is held");
        if let Some(reason) = &faults.lost {
            return Err(Error::DeviceLost { label: label.to_owned(), reason: reason.clone() });
        }
        if std::mem::take(&mut faults.out_of_memory) {
            faults.error = None;
            return Err(Error::OutOfMemory { label: label.to_owned() });
        }
        match faults.error.take() {
            Some(reason) => Err(Error::Gpu { label: label.to_owned(), reason }),
            None => Ok(()),
        }
    }

    /// Waits until everything submitted so far has run.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn wait(&self, label: &str) -> Result<()> {
        self.poll(label, wgpu::PollType::Wait { submission_index: None, timeout: None })
    }

    pub(super) fn poll(&self, label: &str, how: wgpu::PollType) -> Result<()> {
        let polled = self.raw.poll(how);
        self.check(label)?;
        polled.map(|_| ()).map_err(|error| Error::Gpu { label: label.to_owned(), reason: error.to_string() })
    }

    /// A zeroed buffer.
    ///
    /// # Errors
    /// [`Error::BufferLimit`], [`Error::OutOfMemory`].
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer> {
        // Kernels bind buffers whole.
        let (max_binding, max_buffer) = self.buffer_limits();
        self.buffer_within(label, bytes, max_binding.min(max_buffer))
    }

    /// A zeroed buffer that no kernel sees: [`Device::copy`] reads and writes parts of it.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn store(&self, label: &str, bytes: u64) -> Result<Buffer> {
        self.buffer_within(label, bytes, self.buffer_limits().1)
    }

    fn buffer_within(&self, label: &str, bytes: u64, allowed: u64) -> Result<Buffer> {
        let bytes = bytes.next_multiple_of(16).max(16);
        if bytes > allowed {
            return Err(Error::BufferLimit { label: label.to_owned(), needed: bytes, allowed });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.raw_buffer(label, bytes, usage)
    }

    pub(super) fn raw_buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let claim = self.memory.claim(bytes).ok_or_else(|| Error::OutOfMemory { label: label.to_owned() })?;
        let raw = self.checked(label, || self.raw.create_buffer(&descriptor))?;
        Ok(Buffer { raw, bytes, label: label.into(), _claim: Arc::new(claim) })
    }

    /// A buffer that holds an array, in the engine's order.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn upload(&self, label: &str, layout: Layout, array: &Array) -> Result<Buffer> {
        let buffer = self.buffer(label, layout.bytes(array.shape))?;
        self.write_array(&buffer, layout, array)?;
        Ok(buffer)
    }

    /// Overwrites a buffer with an array of the size it was made for.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn write_array(&self, buffer: &Buffer, layout: Layout, array: &Array) -> Result<()> {
        self.write(buffer, &layout.pack(array.shape, &array.values))
    }

    /// Overwrites the start of a buffer.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, values: &[T]) -> Result<()> {
        self.checked(&buffer.label, || self.queue.write_buffer(&buffer.raw, 0, bytemuck::cast_slice(values)))
    }

    /// Copies `bytes` from one buffer to another, from and to these places, in the order of submissions.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn copy(&self, (from, at): (&Buffer, u64), (to, place): (&Buffer, u64), bytes: u64) -> Result<()> {
        self.checked(&to.label, || {
            let mut encoder = self.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&from.raw, at, &to.raw, place, bytes);
            self.queue.submit([encoder.finish()]);
        })
    }

    /// Fills buffers with zeros, in the order of submissions.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn clear<'a>(&self, label: &str, buffers: impl IntoIterator<Item = &'a Buffer>) -> Result<()> {
        self.checked(label, || {
            let mut encoder = self.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            buffers.into_iter().for_each(|buffer| encoder.clear_buffer(&buffer.raw, 0, None));
            self.queue.submit([encoder.finish()]);
        })
    }

    /// Waits for the device and copies an array back.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn download(&self, buffer: &Buffer, layout: Layout, shape: Shape) -> Result<Array> {
        let stored: Vec<f32> = self.readback(layout.bytes(shape))?.read(self, buffer)?;
        Ok(Array::new(shape, layout.unpack(shape, &stored)))
    }

    /// Host-visible memory to read results of up to `bytes` into, again and again.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn readback(&self, bytes: u64) -> Result<Readback> {
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        Ok(Readback { staging: self.raw_buffer("readback", bytes.next_multiple_of(4), usage)? })
    }

    /// What exists on this device right now.
    pub fn counters(&self) -> Counters {
        // Freed objects are counted until the next poll.
        let _ = self.raw.poll(wgpu::PollType::Poll);
        let hal = self.raw.get_internal_counters().hal;
        Counters {
            buffers: hal.buffers.read() as i64,
            buffer_bytes: hal.buffer_memory.read() as i64,
            bind_groups: hal.bind_groups.read() as i64,
            pipelines: hal.compute_pipelines.read() as i64,
            shader_modules: hal.shader_modules.read() as i64,
        }
    }

    /// Gives the device up, as a driver reset would: everything on it fails from now on.
    pub fn destroy(&self) {
        self.raw.destroy();
    }

    /// Splits long recordings into submissions of at most about so many floating-point operations each.
    ///
    /// The first replay of a recording on a GPU chooses this by itself, for a quarter of a second each; a driver with a
    /// shorter patience needs less.
    pub fn limit_submissions(&self, flops: u64) {
        self.budget.store(flops, Ordering::Relaxed);
    }

    /// Sets what one submission may hold from the time that `flops` operations took.
    pub(super) fn learn(&self, flops: u64, elapsed: Duration) {
        // A quarter of a second leaves a factor of eight to the usual watchdog.
        let per_second = flops as f64 / elapsed.as_secs_f64().max(1e-6);
        self.budget.store((per_second * 0.25) as u64, Ordering::Relaxed);
    }
}

/// Host-visible memory, made once and read into many times.
pub struct Readback {
    staging: Buffer,
}

impl Readback {
    /// Waits for the device and copies the start of `buffer`, as much as fits.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn read<T: bytemuck::Pod>(&self, device: &Device, buffer: &Buffer) -> Result<Vec<T>> {
        let bytes = self.staging.bytes.min(buffer.bytes);
        device.checked(&buffer.label, || {
            let mut encoder = device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&buffer.raw, 0, &self.staging.raw, 0, bytes);
            device.queue.submit([encoder.finish()]);
        })?;
        let mapped = Arc::new(Mutex::new(None));
        let answer = Arc::clone(&mapped);
        self.staging.raw.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            *answer.lock().expect("no panic happens while the lock is held") = Some(result);
        });
        device.wait(&buffer.label)?;
        let answer = mapped.lock().expect("no panic happens while the lock is held").take();
        if let Some(Err(error)) = answer {
            return Err(Error::Gpu { label: buffer.label.to_string(), reason: error.to_string() });
        }
        let view = self.staging.raw.get_mapped_range(0..bytes);
        let view = view.map_err(|error| Error::Gpu { label: buffer.label.to_string(), reason: error.to_string() })?;
        let values = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.staging.raw.unmap();
        Ok(values)
    }
}
