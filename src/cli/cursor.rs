//! The cursor of the terminal: hidden while a picture forms, and given back whenever the program ends.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the cursor is hidden.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back as it was: the cursor, and the colours of what is written next.
pub fn restore() {
    if HIDDEN.swap(false, Ordering::Relaxed) {
        write("\x1b[0m\x1b[?25h");
    }
}

/// Writes to the terminal. One that is gone is no reason to lose a picture.
pub fn write(text: &str) {
    let mut terminal = std::io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

/// What to write for the cursor to be hidden, which [`restore`] undoes.
pub fn hide() -> &'static str {
    if HIDDEN.swap(true, Ordering::Relaxed) { "" } else { "\x1b[?25l" }
}
