//! Stored answers: a `.safetensors` file and the `.json` file beside it.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::compare::Bound;

/// How many times the distance between PyTorch's own f32 and f64 answers an engine may be off: the share that `recipe.md`,
/// section 8, leaves to single operations (2.5e-7 measured, 2e-6 required).
const FACTOR: f64 = 8.0;

/// No bound is tighter than what section 8 requires of single operations.
const FLOOR: f64 = 2e-6;

/// One pair of files.
pub struct Fixture {
    name: String,
    bytes: Vec<u8>,
    sidecar: Value,
}

/// Path of a file in `tests/fixtures`.
pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)
}

/// A `.json` file in `tests/fixtures`.
pub fn json(file: &str) -> Value {
    let text = fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A number that JSON holds as text, `0x` and hexadecimal digits.
pub fn hex(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| panic!("{value} is not hexadecimal"))
}

/// A list of words in JSON.
pub fn words(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value} is not a list"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is not a word")).to_owned()).collect()
}

impl Fixture {
    /// Loads `NAME.safetensors` and `NAME.json`.
    pub fn load(name: &str) -> Fixture {
        let file = format!("{name}.safetensors");
        let bytes = fs::read(path(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        Fixture { name: name.into(), bytes, sidecar: json(&format!("{name}.json")) }
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.tensors().names().into_iter().map(str::to_owned).collect()
    }

    /// Whether there is such a tensor.
    pub fn has(&self, key: &str) -> bool {
        self.tensors().tensor(key).is_ok()
    }

    /// Sizes of a tensor.
    pub fn shape(&self, key: &str) -> Vec<usize> {
        self.tensors().tensor(key).unwrap_or_else(|_| self.absent(key)).shape().to_vec()
    }

    /// The numbers of an f32 tensor, row-major.
    pub fn values(&self, key: &str) -> Vec<f32> {
        self.read(key, Dtype::F32, f32::from_le_bytes)
    }

    /// The single number of an f32 tensor.
    pub fn value(&self, key: &str) -> f32 {
        let values = self.values(key);
        assert_eq!(values.len(), 1, "{}: {key} is not a single number", self.name);
        values[0]
    }

    /// The numbers of an i64 tensor, row-major; all of them are positions or labels.
    pub fn indices(&self, key: &str) -> Vec<usize> {
        self.read(key, Dtype::I64, |b| usize::try_from(i64::from_le_bytes(b)).expect("a position is not negative"))
    }

    /// The distance in relative L2 between the stored answer, computed in f64, and PyTorch's own in f32.
    pub fn f32_gap_rel_l2(&self, key: &str) -> Option<f64> {
        self.note(key, "f32_gap_rel_l2").as_f64()
    }

    /// What the reference itself allows for a tensor: [`FACTOR`] times its gap, at least [`FLOOR`].
    ///
    /// Full-size gradients have kinks that fall either way; `recipe.md`, section 8, gives their bounds.
    pub fn bound(&self, key: &str) -> Bound {
        let gap = self.f32_gap_rel_l2(key).unwrap_or_else(|| panic!("{}: {key} has no gap", self.name));
        Bound::rel_l2((FACTOR * gap).max(FLOOR))
    }

    /// A word of the sidecar about one tensor, `Null` where there is none.
    pub fn note(&self, key: &str, word: &str) -> &Value {
        &self.sidecar["tensors"][key][word]
    }

    /// A word of the sidecar about the whole file, such as `class_index`.
    pub fn about(&self, word: &str) -> &Value {
        &self.sidecar[word]
    }

    /// The settings of a case of `ops` or `image_ops`.
    pub fn case(&self, case: &str) -> &Value {
        let settings = &self.sidecar["cases"][case];
        assert!(settings.is_object(), "{}: no case {case}", self.name);
        settings
    }

    /// Names of all cases.
    pub fn cases(&self) -> impl Iterator<Item = &str> {
        self.sidecar["cases"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn read<const N: usize, T>(&self, key: &str, dtype: Dtype, value: impl Fn([u8; N]) -> T) -> Vec<T> {
        let tensor = self.tensors().tensor(key).unwrap_or_else(|_| self.absent(key));
        assert_eq!(tensor.dtype(), dtype, "{}: type of {key}", self.name);
        tensor.data().as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
    }

    fn absent(&self, key: &str) -> ! {
        panic!("{}: no tensor {key}", self.name)
    }
}
