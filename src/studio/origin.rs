//! All that made a picture, as its file holds it: enough to make it again, and to see whether the file was changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::design::Design;
use crate::autotune;
use crate::device::Device;
use crate::digest::hex;
use crate::picture;
use crate::synthesis::recipe::Recipe;
use crate::tensor::Array;
use crate::{Error, Result};

/// Names of the texts in a file.
const RECIPE: &str = "entoptic:recipe";
const RUN: &str = "entoptic:run";
const CHECKSUM: &str = "entoptic:checksum";

/// How [`Origin`] is written; files without it were written before pictures could be made again.
const FORMAT: u32 = 2;

/// Where a picture was computed, and by what: the same gives the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Of this program.
    pub version: String,
    /// The adapter.
    pub adapter: Adapter,
    /// How kernels are chosen.
    pub kernels: String,
    /// First digits of the SHA-256 of their text.
    pub shaders: String,
}

/// An adapter, as far as it matters for bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// Its driver and that one's version.
    pub driver: String,
}

/// All that made a picture, besides its recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    format: u32,
    /// What decides how the picture looks.
    #[serde(flatten)]
    pub design: Design,
    /// Steps done; fewer than the recipe has where the user stopped.
    pub steps: usize,
    /// Loss before the first step and before the last, where they are finite.
    pub loss: [Option<f32>; 2],
    /// Where it was computed.
    #[serde(flatten)]
    pub place: Place,
    /// Whether `entoptic demo` made it, which may then replace it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demo: bool,
}

/// A picture's file: what it shows and what it says of itself.
pub struct Record {
    /// What made it.
    pub origin: Origin,
    /// Its recipe.
    pub recipe: Recipe,
    /// As saved, [1, 3, H, W].
    pub picture: Array,
    /// All texts of the file.
    pub texts: BTreeMap<String, String>,
}

impl Adapter {
    /// That of a device.
    pub fn of(device: &Device) -> Self {
        let adapter = device.adapter();
        Adapter { name: adapter.name.clone(), backend: adapter.backend.clone(), driver: adapter.driver.clone() }
    }
}

impl Place {
    /// This program on a device, after the device's kernels have been chosen.
    pub fn of(device: &Device) -> Self {
        Place {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: Adapter::of(device),
            kernels: device.tuning().tiling.to_string(),
            shaders: autotune::kernels()[..12].to_owned(),
        }
    }

    /// In what another place differs, for people: `driver A instead of B`.
    pub fn differences(&self, other: &Place) -> Vec<String> {
        let pairs = [
            ("adapter", &self.adapter.name, &other.adapter.name),
            ("backend", &self.adapter.backend, &other.adapter.backend),
            ("driver", &self.adapter.driver, &other.adapter.driver),
            ("version", &self.version, &other.version),
            ("choice of kernels", &self.kernels, &other.kernels),
            ("text of the kernels", &self.shaders, &other.shaders),
        ];
        let differing = pairs.iter().filter(|(_, here, there)| here != there);
        differing.map(|(what, here, there)| format!("{what} {here} instead of {there}")).collect()
    }
}

impl Origin {
    /// Of a picture made in so many steps, whose loss was so before the first and before the last.
    pub fn new(design: Design, (steps, loss): (usize, [Option<f32>; 2]), place: Place, demo: bool) -> Self {
        Origin { format: FORMAT, design, steps, loss, place, demo }
    }

    /// The texts for a picture's file: the program, the recipe, this, and a checksum over all of it and the pixels.
    pub fn texts(&self, recipe: &Recipe, picture: &Array) -> Vec<(String, String)> {
        let run = serde_json::to_string(self).expect("numbers, texts and lists have a form in JSON");
        let mut texts = vec![software(), (RECIPE.to_owned(), recipe.to_toml()), (RUN.to_owned(), run)];
        let sum = checksum(picture, |key| texts.iter().find(|(other, _)| other == key).map(|(_, text)| text.as_str()));
        texts.push((CHECKSUM.to_owned(), sum));
        texts
    }
}

impl Record {
    /// Reads a picture that this program wrote.
    ///
    /// # Errors
    /// [`Error::Request`] for a file that does not say what made it; those of [`picture::read`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let texts = picture::read_metadata(path)?;
        let Some(run) = texts.get(RUN) else {
            return Err(Error::request(format!(
                "{file}: does not say how it was made; it is no picture that Entoptic wrote, or was saved by another program"
            )));
        };
        let damaged = |error| Error::request(format!("{file}: its text {RUN} is damaged: {error}"));
        let value: Value = serde_json::from_str(run).map_err(damaged)?;
        match value["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(Error::request(format!(
                    "{file}: is written in format {format}, this version reads {FORMAT}; use a newer one"
                )));
            }
            None => {
                return Err(Error::request(format!(
                    "{file}: was written by an earlier version, whose pictures do not say all that made them"
                )));
            }
        }
        let origin: Origin = serde_json::from_str(run).map_err(damaged)?;
        let recipe = texts.get(RECIPE);
        let recipe = recipe.ok_or_else(|| Error::request(format!("{file}: its text {RECIPE} is missing")))?;
        let recipe = Recipe::parse(RECIPE, recipe).map_err(Error::within(&file))?;
        Ok(Record { origin, recipe, picture: picture::read(path)?, texts })
    }

    /// Whether pixels and texts are those that were written.
    pub fn is_untouched(&self) -> bool {
        let text = |key: &str| self.texts.get(key).map(String::as_str);
        text(CHECKSUM) == Some(checksum(&self.picture, text).as_str())
    }
}

/// The program, for a picture's metadata.
pub fn software() -> (String, String) {
    ("Software".to_owned(), format!("entoptic {}", env!("CARGO_PKG_VERSION")))
}

/// SHA-256 over pixels and texts.
fn checksum<'a>(picture: &Array, text: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut sum = Sha256::new();
    let [_, _, h, w] = picture.shape.0;
    sum.update([h as u64, w as u64].map(u64::to_le_bytes).concat());
    sum.update(picture::rgb(picture));
    for key in [RECIPE, RUN] {
        let text = text(key).unwrap_or_default();
        sum.update((text.len() as u64).to_le_bytes());
        sum.update(text);
    }
    hex(&sum.finalize())
}

/// SHA-256 of a file.
///
/// # Errors
/// [`Error::Io`].
pub fn file_sum(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut sum, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).map_err(Error::io(path))? {
            0 => return Ok(hex(&sum.finalize())),
            count => sum.update(&piece[..count]),
        }
    }
}
