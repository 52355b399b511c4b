//! `entoptic weights fetch` from outside, against a server in this file. Needs no GPU and no network.
//!
//! One long file: every case is a way in which the one server here may fail.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use entoptic::weights::KNOWN;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A machine of its own: a cache, no proxies.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A path in the cache. The folder of a Mac lies deeper.
    fn cache(&self, name: &str) -> PathBuf {
        let folder = if cfg!(target_os = "macos") { "Library/Caches/entoptic" } else { "entoptic" };
        self.0.path().join(folder).join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.cache("")).expect("a cache");
        fs::write(self.cache(name), bytes).expect("written");
    }

    fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, self.0.path());
        }
        for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.args(["weights", "fetch"]).args(arguments);
        self.equip(&mut command);
        command
    }

    /// What it says on its way, when all goes well and `file` holds `bytes` afterwards.
    #[track_caller]
    fn good(&self, arguments: &[&str], file: &str, bytes: &[u8]) -> String {
        let output = self.command(arguments).output().expect("the program starts");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(text(&output.stdout), format!("{}\n", self.cache(file).display()));
        assert!(fs::read(self.cache(file)).expect("it is there") == bytes);
        assert_eq!(self.files(), [file], "nothing else is left");
        said
    }

    /// What it says is wrong: exit code 1, one line, nothing on standard output, nothing under the name of the file.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(&[&["--quiet"], arguments].concat()).output().expect("the program starts");
        self.refusal(&output)
    }

    #[track_caller]
    fn refusal(&self, output: &Output) -> String {
        let (out, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{out}{said}");
        assert!(out.is_empty() && said.starts_with("error: ") && !said.contains("panicked"), "{out}{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!self.files().iter().any(|file| file.ends_with(".pth")), "{:?}", self.files());
        said
    }

    /// Names of what is in the cache.
    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.cache("")) else { return vec![] };
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

/// What a client has asked for: the first line, then headers in lower case.
#[derive(Clone, Debug)]
struct Request(Vec<String>);

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then_some(Request(lines))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.0[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A server on this machine that answers each connection as a function says, and remembers what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn new(answer: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, answer) = (Arc::new(Mutex::new(vec![])), Arc::new(answer));
        let log: Arc<Mutex<Vec<Request>>> = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer, mut stream) = (log.clone(), answer.clone(), stream.expect("a connection"));
                thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else { return };
                    let count = {
                        let mut log = log.lock().expect("no panic");
                        log.push(request.clone());
                        log.len()
                    };
                    answer(count, &request, &mut stream);
                });
            }
        });
        Server { address, asked }
    }

    fn url(&self, file: &str) -> String {
        format!("http://{}/models/{file}", self.address)
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Sends a file as a good server does, but for bytes beyond `limit`.
fn send(stream: &mut TcpStream, request: &Request, bytes: &[u8], etag: &str, limit: usize) {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let same = request.header("if-range").is_none_or(|wanted| wanted == etag);
    let etag = if etag.is_empty() { String::new() } else { format!("ETag: {etag}\r\n") };
    let (head, first) = match range {
        Some(first) if same && first >= bytes.len() => {
            (format!("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}", bytes.len()), bytes.len())
        }
        Some(first) if same => {
            let (last, total) = (bytes.len() - 1, bytes.len());
            (format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}"), first)
        }
        _ => ("HTTP/1.1 200 OK".to_owned(), 0),
    };
    let body = &bytes[first..];
    // The client may have gone.
    write!(stream, "{head}\r\n{etag}Content-Length: {}\r\n\r\n", body.len()).ok();
    stream.write_all(&body[..limit.min(body.len())]).ok();
}

/// Some bytes, and the name of a file that holds them.
fn payload(length: usize) -> (Vec<u8>, String) {
    let bytes: Vec<u8> = (0..length).map(|index| (index * index / 7 % 251) as u8).collect();
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, format!("net-{}.pth", &sum[..8]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Whether a text has all the words, in this order.
#[track_caller]
fn has(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} (in this order) in: {text}"));
        rest = &rest[at + word.len()..];
    }
}

/// Longer than anything takes on a machine that does much else; a silent server is silent for longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until there is something.
#[track_caller]
fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_file_comes_whole() {
    let (bytes, file) = payload(1 << 20);
    let sent = bytes.clone();
    let server = Server::new(move |_, request, stream| send(stream, request, &sent, "\"v1\"", usize::MAX));
    let desk = Desk::new();
    let said = desk.good(&[&server.url(&file)], &file, &bytes);
    has(&said, &["of 1.0 MiB", "1.0 of 1.0 MiB"]);
    let asked = server.asked();
    assert_eq!((asked.len(), &asked[0].0[0]), (1, &format!("GET /models/{file} HTTP/1.1")));
    assert_eq!(asked[0].header("range"), None);

    // Again: a good file is there. A bad one is replaced.
    let said = desk.good(&[&server.url(&file)], &file, &bytes);
    has(&said, &["already here"]);
    assert_eq!(server.asked().len(), 1);
    desk.put(&file, b"damaged");
    assert_eq!(desk.good(&["--quiet", &server.url(&file)], &file, &bytes), "");
}

#[test]
fn a_broken_download_is_gone_on_from() {
    let (bytes, file) = payload(300_000);
    let sent = bytes.clone();
    // The first two connections break; with an exact name of the version, with a weak one, without any.
    for (etag, named) in [("\"v1\"", Some("\"v1\"")), ("W/\"v1\"", None), ("", None)] {
        let sent = sent.clone();
        let server = Server::new(move |count, request, stream| {
            send(stream, request, &sent, etag, if count < 3 { 100_000 } else { usize::MAX });
        });
        let desk = Desk::new();
        for held in [100_000, 200_000] {
            let said = desk.refused(&[&server.url(&file)]);
            has(&said, &[&server.url(&file), "MiB stay in ", ".part", "the same command goes on"]);
            let part = fs::read(desk.cache(&format!("{file}.part"))).expect("it stays");
            assert!(part == bytes[..held], "{} bytes", part.len());
        }
        has(&desk.good(&[&server.url(&file)], &file, &bytes), &["0.2 MiB are here from before", "0.3 of 0.3 MiB"]);
        let ranges: Vec<_> = server.asked().iter().map(|request| request.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=200000-".into())]);
        assert_eq!(server.asked()[2].header("if-range"), named);
    }
}

#[test]
fn what_cannot_be_gone_on_from_begins_anew() {
    let (bytes, file) = payload(200_000);
    let part = format!("{file}.part");
    // The server has another version now; it knows no ranges; it has less than is here; it sends another part.
    let sent = bytes.clone();
    let changed = Server::new(move |_, request, stream| send(stream, request, &sent, "\"v2\"", usize::MAX));
    let sent = bytes.clone();
    let plain = Server::new(move |_, _, stream| send(stream, &Request(vec![String::new()]), &sent, "", usize::MAX));
    let sent = bytes.clone();
    let less = Server::new(move |_, request, stream| send(stream, request, &sent, "", usize::MAX));
    let sent = bytes.clone();
    let other = Server::new(move |_, request, stream| match request.header("range") {
        Some(_) => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/200000\r\nContent-Length: 3\r\n\r\nabc"
            )
            .ok();
        }
        None => send(stream, request, &sent, "", usize::MAX),
    });
    for (server, held, tag) in [
        (&changed, &bytes[1..1000], "\"v1\""),
        (&plain, &bytes[..1000], ""),
        (&less, &[bytes.as_slice(), b"more"].concat(), ""),
        (&other, &bytes[..1000], ""),
    ] {
        let desk = Desk::new();
        desk.put(&part, held);
        desk.put(&format!("{part}.etag"), tag.as_bytes());
        desk.good(&[&server.url(&file)], &file, &bytes);
        let first = &server.asked()[0];
        assert_eq!(first.header("range"), Some(&*format!("bytes={}-", held.len())));
        assert_eq!(first.header("if-range"), (!tag.is_empty()).then_some(tag));
    }
    // All had come, and only the name was missing.
    let desk = Desk::new();
    desk.put(&part, &bytes);
    let count = less.asked().len();
    desk.good(&[&less.url(&file)], &file, &bytes);
    assert_eq!(less.asked().len(), count, "nothing is asked");
}

#[test]
fn a_wrong_checksum_removes_what_came_and_replaces_nothing() {
    let server = Server::new(|_, request, stream| send(stream, request, b"something else", "", usize::MAX));
    let desk = Desk::new();
    let said = desk.refused(&[&server.url("net-01234567.pth")]);
    has(&said, &["SHA-256", "not one that begins with 01234567", "has been removed"]);
    assert!(desk.files().is_empty(), "{:?}", desk.files());
    let whole = format!("net-{}.pth", "0".repeat(64));
    has(&desk.refused(&[&server.url(&whole)]), &["SHA-256", &format!("not {}", "0".repeat(64))]);

    // A beginning that is of something else.
    let (bytes, file) = payload(1000);
    let rest = Server::new(move |_, request, stream| send(stream, request, &bytes, "", usize::MAX));
    desk.put(&format!("{file}.part"), b"wrong");
    has(&desk.refused(&[&rest.url(&file)]), &["SHA-256", "has been removed"]);
    assert!(!desk.cache(&format!("{file}.part")).exists());

    // A file that has been there stays, good or bad.
    desk.put("net-01234567.pth", b"mine");
    let output = desk.command(&[&server.url("net-01234567.pth")]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(desk.cache("net-01234567.pth")).expect("it stays"), b"mine");
}

#[test]
fn refusals_of_servers_are_said() {
    let (bytes, file) = payload(1000);
    let server = Server::new(|_, request, stream| {
        let status = if request.header("range").is_some() { "503 Service Unavailable" } else { "404 Not Found" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nsorry").ok();
    });
    let desk = Desk::new();
    has(&desk.refused(&[&server.url(&file)]), &[&server.url(&file), "the server answers 404 Not Found"]);
    assert!(desk.files().is_empty(), "its words are not taken for the file: {:?}", desk.files());
    desk.put(&format!("{file}.part"), &bytes[..10]);
    has(&desk.refused(&[&server.url(&file)]), &["503 Service Unavailable", "MiB stay in"]);
    assert_eq!(fs::read(desk.cache(&format!("{file}.part"))).expect("it stays"), bytes[..10]);

    // Nobody listens at a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let said = desk.refused(&[&format!("http://{free}/{file}"), "--timeout", "5"]);
    has(&said, &[&free.to_string(), "efused"]);
}

#[test]
fn a_silent_server_is_given_up() {
    let (bytes, file) = payload(100_000);
    for (before, words) in [(0, ""), (40_000, "MiB stay in ")] {
        let sent = bytes.clone();
        let server = Server::new(move |_, request, stream| {
            if before > 0 {
                send(stream, request, &sent, "", before);
            }
            thread::sleep(2 * PATIENCE);
        });
        let desk = Desk::new();
        let begun = Instant::now();
        has(&desk.refused(&[&server.url(&file), "--timeout", "1"]), &["nothing came for 1 s", words]);
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        let part = fs::metadata(desk.cache(&format!("{file}.part")));
        assert_eq!(part.ok().map(|part| part.len()), (before > 0).then_some(before as u64), "nothing, or what came");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_under_the_name() {
    let (bytes, file) = payload(1 << 20);
    let sent = bytes.clone();
    let server = Server::new(move |_, request, stream| send(stream, request, &sent, "", usize::MAX));
    let desk = Desk::new();
    // No file may grow beyond some kilobytes; the signal that says so is ignored, so writing fails as on a full disk.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --quiet weights fetch \"$1\"";
    let command = shell.args(["-c", script, env!("CARGO_BIN_EXE_entoptic"), &server.url(&file)]);
    let output = desk.equip(command).output().expect("a shell");
    has(&desk.refusal(&output), &[".part: ", "os error", "MiB stay in "]);
    desk.good(&[&server.url(&file)], &file, &bytes);
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_has_come() {
    let (bytes, file) = payload(100_000);
    let sent = bytes.clone();
    let server = Server::new(move |count, request, stream| {
        send(stream, request, &sent, "\"v1\"", if count == 1 { 40_000 } else { usize::MAX });
        if count == 1 {
            thread::sleep(2 * PATIENCE);
        }
    });
    let desk = Desk::new();
    let child = desk.command(&["--quiet", &server.url(&file)]).spawn().expect("the program starts");
    let part = desk.cache(&format!("{file}.part"));
    until(|| fs::metadata(&part).is_ok_and(|part| part.len() == 40_000).then_some(()));
    let begun = Instant::now();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    has(&desk.refusal(&output), &["stopped; 0.0 MiB stay in ", ".part", "the same command goes on"]);
    desk.good(&[&server.url(&file)], &file, &bytes);
    assert_eq!(server.asked()[1].header("range"), Some("bytes=40000-"));
}

/// A pipe from which nothing ever comes, in the place of each of its files.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_cache_is_not_waited_for() {
    let (bytes, file) = payload(100_000);
    let sent = bytes.clone();
    let server = Server::new(move |_, request, stream| send(stream, request, &sent, "", usize::MAX));
    for ending in [".part", ".part.etag", ""] {
        let desk = Desk::new();
        desk.good(&[&server.url(&file)], &file, &bytes);
        fs::remove_file(desk.cache(&file)).expect("removed");
        let pipe = desk.cache(&format!("{file}{ending}"));
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let output = desk.command(&[&server.url(&file)]).output().expect("the program starts");
        let said = text(&output.stderr);
        assert!(output.status.success() || said.contains("is not a regular file"), "{ending}: {said}");
    }
}

#[test]
fn two_processes_fetch_a_file_once() {
    let (bytes, file) = payload(100_000);
    let sent = bytes.clone();
    // The file comes when the other two have said that they wait for it.
    let waiting = Arc::new(AtomicUsize::new(0));
    let seen = waiting.clone();
    let server = Server::new(move |_, request, stream| {
        until(|| (seen.load(Ordering::Relaxed) == 2).then_some(()));
        send(stream, request, &sent, "", usize::MAX);
    });
    let desk = Desk::new();
    let start = || desk.command(&[&server.url(&file)]).spawn().expect("the program starts");
    let children: Vec<Child> = (0..3).map(|_| start()).collect();
    let listen = |mut child: Child| {
        let waiting = waiting.clone();
        thread::spawn(move || {
            let mut said = String::new();
            for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
                let line = line.expect("UTF-8");
                waiting.fetch_add(usize::from(line.contains("waiting for it")), Ordering::Relaxed);
                said += &(line + "\n");
            }
            assert!(child.wait().expect("it ends").success(), "{said}");
            said
        })
    };
    let listeners: Vec<_> = children.into_iter().map(listen).collect();
    let said: Vec<String> = listeners.into_iter().map(|listener| listener.join().expect("it ends well")).collect();
    assert_eq!(said.iter().filter(|said| said.contains("already here")).count(), 2, "{said:?}");
    assert_eq!(said.iter().filter(|said| said.contains("waiting for it")).count(), 2, "{said:?}");
    assert_eq!(server.asked().len(), 1);
    assert!(fs::read(desk.cache(&file)).expect("it is there") == bytes);
    assert_eq!(desk.files(), [file]);
}

/// The proxy is asked for a server whose name nobody can find.
#[test]
fn proxies_of_the_environment_are_used() {
    let (bytes, file) = payload(1000);
    let sent = bytes.clone();
    let proxy = Server::new(move |_, request, stream| {
        if request.0[0].starts_with("CONNECT ") {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n").ok();
            let Some(request) = Request::read(stream) else { return };
            send(stream, &request, &sent, "", usize::MAX);
        }
    });
    let desk = Desk::new();
    let url = format!("http://checkpoints.invalid/{file}");
    let mut command = desk.command(&[&url]);
    let output = command.env("HTTPS_PROXY", format!("http://{}", proxy.address)).output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    has(&proxy.asked()[0].0[0], &["CONNECT checkpoints.invalid:80"]);
    assert!(fs::read(desk.cache(&file)).expect("it is there") == bytes);
}

#[test]
fn redirections_are_followed_with_the_range() {
    let (bytes, file) = payload(1000);
    let sent = bytes.clone();
    let server = Server::new(move |_, request, stream| match request.0[0].contains("/models/") {
        true => drop(write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /there/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )),
        false => send(stream, request, &sent, "", usize::MAX),
    });
    let desk = Desk::new();
    desk.put(&format!("{file}.part"), &bytes[..10]);
    desk.good(&[&server.url(&file)], &file, &bytes);
    assert_eq!(server.asked()[1].header("range"), Some("bytes=10-"));
}

#[test]
fn known_checkpoints_go_by_several_names() {
    let server = Server::new(|_, request, stream| send(stream, request, b"something else", "", usize::MAX));
    let desk = Desk::new();
    let mirror = format!("http://{}/mirror/", server.address);
    for known in KNOWN {
        for name in [known.name, &known.file(), known.published_as] {
            let said = desk.refused(&[name, "--mirror", &mirror]);
            has(&said, &[known.name, "not one that begins with", known.sha256_prefix()]);
            let asked = server.asked().pop().expect("a request");
            assert_eq!(asked.0[0], format!("GET /mirror/{}.pth HTTP/1.1", known.name));
        }
    }
    let said = desk.refused(&["resnet51", "--mirror", &mirror]);
    has(
        &said,
        &["\"resnet51\"", "resnet50-0676ba61", "ResNet50_Weights.IMAGENET1K_V1", "inception_v3_google-0cc3c7bd"],
    );
    has(&desk.refused(&["http://a/resnet50.pth"]), &["http://a/resnet50.pth", "first digits of its SHA-256"]);
    has(&desk.refused(&["http://a/net-01234567.pth", "--mirror", &mirror]), &["--mirror is for"]);
    has(&desk.refused(&["resnet50", "--mirror", "ftp://a"]), &["is not a URL"]);
}

#[test]
fn a_cache_that_cannot_be_is_said() {
    let desk = Desk::new();
    fs::write(desk.0.path().join("file"), "").expect("written");
    let run = |folder: &str| {
        let mut command = desk.command(&["--quiet", "http://127.0.0.1:9/net-01234567.pth"]);
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, desk.0.path().join("file").join(folder));
        }
        command.output().expect("the program starts")
    };
    has(&desk.refusal(&run("")), &["file", "entoptic"]);
    let mut command = desk.command(&["resnet50"]);
    for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
        command.env_remove(variable);
    }
    has(&desk.refusal(&command.output().expect("the program starts")), &["no folder for a cache", "XDG_CACHE_HOME"]);
}
