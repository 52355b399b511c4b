//! Files of weights from the network into a folder, whole and checked or not at all.
//!
//! What has arrived lies in `FILE.part` until its checksum is found right; only then it gets its name. Beside it,
//! `FILE.part.etag` says which version on the server it is a part of, and is locked by the process that fetches. Proxies
//! are those of the environment: `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY`, except for what `NO_PROXY` names.
//!
//! A little long: resuming, locking and checking are steps of one download.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{HeaderName, Response, header};

use super::Known;
use crate::digest::hex;
use crate::files::Lock;
use crate::{Error, Result, files};

/// How often whoever waits looks whether it is to stop.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// Pieces that may wait to be written.
const QUEUE: usize = 16;

/// Digits of a checksum that a file's name must have at least, as in torchvision's.
const DIGITS: usize = 8;

/// A file to be fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Download {
    url: String,
    folder: PathBuf,
    file: String,
    /// The first digits of its SHA-256, or all of them.
    sha256: String,
    patience: Duration,
}

/// What there is to say of a download while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another process is fetching the same file; this one waits for it.
    Waiting,
    /// So many bytes have been here from an earlier try and are not fetched again.
    Resumed(u64),
    /// So many bytes are here, of so many where the server says.
    Received {
        /// Bytes from the start of the file.
        bytes: u64,
        /// Length of the file.
        total: Option<u64>,
    },
}

/// How a download ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It came over the network.
    New,
    /// A good file has been there.
    AlreadyHere,
}

/// Is told what goes on, several times a second, and may end it.
pub type Watch<'a> = dyn FnMut(Event) -> ControlFlow<()> + 'a;

impl Download {
    /// A published checkpoint, to a folder; from `mirror`, a folder of the web, instead of where it is published.
    /// `patience` is how long a server may be silent.
    ///
    /// # Errors
    /// [`Error::Download`] when the mirror is not a URL of http or https.
    pub fn known(known: &Known, mirror: Option<&str>, folder: &Path, patience: Duration) -> Result<Self> {
        let file = known.file();
        let url = mirror.map_or_else(|| known.url(), |mirror| format!("{}/{file}", mirror.trim_end_matches('/')));
        check_url(&url)?;
        Ok(Download { url, folder: folder.to_owned(), file, sha256: known.checksum().to_owned(), patience })
    }

    /// Any file whose name ends, before its extension, in `-` and the first digits of its SHA-256, as those of torch hub do.
    ///
    /// # Errors
    /// [`Error::Download`] when the URL is not one of http or https, or its file's name has no such digits.
    pub fn url(url: &str, folder: &Path, patience: Duration) -> Result<Self> {
        let fail = |reason: &str| Error::Download { url: url.to_owned(), reason: reason.to_owned() };
        check_url(url)?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let digits = file.rsplit_once('.').and_then(|(stem, _)| stem.rsplit_once('-')).map(|(_, digits)| digits);
        match digits {
            Some(digits)
                if (DIGITS..=64).contains(&digits.len())
                    && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                    && file.chars().all(plain) =>
            {
                let (url, file, sha256) = (url.to_owned(), file.to_owned(), digits.to_ascii_lowercase());
                Ok(Download { url, folder: folder.to_owned(), file, sha256, patience })
            }
            _ => Err(fail(
                "the file's name must end in - and the first digits of its SHA-256, eight or more, such as \
                 resnet50-0676ba61.pth, so that what arrives can be checked",
            )),
        }
    }

    /// Where the file will be.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// Where what has arrived is until then.
    pub fn partial(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.file))
    }

    fn tag(&self) -> PathBuf {
        self.folder.join(format!("{}.part.etag", self.file))
    }

    /// Fetches the file unless a good one is there. What an earlier try has left is gone on from.
    ///
    /// # Errors
    /// [`Error::Download`] when the server is silent, refuses or breaks off, or what came has another checksum, which is
    /// then removed; [`Error::Io`] when it cannot be written; [`Error::Interrupted`] when `watch` says so. A file that was
    /// there before stays, and so does what has arrived, but for that of another checksum.
    pub fn run(&self, watch: &mut Watch) -> Result<Fetched> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        if self.is_here()? {
            return Ok(Fetched::AlreadyHere);
        }
        let mut tag = Tag::lock(self.tag(), watch)?;
        let fetched = self.fetch(&mut tag, watch);
        tag.leave(&self.partial());
        fetched
    }

    /// [`Download::run`] by the process that holds the lock.
    fn fetch(&self, tag: &mut Tag, watch: &mut Watch) -> Result<Fetched> {
        // Whoever held the lock before may have fetched it.
        if self.is_here()? {
            return Ok(Fetched::AlreadyHere);
        }
        let mut part = Part::open(self.partial())?;
        while !self.fits(&part.digest()) {
            if let Received::Whole = self.receive(&mut part, tag, watch)? {
                break;
            }
            part.clear()?;
        }
        let digest = part.digest();
        if !self.fits(&digest) {
            fs::remove_file(&part.path).map_err(Error::io(&part.path))?;
            let wanted = &self.sha256;
            let wanted = if wanted.len() == 64 { wanted.clone() } else { format!("one that begins with {wanted}") };
            return Err(self.fail(format!("what came has the SHA-256 {digest}, not {wanted}; it has been removed")));
        }
        part.file.sync_all().map_err(Error::io(&part.path))?;
        fs::rename(&part.path, self.path()).map_err(Error::io(self.path()))?;
        Ok(Fetched::New)
    }

    fn is_here(&self) -> Result<bool> {
        let path = self.path();
        Ok(path.is_file()
            && self.fits(&Part::read(path.clone(), File::open(&path).map_err(Error::io(path))?)?.digest()))
    }

    fn fits(&self, digest: &str) -> bool {
        digest.starts_with(&self.sha256)
    }

    fn fail(&self, reason: String) -> Error {
        Error::Download { url: self.url.clone(), reason }
    }

    /// Asks the server for what is missing, once.
    fn receive(&self, part: &mut Part, tag: &mut Tag, watch: &mut Watch) -> Result<Received> {
        let transfer = Transfer::start(&self.url, part.length, tag.read()?, self.patience);
        let mut total = None;
        loop {
            if watch(Event::Received { bytes: part.length, total }).is_break() {
                return Err(Error::Interrupted);
            }
            match transfer.messages.recv_timeout(TICK) {
                Ok(Ok(Heard::Head(head))) => {
                    match head.status {
                        200 => {
                            part.clear()?;
                            tag.write(head.etag.as_deref().unwrap_or_default())?;
                        }
                        206 if part.length > 0 && head.first == Some(part.length) => {
                            if watch(Event::Resumed(part.length)).is_break() {
                                return Err(Error::Interrupted);
                            }
                        }
                        // It has no such part of the file, or sends another: what is here is of something else.
                        206 | 416 if part.length > 0 => return Ok(Received::OtherPart),
                        status => return Err(self.fail(format!("the server answers {status} {}", head.reason))),
                    }
                    total = head.length.map(|length| part.length + length);
                }
                Ok(Ok(Heard::Piece(bytes))) => part.write(&bytes)?,
                Ok(Err(reason)) => return Err(self.fail(reason)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Received::Whole),
            }
        }
    }
}

/// Whether a text is meant as the URL of a file.
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme.as_str()))
}

fn check_url(url: &str) -> Result<()> {
    if is_url(url) {
        return Ok(());
    }
    Err(Error::Download { url: url.to_owned(), reason: "is not a URL; it begins with https:// or http://".into() })
}

/// What asking a server once has led to.
enum Received {
    /// It has sent all that it has.
    Whole,
    /// What is here is no beginning of what the server has.
    OtherPart,
}

/// What has arrived of a file, in a file.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    sum: Sha256,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(Error::io(&path))?;
        file.metadata().and_then(|metadata| files::check_regular(&metadata)).map_err(Error::io(&path))?;
        Part::read(path, file)
    }

    /// With the checksum of what is there.
    fn read(path: PathBuf, mut file: File) -> Result<Self> {
        let (mut sum, mut length, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
        loop {
            match file.read(&mut piece).map_err(Error::io(&path))? {
                0 => return Ok(Part { path, file, length, sum }),
                count => {
                    sum.update(&piece[..count]);
                    length += count as u64;
                }
            }
        }
    }

    fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io(&self.path))?;
        (self.sum, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))?;
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn digest(&self) -> String {
        hex(&self.sum.clone().finalize())
    }
}

/// The server's name for the version that a partial file is of, in a file that is locked.
struct Tag {
    path: PathBuf,
    lock: Lock,
}

impl Tag {
    /// Waits until no other process fetches the same file.
    fn lock(path: PathBuf, watch: &mut Watch) -> Result<Self> {
        loop {
            match Lock::take(&path)? {
                Some(lock) => return Ok(Tag { path, lock }),
                None if watch(Event::Waiting).is_break() => return Err(Error::Interrupted),
                None => thread::sleep(TICK),
            }
        }
    }

    fn read(&mut self) -> Result<Option<String>> {
        let (mut text, file) = (String::new(), self.lock.file());
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        read.map_err(Error::io(&self.path))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let file = self.lock.file();
        let cleared = file.set_len(0).and_then(|()| file.rewind());
        cleared.and_then(|()| file.write_all(text.as_bytes())).map_err(Error::io(&self.path))
    }

    /// Removes what is of no use to the next try: a partial file without a byte, and the name of its version.
    fn leave(mut self, part: &Path) {
        let length = fs::metadata(part).map_or(0, |metadata| metadata.len());
        if length == 0 {
            fs::remove_file(part).ok();
        }
        if length == 0 || matches!(self.read(), Ok(None)) {
            self.lock.remove();
        }
    }
}

/// A request on a thread of its own, so that a silent server does not keep anybody from stopping.
struct Transfer {
    agent: Agent,
    /// Ends when all has come.
    messages: Receiver<Message>,
}

/// What the thread has to say; an error in words.
type Message = std::result::Result<Heard, String>;

enum Heard {
    Head(Head),
    Piece(Vec<u8>),
}

/// What a response begins with.
struct Head {
    status: u16,
    reason: String,
    /// Place of the first byte in the file, where only a part is sent.
    first: Option<u64>,
    /// Bytes that are sent.
    length: Option<u64>,
    /// Name of the version, where it means the very same bytes.
    etag: Option<String>,
}

impl Transfer {
    fn start(url: &str, first: u64, etag: Option<String>, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("entoptic/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience));
        let agent = Agent::new_with_config(config.build());
        let (sender, messages) = sync_channel(QUEUE);
        let (worker, url) = (agent.clone(), url.to_owned());
        thread::spawn(move || {
            if let Err(error) = transfer(&worker, &url, first, etag.as_deref(), &sender) {
                sender.send(Err(reason(&error, patience))).ok();
            }
        });
        Transfer { agent, messages }
    }
}

impl Drop for Transfer {
    /// Ends the thread, at once unless it is still finding the server.
    fn drop(&mut self) {
        self.agent.clone().shutdown();
    }
}

/// Sends what the server sends, from byte `first` on if it is still the version `etag`.
fn transfer(
    agent: &Agent,
    url: &str,
    first: u64,
    etag: Option<&str>,
    out: &SyncSender<Message>,
) -> Result<(), ureq::Error> {
    let mut request = agent.get(url);
    if first > 0 {
        request = request.header(header::RANGE, format!("bytes={first}-"));
        if let Some(etag) = etag {
            request = request.header(header::IF_RANGE, etag);
        }
    }
    let mut response = request.call()?;
    // An error here and below: nobody listens any more.
    if out.send(Ok(Heard::Head(Head::of(&response)))).is_err() || !response.status().is_success() {
        return Ok(());
    }
    let mut body = response.body_mut().as_reader();
    loop {
        let mut piece = vec![0; PIECE];
        let count = body.read(&mut piece).map_err(ureq::Error::from)?;
        piece.truncate(count);
        if count == 0 || out.send(Ok(Heard::Piece(piece))).is_err() {
            return Ok(());
        }
    }
}

impl Head {
    fn of(response: &Response<ureq::Body>) -> Self {
        let text = |name: HeaderName| response.headers().get(name)?.to_str().ok();
        Head {
            status: response.status().as_u16(),
            reason: response.status().canonical_reason().unwrap_or_default().to_owned(),
            first: text(header::CONTENT_RANGE).and_then(first_byte),
            length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            // A weak one means another file that will do as well.
            etag: text(header::ETAG).filter(|etag| !etag.starts_with("W/")).map(str::to_owned),
        }
    }
}

/// `bytes FIRST-LAST/TOTAL`
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// What went wrong, for people.
fn reason(error: &ureq::Error, patience: Duration) -> String {
    let silent = || format!("nothing came for {} s", patience.as_secs_f32());
    match error {
        ureq::Error::Timeout(_) => silent(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => silent(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the server broke off".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "there is no such server, or no network".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(url: &str) -> Result<Download> {
        Download::url(url, Path::new("folder"), Duration::from_secs(1))
    }

    #[test]
    fn names_of_files_carry_their_checksums() {
        for url in [
            "https://a/b/net-0676ba61.pth",
            "HTTP://a:80/net-0676ba61.pth?download=true#x",
            "https://a/net-0676BA61.pth",
        ] {
            let download = download(url).expect("a good name");
            assert_eq!(download.sha256, "0676ba61", "{url}");
            assert_eq!(
                download.path(),
                Path::new("folder").join(url.rsplit('/').next().expect("a name").split('?').next().expect("a name"))
            );
        }
        let full = "0".repeat(64);
        assert_eq!(download(&format!("https://a/x-{full}.safetensors")).expect("a good name").sha256, full);
        for url in [
            "https://a/net.pth",
            "https://a/net-0676ba6.pth",
            "https://a/net-0676ba6g.pth",
            "https://a/0676ba61.pth",
            "https://a/net-0676ba61",
            "https://a/..%2fnet-0676ba61.pth",
            "https://a/net-0676ba61.pth/",
        ] {
            assert!(download(url).expect_err("refused").to_string().contains("first digits of its SHA-256"), "{url}");
        }
        for url in ["ftp://a/net-0676ba61.pth", "net-0676ba61.pth", "file:///net-0676ba61.pth"] {
            assert!(download(url).expect_err("refused").to_string().contains("is not a URL"), "{url}");
        }
    }

    #[test]
    fn known_files_come_from_where_they_are_published_or_from_a_mirror() {
        let (known, second) = (&super::super::KNOWN[0], Duration::from_secs(1));
        let of = |mirror| Download::known(known, mirror, Path::new("folder"), second).expect("a URL");
        assert_eq!(of(None).url, "https://download.pytorch.org/models/resnet50-0676ba61.pth");
        for mirror in ["http://a/b", "http://a/b/"] {
            assert_eq!(of(Some(mirror)).url, "http://a/b/resnet50-0676ba61.pth");
        }
        assert_eq!(of(None).sha256, "0676ba61");
        let full = Known { sha256: Some("0676ba61ff"), ..*known };
        assert_eq!(Download::known(&full, None, Path::new("folder"), second).expect("a URL").sha256, "0676ba61ff");
        assert!(Download::known(known, Some("a/b"), Path::new("folder"), second).is_err());
    }

    #[test]
    fn places_of_parts_are_read() {
        assert_eq!(first_byte("bytes 17-99/100"), Some(17));
        assert_eq!(first_byte("bytes 0-1/*"), Some(0));
        assert_eq!(first_byte("bytes */100"), None);
        assert_eq!(first_byte("lines 1-2/3"), None);
    }
}
