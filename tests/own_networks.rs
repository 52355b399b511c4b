//! Networks of a user's own beyond the usual: other channels, several inputs and outputs, open sides, files from Keras, weights that are kept
//! with their network. `tests/fixtures/make_own.py` and `make_keras.py` wrote files and answers.

// Compiled into each test program, of which each uses a part.
mod common;

use std::collections::BTreeMap;

use common::compare::{Bound, assert_close};
use common::fixture::path;
use common::gpu::device;
use entoptic::evaluate::{Scene, gradient, outputs};
use entoptic::nets::{Ends, Head, Network, Normalize, Pixels, Structure};
use entoptic::objective::{Form, Objective, Place, Term, class_input};
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, PROGRAM, Precision, write};
use entoptic::{Error, picture};

const CLASS: usize = 3;

/// Of logits and of gradients, in relative L2: what is asked of full-size networks.
const LOGITS: f64 = 2e-5;
const GRADIENT: f64 = 2e-4;

/// Numbers of a fixture and their sizes.
fn stored(file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let answers = Checkpoint::open(&path(&format!("own/{file}.safetensors"))).expect("answers");
    let shape = answers.shape(name).unwrap_or_else(|| panic!("{name} is stored")).to_vec();
    (shape, answers.read(name).expect("numbers"))
}

fn stored_picture(file: &str, name: &str) -> Array {
    let (shape, values) = stored(file, &format!("{name}/picture"));
    let shape: [usize; 4] = shape.try_into().expect("a picture");
    Array::new(Shape(shape), values)
}

fn read(file: &str, ends: &Ends) -> entoptic::Result<(Structure, Checkpoint)> {
    let checkpoint = Checkpoint::open(&path(file))?;
    Ok(Structure::read_between(checkpoint, ends)?.unwrap_or_else(|_| panic!("{file} describes its network")))
}

fn load(file: &str, ends: &Ends) -> Network {
    let (structure, checkpoint) = read(file, ends).unwrap_or_else(|error| panic!("{error}"));
    Network::load(device(), &structure, &checkpoint, file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn output(name: &str) -> Ends {
    Ends { input: None, output: Some(name.to_owned()) }
}

fn logits_of(network: &Network, picture: &Array) -> entoptic::Result<Array> {
    let scene = Scene::of(vec![network], Normalize::Source);
    Ok(outputs(device(), &scene, picture, &[Place::Logits(0, Head::Main)], false)?.remove(0))
}

/// Gradient of the first picture's logit of a class.
fn gradient_of(network: &Network, picture: &Array) -> Vec<f32> {
    let n = picture.shape.n();
    let scene = Scene {
        objective: Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] },
        inputs: vec![(class_input(0), Array::filled(Shape::per_picture(n), CLASS as f32))],
        ..Scene::of(vec![network], Normalize::Source)
    };
    let found = gradient(device(), &scene, picture, false).expect("runs").gradient;
    // The loss falls as the logit grows; the answers are about the first picture.
    let first = found.picture(0).values.into_iter().map(|value| -value);
    first.chain(std::iter::repeat_n(0.0, found.values.len() - found.values.len() / n)).collect()
}

#[track_caller]
fn answers(file: &str, ends: &Ends, (answers, name): (&str, &str)) {
    let network = load(&format!("own/{file}"), ends);
    let picture = stored_picture(answers, name);
    let found = logits_of(&network, &picture).expect("runs");
    let expected = stored(answers, &format!("{name}/logits")).1;
    assert_close(&format!("{file} logits"), &found.values, &expected, Bound::rel_l2(LOGITS));
    let expected = stored(answers, &format!("{name}/gradient")).1;
    assert_close(&format!("{file} gradient"), &gradient_of(&network, &picture), &expected, Bound::rel_l2(GRADIENT));
}

#[test]
fn one_channel_is_the_luma_of_three_and_other_channels_are_taken_as_they_are() {
    answers("grey.pt2", &Ends::default(), ("answers", "grey"));
    answers("four.ts.onnx", &Ends::default(), ("answers", "four"));
    // Grey values themselves, normalised or not, are what three equal colours are.
    let (structure, checkpoint) = read("own/grey.pt2", &Ends::default()).expect("read");
    let mut network = Network::load(device(), &structure, &checkpoint, "grey").expect("loads");
    network.tell_pixels(Pixels::of(&[0.1, 0.2, 0.3], &[0.3, 0.4, 0.5]).expect("numbers of pixels"));
    let colours = picture::grey(&stored_picture("answers", "grey"));
    let plane = colours.values.len() / 3;
    let one = Array::new(Shape::new(1, 1, 28, 28), colours.values[..plane].to_vec());
    for normalize in [Normalize::Source, Normalize::Imagenet] {
        let scene = Scene::of(vec![&network], normalize);
        let place = [Place::Logits(0, Head::Main)];
        let [one, three] =
            [&one, &colours].map(|given| outputs(device(), &scene, given, &place, false).expect("runs").remove(0));
        assert_close(&format!("grey, {normalize:?}"), &one.values, &three.values, Bound::rel_l2(LOGITS));
    }
    let four = load("own/four.ts.onnx", &Ends::default());
    let refused = logits_of(&four, &colours).expect_err("refused");
    assert!(matches!(refused, Error::Channels { expected: 4, found: 3, .. }), "{refused}");
    assert!(refused.to_string().contains("[N, 4, H, W]"), "{refused}");
}

#[test]
fn photographs_are_grey_as_pillow_makes_them() {
    let found = picture::grey(&stored_picture("answers", "luma"));
    let (_, expected) = stored("answers", "luma/grey");
    let plane = expected.len();
    // Pillow rounds to 256 levels.
    let half = 0.5 / 255.0 + 1e-6;
    for colour in 0..3 {
        let own = &found.values[colour * plane..(colour + 1) * plane];
        assert!(own.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= half), "{own:?} {expected:?}");
    }
    assert_eq!(picture::grey(&found), found, "what is grey stays as it is");
}

#[test]
fn outputs_and_inputs_are_chosen_by_name_or_place() {
    for (file, first) in [("two.onnx", "logits"), ("two.pt2", "linear")] {
        answers(file, &output(first), ("answers", "two"));
        let aux = load(&format!("own/{file}"), &output("1"));
        let found = logits_of(&aux, &stored_picture("answers", "two")).expect("runs");
        assert_close(file, &found.values, &stored("answers", "two/aux").1, Bound::rel_l2(LOGITS));
        let features = load(&format!("own/{file}"), &output("2"));
        assert!(!features.has_classifier(), "what is a picture is no list of classes");
    }
    let line = |file: &str, ends: &Ends| read(&format!("own/{file}"), ends).expect_err("refused").to_string();
    let said = line("two.onnx", &Ends::default());
    assert!(said.ends_with("it has 3 outputs; choose one with --output: logits, aux, features"), "{said}");
    let said = line("pair.onnx", &output("scaled"));
    assert!(said.contains("its output depends on 2 inputs (picture [1, 3, 32, 32], scale [1, 8])"), "{said}");
    let pair = Ends { input: Some("picture".into()), output: Some("logits".into()) };
    assert_eq!(load("own/pair.onnx", &pair).class_count(), 10);
    assert_eq!(load("own/pair.onnx", &pair).structure.ends(), pair);
}

#[test]
fn open_sides_are_those_of_each_picture() {
    for file in ["free.ts.onnx", "free.onnx", "free.pt2"] {
        let network = load(&format!("own/{file}"), &Ends::default());
        for name in ["free0", "free1", "free2"] {
            let found = logits_of(&network, &stored_picture("answers", name)).expect("runs");
            let expected = stored("answers", &format!("{name}/logits")).1;
            assert_close(&format!("{file} {name}"), &found.values, &expected, Bound::rel_l2(LOGITS));
        }
    }
}

#[test]
fn a_layer_that_sees_so_many_pixels_names_the_only_side() {
    answers("fixed.pt2", &Ends::default(), ("answers", "fixed"));
    // The file leaves its sides open, and one of the usual ones fits.
    answers("fixed_open.onnx", &Ends::default(), ("answers", "fixed"));
    for (file, fixed) in [("fixed.pt2", true), ("fixed_open.onnx", false)] {
        let network = load(&format!("own/{file}"), &Ends::default());
        assert_eq!((network.structure.only_sides(40), network.structure.only_sides(28)), (Some([28, 28]), None));
        let refused = logits_of(&network, &Array::filled(Shape::new(1, 3, 40, 32), 0.5)).expect_err("refused");
        match refused {
            Error::PictureSize { sides, fixed: said, expected, found, .. } => {
                assert_eq!((sides, said, expected, found), ([28, 28], fixed, [7, 7], [10, 8]), "{file}");
            }
            other => panic!("{file}: {other}"),
        }
    }
    assert_eq!(load("own/free.pt2", &Ends::default()).structure.only_sides(40), None);
}

#[test]
fn what_stands_behind_logits_is_left_out_and_said() {
    for end in ["softmax", "sigmoid"] {
        for form in ["pt2", "onnx"] {
            let file = format!("{end}.{form}");
            answers(&file, &Ends::default(), ("answers", end));
            assert_eq!(load(&format!("own/{file}"), &Ends::default()).structure.behind_logits(), Some(end));
        }
    }
}

#[test]
fn batch_norms_that_an_exporter_has_folded_are_counted() {
    for (file, folded, norms) in
        [("own/kept.pt2", 0, true), ("own/kept.ts.onnx", 0, true), ("own/four.ts.onnx", 2, false)]
    {
        let network = load(file, &Ends::default());
        assert_eq!((network.structure.folded_norms(), network.has_batch_norms()), (folded, norms), "{file}");
    }
    // Today's exporter has other names for what it folds.
    assert!(load("imported/resnet.onnx", &Ends::default()).structure.folded_norms() > 8);
    answers("kept.pt2", &Ends::default(), ("answers", "kept"));
    answers("kept.ts.onnx", &Ends::default(), ("answers", "kept"));
}

#[test]
fn words_beside_a_network_are_read() {
    let network = load("own/kept.pt2", &Ends::default());
    assert_eq!(network.classes.name(7), "thing 7");
    assert_eq!(network.pixels, Pixels::new(&[0.5, 0.4, 0.3], &[0.2, 0.25, 0.3]));
    assert_eq!(network.card.side, Some(32));
}

#[test]
fn files_from_keras_are_read_with_channels_last_and_first_and_sides_of_any_parity() {
    for file in ["keras.onnx", "keras_nchw.onnx"] {
        for name in ["keras0", "keras1"] {
            answers(file, &Ends::default(), ("keras", name));
        }
    }
    let network = load("own/keras.onnx", &Ends::default());
    assert_eq!((network.structure.behind_logits(), network.class_count()), (Some("softmax"), 10));
}

/// Weights in a file of their own that describes the network too.
fn kept(file: &str, ends: &Ends) -> (Network, Network) {
    let network = load(file, ends);
    let text = network.structure.description().expect("short").expect("a file has described it");
    let name = network.structure.name().to_owned();
    let words = BTreeMap::from([(PROGRAM.to_owned(), text), ("network".to_owned(), name)]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("kept.safetensors");
    write(&out, &network.weights(device()).expect("weights"), &words, Precision::F32).expect("written");
    let (structure, checkpoint) =
        Structure::read(Checkpoint::open(&out).expect("a good file")).expect("read").expect("it describes its network");
    let again = Network::load(device(), &structure, &checkpoint, "again").expect("loads");
    (network, again)
}

#[test]
fn weights_kept_with_their_network_answer_to_the_bit() {
    let nothing = Ends::default();
    let two = output("1");
    let files: [(&str, &Ends, usize); 12] = [
        ("own/kept.pt2", &nothing, 32),
        ("own/kept.ts.onnx", &nothing, 32),
        ("own/two.pt2", &two, 32),
        ("own/free.onnx", &nothing, 40),
        ("own/keras.onnx", &nothing, 33),
        ("own/softmax.onnx", &nothing, 32),
        ("imported/resnet.onnx", &nothing, 64),
        ("imported/convnext.ts.onnx", &nothing, 64),
        ("imported/shufflenet_v2_x0_5.ts.onnx", &nothing, 64),
        ("imported/efficientnet.pt2", &nothing, 64),
        ("imported/densenet.onnx", &nothing, 64),
        ("imported/alexnet.onnx", &nothing, 224),
    ];
    for (file, ends, side) in files {
        let (first, second) = kept(file, ends);
        assert_eq!(first.structure.name(), second.structure.name());
        assert_eq!(first.structure.behind_logits(), second.structure.behind_logits(), "{file}");
        let picture =
            Array::new(Shape::new(1, 3, side, side), (0..3 * side * side).map(|k| (k % 251) as f32 / 251.0).collect());
        let [one, two] = [&first, &second].map(|network| logits_of(network, &picture).expect("runs"));
        assert_eq!(one, two, "{file}");
        // And once more from there.
        let again = second.structure.description().expect("short").expect("described");
        assert_eq!(Some(again), first.structure.description().expect("short"), "{file}");
    }
}

#[test]
fn kept_networks_that_are_damaged_or_lack_tensors_say_so() {
    let network = load("own/kept.pt2", &Ends::default());
    let text = network.structure.description().expect("short").expect("described");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("kept.safetensors");
    let refused = |arrays: &[NamedArray], text: &str| {
        write(&out, arrays, &BTreeMap::from([(PROGRAM.to_owned(), text.to_owned())]), Precision::F32).expect("written");
        let read = Checkpoint::open(&out).and_then(Structure::read);
        let (structure, checkpoint) = match read {
            Err(error) => return error.to_string(),
            Ok(read) => read.expect("it describes its network"),
        };
        match Network::load(device(), &structure, &checkpoint, "damaged") {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it loads"),
        }
    };
    let arrays = network.weights(device()).expect("weights");
    let said = refused(&arrays[1..], &text);
    assert!(said.contains(&format!("missing: {}", arrays[0].name)), "{said}");
    let said = refused(&arrays, &text[..text.len() - 2]);
    assert!(said.contains("kept.safetensors: the network that its metadata describe is damaged"), "{said}");
    let said = refused(&arrays, &text.replace("aten.conv2d.default", "aten.conv9d.default"));
    assert!(said.contains("aten.conv9d.default (2 times, first in stem) is not supported"), "{said}");
}
