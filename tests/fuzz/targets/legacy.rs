//! A legacy file of `torch.save`: magic number and version are given, the pickles of the machine, of the tensors and of the
//! keys, and the storages behind them, are the fuzzer's.

#![no_main]

use libfuzzer_sys::fuzz_target;

const START: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    if let Some(start) = file.get_mut(..START.len()) {
        start.copy_from_slice(START);
    }
    rooms::survive(file);
});
