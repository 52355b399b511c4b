//! What a driver reports outside of any call that could return it, and waits that wgpu ends with a panic.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, Once};

use crate::{Error, Result};

/// The faults of one device, shared by all of its clones.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lost: Option<Loss>,
    error: Option<String>,
    out_of_memory: bool,
}

/// Why nothing works on a device any more.
#[derive(Clone)]
struct Loss {
    reason: String,
    /// wgpu gives a device up as well when a driver has no memory left for a submission.
    memory: bool,
}

impl Faults {
    /// Takes note of what a device reports from now on.
    pub(super) fn of(device: &wgpu::Device) -> Faults {
        let faults = Faults::default();
        let seen = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut state = seen.state();
            state.out_of_memory |= matches!(error, wgpu::Error::OutOfMemory { .. });
            state.error.get_or_insert_with(|| error.to_string());
        }));
        let seen = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            let reason = match reason {
                wgpu::DeviceLostReason::Unknown => message,
                known => format!("{known:?} {message}").trim().to_owned(),
            };
            seen.lose(reason);
        });
        faults
    }

    /// The device is no more.
    pub(super) fn lose(&self, reason: String) {
        let memory = reason.to_lowercase().contains("memory");
        self.state().lost.get_or_insert(Loss { reason, memory });
    }

    /// Whether nothing works on the device any more.
    pub(super) fn are_final(&self) -> bool {
        self.state().lost.is_some()
    }

    /// The error that the faults since the last look amount to.
    pub(super) fn check(&self, label: &str) -> Result<()> {
        let mut state = self.state();
        match &state.lost {
            Some(Loss { memory: true, .. }) => return Err(Error::OutOfMemory { label: label.to_owned() }),
            Some(Loss { reason, .. }) => {
                return Err(Error::DeviceLost { label: label.to_owned(), reason: reason.clone() });
            }
            None => {}
        }
        if std::mem::take(&mut state.out_of_memory) {
            state.error = None;
            return Err(Error::OutOfMemory { label: label.to_owned() });
        }
        match state.error.take() {
            Some(reason) => Err(Error::Gpu { label: label.to_owned(), reason }),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic happens while the lock is held")
    }
}

thread_local! {
    /// Whether this thread waits for a device.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `wait`, and returns what it panics with rather than have it printed: a driver that says of a wait that the device is
/// lost, as after a watchdog's reset, makes wgpu panic, which knows no other answer there.
pub(super) fn caught<T>(wait: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |said| {
            if !WAITS.get() {
                usual(said);
            }
        }));
    });
    WAITS.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(wait));
    WAITS.set(false);
    done.map_err(|said| {
        let text = said.downcast_ref::<String>().map(String::as_str).or_else(|| said.downcast_ref().copied());
        // Its last line is the cause.
        let cause = text.and_then(|text| text.lines().map(str::trim).rfind(|line| !line.is_empty()));
        cause.unwrap_or("the driver ended a wait").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_panics_is_an_answer() {
        assert_eq!(caught(|| 7), Ok(7));
        let lost: Result<(), String> =
            caught(|| panic!("Error in Device::poll: x\n\nCaused by:\n  Parent device is lost\n"));
        assert_eq!(lost, Err("Parent device is lost".to_owned()));
        assert_eq!(caught(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        // Others are none.
        assert!(panic::catch_unwind(|| panic!("not of a wait, and therefore printed")).is_err());
    }

    #[test]
    fn a_loss_is_told_again_and_again_and_other_faults_once() {
        let faults = Faults::default();
        faults.state().error = Some("refused".into());
        assert_eq!(faults.check("x").expect_err("a fault").to_string(), "x: refused");
        assert!(faults.check("x").is_ok() && !faults.are_final());
        faults.lose("Device is lost".into());
        faults.lose("Out of memory".into());
        for _ in 0..2 {
            assert!(matches!(faults.check("x"), Err(Error::DeviceLost { .. })));
        }
        assert!(faults.are_final());
    }

    #[test]
    fn a_device_given_up_for_lack_of_memory_is_out_of_memory() {
        let faults = Faults::default();
        faults.lose("Out of memory".into());
        for _ in 0..2 {
            assert!(matches!(faults.check("x"), Err(Error::OutOfMemory { label }) if label == "x"));
        }
    }
}
