//! The recipe that a user means, for the networks that are there.

use super::loaded::Loaded;
use super::note::{Ear, Note};
use crate::Result;
use crate::device::Device;
use crate::nets::Normalize;
use crate::synthesis::recipe::Recipe;

/// What becomes of pixel values: what the user has `chosen`, else what a recipe says. A network that normalises by itself was
/// trained so, and one that a file describes as the file says, or as is likely; the recipes in the program are for others.
pub fn normalize_for(recipe: &Recipe, chosen: Option<Normalize>, networks: &[&Loaded]) -> Normalize {
    let own = |loaded: &&&Loaded| loaded.network.card.normaliser || loaded.network.structure.is_imported();
    match (chosen, networks.iter().find(own)) {
        (Some(chosen), _) => chosen,
        (None, Some(own)) if Recipe::named(&recipe.name).is_ok() => own.trained_with,
        (None, _) => recipe.normalize,
    }
}

/// A recipe with pixel values as the networks want them, and, where it is one of those in the program, with pictures that they
/// take: of this side, where the user has chosen one.
///
/// # Errors
/// [`crate::Error::Recipe`] for a side that no recipe may have.
pub fn settled(
    ear: Ear,
    mut recipe: Recipe,
    networks: &[&Loaded],
    (normalize, side): (Option<Normalize>, Option<u32>),
) -> Result<Recipe> {
    recipe.normalize = normalize_for(&recipe, normalize, networks);
    let in_program = Recipe::named(&recipe.name).is_ok();
    // One side may be all that a file's network takes; and a small network has learnt things of a certain size.
    let only = |loaded: &Loaded| {
        let structure = &loaded.network.structure;
        let takes =
            recipe.stages.iter().map(|stage| stage.crop.unwrap_or(recipe.final_side())).chain([recipe.init.size]);
        match takes.filter_map(|side| structure.only_sides(side as usize)).next() {
            Some([h, w]) if h == w => Some((h, "the only ones for the network")),
            Some(_) => None,
            None if structure.is_imported() && loaded.network.card.is_small() => {
                loaded.side.map(|side| (side, "as were those for the network"))
            }
            None => None,
        }
    };
    let wanted = match side {
        Some(side) => Some((side as usize, "as asked for", None)),
        None => networks
            .iter()
            .filter(|_| in_program)
            .find_map(|loaded| only(loaded).map(|(side, why)| (side, why, Some(&loaded.network.source)))),
    };
    if let Some((side, why, source)) = wanted {
        recipe = recipe.fitted(side as u32)?;
        let of = source.map_or(String::new(), |source| format!(" of {source}"));
        ear(Note::Info(format!("recipe {}: pictures of {side} x {side} pixels, {why}{of}", recipe.name)));
    }
    Ok(recipe)
}

/// [`Loaded::check_preprocessing`] for what a recipe says, or the user has `chosen` instead. Recipes in the program for published
/// networks are those of the experiments, which gave them pixel values as they are, and meant it.
///
/// # Errors
/// Those of the device.
pub fn check_recipe(ear: Ear, device: &Device, networks: &[&Loaded], recipe: &Recipe, chosen: bool) -> Result<()> {
    let meant = !chosen && Recipe::named(&recipe.name).is_ok();
    let mut doubtful = networks.iter().filter(|loaded| !(meant && loaded.is_published()));
    doubtful.try_for_each(|loaded| loaded.check_preprocessing(ear, device, recipe.normalize))
}
