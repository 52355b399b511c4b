//! What all commands share that make pictures: networks, recipe, start, and what the networks make of pictures.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::Place;
use entoptic::ops;
use entoptic::picture;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::Array;

use super::design::{Aim, Init};
use super::networks::{Loaded, check_range, check_recipe, file_name, probabilities, settled, shared_classes};
use super::options::{Global, MakingArgs, PicturesArgs};
use super::origin;

/// Pictures to be made with some networks.
pub struct Making<'a> {
    pub global: &'a Global,
    /// It chooses kernels as for a picture alone.
    pub device: Device,
    pub networks: &'a [Loaded],
    pub recipe: Recipe,
    pub args: &'a MakingArgs,
    /// Whether the pictures are those of `entoptic demo`.
    pub demo: bool,
    pub started: Instant,
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
    /// Settles the recipe.
    pub fn new(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        args: &'a MakingArgs,
    ) -> anyhow::Result<Self> {
        let recipe = args.recipe.as_deref();
        let recipe = settled(global, recipe, networks[0].recipe, networks, (args.normalize, args.size))?;
        global.say(format_args!("recipe: {}, pixel values {:?}, seed {}", recipe.name, recipe.normalize, args.seed));
        check_recipe(global, device, networks, &recipe, args.normalize.is_some())?;
        Ok(Making::with_recipe(global, device, networks, recipe, args))
    }

    /// By a recipe that is settled already.
    pub fn with_recipe(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        recipe: Recipe,
        args: &'a MakingArgs,
    ) -> Self {
        let alone = device.apart();
        alone.set_tiling(ops::alone(&device.tuning().tiling));
        Making { global, device: alone, networks, recipe, args, demo: false, started: Instant::now() }
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
    pub fn start(&self, stream: Stream) -> anyhow::Result<Array> {
        let grey = self.scene().is_grey();
        if self.starts_from_noise() {
            let noise = initial(&self.recipe, stream)?;
            return Ok(if grey { picture::of_first_colour(&noise) } else { noise });
        }
        let photograph = picture::read(&self.args.init).context("--init")?;
        let photograph = if grey { picture::grey(&photograph) } else { photograph };
        Ok(picture::scale(&photograph, self.recipe.init.size as usize))
    }

    /// Height and width of the pictures at the end.
    pub fn final_extent(&self) -> anyhow::Result<[usize; 2]> {
        let shape = match self.starts_from_noise() {
            true => [1, 1],
            false => {
                let start = self.start(Stream { seed: 0, picture: 0 })?.shape;
                [start.h(), start.w()].map(|side| side as u32)
            }
        };
        Ok(self.recipe.final_extent(shape).map(|side| side as usize))
    }

    pub fn starts_from_noise(&self) -> bool {
        self.args.init == Path::new("noise")
    }

    /// The same for the metadata, with the file's checksum.
    pub fn init(&self) -> anyhow::Result<Init> {
        if self.starts_from_noise() {
            return Ok(Init::Noise);
        }
        let path = &self.args.init;
        let sha256 = origin::file_sum(path).context("--init")?;
        let photograph = picture::read(path).context("--init")?;
        check_range(self.global, path, &photograph, self.recipe.normalize);
        let several = photograph.shape.n() > 1;
        Ok(Init::Image { file: file_name(path), sha256, picture: several.then_some(0) })
    }

    /// Logits of network `index`.
    pub fn logits_of(&self, index: usize, pictures: &Array) -> anyhow::Result<Array> {
        let scene = Scene::of(vec![&self.networks[index].network], self.recipe.normalize);
        let place = [Place::Logits(0, self.networks[index].head)];
        Ok(evaluate::outputs(&self.device, &scene, pictures, &place, false)?.remove(0))
    }

    /// Probability that network `index` gives to each class, for each picture.
    pub fn probabilities(&self, index: usize, pictures: &Array) -> anyhow::Result<Vec<Vec<f32>>> {
        let logits = self.logits_of(index, pictures)?;
        let network = &self.networks[index].network;
        Ok((0..logits.shape.n()).map(|n| probabilities(network, &logits.picture(n).values)).collect())
    }

    /// Tells what each network makes of the pictures' classes.
    pub fn report(&self, made: &Array, pictures: &[Picture], classes: &[usize]) -> anyhow::Result<()> {
        for (index, loaded) in self.networks.iter().enumerate() {
            let after = self.probabilities(index, made)?;
            for (n, (picture, &class)) in pictures.iter().zip(classes).enumerate() {
                let names = &loaded.network.classes;
                let before = self.probabilities(index, &self.start(picture.stream)?)?[0][class];
                let network = &loaded.network.structure;
                let (name, after) = (names.name(class), after[n][class]);
                self.global.say(format_args!("{network}: probability of {name} {after:.3}, at the start {before:.3}"));
            }
        }
        Ok(())
    }
}

/// The pictures that `--class a,b --seeds K` means: every class with every seed.
pub struct Set {
    /// Class of each picture.
    pub classes: Vec<usize>,
    pub pictures: Vec<Picture>,
}

impl Set {
    /// `aim` is that of a class with that index and name.
    pub fn new(
        making: &Making,
        args: &PicturesArgs,
        kind: &str,
        aim: impl Fn(usize, String) -> Aim,
    ) -> anyhow::Result<Self> {
        let names = shared_classes(making.networks)?;
        let mut set = Set { classes: vec![], pictures: vec![] };
        for text in &args.class {
            let class = names.find(text)?;
            for seed in (0..args.seeds).map(|count| making.args.seed.wrapping_add(count)) {
                let suffix = if args.seeds > 1 { format!("-seed{seed}") } else { String::new() };
                let name = format!("{}{kind}{suffix}", file_stem(names.name(class)));
                let stream = Stream { seed, picture: class as u64 };
                set.classes.push(class);
                set.pictures.push(Picture { name, stream, aim: aim(class, names.name(class).to_owned()) });
            }
        }
        Ok(set)
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
