//! The graph of a `.pt2` archive that is good otherwise: what is before the first zero byte; the rest is its list of weights.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (graph, weights) = (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default());
    let files: [(&str, &[u8]); 4] = [
        ("n/archive_format", b"pt2"),
        ("n/models/model.json", graph),
        ("n/data/weights/model_weights_config.json", weights),
        ("n/data/weights/weight_0", &[0; 64]),
    ];
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (start, length) = ((file.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes());
        let names = (name.len() as u16).to_le_bytes();
        file.extend([&b"PK\x03\x04"[..], &[0; 14], &length, &length, &names, &[0, 0], name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02"[..], &[0; 16], &length, &length, &names, &[0; 12], &start].concat());
        directory.extend(name.as_bytes());
    }
    let (start, length) = ((file.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    file.extend(directory);
    file.extend([&b"PK\x05\x06"[..], &[0, 0, 0, 0, 4, 0, 4, 0], &length, &start, &[0, 0]].concat());
    rooms::survive(file);
});
