//! The safetensors format: eight bytes of length, a JSON header, the numbers.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use super::entry::{Element, Entry, Index};
use super::kept_program::PROGRAM;
use super::program::Program;
use crate::{Error, Result, files};

/// An array under the name that files give it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// Name of the tensor, such as `layer1.0.conv2.weight`.
    pub name: String,
    /// Sizes; none for a single number.
    pub shape: Vec<usize>,
    /// As many numbers as the sizes multiply to, row-major.
    pub values: Vec<f32>,
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes each, exact.
    F32,
    /// Two bytes each, rounded to the nearest, up to 65504 in size.
    F16,
}

/// Longest header, in bytes. Those of networks are far shorter; parsed, a header takes some fifteen times its size in memory.
const MAX_HEADER: u64 = 8 << 20;

/// Reads the header; says in words what is wrong with it and what to do.
pub(super) fn index(bytes: &[u8]) -> Result<Index, String> {
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if (MAX_HEADER + 1..bytes.len() as u64).contains(&length) {
        return Err(format!("header has {length} bytes, at most {MAX_HEADER} are read; that is no network"));
    }
    let (length, header) = SafeTensors::read_metadata(bytes).map_err(|error| explain(&error, bytes))?;
    let start = 8 + length;
    let entry = |info: &safetensors::tensor::TensorInfo| Entry {
        shape: info.shape.clone(),
        strides: None,
        element: element(info.dtype),
        deflated: None,
        made: None,
        at: start + info.data_offsets.0..start + info.data_offsets.1,
    };
    let metadata: BTreeMap<String, String> =
        header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Index {
        program: metadata.get(PROGRAM).map(|text| Program::of_text(text)).transpose()?,
        metadata,
        entries: header.tensors().iter().map(|(name, info)| (name.clone(), entry(info))).collect(),
        ..Index::default()
    })
}

fn explain(error: &SafeTensorError, bytes: &[u8]) -> String {
    let there = bytes.len() as u64;
    let truncated = |promised: u64| {
        format!("file is truncated: header promises {promised} bytes, {there} are there; download it again")
    };
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    match error {
        SafeTensorError::InvalidHeaderLength => truncated(length.saturating_add(8)),
        SafeTensorError::MetadataIncompleteBuffer => {
            // The header itself is good, so it parses again.
            let header = serde_json::from_slice::<Metadata>(&bytes[8..8 + length as usize]);
            let promised = 8 + length + header.map_or(0, |header| header.data_len() as u64);
            if promised > there {
                truncated(promised)
            } else {
                format!("file is damaged: header promises {promised} bytes, {there} are there; download it again")
            }
        }
        SafeTensorError::HeaderTooLarge => "is not a safetensors file: its header would be too large".into(),
        other => format!("safetensors header is damaged ({other}); download it again"),
    }
}

fn element(dtype: Dtype) -> Result<Element, String> {
    Ok(match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I8 => Element::I8,
        Dtype::I16 => Element::I16,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        Dtype::U8 | Dtype::BOOL => Element::U8,
        Dtype::U16 => Element::U16,
        Dtype::U32 => Element::U32,
        Dtype::U64 => Element::U64,
        other => return Err(format!("{other:?}")),
    })
}

/// Writes arrays in the order given; the same arrays and metadata give the same bytes. The file appears whole or not
/// at all.
///
/// # Errors
/// [`Error::File`] for a name used twice, a value that is not finite or too large for the precision, or a path that
/// cannot be a file; [`Error::Shape`] for an array whose count is not that of its shape; [`Error::Io`] when writing
/// fails.
pub fn write(
    path: &Path,
    arrays: &[NamedArray],
    metadata: &BTreeMap<String, String>,
    precision: Precision,
) -> Result<()> {
    let header = header(path, arrays, metadata, precision)?;
    files::replace(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for value in arrays.iter().flat_map(|array| &array.values) {
            match precision {
                Precision::F32 => file.write_all(&value.to_le_bytes())?,
                Precision::F16 => file.write_all(&f16::from_f32(*value).to_le_bytes())?,
            }
        }
        Ok(())
    })
}

/// The JSON header, padded with spaces so that the numbers begin at a multiple of eight. Checks the arrays.
fn header(
    path: &Path,
    arrays: &[NamedArray],
    metadata: &BTreeMap<String, String>,
    precision: Precision,
) -> Result<Vec<u8>> {
    const METADATA: &str = "__metadata__"; // the one name that the format keeps for itself
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA.into(), json!(metadata));
    }
    let mut offset = 0;
    for array in arrays {
        check(path, array, precision)?;
        let end = offset + array.values.len() * precision.bytes();
        let entry = json!({ "dtype": precision.dtype(), "shape": array.shape, "data_offsets": [offset, end] });
        if array.name == METADATA || header.insert(array.name.clone(), entry).is_some() {
            return Err(Error::file(path, format!("cannot hold tensor {} (again)", array.name)));
        }
        offset = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

fn check(path: &Path, array: &NamedArray, precision: Precision) -> Result<()> {
    let count: usize = array.shape.iter().product();
    if count != array.values.len() {
        return Err(Error::shape("safetensors", format!("count of {}", array.name), count, array.values.len()));
    }
    let holds = |value: f32| match precision {
        Precision::F32 => value.is_finite(),
        Precision::F16 => f16::from_f32(value).is_finite(),
    };
    match array.values.iter().position(|value| !holds(*value)) {
        None => Ok(()),
        Some(index) => Err(Error::file(
            path,
            format!(
                "cannot hold tensor {}: {} at index {index} is not finite in {}",
                array.name,
                array.values[index],
                precision.dtype()
            ),
        )),
    }
}

impl Precision {
    fn dtype(self) -> &'static str {
        match self {
            Precision::F32 => "F32",
            Precision::F16 => "F16",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Checkpoint;

    fn array(name: &str, shape: &[usize], values: &[f32]) -> NamedArray {
        NamedArray { name: name.into(), shape: shape.into(), values: values.into() }
    }

    fn words() -> BTreeMap<String, String> {
        [("network", "resnet50"), ("side", "96"), ("classes", "a,b")].map(|(k, v)| (k.into(), v.into())).into()
    }

    #[test]
    fn what_is_written_comes_back() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.safetensors");
        let arrays = [array("weight", &[2, 1, 3], &[0.1, -2.0, 3.0, 4.0, 5.0, 6.0]), array("count", &[], &[7.0])];
        for precision in [Precision::F32, Precision::F16] {
            write(&path, &arrays, &words(), precision).expect("written");
            let read = Checkpoint::open(&path).expect("a good file");
            assert_eq!(read.metadata(), &words());
            assert_eq!(read.names().collect::<Vec<_>>(), ["count", "weight"]);
            assert_eq!(read.shape("weight"), Some(&[2, 1, 3][..]));
            assert_eq!(read.shape("count"), Some(&[][..]));
            let tenth = if precision == Precision::F32 { 0.1 } else { f16::from_f32(0.1).to_f32() };
            assert_eq!(read.read("weight").expect("numbers"), [tenth, -2.0, 3.0, 4.0, 5.0, 6.0]);
            assert_eq!(read.read("count").expect("numbers"), [7.0]);
        }
    }

    #[test]
    fn the_same_arrays_give_the_same_bytes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        for path in [&first, &second] {
            write(path, &[array("w", &[1], &[1.5])], &words(), Precision::F32).expect("written");
        }
        assert_eq!(std::fs::read(first).expect("first"), std::fs::read(second).expect("second"));
    }

    #[test]
    fn truncated_files_say_how_many_bytes_are_missing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.safetensors");
        write(&path, &[array("w", &[3], &[1.0, 2.0, 3.0])], &BTreeMap::new(), Precision::F32).expect("written");
        let whole = std::fs::read(&path).expect("bytes");
        let (all, header) = (whole.len(), whole.len() - 12);
        for (kept, promised) in [(all - 1, all), (header, all), (header - 1, header), (9, header)] {
            assert_eq!(
                index(&whole[..kept]).expect_err("refused"),
                format!("file is truncated: header promises {promised} bytes, {kept} are there; download it again")
            );
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(index(&longer).expect_err("refused").starts_with("file is damaged"));
    }

    #[test]
    fn damaged_headers_say_so() {
        let file = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let message = |header: &str| index(&file(header)).expect_err("refused");
        assert!(message("{\"t\":").contains("header is damaged"));
        assert!(message(r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#).contains("header is damaged"));
        assert!(message(r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#).contains("header is damaged"));
        let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        assert!(index(&huge).expect_err("refused").contains("too large"));
        // Not parsed, which would take many times its size.
        let mut many = (MAX_HEADER + 1).to_le_bytes().to_vec();
        many.resize(8 + MAX_HEADER as usize + 1, b'[');
        assert_eq!(
            index(&many).expect_err("refused"),
            "header has 8388609 bytes, at most 8388608 are read; that is no network"
        );
    }

    #[test]
    fn arrays_that_cannot_be_written_are_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.safetensors");
        let message = |arrays: &[NamedArray], precision| {
            write(&path, arrays, &BTreeMap::new(), precision).expect_err("refused").to_string()
        };
        assert!(message(&[array("w", &[1], &[f32::NAN])], Precision::F32).contains("w: NaN at index 0 is not finite"));
        let large = array("w", &[2], &[1.0, 70_000.0]);
        assert!(message(&[large], Precision::F16).ends_with("tensor w: 70000 at index 1 is not finite in F16"));
        assert_eq!(message(&[array("w", &[2], &[1.0])], Precision::F32), "safetensors: count of w is 1, expected 2");
        let one = array("w", &[1], &[1.0]);
        assert!(message(&[one.clone(), one], Precision::F32).ends_with("cannot hold tensor w (again)"));
        assert!(message(&[array("__metadata__", &[1], &[1.0])], Precision::F32).contains("__metadata__"));
        assert!(!path.exists());
    }
}
