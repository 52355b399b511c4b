//! The program on networks that files describe.

// Compiled into each test program, of which each uses a part.
mod common;

use std::path::Path;
use std::process::Command;

use common::desk::Desk;
use common::fixture::path;
use entoptic::nets::Structure;
use entoptic::picture;
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};

/// What the program prints on both channels; it must succeed.
fn run(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).current_dir(folder).args(words);
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

fn file(name: &str) -> String {
    path(&format!("imported/{name}")).display().to_string()
}

#[test]
fn layers_are_listed_by_the_paths_of_modules_in_every_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for form in ["pt2", "ts.onnx", "onnx"] {
        let text = run(folder.path(), &["layers", "--weights", &file(&format!("resnet.{form}"))]);
        for line in ["conv1 ", "layer1.0.conv2 ", "layer1.0 ", "layer4 ", "fc "] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{form}: {line}: {text}");
        }
        assert!(text.contains("2 x 1 x 1") || text.contains("10 x 1 x 1"), "{text}");
    }
}

#[test]
fn pictures_are_made_looked_at_and_made_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names: Vec<String> = (0..10).map(|index| format!("thing {index}, or so")).collect();
    std::fs::write(folder.path().join("names.txt"), names.join("\n")).expect("written");
    let recipe = "name = \"short\"\ndescription = \"three steps\"\nnormalize = \"imagenet\"\n\n[init]\nkind = \"normal\"\nsize = 64\nmean = 0.5\nstd = 0.05\n\n[[stage]]\niterations = 3\nrate = [0.05, 0.05]\n\
                  step = \"normalized\"\nsigma = [0.5, 0.5]\n";
    std::fs::write(folder.path().join("short.toml"), recipe).expect("written");
    // With its weights in another file, which the picture's checksum covers.
    let net = file("resnet.onnx");
    let given = ["--weights", &net, "--class-names", "names.txt"];
    let made =
        ["generate", "--weights", &net, "--class", "3", "--recipe", "short.toml", "--seed", "1", "--out", "a.png"];
    run(folder.path(), &made);
    let text = run(folder.path(), &[&["outputs", "--image", "a.png"][..], &given].concat());
    assert!(text.contains("thing 3, or so"), "{text}");
    run(folder.path(), &["replay", "a.png", "--weights", &net, "--out", "b.png"]);
    let [a, b] = ["a.png", "b.png"].map(|name| std::fs::read(folder.path().join(name)).expect("a picture"));
    assert!(a == b, "the same bytes again");
    run(
        folder.path(),
        &["gradient", "--weights", &net, "--image", "a.png", "--objective", "class:3", "--out", "g.png"],
    );
    run(folder.path(), &["weights", "verify", &net]);
    let text = run(folder.path(), &["weights", "inspect", &net]);
    assert!(text.contains("layer1.0.conv1.weight"), "{text}");
}

fn own(name: &str) -> String {
    path(&format!("own/{name}")).display().to_string()
}

/// A folder with a recipe of three steps at this side, and a photograph.
fn desk(side: u32) -> Desk {
    let desk = Desk::new();
    desk.recipe("short.toml", 3, side);
    desk.picture("photo.png", 1, 40, None);
    desk
}

/// Makes a picture again, to the same bytes.
#[track_caller]
fn again(desk: &Desk, made: &str, net: &str) {
    desk.good(&format!("replay {made} --weights {net} --image photo.png --out again.png"));
    let [first, second] = [made, "again.png"].map(|name| std::fs::read(desk.path(name)).expect("a picture"));
    assert!(first == second, "{made}: the same bytes again");
}

#[test]
fn every_command_that_makes_pictures_works_on_a_network_of_a_file() {
    let desk = desk(32);
    let (net, other) = (own("kept.pt2"), own("softmax.onnx"));
    let recipe = "--recipe short.toml";
    let names = (0..10).map(|index| format!("thing {index}")).collect::<Vec<_>>().join("\n");
    std::fs::write(desk.path("names.txt"), names).expect("written");
    for command in [
        format!("generate -w {net} --class thing_3 {recipe} --out a.png"),
        format!("feature -w {net} --layer conv --channel 2 {recipe} --out b.png"),
        format!("dream -w {net} --layer stem --image photo.png {recipe} --out c.png"),
        format!("match -w {net} --image photo.png {recipe} --out d.png"),
        format!("opposite -w {net} --class 3 {recipe} --out e.png"),
    ] {
        desk.good(&command);
        again(&desk, command.rsplit(' ').next().expect("a name"), &net);
    }
    // Two files, of which the second has its names from a list.
    assert!(
        desk.refused(&format!("difference -m {net} --minus {other} --class 3 {recipe}")).contains("different classes")
    );
    desk.good(&format!("generate -w {net} -w {other} --class-names names.txt --class thing_3 {recipe} --out f.png"));
    let both = format!("--weights {net} --weights {other}");
    assert!(desk.good(&format!("verify f.png {both}")).contains("comes out the same, bit by bit"));
    desk.good(&format!("gallery -w {net} --classes 2-3 {recipe} --batch 2 --out all"));
    assert!(desk.path("all/0003-thing-3.png").is_file(), "{:?}", common::desk::files(&desk.path("all"), ".png").keys());
}

#[test]
fn networks_of_files_can_be_told_from_each_other() {
    let desk = desk(32);
    let net = own("kept.ts.onnx");
    let tuned = own("kept.pt2");
    desk.good(&format!(
        "train --student {tuned} --teacher {net} --images photo.png --size 32 --steps 2 --out tuned.safetensors"
    ));
    desk.good("weights verify tuned.safetensors");
    let said = desk.good("weights inspect tuned.safetensors");
    assert!(said.contains("network: kept, width") && said.contains("stem_norm.running_mean"), "{said}");
    for command in [
        "outputs -w tuned.safetensors --image photo.png",
        "generate -w tuned.safetensors --class 3 --recipe short.toml --out t.png",
        "gradient -w tuned.safetensors --image photo.png --objective class:3 --out g.safetensors",
        "layers -w tuned.safetensors",
        "weights convert tuned.safetensors half.safetensors --f16",
        "outputs -w half.safetensors --image photo.png",
    ] {
        desk.good(command);
    }
    again(&desk, "t.png", "tuned.safetensors");
    // What training has changed.
    desk.good(&format!("difference -m tuned.safetensors --minus {tuned} --class 3 --recipe short.toml --out d.png"));
    let both = format!("--weights tuned.safetensors --weights {tuned}");
    desk.good(&format!("verify d.png {both}"));
}

#[test]
fn every_command_that_judges_works_on_a_network_of_a_file() {
    let desk = desk(32);
    let net = own("kept.pt2");
    for (folder, seed) in [("one", 1), ("two", 4)] {
        for (index, class) in ["thing-3", "thing-4"].iter().enumerate() {
            desk.picture(&format!("{folder}/{class}.png"), seed + index as u64, 40, None);
        }
    }
    for command in [
        format!("outputs -w {net} --image photo.png --layer norm --out o.safetensors"),
        format!("gradient -w {net} --image photo.png --objective class:thing_3 --out g.png"),
        format!("score one -j {net} --class thing_3"),
        format!("compare -w {net} --pictures one two --axes conv:0,3 --out report"),
        format!("layers -w {net} --layer fc"),
        format!("doctor --network {net}"),
        format!("weights verify {net}"),
    ] {
        desk.good(&command);
    }
    assert!(desk.path("report/index.html").is_file());
    // The folders of labelled photographs are called after classes.
    for class in ["thing 3", "thing 4"] {
        desk.picture(&format!("val/{class}/p.png"), 3, 40, None);
    }
    let said = desk.good(&format!("accuracy -w {net} --data val"));
    assert!(said.contains("kept.pt2") && said.contains("   32 "), "{said}");
}

#[test]
fn a_network_of_a_file_is_trained_with_the_statistics_of_batches_and_gets_a_new_last_layer() {
    let desk = desk(32);
    for (index, class) in ["cat", "dog"].iter().enumerate() {
        for picture in 0..2 {
            for part in ["train", "val"] {
                desk.picture(&format!("data/{part}/{class}/{picture}.png"), (10 * index + picture) as u64, 40, None);
            }
        }
    }
    let statistics = |file: &Path| {
        let checkpoint = Checkpoint::open(file).expect("a good file");
        let (_, checkpoint) = Structure::read(checkpoint).expect("read").expect("it describes its network");
        (checkpoint.read("stem_norm.running_mean").expect("a batch norm"), checkpoint.metadata().clone())
    };
    for form in ["kept.pt2", "kept.ts.onnx"] {
        let net = own(form);
        desk.good(&format!("train --student {net} --data data --batch 2 --steps 2 --size 32 --out new.safetensors"));
        let (before, _) = statistics(Path::new(&net));
        let (after, words) = statistics(&desk.path("new.safetensors"));
        assert!(before != after, "{form}: statistics are those of the batches");
        assert_eq!(words["classes"], "cat,dog");
        let said = desk.good("outputs -w new.safetensors --image photo.png");
        assert!(said.lines().count() == 2 && said.contains("dog"), "{said}");
        desk.good("generate -w new.safetensors --class dog --recipe short.toml --out dog.png");
        again(&desk, "dog.png", "new.safetensors");
        // What was written can be trained in its turn.
        desk.good("train -w new.safetensors --data data --batch 2 --steps 1 --size 32 --out newer.safetensors");
    }
    let folded = own("two.onnx");
    let output = desk.run(&format!(
        "train --student {folded} --output logits --data data --batch 2 --steps 1 --size 32 --out folded.safetensors"
    ));
    let said = common::desk::text(&output.stderr);
    assert!(
        output.status.success() && said.contains("its exporter has folded 2 batch norms into convolutions"),
        "{said}"
    );
}

#[test]
fn a_network_of_grey_pictures_makes_grey_ones_that_come_out_again() {
    let desk = desk(28);
    let net = own("grey.pt2");
    let waves = "name = \"waves\"\ndescription = \"\"\nnormalize = \"imagenet\"\n[init]\nkind = \"spectral\"\nsize = 28\nmean = 0.5\n\
                 std = 0.1\ndecay = 1.0\n[parametrisation]\nbasis = \"fourier\"\ncolour = \"decorrelated\"\nrange = \"sigmoid\"\n[[stage]]\n\
                 iterations = 3\nrate = [0.1, 0.05]\nstep = \"adam\"\n";
    std::fs::write(desk.path("waves.toml"), waves).expect("a recipe");
    for command in [
        "generate --recipe short.toml --class 3 --out a.png",
        "dream --recipe short.toml --layer stem --image photo.png --out b.png",
        "generate --recipe waves.toml --class 3 --out c.png",
    ] {
        desk.good(&format!("{command} -w {net} --mean 0.5 --std 0.25"));
        let made = command.rsplit(' ').next().expect("a name");
        let picture = picture::read(&desk.path(made)).expect("a picture");
        assert_eq!(picture::grey(&picture), picture, "{made}: all three colours are the same");
        again(&desk, made, &net);
    }
    // Without a recipe it is made as large as the pictures that the file was made for.
    desk.good(&format!("generate -w {net} --class 3 --out small.png --recipe demo-quick"));
    let shape = picture::read(&desk.path("small.png")).expect("a picture").shape;
    assert_eq!([shape.h(), shape.w()], [28, 28]);
}

#[test]
fn a_network_of_other_channels_is_looked_at_and_makes_no_pictures() {
    let desk = desk(24);
    let net = own("four.ts.onnx");
    let image = NamedArray { name: "image".into(), shape: vec![1, 4, 24, 20], values: vec![0.5; 4 * 24 * 20] };
    write(&desk.path("four.safetensors"), &[image], &Default::default(), Precision::F32).expect("written");
    desk.good(&format!("outputs -w {net} --image four.safetensors --out o.safetensors"));
    desk.good(&format!("outputs -w {net} --image four.safetensors --size 24 --layer conv --out o.safetensors"));
    desk.good(&format!("gradient -w {net} --image four.safetensors --objective class:3 --out g.safetensors"));
    let gradient = Checkpoint::open(&desk.path("g.safetensors")).expect("a good file");
    assert_eq!(gradient.shape("gradient"), Some(&[1, 4, 24, 20][..]));
    let said = desk.refused(&format!("gradient -w {net} --image four.safetensors --objective class:3 --out g.png"));
    assert!(said.contains("a gradient of 4 channels is no picture"), "{said}");
    let said = desk.refused(&format!("outputs -w {net} --mean 0.5 --image four.safetensors"));
    assert!(said.contains("takes values of 4 channels, which are given as they are"), "{said}");
    for command in ["generate --class 3 --recipe short.toml", "outputs --image photo.png"] {
        let said = desk.refused(&format!("{command} -w {net}"));
        assert!(said.contains("takes 4 channels, and is given 3; pictures are made of 3, or 1"), "{said}");
    }
}

#[test]
fn a_network_of_one_side_makes_pictures_of_it_without_being_told() {
    let desk = Desk::new();
    desk.picture("photo.png", 1, 40, None);
    let net = own("fixed.pt2");
    for command in ["generate --class 3", "match --image photo.png"] {
        desk.good(&format!("{command} -w {net} --recipe demo-quick --out x.png"));
        let shape = picture::read(&desk.path("x.png")).expect("a picture").shape;
        assert_eq!([shape.h(), shape.w()], [28, 28], "{command}");
    }
    let said = desk.refused(&format!("outputs -w {net} --image photo.png"));
    assert!(said.contains("this network takes pictures of 28 x 28: its layer fc expects 7 x 7 pixels"), "{said}");
    desk.good(&format!("generate -w {} --class 3 --size 48 --recipe demo-quick --out y.png", own("free.onnx")));
    let shape = picture::read(&desk.path("y.png")).expect("a picture").shape;
    assert_eq!([shape.h(), shape.w()], [48, 48]);
}

#[test]
fn what_a_file_does_not_say_of_pixels_is_told_or_guessed_in_one_line() {
    let desk = desk(32);
    let said = |arguments: &str| {
        let output = desk.run(&format!("outputs --image photo.png {arguments}"));
        assert!(output.status.success(), "{}", common::desk::text(&output.stderr));
        common::desk::text(&output.stderr)
    };
    let about = |said: &str| said.lines().filter(|line| line.starts_with("  pixel values")).count();
    let guessed = said(&format!("-w {}", own("softmax.onnx")));
    assert!(guessed.contains("pixel values normalised as ImageNet's: a guess, for its file says nothing"), "{guessed}");
    assert!(guessed.contains("logits: the values before the softmax at the end"), "{guessed}");
    let told = said(&format!("-w {} --mean 0.5 --std 0.2,0.3,0.4", own("softmax.onnx")));
    assert!(told.contains("as asked for: mean 0.5, 0.5, 0.5, standard deviation 0.2, 0.3, 0.4"), "{told}");
    let file = said(&format!("-w {}", own("kept.pt2")));
    assert!(file.contains("as the checkpoint says: mean 0.5, 0.4, 0.3"), "{file}");
    let grey = said(&format!("-w {}", own("grey.pt2")));
    assert!(grey.contains("pixel values as they are, from 0 to 1: a guess"), "{grey}");
    assert_eq!([&guessed, &told, &file, &grey].map(|said| about(said)), [1; 4]);
    let output = desk.run(&format!("outputs --image photo.png -w {} --mean 123.7", own("kept.pt2")));
    assert_eq!(output.status.code(), Some(2));
    assert!(common::desk::text(&output.stderr).contains("divide those for 0 to 255 by 255"));
    // A network that was told is made with these numbers, and made again with them.
    let net = own("softmax.onnx");
    desk.good(&format!("generate -w {net} --mean 0.1 --std 0.5 --class 3 --recipe short.toml --out a.png"));
    again(&desk, "a.png", &net);
    desk.good(&format!("generate -w {net} --class 3 --recipe short.toml --out b.png"));
    let [a, b] = ["a.png", "b.png"].map(|name| picture::read(&desk.path(name)).expect("a picture"));
    assert_ne!(a, b, "other pixel values give another picture");
}

#[test]
fn an_output_that_was_chosen_is_chosen_again() {
    let desk = desk(32);
    let net = own("two.onnx");
    let said = desk.refused(&format!("generate -w {net} --class 1"));
    assert!(said.contains("it has 3 outputs (logits, aux, features); choose one with --output"), "{said}");
    desk.good(&format!("generate -w {net} --output aux --class 1 --recipe short.toml --out a.png"));
    again(&desk, "a.png", &net);
    desk.good(&format!("weights inspect {net} --output 0"));
    let said = desk.refused("outputs -m resnet50 --output aux --image photo.png");
    assert!(said.contains("--input and --output belong to a file that describes its network"), "{said}");
}

#[test]
fn a_picture_of_a_class_that_the_user_has_named_is_made_again_without_the_names() {
    let desk = desk(32);
    let net = own("softmax.pt2");
    let names = (0..10).map(|index| format!("beast {index}, or so")).collect::<Vec<_>>().join("\n");
    std::fs::write(desk.path("names.txt"), names).expect("written");
    desk.good(&format!("generate -w {net} --class-names names.txt --class beast_3 --recipe short.toml --out a.png"));
    again(&desk, "a.png", &net);
    let said = desk.good(&format!("verify a.png --weights {net}"));
    assert!(said.contains("comes out the same, bit by bit"), "{said}");
    let text = picture::read_metadata(&desk.path("a.png")).expect("texts")["entoptic:run"].clone();
    assert!(text.contains("\"name\":\"beast 3, or so\"") && text.contains("\"renamed\":true"), "{text}");
}
