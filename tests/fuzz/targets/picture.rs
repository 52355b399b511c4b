//! A PNG or JPEG, with the words inside of it.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rooms::picture;

/// Rewritten for every try.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("entoptic-fuzz-{}", std::process::id())));

/// More pixels would only make the decoder slow. What it would do with as many as are allowed is not asked here.
const PIXELS: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("room for a file");
    let _ = picture::read_metadata(&FILE);
    if pixels(bytes).is_some_and(|pixels| pixels > PIXELS) {
        return;
    }
    if let Ok(array) = picture::read(&FILE) {
        assert_eq!(array.values.len(), array.shape.0.iter().product::<usize>());
        assert!(array.values.iter().all(|value| (0.0..=1.0).contains(value)));
    }
});

/// What the head of a PNG claims.
fn pixels(bytes: &[u8]) -> Option<u64> {
    let side = |at: usize| Some(u64::from(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)));
    if !bytes.starts_with(b"\x89PNG") { None } else { side(16)?.checked_mul(side(20)?) }
}
