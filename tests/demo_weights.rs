//! The committed demo networks: the files are the ones that `weights/README.md` names, and they can be read.

use std::path::Path;

use entoptic::classes::ClassList;
use entoptic::weights::Checkpoint;

fn demo(file: &str) -> Checkpoint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(file);
    Checkpoint::open(&path).expect("a demo file")
}

#[test]
fn checksums_and_sizes_are_those_of_the_readme() {
    let readme = include_str!("../weights/README.md");
    for (file, tensors) in [("demo-resnet50.safetensors", 267), ("demo-googlenet.safetensors", 287)] {
        let checkpoint = demo(file);
        assert!(readme.contains(&checkpoint.sha256()), "{file}: {}", checkpoint.sha256());
        assert_eq!(checkpoint.names().count(), tensors, "{file}");
    }
}

#[test]
fn every_tensor_is_finite_and_every_variance_positive() {
    for file in ["demo-resnet50.safetensors", "demo-googlenet.safetensors"] {
        let checkpoint = demo(file);
        for name in checkpoint.names() {
            let values = checkpoint.read(name).expect("finite numbers");
            assert!(!name.ends_with("running_var") || values.iter().all(|v| *v > 0.0), "{file}: {name}");
            assert!(!name.ends_with("num_batches_tracked"), "{file}: {name}");
        }
    }
}

#[test]
fn both_networks_know_the_same_ten_classes() {
    let [resnet, googlenet] = ["demo-resnet50.safetensors", "demo-googlenet.safetensors"]
        .map(|file| ClassList::of_checkpoint(&demo(file), 10).expect("ten classes"));
    assert_eq!(resnet, googlenet);
    assert_eq!(resnet.find("church").expect("a class"), 4);
    assert_eq!(resnet.find("n03394916").expect("French horn"), 5);
}
