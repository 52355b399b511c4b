//! The engine for Python: what `python/entoptic` puts its words on.
//!
//! Here numbers and names go across; checks of what a user gives, goals as sums, pictures in notebooks are Python's part.

mod arrays;
mod errors;
mod making;
mod network;
mod picture;
mod session;
mod training;

use pyo3::prelude::*;

/// The compiled part of the package `entoptic`.
#[pymodule]
mod _entoptic {
    #[pymodule_export]
    use crate::making::{matched, render, replay, verify};
    #[pymodule_export]
    use crate::network::{Network, gradient, score};
    #[pymodule_export]
    use crate::picture::Picture;
    #[pymodule_export]
    use crate::session::{Session, adapters, read, recipes};
    #[pymodule_export]
    use crate::training::train;
}
