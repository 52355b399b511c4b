//! Files that describe networks and cannot be read, or only look like such: each gives one error that says what is wrong.
//!
//! ONNX files are written here field by field, so that they can be wrong in any way.

// Compiled into each test program, of which each uses a part.
mod common;

use std::path::Path;
use std::process::Command;

use common::fixture::path;
use common::gpu::device;
use entoptic::nets::{Network, Structure};
use entoptic::weights::Checkpoint;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field of one number.
fn number(place: u64, value: u64) -> Vec<u8> {
    [varint(place << 3), varint(value)].concat()
}

fn ints(name: &str, values: &[u64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| number(8, *value)).collect();
    field(5, &[field(1, name.as_bytes()), values, number(20, 7)].concat())
}

fn int(name: &str, value: u64) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), number(3, value), number(20, 2)].concat())
}

fn node(operator: &str, inputs: &[&str], output: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    let own =
        [inputs, field(2, output.as_bytes()), field(3, output.as_bytes()), field(4, operator.as_bytes())].concat();
    field(1, &[own, more.concat()].concat())
}

/// A tensor by its sizes and its kind: 1 is F32, 3 I8, 10 F16.
fn tensor(name: &str, sizes: &[u64], kind: u64, raw: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| number(1, *size)).collect();
    field(5, &[sizes, number(2, kind), field(8, name.as_bytes()), field(9, raw)].concat())
}

fn floats(name: &str, sizes: &[u64], value: f32) -> Vec<u8> {
    let count = sizes.iter().product::<u64>() as usize;
    tensor(name, sizes, 1, &value.to_le_bytes().repeat(count))
}

/// An input or output of these sizes.
fn value(place: u64, name: &str, sizes: &[u64]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| field(1, &number(1, *size))).collect();
    let kind = field(1, &[number(1, 1), field(2, &sizes)].concat());
    field(place, &[field(1, name.as_bytes()), field(2, &kind)].concat())
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let version = field(8, &number(2, 17));
    [number(1, 8), version, field(7, &graph.concat())].concat()
}

/// The input and the output of most networks here.
fn ends() -> Vec<Vec<u8>> {
    vec![value(11, "x", &[1, 3, 8, 8]), value(12, "y", &[1, 4])]
}

/// A network of a convolution, with something before its end.
fn small(weight: Vec<u8>, more: &[Vec<u8>], last: &str) -> Vec<u8> {
    let conv = node("Conv", &["x", "conv.weight"], "c", &[]);
    let pool = node("GlobalAveragePool", &[last], "p", &[]);
    let flat = node("Flatten", &["p"], "y", &[]);
    model(&[ends(), vec![weight, conv], more.to_vec(), vec![pool, flat]].concat())
}

fn plain() -> Vec<u8> {
    small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &[], "c")
}

fn read(bytes: Vec<u8>) -> Result<(Structure, Checkpoint), String> {
    let checkpoint = Checkpoint::from_bytes("net.onnx", bytes).map_err(|error| error.to_string())?;
    let read = Structure::read(checkpoint).map_err(|error| error.to_string())?;
    read.map_err(|_| "holds weights alone".to_owned())
}

fn refused(bytes: Vec<u8>) -> String {
    read(bytes).expect_err("refused")
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_small_network_written_by_hand_is_read() {
    let (structure, checkpoint) = read(plain()).expect("a good file");
    assert_eq!((structure.name(), structure.is_imported(), structure.sides()), ("net", true, Some([8, 8])));
    assert_eq!(checkpoint.shape("conv.weight"), Some(&[4, 3, 3, 3][..]));
    let network = Network::load(device(), &structure, &checkpoint, "small").expect("loads");
    assert_eq!(network.class_count(), 4);
}

#[test]
fn cut_files_say_so_wherever_they_are_cut() {
    let whole = plain();
    for length in 2..whole.len() {
        let message = refused(whole[..length].to_vec());
        assert!(message.starts_with("net.onnx: ") && message.len() < 400, "{length}: {message}");
    }
}

#[test]
fn lengths_beyond_the_file_are_named() {
    for length in [1u64 << 36, 1 << 62, u64::MAX] {
        let bytes = [number(1, 8), varint(7 << 3 | 2), varint(length), vec![0; 40]].concat();
        assert_says(&refused(bytes), &[&format!("a field of {length} bytes lies where 40 are left")]);
    }
    let huge = tensor("conv.weight", &[1 << 31, 1 << 31, 3, 3], 1, &[0; 16]);
    assert_says(&refused(small(huge, &[], "c")), &["tensor conv.weight", "impossible sizes"]);
    let long = tensor("conv.weight", &[1 << 40, 3, 1, 1], 1, &[0; 16]);
    assert_says(&refused(small(long, &[], "c")), &["tensor conv.weight", "and has 16"]);
}

#[test]
fn twenty_thousand_nestings_are_not_descended_into() {
    let mut graph = Vec::new();
    for _ in 0..20_000 {
        let attribute = field(5, &[field(1, b"body"), field(6, &graph), number(20, 5)].concat());
        graph = field(1, &[field(4, b"Loop"), attribute].concat());
    }
    let inner = field(5, &[field(1, b"body"), field(6, &graph), number(20, 5)].concat());
    let file = small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &[node("Loop", &["c"], "l", &[inner])], "l");
    assert_says(&refused(file), &["Loop (once in l) is not supported", "dynamo=True"]);
}

#[test]
fn everything_that_is_not_supported_comes_in_one_list() {
    let more = [
        node("Einsum", &["c"], "e", &[]),
        node("Einsum", &["e"], "f", &[]),
        node("Relu", &["f"], "r", &[]),
        node("QuantizeLinear", &["r"], "q", &[]),
        node("MaxPool", &["c"], "m", &[ints("kernel_shape", &[2, 2, 2])]),
        node("Add", &["q", "m"], "s", &[]),
    ];
    let message = refused(small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &more, "s"));
    assert_says(
        &message,
        &[
            "net.onnx: this network cannot be read",
            "Einsum (2 times, first in e) is not supported",
            "QuantizeLinear (once in q) is not supported; export the network before it is quantized",
            "MaxPool (once in m) has an attribute kernel_shape for 3 dimensions",
        ],
    );
    assert!(!message.contains("Relu") && !message.contains("Add"), "what follows from them is no fault: {message}");
}

#[test]
fn transformers_are_refused_in_these_words() {
    let more =
        [node("Flatten", &["c"], "f", &[]), node("Transpose", &["f"], "t", &[]), node("MatMul", &["f", "t"], "a", &[])];
    let message = refused(small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &more, "a"));
    assert_says(
        &message,
        &["attention (1 times, first in a)", "this network is a transformer, and transformers are not read"],
    );
}

#[test]
fn circles_and_missing_tensors_are_named() {
    let circle = [node("Relu", &["b"], "a", &[]), node("Relu", &["a"], "b", &[])];
    let message = refused(small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &circle, "b"));
    assert_says(&message, &["depend on each other in a circle"]);
    let missing = small(floats("another", &[4, 3, 3, 3], 0.1), &[], "c");
    assert_says(&refused(missing), &["Conv (once in c) is given conv.weight, which is not in the file"]);
}

#[test]
fn convolutions_in_other_dimensions_and_training_are_named() {
    let message = refused(small(floats("conv.weight", &[4, 3, 1, 3, 3], 0.1), &[], "c"));
    assert_says(&message, &["Conv (once in c) is a convolution in 3 dimensions"]);
    let vectors = ["w", "b", "m", "v"].map(|name| floats(name, &[4], 1.0));
    let norm = node("BatchNormalization", &["c", "w", "b", "m", "v"], "n", &[int("training_mode", 1)]);
    let file = small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &[vectors.to_vec(), vec![norm]].concat(), "n");
    assert_says(&refused(file), &["BatchNormalization (once in n) is in training mode; call model.eval()"]);
}

#[test]
fn weights_that_are_no_numbers_are_named_with_their_layer() {
    let (structure, checkpoint) = read(small(floats("conv.weight", &[4, 3, 3, 3], f32::NAN), &[], "c")).expect("read");
    let loaded = Network::load(device(), &structure, &checkpoint, "nan");
    assert_says(&loaded.err().expect("refused").to_string(), &["tensor conv.weight holds NaN at index 0"]);
    let bytes = small(tensor("conv.weight", &[4, 3, 3, 3], 3, &[1; 108]), &[], "c");
    assert_says(&refused(bytes), &["tensor conv.weight holds numbers of type I8", "before it is quantized"]);
}

#[test]
fn half_precision_is_widened() {
    let half = tensor("conv.weight", &[4, 3, 3, 3], 10, &0x3800u16.to_le_bytes().repeat(108));
    let (_, checkpoint) = read(small(half, &[], "c")).expect("a good file");
    assert_eq!(checkpoint.read("conv.weight").expect("numbers"), vec![0.5; 108]);
    let brain = tensor("conv.weight", &[4, 3, 3, 3], 16, &0x3f00u16.to_le_bytes().repeat(108));
    let (_, checkpoint) = read(small(brain, &[], "c")).expect("a good file");
    assert_eq!(checkpoint.read("conv.weight").expect("numbers"), vec![0.5; 108]);
}

#[test]
fn several_inputs_and_outputs_are_asked_for_by_name() {
    let add = node("Add", &["c", "x2"], "s", &[]);
    let second = value(11, "x2", &[1, 4, 6, 6]);
    let message = refused(small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &[second, add], "s"));
    assert_says(&message, &["it has 2 inputs (x [1, 3, 8, 8], x2 [1, 4, 6, 6]) on which its output depends"]);
    let message = refused(small(floats("conv.weight", &[4, 3, 3, 3], 0.1), &[value(12, "z", &[1, 4])], "c"));
    assert_says(&message, &["it has 2 outputs (y, z); choose one with --output"]);
}

#[test]
fn a_softmax_behind_the_logits_is_told_from_them() {
    let conv = [floats("conv.weight", &[4, 3, 3, 3], 0.1), node("Conv", &["x", "conv.weight"], "c", &[])];
    let tail = [
        node("GlobalAveragePool", &["c"], "p", &[]),
        node("Flatten", &["p"], "f", &[]),
        node("Softmax", &["f"], "y", &[int("axis", 1)]),
    ];
    let (structure, _) = read(model(&[ends(), conv.to_vec(), tail.to_vec()].concat())).expect("a good file");
    assert_eq!(structure.behind_logits(), Some("softmax"));
    assert_eq!(read(plain()).expect("a good file").0.behind_logits(), None);
}

#[test]
fn pictures_with_channels_last_and_zeros_of_their_own_are_read() {
    let pads = |name: &str, values: [u64; 8]| {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor(name, &[8], 7, &raw)
    };
    let parts = [
        value(11, "x", &[1, 8, 8, 3]),
        value(12, "y", &[1, 4]),
        floats("conv.weight", &[4, 3, 3, 3], 0.1),
        pads("around", [0, 0, 1, 1, 0, 0, 2, 2]),
        pads("before", [0, 0, 1, 0, 0, 0, 0, 1]),
        node("Transpose", &["x"], "t", &[ints("perm", &[0, 3, 1, 2])]),
        node("Pad", &["t", "around"], "q", &[]),
        node("Conv", &["q", "conv.weight"], "c", &[]),
        node("Pad", &["c", "before"], "z", &[]),
        node("MaxPool", &["z"], "m", &[ints("kernel_shape", &[2, 2])]),
        node("ReduceMean", &["m"], "y", &[ints("axes", &[2, 3]), int("keepdims", 0)]),
    ];
    let (structure, checkpoint) = read(model(&parts)).expect("a good file");
    assert_eq!(structure.sides(), Some([8, 8]));
    let network = Network::load(device(), &structure, &checkpoint, "last").expect("loads");
    let mut tape = entoptic::tape::Tape::default();
    let x = tape.input("picture", structure.any_picture());
    let outputs = network.forward(&mut tape, x, entoptic::nets::BatchNormMode::Frozen, &[], &[]).expect("fits");
    let shape = |layer: &str| tape.shape(outputs.tap(layer).expect("a layer")).0;
    assert_eq!([shape("conv"), shape("z"), shape("m")], [[1, 4, 9, 9], [1, 4, 10, 10], [1, 4, 9, 9]]);
}

/// A file whose weights are said to be in another.
fn outside(location: &str, offset: u64) -> Vec<u8> {
    let property = |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let sizes: Vec<u8> = [4u64, 3, 3, 3].iter().flat_map(|size| number(1, *size)).collect();
    let about = [property("location", location), property("offset", &offset.to_string()), number(14, 1)].concat();
    let tensor = field(5, &[sizes, number(2, 1), field(8, b"conv.weight"), about].concat());
    small(tensor, &[], "c")
}

#[test]
fn weights_in_another_file_must_be_beside_and_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    std::fs::write(folder.path().join("above.data"), [0; 432]).expect("written");
    std::fs::write(inner.join("net.data"), 0.25f32.to_le_bytes().repeat(108)).expect("written");
    std::fs::write(inner.join("short.data"), [0; 400]).expect("written");
    let open = |bytes: Vec<u8>| {
        let file = inner.join("net.onnx");
        std::fs::write(&file, bytes).expect("written");
        Checkpoint::open(&file)
    };
    let message = |bytes: Vec<u8>| open(bytes).expect_err("refused").to_string();
    assert_eq!(open(outside("net.data", 0)).expect("beside").read("conv.weight").expect("numbers"), vec![0.25; 108]);
    assert_says(&message(outside("absent.data", 0)), &["absent.data, which is not beside it", "conv.weight"]);
    assert_says(&message(outside("short.data", 0)), &["truncated", "ends at byte 432 of 400"]);
    assert_says(&message(outside("net.data", 1 << 62)), &["truncated"]);
    assert_says(&message(outside("../above.data", 0)), &["outside of its folder"]);
    let absolute = folder.path().join("above.data").display().to_string();
    assert_says(&message(outside(&absolute, 0)), &["outside of its folder"]);
    assert_says(&message(outside("", 0)), &["outside of its folder"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("above.data"), inner.join("link.data")).expect("a link");
        assert_says(&message(outside("link.data", 0)), &["link.data, which is a link"]);
        std::os::unix::fs::symlink(folder.path(), inner.join("up")).expect("a link");
        assert_says(&message(outside("up/above.data", 0)), &["which is a link"]);
    }
    assert_says(&refused(outside("net.data", 0)), &["is not in a folder itself"]);
}

/// A stored zip archive.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (start, length) = (bytes.len() as u32, (content.len() as u32).to_le_bytes());
        let names = (name.len() as u16).to_le_bytes();
        bytes.extend(
            [&b"PK\x03\x04"[..], &[0; 14], &length, &length, &names, &[0, 0], name.as_bytes(), content].concat(),
        );
        directory
            .extend([&b"PK\x01\x02"[..], &[0; 16], &length, &length, &names, &[0; 12], &start.to_le_bytes()].concat());
        directory.extend(name.as_bytes());
    }
    let (start, length, count) = (bytes.len() as u32, directory.len() as u32, (files.len() as u16).to_le_bytes());
    bytes.extend(directory);
    bytes.extend(
        [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &length.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat(),
    );
    bytes
}

fn program(model: &str) -> Vec<u8> {
    archive(&[("net/archive_format", b"pt2"), ("net/models/model.json", model.as_bytes())])
}

#[test]
fn exported_programs_that_cannot_be_read_say_why() {
    let message = |bytes: Vec<u8>| Checkpoint::from_bytes("net.pt2", bytes).expect_err("refused").to_string();
    assert_says(&message(program(&"[".repeat(20_000))), &["models/model.json", "recursion limit exceeded"]);
    assert_says(&message(program("{")), &["file is damaged", "models/model.json"]);
    let major = |major: &str| format!("{{\"schema_version\": {{\"major\": {major}, \"minor\": 99}}}}");
    assert_says(&message(program(&major("9"))), &["schema version 9, and 8 is read"]);
    assert_says(&message(program(&major("8"))), &["its graph has no operations"]);
    assert_says(&message(archive(&[("net/archive_format", b"pt2")])), &["holds no graph"]);
    let compiled = archive(&[("net/archive_format", b"pt2"), ("net/data/aotinductor/model/a.so", b"")]);
    assert_says(&message(compiled), &["is a compiled program (AOTInductor)"]);
    assert_says(&message(archive(&[("serialized_exported_program.json", b"{}")])), &["whose weights are pickled"]);
    let whole = std::fs::read(path("imported/resnet.pt2")).expect("a fixture");
    for part in 1..20 {
        let message = message(whole[..whole.len() * part / 20].to_vec());
        assert!(message.starts_with("net.pt2: ") && message.len() < 400, "{message}");
    }
}

#[test]
fn the_program_ends_with_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = plain();
    let cut = folder.path().join("cut.onnx");
    std::fs::write(&cut, &whole[..whole.len() - 9]).expect("written");
    let (lines, code) = layers(&cut);
    assert_eq!((lines.len(), code), (1, Some(1)), "{lines:?}");
    assert_says(&lines[0], &["error: ", "cut.onnx", "download it again"]);
}

/// What `entoptic layers` says on standard error but for the adapter, and its exit code.
fn layers(file: &Path) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).args(["layers", "--weights"]).arg(file);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with("adapter: ")).map(str::to_owned).collect();
    (lines, output.status.code())
}

/// A node whose result has these sizes and one number everywhere.
fn filled(name: &str, sizes: &[u64], value: f32) -> Vec<u8> {
    let list: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    let one = [field(1, b"value"), tensor("", &[1], 1, &value.to_le_bytes()), number(20, 4)].concat();
    let of = format!("sizes of {name}");
    let shape = tensor(&of, &[sizes.len() as u64], 7, &list);
    [shape, node("ConstantOfShape", &[&of], name, &[field(5, &one)])].concat()
}

#[test]
fn weights_that_repeat_one_number_are_read_and_no_more_than_a_network_has() {
    let (_, checkpoint) = read(small(filled("conv.weight", &[4, 3, 3, 3], 0.25), &[], "c")).expect("a good file");
    assert_eq!(checkpoint.shape("c.weight"), Some(&[4, 3, 3, 3][..]));
    assert_eq!(checkpoint.read("c.weight").expect("numbers"), [0.25; 108]);
    let huge = small(filled("conv.weight", &[1 << 20, 3, 1 << 10, 1 << 10], 0.25), &[], "c");
    assert_says(&refused(huge), &["ConstantOfShape (once in conv.weight)", "repeats a number more often than is read"]);
    // Each of two is small enough, and both together are not.
    let second = node("Conv", &["c", "second"], "d", &[]);
    let sizes = [1 << 14, 3, 60, 60];
    let both = [filled("conv.weight", &sizes, 0.25), filled("second", &[16, 1 << 14, 20, 50], 0.25), second].concat();
    let ends = vec![value(11, "x", &[1, 3, 120, 120]), value(12, "y", &[1, 16])];
    let conv = node("Conv", &["x", "conv.weight"], "c", &[]);
    let rest = [node("GlobalAveragePool", &["d"], "p", &[]), node("Flatten", &["p"], "y", &[])];
    let file = model(&[ends, vec![both, conv], rest.to_vec()].concat());
    assert_says(&refused(file), &["fills 439091200 elements of weights with single numbers"]);
}

#[test]
fn values_of_the_picture_are_not_made_whole_numbers_in_silence() {
    let weight = || floats("conv.weight", &[4, 3, 3, 3], 0.1);
    let cast = |kind| small(weight(), &[node("Cast", &["c"], "k", &[int("to", kind)])], "k");
    read(cast(10)).expect("half precision is widened");
    for kind in [3, 6, 7, 9] {
        assert_says(&refused(cast(kind)), &["Cast (once in k) makes whole numbers of values of the picture"]);
    }
    let like = tensor("like", &[1], 7, &[0; 8]);
    let cast = [like, node("CastLike", &["c", "like"], "k", &[])].concat();
    assert_says(&refused(small(weight(), &[cast], "k")), &["CastLike (once in k) makes whole numbers"]);
}

#[test]
fn a_log_softmax_is_left_out_at_the_end_and_refused_inside() {
    let weight = || floats("conv.weight", &[4, 3, 3, 3], 0.1);
    let inside = node("LogSoftmax", &["c"], "l", &[int("axis", 1)]);
    assert_says(&refused(small(weight(), &[inside], "l")), &["LogSoftmax (once in l) stands inside of the network"]);
    let conv = node("Conv", &["x", "conv.weight"], "c", &[]);
    let pool = node("GlobalAveragePool", &["c"], "p", &[]);
    let end = [node("Flatten", &["p"], "f", &[]), node("LogSoftmax", &["f"], "y", &[])];
    let file = model(&[ends(), vec![weight(), conv, pool], end.to_vec()].concat());
    let (structure, _) = read(file).expect("a good file");
    assert_eq!(structure.behind_logits(), Some("log softmax"));
}
