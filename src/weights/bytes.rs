//! Bytes of files, and of what lies beside them.

use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// Parts of a mapped file are let go from this size on; a system call for less costs more than it saves.
pub(super) const RELEASED: usize = 1 << 20;

/// Most files beside one.
const FILES: usize = 1024;

/// Where the bytes of a file are.
pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Embedded(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file.
    pub fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: The map is read-only and outlives `file` by design. Its bytes would change under us only if another
        // program rewrote the file in place; ours replaces files by renaming, which leaves a mapped one intact.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Bytes::Mapped(map))
    }

    pub fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// Tells the system that a part of a mapped file has been read, so that it need not stay in memory.
    pub fn release(&self, part: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self
            && part.len() >= RELEASED
        {
            // SAFETY: The map is read-only and of a file, so pages that are dropped come back from it, the same.
            #[allow(unsafe_code)]
            let advised =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, part.start, part.len()) };
            drop(advised); // Advice that is refused costs memory, nothing else.
        }
        #[cfg(not(unix))]
        drop(part);
    }
}

/// What lies beside a file: other files of its folder, and numbers that the file holds in a form of its own. All of it counts as
/// if it followed the file's own bytes, one after the other.
pub(super) struct Beside {
    folder: Option<PathBuf>,
    files: Vec<(String, Bytes)>,
    /// Where each begins.
    starts: Vec<usize>,
    end: usize,
}

impl Beside {
    /// Nothing yet, for a file of this length in this folder; none for a file in memory.
    pub fn of(length: usize, folder: Option<&Path>) -> Self {
        Beside { folder: folder.map(Path::to_owned), files: vec![], starts: vec![], end: length }
    }

    /// Where a file of the same folder lies. Says what is wrong with its name, or with the file.
    pub fn file(&mut self, name: &str) -> Result<Range<usize>, String> {
        if let Some(known) = self.files.iter().position(|(known, _)| known == name) {
            return Ok(self.starts[known]..self.starts[known] + self.files[known].1.get().len());
        }
        let shown = name.escape_debug();
        let Some(folder) = &self.folder else {
            return Err(format!("keeps its weights in another file, {shown}, and is not in a folder itself"));
        };
        let parts: Vec<Component> = Path::new(name).components().collect();
        if parts.is_empty() || parts.iter().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("keeps its weights in {shown}, outside of its folder, which is not read"));
        }
        if self.files.len() == FILES {
            return Err(format!("keeps its weights in more than {FILES} files, which is not read"));
        }
        let mut path = folder.clone();
        for part in &parts {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Err(_) => {
                    return Err(format!(
                        "keeps its weights in {shown}, which is not beside it; put both in one folder"
                    ));
                }
                Ok(found) if found.is_symlink() => {
                    return Err(format!("keeps its weights in {shown}, which is a link; put the file itself there"));
                }
                Ok(_) => {}
            }
        }
        if !path.is_file() {
            return Err(format!("keeps its weights in {shown}, which is no file"));
        }
        let bytes = Bytes::map(&path).map_err(|error| format!("keeps its weights in another file: {error}"))?;
        Ok(self.add(name.to_owned(), bytes))
    }

    /// Numbers that are not in any file as such.
    pub fn numbers(&mut self, bytes: Vec<u8>) -> Range<usize> {
        self.add(String::new(), Bytes::Owned(bytes))
    }

    fn add(&mut self, name: String, bytes: Bytes) -> Range<usize> {
        let start = self.end;
        self.end += bytes.get().len();
        self.starts.push(start);
        self.files.push((name, bytes));
        start..self.end
    }

    /// The bytes at a place behind the file itself, which lie in one piece.
    pub fn get(&self, at: Range<usize>) -> &[u8] {
        let (bytes, at) = self.find(at);
        &bytes.get()[at]
    }

    /// Releases them.
    pub fn release(&self, at: Range<usize>) {
        let (bytes, at) = self.find(at);
        bytes.release(at);
    }

    fn find(&self, at: Range<usize>) -> (&Bytes, Range<usize>) {
        let index = self.starts.partition_point(|start| *start <= at.start).saturating_sub(1);
        let start = self.starts[index];
        (&self.files[index].1, at.start - start..at.end - start)
    }

    /// Everything, in the order in which it was added.
    pub fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.files.iter().map(|(_, bytes)| bytes)
    }
}
