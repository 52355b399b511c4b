//! Files that describe networks, changed at random: each is read or refused in words, and what is read can be put on a tape or not.
//! Changes are such as leave a file of its kind: digits, which are in names and sizes, operators of the same length, and single bytes.

use std::panic::catch_unwind;

use entoptic::nets::{BatchNormMode, Structure};
use entoptic::weights::Checkpoint;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mutants of each file. `ENTOPTIC_MUTATIONS` and `ENTOPTIC_SEED` ask for more, and others.
const MUTATIONS: u64 = 150;

/// Small, with their weights inside, and between them most of the operators that are read.
const FILES: [&str; 7] = [
    "resnet.pt2",
    "convnext.ts.onnx",
    "densenet.ts.onnx",
    "efficientnet.ts.onnx",
    "mobilenet_v3_small.ts.onnx",
    "shufflenet_v2_x0_5.ts.onnx",
    "alexnet.ts.onnx",
];

/// Operators, to be put in the place of others of the same length.
const OPERATORS: [&str; 58] = [
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Sum",
    "Pad",
    "LRN",
    "Max",
    "Min",
    "Mod",
    "Neg",
    "Conv",
    "Relu",
    "Gemm",
    "Clip",
    "Tanh",
    "Selu",
    "Celu",
    "Mish",
    "Gelu",
    "Cast",
    "Mean",
    "Sqrt",
    "Ceil",
    "Shape",
    "Slice",
    "Split",
    "PRelu",
    "Floor",
    "Concat",
    "Gather",
    "MatMul",
    "Expand",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Dropout",
    "Softmax",
    "Sigmoid",
    "MaxPool",
    "Softplus",
    "Identity",
    "Constant",
    "Transpose",
    "LeakyRelu",
    "Unsqueeze",
    "HardSwish",
    "ReduceMax",
    "ReduceMean",
    "LogSoftmax",
    "AveragePool",
    "HardSigmoid",
    "GlobalMaxPool",
    "aten.relu.default",
    "aten.selu.default",
    "aten.silu.default",
    "aten.mish.default",
    "aten.celu.default",
];

fn below(numbers: &mut ChaCha8Rng, end: usize) -> usize {
    numbers.random_range(0..end.max(1))
}

/// Places where a word stands.
fn places(bytes: &[u8], word: &str) -> Vec<usize> {
    let found = bytes.windows(word.len()).enumerate().filter(|(_, window)| *window == word.as_bytes());
    found.map(|(at, _)| at).collect()
}

/// What of a file is not weights: the first part of an ONNX file, the first entries of an archive.
struct Original {
    name: &'static str,
    bytes: Vec<u8>,
    graph: usize,
    digits: Vec<usize>,
    operators: Vec<(usize, usize)>,
}

impl Original {
    fn of(name: &'static str) -> Self {
        let path = format!("{}/tests/fixtures/imported/{name}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let find = |operator: &&str| places(&bytes, operator);
        let operators: Vec<(usize, usize)> =
            OPERATORS.iter().flat_map(|word| find(word).into_iter().map(|at| (at, word.len()))).collect();
        let graph = operators.iter().map(|(at, _)| at + 400).max().unwrap_or(0).min(bytes.len());
        let digits = (0..graph).filter(|at| bytes[*at].is_ascii_digit()).collect();
        Original { name, bytes, graph, digits, operators }
    }

    fn mutant(&self, numbers: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for _ in 0..1 + below(numbers, 3) {
            match below(numbers, 4) {
                0 => bytes[self.digits[below(numbers, self.digits.len())]] = b'0' + below(numbers, 10) as u8,
                1 => {
                    let (at, length) = self.operators[below(numbers, self.operators.len())];
                    let others: Vec<&str> = OPERATORS.into_iter().filter(|operator| operator.len() == length).collect();
                    let other = others[below(numbers, others.len())];
                    bytes[at..at + length].copy_from_slice(other.as_bytes());
                }
                2 => bytes[below(numbers, self.graph)] ^= 1 << below(numbers, 8),
                // Small numbers are sizes, axes and kinds.
                _ => {
                    let at = (0..40).map(|_| below(numbers, self.graph)).find(|at| bytes[*at] < 32);
                    at.into_iter().for_each(|at| bytes[at] = below(numbers, 32) as u8);
                }
            }
        }
        bytes
    }
}

/// Whether a file was read as a network.
fn survive(bytes: Vec<u8>) -> bool {
    let Ok(checkpoint) = Checkpoint::from_bytes("mutant.onnx", bytes) else { return false };
    match Structure::read(checkpoint) {
        Ok(Ok((structure, _))) => {
            // Sizes of pictures may be such that nothing is left of them.
            if let Err(error) = structure.sketch(structure.any_picture(), BatchNormMode::Frozen) {
                assert!(!error.to_string().is_empty());
            }
            true
        }
        Ok(Err(_)) => false,
        Err(error) => {
            assert!(error.to_string().len() > 20, "{error}");
            false
        }
    }
}

#[test]
fn mutated_networks_are_read_or_refused_in_words() {
    let asked = |word: &str| std::env::var(word).ok().map(|number| number.parse::<u64>().expect(word));
    let (mutations, seed) = (asked("ENTOPTIC_MUTATIONS").unwrap_or(MUTATIONS), asked("ENTOPTIC_SEED").unwrap_or(0));
    let mut read = 0;
    for original in FILES.map(Original::of) {
        assert!(survive(original.bytes.clone()), "{} itself is read", original.name);
        for k in 0..mutations {
            let mut numbers = ChaCha8Rng::seed_from_u64(seed << 32 | k);
            let mutant = original.mutant(&mut numbers);
            let outcome = catch_unwind(|| survive(mutant));
            read += u64::from(outcome.unwrap_or_else(|_| panic!("{}, seed {seed}, {k}: panicked", original.name)));
        }
    }
    let tried = mutations * FILES.len() as u64;
    println!("{read} of {tried} mutants were read as networks");
    assert!(read * 20 > tried, "only {read} of {tried} mutants were read, so the rest of the code was not met");
}
