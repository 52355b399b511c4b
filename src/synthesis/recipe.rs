//! Recipes: how a picture is made, as TOML that a user can copy and change.
//!
//! Here recipes are read, checked and written. What their numbers become at each step is in [`super::octave`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fault::explain;
use super::parametrisation::Parametrisation;
use super::stage::{MAX_SIZE, Stage, scaled};
use crate::error::{Error, Result};
use crate::nets::Normalize;

/// The recipes in the binary: name and text.
const SHIPPED: &[(&str, &str)] = &[
    ("demo", include_str!("recipes/demo.toml")),
    ("demo-match", include_str!("recipes/demo-match.toml")),
    ("demo-quick", include_str!("recipes/demo-quick.toml")),
    ("demo-quick-match", include_str!("recipes/demo-quick-match.toml")),
    ("demo-robust", include_str!("recipes/demo-robust.toml")),
    ("demo-waves", include_str!("recipes/demo-waves.toml")),
    ("googlenet", include_str!("recipes/googlenet.toml")),
    ("resnet50", include_str!("recipes/resnet50.toml")),
    ("padded", include_str!("recipes/padded.toml")),
    ("inception_v3", include_str!("recipes/inception_v3.toml")),
    ("multiscale", include_str!("recipes/multiscale.toml")),
    ("feature", include_str!("recipes/feature.toml")),
    ("dream", include_str!("recipes/dream.toml")),
];

/// How one picture is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Short name, kept in the picture's metadata.
    pub name: String,
    /// One sentence for the list of recipes.
    pub description: String,
    /// What happens to pixel values before the first layer.
    pub normalize: Normalize,
    /// The picture before the first step.
    pub init: Init,
    /// What is optimised; pixels where it is absent.
    #[serde(default, skip_serializing_if = "Parametrisation::is_plain")]
    pub parametrisation: Parametrisation,
    /// The stages, done in order; at least one.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
}

/// The picture before the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "InitKeys", into = "InitKeys")]
pub struct Init {
    /// Side of the square picture, in pixels.
    pub size: u32,
    /// What fills it.
    pub start: Start,
}

/// What fills the picture before the first step, in pixel values (nominally 0..1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Normal noise: `mean + std * z`.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Uniform noise: `low + range * u`, u in [0, 1).
    Uniform {
        /// Lowest value.
        low: f64,
        /// Width of the interval.
        range: f64,
    },
    /// Noise whose waves of f cycles along a side are as strong as 1 / f^`decay`, as in photographs, each channel on its own.
    Spectral {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// The exponent; about 1 in photographs, 0 for white noise.
        decay: f64,
    },
    /// A photograph that the user gives.
    Image,
}

/// [`Init`] as it stands in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitKeys {
    kind: Kind,
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    std: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decay: Option<f64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Normal,
    Uniform,
    Spectral,
    Image,
}

impl TryFrom<InitKeys> for Init {
    type Error = &'static str;

    fn try_from(keys: InitKeys) -> Result<Self, Self::Error> {
        let InitKeys { kind, size, mean, std, low, range, decay } = keys;
        let start = match (kind, mean, std, low, range, decay) {
            (Kind::Normal, Some(mean), Some(std), None, None, None) => Start::Normal { mean, std },
            (Kind::Uniform, None, None, Some(low), Some(range), None) => Start::Uniform { low, range },
            (Kind::Spectral, Some(mean), Some(std), None, None, decay) => {
                Start::Spectral { mean, std, decay: decay.unwrap_or(1.0) }
            }
            (Kind::Image, None, None, None, None, None) => Start::Image,
            (Kind::Normal, ..) => return Err("kind = \"normal\" takes mean and std, and no other"),
            (Kind::Uniform, ..) => return Err("kind = \"uniform\" takes low and range, and no other"),
            (Kind::Spectral, ..) => return Err("kind = \"spectral\" takes mean, std and decay, and no other"),
            (Kind::Image, ..) => return Err("kind = \"image\" takes no mean, std, low, range or decay"),
        };
        Ok(Init { size, start })
    }
}

impl From<Init> for InitKeys {
    fn from(Init { size, start }: Init) -> Self {
        let none = InitKeys { kind: Kind::Image, size, mean: None, std: None, low: None, range: None, decay: None };
        match start {
            Start::Normal { mean, std } => InitKeys { kind: Kind::Normal, mean: Some(mean), std: Some(std), ..none },
            Start::Spectral { mean, std, decay } => {
                InitKeys { kind: Kind::Spectral, mean: Some(mean), std: Some(std), decay: Some(decay), ..none }
            }
            Start::Uniform { low, range } => {
                InitKeys { kind: Kind::Uniform, low: Some(low), range: Some(range), ..none }
            }
            Start::Image => none,
        }
    }
}

impl Recipe {
    /// A shipped recipe by name, or a file when the argument ends in `.toml` or names a folder.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown name or a mistake in the file, [`Error::Io`] when it cannot be read.
    pub fn load(name_or_path: impl AsRef<Path>) -> Result<Recipe> {
        let path = name_or_path.as_ref();
        let name = path.to_string_lossy();
        let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) || path.components().count() > 1;
        if !is_file {
            return Recipe::named(&name);
        }
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Recipe::parse(&name, &text)
    }

    /// A shipped recipe.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown name; it lists the known ones.
    pub fn named(name: &str) -> Result<Recipe> {
        Recipe::parse(name, Recipe::source_text(name)?)
    }

    /// Names of the shipped recipes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The text of a shipped recipe with its comments, to be copied and changed.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown name; it lists the known ones.
    pub fn source_text(name: &str) -> Result<&'static str> {
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        shipped.map(|(_, text)| *text).ok_or_else(|| {
            let names: Vec<_> = Recipe::names().collect();
            let reason = format!("there is none of that name; there are {}, or give a .toml file", names.join(", "));
            Error::Recipe { name: name.into(), reason }
        })
    }

    /// A recipe from its text; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Recipe`] with line and key of the first mistake.
    pub fn parse(name: &str, text: &str) -> Result<Recipe> {
        let fail = |reason| Error::Recipe { name: name.into(), reason };
        let recipe: Recipe = toml::from_str(text).map_err(|error| fail(explain(text, &error)))?;
        recipe.check().map_err(|fault| fail(fault.at_line(text)))?;
        Ok(recipe)
    }

    /// The complete recipe as TOML, defaults written out: what a picture's metadata holds.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, strings, lists and tables all have a form in TOML")
    }

    /// Side of the window that the networks see at the end of a run.
    pub fn final_window(&self) -> u32 {
        self.stages.last().and_then(|stage| stage.crop).unwrap_or_else(|| self.final_side())
    }

    /// The same with pictures of one side at every step, for networks that take these alone, or have learnt things of that size. Where
    /// a window would go about in a larger picture, the picture is shifted by as much; other distances change in proportion.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a side that no recipe may have.
    pub fn fitted(&self, side: u32) -> Result<Recipe> {
        let mut recipe = self.clone();
        let scaled = |size: u32, window: u32| {
            (f64::from(size) * f64::from(side) / f64::from(window.max(1))).round().clamp(0.0, f64::from(MAX_SIZE))
                as u32
        };
        recipe.init.size = side;
        let starts: Vec<u32> = self.starts().map(|(_, start)| start).collect();
        for (stage, start) in recipe.stages.iter_mut().zip(starts) {
            let window = stage.crop.unwrap_or(start);
            let room = start.saturating_sub(window) / 2;
            let room = stage.jitter.map_or(room, |jitter| jitter.min(room));
            stage.shift = scaled(stage.shift + room, window).min(side.saturating_sub(1));
            stage.size = stage.size.map(|_| side);
            (stage.crop, stage.jitter) = (None, None);
            if let Some(nearest) = &mut stage.nearest_sizes {
                nearest.sizes.iter_mut().for_each(|size| *size = scaled(*size, window).max(1));
            }
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// Side of the picture at the last step of a run.
    pub fn final_side(&self) -> u32 {
        let last = self.starts().last();
        last.map_or(self.init.size, |(stage, start)| stage.size_at(start, stage.iterations - 1))
    }

    /// Height and width of the picture at the last step of a run that starts from a picture of this shape.
    pub fn final_extent(&self, shape: [u32; 2]) -> [u32; 2] {
        let (mut left, mut last) = (scaled(shape, self.init.size), scaled(shape, self.init.size));
        for stage in &self.stages {
            let start = stage.start_extent(left);
            last = stage.extent_at(start, stage.iterations - 1);
            left = stage.extent_at(start, stage.iterations);
        }
        last
    }

    /// Steps of a whole run.
    pub fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.iterations as usize).sum()
    }

    /// The stages in order, each with the side of the picture at its first step.
    pub fn starts(&self) -> impl Iterator<Item = (&Stage, u32)> {
        let mut before: Option<(&Stage, u32)> = None;
        self.stages.iter().map(move |stage| {
            // The sizes of a stage are asked for only after it was seen: the check may have refused it.
            let left = before.map_or(self.init.size, |(stage, start)| stage.size_at(start, stage.iterations));
            *before.insert((stage, stage.start_size(left)))
        })
    }

    /// Checks a recipe that was changed after it was read.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the key of the first value that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|fault| Error::Recipe { name: self.name.clone(), reason: fault.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthesis::parametrisation::{Basis, Colour, Range};
    use crate::synthesis::stage::{BlurOn, NearestSizes, Pad, Resize, StepRule, share};

    /// Size, iterations, rate, sigma and crop of a stage.
    type Numbers = (Option<u32>, u32, [f64; 2], [f64; 2], Option<u32>);

    fn numbers(name: &str) -> (Init, Vec<Numbers>) {
        let recipe = Recipe::named(name).unwrap();
        let stages = recipe.stages.iter().map(|s| (s.size, s.iterations, s.rate, s.sigma, s.crop)).collect();
        (recipe.init, stages)
    }

    #[test]
    fn googlenet_and_resnet50_have_the_numbers_of_the_source() {
        let init = Init { size: 299, start: Start::Normal { mean: 0.7, std: 1.0 / 20.0 } };
        let stages =
            vec![(None, 220, [1.5, 1.0], [2.4, 0.8], None), (Some(490), 500, [1.3, 0.45], [1.5, 0.4], Some(470))];
        assert_eq!(numbers("googlenet"), (init, stages));
        assert_eq!(numbers("googlenet"), numbers("resnet50"));
        for stage in Recipe::named("resnet50").unwrap().stages {
            let Stage { step, resize, blur_on, blur_kernel, pad, clamp, jitter, .. } = stage;
            assert_eq!((step, resize, blur_on), (StepRule::Raw, Resize::Bilinear, BlurOn::Whole));
            assert_eq!((blur_kernel, pad, clamp, jitter), (3, None, None, None));
        }
    }

    #[test]
    fn a_fitted_recipe_has_pictures_of_one_side() {
        for name in ["demo", "resnet50", "inception_v3", "feature", "demo-match", "googlenet"] {
            let recipe = Recipe::named(name).unwrap().fitted(32).unwrap();
            assert_eq!((recipe.init.size, recipe.final_window(), recipe.final_side()), (32, 32, 32), "{name}");
            assert!(recipe.starts().all(|(stage, start)| stage.crop.is_none() && start == 32), "{name}");
        }
        // 6 of 112 pixels, and 4 of 116 with 10 that the window could go.
        let shifts = Recipe::named("demo").unwrap().fitted(56).unwrap().stages;
        assert_eq!(shifts.iter().map(|stage| stage.shift).collect::<Vec<_>>(), [3, 7]);
        assert!(Recipe::named("demo").unwrap().fitted(0).is_err());
    }

    #[test]
    fn padded_has_the_numbers_of_the_source() {
        let (init, stages) = numbers("padded");
        assert_eq!(init, numbers("googlenet").0);
        let first = (None, 220, [6.0, 5.0], [2.4, 0.8], None);
        assert_eq!(stages, [first, (Some(490), 500, [1.3, 0.45], [1.5, 0.4], Some(450))]);
        let stages = Recipe::named("padded").unwrap().stages;
        assert_eq!((stages[0].pad, stages[1].pad), (Some(Pad { width: 1, value: 0.7 }), None));
        assert_eq!(stages[0].size_at(299, 220), 739);
    }

    #[test]
    fn inception_v3_has_the_numbers_of_the_source() {
        let init = Init { size: 299, start: Start::Uniform { low: 0.5, range: 1.0 / 25.0 } };
        let stages = vec![
            (None, 100, [1.5, 1.0], [2.4, 0.8], None),
            (Some(340), 100, [1.3, 0.45], [1.5, 0.4], Some(320)),
            (Some(390), 100, [1.3, 0.45], [1.5, 0.4], None),
        ];
        assert_eq!(numbers("inception_v3"), (init, stages));
    }

    #[test]
    fn multiscale_has_the_numbers_of_the_source() {
        let init = Init { size: 256, start: Start::Uniform { low: 0.5, range: 1.0 / 25.0 } };
        assert_eq!(numbers("multiscale"), (init, vec![(None, 100, [0.15, 0.15], [0.8, 0.8], None)]));
        let stage = &Recipe::named("multiscale").unwrap().stages[0];
        assert_eq!((stage.colour_jitter, stage.l1), (1e-4, 0.001));
        assert_eq!(share(stage.iterations, stage.blur_until), 75);
        // 74 mod 5 = 4: the last resize gives the fifth size.
        let sizes = [0, 1, 2, 5, 6, 75, 76, 100].map(|i| stage.size_at(256, i));
        assert_eq!(sizes, [256, 256, 198, 200, 256, 200, 200, 200]);
    }

    #[test]
    fn features_and_dreams_have_the_numbers_of_the_source() {
        let init = Init { size: 299, start: Start::Uniform { low: 0.5, range: 0.1 } };
        let stages = vec![
            (None, 100, [0.4, 0.3], [2.4, 0.8], None),
            (Some(340), 100, [0.3, 0.2], [1.5, 0.4], None),
            (Some(380), 100, [0.2, 0.1], [1.1, 0.3], None),
        ];
        assert_eq!(numbers("feature"), (init, stages));
        let init = Init { size: 299, start: Start::Image };
        let stages = vec![
            (None, 100, [0.5, 0.4], [2.4, 0.8], None),
            (Some(380), 100, [0.4, 0.3], [1.5, 0.4], None),
            (Some(460), 100, [0.3, 0.2], [1.1, 0.3], None),
        ];
        assert_eq!(numbers("dream"), (init, stages));
    }

    #[test]
    fn demo_steps_are_normalized_and_bounded() {
        let init = Init { size: 112, start: Start::Normal { mean: 0.5, std: 0.05 } };
        let stages =
            vec![(None, 60, [0.02, 0.01], [0.9, 0.4], None), (Some(136), 40, [0.01, 0.003], [0.4, 0.2], Some(116))];
        assert_eq!(numbers("demo"), (init, stages));
        for name in Recipe::names().filter(|name| name.starts_with("demo")) {
            let recipe = Recipe::named(name).unwrap();
            assert_eq!(recipe.normalize, Normalize::Imagenet, "{name}");
            // What keeps waves within bounds is not a limit on pixels.
            let pixels = recipe.parametrisation.is_plain();
            assert!(pixels || recipe.parametrisation.range == Range::Sigmoid, "{name}");
            for stage in recipe.stages.into_iter().filter(|_| pixels) {
                assert_eq!((stage.step, stage.clamp), (StepRule::Normalized, Some([0.0, 1.0])), "{name}");
            }
        }
    }

    #[test]
    fn every_shipped_recipe_carries_its_name_and_comes_back_from_its_own_toml() {
        for name in Recipe::names() {
            let recipe = Recipe::named(name).unwrap();
            assert_eq!(recipe.name, name);
            assert_eq!(recipe.normalize == Normalize::Source, !name.starts_with("demo"));
            assert_eq!(Recipe::parse(name, &recipe.to_toml()).unwrap(), recipe);
        }
    }

    #[test]
    fn a_stage_of_two_keys_is_the_plain_stage_and_is_written_complete() {
        let text = "name = 'a'\ndescription = ''\nnormalize = 'source'\n[init]\nkind = 'image'\nsize = 64\n\
                    [[stage]]\niterations = 5\nrate = [1, 1.5]\n";
        let recipe = Recipe::parse("a", text).unwrap();
        assert_eq!(recipe.init, Init { size: 64, start: Start::Image });
        assert_eq!(recipe.stages, [Stage::new(5, [1.0, 1.5])]);
        let written = recipe.to_toml();
        for line in ["step = \"raw\"", "sigma = [0.0, 0.0]", "blur_kernel = 3", "scale = [1.0, 1.0]", "flip = false"] {
            assert!(written.lines().any(|written| written == line), "{line} is not in\n{written}");
        }
    }

    #[test]
    fn a_recipe_with_every_key_comes_back_from_its_own_toml() {
        let stage = Stage {
            size: Some(70),
            resize: Resize::BilinearNoAntialias,
            step: StepRule::Adam,
            sigma: [1.0, 0.5],
            blur_on: BlurOn::Crop,
            crop: Some(60),
            jitter: Some(2),
            pad: Some(Pad { width: 2, value: 0.5 }),
            clamp: Some([0.0, 1.0]),
            shift: 4,
            scale: [0.9, 1.1],
            flip: true,
            rotation: 10.0,
            bn_statistics: 0.01,
            ..Stage::new(3, [0.05, 0.05])
        };
        let sizes = NearestSizes { sizes: vec![70, 64], until: 0.5 };
        let other = Stage { nearest_sizes: Some(sizes), ..Stage::new(4, [1.0, 1.0]) };
        let recipe = Recipe { stages: vec![stage, other], ..Recipe::named("demo").unwrap() };
        assert_eq!(Recipe::parse("all", &recipe.to_toml()).unwrap(), recipe);
        assert!(!recipe.to_toml().contains("parametrisation"), "what pictures carried before");
        let init = Init { size: 64, start: Start::Spectral { mean: 0.5, std: 0.1, decay: 1.25 } };
        let parametrisation = Parametrisation {
            basis: Basis::Fourier,
            decay: Some(1.5),
            colour: Colour::Decorrelated,
            range: Range::Sigmoid,
        };
        let stages = vec![Stage::new(3, [0.05, 0.05])];
        let recipe = Recipe { init, parametrisation, stages, ..Recipe::named("demo").unwrap() };
        assert_eq!(Recipe::parse("waves", &recipe.to_toml()).unwrap(), recipe);
    }

    #[test]
    fn names_files_and_absent_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, Recipe::source_text("demo").unwrap()).unwrap();
        assert_eq!(Recipe::load(path.to_str().unwrap()).unwrap(), Recipe::load("demo").unwrap());
        let unknown = Recipe::load("dmeo").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "recipe dmeo: there is none of that name; there are demo, demo-match, demo-quick, demo-quick-match, \
             demo-robust, demo-waves, googlenet, resnet50, padded, inception_v3, multiscale, feature, dream, or give a .toml file"
        );
        assert!(matches!(Recipe::load("absent.toml"), Err(Error::Io { .. })));
        assert!(matches!(Recipe::load("absent/recipe"), Err(Error::Io { .. })));
    }
}
