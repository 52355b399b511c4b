//! Networks, and what is asked of them once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use entoptic::analysis::{Judge, altered, eight_bit, pixels};
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::{BatchNormMode, Normalize};
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::studio::{Loaded, probabilities, summed, trained_words};
use entoptic::tape::Tape;
use entoptic::tensor::Shape;
use entoptic::weights::{Precision, write};
use numpy::{PyArrayDyn, PyReadonlyArray4};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{given, normalize, taken};
use crate::errors::raised;
use crate::session::Teller;

/// A network on a device. Threads may share it.
#[pyclass(frozen, module = "entoptic._entoptic")]
pub struct Network {
    pub loaded: Arc<Loaded>,
    pub device: Device,
    pub teller: Teller,
    /// The words beside its weights, once they are no longer those of its file.
    words: Mutex<Option<BTreeMap<String, String>>>,
}

/// What is said where another thread has panicked with a network's words in hand.
const BROKEN: &str = "another thread has failed with this network";

/// What is called a network's logits among its layers.
const LOGITS: &str = "logits";

impl Network {
    pub fn new(loaded: Loaded, device: Device, teller: Teller) -> Self {
        Network { loaded: Arc::new(loaded), device, teller, words: Mutex::new(None) }
    }

    /// Notes that its weights are no longer those of its file.
    pub fn learnt(&self, from: &Loaded) -> PyResult<()> {
        let words = trained_words(&self.loaded, from).map_err(|error| raised(&error))?;
        *self.words.lock().map_err(|_| PyRuntimeError::new_err(BROKEN))? = Some(words);
        Ok(())
    }

    /// Refuses a network that cannot say what made a picture.
    pub fn check_origin(&self) -> PyResult<()> {
        if self.words.lock().map_err(|_| PyRuntimeError::new_err(BROKEN))?.is_none() {
            return Ok(());
        }
        Err(PyValueError::new_err(format!(
            "{} has been trained since it was loaded; save(\"FILE.safetensors\") it and load that file, so that its pictures can \
             say what made them",
            self.loaded.network.source
        )))
    }

    fn place(&self, index: usize, name: &str) -> Place {
        if name == LOGITS { Place::Logits(index, self.loaded.head) } else { Place::Layer(index, name.to_owned()) }
    }

    fn check_places(&self, names: &[String]) -> PyResult<()> {
        let no_logits = !self.loaded.network.has_classifier() && names.iter().any(|name| name == LOGITS);
        if no_logits {
            let source = &self.loaded.network.source;
            return Err(PyValueError::new_err(format!("{source} has no classifier, so that it has no logits")));
        }
        Ok(())
    }
}

#[pymethods]
impl Network {
    /// Name of its structure.
    #[getter]
    fn name(&self) -> &str {
        self.loaded.network.structure.name()
    }

    /// Where its weights come from.
    #[getter]
    fn source(&self) -> &str {
        &self.loaded.network.source
    }

    /// SHA-256 of its weights' file.
    #[getter]
    fn checksum(&self) -> &str {
        &self.loaded.network.checksum
    }

    /// Names of its classes.
    #[getter]
    fn classes(&self) -> Vec<&str> {
        let classes = &self.loaded.network.classes;
        (0..classes.len()).map(|index| classes.name(index)).collect()
    }

    /// Channels of the values that it takes: pictures have three, grey ones one.
    #[getter]
    fn channels(&self) -> usize {
        self.loaded.network.structure.channels()
    }

    /// Side of the pictures that it was trained with, where that is known.
    #[getter]
    fn side(&self) -> Option<usize> {
        self.loaded.side
    }

    /// What becomes of pixel values before its first layer, unless something else is asked for.
    #[getter]
    fn normalize(&self) -> &'static str {
        match self.loaded.trained_with {
            Normalize::Source => "source",
            Normalize::Imagenet => "imagenet",
        }
    }

    /// Writes its weights as they are now, which train() may have changed.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("safetensors")) {
            let path = path.display();
            return Err(PyValueError::new_err(format!("{path}: weights are written as .safetensors")));
        }
        let words = self.words.lock().map_err(|_| PyRuntimeError::new_err(BROKEN))?.clone();
        let words = words.ok_or_else(|| {
            PyValueError::new_err("its weights are those of the file that it was loaded from; copy that")
        })?;
        let wrote = py.detach(|| write(&path, &self.loaded.network.weights(&self.device)?, &words, Precision::F32));
        wrote.map_err(|error| raised(&error))
    }

    /// Index of a class by index, name or synset.
    fn class_index(&self, text: &str) -> PyResult<usize> {
        self.loaded.network.classes.find(text).map_err(|error| raised(&error))
    }

    /// Names and shapes [C, H, W] of its layers for pictures of a side.
    #[pyo3(signature = (side=None))]
    fn layers(&self, side: Option<usize>) -> PyResult<Vec<(String, (usize, usize, usize))>> {
        let network = &self.loaded.network;
        let [h, w] = side.or(self.loaded.side).map_or(network.structure.sides().unwrap_or([224; 2]), |side| [side; 2]);
        let mut tape = Tape::default();
        let x = tape.input("picture", Shape::new(1, network.structure.colours(), h, w));
        let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[]).map_err(|error| raised(&error))?;
        let layer = |(name, var): &(String, _)| {
            let [_, c, h, w] = tape.shape(*var).0;
            (name.clone(), (c, h, w))
        };
        Ok(outputs.taps.iter().map(layer).collect())
    }

    /// Values at some places for pictures [N, C, H, W].
    #[pyo3(signature = (x, places, normalize_=None, check_finite=false))]
    fn outputs<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray4<'py, f32>,
        places: Vec<String>,
        normalize_: Option<&str>,
        check_finite: bool,
    ) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        self.check_places(&places)?;
        let x = taken(&x)?;
        let how = normalize(normalize_)?.unwrap_or(self.loaded.trained_with);
        let asked: Vec<Place> = places.iter().map(|name| self.place(0, name)).collect();
        let found = py.detach(|| {
            let scene = Scene::of(vec![&self.loaded.network], how);
            evaluate::outputs(&self.device, &scene, &x, &asked, check_finite)
        });
        let found = found.map_err(|error| raised(&error))?;
        let give = |(array, name): (_, &String)| given(py, array, if name == LOGITS { 2 } else { 4 });
        found.into_iter().zip(&places).map(give).collect()
    }

    /// Probabilities of its classes for pictures [N, C, H, W].
    #[pyo3(signature = (x, normalize_=None))]
    fn probabilities(
        &self,
        py: Python<'_>,
        x: PyReadonlyArray4<'_, f32>,
        normalize_: Option<&str>,
    ) -> PyResult<Vec<Vec<f32>>> {
        self.check_places(&[LOGITS.to_owned()])?;
        let x = taken(&x)?;
        let how = normalize(normalize_)?.unwrap_or(self.loaded.trained_with);
        let found = py.detach(|| {
            let scene = Scene::of(vec![&self.loaded.network], how);
            evaluate::outputs(&self.device, &scene, &x, &[self.place(0, LOGITS)], false)
        });
        let logits = found.map_err(|error| raised(&error))?.remove(0);
        let of = |n| probabilities(&self.loaded.network, &logits.picture(n).values);
        Ok((0..logits.shape.n()).map(of).collect())
    }

    /// What gradients at some places are with respect to pictures [N, C, H, W].
    #[pyo3(signature = (x, gradients, normalize_=None, check_finite=false))]
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray4<'py, f32>,
        gradients: Vec<(String, PyReadonlyArray4<'py, f32>)>,
        normalize_: Option<&str>,
        check_finite: bool,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let names: Vec<String> = gradients.iter().map(|(name, _)| name.clone()).collect();
        self.check_places(&names)?;
        let x = taken(&x)?;
        let how = normalize(normalize_)?.unwrap_or(self.loaded.trained_with);
        let gradients = gradients.iter().map(|(name, gradient)| Ok((self.place(0, name), taken(gradient)?)));
        let gradients = gradients.collect::<PyResult<Vec<_>>>()?;
        let found = py.detach(|| {
            let scene = Scene::of(vec![&self.loaded.network], how);
            evaluate::vjp(&self.device, &scene, &x, &gradients, check_finite)
        });
        given(py, found.map_err(|error| raised(&error))?.gradient, 4)
    }
}

/// A sum of objectives of some networks for pictures [N, C, H, W]: its value for each picture, and the gradient of that.
#[pyfunction]
#[pyo3(signature = (networks, x, text, normalize_=None, check_finite=false))]
pub fn gradient<'py>(
    py: Python<'py>,
    networks: Vec<Py<Network>>,
    x: PyReadonlyArray4<'py, f32>,
    text: &str,
    normalize_: Option<&str>,
    check_finite: bool,
) -> PyResult<(Bound<'py, PyArrayDyn<f32>>, Bound<'py, PyArrayDyn<f32>>)> {
    let networks: Vec<&Network> = networks.iter().map(Py::get).collect();
    let first = networks.first().ok_or_else(|| PyValueError::new_err("no network is given"))?;
    let x = taken(&x)?;
    let how = normalize(normalize_)?.unwrap_or(first.loaded.trained_with);
    let found = py.detach(|| {
        let loaded: Vec<&Loaded> = networks.iter().map(|network| &*network.loaded).collect();
        let scene = Scene::of(loaded.iter().map(|loaded| &loaded.network).collect(), how);
        let scene = Scene { objective: summed(text, &loaded)?, ..scene };
        evaluate::gradient(&first.device, &scene, &x, check_finite)
    });
    let found = found.map_err(|error| raised(&error))?;
    Ok((given(py, found.loss, 1)?, given(py, found.gradient, 4)?))
}

/// What pixels of a picture [1, 3, H, W] tell, and what judges make of it as one of a class.
#[pyfunction]
#[pyo3(signature = (x, judges, class_name=None, size=None))]
pub fn score<'py>(
    py: Python<'py>,
    x: PyReadonlyArray4<'py, f32>,
    judges: Vec<Py<Network>>,
    class_name: Option<String>,
    size: Option<usize>,
) -> PyResult<(Bound<'py, PyDict>, Vec<Bound<'py, PyDict>>)> {
    let shown = eight_bit(&taken(&x)?);
    let of_pixels = PyDict::new(py);
    let found = py.detach(|| pixels(&shown));
    for (name, value) in [
        ("slope", found.spectrum.slope),
        ("fine", found.spectrum.fine),
        ("fine_ratio", found.spectrum.fine_ratio),
        ("difference", found.spectrum.difference),
        ("variation", found.variation),
        ("saturated", found.saturation),
        ("chroma", found.chroma),
        ("contrast", found.contrast),
        ("symmetry", found.symmetry),
    ] {
        of_pixels.set_item(name, value)?;
    }
    let mut judged = vec![];
    for judge in &judges {
        let Network { loaded, device, .. } = judge.get();
        let text = class_name.as_deref().ok_or_else(|| {
            PyValueError::new_err("nothing tells which class the picture shows; give target=\"church\" or the like")
        })?;
        let class = loaded.network.classes.find(text).map_err(|error| raised(&error))?;
        let found = py.detach(|| {
            let [_, _, h, w] = shown.shape.0;
            let side = size.or(loaded.side).unwrap_or(h.min(w));
            let seen = if side == h.min(w) { altered(&shown) } else { altered(&picture::scale(&shown, side)) };
            let mut judge = Judge::new(device, (&loaded.network, loaded.head), loaded.trained_with, false);
            judge.judge(&seen, class)
        });
        let (found, _) = found.map_err(|error| raised(&error))?;
        let of_judge = PyDict::new(py);
        of_judge.set_item("network", loaded.network.structure.name())?;
        of_judge.set_item("class", loaded.network.classes.name(class))?;
        of_judge.set_item("rank", found.rank)?;
        for (name, value) in [
            ("probability", found.probability),
            ("margin", found.margin),
            ("stability", found.stability),
            ("worst", found.worst),
            ("statistics", found.statistics),
        ] {
            of_judge.set_item(name, value)?;
        }
        judged.push(of_judge);
    }
    Ok((of_pixels, judged))
}
