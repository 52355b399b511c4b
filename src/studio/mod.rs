//! What a program wants that is built on the engine: networks found and loaded, what a picture is to show, how it is made, where it
//! comes from, and the same made again. The command line and Python are two such programs.
//!
//! In this room: everything between a user's wishes and the engine. Not here: arguments, printing, progress on a screen. What a
//! user may want to be told is handed to an [`Ear`].

mod again;
mod aim;
mod design;
mod goal;
mod job;
mod loaded;
mod making;
mod model;
mod note;
pub mod objectives;
mod origin;
mod settle;
mod sources;
mod trained;
mod values;

pub use again::{Again, again};
pub use aim::{scene, summed};
pub use design::{Aim, CONSTANT, Design, Init, Maker, Target};
pub use goal::{Goal, match_recipe};
pub use loaded::{Loaded, SIDE, file_name, guess_pixels, probabilities, shared_classes};
pub use making::{Making, Picture, Wishes, file_stem, largest};
pub use model::{Model, Named, Numbers, Weights, no_network};
pub use note::{Ear, Note, equip};
pub use origin::{Adapter, Origin, Place, Record, file_sum, software};
pub use settle::{check_recipe, normalize_for, settled};
pub use sources::Sources;
pub use trained::trained_words;
pub use values::{check_range, extent};
