//! The committed demo networks: the files are the ones that `weights/README.md` names, and they can be read.

use std::path::Path;

use entoptic::classes::ClassList;
use entoptic::weights::{Checkpoint, demos};

/// Each file with the number of its tensors.
const FILES: [(&str, usize); 4] = [
    ("demo-resnet50.safetensors", 267),
    ("demo-googlenet.safetensors", 287),
    ("demo-inception_v3.safetensors", 472),
    ("demo-resnet50-plain.safetensors", 267),
];

/// All of them together.
const MOST_BYTES: usize = 12_000_000;

fn demo(file: &str) -> Checkpoint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(file);
    Checkpoint::open(&path).expect("a demo file")
}

#[test]
fn checksums_and_sizes_are_those_of_the_readme() {
    let readme = include_str!("../weights/README.md");
    for (file, tensors) in FILES {
        let checkpoint = demo(file);
        assert!(readme.contains(&checkpoint.sha256()), "{file}: {}", checkpoint.sha256());
        assert_eq!(checkpoint.names().count(), tensors, "{file}");
    }
}

#[test]
fn every_tensor_is_finite_and_every_variance_positive() {
    for (file, _) in FILES {
        let checkpoint = demo(file);
        for name in checkpoint.names() {
            let values = checkpoint.read(name).expect("finite numbers");
            assert!(!name.ends_with("running_var") || values.iter().all(|v| *v > 0.0), "{file}: {name}");
            assert!(!name.ends_with("num_batches_tracked"), "{file}: {name}");
        }
    }
}

#[test]
fn the_files_are_those_in_the_program_and_small() {
    let named: Vec<String> = demos().map(|name| format!("demo-{name}.safetensors")).collect();
    assert_eq!(named, FILES.map(|(file, _)| file));
    let bytes: usize = FILES.iter().map(|(file, _)| demo(file).size()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes}");
}

#[test]
fn all_networks_know_the_same_ten_classes() {
    let lists = FILES.map(|(file, _)| ClassList::of_checkpoint(&demo(file), 10).expect("ten classes"));
    assert!(lists.iter().all(|list| *list == lists[0]));
    assert_eq!(lists[0].find("church").expect("a class"), 4);
    assert_eq!(lists[0].find("n03394916").expect("French horn"), 5);
}
