//! Families of networks, each in one file that describes its members plainly. A new family is a file here and a line in
//! `families`.
//!
//! **Reference** torchvision's `models`: names of networks, of layers and of tensors are its own, letter for letter.

mod alexnet;
mod densenet;
mod googlenet;
mod inception_v3;
mod regnet;
mod resnet;
mod squeezenet;
mod vgg;

use std::str::FromStr;
use std::sync::LazyLock;

use super::structure::Structure;

/// The networks whose structure is known, by torchvision's names.
static ZOO: LazyLock<Vec<Structure>> = LazyLock::new(families);

/// Every network of every family.
fn families() -> Vec<Structure> {
    [
        resnet::family(),
        googlenet::family(),
        inception_v3::family(),
        vgg::family(),
        alexnet::family(),
        squeezenet::family(),
        densenet::family(),
        regnet::family(),
    ]
    .concat()
}

impl Structure {
    /// Every network whose structure is known.
    pub fn all() -> &'static [Structure] {
        &ZOO
    }
}

impl FromStr for Structure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Structure::all().iter().find(|structure| structure.name() == name);
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = Structure::all().iter().map(Structure::name).collect();
            format!("no network is called \"{name}\"; there are: {}", known.join(", "))
        })
    }
}
