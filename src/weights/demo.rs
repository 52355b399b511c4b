//! The small trained networks inside of the binary.

use super::Checkpoint;
use crate::Result;

const NETWORKS: &[(&str, &[u8])] = &[
    ("resnet50", include_bytes!("../../weights/demo-resnet50.safetensors")),
    ("googlenet", include_bytes!("../../weights/demo-googlenet.safetensors")),
];

/// The demo network of an architecture, where there is one.
///
/// # Errors
/// None for the files of this repository.
pub fn demo(architecture: &str) -> Result<Option<Checkpoint>> {
    let found = NETWORKS.iter().find(|(name, _)| *name == architecture);
    found.map(|(name, bytes)| Checkpoint::embedded(&format!("demo-{name} (built in)"), bytes)).transpose()
}
