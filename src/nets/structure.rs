//! What a network is, apart from its weights: a name, what it does to a picture, and its heads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::head::Head;
use super::layers::{BatchNormMode, Built, Layers, Setting};
use crate::tape::{Tape, Var};
use crate::tensor::Shape;
use crate::weights::Checkpoint;
use crate::{Error, Result};

/// What puts a network on a tape: x [N, C, H, W], layer after layer; logits are handed to [`Layers::logits`].
type Build = dyn Fn(&mut Layers, Var) -> Result<()> + Send + Sync;

/// A network without its weights; cheap to clone.
#[derive(Clone)]
pub struct Structure(Arc<Description>);

#[derive(Clone)]
struct Description {
    name: String,
    /// Each head and the layer that computes its logits, the main one first.
    heads: Vec<(Head, String)>,
    transforms_input: bool,
    recipe: &'static str,
    build: Arc<Build>,
    /// What a file says that describes the network; none for those of the zoo.
    imported: Option<Imported>,
}

/// What a file says of its network.
#[derive(Clone)]
pub(super) struct Imported {
    /// Number of logits; none where the network does not end in such.
    pub classes: Option<usize>,
    /// Channels of its pictures.
    pub channels: usize,
    /// Height and width of the pictures that it was exported with.
    pub sides: [usize; 2],
    /// What stands behind the logits in the file, and is left out.
    pub behind: Option<&'static str>,
    /// Convolutions into which the exporter has folded a batch norm.
    pub folded: usize,
    /// Sizes of its tensors.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Which of its inputs and outputs these are, where the user has said so.
    pub ends: Ends,
    /// Writes the network down without its weights.
    pub describe: Arc<Describe>,
}

/// What writes a network down; the words of an error where that is not possible.
pub(super) type Describe = dyn Fn() -> Result<String, String> + Send + Sync;

/// Which input and output of a network are meant, where its file has several: by name, or by place, counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The input that takes the picture.
    pub input: Option<String>,
    /// The output that is looked at.
    pub output: Option<String>,
}

impl Structure {
    /// A network of this name whose classes are the outputs of layer `classifier`.
    pub(super) fn new(
        name: &str,
        classifier: &str,
        build: impl Fn(&mut Layers, Var) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let heads = vec![(Head::Main, classifier.to_owned())];
        let (name, build) = (name.to_owned(), Arc::new(build));
        let (recipe, imported) = ("resnet50", None);
        Structure(Arc::new(Description { name, heads, transforms_input: false, recipe, build, imported }))
    }

    /// The same with heads besides the main one, each with the layer that computes its logits.
    pub(super) fn with_heads(self, heads: &[(&'static str, &str)]) -> Self {
        let mut description = (*self.0).clone();
        description.heads.extend(heads.iter().map(|&(name, layer)| (Head::Side(name), layer.to_owned())));
        Structure(Arc::new(description))
    }

    /// The same, of which torchvision's pretrained files are used with `transform_input`.
    pub(super) fn transforming_input(self) -> Self {
        Structure(Arc::new(Description { transforms_input: true, ..(*self.0).clone() }))
    }

    /// The same as a file describes it.
    pub(super) fn imported(self, imported: Imported) -> Self {
        Structure(Arc::new(Description { imported: Some(imported), ..(*self.0).clone() }))
    }

    /// Whether a file describes it, so that it is not one of the zoo.
    pub fn is_imported(&self) -> bool {
        self.0.imported.is_some()
    }

    fn file(&self) -> Option<&Imported> {
        self.0.imported.as_ref()
    }

    /// Channels of what it takes: 3 for pictures, 1 for grey ones, others for values that are no pictures.
    pub fn channels(&self) -> usize {
        self.file().map_or(3, |imported| imported.channels)
    }

    /// Channels of the pictures that it is given: one that takes grey ones makes them from three colours by itself.
    pub fn colours(&self) -> usize {
        if self.channels() == 1 { 3 } else { self.channels() }
    }

    /// Whether it can be given values of so many channels.
    pub fn takes(&self, channels: usize) -> bool {
        channels == self.channels() || channels == self.colours()
    }

    /// Height and width of the pictures that its file was made with; none for those of the zoo, which take any that is large enough.
    pub fn sides(&self) -> Option<[usize; 2]> {
        self.file().map(|imported| imported.sides)
    }

    /// Height and width of the pictures that it takes, where it takes no squares of this side.
    pub fn only_sides(&self, side: usize) -> Option<[usize; 2]> {
        match self.file().map(|_| self.sketch(Shape::new(1, self.colours(), side, side), BatchNormMode::Frozen)) {
            Some(Err(Error::PictureSize { sides, .. })) => Some(sides),
            _ => None,
        }
    }

    /// The function behind the logits that its file has and that is left out: `softmax` or `sigmoid`.
    pub fn behind_logits(&self) -> Option<&'static str> {
        self.file().and_then(|imported| imported.behind)
    }

    /// Convolutions into which the exporter of its file has folded a batch norm, as far as the names in the file tell.
    pub fn folded_norms(&self) -> usize {
        self.file().map_or(0, |imported| imported.folded)
    }

    /// Which of its file's inputs and outputs these are, where the user has said so.
    pub fn ends(&self) -> Ends {
        self.file().map_or_else(Ends::default, |imported| imported.ends.clone())
    }

    /// The network without its weights as a text, for the metadata of a file of weights ([`crate::weights::PROGRAM`]) that is to
    /// describe it as its own file did. None for those of the zoo, which their name describes.
    ///
    /// # Errors
    /// [`Error::File`] when the text would be too long for that.
    pub fn description(&self) -> Result<Option<String>> {
        let describe = |imported: &Imported| (imported.describe)().map_err(|reason| Error::file(self.name(), reason));
        self.file().map(describe).transpose()
    }

    /// A picture that passes every layer. The shapes of weights do not depend on it.
    pub fn any_picture(&self) -> Shape {
        let [h, w] = self.sides().unwrap_or([ANY_SIDE; 2]);
        Shape::new(1, self.colours(), h, w)
    }

    /// torchvision's name, or that of the file.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The recipe for pictures of a published checkpoint: that of the experiments where they had such a network, else the plainest
    /// of these.
    pub fn recipe(&self) -> &'static str {
        self.0.recipe
    }

    /// The same with a recipe of its own.
    pub(super) fn with_recipe(self, recipe: &'static str) -> Self {
        Structure(Arc::new(Description { recipe, ..(*self.0).clone() }))
    }

    /// Heads besides the main one that such a network may have.
    pub fn side_heads(&self) -> Vec<Head> {
        self.0.heads[1..].iter().map(|(head, _)| *head).collect()
    }

    /// The tensor of a head's logits: its first size is the number of classes. None for a head that there is not.
    pub(super) fn classifier(&self, head: Head) -> Option<String> {
        self.0.heads.iter().find(|(other, _)| *other == head).map(|(_, layer)| format!("{layer}.weight"))
    }

    /// Whether torchvision's pretrained files of this network are used with `transform_input`.
    pub fn transforms_input(&self) -> bool {
        self.0.transforms_input
    }

    /// Names and sizes of all tensors for a width (1 for the full network, every channel count times it, at least four) and a
    /// number of classes, with the side heads asked for: what a checkpoint for training from scratch must hold.
    ///
    /// # Errors
    /// None for widths above 0.
    pub fn tensors(&self, width: f64, classes: usize, heads: &[Head]) -> Result<Vec<(String, Vec<usize>)>> {
        let nothing = BTreeMap::new();
        let setting = Setting { heads, width: Some(width), ..Setting::of(&nothing) };
        let parameters = self.build(&mut Tape::default(), setting, self.any_picture())?.parameters;
        let classifiers: BTreeSet<&str> = self.0.heads.iter().map(|(_, layer)| layer.as_str()).collect();
        let mut seen = BTreeSet::new();
        let mut tensors = Vec::new();
        for parameter in parameters {
            let mut sizes = parameter.sizes;
            if parameter.tensor.rsplit_once('.').is_some_and(|(layer, _)| classifiers.contains(layer)) {
                sizes[0] = classes;
            }
            if seen.insert(parameter.tensor.clone()) {
                tensors.push((parameter.tensor, sizes));
            }
        }
        Ok(tensors)
    }

    /// The full-size network on a tape, without weights, for pictures [N, 3, H, W], and its logits: to know its operations.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when a layer has no pixel left.
    pub fn sketch(&self, pictures: Shape, mode: BatchNormMode) -> Result<(Tape, Var)> {
        let shapes = match self.file() {
            Some(imported) => imported.shapes.clone(),
            None => self.tensors(1.0, 1000, &[])?.into_iter().collect(),
        };
        let mut tape = Tape::default();
        let built = self.build(&mut tape, Setting { mode, ..Setting::of(&shapes) }, pictures)?;
        let logits = built.heads.iter().find(|(head, _)| *head == Head::Main).map(|(_, logits)| *logits);
        // One without logits ends in its last layer.
        let end = logits.or(built.taps.last().map(|(_, var)| *var));
        let none = || Error::Objective { objective: "head main".into(), reason: format!("{self} has no layer") };
        Ok((tape, end.ok_or_else(none)?))
    }

    /// The smallest side of a square picture that passes every layer of the full network, side heads excepted.
    ///
    /// # Errors
    /// None.
    pub fn smallest_side(&self) -> Result<usize> {
        let passes = |side: usize| match self.sketch(Shape::new(1, self.colours(), side, side), BatchNormMode::Frozen) {
            Err(Error::TooSmall { .. }) => Ok(false),
            other => other.map(|_| true),
        };
        // What a picture passes a larger one does too.
        let (mut below, mut above) = (0, self.any_picture().h());
        while above - below > 1 {
            let middle = (below + above) / 2;
            if passes(middle)? { above = middle } else { below = middle }
        }
        Ok(above)
    }

    /// What weights of these sizes say, and the tensors that a network made of them uses; or everything in which they differ from
    /// the structure. Weights may lack the main head: then the layers before it can still be looked at.
    pub(super) fn fit(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<(Fit, Built)> {
        let side_heads = self.side_heads().into_iter().filter(|&head| self.has(head, shapes)).collect::<Vec<_>>();
        let setting = Setting { heads: &side_heads, ..Setting::of(shapes) };
        let refused = |problems| Error::Weights { network: self.name().to_owned(), problems };
        let mut tape = Tape::default();
        let x = tape.input("picture", self.any_picture());
        let (mut built, error) = self.lay(&mut tape, setting, x);
        // Blocks whose parts do not fit together, perhaps for what is missing of them.
        if let Some(error) = error {
            return Err(refused(built.problems.into_iter().chain([error.to_string()]).collect()));
        }
        let used: BTreeSet<&str> = built.parameters.iter().map(|parameter| parameter.tensor.as_str()).collect();
        let mut problems = std::mem::take(&mut built.problems);
        let unexpected: Vec<&String> =
            shapes.keys().filter(|name| !used.contains(name.as_str()) && !self.tolerates(name)).collect();
        let head = self.classifier(Head::Main).unwrap_or_default();
        let layer = head.trim_end_matches("weight").to_owned();
        let of_head = |name: &str| name.strip_prefix("missing: ").is_some_and(|name| name.starts_with(&layer));
        let headless =
            unexpected.is_empty() && !shapes.contains_key(&head) && problems.iter().all(|line| of_head(line));
        if headless && !shapes.is_empty() {
            problems.clear();
            built.parameters.retain(|parameter| !parameter.tensor.starts_with(&layer));
        }
        problems.extend(unexpected.into_iter().map(|name| format!("unexpected: {name} {:?}", shapes[name])));
        if problems.is_empty() {
            let classes = self.class_count(Head::Main, shapes);
            return Ok((Fit { width: built.width.unwrap_or(1.0), classes, side_heads }, built));
        }
        let more = problems.len().saturating_sub(PROBLEMS_SHOWN);
        problems.truncate(PROBLEMS_SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more; is this a checkpoint of another network?"));
        }
        Err(refused(problems))
    }

    /// Whether weights of these sizes have a head.
    pub(super) fn has(&self, head: Head, shapes: &BTreeMap<String, Vec<usize>>) -> bool {
        if let (Some(imported), Head::Main) = (self.file(), head) {
            return imported.classes.is_some();
        }
        self.classifier(head).is_some_and(|tensor| shapes.contains_key(&tensor))
    }

    /// Classes of a head that weights of these sizes have.
    pub(super) fn class_count(&self, head: Head, shapes: &BTreeMap<String, Vec<usize>>) -> Option<usize> {
        let of_tensor = shapes.get(&self.classifier(head)?).map(|sizes| sizes[0]);
        let said = self.file().filter(|_| head == Head::Main).and_then(|imported| imported.classes);
        of_tensor.or(said)
    }

    /// Whether a tensor belongs to the layer that computes a head's logits, or is part of a side head.
    pub fn is_of_a_head(&self, tensor: &str) -> bool {
        let classifier = self.classifier(Head::Main).unwrap_or_default();
        tensor.starts_with(classifier.trim_end_matches("weight")) || self.is_of_a_side_head(tensor)
    }

    /// Whether weights of these sizes have a tensor for each name that the structure uses, heads excepted.
    pub(super) fn has_all(&self, shapes: &BTreeMap<String, Vec<usize>>) -> bool {
        let tensors = self.tensors(1.0, 1000, &[]).unwrap_or_default();
        tensors.iter().all(|(name, _)| shapes.contains_key(name) || self.is_of_a_head(name))
    }

    /// Leaves out what weights without the main head do not have.
    pub(super) fn drop_classifier(&self, built: &mut Built) {
        let tensor = self.classifier(Head::Main).unwrap_or_default();
        let layer = tensor.trim_end_matches("weight");
        built.parameters.retain(|parameter| !parameter.tensor.starts_with(layer));
        if let Some(place) = built.taps.iter().position(|(name, _)| layer.trim_end_matches('.') == name) {
            built.taps.truncate(place);
        }
    }

    fn is_of_a_side_head(&self, tensor: &str) -> bool {
        // What belongs to a side head begins as its classifier does.
        let begins = |(_, layer): &(Head, String)| {
            layer
                .split_once('.')
                .is_some_and(|(head, _)| tensor.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')))
        };
        self.0.heads[1..].iter().any(begins)
    }

    /// Entries that published files hold and evaluation does not use.
    pub fn tolerates(&self, name: &str) -> bool {
        name.ends_with("num_batches_tracked") || self.is_of_a_side_head(name)
    }

    /// Puts the network on a tape.
    fn build(&self, tape: &mut Tape, setting: Setting, pictures: Shape) -> Result<Built> {
        let x = tape.input("picture", pictures);
        let (built, error) = self.lay(tape, setting, x);
        error.map_or(Ok(built), Err)
    }

    /// Puts the network on a tape, as far as that goes: the layers before an error are there.
    pub(super) fn lay(&self, tape: &mut Tape, setting: Setting, x: Var) -> (Built, Option<Error>) {
        let mut layers = Layers::new(tape, setting);
        let error = (self.0.build)(&mut layers, x).err();
        (layers.finish(), error)
    }
}

/// The sizes of all tensors of a checkpoint.
pub(super) fn shapes_of(checkpoint: &Checkpoint) -> BTreeMap<String, Vec<usize>> {
    checkpoint.names().filter_map(|name| Some((name.to_owned(), checkpoint.shape(name)?.to_vec()))).collect()
}

impl PartialEq for Structure {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.is_imported() == other.is_imported()
    }
}

impl Eq for Structure {}

impl fmt::Debug for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Structure").field(&self.name()).finish()
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the shapes of weights say, once they fit a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Channels of the first convolution over those of the full network.
    pub width: f64,
    /// Logits of the main head; none where the weights lack it.
    pub classes: Option<usize>,
    /// Heads besides the main one.
    pub side_heads: Vec<Head>,
}

/// A side that passes every layer of the zoo's networks.
const ANY_SIDE: usize = 299;

/// More lines than this do not help to see what is wrong.
const PROBLEMS_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(name: &str) -> Structure {
        name.parse().expect("a known network")
    }

    fn shapes(structure: &Structure, width: f64) -> BTreeMap<String, Vec<usize>> {
        structure.tensors(width, 1000, &structure.side_heads()).expect("any width fits").into_iter().collect()
    }

    #[test]
    fn networks_have_torchvisions_tensors_and_parameters_in_any_width() {
        // Tensors without num_batches_tracked, and parameters, as torchvision counts them.
        for (name, tensors, parameters) in [
            ("resnet18", 102, 11_689_512),
            ("resnet34", 182, 21_797_672),
            ("resnet50", 267, 25_557_032),
            ("resnet101", 522, 44_549_160),
            ("resnet152", 777, 60_192_808),
            ("wide_resnet50_2", 267, 68_883_240),
            ("wide_resnet101_2", 522, 126_886_696),
            ("googlenet", 305, 13_004_888),
            ("inception_v3", 484, 27_161_264),
            ("vgg11", 22, 132_863_336),
            ("vgg13", 26, 133_047_848),
            ("vgg16", 32, 138_357_544),
            ("vgg19", 38, 143_667_240),
            ("vgg11_bn", 54, 132_868_840),
            ("vgg13_bn", 66, 133_053_736),
            ("vgg16_bn", 84, 138_365_992),
            ("vgg19_bn", 102, 143_678_248),
            ("alexnet", 16, 61_100_840),
            ("squeezenet1_0", 52, 1_248_424),
            ("squeezenet1_1", 52, 1_235_496),
            ("densenet121", 606, 7_978_856),
            ("densenet161", 806, 28_681_000),
            ("densenet169", 846, 14_149_480),
            ("densenet201", 1006, 20_013_928),
            ("regnet_x_400mf", 357, 5_495_976),
            ("regnet_x_800mf", 267, 7_259_656),
            ("regnet_x_1_6gf", 297, 9_190_136),
            ("regnet_x_3_2gf", 402, 15_296_552),
            ("regnet_x_8gf", 372, 39_572_648),
            ("regnet_x_16gf", 357, 54_278_536),
            ("regnet_x_32gf", 372, 107_811_560),
            ("regnet_y_400mf", 331, 4_344_144),
            ("regnet_y_800mf", 293, 6_432_512),
            ("regnet_y_1_6gf", 540, 11_202_430),
            ("regnet_y_3_2gf", 426, 19_436_338),
            ("regnet_y_8gf", 350, 39_381_472),
            ("regnet_y_16gf", 369, 83_590_140),
            ("regnet_y_32gf", 407, 145_046_770),
            ("regnet_y_128gf", 540, 644_812_894),
        ] {
            let structure = structure(name);
            let full = shapes(&structure, 1.0);
            let trained = full.iter().filter(|(name, _)| !name.contains("running_"));
            let found = trained.map(|(_, sizes)| sizes.iter().product::<usize>()).sum::<usize>();
            assert_eq!((full.len(), found), (tensors, parameters), "{name}");
            for width in [1.0, 0.25, 0.01] {
                let (fit, _) = structure.fit(&shapes(&structure, width)).expect("fits");
                assert_eq!(fit.classes, Some(1000), "{name}");
            }
        }
        assert_eq!(Structure::all().len(), 24 + 15);
    }

    #[test]
    fn widths_scale_channels_and_classes_are_as_asked() {
        let aux1 = Head::Side("aux1");
        let narrow: BTreeMap<_, _> =
            structure("googlenet").tensors(0.25, 7, &[aux1]).expect("fits").into_iter().collect();
        assert_eq!(narrow["conv1.conv.weight"], [16, 3, 7, 7]);
        assert_eq!(narrow["inception3a.branch3.0.conv.weight"], [4, 48, 1, 1]);
        assert_eq!((&narrow["fc.weight"][..], &narrow["fc.bias"][..]), (&[7, 256][..], &[7][..]));
        assert_eq!((&narrow["aux1.fc1.weight"][..], &narrow["aux1.fc2.weight"][..]), (&[256, 512][..], &[7, 256][..]));
        assert!(!narrow.contains_key("aux2.fc2.weight"));
    }

    #[test]
    fn everything_that_differs_comes_in_one_error() {
        let structure = structure("resnet50");
        let mut shapes = shapes(&structure, 1.0);
        shapes.remove("layer2.1.bn3.bias");
        shapes.remove("layer4.2.conv2.weight");
        shapes.insert("layer1.0.conv2.weight".into(), vec![64, 64, 5, 5]);
        shapes.insert("head.extra".into(), vec![3]);
        shapes.insert("bn1.num_batches_tracked".into(), vec![]);
        let error = structure.fit(&shapes).expect_err("refused").to_string();
        for part in ["missing: layer2.1.bn3.bias", "missing: layer4.2.conv2.weight", "head.extra"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(
            error.contains("wrong shape: layer1.0.conv2.weight is [64, 64, 5, 5], expected [any, 64, 3, 3]"),
            "{error}"
        );
        assert!(!error.contains("num_batches_tracked"), "{error}");
    }

    #[test]
    fn weights_without_a_classifier_have_no_classes() {
        let structure = structure("resnet18");
        let mut shapes = shapes(&structure, 1.0);
        shapes.remove("fc.weight");
        shapes.remove("fc.bias");
        let (fit, built) = structure.fit(&shapes).expect("fits");
        assert_eq!((fit.classes, built.parameters.len()), (None, 100));
        shapes.remove("layer4.1.bn2.bias");
        let error = structure.fit(&shapes).expect_err("refused").to_string();
        assert!(error.contains("layer4.1.bn2.bias") && error.contains("fc.weight"), "{error}");
    }

    #[test]
    fn the_smallest_pictures_are_those_that_torchvision_runs() {
        for (name, side) in [("resnet50", 1), ("googlenet", 15), ("inception_v3", 75)] {
            assert_eq!(structure(name).smallest_side().expect("any"), side, "{name}");
        }
    }
}
