//! What all commands share that make pictures: networks, recipe, start, and what the networks make of pictures.

use std::path::Path;
use std::time::Instant;

use entoptic::device::Device;
use entoptic::studio::{self, Aim, Init, Loaded, Wishes};
pub use entoptic::studio::{Picture, file_stem, largest};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::Array;

use super::networks::shared_classes;
use super::options::{Global, MakingArgs, PicturesArgs};

/// Pictures to be made with some networks, as a user has asked for it.
pub struct Making<'a> {
    pub global: &'a Global,
    pub args: &'a MakingArgs,
    pub plan: studio::Making<'a>,
    pub started: Instant,
}

impl<'a> Making<'a> {
    /// Settles the recipe.
    pub fn new(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        args: &'a MakingArgs,
    ) -> anyhow::Result<Self> {
        let wishes = Wishes {
            recipe: args.recipe.as_deref().map(Recipe::load).transpose()?,
            normalize: args.normalize.map(Into::into),
            size: args.size,
            start: start(args),
            check_finite: global.check_finite,
            seed: args.seed,
        };
        let plan = studio::Making::new(&global.ear(), device, networks.iter().collect(), wishes)?;
        Ok(Making { global, args, plan, started: Instant::now() })
    }

    /// By a recipe that is settled already.
    pub fn with_recipe(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        recipe: Recipe,
        args: &'a MakingArgs,
    ) -> Self {
        let plan = studio::Making::with_recipe(device, networks.iter().collect(), recipe);
        let plan = studio::Making { start: start(args), check_finite: global.check_finite, ..plan };
        Making { global, args, plan, started: Instant::now() }
    }

    /// [`studio::Making::init`], with its warnings told.
    pub fn init(&self) -> anyhow::Result<Init> {
        Ok(self.plan.init(&self.global.ear())?)
    }

    /// Tells what each network makes of the pictures' classes.
    pub fn report(&self, made: &Array, pictures: &[Picture], classes: &[usize]) -> anyhow::Result<()> {
        for (index, loaded) in self.plan.networks.iter().enumerate() {
            let after = self.plan.probabilities(index, made)?;
            for (n, (picture, &class)) in pictures.iter().zip(classes).enumerate() {
                let names = &loaded.network.classes;
                let before = self.plan.probabilities(index, &self.plan.start(picture.stream)?)?[0][class];
                let network = &loaded.network.structure;
                let (name, after) = (names.name(class), after[n][class]);
                self.global.say(format_args!("{network}: probability of {name} {after:.3}, at the start {before:.3}"));
            }
        }
        Ok(())
    }
}

/// A photograph to start from; none: noise.
fn start(args: &MakingArgs) -> Option<std::path::PathBuf> {
    (args.init != Path::new("noise")).then(|| args.init.clone())
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
        let names = shared_classes(making.plan.networks.iter().copied())?;
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
