//! The one error type of the library.
//!
//! Variants hold data rather than prose, and both sides of every mismatch.

use std::path::PathBuf;

use crate::tensor::Shape;

/// What every fallible function of this library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong because of user data, the machine or the adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter of any tried backend was found.
    #[error(
        "no GPU adapter found (tried {backends}); a software one will do: \
         Debian/Ubuntu and Colab `apt install mesa-vulkan-drivers`, Fedora `dnf install mesa-vulkan-drivers`, \
         Arch `pacman -S vulkan-swrast`"
    )]
    NoAdapter {
        /// The backends that were asked, separated by commas.
        backends: String,
    },
    /// The adapter that the user named is not there.
    #[error("no adapter matches \"{wanted}\"; there are: {available}")]
    UnknownAdapter {
        /// The name or index as given.
        wanted: String,
        /// The adapters there are, with their indices.
        available: String,
    },
    /// The adapter refused to give a device.
    #[error("adapter {adapter} gives no device: {reason}")]
    DeviceRequest {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A pipeline, buffer or bind group was refused, or a submission failed.
    #[error("{label}: {reason}")]
    Gpu {
        /// Label of what failed: `op.entry`, `net.layer` or the buffer's name.
        label: String,
        /// The driver's words.
        reason: String,
    },
    /// The adapter has no memory left for a buffer.
    #[error("out of GPU memory at {label}; use a smaller picture or batch, or another adapter (--adapter)")]
    OutOfMemory {
        /// Label of the allocation.
        label: String,
    },
    /// The device was lost: driver reset, removed adapter or a watchdog.
    #[error("the device was lost during {label}: {reason}; run again, or choose another adapter (--adapter)")]
    DeviceLost {
        /// What was running.
        label: String,
        /// The driver's words.
        reason: String,
    },
    /// A planned buffer is larger than this adapter can hold or bind.
    #[error(
        "{label} needs {needed} bytes in one buffer, the adapter allows {allowed}; use a smaller picture, or a smaller batch in training"
    )]
    BufferLimit {
        /// Name of the buffer in the plan.
        label: String,
        /// Bytes planned.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// Shapes that an operation cannot combine.
    #[error("{op}: {what} is {found}, expected {expected}")]
    Shape {
        /// The operation, or the layer.
        op: String,
        /// Which of its sizes.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A picture or map has become too small for a layer.
    #[error("{op}: {input} leaves no pixel after a {kernel} window; use a larger picture")]
    TooSmall {
        /// The operation, or the layer.
        op: String,
        /// Shape before the layer.
        input: Shape,
        /// Height and width of the window.
        kernel: String,
    },
    /// A gradient was asked for where none is defined.
    #[error("{op} has no gradient for its input {input}")]
    NoGradient {
        /// Name of the operation.
        op: &'static str,
        /// Position of the input.
        input: usize,
    },
    /// A layer name that the network does not have.
    #[error("{network} has no layer \"{layer}\"; {}", near(.candidates).unwrap_or_else(|| format!("`entoptic layers --model {}` lists them", .network)))]
    UnknownLayer {
        /// Name of the network.
        network: String,
        /// Layer as given.
        layer: String,
        /// Names that come near.
        candidates: Vec<String>,
    },
    /// A class name or index that the network does not have.
    #[error("no class \"{class}\"; {}", near(.candidates).unwrap_or_else(|| .known.clone()))]
    UnknownClass {
        /// Class as given.
        class: String,
        /// Names that come near.
        candidates: Vec<String>,
        /// The classes that there are, or how they can be given.
        known: String,
    },
    /// A class index beyond the network's classes.
    #[error("no class {index}: this network has {count}, numbered from 0 to {}", .count.saturating_sub(1))]
    ClassRange {
        /// Index as given.
        index: String,
        /// Classes of the network.
        count: usize,
    },
    /// A class name that several classes share.
    #[error("\"{class}\" may mean {}; give an index", .candidates.join(", "))]
    AmbiguousClass {
        /// Class as given.
        class: String,
        /// What it may mean, with indices.
        candidates: Vec<String>,
    },
    /// A word about a picture that its file cannot carry.
    #[error("picture metadata \"{key}\": {reason}")]
    Metadata {
        /// The key.
        key: String,
        /// What is wrong with the key or its text.
        reason: String,
    },
    /// A file that is not what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words; part of the message, so it is not the error's source, which a chain would print again.
        reason: std::io::Error,
    },
    /// A file that could not be fetched.
    #[error("{url}: {reason}")]
    Download {
        /// Where from.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// Weights that do not fit the network, everything that differs in one list.
    #[error("the weights do not fit {network}:\n  {}", .problems.join("\n  "))]
    Weights {
        /// Name of the network.
        network: String,
        /// One line for each missing, unexpected or wrong tensor.
        problems: Vec<String>,
    },
    /// A network that a file describes and that cannot be read, everything that is in the way in one list.
    #[error("{}: this network cannot be read:\n  {}", .file.display(), .problems.join("\n  "))]
    Program {
        /// The file.
        file: PathBuf,
        /// One line for each kind of operation, and for what concerns the whole file.
        problems: Vec<String>,
    },
    /// A picture of a size for which a network was not made.
    #[error(
        "this network takes pictures of {}{} x {}: its layer {layer} expects {} x {} pixels, and is given {} x {}",
        if *.fixed { "" } else { "certain sizes only, such as " }, .sides[0], .sides[1], .expected[0], .expected[1], .found[0], .found[1]
    )]
    PictureSize {
        /// The layer that does not fit.
        layer: String,
        /// Height and width of the pictures that it was made for.
        sides: [usize; 2],
        /// Whether there is no other size.
        fixed: bool,
        /// Height and width that the layer expects.
        expected: [usize; 2],
        /// What it is given.
        found: [usize; 2],
    },
    /// Values of another number of channels than a network takes.
    #[error(
        "{network}: takes {expected} channels, and is given {found}{}",
        if matches!(*.expected, 1 | 3) {
            String::new()
        } else {
            format!("; pictures are made of 3, or 1, and such a network is looked at by `outputs` and `gradient`, with --image \
                     FILE.safetensors of a tensor \"image\" [N, {}, H, W]", .expected)
        }
    )]
    Channels {
        /// The network's file.
        network: String,
        /// Channels that it takes.
        expected: usize,
        /// What it is given.
        found: usize,
    },
    /// A recipe with a mistake.
    #[error("recipe {name}: {reason}")]
    Recipe {
        /// Name or path of the recipe.
        name: String,
        /// What is wrong, with the line where known.
        reason: String,
    },
    /// An objective that makes no sense for these networks.
    #[error("objective {objective}: {reason}")]
    Objective {
        /// The objective as given.
        objective: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that is not finite, with the layer that made it first.
    #[error("{layer} produced a value that is not finite{}", .step.map(|s| format!(" at step {s}")).unwrap_or_default())]
    NotFinite {
        /// First layer, in order of execution.
        layer: String,
        /// Step of the run, where there is one.
        step: Option<u64>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Something that was asked for and cannot be done, and what to do.
    #[error("{reason}")]
    Request {
        /// In words for people.
        reason: String,
    },
    /// Another error, with what it befell.
    #[error("{what}: {reason}")]
    Within {
        /// The file, the argument or the act.
        what: String,
        /// The error; part of the message, so it is not the error's source, which a chain would print again.
        reason: Box<Error>,
    },
}

impl Error {
    /// An [`Error::Io`] for a path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Error::Io { path, reason }
    }

    /// An [`Error::File`] for a path.
    pub fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Error::File { path: path.into(), reason: reason.to_string() }
    }

    /// An [`Error::Request`] from anything that prints.
    pub fn request(reason: impl std::fmt::Display) -> Self {
        Error::Request { reason: reason.to_string() }
    }

    /// An [`Error::Within`] for what an error befell.
    pub fn within(what: impl std::fmt::Display) -> impl FnOnce(Error) -> Self {
        let what = what.to_string();
        move |reason| Error::Within { what, reason: Box::new(reason) }
    }

    /// An [`Error::Shape`] from anything that prints.
    pub fn shape(
        op: impl Into<String>,
        what: impl Into<String>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Error::Shape { op: op.into(), what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

fn near(candidates: &[String]) -> Option<String> {
    (!candidates.is_empty()).then(|| format!("did you mean {}?", candidates.join(", ")))
}
