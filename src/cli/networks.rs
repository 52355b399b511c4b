//! Networks on their way onto the GPU, and what the user is told of it.

use std::path::Path;

use entoptic::device::{AdapterChoice, Device};
use entoptic::nets::Normalize;
use entoptic::picture;
use entoptic::studio::{self, Model};
pub use entoptic::studio::{Loaded, SIDE, extent, file_name, no_network, probabilities, shared_classes};
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::Array;

use super::messages::tell;
use super::options::{Global, NormalizeArg};

/// The recipe that the user has chosen, else the usual one, settled for the networks.
pub fn settled(
    global: &Global,
    given: Option<&Path>,
    usual: &str,
    networks: &[Loaded],
    (normalize, side): (Option<NormalizeArg>, Option<u32>),
) -> anyhow::Result<Recipe> {
    let recipe = Recipe::load(given.unwrap_or(Path::new(usual)))?;
    let networks: Vec<&Loaded> = networks.iter().collect();
    Ok(studio::settled(&global.ear(), recipe, &networks, (normalize.map(Into::into), side))?)
}

/// [`studio::check_recipe`], told to the user.
pub fn check_recipe(
    global: &Global,
    device: &Device,
    networks: &[Loaded],
    recipe: &Recipe,
    chosen: bool,
) -> anyhow::Result<()> {
    let networks: Vec<&Loaded> = networks.iter().collect();
    Ok(studio::check_recipe(&global.ear(), device, &networks, recipe, chosen)?)
}

/// [`Loaded::check_preprocessing`] for what the user has chosen for a picture; tensors may have been normalised before.
pub fn check_normalize(
    global: &Global,
    device: &Device,
    networks: &[Loaded],
    chosen: Option<NormalizeArg>,
    picture: &Path,
) -> anyhow::Result<()> {
    let Some(chosen) = chosen.filter(|_| picture.extension().is_none_or(|e| e != "safetensors")) else { return Ok(()) };
    let ear = global.ear();
    Ok(networks.iter().try_for_each(|loaded| loaded.check_preprocessing(&ear, device, chosen.into()))?)
}

/// [`studio::check_range`], told to the user.
pub fn check_range(global: &Global, path: &Path, picture: &Array, normalize: Normalize) {
    studio::check_range(&global.ear(), path, picture, normalize);
}

/// A picture as a user wants to have it looked at: the square of that side in its middle, or as it is.
pub fn sized(picture: Array, side: Option<u32>) -> Array {
    match side.map(|side| side as usize) {
        Some(side) if [picture.shape.h(), picture.shape.w()] != [side; 2] => picture::fit(&picture, side),
        _ => picture,
    }
}

/// Warns of a picture that is taken as it is, and whose things are far larger or smaller than those that a network was trained on.
pub fn check_size(global: &Global, path: &Path, picture: &Array, networks: &[Loaded]) {
    // Training shows things at half and at twice the size; beyond that answers change.
    const FAR: f64 = 1.75;
    let [_, _, h, w] = picture.shape.0;
    for loaded in networks {
        let side = loaded.side.unwrap_or(SIDE);
        let times = h.min(w) as f64 / side as f64;
        if !(1.0 / FAR..=FAR).contains(&times) {
            let (path, source) = (path.display(), &loaded.network.source);
            global.warn(format_args!(
                "{path}: is {w} x {h} pixels, {source} was trained with {side}; its answer may be another at --size {side}"
            ));
        }
    }
}

/// Opens the adapter that the user wants and says which it is.
pub fn open(global: &Global) -> anyhow::Result<Device> {
    let choice = global.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Named);
    equipped(global, Device::open(&choice)?)
}

/// Opens the same adapter again, in place of a device that was lost.
pub fn reopen(global: &Global, lost: &Device) -> anyhow::Result<Device> {
    equipped(global, lost.another()?)
}

fn equipped(global: &Global, device: Device) -> anyhow::Result<Device> {
    if let Some(mebibytes) = global.memory {
        device.limit_memory(mebibytes << 20);
    }
    global.say(format_args!("adapter: {}", device.adapter()));
    let quiet = global.quiet;
    studio::equip(&device, !global.no_autotune, move |line| {
        if !quiet {
            tell(format_args!("{line}"));
        }
    });
    Ok(device)
}

/// Loads every network and says which weights it has.
pub fn load<'a>(
    global: &Global,
    device: &Device,
    models: impl IntoIterator<Item = &'a Model>,
) -> anyhow::Result<Vec<Loaded>> {
    models.into_iter().enumerate().map(|(index, model)| load_one(global, device, model, index)).collect()
}

/// Loads a network that has that place among the networks of an objective.
pub fn load_one(global: &Global, device: &Device, model: &Model, index: usize) -> anyhow::Result<Loaded> {
    Ok(model.load(&global.ear(), device, &index.to_string())?)
}
