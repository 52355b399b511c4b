//! Families of networks, each in one file that describes its members plainly. A new family is a file here and a line in
//! [`families`].
//!
//! **Reference** torchvision's `models`: names of networks, of layers and of tensors are its own, letter for letter.

mod alexnet;
mod densenet;
mod googlenet;
mod inception_v3;
mod resnet;
mod squeezenet;
mod vgg;

use super::structure::Structure;

/// Every network of every family.
pub(super) fn families() -> Vec<Structure> {
    [
        resnet::family(),
        googlenet::family(),
        inception_v3::family(),
        vgg::family(),
        alexnet::family(),
        squeezenet::family(),
        densenet::family(),
    ]
    .concat()
}
