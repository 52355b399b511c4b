//! A recording made ready: memory, pipelines and bind groups exist, a replay only encodes and submits.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::context::{Buffer, Device};
use super::plan::Plan;
use super::recording::{BufferId, Recording, Source};
use super::timing::Clock;
use crate::{Error, Result};

/// Buffers that live outside of a recording, by the name that it gives them.
pub type Externals = HashMap<String, Buffer>;

/// A recording with everything it needs on one device.
pub struct Program {
    device: Device,
    label: String,
    steps: Vec<Step>,
    buffers: Vec<Option<Buffer>>,
    plan: Plan,
    measured: bool,
    /// Made when a run is timed.
    clock: Option<Clock>,
    /// The last replay, and the one before it.
    last: Option<wgpu::SubmissionIndex>,
    before_last: Option<wgpu::SubmissionIndex>,
}

struct Step {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
    flops: u64,
    label: String,
}

impl Program {
    /// Plans memory, checks it against the adapter's limits, then allocates, compiles and binds.
    ///
    /// # Errors
    /// [`Error::BufferLimit`] before anything is allocated; [`Error::OutOfMemory`]; [`Error::Gpu`] with the label of the
    /// kernel that was refused.
    ///
    /// # Panics
    /// When an external buffer is missing or smaller than recorded, which is a mistake of the caller.
    pub fn prepare(device: &Device, label: &str, recording: &Recording, externals: &Externals) -> Result<Self> {
        let plan = Self::plan_for(device, recording)?;
        let slots = plan.slots.iter().map(|slot| device.buffer(&slot.label, slot.bytes)).collect::<Result<Vec<_>>>()?;
        let mut buffers = Vec::with_capacity(recording.buffers.len());
        for (spec, slot) in recording.buffers.iter().zip(&plan.slot_of) {
            buffers.push(match &spec.source {
                Source::Transient | Source::Kept => slot.map(|slot| slots[slot].clone()),
                Source::External(name) => {
                    let buffer = externals.get(name).unwrap_or_else(|| panic!("no buffer is given for {name}"));
                    assert!(buffer.bytes >= spec.bytes, "{name}: {} bytes given, {} needed", buffer.bytes, spec.bytes);
                    Some(buffer.clone())
                }
                Source::Constant(bytes) => {
                    let buffer = device.buffer(&spec.label, spec.bytes)?;
                    device.write(&buffer, bytes)?;
                    Some(buffer)
                }
            });
        }
        let steps = bind(device, recording, &buffers)?;
        let label = label.to_owned();
        Ok(Program {
            device: device.clone(),
            label,
            steps,
            buffers,
            plan,
            measured: false,
            clock: None,
            last: None,
            before_last: None,
        })
    }

    /// Plans memory and checks it against the adapter's limits, for callers that allocate external buffers themselves.
    ///
    /// # Errors
    /// [`Error::BufferLimit`].
    pub fn plan_for(device: &Device, recording: &Recording) -> Result<Plan> {
        let plan = Plan::new(recording);
        let (max_binding, max_buffer) = device.buffer_limits();
        plan.check(recording, max_binding, max_buffer)?;
        Ok(plan)
    }

    /// Adds a zeroed buffer for every external one of a recording that nobody has given.
    ///
    /// # Errors
    /// [`Error::BufferLimit`], [`Error::OutOfMemory`].
    pub fn provide(device: &Device, recording: &Recording, externals: &mut Externals) -> Result<()> {
        for spec in &recording.buffers {
            if let Source::External(name) = &spec.source
                && !externals.contains_key(name)
            {
                externals.insert(name.clone(), device.buffer(name, spec.bytes)?);
            }
        }
        Ok(())
    }

    /// Where the memory goes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Kernel launches of one replay.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// The memory behind a buffer of the recording; only kept, external and constant ones hold what they held last.
    ///
    /// # Panics
    /// When no dispatch uses that buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        self.buffers[id.0 as usize].as_ref().expect("a buffer that is asked for is used by some dispatch")
    }

    /// Submits one replay, after waiting for the one before the last: the device never idles and never runs far ahead.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn run(&mut self) -> Result<()> {
        if let Some(old) = self.before_last.take() {
            let how = wgpu::PollType::Wait { submission_index: Some(old), timeout: None };
            self.device.poll(&self.label, how)?;
        }
        self.before_last = self.last.take();
        let budget = self.device.budget.load(Ordering::Relaxed);
        let measure = !self.measured && budget != u64::MAX;
        let started = Instant::now();
        let mut from = 0;
        while from < self.steps.len() {
            let to = self.chunk(from, budget);
            self.last = Some(self.submit(from, to)?);
            if measure {
                self.device.wait(&self.steps[from].label)?;
            }
            from = to;
        }
        if measure {
            // The first replay also compiles, so its speed is a lower bound: a safe one.
            self.device.learn(self.steps.iter().map(|step| step.flops).sum(), started.elapsed());
            self.measured = true;
        }
        self.device.check(&self.label)
    }

    /// One replay as [`Program::run`] does it, waited for and timed: by the device's own clock where it has one, which leaves
    /// out what submitting costs.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn run_timed(&mut self) -> Result<Duration> {
        self.device.wait(&self.label)?;
        if self.clock.is_none() {
            self.clock = Clock::new(&self.device)?;
        }
        let Some(clock) = &self.clock else {
            let started = Instant::now();
            self.run()?;
            self.device.wait(&self.label)?;
            return Ok(started.elapsed());
        };
        self.device.checked(&self.label, || {
            let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder, 0, self.steps.len(), Some(clock.writes()));
            clock.resolve(&mut encoder);
            self.device.queue.submit([encoder.finish()])
        })?;
        clock.read(&self.device)
    }

    fn chunk(&self, from: usize, budget: u64) -> usize {
        let mut flops = 0u64;
        let fits = self.steps[from..].iter().take_while(|step| {
            flops = flops.saturating_add(step.flops);
            flops <= budget
        });
        from + fits.count().max(1)
    }

    fn submit(&self, from: usize, to: usize) -> Result<wgpu::SubmissionIndex> {
        self.device.checked(&self.label, || {
            let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder, from, to, None);
            self.device.queue.submit([encoder.finish()])
        })
    }

    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        from: usize,
        to: usize,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
    ) {
        let descriptor = wgpu::ComputePassDescriptor { label: Some(&self.label), timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for step in &self.steps[from..to] {
            let [x, y, z] = step.workgroups;
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bindings, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

/// Pipelines and bind groups of every dispatch, with all uniforms in one buffer.
fn bind(device: &Device, recording: &Recording, buffers: &[Option<Buffer>]) -> Result<Vec<Step>> {
    let align = u64::from(device.raw.limits().min_uniform_buffer_offset_alignment);
    let mut offsets = Vec::with_capacity(recording.dispatches.len());
    let mut contents: Vec<u8> = Vec::new();
    for dispatch in &recording.dispatches {
        contents.resize((contents.len() as u64).next_multiple_of(align) as usize, 0);
        offsets.push(contents.len() as u64);
        contents.extend_from_slice(&dispatch.params);
    }
    contents.resize(contents.len().next_multiple_of(16).max(16), 0);
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let uniforms = device.raw_buffer("params", contents.len() as u64, usage)?;
    device.write(&uniforms, &contents)?;

    let mut steps = Vec::with_capacity(recording.dispatches.len());
    for (dispatch, offset) in recording.dispatches.iter().zip(offsets) {
        let pipeline = device.checked(&dispatch.label, || device.pipelines.get(&device.raw, &dispatch.kernel))?;
        let size = wgpu::BufferSize::new(dispatch.params.len() as u64);
        let params = wgpu::BufferBinding { buffer: &uniforms.raw, offset, size };
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(params) }];
        for &(binding, id) in &dispatch.bindings {
            let Some(buffer) = &buffers[id.0 as usize] else {
                let reason = format!("binding {binding} has no memory");
                return Err(Error::Gpu { label: dispatch.label.clone(), reason });
            };
            entries.push(wgpu::BindGroupEntry { binding, resource: buffer.raw.as_entire_binding() });
        }
        let bindings = device.checked(&dispatch.label, || {
            device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&dispatch.label),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            })
        })?;
        steps.push(Step {
            pipeline,
            bindings,
            workgroups: dispatch.workgroups,
            flops: dispatch.flops,
            label: dispatch.label.clone(),
        });
    }
    Ok(steps)
}
