//! What a user may want to be told, and devices made ready for work.

use crate::autotune::{self, Settings};
use crate::device::{Class, Device};
use crate::weights::cache_folder;

/// A line for people. The library prints nothing: whoever calls it decides what becomes of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What is being done, and with what.
    Info(String),
    /// What looks wrong and may be meant.
    Warning(String),
    /// For the curious.
    Detail(String),
}

/// Told of notes.
pub type Ear<'a> = &'a dyn Fn(Note);

/// Makes a device ready for work that is done more than once: what its driver compiles is kept in the cache folder, and kernels are
/// measured on it the first time that a layer is run, unless `measure` is off. `warn` hears what goes wrong meanwhile.
pub fn equip(device: &Device, measure: bool, warn: impl Fn(&str) + Send + Sync + 'static) {
    // A software driver has one kernel that is best, and keeps by itself what it compiles.
    if device.adapter().class == Class::Software {
        return;
    }
    let folder = cache_folder();
    if let Some(folder) = &folder {
        device.keep_pipelines(folder);
    }
    if measure {
        autotune::install(device, Settings::new(folder, warn));
    }
}
