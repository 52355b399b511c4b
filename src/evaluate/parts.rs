//! Batches that are too large for a device, done in parts: what a picture gives does not depend on the others of its batch.

use std::ops::Range;

use crate::{Error, Result};

/// Calls `attempt` with `n`, the pictures to be done at a time; where the device cannot hold so many, with the next smaller
/// number, so that parts are as even as can be.
///
/// # Errors
/// Those of `attempt`, [`Error::BufferLimit`] and [`Error::OutOfMemory`] for one picture at a time.
pub(crate) fn at_a_time<T>(n: usize, mut attempt: impl FnMut(usize) -> Result<T>) -> Result<T> {
    let mut size = n;
    loop {
        let fewer = match attempt(size) {
            Err(Error::BufferLimit { needed, allowed, .. }) if size > 1 => {
                // Most buffers grow with the batch.
                (size as u128 * u128::from(allowed) / u128::from(needed.max(1))) as usize
            }
            Err(Error::OutOfMemory { .. }) if size > 1 => size / 2,
            done => return done,
        };
        size = n.div_ceil(n.div_ceil(fewer.clamp(1, size - 1)));
    }
}

/// The parts of `n` pictures, `size` at a time.
pub(crate) fn ranges(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    // No picture is a batch too.
    (0..n.max(1)).step_by(size.max(1)).map(move |first| first..n.min(first + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(needed: u64) -> Error {
        Error::BufferLimit { label: "conv1".into(), needed, allowed: 128 }
    }

    /// The sizes tried when a picture needs so many bytes of the 128 allowed.
    fn tried(n: usize, bytes: u64) -> (Vec<usize>, bool) {
        let mut tried = vec![];
        let done = at_a_time(n, |size| {
            tried.push(size);
            let needed = bytes * size as u64;
            if needed > 128 { Err(limit(needed)) } else { Ok(()) }
        });
        (tried, done.is_ok())
    }

    #[test]
    fn as_many_pictures_as_fit_are_done_at_a_time_in_even_parts() {
        assert_eq!(tried(32, 4), (vec![32], true));
        assert_eq!(tried(32, 6), (vec![32, 16], true));
        assert_eq!(tried(7, 30), (vec![7, 4], true));
        assert_eq!(tried(7, 100), (vec![7, 1], true));
        assert_eq!(tried(7, 200), (vec![7, 1], false));
        assert_eq!(tried(1, 200), (vec![1], false));
        // What does not grow with the batch is too large for any.
        let mut calls = 0;
        let failed = at_a_time(100, |_| {
            calls += 1;
            Err::<(), _>(limit(129))
        });
        assert!(failed.is_err() && calls < 100, "{calls}");
        let parts: Vec<_> = ranges(7, 4).collect();
        assert_eq!(parts, [0..4, 4..7]);
    }

    #[test]
    fn where_memory_runs_out_half_as_many_are_tried() {
        let tried = |n: usize, most: usize| {
            let mut tried = vec![];
            let done = at_a_time(n, |size| {
                tried.push(size);
                if size > most { Err(Error::OutOfMemory { label: "conv1".into() }) } else { Ok(()) }
            });
            (tried, done.is_ok())
        };
        assert_eq!(tried(12, 3), (vec![12, 6, 3], true));
        assert_eq!(tried(5, 1), (vec![5, 2, 1], true));
        assert_eq!(tried(3, 0), (vec![3, 1], false));
    }

    #[test]
    fn other_errors_end_it() {
        let mut calls = 0;
        let failed = at_a_time(8, |_| {
            calls += 1;
            Err::<(), _>(Error::NotFinite { layer: "fc".into(), step: None })
        });
        assert!(failed.is_err());
        assert_eq!(calls, 1);
    }
}
