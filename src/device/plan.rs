//! Which buffers of a recording can share memory, and whether all of it fits the adapter.

use super::recording::{Recording, Source};
use crate::{Error, Result};

/// A piece of memory that serves several transient buffers one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Size.
    pub bytes: u64,
    /// Label of the first buffer that lives in it.
    pub label: String,
}

/// Where every buffer of a recording lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Memory shared by transient and kept buffers.
    pub slots: Vec<Slot>,
    /// For each buffer of the recording its slot, none for external and constant ones and for those that nothing uses.
    pub slot_of: Vec<Option<usize>>,
    /// Bytes of external buffers: pictures, weights, state.
    pub external_bytes: u64,
    /// Bytes of constants.
    pub constant_bytes: u64,
    /// Bytes that transient and kept buffers would take without sharing.
    pub unshared_bytes: u64,
}

impl Plan {
    /// Assigns slots greedily: the smallest free slot that fits, else the largest free one grown, else a new one.
    pub fn new(recording: &Recording) -> Self {
        let count = recording.buffers.len();
        let mut first = vec![usize::MAX; count];
        let mut last = vec![0; count];
        for (index, dispatch) in recording.dispatches.iter().enumerate() {
            for &(_, buffer) in &dispatch.bindings {
                let buffer = buffer.0 as usize;
                first[buffer] = first[buffer].min(index);
                last[buffer] = index;
            }
        }
        let mut plan =
            Plan { slots: vec![], slot_of: vec![None; count], external_bytes: 0, constant_bytes: 0, unshared_bytes: 0 };
        let mut order: Vec<usize> = (0..count).filter(|&buffer| first[buffer] != usize::MAX).collect();
        order.sort_by_key(|&buffer| first[buffer]);
        // Slots in use, with the last dispatch of their tenant.
        let mut busy: Vec<(usize, usize)> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for buffer in order {
            let spec = &recording.buffers[buffer];
            match spec.source {
                Source::External(_) => {
                    plan.external_bytes += spec.bytes;
                    continue;
                }
                Source::Constant(_) => {
                    plan.constant_bytes += spec.bytes;
                    continue;
                }
                Source::Transient | Source::Kept => plan.unshared_bytes += spec.bytes,
            }
            busy.retain(|&(slot, until)| {
                let done = until < first[buffer];
                if done {
                    free.push(slot);
                }
                !done
            });
            let slot = plan.take(&mut free, spec.bytes, &spec.label);
            plan.slot_of[buffer] = Some(slot);
            let until = if spec.source == Source::Kept { usize::MAX } else { last[buffer] };
            busy.push((slot, until));
        }
        plan
    }

    fn take(&mut self, free: &mut Vec<usize>, bytes: u64, label: &str) -> usize {
        let fitting = free.iter().enumerate().filter(|&(_, &slot)| self.slots[slot].bytes >= bytes);
        let chosen = fitting
            .min_by_key(|&(_, &slot)| self.slots[slot].bytes)
            .or_else(|| free.iter().enumerate().max_by_key(|&(_, &slot)| self.slots[slot].bytes))
            .map(|(position, _)| position);
        match chosen {
            Some(position) => {
                let slot = free.swap_remove(position);
                self.slots[slot].bytes = self.slots[slot].bytes.max(bytes);
                slot
            }
            None => {
                self.slots.push(Slot { bytes, label: label.to_owned() });
                self.slots.len() - 1
            }
        }
    }

    /// Bytes of activations, gradients and scratch at their peak.
    pub fn shared_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// All bytes of the recording's buffers.
    pub fn total_bytes(&self) -> u64 {
        self.shared_bytes() + self.external_bytes + self.constant_bytes
    }

    /// Compares every buffer with what the adapter can allocate and bind.
    ///
    /// # Errors
    /// [`Error::BufferLimit`] for the first buffer that is too large.
    pub fn check(&self, recording: &Recording, max_binding: u64, max_buffer: u64) -> Result<()> {
        let allowed = max_binding.min(max_buffer);
        let slots = self.slots.iter().map(|slot| (&slot.label, slot.bytes));
        let buffers = recording.buffers.iter().map(|spec| (&spec.label, spec.bytes));
        for (label, needed) in buffers.chain(slots) {
            if needed > allowed {
                return Err(Error::BufferLimit { label: label.clone(), needed, allowed });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Kernel, Recorder};
    use super::super::shader::Shader;
    use super::super::tuning::Tuning;
    use super::*;

    static SHADER: Shader = Shader { name: "none", text: "", params_size: 16 };

    fn chain(lengths: &[u64], kept: usize) -> Recording {
        let mut recorder = Recorder::new(Tuning::default());
        let ids: Vec<_> = lengths.iter().map(|&bytes| recorder.buffer("x", bytes, Source::Transient)).collect();
        recorder.keep(ids[kept]);
        for pair in ids.windows(2) {
            recorder.launch(Kernel::new(&SHADER, "forward"), &[0u32; 4], &[(1, pair[0]), (2, pair[1])], 1, 1, 0);
        }
        recorder.finish()
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let plan = Plan::new(&chain(&[256; 8], 7));
        assert_eq!(plan.slots.len(), 2);
        assert_eq!((plan.shared_bytes(), plan.unshared_bytes), (512, 2048));
    }

    #[test]
    fn kept_buffers_are_not_overwritten() {
        let plan = Plan::new(&chain(&[256; 8], 1));
        let kept = plan.slot_of[1];
        assert!(plan.slot_of[2..].iter().all(|&slot| slot != kept));
    }

    #[test]
    fn too_large_a_buffer_is_named_before_anything_is_allocated() {
        let recording = chain(&[256, 1 << 20], 1);
        let error = Plan::new(&recording).check(&recording, 1 << 10, 1 << 30).unwrap_err().to_string();
        assert!(error.contains("1048576") && error.contains("1024"), "{error}");
    }
}
