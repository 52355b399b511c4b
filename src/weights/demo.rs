//! The small trained networks inside of the binary.

use super::Checkpoint;
use crate::Result;

// Not a constant, of which each use would put another copy into the program.
static NETWORKS: &[(&str, &[u8])] = &[
    ("resnet50", include_bytes!("../../weights/demo-resnet50.safetensors")),
    ("googlenet", include_bytes!("../../weights/demo-googlenet.safetensors")),
    ("inception_v3", include_bytes!("../../weights/demo-inception_v3.safetensors")),
    ("resnet50-plain", include_bytes!("../../weights/demo-resnet50-plain.safetensors")),
];

/// Names of the demo networks: an architecture's, with `-plain` behind it for the twin that was trained on plain photographs.
pub fn demos() -> impl Iterator<Item = &'static str> {
    NETWORKS.iter().map(|(name, _)| *name)
}

/// The demo network of a name, where there is one.
///
/// # Errors
/// None for the files of this repository.
pub fn demo(name: &str) -> Result<Option<Checkpoint>> {
    let found = NETWORKS.iter().find(|(other, _)| *other == name);
    found.map(|(name, bytes)| Checkpoint::embedded(&format!("demo-{name} (built in)"), bytes)).transpose()
}
