//! Pictures of all sorts from outside: what is read, what is no picture, folders in which there is more than pictures.

mod common;

use std::fs;

use common::desk::{Desk, text};
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{NamedArray, Precision, write};
use serde_json::Value;

#[test]
fn every_format_that_is_read_gives_the_same_answer() {
    let desk = Desk::new();
    desk.picture("a.png", 1, 64, None);
    let expected = desk.good("outputs -m resnet50 --image a.png");
    let pixels = image::open(desk.path("a.png")).expect("a picture");
    for (name, lossless) in [("a.webp", true), ("a.tiff", true), ("a.bmp", true), ("a.gif", false)] {
        pixels.save(desk.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = desk.good(&format!("outputs -m resnet50 --image {name}"));
        assert!(found == expected || !lossless, "{name}: {found}{expected}");
    }
    // What follows the command takes them too.
    desk.recipe("tiny.toml", 1, 32);
    desk.good("generate -m resnet50 --class church --recipe tiny.toml --init a.webp --out x.png");
    desk.good("score a.bmp a.gif --judge resnet50 --class church");
}

#[test]
fn files_that_are_no_picture_are_named() {
    let desk = Desk::new();
    for (bytes, words) in [
        (&b""[..], "file is empty; download it again"),
        (b"<!DOCTYPE html><html>403</html>", "is a web page, so the download failed; download it again"),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer to a file in Git LFS; run `git lfs pull`"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photograph"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "is an AVIF picture"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0", "is a JPEG 2000 picture"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBIP\0 \x02", "is a PNG from the inside of an iPhone app"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "is what a Mac keeps about a file (AppleDouble)"),
    ] {
        fs::write(desk.path("a.jpg"), bytes).expect("written");
        for command in ["outputs", "gradient --objective class:8 --out g.png", "match --out x.png"] {
            let said = desk.refused(&format!("{command} -m resnet50 --image a.jpg"));
            assert!(said.contains("a.jpg: ") && said.contains(words), "{command}: {said}");
        }
    }
}

#[test]
fn values_that_are_no_pixels_are_warned_of() {
    let desk = Desk::new();
    let put = |name: &str, scale: f32, shift: f32| {
        let count = 3 * 64 * 64;
        let values = (0..count).map(|k| (k as f32 * 0.618) % 1.0 * scale + shift).collect();
        let array = NamedArray { name: "image".into(), shape: vec![1, 3, 64, 64], values };
        write(&desk.path(name), &[array], &Default::default(), Precision::F32).expect("written");
    };
    put("good.safetensors", 1.0, 0.0);
    put("bytes.safetensors", 255.0, 0.0);
    put("normalised.safetensors", 4.7, -2.1);
    desk.recipe("tiny.toml", 1, 32);
    let warned = |ask: &str| {
        let output = desk.run(ask);
        assert!(output.status.success(), "{ask}: {}", text(&output.stderr));
        let said = text(&output.stderr);
        said.lines().find(|line| line.contains("its values go from")).map(str::to_owned)
    };
    for command in [
        "outputs -m resnet50 --image FILE",
        "gradient -m resnet50 --objective class:8 --out g.png --image FILE",
        "match -m resnet50 --recipe tiny.toml --out x.png --image FILE",
        "generate -m resnet50 --class church --recipe tiny.toml --out x.png --init FILE",
    ] {
        let ask = |file: &str, more: &str| warned(&format!("{}{more}", command.replace("FILE", file)));
        assert_eq!(ask("good.safetensors", ""), None, "{command}");
        let said = ask("bytes.safetensors", "").expect("a warning");
        assert!(said.starts_with("warning: bytes.safetensors: its values go from 0 to 25"), "{said}");
        assert!(said.ends_with("those of a picture from 0 to 1; divide them by 255 if they are bytes"), "{said}");
        assert!(ask("bytes.safetensors", " --normalize source").is_some(), "{command}");
        let said = ask("normalised.safetensors", "").expect("a warning");
        assert!(said.ends_with("--normalize source takes values that have been normalised"), "{said}");
        assert_eq!(ask("normalised.safetensors", " --normalize source"), None, "{command}");
    }
    // Pictures that are judged and compared are cut off at 0 and 1, as a file of bytes would do it.
    for command in [
        "score --judge resnet50 --class church FILE",
        "compare -m resnet50 --out report --pictures FILE",
        "train --student googlenet --teacher resnet50 --steps 1 --out s.safetensors --images FILE",
    ] {
        for name in ["good", "bytes"] {
            let file = format!("church-{name}.safetensors");
            fs::copy(desk.path(&format!("{name}.safetensors")), desk.path(&file)).expect("copied");
            let said = warned(&command.replace("FILE", &file));
            assert_eq!(said.is_some(), name == "bytes", "{command}: {said:?}");
        }
    }

    // Bytes are the pixels of the same picture.
    desk.picture("a.png", 1, 64, None);
    let bytes = picture::rgb(&picture::read(&desk.path("a.png")).expect("a picture"));
    let planes: Vec<u8> = (0..3).flat_map(|c| bytes.iter().copied().skip(c).step_by(3)).collect();
    let header =
        format!("{{\"image\":{{\"dtype\":\"U8\",\"shape\":[1,3,64,64],\"data_offsets\":[0,{}]}}}}", planes.len());
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &planes].concat();
    fs::write(desk.path("u8.safetensors"), file).expect("written");
    let found = desk.good("outputs -m resnet50 --image u8.safetensors");
    assert_eq!(found, desk.good("outputs -m resnet50 --image a.png"));
    // A pixel is no weight.
    let nan = Array::filled(Shape::new(1, 3, 8, 8), f32::NAN);
    let header = "{\"image\":{\"dtype\":\"F32\",\"shape\":[1,3,8,8],\"data_offsets\":[0,768]}}";
    let values = nan.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let file = [(header.len() as u64).to_le_bytes().to_vec(), header.into(), values].concat();
    fs::write(desk.path("nan.safetensors"), file).expect("written");
    let said = desk.refused("outputs -m resnet50 --image nan.safetensors");
    assert!(said.contains("channel 0, row 0, column 0; every pixel must be a finite number"), "{said}");
}

#[test]
fn what_is_no_picture_in_a_folder_is_skipped_and_counted() {
    let desk = Desk::new();
    let classes = ["church", "tench"];
    for folder in ["clean", "mixed"] {
        for (k, class) in classes.into_iter().enumerate() {
            for n in 0..3 {
                desk.picture(&format!("{folder}/{class}/{n}.png"), (3 * k + n) as u64, 40, None);
            }
        }
    }
    for file in ["mixed/__MACOSX/._x", "mixed/church/._0.png", "mixed/.DS_Store", "mixed/tench/words.txt"] {
        let path = desk.path(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "\0\x05\x16\x07").expect("written");
    }
    fs::create_dir(desk.path("mixed/.git")).expect("made");
    fs::write(desk.path("mixed/church/broken.png"), "\x7fELF").expect("written");
    let whole = fs::read(desk.path("mixed/tench/0.png")).expect("a picture");
    fs::write(desk.path("mixed/tench/half.png"), &whole[..whole.len() / 2]).expect("written");

    let json = |folder: &str, more: &str| -> Value {
        let said = desk.good(&format!("accuracy -m resnet50 --data {folder} --size 40 --json{more}"));
        serde_json::from_str(&said).expect("JSON")
    };
    for more in ["", " --batch 2", " --attack-eps 0.1"] {
        let (clean, mixed) = (json("clean", more), json("mixed", more));
        // Other neighbours in a batch give an attack another start.
        if more != " --attack-eps 0.1" {
            assert_eq!(clean["networks"], mixed["networks"], "{more}");
        }
        assert_eq!(mixed["networks"][0]["photographs"], 6, "{more}");
        assert_eq!(mixed["skipped"]["others"], 5, "{more}");
        assert_eq!(mixed["skipped"]["broken"].as_array().map(Vec::len), Some(2), "{more}");
        assert_eq!((&clean["skipped"]["others"], &clean["skipped"]["broken"]), (&0.into(), &Value::Array(vec![])));
    }
    for (ask, broken) in [
        ("accuracy -m resnet50 --data mixed --size 40", "skipped 2 pictures that cannot be read"),
        ("score mixed --judge resnet50", "skipped 2 pictures that cannot be read"),
        ("score --photographs mixed", "skipped 2 pictures that cannot be read"),
        ("compare -m resnet50 --pictures mixed --out report", "skipped 2 of 8 pictures"),
    ] {
        let output = desk.run(ask);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains(broken), "{ask}: {said}");
        assert!(said.contains("skipped 5 files of mixed that are no pictures, or hidden"), "{ask}: {said}");
    }
    let train = "train --student resnet50 --teacher resnet50 --steps 1 --size 40 --out s.safetensors --images";
    let said = text(&desk.run(&format!("{train} mixed/church")).stderr);
    assert!(said.contains("skipped 1 picture that cannot be read: mixed/church/broken.png: "), "{said}");
    assert!(said.contains("skipped 1 file of mixed/church that is no picture, or hidden"), "{said}");
    // One that the user names must be good, and none at all is no answer.
    assert!(desk.refused("score mixed/church/broken.png --judge resnet50").contains("broken.png: "));
    for class in classes {
        fs::create_dir_all(desk.path(&format!("bad/{class}"))).expect("made");
        fs::write(desk.path(&format!("bad/{class}/a.jpg")), "").expect("written");
    }
    let said = desk.refused("accuracy -m resnet50 --data bad");
    assert!(said.contains("none of 2 photographs can be read: ") && said.contains("file is empty"), "{said}");
}

/// Writes a picture of another shape than a square.
fn oblong(desk: &Desk, name: &str, h: usize, w: usize) {
    let values = (0..3 * h * w).map(|k| (k as f32 * 0.618) % 1.0).collect();
    picture::write_png(&desk.path(name), &Array::new(Shape::new(1, 3, h, w), values), &[]).expect("written");
}

/// Height and width of a picture in the folder.
fn extent(desk: &Desk, name: &str) -> [usize; 2] {
    let shape = picture::read(&desk.path(name)).expect("a picture").shape;
    [shape.h(), shape.w()]
}

#[test]
fn a_photograph_keeps_its_shape_in_every_command_that_starts_from_one() {
    let desk = Desk::new();
    oblong(&desk, "wide.png", 45, 100);
    oblong(&desk, "high.png", 100, 45);
    desk.recipe("tiny.toml", 2, 32);
    for command in [
        "dream --layer layer2 --image FILE",
        "feature --layer layer2 --init FILE",
        "generate --class church --init FILE",
        "opposite --class church --init FILE",
        "merge --class church --class tench --init FILE",
        "blend --from church --to tench --film film.gif --init FILE",
        "match --image FILE --init FILE",
    ] {
        for (file, expected) in [("wide.png", [32, 71]), ("high.png", [71, 32])] {
            let command = command.replace("FILE", file);
            desk.good(&format!("{command} -m resnet50 --recipe tiny.toml --out x.png"));
            assert_eq!(extent(&desk, "x.png"), expected, "{command}");
        }
    }
    // The film's frames have the shape of the picture, however large it was before.
    let film = image::open(desk.path("film.gif")).expect("a film");
    assert_eq!((film.height(), film.width()), (71, 32));
    // It is made again from what its file says, in its shape.
    desk.good("dream --layer layer2 --image wide.png -m resnet50 --recipe tiny.toml --out d.png");
    desk.good("verify d.png --image wide.png");
    // Windows of a stage go over all of it, and a square stays what it was.
    let tiny = fs::read_to_string(desk.path("tiny.toml")).expect("a recipe");
    fs::write(desk.path("crop.toml"), tiny.replace("iterations = 2", "iterations = 2\ncrop = 24\nsize = 40"))
        .expect("written");
    desk.good("dream --layer layer2 --image wide.png -m resnet50 --recipe crop.toml --out c.png");
    assert_eq!(extent(&desk, "c.png"), [40, 89]);
}

#[test]
fn a_picture_far_from_the_networks_side_is_warned_of_and_size_helps() {
    let desk = Desk::new();
    // One picture, and the same four times as large.
    desk.picture("small.png", 1, 112, None);
    let small = picture::read(&desk.path("small.png")).expect("a picture");
    picture::write_png(&desk.path("large.png"), &picture::resize(&small, [448, 448]), &[]).expect("written");
    let run = |ask: &str| {
        let output = desk.run(ask);
        assert!(output.status.success(), "{ask}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    for command in ["outputs --image FILE", "gradient --objective class:8 --out g.png --image FILE"] {
        let ask = |file: &str, more: &str| run(&format!("{}{more} -m resnet50", command.replace("FILE", file)));
        assert!(!ask("small.png", "").1.contains("--size"), "{command}");
        let said = ask("large.png", "").1;
        assert!(
            said.contains("warning: large.png: is 448 x 448 pixels, demo-resnet50 (built in) was trained with "),
            "{said}"
        );
        assert!(said.contains("its answer may be another at --size "), "{said}");
        assert!(!ask("large.png", " --size 112").1.contains("its answer"), "{command}");
    }
    let classes = |text: &str| text.lines().map(|line| line[20..].to_owned()).collect::<Vec<_>>();
    let [whole, back] =
        ["small.png", "large.png --size 112"].map(|file| run(&format!("outputs -m resnet50 --image {file}")).0);
    assert_eq!(classes(&whole)[0], classes(&back)[0]);
    // Of an oblong one the middle is looked at.
    oblong(&desk, "wide.png", 64, 200);
    let middle = picture::fit(&picture::read(&desk.path("wide.png")).expect("a picture"), 64);
    picture::write_png(&desk.path("middle.png"), &middle, &[]).expect("written");
    let [whole, part] =
        ["wide.png --size 64", "middle.png"].map(|file| run(&format!("outputs -m resnet50 --image {file}")).0);
    assert_eq!(whole, part);
}

/// Twelve megapixels, as a telephone takes them.
#[test]
fn a_large_photograph_is_looked_at_in_the_networks_size() {
    let desk = Desk::new();
    let colour = |x: u32, y: u32| image::Rgb([(x / 16) as u8, (y / 16) as u8, ((x + y) / 64) as u8]);
    image::RgbImage::from_fn(4000, 3000, colour).save(desk.path("large.jpg")).expect("written");
    desk.good("outputs -m resnet50 --image large.jpg --size 112");
    desk.good("gradient -m resnet50 --image large.jpg --size 112 --objective class:8 --out g.png");
    assert_eq!(extent(&desk, "g.png"), [112, 112]);
}

/// A window in which a network sees nothing is known before the first step.
#[test]
fn a_crop_that_is_too_small_is_found_out_before_the_first_stage() {
    let desk = Desk::new();
    desk.recipe("tiny.toml", 400, 64);
    let first = fs::read_to_string(desk.path("tiny.toml")).expect("a recipe");
    let second = "[[stage]]\niterations = 1\nrate = [0.1, 0.1]\nclamp = [0.0, 1.0]\ncrop = 1\n";
    fs::write(desk.path("two.toml"), format!("{first}{second}")).expect("written");
    let output = desk.run("generate -m googlenet --class church --recipe two.toml --out x.png");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("leaves no pixel after") && !said.contains("failed; the picture after"), "{said}");
    assert!(!desk.path("x.png").exists());
}
