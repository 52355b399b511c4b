//! A network: a structure with its weights on a device, and its card.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::card::Card;
use super::head::Head;
use super::layers::{BatchNormMode, Norm, Parameter, Setting};
use super::normalize::{Normalize, Pixels, transform_input};
use super::parameters::Parameters;
use super::reading::Reading;
use super::structure::Structure;
use crate::classes::ClassList;
use crate::device::{Device, Externals};
use crate::tape::{Tape, Var};
use crate::weights::{Checkpoint, NamedArray};
use crate::{Error, Result};

/// Values that a network has put on a tape.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Logits of every head that was built, in order of execution.
    pub heads: Vec<(Head, Var)>,
    /// Every named value, in order of execution.
    pub taps: Vec<(String, Var)>,
    /// Every batch norm, in order of execution; those of a side head only where it was asked for.
    pub norms: Vec<Norm>,
    /// Every tensor of the weights that took part.
    pub parameters: Vec<Parameter>,
    network: String,
}

impl Outputs {
    /// The value that a layer computes.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] with the names that come near.
    pub fn tap(&self, layer: &str) -> Result<Var> {
        const NEAR: f64 = 0.75;
        let found = self.taps.iter().rev().find(|(name, _)| name == layer);
        found.map(|&(_, var)| var).ok_or_else(|| {
            let names = self.taps.iter().map(|(name, _)| name);
            let mut near: Vec<(f64, &str)> =
                names.map(|name| (strsim::jaro_winkler(layer, name), name.as_str())).collect();
            near.retain(|(score, _)| *score >= NEAR);
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let candidates = near.iter().take(4).map(|(_, name)| (*name).to_owned()).collect();
            Error::UnknownLayer { network: self.network.clone(), layer: layer.to_owned(), candidates }
        })
    }

    /// Tensors that training changes: all but the running statistics.
    pub fn trainable(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| !parameter.name.contains("running_"))
    }

    /// Logits of a head that was asked for.
    ///
    /// # Panics
    /// When it was not.
    pub fn head(&self, head: Head) -> Var {
        let found = self.heads.iter().find(|(other, _)| *other == head);
        found.map(|&(_, logits)| logits).expect("heads are asked for when the network is put on the tape")
    }
}

/// A network whose weights lie on a device.
pub struct Network {
    /// Its structure.
    pub structure: Structure,
    /// Whether its forward pass begins with torchvision's `transform_input`.
    pub transform_input: bool,
    /// Classes of the head that it is looked at through, its main one to begin with; none where the weights lack that.
    pub classes: ClassList,
    /// Where the weights come from, for messages.
    pub source: String,
    /// SHA-256 of the weights' file.
    pub checksum: String,
    /// The key under which that was opened ([`Checkpoint::open_at`]).
    pub key: Option<String>,
    /// What the weights' file says of itself.
    pub card: Card,
    /// What is not plain about how the weights were found in their file, in sentences for people.
    pub notes: Vec<String>,
    /// How pixel values are normalised where that is wanted and is not ImageNet's way.
    pub pixels: Option<Pixels>,
    shapes: BTreeMap<String, Vec<usize>>,
    side_heads: Vec<Head>,
    parameters: Arc<Parameters>,
}

impl Network {
    /// Checks the weights against the structure and uploads them. `id` tells networks on one tape apart.
    ///
    /// # Errors
    /// [`Error::Weights`] with everything that is missing, unexpected or of a wrong shape; those of
    /// [`Checkpoint::read`]; those of [`Device::buffer`].
    pub fn load(device: &Device, structure: &Structure, checkpoint: &Checkpoint, id: &str) -> Result<Self> {
        let reading = Reading::of(structure, checkpoint);
        let read = |name: &str| reading.read(checkpoint, name);
        let mut network = Self::upload(device, structure, reading.shapes.clone(), id, &read)
            .map_err(|error| reading.explain(error))?;
        if !network.classes.is_empty() {
            network.classes = ClassList::of_checkpoint(checkpoint, network.classes.len())?;
        }
        network.source = checkpoint.name().to_owned();
        network.checksum = checkpoint.sha256();
        network.key = checkpoint.key().map(str::to_owned);
        network.card = Card::of(checkpoint, &reading);
        network.card.side = network.card.side.or(structure.sides().map(|[h, w]| h.min(w)));
        network.pixels = network.card.pixels.filter(|pixels| *pixels != Pixels::IMAGENET);
        network.notes = notes(checkpoint, &reading, &network.card);
        network.transform_input = network.card.transform_input.unwrap_or(network.transform_input);
        Ok(network)
    }

    /// A network from arrays instead of a file, for training from scratch; without `transform_input`.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn from_arrays(
        device: &Device,
        structure: &Structure,
        arrays: &[NamedArray],
        classes: ClassList,
        id: &str,
    ) -> Result<Self> {
        let shapes = arrays.iter().map(|array| (array.name.clone(), array.shape.clone())).collect();
        let by_name: BTreeMap<&str, &NamedArray> = arrays.iter().map(|array| (array.name.as_str(), array)).collect();
        let network = Self::upload(device, structure, shapes, id, &|name| Ok(by_name[name].values.clone()))?;
        Ok(Network { transform_input: false, classes, source: "new weights".into(), ..network })
    }

    /// Checks shapes and uploads what is read by name, as the weights of a file that says nothing of itself.
    fn upload(
        device: &Device,
        structure: &Structure,
        shapes: BTreeMap<String, Vec<usize>>,
        id: &str,
        read: &dyn Fn(&str) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let (fit, built) = structure.fit(&shapes)?;
        let parameters = Parameters::upload(device, format!("{id}/"), built.parameters, read)?;
        Ok(Network {
            structure: structure.clone(),
            transform_input: structure.transforms_input(),
            classes: ClassList::unnamed(fit.classes.unwrap_or(0)),
            source: String::new(),
            checksum: String::new(),
            key: None,
            card: Card::default(),
            notes: vec![],
            pixels: None,
            shapes,
            side_heads: fit.side_heads,
            parameters: Arc::new(parameters),
        })
    }

    /// What the forward pass begins with, from pixel values [N, 3, H, W] of 0 to 1: ImageNet's normalisation, where one is wanted, is
    /// the network's own if it has one. A network of grey pictures may be given these [N, 1, H, W] too, and one of another number of
    /// channels takes values of so many, as they are.
    ///
    /// # Errors
    /// [`Error::Channels`] when the picture has another number of channels.
    pub fn input(&self, tape: &mut Tape, pixels: Var, normalize: Normalize) -> Result<Var> {
        let (expected, found) = (self.structure.channels(), tape.shape(pixels).c());
        if !self.structure.takes(found) {
            return Err(Error::Channels { network: self.source.clone(), expected, found });
        }
        match (&self.pixels, normalize) {
            // Only pictures are normalised.
            _ if !matches!(found, 1 | 3) => Ok(pixels),
            (Some(own), Normalize::Imagenet) => own.apply(tape, pixels),
            _ => normalize.apply(tape, pixels),
        }
    }

    /// Says how its training pictures were normalised, in place of what its file says: whatever it is given is normalised so.
    pub fn tell_pixels(&mut self, pixels: Pixels) {
        self.pixels = Some(pixels).filter(|pixels| *pixels != Pixels::IMAGENET);
        self.card.tell(pixels);
    }

    /// Puts the forward pass on a tape: `x` [N, 3, H, W], normalised as the caller likes. Where the picture is too small for a
    /// layer, or the weights lack the main head, the network ends there, as long as the heads and layers asked for come before.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when a layer that is needed has no pixel left, [`Error::Shape`] when `x` has not three channels,
    /// [`Error::Objective`] for a head that the weights do not have.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: Var,
        mode: BatchNormMode,
        heads: &[Head],
        layers: &[&str],
    ) -> Result<Outputs> {
        heads.iter().try_for_each(|&head| self.check_head(head))?;
        let x = if self.transform_input { transform_input(tape, x)? } else { x };
        let setting = Setting { shapes: &self.shapes, prefix: self.parameters.prefix(), mode, heads, width: None };
        let (mut built, error) = self.structure.lay(tape, setting, x);
        if !self.structure.has(Head::Main, &self.shapes) {
            built.heads.retain(|(head, _)| *head != Head::Main);
            self.structure.drop_classifier(&mut built);
        }
        let has_head = |head: &Head| built.heads.iter().any(|(other, _)| other == head);
        let has_layer = |layer: &&str| built.taps.iter().any(|(name, _)| name == layer);
        let all = heads.iter().all(has_head) && layers.iter().all(has_layer) && (heads.len() + layers.len() > 0);
        match error {
            Some(error) if !all => Err(error),
            _ => {
                let network = self.structure.name().to_owned();
                Ok(Outputs {
                    heads: built.heads,
                    taps: built.taps,
                    norms: built.norms,
                    parameters: built.parameters,
                    network,
                })
            }
        }
    }

    /// Whether the weights have a head.
    ///
    /// # Errors
    /// [`Error::Objective`] when they have not.
    pub fn check_head(&self, head: Head) -> Result<()> {
        if self.structure.has(head, &self.shapes) {
            return Ok(());
        }
        let reason = match head {
            Head::Main => format!("{} ({}) has no classifier", self.structure, self.source),
            Head::Side(_) => format!("{} ({}) has no such head", self.structure, self.source),
        };
        Err(Error::Objective { objective: format!("head {}", head.name()), reason })
    }

    /// Heads besides the main one that the weights have.
    pub fn side_heads(&self) -> &[Head] {
        &self.side_heads
    }

    /// Whether the weights have the main head.
    pub fn has_classifier(&self) -> bool {
        self.structure.has(Head::Main, &self.shapes)
    }

    /// Whether a layer of the network knows the statistics of its training.
    pub fn has_batch_norms(&self) -> bool {
        self.shapes.keys().any(|name| name.ends_with(".running_mean"))
    }

    /// Looks at the network through a head: its classes become those of that head.
    ///
    /// # Errors
    /// As [`Network::check_head`].
    pub fn look_through(&mut self, head: Head) -> Result<()> {
        self.classes = self.classes_of(head)?;
        Ok(())
    }

    /// Number of classes of the head that the network is looked at through.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The classes of a head: those of the main one where it has as many, else unnamed ones.
    ///
    /// # Errors
    /// As [`Network::check_head`].
    pub fn classes_of(&self, head: Head) -> Result<ClassList> {
        self.check_head(head)?;
        let count = self.structure.class_count(head, &self.shapes).unwrap_or(0);
        Ok(if count == self.classes.len() { self.classes.clone() } else { ClassList::unnamed(count) })
    }

    /// The tensors on the device, and what is derived from them.
    pub fn parameters(&self) -> &Arc<Parameters> {
        &self.parameters
    }

    /// The weights' buffers, by the names that recordings use.
    pub fn buffers(&self) -> &Externals {
        self.parameters.buffers()
    }

    /// Overwrites weights, as [`Network::weights`] has given them; tensors that are not among them stay.
    ///
    /// # Errors
    /// As [`Parameters::write`].
    pub fn set_weights(&self, device: &Device, arrays: &[NamedArray]) -> Result<()> {
        self.parameters.write(device, self.structure.name(), arrays)
    }

    /// The weights as they are now, in torchvision's names and order of elements.
    ///
    /// # Errors
    /// As [`Device::download`].
    pub fn weights(&self, device: &Device) -> Result<Vec<NamedArray>> {
        self.parameters.tensors(device)
    }
}

/// What is not plain about how weights were found in their file.
fn notes(checkpoint: &Checkpoint, reading: &Reading, card: &Card) -> Vec<String> {
    let mut notes = vec![];
    if let Some((taken, others)) = checkpoint.alternatives() {
        let taken =
            if taken.is_empty() { "in the file itself".to_owned() } else { format!("under the key \"{taken}\"") };
        let others: Vec<String> = others.iter().map(|other| format!("\"{other}\"")).collect();
        notes.push(format!("the weights are those {taken}; there are others under {}", others.join(", ")));
    }
    notes.extend(reading.notes());
    if let (true, Some(pixels)) = (card.normaliser, card.pixels) {
        let (text, like) = (pixels.to_string(), if pixels == Pixels::IMAGENET { ", as ImageNet's" } else { "" });
        notes.push(format!("the checkpoint normalises pixel values: {text}{like}"));
    } else if let Some(pixels) = card.pixels.filter(|pixels| *pixels != Pixels::IMAGENET) {
        notes.push(format!("pixel values are normalised as the checkpoint says: {pixels}"));
    }
    notes
}
