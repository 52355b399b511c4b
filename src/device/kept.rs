//! What the driver compiled, kept on disk for the next process, where the driver has such a thing (Vulkan).

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::{Error, Result, files};

/// A driver's cache and the file that it is kept in, which is written when this is dropped.
pub(super) struct Kept {
    pub(super) cache: wgpu::PipelineCache,
    path: PathBuf,
    /// What the file holds already.
    known: Mutex<Vec<u8>>,
}

impl Kept {
    /// The cache in a folder; an empty one where there is none yet, or a damaged one. Nothing where the driver has no such thing.
    pub(super) fn open(device: &wgpu::Device, folder: &Path) -> Option<Kept> {
        let key = wgpu::util::pipeline_cache_key(&device.adapter_info())?;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(format!("{key}.bin"));
        let known = files::read(&path).ok().and_then(|file| unseal(&file)).unwrap_or_default();
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("pipelines"),
            data: (!known.is_empty()).then_some(&known[..]),
            // Another driver's or version's data count for nothing.
            fallback: true,
        };
        // SAFETY: the data came from `get_data`, as the checksum that only `save` writes says; wgpu itself refuses those of
        // another adapter or driver.
        #[allow(unsafe_code)]
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Kept { cache, path, known: Mutex::new(known) })
    }

    /// Writes the file where there is something new.
    pub(super) fn save(&self) -> Result<()> {
        let mut known = self.known.lock().expect("no panic happens while the lock is held");
        let Some(data) = self.cache.get_data().filter(|data| *data != *known) else { return Ok(()) };
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        files::replace(&self.path, |file| file.write_all(&seal(&data)))?;
        *known = data;
        Ok(())
    }
}

impl Drop for Kept {
    /// Nobody is left who could be told of an error, and without the file the next start is only slower.
    fn drop(&mut self) {
        let _ = self.save();
    }
}

const CHECKSUM: usize = 32;

fn seal(data: &[u8]) -> Vec<u8> {
    [&Sha256::digest(data)[..], data].concat()
}

fn unseal(file: &[u8]) -> Option<Vec<u8>> {
    let (checksum, data) = file.split_at_checked(CHECKSUM)?;
    (Sha256::digest(data)[..] == *checksum).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_count_for_nothing() {
        let sealed = seal(b"compiled");
        assert_eq!(unseal(&sealed).as_deref(), Some(&b"compiled"[..]));
        for at in [0, CHECKSUM, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(&damaged), None, "byte {at}");
        }
        assert_eq!(unseal(&sealed[..sealed.len() - 1]), None);
        assert_eq!(unseal(b"short"), None);
    }
}
