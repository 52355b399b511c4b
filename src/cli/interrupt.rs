//! The wish to stop: by Ctrl-C, by SIGTERM, or because nobody listens any more.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::cursor;

/// Set by the first Ctrl-C; the second one ends the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C (and SIGTERM) end the run after its current step.
pub fn take_over_interrupts() -> anyhow::Result<()> {
    static ONCE: Once = Once::new();
    let mut taken = Ok(());
    ONCE.call_once(|| {
        taken = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                cursor::restore();
                std::process::exit(130);
            }
        });
    });
    taken.context("taking over Ctrl-C")
}

/// Whether the user has asked to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Ends the run as if the user had asked for it.
pub fn stop() {
    STOP.store(true, Ordering::Relaxed);
}
