//! Zip archives: where their files lie and how they are packed. Files are found through the directory at the end.
//!
//! Encrypted archives, archives in several parts and packings other than deflate are refused. Sums are checked where
//! bytes are unpacked; stored bytes are taken as they are, since PyTorch may leave their sums out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

/// More files than any checkpoint has.
const FILES: usize = 1 << 16;

/// Unpacked bytes for each byte of the archive. Weights shrink by a tenth, seldom to less than a third.
const GROWTH: usize = 16;

/// What a small archive may unpack to whatever its size: tensors of zeros shrink a thousandfold.
const SMALL: usize = 1 << 20;

/// An archive and its directory.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    /// Where the directory begins, and files must have ended.
    end: usize,
    files: BTreeMap<&'a str, Listing>,
}

/// A file as the directory lists it.
struct Listing {
    flags: u16,
    method: u16,
    header: u64,
    packed: u64,
    size: u64,
    crc: u32,
}

/// A file inside of an archive.
#[derive(Debug)]
pub(super) enum Member {
    /// Its bytes are these of the archive.
    Stored(Range<usize>),
    /// Its bytes are compressed.
    Deflated(Deflated),
}

/// Compressed bytes and what they must become.
#[derive(Clone, Debug)]
pub(super) struct Deflated {
    /// Where they are in the archive.
    pub at: Range<usize>,
    /// How many there are once unpacked.
    pub size: usize,
    crc: u32,
}

impl<'a> Archive<'a> {
    /// Reads the directory; says what is wrong with it.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let directory = directory(bytes)?;
        let mut archive = Archive { bytes, end: directory.start, files: BTreeMap::new() };
        let mut rest = &bytes[directory];
        while !rest.is_empty() {
            let (name, listing, length) = listing(rest).ok_or_else(|| damaged("its directory cannot be read"))?;
            if archive.files.insert(name, listing).is_some() {
                return Err(damaged(&format!("it holds {} twice", name.escape_debug())));
            }
            if archive.files.len() > FILES {
                return Err(format!("is an archive of more than {FILES} files, so not a file of weights"));
            }
            rest = &rest[length..];
        }
        let unpacked = archive
            .files
            .values()
            .filter(|file| file.method != 0)
            .fold(0u64, |sum, file| sum.saturating_add(file.size));
        let most = bytes.len().saturating_mul(GROWTH).saturating_add(SMALL);
        if unpacked > most as u64 {
            return Err(format!(
                "would unpack {} bytes to {unpacked}, at most {most} are; save it again with torch.save",
                bytes.len()
            ));
        }
        Ok(archive)
    }

    /// Names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.files.keys().copied()
    }

    /// Finds a file; `None` when there is none of that name.
    pub fn find(&self, name: &str) -> Result<Option<Member>, String> {
        let Some(file) = self.files.get(name) else { return Ok(None) };
        let at = self.place(name, file).ok_or_else(|| damaged(&format!("{} is cut off", name.escape_debug())))?;
        let size = usize::try_from(file.size).map_err(|_| damaged("a size in its directory is impossible"))?;
        match file.method {
            _ if file.flags & 1 != 0 => Err("is an encrypted archive; give one without a password".into()),
            0 if at.len() == size => Ok(Some(Member::Stored(at))),
            8 => Ok(Some(Member::Deflated(Deflated { at, size, crc: file.crc }))),
            0 => Err(damaged(&format!("{} has two different sizes", name.escape_debug()))),
            method => Err(format!("is packed by method {method}, which is not read; save it again with torch.save")),
        }
    }

    /// All bytes of a file.
    pub fn read(&self, member: &Member) -> Result<Cow<'a, [u8]>, String> {
        match member {
            Member::Stored(at) => Ok(Cow::Borrowed(&self.bytes[at.clone()])),
            Member::Deflated(deflated) => deflated.unpack(self.bytes, 0..deflated.size).map(Cow::Owned),
        }
    }

    /// The bytes behind a file's own header, which must name it too.
    fn place(&self, name: &str, file: &Listing) -> Option<Range<usize>> {
        let files = &self.bytes[..self.end];
        let header = files.get(usize::try_from(file.header).ok()?..)?;
        let (name_length, extra) = (usize::from(u16_at(header, 26)?), usize::from(u16_at(header, 28)?));
        if !header.starts_with(b"PK\x03\x04") || header.get(30..30 + name_length)? != name.as_bytes() {
            return None;
        }
        let start = usize::try_from(file.header).ok()? + 30 + name_length + extra;
        let end = start.checked_add(usize::try_from(file.packed).ok()?)?;
        (end <= files.len()).then_some(start..end)
    }
}

impl Deflated {
    /// The wanted part of the unpacked bytes. Unpacks everything, to see that it has the size and the sum it must have,
    /// and keeps the part only.
    pub fn unpack(&self, archive: &[u8], wanted: Range<usize>) -> Result<Vec<u8>, String> {
        let mut decoder = DeflateDecoder::new(&archive[self.at.clone()]);
        let mut kept = Vec::with_capacity(wanted.len());
        let mut chunk = vec![0; 1 << 16];
        let (mut seen, mut crc) = (0, Crc::new());
        loop {
            let count = decoder.read(&mut chunk).map_err(|_| damaged("compressed bytes cannot be unpacked"))?;
            let until = seen + count;
            if count == 0 || until > self.size {
                seen = until;
                break;
            }
            crc.update(&chunk[..count]);
            let [start, end] = [wanted.start, wanted.end].map(|edge| edge.clamp(seen, until) - seen);
            kept.extend_from_slice(&chunk[start..end]);
            seen = until;
        }
        match (seen == self.size, crc.sum() == self.crc) {
            (true, true) => Ok(kept),
            (true, false) => Err(damaged("unpacked bytes have another sum than the directory says")),
            (false, _) => Err(damaged(&format!("a file does not unpack to the {} bytes it claims", self.size))),
        }
    }
}

/// Where the directory lies. Its whereabouts are at the very end of the file, and in one more place for large files.
fn directory(bytes: &[u8]) -> Result<Range<usize>, String> {
    let ends_here = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x05\x06")
            && u16_at(bytes, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) == bytes.len())
    };
    let last = bytes.len().checked_sub(22);
    let end = last.and_then(|last| (last.saturating_sub(usize::from(u16::MAX))..=last).rev().find(ends_here));
    let end =
        end.ok_or("file is truncated: the directory at the end of the archive is not there; download it again")?;
    let near = || Some((u64::from(u32_at(bytes, end + 12)?), u64::from(u32_at(bytes, end + 16)?)));
    let far = || {
        let locator = &bytes[end.checked_sub(20)?..end];
        let record = bytes[..end].get(usize::try_from(u64_at(locator, 8)?).ok()?..)?;
        let found = locator.starts_with(b"PK\x06\x07") && record.starts_with(b"PK\x06\x06");
        found.then_some((u64_at(record, 40)?, u64_at(record, 48)?))
    };
    let range = || {
        let (size, start) = match near()? {
            (size, start) if size < LARGE && start < LARGE => (size, start),
            _ => far()?,
        };
        let start = usize::try_from(start).ok()?;
        let until = start.checked_add(usize::try_from(size).ok()?)?;
        (until <= end).then_some(start..until)
    };
    range().ok_or_else(|| damaged("its directory is not where its end says"))
}

/// Stands for a number of 32 bits that is given in 64 elsewhere.
const LARGE: u64 = u32::MAX as u64;

/// The first file of a directory, and how many bytes tell of it.
fn listing(bytes: &[u8]) -> Option<(&str, Listing, usize)> {
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(bytes, at).map(usize::from));
    let extra_at = 46 + name?;
    let comment_at = extra_at + extra?;
    let length = comment_at + comment?;
    if !bytes.starts_with(b"PK\x01\x02") || length > bytes.len() {
        return None;
    }
    let mut large = large_numbers(&bytes[extra_at..comment_at]);
    // The order in which the long forms follow each other where there are any.
    let [size, packed, header] = [24, 20, 42].map(|at| match u64::from(u32_at(bytes, at)?) {
        LARGE => {
            let (number, rest) = large.split_first_chunk()?;
            large = rest;
            Some(u64::from_le_bytes(*number))
        }
        number => Some(number),
    });
    let listing = Listing {
        flags: u16_at(bytes, 8)?,
        method: u16_at(bytes, 10)?,
        crc: u32_at(bytes, 16)?,
        packed: packed?,
        size: size?,
        header: header?,
    };
    Some((std::str::from_utf8(&bytes[46..extra_at]).ok()?, listing, length))
}

/// The field of 64-bit numbers among the extra fields of a listing.
fn large_numbers(mut extra: &[u8]) -> &[u8] {
    while let (Some(kind), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let field = extra.get(4..4 + usize::from(length)).unwrap_or_default();
        if kind == 1 {
            return field;
        }
        extra = extra.get(4 + usize::from(length)..).unwrap_or_default();
    }
    &[]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|number| u64::from_le_bytes(*number))
}

fn damaged(how: &str) -> String {
    format!("archive is damaged: {how}; download it again")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file to put into an archive. What it claims to unpack to may be untrue.
    #[derive(Default)]
    pub struct File<'a> {
        pub name: &'a str,
        pub method: u16,
        pub bytes: &'a [u8],
        pub crc: u32,
        pub size: u64,
    }

    /// An archive, its numbers in 64 bits where asked.
    pub fn archive(files: &[File], large: bool) -> Vec<u8> {
        let short = |number: u64| if large { u32::MAX } else { number as u32 }.to_le_bytes();
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for File { name, method, bytes: packed, crc, size } in files {
            let (header, length) = (bytes.len() as u64, packed.len() as u64);
            let name_length = (name.len() as u16).to_le_bytes();
            bytes.extend([&b"PK\x03\x04"[..], &[0; 22], &name_length, &[0, 0], name.as_bytes(), packed].concat());
            directory
                .extend([&b"PK\x01\x02"[..], &[0; 6], &method.to_le_bytes(), &[0; 4], &crc.to_le_bytes()].concat());
            directory.extend([short(length), short(*size)].concat());
            directory.extend([&name_length[..], &[if large { 28 } else { 0 }], &[0; 11], &short(header)].concat());
            directory.extend(name.as_bytes());
            if large {
                directory
                    .extend([&[1, 0, 24, 0][..], &[*size, length, header].map(u64::to_le_bytes).concat()].concat());
            }
        }
        let (start, length) = (bytes.len() as u64, directory.len() as u64);
        bytes.extend(directory);
        let end = bytes.len() as u64;
        if large {
            bytes.extend([&b"PK\x06\x06"[..], &[0; 36], &[length, start].map(u64::to_le_bytes).concat()].concat());
            bytes.extend([&b"PK\x06\x07"[..], &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
        }
        bytes.extend([&b"PK\x05\x06"[..], &[0; 8], &short(length), &short(start), &[0, 0]].concat());
        bytes
    }

    fn one(method: u16, bytes: &[u8], crc: u32, size: u64, large: bool) -> Vec<u8> {
        archive(&[File { name: "a/b", method, bytes, crc, size }], large)
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let archive = Archive::open(bytes)?;
        let member = archive.find("a/b")?.expect("the one file");
        archive.read(&member).map(Cow::into_owned)
    }

    fn deflated(content: &[u8]) -> (Vec<u8>, u32) {
        let mut packed = Vec::new();
        let mut encoder = flate2::bufread::DeflateEncoder::new(content, flate2::Compression::best());
        encoder.read_to_end(&mut packed).expect("packed");
        let mut crc = Crc::new();
        crc.update(content);
        (packed, crc.sum())
    }

    #[test]
    fn stored_and_deflated_files_are_read_with_short_and_long_numbers() {
        let content: Vec<u8> = (0..200_000u32).map(|k| (k % 251) as u8 ^ (k / 7000) as u8).collect();
        let (packed, crc) = deflated(&content);
        for large in [false, true] {
            assert_eq!(read(&one(0, &content, 0, 200_000, large)).expect("stored"), content);
            let bytes = one(8, &packed, crc, 200_000, large);
            assert_eq!(read(&bytes).expect("deflated"), content);
            let opened = Archive::open(&bytes).expect("a good archive");
            let Some(Member::Deflated(member)) = opened.find("a/b").expect("a good file") else { panic!("deflated") };
            for part in [0..0, 0..10, 65_530..65_540, 70_000..199_999, 199_999..200_000] {
                assert_eq!(member.unpack(&bytes, part.clone()).expect("unpacked"), content[part]);
            }
            assert!(opened.find("a/c").expect("no damage").is_none());
        }
    }

    #[test]
    fn bombs_are_refused_by_what_they_claim_and_by_what_they_do() {
        let (packed, crc) = deflated(&vec![0; 50_000_000]);
        let honest = read(&one(8, &packed, crc, 50_000_000, false)).expect_err("refused");
        assert!(honest.contains("to 50000000, at most 18"), "{honest}");
        let lying = read(&one(8, &packed, crc, 1000, false)).expect_err("refused");
        assert!(lying.contains("does not unpack to the 1000 bytes it claims"), "{lying}");
        assert!(read(&one(8, &packed, crc, u64::MAX, true)).expect_err("refused").starts_with("would unpack"));
        let (packed, crc) = deflated(b"abc");
        let short = read(&one(8, &packed, crc, 4, false)).expect_err("refused");
        assert!(short.contains("does not unpack to the 4 bytes"), "{short}");
        assert!(read(&one(8, &packed, !crc, 3, false)).expect_err("refused").contains("another sum"));
    }

    #[test]
    fn archives_that_cannot_be_read_say_why() {
        let good = one(0, b"content", 0, 7, false);
        let message = |bytes: &[u8]| read(bytes).expect_err("refused");
        assert!(message(&good[..good.len() - 1]).starts_with("file is truncated: the directory at the end"));
        assert!(message(b"PK\x03\x04").starts_with("file is truncated"));
        assert!(message(&one(0, b"content", 0, 8, false)).contains("a/b has two different sizes"));
        assert!(message(&one(12, b"content", 0, 7, false)).contains("packed by method 12, which is not read"));
        let cut = [&good[..33], &good[34..]].concat();
        assert!(message(&cut).contains("its directory"), "{}", message(&cut));
        let mut other = good;
        other[30] = b'x';
        assert!(message(&other).contains("a/b is cut off"));
    }
}
