//! How much memory the buffers of a device take, and how much they may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory of one device, shared by all of its clones.
#[derive(Debug)]
pub(super) struct Memory {
    taken: AtomicU64,
    allowed: AtomicU64,
}

/// The bytes of one buffer, given back when the last clone of the buffer goes.
#[derive(Debug)]
pub(super) struct Claim {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    /// All that the driver gives.
    pub(super) fn unlimited() -> Arc<Memory> {
        Arc::new(Memory { taken: AtomicU64::new(0), allowed: AtomicU64::new(u64::MAX) })
    }

    /// Allows so many bytes from now on; what is taken stays.
    pub(super) fn limit(&self, bytes: u64) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    /// Takes so many bytes, or none where that would be more than is allowed.
    pub(super) fn claim(self: &Arc<Self>, bytes: u64) -> Option<Claim> {
        let allowed = self.allowed.load(Ordering::Relaxed);
        let more = |taken: u64| taken.checked_add(bytes).filter(|&sum| sum <= allowed);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Claim { memory: Arc::clone(self), bytes })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let memory = Memory::unlimited();
        let first = memory.claim(60).expect("no limit");
        memory.limit(100);
        assert!(memory.claim(41).is_none());
        let second = memory.claim(40).expect("just enough");
        assert!(memory.claim(1).is_none());
        drop(first);
        assert!(memory.claim(61).is_none());
        memory.claim(60).expect("just enough");
        drop(second);
        memory.limit(0);
        assert!(memory.claim(1).is_none() && memory.claim(u64::MAX).is_none());
    }
}
