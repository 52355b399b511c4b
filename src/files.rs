//! Files that appear whole or not at all, and locks between processes. Formats belong to the rooms that know them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// How names of files in the making begin. Nobody else's files may have such names.
pub const TEMPORARY: &str = ".entoptic-";

/// Reads a file of this program whole.
///
/// # Errors
/// The system's, and one for anything but a regular file: of a pipe nothing may ever come.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    check_regular(&fs::metadata(path)?)?;
    fs::read(path)
}

/// What is wrong with a file that is empty, or that stands in the place of another one, told by its first bytes.
pub(crate) fn mistaken(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        Some("file is empty; download it again")
    } else if bytes.starts_with(b"version https://git-lfs") {
        Some("is a pointer to a file in Git LFS; run `git lfs pull`")
    } else if bytes.starts_with(b"\0\x05\x16\x07") {
        Some("is what a Mac keeps about a file (AppleDouble), not the file; name the one without `._`")
    } else if bytes.trim_ascii_start().starts_with(b"<") {
        Some("is a web page, so the download failed; download it again")
    } else {
        None
    }
}

/// An error for a folder, a pipe or a device.
pub(crate) fn check_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("is not a regular file; move it away")) }
}

/// Checks before a long run that a file can be written at `path` when it ends; leaves nothing behind.
///
/// # Errors
/// [`Error::File`] when `path` is a folder or a device, or its folder is absent; [`Error::Io`] when nothing can be
/// made in that folder.
pub fn check_writable(path: &Path) -> Result<()> {
    beside(&destination(path)?).map(drop)
}

/// Writes `path` through a temporary file in the same folder, synced and then renamed, so that a reader or a crash
/// never meets half a file. A link is followed.
///
/// # Errors
/// As [`check_writable`], and [`Error::Io`] from `fill`, the sync or the rename; the old file is then still there.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let draft = Draft::new(path)?;
    let mut file = draft.writer()?;
    fill(&mut file).and_then(|()| file.flush()).map_err(Error::io(path))?;
    draft.publish()
}

/// A file in the making, under a temporary name in the folder where it will be; it goes away unless it is published.
pub(crate) struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// # Errors
    /// As [`check_writable`].
    pub fn new(path: &Path) -> Result<Self> {
        let path = destination(path)?;
        Ok(Draft { file: beside(&path)?, path })
    }

    /// Goes on where the last one has stopped. The caller flushes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn writer(&self) -> Result<io::BufWriter<File>> {
        let file = self.file.as_file().try_clone().map_err(Error::io(&self.path))?;
        Ok(io::BufWriter::with_capacity(1 << 16, file))
    }

    /// Syncs the file and gives it its name, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`]; the old file is then still there.
    pub fn publish(self) -> Result<()> {
        let Draft { file, path } = self;
        file.as_file().sync_all().map_err(Error::io(&path))?;
        match file.persist(&path) {
            Ok(_) => Ok(()),
            // Another machine, which a lock does not reach everywhere, has taken the draft for one that was left behind.
            Err(lost) if lost.error.kind() == io::ErrorKind::NotFound => {
                let again = beside(&path)?;
                let (mut from, mut to) = (lost.file.as_file(), again.as_file());
                let copied = from.rewind().and_then(|()| io::copy(&mut from, &mut to)).and_then(|_| to.sync_all());
                copied.map_err(Error::io(&path))?;
                again.persist(&path).map(drop).map_err(|error| Error::io(&path)(error.error))
            }
            Err(error) => Err(Error::io(&path)(error.error)),
        }
    }
}

/// A file that only one process at a time holds. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, whose file is made where it is absent; nothing while another process holds it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be made or the system knows no locks there.
    pub fn take(path: &Path) -> Result<Option<Lock>> {
        loop {
            let mut options = OpenOptions::new();
            let file =
                options.read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io(path))?;
            file.metadata().and_then(|metadata| check_regular(&metadata)).map_err(Error::io(path))?;
            match file.try_lock() {
                // Whoever held it may have removed its file meanwhile, and a third process may have made another.
                Ok(()) if !is_at(path, &file) => {}
                Ok(()) => return Ok(Some(Lock { path: path.to_owned(), file })),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(Error::io(path)(error)),
            }
        }
    }

    /// The locked file, whose content is the holder's.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Lets go and removes the file, which serves nobody now and does no harm where it cannot be removed.
    pub fn remove(self) {
        fs::remove_file(&self.path).ok();
    }
}

/// Whether an open file is still the one of that name.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((fs::metadata(path), file.metadata()), (Ok(named), Ok(open)) if id(&named) == id(&open))
}

/// Elsewhere nobody can make another file of that name while one is open.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> bool {
    true
}

/// Where the rename must land: the file behind a link, never a folder or a device.
fn destination(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(Error::file(path, "is a folder; name a file in it"));
    }
    if path.exists() && !path.is_file() {
        return Err(Error::file(path, "is not a regular file and will not be replaced; name another file"));
    }
    if path.is_symlink() { path.canonicalize().map_err(Error::io(path)) } else { Ok(path.to_owned()) }
}

/// A temporary file in the folder of `path`. It is locked while it is being made, and those that nobody holds are removed.
fn beside(path: &Path) -> Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Error::file(folder, "there is no such folder; make it first"));
    }
    clear(folder);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // Temporary files are private by default; what they become gets the permissions of any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(folder).map_err(Error::io(folder))?;
        // Where the system knows no locks, nobody gets one to remove the file.
        let held = file.as_file().lock().is_ok();
        // Another process may have taken it for one that was left behind, just before it was locked.
        if !held || is_at(file.path(), file.as_file()) {
            return Ok(file);
        }
    }
}

/// Removes the temporary files in a folder that a process has left which was killed; once for each process and folder. What
/// cannot be removed does no harm.
fn clear(folder: &Path) {
    static CLEARED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if !CLEARED.lock().expect("no panic happens while the lock is held").insert(folder.to_owned()) {
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let temporary = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()));
    for path in temporary.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.path()) {
        if let Ok(file) = OpenOptions::new().read(true).write(true).open(&path)
            && file.try_lock().is_ok()
            && is_at(&path, &file)
        {
            fs::remove_file(&path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> Result<()> {
        replace(path, |file| file.write_all(bytes))
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.txt");
        write(&path, b"old").expect("first write");
        let error = replace(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("disk full"))
        });
        assert!(matches!(error, Err(Error::Io { .. })));
        assert_eq!(std::fs::read(&path).expect("old file"), b"old");
        write(&path, b"new").expect("second write");
        assert_eq!(std::fs::read(&path).expect("new file"), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listing").count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_what_is_in_the_making_is_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (left, held) = (folder.path().join(".entoptic-left"), folder.path().join(".entoptic-held"));
        fs::write(&left, "half a picture").expect("written");
        let making = File::create(&held).expect("made");
        making.lock().expect("locked");
        fs::create_dir(folder.path().join(".entoptic-folder")).expect("made");
        write(&folder.path().join("a.txt"), b"new").expect("written");
        assert!(!left.exists() && held.exists() && folder.path().join(".entoptic-folder").exists());
        // Once for each process.
        fs::write(&left, "").expect("written");
        write(&folder.path().join("a.txt"), b"newer").expect("written");
        assert!(left.exists());
        let draft = Draft::new(&folder.path().join("b.txt")).expect("made");
        assert!(File::open(draft.file.path()).expect("there").try_lock().is_err(), "a draft is locked");
    }

    #[test]
    fn a_draft_whose_name_is_gone_is_not_lost() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.txt");
        let draft = Draft::new(&path).expect("made");
        let mut file = draft.writer().expect("open");
        file.write_all(b"all of it").and_then(|()| file.flush()).expect("written");
        fs::remove_file(draft.file.path()).expect("removed");
        draft.publish().expect("written again");
        assert_eq!(fs::read(&path).expect("there"), b"all of it");
        assert_eq!(fs::read_dir(folder.path()).expect("listing").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_are_not_waited_for() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let message = "is not a regular file; move it away";
        assert_eq!(read(&path).expect_err("refused").to_string(), message);
        assert!(Lock::take(&path).expect_err("refused").to_string().ends_with(message));
    }

    #[test]
    fn a_lock_has_one_holder_and_its_file_goes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.lock");
        let held = Lock::take(&path).expect("made").expect("nobody holds it");
        assert!(Lock::take(&path).expect("opened").is_none());
        // What a killed process leaves: the file, which nobody holds.
        drop(held);
        let held = Lock::take(&path).expect("opened").expect("nobody holds it");
        // A process that has opened the file and sees it go does not take that for the lock.
        let open = File::open(&path).expect("there");
        assert!(is_at(&path, &open));
        held.remove();
        assert!(!path.exists());
        Lock::take(&path).expect("made").expect("nobody holds it");
        assert!(cfg!(not(unix)) || !is_at(&path, &open));
    }

    #[test]
    fn checking_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("temporary folder");
        check_writable(&folder.path().join("a.png")).expect("writable");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listing").count(), 0);
        check_writable(Path::new("a.png")).expect("the current folder is writable");
    }

    #[test]
    fn folders_devices_and_absent_folders_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let message = |path: &Path| check_writable(path).expect_err("refused").to_string();
        assert!(message(folder.path()).ends_with("is a folder; name a file in it"));
        assert!(message(Path::new("")).ends_with("is a folder; name a file in it"));
        let absent = folder.path().join("absent");
        assert_eq!(
            message(&absent.join("a.png")),
            format!("{}: there is no such folder; make it first", absent.display())
        );
        #[cfg(unix)]
        assert!(message(Path::new("/dev/null")).contains("not a regular file"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, b"old").expect("first write");
        std::os::unix::fs::symlink(&file, &link).expect("link");
        write(&link, b"new").expect("second write");
        assert_eq!(std::fs::read(&file).expect("file"), b"new");
        assert!(link.is_symlink());
    }
}
