//! A network with its weights on a device.
//!
//! One long file: the check of names and shapes, the upload and the folding read the same private tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::head::Head;
use super::layers::{BatchNormMode, Built, Layers, Norm, Pair, Parameter};
use super::preprocessing::transform_input;
use super::{googlenet, inception_v3, resnet50};
use crate::classes::ClassList;
use crate::device::{Device, Externals, Program, Recorder};
use crate::ops::{Fold, View};
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Layout, Shape};
use crate::weights::{Checkpoint, NamedArray};
use crate::{Error, Result};

/// The structures there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// torchvision's `resnet50`.
    ResNet50,
    /// torchvision's `googlenet`.
    GoogLeNet,
    /// torchvision's `inception_v3`.
    InceptionV3,
}

impl Architecture {
    /// Every structure.
    pub const ALL: [Architecture; 3] = [Architecture::ResNet50, Architecture::GoogLeNet, Architecture::InceptionV3];

    /// torchvision's name.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::ResNet50 => "resnet50",
            Architecture::GoogLeNet => "googlenet",
            Architecture::InceptionV3 => "inception_v3",
        }
    }

    fn first(self) -> (&'static str, usize) {
        match self {
            Architecture::ResNet50 => resnet50::FIRST,
            Architecture::GoogLeNet => googlenet::FIRST,
            Architecture::InceptionV3 => inception_v3::FIRST,
        }
    }

    /// Heads besides the main one, with the tensor whose presence tells that the weights have it.
    fn side_heads(self) -> &'static [(Head, &'static str)] {
        match self {
            Architecture::ResNet50 => &[],
            Architecture::GoogLeNet => &[(Head::Aux1, "aux1.fc2.weight"), (Head::Aux2, "aux2.fc2.weight")],
            Architecture::InceptionV3 => &[(Head::Aux, "AuxLogits.fc.weight")],
        }
    }

    /// Names and sizes of all tensors for a width (1 for the full network, every channel count times it, at least four) and a
    /// number of classes, with the side heads asked for: what a checkpoint for training from scratch must hold.
    ///
    /// # Errors
    /// None for widths above 0.
    pub fn tensors(self, width: f64, classes: usize, heads: &[Head]) -> Result<Vec<(String, Vec<usize>)>> {
        let (first, channels) = self.first();
        // The first tensor tells the structure its width; where nothing is known it says what it would take.
        let channels = ((channels as f64 * width).round() as usize).max(4);
        let kernel = if self == Architecture::InceptionV3 { 3 } else { 7 };
        let known = BTreeMap::from([(first.to_owned(), vec![channels, 3, kernel, kernel])]);
        let mut tape = Tape::default();
        let x = tape.input("picture", ANY_PICTURE);
        let built = build(self, &mut tape, &known, "", UNFOLDED, x, heads)?.1;
        let sizes = |Parameter { name, shape, layout, .. }: Parameter| {
            let (layer, leaf) = name.rsplit_once('.').unwrap_or_default();
            let linear = layer.rsplit('.').next().is_some_and(|layer| layer.starts_with("fc"));
            // Class layers end a head; GoogLeNet's side heads have another linear layer before.
            let n = if linear && !layer.ends_with("fc1") { classes } else { shape.n() };
            let sizes = match (layout, leaf) {
                (Layout::Filter, _) if linear => vec![n, shape.elements() / shape.n()],
                (Layout::Filter, _) => shape.0.to_vec(),
                (Layout::Picture, "bias") if linear && !layer.ends_with("fc1") => vec![classes],
                (Layout::Picture, _) => vec![shape.c()],
            };
            (name, sizes)
        };
        Ok(built.parameters.into_iter().map(sizes).collect())
    }

    /// The full-size network on a tape, without weights, for pictures [N, 3, H, W]: to know its operations.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when a layer has no pixel left.
    pub fn sketch(self, pictures: Shape, mode: BatchNormMode) -> Result<Tape> {
        let shapes = self.tensors(1.0, 1000, &[])?.into_iter().collect();
        let mut tape = Tape::default();
        let x = tape.input("picture", pictures);
        build(self, &mut tape, &shapes, "", (mode, &[]), x, &[])?;
        Ok(tape)
    }

    /// Checks the names and shapes of weights against the structure, without a GPU and without reading a number.
    ///
    /// # Errors
    /// [`Error::Weights`] with everything that is missing, unexpected or of a wrong shape; [`Error::File`] when the
    /// metadata lists another number of classes.
    pub fn check(self, checkpoint: &Checkpoint) -> Result<Fit> {
        let shapes = shapes(checkpoint);
        check(self, &shapes)?;
        let (first, channels) = self.first();
        let (width, classes) = (shapes[first][0] as f64 / channels as f64, shapes["fc.weight"][0]);
        ClassList::of_checkpoint(checkpoint, classes)?;
        Ok(Fit { width, classes, side_heads: side_heads(self, &shapes) })
    }

    /// Whether torchvision's pretrained files of this network are used with `transform_input`.
    fn transforms_input(self) -> bool {
        self != Architecture::ResNet50
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Architecture::ALL.map(Architecture::name).join(", ");
        let found = Architecture::ALL.into_iter().find(|architecture| architecture.name() == name);
        found.ok_or_else(|| format!("no network is called \"{name}\"; there are: {known}"))
    }
}

/// What the shapes of weights say, once they fit a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Channels of the first convolution over those of the full network.
    pub width: f64,
    /// Logits of the main head.
    pub classes: usize,
    /// Heads besides the main one.
    pub side_heads: Vec<Head>,
}

/// Values that a network has put on a tape.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Logits [N, classes, 1, 1] of the main head.
    pub logits: Var,
    /// Logits of every head asked for, the main one first.
    pub heads: Vec<(Head, Var)>,
    /// Every named value, in order of execution; where batch norms are folded, convolutions and batch norms only if asked for.
    pub taps: Vec<(String, Var)>,
    /// Every batch norm that is not folded, in order of execution; those of a side head only where it was asked for.
    pub norms: Vec<Norm>,
    /// Every tensor of the weights that took part, folded ones excepted.
    pub parameters: Vec<Parameter>,
    /// Names of layers without a value of their own.
    merged: Vec<String>,
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
            let names = self.taps.iter().map(|(name, _)| name).chain(&self.merged);
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
    pub architecture: Architecture,
    /// Whether its forward pass begins with torchvision's `transform_input`.
    pub transform_input: bool,
    /// Its classes.
    pub classes: ClassList,
    /// Where the weights come from, for messages.
    pub source: String,
    /// SHA-256 of the weights' file.
    pub checksum: String,
    prefix: String,
    shapes: BTreeMap<String, Vec<usize>>,
    forms: BTreeMap<String, (Shape, Layout)>,
    pairs: Vec<Pair>,
    buffers: Externals,
    folded: OnceLock<Externals>,
}

impl Network {
    /// Checks the weights against the structure and uploads them. `id` tells networks on one tape apart.
    ///
    /// # Errors
    /// [`Error::Weights`] with everything that is missing, unexpected or of a wrong shape; those of
    /// [`Checkpoint::read`]; those of [`Device::buffer`].
    pub fn load(device: &Device, architecture: Architecture, checkpoint: &Checkpoint, id: &str) -> Result<Self> {
        let shapes = shapes(checkpoint);
        let classes = shapes.get("fc.weight").and_then(|sizes| sizes.first()).copied();
        let mut network = Self::upload(device, architecture, shapes, id, &|name| checkpoint.read(name))?;
        network.classes = ClassList::of_checkpoint(checkpoint, classes.unwrap_or_default())?;
        network.source = checkpoint.name().to_owned();
        network.checksum = checkpoint.sha256();
        if let Some(said) = checkpoint.metadata().get("transform_input") {
            network.transform_input = said.eq_ignore_ascii_case("true");
        }
        Ok(network)
    }

    /// A network from arrays instead of a file, for training from scratch; without `transform_input`.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn from_arrays(
        device: &Device,
        architecture: Architecture,
        arrays: &[NamedArray],
        classes: ClassList,
        id: &str,
    ) -> Result<Self> {
        let shapes = arrays.iter().map(|array| (array.name.clone(), array.shape.clone())).collect();
        let by_name: BTreeMap<&str, &NamedArray> = arrays.iter().map(|array| (array.name.as_str(), array)).collect();
        let network = Self::upload(device, architecture, shapes, id, &|name| Ok(by_name[name].values.clone()))?;
        Ok(Network { transform_input: false, classes, source: "new weights".into(), ..network })
    }

    /// Checks shapes and uploads what is read by name; what files say of themselves is as for one that is silent.
    fn upload(
        device: &Device,
        architecture: Architecture,
        shapes: BTreeMap<String, Vec<usize>>,
        id: &str,
        read: &dyn Fn(&str) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let Built { parameters: used, pairs, .. } = check(architecture, &shapes)?;
        let prefix = format!("{id}/");
        let mut buffers = Externals::new();
        let mut forms = BTreeMap::new();
        for Parameter { name, shape, layout, .. } in used {
            let array = Array::new(shape, read(&name)?);
            let key = format!("{prefix}{name}");
            let buffer = device.upload(&key, layout, &array)?;
            buffers.insert(key, buffer);
            forms.insert(name, (shape, layout));
        }
        Ok(Network {
            architecture,
            transform_input: architecture.transforms_input(),
            classes: ClassList::unnamed(shapes["fc.weight"][0]),
            source: String::new(),
            checksum: String::new(),
            prefix,
            shapes,
            forms,
            pairs,
            buffers,
            folded: OnceLock::new(),
        })
    }

    /// Puts the forward pass on a tape: `x` [N, 3, H, W], normalised as the caller likes. `apart` names layers that must have a
    /// value of their own although batch norms are folded.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when a layer has no pixel left, [`Error::Shape`] when `x` has not three channels,
    /// [`Error::Objective`] for a head that the weights do not have.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: Var,
        mode: BatchNormMode,
        heads: &[Head],
        apart: &[&str],
    ) -> Result<Outputs> {
        heads.iter().try_for_each(|&head| self.check_head(head))?;
        let x = if self.transform_input { transform_input(tape, x)? } else { x };
        let (heads, built) = build(self.architecture, tape, &self.shapes, &self.prefix, (mode, apart), x, heads)?;
        let network = self.architecture.name().to_owned();
        let Built { parameters, taps, merged, norms, .. } = built;
        Ok(Outputs { logits: heads[0].1, heads, taps, norms, parameters, merged, network })
    }

    /// Whether the weights have a head.
    ///
    /// # Errors
    /// [`Error::Objective`] when they have not.
    pub fn check_head(&self, head: Head) -> Result<()> {
        if head == Head::Main || side_heads(self.architecture, &self.shapes).contains(&head) {
            return Ok(());
        }
        let objective = format!("head {}", head.name());
        let reason = format!("{} ({}) has no such head", self.architecture, self.source);
        Err(Error::Objective { objective, reason })
    }

    /// Number of classes.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The weights' buffers, by the names that recordings use.
    pub fn buffers(&self) -> &Externals {
        &self.buffers
    }

    /// Buffers for [`BatchNormMode::Folded`], brought up to date with the weights as they are now. They are shared: programs that
    /// were prepared earlier see them too, and see nothing of later changes of weights until this is called again.
    ///
    /// # Errors
    /// Those of the device.
    pub fn folded(&self, device: &Device) -> Result<Externals> {
        let mut recorder = Recorder::new(device.tuning());
        for pair in &self.pairs {
            recorder.layer(&pair.conv);
            let tensors = pair.tensors();
            let [weight, norm @ ..] = tensors.map(|name| {
                let (shape, layout) = self.forms[&name];
                View::whole(recorder.external(&self.key(&name), layout.bytes(shape)), shape, layout)
            });
            let [c, c_in, kh, kw] = weight.shape.0;
            let (first, channels) = pair.joint.as_ref().map_or((0, c), |joint| (joint.first, joint.channels));
            let [folded, shift] = pair.folded().map(|name| self.key(&name));
            let all = Shape::channels(channels);
            let folded = recorder.external(&folded, Layout::Filter.bytes(Shape::new(channels, c_in, kh, kw)));
            let shift = recorder.external(&shift, Layout::Picture.bytes(all));
            let shift = View::whole(shift, all, Layout::Picture).slice(first, c);
            Fold { eps: pair.eps }.record(&mut recorder, weight, norm, folded, shift);
        }
        let recording = recorder.finish();
        let mut externals = self.buffers.clone();
        externals.extend(self.folded.get().cloned().unwrap_or_default());
        Program::provide(device, &recording, &mut externals)?;
        Program::prepare(device, "fold", &recording, &externals)?.run()?;
        externals.retain(|name, _| !self.buffers.contains_key(name));
        Ok(self.folded.get_or_init(|| externals).clone())
    }

    /// The first convolution and its batch norm, by name.
    pub(super) fn first_pair(&self) -> &Pair {
        let (tensor, _) = self.architecture.first();
        let first = self.pairs.iter().find(|pair| tensor.strip_suffix(".weight") == Some(&pair.conv));
        first.expect("every network begins with a convolution")
    }

    /// A tensor of the weights as it is now.
    pub(super) fn tensor(&self, device: &Device, name: &str) -> Result<Array> {
        let (shape, layout) = self.forms[name];
        device.download(&self.buffers[&self.key(name)], layout, shape)
    }

    /// The name under which recordings know a tensor.
    pub fn key(&self, tensor: &str) -> String {
        format!("{}{tensor}", self.prefix)
    }

    /// Overwrites weights, as [`Network::weights`] has given them; tensors that are not among them stay.
    ///
    /// # Errors
    /// [`Error::Shape`] for an array that this network has not or has otherwise; as [`Device::write_array`].
    pub fn set_weights(&self, device: &Device, arrays: &[NamedArray]) -> Result<()> {
        for NamedArray { name, shape: sizes, values } in arrays {
            let Some(&(shape, layout)) = self.forms.get(name).filter(|_| self.shapes[name] == *sizes) else {
                let expected = self.shapes.get(name).map_or("absent".to_owned(), |sizes| format!("{sizes:?}"));
                return Err(Error::shape(self.architecture.name(), name, expected, format!("{sizes:?}")));
            };
            device.write_array(&self.buffers[&self.key(name)], layout, &Array::new(shape, values.clone()))?;
        }
        // Programs may be using what was folded.
        if self.folded.get().is_some() {
            self.folded(device)?;
        }
        Ok(())
    }

    /// The weights as they are now, in torchvision's names and order of elements.
    ///
    /// # Errors
    /// As [`Device::download`].
    pub fn weights(&self, device: &Device) -> Result<Vec<NamedArray>> {
        let fetch = |(name, &(shape, layout)): (&String, &(Shape, Layout))| {
            let buffer = &self.buffers[&self.key(name)];
            let values = device.download(buffer, layout, shape)?.values;
            Ok(NamedArray { name: name.clone(), shape: self.shapes[name].clone(), values })
        };
        self.forms.iter().map(fetch).collect()
    }
}

fn build(
    architecture: Architecture,
    tape: &mut Tape,
    shapes: &BTreeMap<String, Vec<usize>>,
    prefix: &str,
    mode: (BatchNormMode, &[&str]),
    x: Var,
    heads: &[Head],
) -> Result<(Vec<(Head, Var)>, Built)> {
    let mut layers = Layers::new(tape, shapes, prefix, mode, architecture.first());
    let heads = match architecture {
        Architecture::ResNet50 => resnet50::forward(&mut layers, x)?,
        Architecture::GoogLeNet => googlenet::forward(&mut layers, x, heads)?,
        Architecture::InceptionV3 => inception_v3::forward(&mut layers, x, heads)?,
    };
    Ok((heads, layers.finish()))
}

fn shapes(checkpoint: &Checkpoint) -> BTreeMap<String, Vec<usize>> {
    checkpoint.names().filter_map(|name| Some((name.to_owned(), checkpoint.shape(name)?.to_vec()))).collect()
}

/// Side heads that the weights hold.
fn side_heads(architecture: Architecture, shapes: &BTreeMap<String, Vec<usize>>) -> Vec<Head> {
    let present = architecture.side_heads().iter().filter(|(_, tensor)| shapes.contains_key(*tensor));
    present.map(|(head, _)| *head).collect()
}

/// Every layer with a value of its own.
const UNFOLDED: (BatchNormMode, &[&str]) = (BatchNormMode::Frozen, &[]);

/// What a structure uses, or everything in which the weights differ from it.
fn check(architecture: Architecture, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Built> {
    let mut tape = Tape::default();
    let x = tape.input("picture", ANY_PICTURE);
    let heads = side_heads(architecture, shapes);
    let network = architecture.name().to_owned();
    let mut built = match build(architecture, &mut tape, shapes, "", UNFOLDED, x, &heads) {
        Ok((_, built)) => built,
        // Blocks whose parts do not fit together.
        Err(error) => return Err(Error::Weights { network, problems: vec![error.to_string()] }),
    };
    let used: BTreeSet<&str> = built.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut problems = std::mem::take(&mut built.problems);
    let unexpected = shapes.keys().filter(|name| !used.contains(name.as_str()) && !tolerated(name));
    problems.extend(unexpected.map(|name| format!("unexpected: {name} {:?}", shapes[name])));
    if problems.is_empty() {
        return Ok(built);
    }
    let more = problems.len().saturating_sub(PROBLEMS_SHOWN);
    problems.truncate(PROBLEMS_SHOWN);
    if more > 0 {
        problems.push(format!("and {more} more; is this a checkpoint of another network?"));
    }
    Err(Error::Weights { network, problems })
}

/// The shapes of weights do not depend on the picture's; this size passes every layer.
const ANY_PICTURE: Shape = Shape::new(1, 3, 299, 299);

/// More lines than this do not help to see what is wrong.
const PROBLEMS_SHOWN: usize = 40;

/// Entries that published files hold and evaluation does not use.
fn tolerated(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || ["aux1.", "aux2.", "AuxLogits."].iter().any(|head| name.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(architecture: Architecture, width: f64) -> BTreeMap<String, Vec<usize>> {
        architecture.tensors(width, 1000, &Head::ALL).expect("any width fits").into_iter().collect()
    }

    #[test]
    fn full_and_narrow_networks_have_torchvisions_tensors() {
        for (architecture, tensors) in
            [(Architecture::ResNet50, 267), (Architecture::GoogLeNet, 305), (Architecture::InceptionV3, 484)]
        {
            for width in [1.0, 0.25, 0.01] {
                assert_eq!(check(architecture, &shapes(architecture, width)).expect("fits").parameters.len(), tensors);
            }
        }
    }

    #[test]
    fn widths_scale_channels_and_classes_are_as_asked() {
        let narrow: BTreeMap<_, _> =
            Architecture::GoogLeNet.tensors(0.25, 7, &[Head::Aux1]).expect("fits").into_iter().collect();
        assert_eq!(narrow["conv1.conv.weight"], [16, 3, 7, 7]);
        assert_eq!(narrow["inception3a.branch3.0.conv.weight"], [4, 48, 1, 1]);
        assert_eq!((&narrow["fc.weight"][..], &narrow["fc.bias"][..]), (&[7, 256][..], &[7][..]));
        assert_eq!((&narrow["aux1.fc1.weight"][..], &narrow["aux1.fc2.weight"][..]), (&[256, 512][..], &[7, 256][..]));
        assert!(!narrow.contains_key("aux2.fc2.weight"));
        // The parameters of the full network, as torchvision counts them.
        for (architecture, parameters) in [
            (Architecture::ResNet50, 25_557_032),
            (Architecture::GoogLeNet, 13_004_888),
            (Architecture::InceptionV3, 27_161_264),
        ] {
            let full = architecture.tensors(1.0, 1000, &Head::ALL).expect("fits");
            let trained = full.iter().filter(|(name, _)| !name.contains("running_"));
            assert_eq!(trained.map(|(_, sizes)| sizes.iter().product::<usize>()).sum::<usize>(), parameters);
        }
    }

    #[test]
    fn everything_that_differs_comes_in_one_error() {
        let mut shapes = shapes(Architecture::ResNet50, 1.0);
        shapes.remove("layer2.1.bn3.bias");
        shapes.remove("layer4.2.conv2.weight");
        shapes.insert("layer1.0.conv2.weight".into(), vec![64, 64, 5, 5]);
        shapes.insert("head.extra".into(), vec![3]);
        shapes.insert("bn1.num_batches_tracked".into(), vec![]);
        let error = check(Architecture::ResNet50, &shapes).unwrap_err().to_string();
        for part in ["missing: layer2.1.bn3.bias", "missing: layer4.2.conv2.weight", "head.extra"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(
            error.contains("wrong shape: layer1.0.conv2.weight is [64, 64, 5, 5], expected [any, 64, 3, 3]"),
            "{error}"
        );
        assert!(!error.contains("num_batches_tracked"), "{error}");
    }
}
