//! Files of `torch.save`, good and bad: the good ones give exactly their tensors, the bad ones an error that says why,
//! and whatever becomes of a file it is read or refused at once, in little memory and without a panic.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::fixture;
use common::generator::mix64;
use entoptic::nets::Structure;
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};
use serde_json::Value;

const GOOD: [&str; 5] =
    ["tiny_zip.pth", "tiny_legacy.pth", "tiny_nested_zip.pth", "tiny_parameter_zip.pth", "tiny_deflated.pth"];

/// What `index.json` asks of each file, as a part of the message.
const BAD: [(&str, &str); 11] = [
    ("bad_byteorder_big.pth", "holds big-endian numbers, which are not read"),
    ("bad_empty.pth", "file is empty; download it again"),
    ("bad_eval_zip.pth", "pickle asks for __builtin__.eval, which weights have no use for; it was not run"),
    ("bad_missing_storage.pth", "storage 0 is not there; download it again"),
    ("bad_short_storage.pth", "storage 0 holds 8 bytes, expected 15 elements of 2; download it again"),
    ("bad_system_bare.pkl", "pickle asks for posix.system, which weights have no use for; it was not run"),
    ("bad_system_legacy.pth", "pickle asks for posix.system, which weights have no use for; it was not run"),
    ("bad_system_zip.pth", "pickle asks for posix.system, which weights have no use for; it was not run"),
    ("bad_truncated_legacy.pth", "file is truncated: storage 94109994982800 does not end within its 2790 bytes"),
    ("bad_truncated_legacy_pickle.pth", "file is truncated: its pickle does not end"),
    ("bad_truncated_zip.pth", "file is truncated: the directory at the end of the archive is not there"),
];

/// The longest that any file here may take.
const TIME: Duration = Duration::from_secs(20);

/// The most that may be allocated for any file here, all of them being small.
const MEMORY: isize = 4 << 20;

/// Mutations of each file; `ENTOPTIC_MUTATIONS` asks for another number.
const MUTATIONS: u64 = 3000;

/// The system's allocator, counting what each thread holds and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: Everything is passed on to the system's allocator; counting neither allocates nor fails.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: The caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: The caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, once it has kept within the bounds.
#[track_caller]
fn bounded<T>(label: &str, work: impl FnOnce() -> T) -> T {
    let (began, held) = (Instant::now(), HELD.get());
    PEAK.set(held);
    let outcome = work();
    let (took, peak) = (began.elapsed(), PEAK.get() - held);
    assert!(took < TIME, "{label}: took {took:?}");
    assert!(peak < MEMORY, "{label}: allocated {peak} bytes");
    outcome
}

fn path(file: &str) -> PathBuf {
    fixture::path("checkpoints").join(file)
}

#[test]
fn every_good_file_gives_exactly_the_expected_tensors() {
    let expected = fixture::json("checkpoints/tiny_expected.json");
    let expected = expected.as_object().expect("tensors by name");
    for file in GOOD {
        let checkpoint = bounded(file, || Checkpoint::open(&path(file))).unwrap();
        let mut names: Vec<&str> = expected.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), names, "{file}");
        assert!(checkpoint.metadata().is_empty(), "{file}");
        assert_eq!(Structure::of(&checkpoint), None, "{file}");
        for (name, tensor) in expected {
            let numbers = |word: &str| tensor[word].as_array().expect("a list").iter();
            let shape: Vec<usize> = numbers("shape").map(|size| size.as_u64().unwrap() as usize).collect();
            assert_eq!(checkpoint.shape(name), Some(&shape[..]), "{file}: {name}");
            assert_eq!(checkpoint.dtype(name), Some(dtype(&tensor["dtype"])), "{file}: {name}");
            let values = checkpoint.read(name).unwrap();
            let bits: Vec<u32> = match tensor.get("f32_bits") {
                Some(_) => numbers("f32_bits").map(|bits| fixture::hex(bits) as u32).collect(),
                None => numbers("values_row_major").map(|v| (v.as_i64().unwrap() as f32).to_bits()).collect(),
            };
            assert_eq!(values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits, "{file}: {name}");
        }
    }
}

fn dtype(name: &Value) -> &'static str {
    match name.as_str() {
        Some("float32") => "F32",
        Some("float16") => "F16",
        Some("bfloat16") => "BF16",
        Some("int64") => "I64",
        other => panic!("no word for {other:?}"),
    }
}

#[test]
fn every_bad_file_gives_its_error() {
    let listed = fixture::json("checkpoints/index.json");
    let listed: Vec<&String> = listed["bad"].as_object().expect("files by name").keys().collect();
    assert_eq!(listed, BAD.map(|(file, _)| file));
    for (file, message) in BAD {
        let error = bounded(file, || Checkpoint::open(&path(file))).expect_err(file).to_string();
        assert!(error.starts_with(&format!("{}: ", path(file).display())), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

/// Of training scripts: an `argparse.Namespace`, and a scheduler's `Counter`. What stands beside weights is not made.
#[test]
fn objects_beside_the_weights_do_not_refuse_them() {
    let plain = Checkpoint::open(&path("beside_ok_resnet50.pth")).expect("a good file");
    for file in ["beside_torchvision_reference_args.pth", "beside_multisteplr_counter.pth", "beside_sparse_fc.pth"] {
        let checkpoint = bounded(file, || Checkpoint::open(&path(file))).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), plain.names().collect::<Vec<_>>(), "{file}");
        assert_eq!(Structure::of(&checkpoint).expect("a network").name(), "resnet50", "{file}");
        for name in plain.names() {
            assert_eq!(checkpoint.read(name).expect(name), plain.read(name).expect(name), "{file}: {name}");
        }
    }
    // Bytes of Python 2 are no damage.
    bounded("bytes", || Checkpoint::open(&path("beside_python2_bytes.pth"))).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().expect("temporary folder");
    let part = folder.path().join("__0_0.distcp");
    fs::copy(path("tiny_zip.pth"), &part).expect("a copy");
    let said = Checkpoint::open(&part).expect_err("refused").to_string();
    assert!(said.contains("is one part of a distributed checkpoint") && said.contains("dcp_to_torch"), "{said}");
}

/// Beside the file itself, which is mapped, so that a large one takes little more than its own size. The files are those
/// of whole networks, narrow ones.
#[test]
fn reading_a_network_takes_the_memory_of_its_largest_tensor() {
    for network in ["resnet50", "googlenet", "inception_v3"] {
        let held = HELD.get();
        PEAK.set(held);
        let checkpoint = Checkpoint::open(&path(&format!("small_{network}.pth"))).expect("a good file");
        let tensors = checkpoint.names().count() as isize;
        let opening = (PEAK.get() - held) / tensors;
        // Measured: 2.2 KiB, the pickle's values and what is remembered of them.
        assert!(opening < 4 << 10, "{network}: opening takes {opening} bytes for a tensor");
        let (mut largest, held) = (0, HELD.get());
        PEAK.set(held);
        for name in checkpoint.names() {
            largest = largest.max(4 * checkpoint.read(name).expect("finite numbers").len() as isize);
        }
        let reading = PEAK.get() - held;
        assert!(reading < largest + 1024, "{network}: reading takes {reading} bytes, the largest tensor {largest}");
    }
}

#[test]
fn networks_are_told_by_their_tensors() {
    for (file, network) in [("demo-resnet50", "resnet50"), ("demo-googlenet", "googlenet")] {
        let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("weights/{file}.safetensors"));
        assert_eq!(Structure::of(&Checkpoint::open(&demo).unwrap()).unwrap().name(), network);
    }
}

/// Numbers that follow from where they are asked for, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix64(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, longest: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..(start + 1 + self.below(longest)).min(length)
    }
}

/// Pieces of the formats, to put where they do not belong.
const PIECES: [&[u8]; 24] = [
    b"(",
    b")",
    b"t",
    b"}",
    b"]",
    b"u",
    b"e",
    b"s",
    b"a",
    b"R",
    b"b",
    b"Q",
    b".",
    b"h\0",
    b"q\0",
    b"\x8a\xff",
    b"\x93",
    b"X\xff\xff\xff\xff",
    b"cos\nsystem\n",
    b"ctorch\nSize\n",
    b"ccollections\nOrderedDict\n",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"{\"a\":",
];

fn mutate(bytes: &mut Vec<u8>, others: &[(String, Vec<u8>)], chance: &mut Chance) {
    for _ in 0..1 + chance.below(3) {
        let at = chance.below(bytes.len());
        match chance.below(12) {
            0..4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = chance.next() as u8;
                }
            }
            4..6 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            6 => bytes.truncate(at),
            7 => {
                let gone = chance.range(bytes.len(), 64);
                bytes.drain(gone);
            }
            8 | 9 => {
                let extreme = [0, 1, 127, 255, 0xFFFF, 0x7FFF_FFFF, u32::MAX.into(), i64::MAX as u64, u64::MAX];
                let number = extreme[chance.below(extreme.len())].to_le_bytes();
                put(bytes, at, &number[..[1, 2, 4, 8][chance.below(4)]], true);
            }
            10 => put(bytes, at, PIECES[chance.below(PIECES.len())], chance.below(2) == 0),
            _ => {
                let other = &others[chance.below(others.len())].1;
                put(bytes, at, &other[chance.range(other.len(), 400)], chance.below(2) == 0);
            }
        }
    }
}

/// Puts a piece over what is there or before it.
fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8], over: bool) {
    let until = if over { (at + piece.len()).min(bytes.len()) } else { at };
    bytes.splice(at..until, piece.iter().copied());
}

/// Opens the bytes and reads every tensor; whether they could be opened.
fn survive(bytes: Vec<u8>) -> bool {
    let Ok(checkpoint) = Checkpoint::from_bytes("mutant", bytes) else { return false };
    Structure::of(&checkpoint);
    for name in checkpoint.names() {
        if let Ok(values) = checkpoint.read(name) {
            assert_eq!(values.len(), checkpoint.shape(name).expect("it is named").iter().product::<usize>(), "{name}");
        }
    }
    true
}

/// 17 files of both formats, 3000 mutations of each: 51,000. `README.md` beside the files counts longer runs.
#[test]
fn mutated_files_are_read_or_refused_at_once() {
    let mut files: Vec<(String, Vec<u8>)> = GOOD
        .into_iter()
        .chain(BAD.map(|(file, _)| file))
        .map(|file| (file.to_owned(), fs::read(path(file)).expect(file)))
        .collect();
    files.push(("tiny.safetensors".into(), safetensors()));
    let asked = |word: &str| std::env::var(word).ok().map(|number| number.parse::<u64>().expect(word));
    let (mutations, seed) = (asked("ENTOPTIC_MUTATIONS").unwrap_or(MUTATIONS), asked("ENTOPTIC_SEED").unwrap_or(0));
    let mut opened = 0;
    for (number, (file, bytes)) in files.iter().enumerate() {
        for k in 0..mutations {
            let mut chance = Chance(mix64(mix64(seed << 8 | number as u64).wrapping_add(k)));
            let mut mutant = bytes.clone();
            mutate(&mut mutant, &files, &mut chance);
            let label = format!("{file}, seed {seed}, mutation {k}");
            let outcome = std::panic::catch_unwind(|| bounded(&label, || survive(mutant)));
            opened += u64::from(outcome.unwrap_or_else(|_| panic!("{label}: panicked")));
        }
    }
    let tried = mutations * files.len() as u64;
    println!("{opened} of {tried} mutants could still be opened");
    assert!(
        opened * 20 > tried,
        "only {opened} of {tried} mutants could be opened, so the rest of the code was not met"
    );
}

/// A header of 95 MB, all of it good, would take 1.4 GB.
#[test]
fn a_long_header_is_refused_in_little_memory() {
    let mut header = String::from("{");
    for n in 0..1_000_000 {
        header += &format!("\"{n}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}},");
    }
    header.truncate(header.len() - 1);
    header += "}";
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let said = bounded("a long header", || Checkpoint::from_bytes("long", file)).map(drop).expect_err("refused");
    let words = format!("long: header has {} bytes, at most 8388608 are read", header.len());
    assert!(said.to_string().starts_with(&words), "{said}");
}

/// The tensors of the good files in the other format.
fn safetensors() -> Vec<u8> {
    let checkpoint = Checkpoint::open(&path("tiny_zip.pth")).expect("a good file");
    let array = |name: &str| NamedArray {
        name: name.into(),
        shape: checkpoint.shape(name).expect("it is named").to_vec(),
        values: checkpoint.read(name).expect("numbers"),
    };
    let arrays: Vec<NamedArray> = checkpoint.names().map(array).collect();
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("tiny.safetensors");
    write(&path, &arrays, &BTreeMap::from([("network".into(), "tiny".into())]), Precision::F32).expect("written");
    fs::read(path).expect("bytes")
}
