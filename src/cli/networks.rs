//! Networks on their way onto the GPU, and what the user is told of it.

use std::path::Path;

use anyhow::{Context, bail};
use entoptic::Error;
use entoptic::autotune::{self, Settings};
use entoptic::classes::ClassList;
use entoptic::device::{AdapterChoice, Class, Device};
use entoptic::nets::{Head, Network, Normalize};
use entoptic::weights::{Checkpoint, cache_folder, demo};

use super::args::Global;
use super::models::Model;

/// A network ready to run, with what its checkpoint says of itself.
pub struct Loaded {
    pub network: Network,
    /// Share in the objective.
    pub weight: f32,
    pub head: Head,
    /// How its training pictures were normalised.
    pub trained_with: Normalize,
    /// The recipe that suits it.
    pub recipe: &'static str,
}

/// Opens the adapter that the user wants and says which it is.
pub fn open(global: &Global) -> anyhow::Result<Device> {
    let choice = global.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Named);
    let device = Device::open(&choice)?;
    global.say(format_args!("adapter: {}", device.adapter()));
    // A software driver has one kernel that is best, and keeps by itself what it compiles.
    if device.adapter().class != Class::Software {
        let folder = cache_folder();
        if let Some(folder) = &folder {
            device.keep_pipelines(folder);
        }
        if !global.no_autotune {
            let quiet = global.quiet;
            let warn = move |line: &str| {
                if !quiet {
                    eprintln!("{line}")
                }
            };
            autotune::install(&device, Settings::new(folder, warn));
        }
    }
    Ok(device)
}

/// Loads every network and says which weights it has.
pub fn load<'a>(
    global: &Global,
    device: &Device,
    models: impl IntoIterator<Item = &'a Model>,
) -> anyhow::Result<Vec<Loaded>> {
    models.into_iter().enumerate().map(|(index, model)| model.load(global, device, index)).collect()
}

/// The class list that all networks of an objective share.
pub fn shared_classes(networks: &[Loaded]) -> anyhow::Result<&ClassList> {
    let classes = &networks[0].network.classes;
    for Loaded { network, .. } in &networks[1..] {
        if network.classes != *classes {
            bail!(
                "{} and {} have different classes ({} and {}); an objective needs networks with the same list",
                networks[0].network.source,
                network.source,
                classes.len(),
                network.classes.len(),
            );
        }
    }
    Ok(classes)
}

impl Model {
    pub fn load(&self, global: &Global, device: &Device, index: usize) -> anyhow::Result<Loaded> {
        let checkpoint = self.checkpoint()?;
        let loaded = Network::load(device, self.architecture, &checkpoint, &index.to_string());
        let mut network = match loaded {
            // The one error that does not name the file itself.
            Err(error @ Error::Weights { .. }) => {
                return Err(error).with_context(|| format!("loading {}", checkpoint.name()));
            }
            loaded => loaded?,
        };
        if let Some(transform) = self.transform_input {
            network.transform_input = transform;
        }
        network.check_head(self.head)?;
        global.say(format_args!(
            "network: {}, weights {}, {} classes",
            self.architecture,
            network.source,
            network.class_count()
        ));
        let said = |key: &str| checkpoint.metadata().get(key).map(String::as_str);
        // Published files say nothing: torchvision trained them with ImageNet's mean and deviation at 224 and more.
        let trained_with = if said("normalisation") == Some("none") { Normalize::Source } else { Normalize::Imagenet };
        let small = said("side").and_then(|side| side.parse().ok()).is_some_and(|side: u32| side < 200);
        let recipe = if small { "demo" } else { self.architecture.name() };
        Ok(Loaded { network, weight: self.weight, head: self.head, trained_with, recipe })
    }

    /// The weights as given, or the demo network.
    pub fn checkpoint(&self) -> anyhow::Result<Checkpoint> {
        match &self.weights {
            Some(path) => Ok(Checkpoint::open(path)?),
            None => match demo(self.architecture.name())? {
                Some(checkpoint) => Ok(checkpoint),
                None => bail!("there is no demo network for {}; give --weights FILE", self.architecture),
            },
        }
    }
}

/// A file's name without its folder, for messages and metadata.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
