//! The graph of an ONNX file: nodes, attributes, tensors and inputs, after a head that is good.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|graph: &[u8]| {
    // The version of the representation, and the tag of the graph.
    let mut file = vec![0x08, 8, 0x3a];
    let mut length = graph.len();
    while length >= 0x80 {
        file.push(length as u8 | 0x80);
        length >>= 7;
    }
    file.push(length as u8);
    file.extend_from_slice(graph);
    rooms::survive(file);
});
