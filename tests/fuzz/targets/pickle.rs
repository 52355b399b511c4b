//! The pickle of a zip archive that is good otherwise, with fourteen storages for the tensors that it describes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut archive = Archive::default();
    archive.add("a/data.pkl", bytes);
    for storage in 0..14 {
        archive.add(&format!("a/data/{storage}"), &[1; 480]);
    }
    rooms::survive(archive.finish());
});

/// A zip archive of stored files as far as it is written.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
}

impl Archive {
    fn add(&mut self, name: &str, content: &[u8]) {
        let header = (self.bytes.len() as u32).to_le_bytes();
        let (length, name_length) = ((content.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let sizes = [length, length].concat();
        self.bytes
            .extend([b"PK\x03\x04", &[0; 14][..], &sizes, &name_length, &[0; 2], name.as_bytes(), content].concat());
        self.directory
            .extend([b"PK\x01\x02", &[0; 16][..], &sizes, &name_length, &[0; 12], &header, name.as_bytes()].concat());
    }

    fn finish(self) -> Vec<u8> {
        let whereabouts = [self.directory.len(), self.bytes.len()].map(|number| (number as u32).to_le_bytes()).concat();
        [&self.bytes[..], &self.directory, b"PK\x05\x06", &[0; 8], &whereabouts, &[0; 2]].concat()
    }
}
