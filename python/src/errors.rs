//! The engine's errors as Python's.

use entoptic::Error;
use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileNotFoundError, PyFloatingPointError, PyMemoryError, PyOSError, PyRuntimeError, PyValueError,
};

/// The kind of exception that a user of Python expects: what is wrong with an argument is a `ValueError`, what is wrong with a file
/// an `OSError`, and what is wrong with the machine a `RuntimeError`.
pub fn raised(error: &Error) -> PyErr {
    let text = spoken(&error.to_string());
    let mut kind = error;
    while let Error::Within { reason, .. } = kind {
        kind = reason;
    }
    match kind {
        // Which of its classes is the system's to say: FileNotFoundError, PermissionError.
        Error::Io { reason, .. } => std::io::Error::new(reason.kind(), text).into(),
        Error::File { path, .. } if !path.exists() => PyFileNotFoundError::new_err(text),
        Error::Download { .. } => PyOSError::new_err(text),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(text),
        Error::NotFinite { .. } => PyFloatingPointError::new_err(text),
        Error::NoAdapter { .. }
        | Error::DeviceRequest { .. }
        | Error::Gpu { .. }
        | Error::DeviceLost { .. }
        | Error::BufferLimit { .. } => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// A message with arguments of the command line as those of Python: `--class-names FILE` is `class_names FILE`. What stands between
/// backticks is a command.
pub fn spoken(text: &str) -> String {
    let mut spoken = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        if index > 0 {
            spoken.push('`');
        }
        if index % 2 == 1 {
            spoken.push_str(part);
            continue;
        }
        let mut rest = part;
        while let Some(at) = rest.find("--") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            spoken.push_str(before);
            let length = after.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(after.len());
            let starts = before.is_empty() || before.ends_with([' ', '(']);
            if starts && length > 0 {
                spoken.push_str(&after[..length].replace('-', "_"));
                rest = &after[length..];
            } else {
                spoken.push_str("--");
                rest = after;
            }
        }
        spoken.push_str(rest);
    }
    spoken
}
