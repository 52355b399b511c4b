//! What a picture was made from, found again: weights and picture files, known by their checksums.

use std::path::{Path, PathBuf};

use super::design::{Design, Maker};
use super::loaded::{Loaded, file_name};
use super::origin::file_sum;
use crate::device::Device;
use crate::nets::{Ends, Head, Network, Structure};
use crate::picture;
use crate::tensor::Array;
use crate::weights::{Checkpoint, cache_folder, demo, demos};
use crate::{Error, Result};

/// Where to look for what pictures were made from.
pub struct Sources<'a> {
    /// Files of weights that the user names.
    pub weights: &'a [PathBuf],
    /// Pictures that the user names.
    pub images: &'a [PathBuf],
    /// The folder of the picture that is made again.
    pub beside: &'a Path,
}

impl Sources<'_> {
    /// Whether all weights that the user names are among those that designs need.
    ///
    /// # Errors
    /// [`Error::Request`] where they are not.
    pub fn check<'d>(&self, designs: impl Iterator<Item = &'d Design> + Clone) -> Result<()> {
        for path in self.weights {
            let sum = file_sum(path).map_err(Error::within("--weights"))?;
            // Weights that lie beside a file count too.
            let whole = Checkpoint::open(path).map(|checkpoint| checkpoint.sha256()).unwrap_or_default();
            let made_with = |maker: &&Maker| maker.sha256 == sum || maker.sha256 == whole;
            if !designs.clone().any(|design| design.makers().iter().any(made_with)) {
                let wanted: Vec<String> = designs
                    .flat_map(Design::makers)
                    .map(|maker| format!("{} ({})", maker.sha256, maker.weights))
                    .collect();
                return Err(Error::request(format!(
                    "--weights {}: its SHA-256 is {sum}; the picture was made with {}",
                    path.display(),
                    wanted.join(" and ")
                )));
            }
        }
        Ok(())
    }

    /// The networks that made a picture, with their parts in the objective.
    ///
    /// # Errors
    /// [`Error::Request`] for weights that are nowhere; those of [`Network::load`].
    pub fn networks(&self, device: &Device, makers: &[Maker]) -> Result<Vec<Loaded>> {
        makers.iter().enumerate().map(|(index, maker)| self.network(device, maker, index)).collect()
    }

    fn network(&self, device: &Device, maker: &Maker, index: usize) -> Result<Loaded> {
        let ends = Ends { input: maker.input.clone(), output: maker.output.clone() };
        let (structure, checkpoint) = match Structure::read_between(self.weights(maker)?, &ends)? {
            Ok(read) => read,
            Err(weights) => (maker.network.parse().map_err(Error::request)?, weights),
        };
        let mut heads = structure.side_heads().into_iter().chain([Head::Main]);
        let head = heads.find(|head| head.name() == maker.head);
        let head = head.ok_or_else(|| Error::request(format!("{structure} has no head \"{}\"", maker.head)))?;
        let mut network = Network::load(device, &structure, &checkpoint, &index.to_string())
            .map_err(Error::within(format_args!("loading {}", checkpoint.name())))?;
        network.transform_input = maker.transform_input;
        if let Some(pixels) = maker.pixels {
            network.tell_pixels(pixels);
        }
        if network.has_classifier() || head != Head::Main {
            network.look_through(head)?;
        }
        let (told, renamed) = (maker.pixels, maker.renamed);
        Ok(Loaded { told, renamed, ..Loaded::new(network, maker.weight, head) })
    }

    /// The weights of that checksum: among those that the user names, in the program, or in the cache.
    fn weights(&self, maker: &Maker) -> Result<Checkpoint> {
        let key = maker.key.as_deref();
        let given = self.weights.iter().map(|path| Checkpoint::open_at(path, key));
        let built_in = demos().map(|name| Ok(demo(name)?.expect("it is in the list")));
        let cached = cached(&maker.weights).into_iter().map(|path| Checkpoint::open_at(&path, key));
        for checkpoint in given.chain(built_in).chain(cached) {
            let checkpoint: Result<Checkpoint> = checkpoint;
            match checkpoint {
                Ok(checkpoint) if checkpoint.sha256() == maker.sha256 => return Ok(checkpoint),
                // What lies damaged in the cache may be anything.
                Ok(_) | Err(_) => {}
            }
        }
        Err(Error::request(format!(
            "the weights {} of {} (SHA-256 {}) are neither in the program nor in the cache; give their file (--weights FILE)",
            maker.weights, maker.network, maker.sha256
        )))
    }

    /// The picture file of that checksum: among those that the user names, beside the picture, or in the current folder.
    ///
    /// # Errors
    /// [`Error::Request`] where it is nowhere.
    pub fn image(&self, name: &str, sha256: &str) -> Result<PathBuf> {
        // The name comes from a file that anybody may have written.
        let name = file_name(Path::new(name));
        let near = [self.beside.join(&name), PathBuf::from(&name)];
        let mut found = self.images.iter().chain(near.iter().filter(|path| path.is_file()));
        if let Some(path) = found.find(|path| file_sum(path).is_ok_and(|sum| sum == sha256)) {
            return Ok(path.clone());
        }
        let seen: Vec<String> = self.images.iter().map(|path| path.display().to_string()).collect();
        let given = if seen.is_empty() { String::new() } else { format!("; {} is another", seen.join(", ")) };
        let taken = format!("it takes the picture {name} (SHA-256 {sha256}){given}; give its file (--image FILE)");
        Err(Error::request(taken))
    }

    /// [`Sources::image`], read.
    ///
    /// # Errors
    /// As there, and those of [`picture::read`].
    pub fn read_image(&self, name: &str, sha256: &str) -> Result<Array> {
        picture::read(&self.image(name, sha256)?)
    }
}

/// Files of weights in the cache, those of that name first.
fn cached(name: &str) -> Vec<PathBuf> {
    let entries = cache_folder().and_then(|folder| std::fs::read_dir(folder).ok());
    let known = ["pth", "pt", "safetensors"];
    let is_weights =
        |path: &PathBuf| path.is_file() && path.extension().is_some_and(|end| known.iter().any(|known| end == *known));
    let mut paths: Vec<PathBuf> =
        entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).filter(is_weights).collect();
    paths.sort_by_key(|path| (file_name(path) != name, path.clone()));
    paths
}
