//! A safetensors file: the header's length, the brace that tells the format, then whatever the fuzzer likes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    if let Some(brace) = file.get_mut(8) {
        *brace = b'{';
    }
    rooms::survive(file);
});
