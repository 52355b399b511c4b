//! The folder of a gallery: one process at a time, one gallery, and which of its pictures are there.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::files::TEMPORARY;
use entoptic::studio::file_sum;

use super::identity::Identity;
use super::manifest::{self, Manifest};
use super::{classes, state};

/// Held by the process that works on the folder.
const LOCK: &str = ".lock";

pub struct Folder {
    pub path: PathBuf,
    pub manifest: Manifest,
    _lock: File,
}

impl Folder {
    /// Opens a folder for a gallery, made if it is absent, and begins or goes on. One that holds something else is refused;
    /// another gallery in it is deleted where the user asks for that.
    pub fn open(path: &Path, identity: &Identity, overwrite: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making folder {}", path.display()))?;
        let lock = lock(path)?;
        match Identity::read(path)? {
            None if is_empty(path)? => identity.write(path)?,
            None => bail!("{}: is there, and no gallery; name another folder (--out)", path.display()),
            Some(there) if there == *identity => {}
            Some(there) if overwrite => {
                clear(path, &there)?;
                identity.write(path)?;
            }
            Some(there) => bail!(
                "{}: holds another gallery, which differs in {}; name another folder (--out), or delete that gallery \
                 (--overwrite)",
                path.display(),
                identity.differences(&there).join(", ")
            ),
        }
        for entry in entries(path)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
            fs::remove_file(path.join(entry)).with_context(|| format!("deleting {entry}"))?;
        }
        Ok(Folder { path: path.to_owned(), manifest: Manifest::read(path)?, _lock: lock })
    }

    /// Classes whose pictures are there, unchanged. Those whose files are gone are not among them.
    pub fn done(&self) -> anyhow::Result<BTreeSet<usize>> {
        let mut done = BTreeSet::new();
        for (index, listed) in &self.manifest.listed {
            let Ok((file, sum)) = &listed.made else { continue };
            let path = self.path.join(file);
            if !path.exists() {
                continue;
            }
            if file_sum(&path)? != *sum {
                bail!(
                    "{}: is not the picture that {} lists; move it away, and it is made again",
                    path.display(),
                    manifest::FILE
                );
            }
            done.insert(*index);
        }
        Ok(done)
    }

    /// Forgets the batch that was left half done.
    pub fn drop_state(&self) -> anyhow::Result<()> {
        remove(&self.path.join(state::FILE))
    }
}

/// Takes a folder for this process, until the file is closed, however the process ends.
pub fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("writing {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another process is at work in it; wait for it, or name another folder", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Whether there is nothing in a folder but what an earlier try may have left before it began.
fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    Ok(entries(folder)?.iter().all(|name| name == LOCK || name.starts_with(TEMPORARY)))
}

fn entries(folder: &Path) -> anyhow::Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().with_context(|| format!("reading folder {}", folder.display()))
}

/// Deletes what a gallery has put into its folder, but for its identity.
fn clear(folder: &Path, identity: &Identity) -> anyhow::Result<()> {
    for (index, name) in identity.own() {
        remove(&folder.join(classes::file(index, &name)))?;
    }
    remove(&folder.join(state::FILE))?;
    remove(&folder.join(manifest::FILE))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("deleting {}", path.display()))
        }
        _ => Ok(()),
    }
}
