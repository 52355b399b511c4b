//! A recording made ready: memory, pipelines and bind groups exist, a replay only encodes and submits.

use std::collections::HashMap;
use std::ops::Range;
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
    /// Which steps go into one submission; known after the first replay, where the time of a submission is limited.
    parts: Option<Vec<Range<usize>>>,
    buffers: Vec<Option<Buffer>>,
    /// The memory behind the plan.
    slots: Vec<Buffer>,
    plan: Plan,
    /// Seconds of the fastest replay that was waited for, and how many were.
    fastest: f64,
    measured: u32,
    /// Made when a run is timed.
    clock: Option<Clock>,
    /// The last replay, and the one before it.
    last: Option<wgpu::SubmissionIndex>,
    before_last: Option<wgpu::SubmissionIndex>,
}

/// Replays that are waited for to see how long one takes, where several are asked for.
const MEASURED: u32 = 2;

/// Seconds of replays in one submission: far below what a watchdog or somebody at the keyboard would notice, far above what
/// it costs to submit.
const TOGETHER: f64 = 0.02;

/// Most replays in one submission.
const MOST_TOGETHER: usize = 32;

struct Step {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
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
        Self::prepare_after(device, label, recording, externals, None)
    }

    /// [`Program::prepare`] for a program that takes turns with another one and uses its memory: what is kept by one lasts
    /// until the other one runs.
    ///
    /// # Errors
    /// As [`Program::prepare`].
    ///
    /// # Panics
    /// As [`Program::prepare`].
    pub fn prepare_after(
        device: &Device,
        label: &str,
        recording: &Recording,
        externals: &Externals,
        other: Option<&Program>,
    ) -> Result<Self> {
        let plan = Self::plan_for(device, recording)?;
        let lent = |index: usize, bytes| other?.slots.get(index).filter(|slot| slot.bytes >= bytes).cloned();
        let slots = plan.slots.iter().enumerate().map(|(index, slot)| match lent(index, slot.bytes) {
            Some(slot) => Ok(slot),
            None => device.buffer(&slot.label, slot.bytes),
        });
        let slots = slots.collect::<Result<Vec<_>>>()?;
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
            parts: None,
            buffers,
            slots,
            plan,
            fastest: f64::INFINITY,
            measured: 0,
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

    /// Submits one replay, after waiting for the submission before the last: the device never idles and never runs far ahead.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn run(&mut self) -> Result<()> {
        self.run_times(1)
    }

    /// Submits so many replays, several at once where they are short.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn run_times(&mut self, replays: usize) -> Result<()> {
        let mut left = replays;
        while left > 0 {
            if let Some(old) = self.before_last.take() {
                let how = wgpu::PollType::Wait { submission_index: Some(old), timeout: None };
                self.device.poll(&self.label, how)?;
            }
            self.before_last = self.last.take();
            let patience = self.device.patience();
            // One replay alone is measured only where a watchdog may lurk.
            let measures = if left > 1 { MEASURED } else { u32::from(patience.is_some()) };
            if self.measured < measures {
                self.run_measured(patience)?;
                left -= 1;
            } else {
                let together = match &self.parts {
                    Some(parts) if parts.len() > 1 => 1,
                    _ => together(self.fastest).min(left),
                };
                self.run_parts(together)?;
                left -= together;
            }
        }
        self.device.check(&self.label)
    }

    /// One replay by itself, waited for, from which the next ones learn how long they take, and their launches.
    fn run_measured(&mut self, patience: Option<Duration>) -> Result<()> {
        self.device.wait(&self.label)?;
        let started = Instant::now();
        match patience {
            Some(patience) if self.parts.is_none() => self.run_one_by_one(patience)?,
            _ => self.run_parts(1)?,
        }
        self.device.wait(&self.label)?;
        self.fastest = self.fastest.min(started.elapsed().as_secs_f64());
        self.measured += 1;
        Ok(())
    }

    /// One replay with each launch by itself: stems, pools and norms do far fewer operations a second than the layers between
    /// them, so only its own time says how long a launch takes. It includes what submitting costs, and errs on the safe side.
    fn run_one_by_one(&mut self, patience: Duration) -> Result<()> {
        let mut times = Vec::with_capacity(self.steps.len());
        for at in 0..self.steps.len() {
            let started = Instant::now();
            self.last = Some(self.submit(at..at + 1, 1)?);
            self.device.wait(&self.steps[at].label)?;
            times.push(started.elapsed());
        }
        self.parts = Some(parts(&times, patience));
        Ok(())
    }

    /// Submits replays that one submission may hold, or one of them in parts.
    fn run_parts(&mut self, replays: usize) -> Result<()> {
        let whole = 0..self.steps.len();
        for part in self.parts.as_deref().unwrap_or(std::slice::from_ref(&whole)) {
            self.last = Some(self.submit(part.clone(), replays)?);
        }
        Ok(())
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
            self.encode(&mut encoder, &self.steps, 1, Some(clock.writes()));
            clock.resolve(&mut encoder);
            self.device.queue.submit([encoder.finish()])
        })?;
        clock.read(&self.device)
    }

    fn submit(&self, part: Range<usize>, replays: usize) -> Result<wgpu::SubmissionIndex> {
        self.device.checked(&self.label, || {
            let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder, &self.steps[part], replays, None);
            self.device.queue.submit([encoder.finish()])
        })
    }

    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        steps: &[Step],
        replays: usize,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
    ) {
        let descriptor = wgpu::ComputePassDescriptor { label: Some(&self.label), timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        let mut set = None;
        for step in std::iter::repeat_n(steps, replays).flatten() {
            let [x, y, z] = step.workgroups;
            // Each call costs the host time, again when it is submitted and once more when the driver forgets it.
            if set != Some(&step.pipeline) {
                pass.set_pipeline(&step.pipeline);
                set = Some(&step.pipeline);
            }
            pass.set_bind_group(0, &step.bindings, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

/// Replays for one submission, when one takes so many seconds.
fn together(seconds: f64) -> usize {
    ((TOGETHER / seconds) as usize).clamp(1, MOST_TOGETHER)
}

/// Launches that took such times, in groups that take no longer than `patience`, or are one launch.
fn parts(times: &[Duration], patience: Duration) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut taken = Duration::ZERO;
    for (at, &time) in times.iter().enumerate() {
        taken += time;
        match parts.last_mut() {
            Some(part) if taken <= patience => part.end = at + 1,
            _ => {
                parts.push(at..at + 1);
                taken = time;
            }
        }
    }
    parts
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
        let pipeline = device
            .checked(&dispatch.label, || device.pipelines.get(&device.raw, &dispatch.kernel))
            .inspect_err(|_| device.pipelines.forget(&dispatch.kernel))?;
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
        steps.push(Step { pipeline, bindings, workgroups: dispatch.workgroups, label: dispatch.label.clone() });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_replays_are_submitted_together_and_long_ones_alone() {
        assert_eq!(together(0.003), 6);
        assert_eq!(together(1.2), 1);
        assert_eq!(together(1e-6), MOST_TOGETHER);
        assert_eq!(together(f64::INFINITY), 1, "nothing is known yet");
    }

    #[test]
    fn a_submission_holds_what_its_launches_took_and_no_average() {
        let times = |milliseconds: &[u64]| milliseconds.iter().map(|&ms| Duration::from_millis(ms)).collect::<Vec<_>>();
        let of = |milliseconds: &[u64]| parts(&times(milliseconds), Duration::from_millis(250));
        assert_eq!(of(&[10, 20, 30]).len(), 1);
        // A stem that takes as long as all the rest has a submission almost to itself.
        assert_eq!(of(&[200, 40, 40, 10, 100, 100, 1]), [0..2, 2..6, 6..7]);
        // What no submission should hold is alone.
        assert_eq!(of(&[10, 900, 900, 10, 240]), [0..1, 1..2, 2..3, 3..5]);
        assert_eq!(parts(&times(&[0, 1, 2]), Duration::ZERO), [0..1, 1..2, 2..3]);
        assert!(of(&[]).is_empty());
    }
}
