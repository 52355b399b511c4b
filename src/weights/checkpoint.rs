//! Arrays by name from a file in memory, whatever its format.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::bytes::{Beside, Bytes, RELEASED};
use super::entry::{Entry, Index, Made};
use super::program::Program;
use super::{folder, names, onnx, pt2, safetensors, torch_file};
use crate::digest::hex;
use crate::files::mistaken;
use crate::{Error, Result};

/// A file of weights: arrays by name and a few words about them.
///
/// Arrays stay in the file until [`Checkpoint::read`] asks for one.
pub struct Checkpoint {
    name: String,
    bytes: Bytes,
    beside: Beside,
    index: Index,
    key: Option<String>,
    sha256: OnceLock<String>,
}

/// A tensor of a file, seen otherwise than it lies there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorView {
    /// Its name in the file.
    pub tensor: String,
    /// Sizes as they are to be.
    pub sizes: Vec<usize>,
    /// From one element to the next along each of them; none when row-major.
    pub strides: Option<Vec<usize>>,
}

/// Elements that all tensors together may have which repeat single numbers, and need memory that no file has had room for: more than
/// the largest network has whose weights were taken out.
const MOST_REPEATED: usize = 1 << 28;

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    SafeTensors,
    Zip,
    Program,
    Onnx,
    Pickle,
    Unknown,
}

impl Checkpoint {
    /// Maps a `.safetensors` file or one that PyTorch's `torch.save` wrote, new or legacy. Its extension does not
    /// matter, its first bytes do.
    ///
    /// Of PyTorch's files the tensors by name are read: a `state_dict` alone or inside of dictionaries, wherever these keep it
    /// (`docs/checkpoints.md` lists the usual keys); of several the first. No code in a file is run: its pickle may only describe
    /// tensors.
    ///
    /// Where every name begins with `module.` or `_orig_mod.`, as wrapped models write it, that is left out.
    ///
    /// A folder as Hugging Face's libraries write it gives its `model.safetensors` or `pytorch_model.bin`. What the `config.json`
    /// and `preprocessor_config.json` beside such a file say of the classes and of the pixels becomes metadata.
    ///
    /// # Errors
    /// [`Error::File`] when the file is absent, empty, truncated or something else, or asks for anything but tensors,
    /// with what to do; [`Error::Io`] when the system refuses it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_at(path, None)
    }

    /// The same, of a file with several networks: `key` is that of a dictionary of PyTorch's files, or what the names of the
    /// wanted tensors begin with.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and [`Error::File`] when nothing is there under the key, with those that there are.
    pub fn open_at(path: &Path, key: Option<&str>) -> Result<Self> {
        let path = &folder::weights_in(path)?;
        let mut checkpoint = Self::map(path, key)?;
        folder::describe(path, &mut checkpoint.index.metadata)?;
        Ok(checkpoint)
    }

    fn map(path: &Path, key: Option<&str>) -> Result<Self> {
        let kind = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::file(path, "there is no such file; check the path"));
            }
            Err(error) => return Err(Error::io(path)(error)),
        };
        if !kind.is_file() {
            return Err(Error::file(path, "is a folder or a device; name a file of weights"));
        }
        if kind.len() == 0 {
            return Err(Error::file(path, "file is empty; download it again"));
        }
        if path.extension().is_some_and(|extension| extension == "distcp") {
            return Err(Error::file(
                path,
                "is one part of a distributed checkpoint, which is not read; put its folder together with `python -m \
                 torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth`",
            ));
        }
        Self::index(path.display().to_string(), Bytes::map(path)?, key, Some(path))
    }

    /// Reads a file that is part of the program; `name` stands for its path in messages.
    ///
    /// # Errors
    /// [`Error::File`] as for [`Checkpoint::open`].
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::index(name.to_owned(), Bytes::Embedded(bytes), None, None)
    }

    /// Reads a file that is in memory; `name` stands for its path in messages.
    ///
    /// # Errors
    /// [`Error::File`] as for [`Checkpoint::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::index(name.to_owned(), Bytes::Owned(bytes), None, None)
    }

    fn index(name: String, bytes: Bytes, key: Option<&str>, path: Option<&Path>) -> Result<Self> {
        let folder = path.map(|path| path.parent().unwrap_or(Path::new("")));
        let mut beside = Beside::of(bytes.get().len(), folder);
        let called_onnx = Path::new(&name).extension().is_some_and(|extension| extension == "onnx");
        let index = match Format::of(bytes.get(), called_onnx) {
            Format::SafeTensors => safetensors::index(bytes.get()),
            Format::Zip => torch_file::index_zip(bytes.get(), key),
            Format::Program => pt2::index(bytes.get()),
            Format::Onnx => onnx::index(bytes.get(), &mut beside),
            Format::Pickle => torch_file::index_legacy(bytes.get(), key),
            Format::Unknown => Err(match (mistaken(bytes.get()), bytes.get().len()) {
                (Some(reason), _) => reason.into(),
                (None, length @ ..16) => {
                    format!("file is truncated: {length} bytes cannot hold any weights; download it again")
                }
                _ => "is not a file of weights; give a .safetensors, .pth, .pt2 or .onnx file".into(),
            }),
        };
        // The names in a program are those by which its operations ask for tensors.
        let spelt = |index: Index| match index.program {
            Some(_) => Ok(index),
            None => {
                let index = names::chosen(index, key)?;
                Ok(Index { entries: names::respell(names::pruned(names::strip(index.entries))), ..index })
            }
        };
        match index.and_then(spelt) {
            Ok(index) => {
                Ok(Checkpoint { name, bytes, beside, index, key: key.map(str::to_owned), sha256: OnceLock::new() })
            }
            Err(reason) => Err(Error::file(name, reason)),
        }
    }

    /// The key under which it was opened.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The dictionary of PyTorch's file that the tensors are from, and the others that hold weights too; nothing where there is
    /// only one place.
    pub fn alternatives(&self) -> Option<(&str, Vec<&str>)> {
        let keys = &self.index.keys;
        let others =
            keys.iter().enumerate().filter(|(index, _)| *index != self.index.taken).map(|(_, key)| key.as_str());
        let others: Vec<&str> = others.filter(|key| !key.is_empty()).collect();
        (!others.is_empty()).then(|| (keys[self.index.taken].as_str(), others))
    }

    /// Its path, or the name it was embedded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Words about the weights that the file carries, such as `network` and `classes`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.index.metadata
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.entries.keys().map(String::as_str)
    }

    /// Sizes of a tensor as the file has them: four for a convolution, none for a single number.
    pub fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.index.entries.get(tensor).map(|entry| &entry.shape[..])
    }

    /// How the numbers of a tensor are stored: `F32`, `F16`, `I64` or another, in the words of safetensors.
    pub fn dtype(&self, tensor: &str) -> Option<&str> {
        let entry = self.index.entries.get(tensor)?;
        Some(entry.element.as_ref().map_or_else(String::as_str, |element| element.name()))
    }

    /// Length of the file in bytes.
    pub fn size(&self) -> usize {
        self.bytes.get().len()
    }

    /// The numbers of a tensor, row-major. Half, double and integer types become `f32`.
    ///
    /// # Errors
    /// [`Error::File`] when a value is not finite as `f32`, and as for [`Checkpoint::read_unchecked`].
    pub fn read(&self, tensor: &str) -> Result<Vec<f32>> {
        let values = self.read_unchecked(tensor)?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(Error::file(
                &self.name,
                format!("tensor {tensor} holds {} at index {index}; every weight must be a finite f32", values[index]),
            )),
        }
    }

    /// The same with NaN and infinity where the file has them, for looking into a damaged one.
    ///
    /// # Errors
    /// [`Error::File`] when there is no such tensor, its type is not one that is read, or compressed bytes are damaged.
    pub fn read_unchecked(&self, tensor: &str) -> Result<Vec<f32>> {
        let fail = |reason: String| Error::file(&self.name, reason);
        let entry = self.index.entries.get(tensor).ok_or_else(|| fail(format!("has no tensor \"{tensor}\"")))?;
        if let Err(kind) = &entry.element {
            return Err(fail(format!(
                "tensor {tensor} holds numbers of type {kind}, which is not read; convert it to F32"
            )));
        }
        match entry.made.as_deref() {
            None => self.stored(entry),
            Some(Made::Masked(mask)) => self.stored(entry).and_then(|mut values| {
                values.iter_mut().zip(self.stored(mask)?).for_each(|(value, mask)| *value *= mask);
                Ok(values)
            }),
            Some(Made::Sparse(sparse)) => sparse.dense(&entry.shape, |part| self.stored(part)),
        }
        .map_err(|reason| fail(format!("tensor {tensor}: {reason}")))
    }

    /// The numbers that the file has for an entry.
    fn stored(&self, entry: &Entry) -> Result<Vec<f32>, String> {
        let element = entry.element.clone().map_err(|kind| format!("numbers of type {kind} are not read"))?;
        let values = match &entry.deflated {
            None => entry.values(element, self.at(entry.at.clone())),
            Some(deflated) => entry.values(element, &deflated.unpack(self.bytes.get(), entry.at.clone())?),
        };
        let read = entry.deflated.as_ref().map_or(&entry.at, |deflated| &deflated.at).clone();
        if read.start < self.size() {
            self.bytes.release(read)
        } else {
            self.beside.release(read)
        }
        Ok(values)
    }

    /// Bytes of the file, or of what lies beside it.
    fn at(&self, at: Range<usize>) -> &[u8] {
        if at.is_empty() {
            &[]
        } else if at.start < self.size() {
            &self.bytes.get()[at]
        } else {
            self.beside.get(at)
        }
    }

    /// What the file says of the network besides its tensors, where it describes a whole one: `.pt2` and `.onnx` do.
    pub fn program(&self) -> Option<&Program> {
        self.index.program.as_ref()
    }

    /// The same file with other names for its tensors, and only those that have one: each name with that of the file and, where its
    /// elements are to be seen in another order, its sizes and steps, both in elements.
    pub(crate) fn renamed(mut self, views: Vec<(String, TensorView)>) -> Result<Self> {
        let mut entries = BTreeMap::new();
        let repeats = |view: &TensorView| view.strides.as_ref().is_some_and(|strides| strides.contains(&0));
        let counts =
            views.iter().filter(|(_, view)| repeats(view)).map(|(_, view)| view.sizes.iter().product::<usize>());
        let repeated = counts.fold(0, usize::saturating_add);
        if repeated > MOST_REPEATED {
            return Err(Error::file(
                &self.name,
                format!("fills {repeated} elements of weights with single numbers, up to {MOST_REPEATED} are read"),
            ));
        }
        for (name, view) in views {
            let fail = |reason: &str| Error::file(&self.name, format!("tensor {}: {reason}", view.tensor));
            let entry = self.index.entries.get(&view.tensor).ok_or_else(|| fail("is not there"))?;
            let strides = match (&entry.strides, view.strides) {
                (None, strides) => strides,
                (Some(strides), None) if entry.shape == view.sizes => Some(strides.clone()),
                (Some(_), _) => {
                    return Err(fail("is stored in a strange order of elements; save it after .contiguous()"));
                }
            };
            entries.insert(name, Entry { shape: view.sizes, strides, ..entry.clone() });
        }
        self.index.entries = entries;
        Ok(self)
    }

    /// SHA-256 of the whole file, and of what lies beside it, in hexadecimal, computed at the first call.
    pub fn sha256(&self) -> String {
        let digest = || {
            let mut sum = Sha256::new();
            for bytes in std::iter::once(&self.bytes).chain(self.beside.all()) {
                let length = bytes.get().len();
                for start in (0..length).step_by(RELEASED) {
                    let part = start..(start + RELEASED).min(length);
                    sum.update(&bytes.get()[part.clone()]);
                    bytes.release(part);
                }
            }
            hex(&sum.finalize())
        };
        self.sha256.get_or_init(digest).clone()
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({}, {} tensors)", self.name, self.index.entries.len())
    }
}

impl Format {
    fn of(bytes: &[u8], called_onnx: bool) -> Format {
        // ONNX has no mark of its own: a file is taken for it when it reads as such, or claims to be by its name alone.
        if onnx::looks_like(bytes) {
            return Format::Onnx;
        }
        // The length of a safetensors header may look like any other file's first bytes; the brace after it settles it.
        if bytes.get(8) == Some(&b'{') {
            Format::SafeTensors
        } else if bytes.starts_with(b"PK\x03\x04") {
            if pt2::looks_like(bytes) { Format::Program } else { Format::Zip }
        } else if matches!(bytes, [0x80, 2..=5, ..]) {
            Format::Pickle
        } else if called_onnx && mistaken(bytes).is_none() {
            Format::Onnx
        } else {
            Format::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// A file with one tensor `t` of two numbers.
    fn file(dtype: &str, data: &[u8]) -> Vec<u8> {
        let header = format!(r#"{{"t":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{}]}}}}"#, data.len());
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn embed(bytes: Vec<u8>) -> Result<Checkpoint> {
        Checkpoint::embedded("demo", bytes.leak())
    }

    fn message(bytes: &[u8]) -> String {
        embed(bytes.to_vec()).expect_err("refused").to_string()
    }

    #[test]
    fn every_number_type_becomes_f32() {
        let cases: [(&str, Vec<u8>); 12] = [
            ("F16", [f16::from_f32(3.0), f16::from_f32(7.0)].map(f16::to_le_bytes).concat()),
            ("BF16", [bf16::from_f32(3.0), bf16::from_f32(7.0)].map(bf16::to_le_bytes).concat()),
            ("F32", [3f32, 7.0].map(f32::to_le_bytes).concat()),
            ("F64", [3f64, 7.0].map(f64::to_le_bytes).concat()),
            ("I8", [3i8, 7].map(i8::to_le_bytes).concat()),
            ("I16", [3i16, 7].map(i16::to_le_bytes).concat()),
            ("I32", [3i32, 7].map(i32::to_le_bytes).concat()),
            ("I64", [3i64, 7].map(i64::to_le_bytes).concat()),
            ("U8", vec![3, 7]),
            ("U16", [3u16, 7].map(u16::to_le_bytes).concat()),
            ("U32", [3u32, 7].map(u32::to_le_bytes).concat()),
            ("U64", [3u64, 7].map(u64::to_le_bytes).concat()),
        ];
        for (dtype, data) in cases {
            let checkpoint = embed(file(dtype, &data)).expect("a good file");
            assert_eq!(checkpoint.read("t").expect("numbers"), [3.0, 7.0], "{dtype}");
            assert_eq!(checkpoint.shape("t"), Some(&[2][..]));
            assert_eq!(checkpoint.dtype("t"), Some(dtype));
        }
    }

    #[test]
    fn values_that_are_not_finite_are_named() {
        let infinite = embed(file("F32", &[1.0, f32::NEG_INFINITY].map(f32::to_le_bytes).concat())).expect("readable");
        assert_eq!(
            infinite.read("t").expect_err("refused").to_string(),
            "demo: tensor t holds -inf at index 1; every weight must be a finite f32"
        );
        let large = embed(file("F64", &[1e300, f64::NAN].map(f64::to_le_bytes).concat())).expect("readable");
        assert!(large.read("t").expect_err("refused").to_string().contains("tensor t holds inf at index 0"));
        let half = embed(file("F16", &[f16::ONE, f16::NAN].map(f16::to_le_bytes).concat())).expect("readable");
        assert!(half.read("t").expect_err("refused").to_string().contains("tensor t holds NaN at index 1"));
    }

    #[test]
    fn absent_tensors_and_unread_types_are_named() {
        let checkpoint = embed(file("F8_E4M3", &[0, 0])).expect("readable");
        assert_eq!(checkpoint.read("u").expect_err("refused").to_string(), "demo: has no tensor \"u\"");
        assert_eq!(
            checkpoint.read("t").expect_err("refused").to_string(),
            "demo: tensor t holds numbers of type F8_E4M3, which is not read; convert it to F32"
        );
        assert_eq!(checkpoint.shape("u"), None);
    }

    #[test]
    fn other_files_are_recognised() {
        assert_eq!(message(b"<!DOCTYPE html>"), "demo: is a web page, so the download failed; download it again");
        assert!(message(b"version https://git-lfs.github.com/spec/v1\noid").ends_with("run `git lfs pull`"));
        assert!(message(b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0").contains("the directory at the end of the archive"));
        assert!(message(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P").contains("its pickle does not end"));
        assert_eq!(message(&[7; 100]), "demo: is not a file of weights; give a .safetensors, .pth, .pt2 or .onnx file");
        assert!(message(&[7; 5]).contains("file is truncated: 5 bytes cannot hold"));
    }

    #[test]
    fn absent_empty_and_odd_paths_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let open = |name: &str| Checkpoint::open(&folder.path().join(name)).expect_err("refused").to_string();
        assert!(open("absent.safetensors").ends_with("there is no such file; check the path"));
        let said = open("");
        assert!(
            said.contains("is a folder without model.safetensors or ") && said.ends_with("; name a file of weights"),
            "{said}"
        );
        std::fs::write(folder.path().join("empty"), b"").expect("write");
        assert!(open("empty").ends_with("file is empty; download it again"));
    }

    #[test]
    fn the_checksum_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("two.safetensors");
        std::fs::write(&path, file("U8", &[3, 7])).expect("write");
        let checkpoint = Checkpoint::open(&path).expect("a good file");
        // From `sha256sum` of the same bytes.
        assert_eq!(checkpoint.sha256(), "246c3aabd60f98d4fc6d70c6669982a96196386da23d551182528c0b22fb9c23");
        assert_eq!(checkpoint.name(), path.display().to_string());
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["t"]);
    }
}
