//! Pictures to be made with some networks: recipe, start, scene, and what the networks make of pictures.

use std::path::PathBuf;

use super::design::{Aim, Init};
use super::loaded::{Loaded, file_name, probabilities};
use super::note::{Ear, Note};
use super::origin::file_sum;
use super::settle::{check_recipe, settled};
use super::values::check_range;
use crate::device::Device;
use crate::evaluate::{self, Scene};
use crate::nets::Normalize;
use crate::objective::Place;
use crate::ops;
use crate::picture;
use crate::synthesis::octave::{Stream, initial};
use crate::synthesis::recipe::Recipe;
use crate::tensor::Array;
use crate::{Error, Result};

/// How a user wants pictures to be made.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// None: the recipe that suits the first network.
    pub recipe: Option<Recipe>,
    /// What pixel values become before the first layer; none: what the recipe says.
    pub normalize: Option<Normalize>,
    /// Side of the pictures at every step; none: as the recipe says.
    pub size: Option<u32>,
    /// A photograph to start from; none: noise.
    pub start: Option<PathBuf>,
    /// Look for NaN and infinity in every layer after every step; slow.
    pub check_finite: bool,
    /// Of the first picture's random numbers.
    pub seed: u64,
}

/// Pictures to be made with some networks.
pub struct Making<'a> {
    /// It chooses kernels as for a picture alone.
    pub device: Device,
    /// The networks, in the order in which an objective counts them.
    pub networks: Vec<&'a Loaded>,
    /// How.
    pub recipe: Recipe,
    /// A photograph to start from; none: noise.
    pub start: Option<PathBuf>,
    /// Look for NaN and infinity in every layer after every step; slow.
    pub check_finite: bool,
    /// Whether the pictures are those of `entoptic demo`.
    pub demo: bool,
}

/// One picture of a batch.
#[derive(Clone)]
pub struct Picture {
    /// Its file's name, when the user gives none.
    pub name: String,
    /// Where its random numbers come from.
    pub stream: Stream,
    /// What it is to show.
    pub aim: Aim,
}

impl<'a> Making<'a> {
    /// Settles the recipe, and tells of it.
    ///
    /// # Errors
    /// [`Error::Request`] without a network; [`Error::Recipe`] for a size that no recipe may have; those of the device.
    pub fn new(ear: Ear, device: &Device, networks: Vec<&'a Loaded>, wishes: Wishes) -> Result<Self> {
        let Wishes { recipe, normalize, size, start, check_finite, seed } = wishes;
        let first = networks.first().ok_or_else(|| Error::request("no network is given"))?;
        let recipe = recipe.map_or_else(|| Recipe::named(first.recipe), Ok)?;
        let recipe = settled(ear, recipe, &networks, (normalize, size))?;
        ear(Note::Info(format!("recipe: {}, pixel values {:?}, seed {seed}", recipe.name, recipe.normalize)));
        check_recipe(ear, device, &networks, &recipe, normalize.is_some())?;
        Ok(Making { start, check_finite, ..Making::with_recipe(device, networks, recipe) })
    }

    /// By a recipe that is settled already, from noise.
    pub fn with_recipe(device: &Device, networks: Vec<&'a Loaded>, recipe: Recipe) -> Self {
        let alone = device.apart();
        alone.set_tiling(ops::alone(&device.tuning().tiling));
        Making { device: alone, networks, recipe, start: None, check_finite: false, demo: false }
    }

    /// Scene with this making's networks and preprocessing, still without objective.
    pub fn scene(&self) -> Scene<'a> {
        Scene::of(self.networks.iter().map(|loaded| &loaded.network).collect(), self.recipe.normalize)
    }

    /// The place of network `index`'s logits.
    pub fn logits(&self, index: usize) -> Place {
        Place::Logits(index, self.networks[index].head)
    }

    /// What a picture starts from: noise, or a photograph in its own shape, its shorter side of the size with which the recipe
    /// starts.
    ///
    /// # Errors
    /// Those of [`picture::read`] for the photograph.
    pub fn start(&self, stream: Stream) -> Result<Array> {
        let grey = self.scene().is_grey();
        let Some(path) = &self.start else {
            let noise = initial(&self.recipe, stream)?;
            return Ok(if grey { picture::of_first_colour(&noise) } else { noise });
        };
        let photograph = picture::read(path).map_err(Error::within("--init"))?;
        let photograph = if grey { picture::grey(&photograph) } else { photograph };
        Ok(picture::scale(&photograph, self.recipe.init.size as usize))
    }

    /// Height and width of the pictures at the end.
    ///
    /// # Errors
    /// As [`Making::start`].
    pub fn final_extent(&self) -> Result<[usize; 2]> {
        let shape = match self.start {
            None => [1, 1],
            Some(_) => {
                let start = self.start(Stream { seed: 0, picture: 0 })?.shape;
                [start.h(), start.w()].map(|side| side as u32)
            }
        };
        Ok(self.recipe.final_extent(shape).map(|side| side as usize))
    }

    /// What pictures start from, for the metadata, with the file's checksum.
    ///
    /// # Errors
    /// As [`Making::start`].
    pub fn init(&self, ear: Ear) -> Result<Init> {
        let Some(path) = &self.start else { return Ok(Init::Noise) };
        let sha256 = file_sum(path).map_err(Error::within("--init"))?;
        let photograph = picture::read(path).map_err(Error::within("--init"))?;
        check_range(ear, path, &photograph, self.recipe.normalize);
        let several = photograph.shape.n() > 1;
        Ok(Init::Image { file: file_name(path), sha256, picture: several.then_some(0) })
    }

    /// Logits of network `index`.
    ///
    /// # Errors
    /// Those of [`evaluate::outputs`].
    pub fn logits_of(&self, index: usize, pictures: &Array) -> Result<Array> {
        let scene = Scene::of(vec![&self.networks[index].network], self.recipe.normalize);
        let place = [Place::Logits(0, self.networks[index].head)];
        Ok(evaluate::outputs(&self.device, &scene, pictures, &place, false)?.remove(0))
    }

    /// Probability that network `index` gives to each class, for each picture.
    ///
    /// # Errors
    /// Those of [`evaluate::outputs`].
    pub fn probabilities(&self, index: usize, pictures: &Array) -> Result<Vec<Vec<f32>>> {
        let logits = self.logits_of(index, pictures)?;
        let network = &self.networks[index].network;
        Ok((0..logits.shape.n()).map(|n| probabilities(network, &logits.picture(n).values)).collect())
    }
}

/// A class name as the name of a file.
pub fn file_stem(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect()
}

/// Positions of the largest values, largest first.
pub fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order
}
