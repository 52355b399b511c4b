//! A device with its queue, its buffers and what has gone wrong on it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::adapter::{self, AdapterChoice, AdapterSummary, Class};
use super::faults::{Faults, caught};
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
    adapter: wgpu::Adapter,
    summary: Arc<AdapterSummary>,
    faults: Faults,
    /// Nanoseconds that one submission may take.
    patience: Arc<AtomicU64>,
    /// Largest binding that anybody may make, where that is less than the adapter's.
    binding: Arc<AtomicU64>,
    memory: Arc<Memory>,
    tiling: Arc<Mutex<Tiling>>,
    /// Whether the lanes of a vector can read each other's registers.
    subgroup: bool,
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

/// What one submission may take on a GPU: an eighth of what the usual watchdog of a display driver allows.
const PATIENCE: Duration = Duration::from_millis(250);

/// Drivers count bytes of buffers and bindings with a sign, whatever they say that they allow.
const LARGEST: u64 = (1 << 31) - 1;

/// Bytes that are uploaded at a time: as much is taken besides the buffer itself.
const UPLOAD: usize = 16 << 20;

/// Where nothing is measured.
fn fixed_tiling(adapter: &AdapterSummary) -> Tiling {
    match adapter.class {
        // On a CPU workgroup memory and barriers cost two to three times what they save.
        Class::Software => Tiling::Always(Variant::Registers),
        _ => Tiling::Table { units: adapter.units() },
    }
}

/// Largest binding and largest buffer of an adapter that has these limits.
fn counted_with_a_sign(limits: &wgpu::Limits) -> (u64, u64) {
    (limits.max_storage_buffer_binding_size.min(LARGEST), limits.max_buffer_size.min(LARGEST))
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
        let limits = limits(adapter.limits());
        Self::on(adapter, Arc::new(summary), limits)
    }

    /// Another device on the same adapter, which shares nothing with this one: what is lost with one is not lost with the other.
    ///
    /// # Errors
    /// [`Error::DeviceRequest`].
    pub fn another(&self) -> Result<Self> {
        Self::on(self.adapter.clone(), Arc::clone(&self.summary), self.raw.limits())
    }

    fn on(adapter: wgpu::Adapter, summary: Arc<AdapterSummary>, limits: wgpu::Limits) -> Result<Self> {
        let info = adapter.get_info();
        let subgroup = summary.class == Class::Software
            && adapter.features().contains(wgpu::Features::SUBGROUP)
            && [info.subgroup_min_size, info.subgroup_max_size] == [8; 2];
        let wanted = if subgroup { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("entoptic"),
            required_features: wanted | adapter.features() & WANTED,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        });
        let (raw, queue) = pollster::block_on(request)
            .map_err(|error| Error::DeviceRequest { adapter: summary.name.clone(), reason: error.to_string() })?;
        let faults = Faults::of(&raw);
        let patience = if summary.class == Class::Software { u64::MAX } else { PATIENCE.as_nanos() as u64 };
        let tiling = fixed_tiling(&summary);
        Ok(Device {
            raw,
            queue,
            pipelines: Arc::default(),
            adapter,
            summary,
            faults,
            patience: Arc::new(AtomicU64::new(patience)),
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
        let tiling = Arc::new(Mutex::new(fixed_tiling(&self.summary)));
        Device { tiling, ..self.clone() }
    }

    /// Whether buffers of one are buffers of the other.
    pub fn is_same(&self, other: &Device) -> bool {
        self.raw == other.raw
    }

    /// Sets how recordings from now on choose kernels that multiply matrices.
    pub fn set_tiling(&self, tiling: Tiling) {
        *self.tiling.lock().expect("no panic happens while the lock is held") = tiling;
    }

    /// Rewrites every text of a shader on this device, for tests of those who look for mistakes.
    #[cfg(test)]
    pub(crate) fn rewrite_shader(
        &self,
        shader: &'static super::Shader,
        rewrite: impl Fn(&str) -> String + Send + Sync + 'static,
    ) {
        self.pipelines.rewrite(shader, Box::new(rewrite));
    }

    /// Largest binding and largest buffer, in bytes.
    pub(super) fn buffer_limits(&self) -> (u64, u64) {
        let (binding, buffer) = counted_with_a_sign(&self.raw.limits());
        (binding.min(self.binding.load(Ordering::Relaxed)), buffer)
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
        self.faults.check(label)
    }

    /// Whether it is lost, so that only another one can go on.
    pub fn is_lost(&self) -> bool {
        self.faults.are_final()
    }

    /// Waits until everything submitted so far has run.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn wait(&self, label: &str) -> Result<()> {
        self.poll(label, wgpu::PollType::Wait { submission_index: None, timeout: None })
    }

    pub(super) fn poll(&self, label: &str, how: wgpu::PollType) -> Result<()> {
        let polled = caught(|| self.raw.poll(how)).map_err(|reason| self.faults.lose(reason));
        self.check(label)?;
        match polled {
            Ok(Err(error)) => Err(Error::Gpu { label: label.to_owned(), reason: error.to_string() }),
            _ => Ok(()),
        }
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
        self.made_buffer(label, bytes, usage, false)
    }

    fn made_buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation };
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
    /// [`Error::OutOfMemory`], and as [`Device::check`].
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, values: &[T]) -> Result<()> {
        let mut at = 0;
        for part in bytemuck::cast_slice::<T, u8>(values).chunks(UPLOAD) {
            let staged = match self.staged(&buffer.label, part) {
                // What earlier uploads took comes back once they are done.
                Err(Error::OutOfMemory { .. }) if !self.is_lost() => {
                    self.wait(&buffer.label)?;
                    self.staged(&buffer.label, part)
                }
                staged => staged,
            }?;
            self.copy((&staged, 0), (buffer, at), part.len() as u64)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Host memory with these bytes, for the device to copy. wgpu's own way to upload gives the device up where there is no memory
    /// for that; a buffer of ours is refused, and that is all.
    fn staged(&self, label: &str, bytes: &[u8]) -> Result<Buffer> {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let staged = self.made_buffer(label, (bytes.len() as u64).next_multiple_of(4), usage, true)?;
        let view = staged.raw.get_mapped_range_mut(0..bytes.len() as u64);
        let mut view = view.map_err(|error| Error::Gpu { label: label.to_owned(), reason: error.to_string() })?;
        view.copy_from_slice(bytes);
        drop(view);
        staged.raw.unmap();
        Ok(staged)
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
        let _ = caught(|| self.raw.poll(wgpu::PollType::Poll));
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

    /// Splits long recordings into submissions that take about so long each, and no less than one kernel launch.
    ///
    /// On a GPU that is a quarter of a second unless told otherwise; a driver with a shorter patience needs less.
    pub fn limit_submissions(&self, time: Duration) {
        self.patience.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What one submission may take, where that is limited.
    pub(super) fn patience(&self) -> Option<Duration> {
        let nanoseconds = self.patience.load(Ordering::Relaxed);
        (nanoseconds != u64::MAX).then(|| Duration::from_nanos(nanoseconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Metal allows much more, and Vulkan's drivers say what they like.
    #[test]
    fn buffers_and_bindings_end_below_two_gibibytes_on_every_backend() {
        let of = |binding, buffer| {
            let (max_storage_buffer_binding_size, max_buffer_size) = (binding, buffer);
            counted_with_a_sign(&wgpu::Limits {
                max_storage_buffer_binding_size,
                max_buffer_size,
                ..Default::default()
            })
        };
        assert_eq!(of(128 << 20, 256 << 20), (128 << 20, 256 << 20));
        assert_eq!(of(4 << 30, 64 << 30), (0x7fff_ffff, 0x7fff_ffff));
        assert_eq!(of(u64::MAX, 1 << 31), (0x7fff_ffff, 0x7fff_ffff));
    }
}
