//! A device, and networks loaded onto it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use entoptic::Result;
use entoptic::device::{AdapterChoice, Device};
use entoptic::nets::{Ends, Head};
use entoptic::picture;
use entoptic::studio::{Model, Named, Note, Numbers, equip};
use entoptic::synthesis::recipe::Recipe;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::given;
use crate::errors::{raised, spoken};
use crate::network::Network;

/// Tells networks apart that meet in one objective.
static LOADED: AtomicUsize = AtomicUsize::new(0);

/// A device, and whom to tell of what is done with it.
#[pyclass(frozen, module = "entoptic._entoptic")]
pub struct Session {
    pub device: Device,
    tell: Arc<Py<PyAny>>,
}

/// A session's notes on their way to Python.
#[derive(Clone)]
pub struct Teller(Arc<Py<PyAny>>);

impl Teller {
    /// Does something without the interpreter, then hands on what there is to tell.
    pub fn detached<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&(dyn Fn(Note) + Sync)) -> Result<T> + Send,
    ) -> PyResult<T> {
        let notes = Mutex::new(Vec::new());
        let done = py.detach(|| {
            work(&|note| {
                if let Ok(mut notes) = notes.lock() {
                    notes.push(note);
                }
            })
        });
        for note in notes.into_inner().unwrap_or_default() {
            let (kind, line) = match note {
                Note::Info(line) => ("info", line),
                Note::Warning(line) => ("warning", line),
                Note::Detail(line) => ("detail", line),
            };
            self.0.call1(py, (kind, spoken(&line)))?;
        }
        done.map_err(|error| raised(&error))
    }
}

#[pymethods]
impl Session {
    /// Opens an adapter: by its number or a part of its name, else the best one. `tell(kind, line)` is called with notes.
    #[new]
    #[pyo3(signature = (tell, adapter=None, memory=None, autotune=true))]
    fn new(
        py: Python<'_>,
        tell: Py<PyAny>,
        adapter: Option<String>,
        memory: Option<u64>,
        autotune: bool,
    ) -> PyResult<Self> {
        let choice = adapter.map_or(AdapterChoice::Best, AdapterChoice::Named);
        let device = py.detach(|| Device::open(&choice)).map_err(|error| raised(&error))?;
        if let Some(mebibytes) = memory {
            device.limit_memory(mebibytes << 20);
        }
        equip(&device, autotune, |_| {});
        Ok(Session { device, tell: Arc::new(tell) })
    }

    /// Name of the adapter, its backend and its driver.
    #[getter]
    fn adapter(&self) -> String {
        self.device.adapter().to_string()
    }

    /// Loads a network.
    #[pyo3(signature = (
        name, weights=None, key=None, head=None, class_names=None, mean=None, std=None, transform_input=None, input=None,
        output=None
    ))]
    fn load(
        &self,
        py: Python<'_>,
        name: String,
        weights: Option<PathBuf>,
        key: Option<String>,
        head: Option<String>,
        class_names: Option<PathBuf>,
        mean: Option<Vec<f32>>,
        std: Option<Vec<f32>>,
        transform_input: Option<bool>,
        input: Option<String>,
        output: Option<String>,
    ) -> PyResult<Network> {
        let named: Named = name.parse().map_err(PyValueError::new_err)?;
        let model = Model::of(Some(named), weights, "name").map_err(|error| raised(&error))?;
        let model = Model {
            key,
            head: head.as_deref().map_or(Head::Main, Head::named),
            classes: class_names,
            normalised: [mean.map(Numbers), std.map(Numbers)],
            transform_input,
            ends: Ends { input, output },
            ..model
        };
        let id = LOADED.fetch_add(1, Ordering::Relaxed).to_string();
        let teller = self.teller();
        let loaded = teller.detached(py, |ear| model.load(&|note| ear(note), &self.device, &id))?;
        Ok(Network::new(loaded, self.device.clone(), teller))
    }
}

impl Session {
    pub fn teller(&self) -> Teller {
        Teller(self.tell.clone())
    }
}

/// All adapters, best first.
#[pyfunction]
pub fn adapters(py: Python<'_>) -> PyResult<Vec<String>> {
    let found = py.detach(entoptic::device::adapters).map_err(|error| raised(&error))?;
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Names and texts of the recipes that come with the engine.
#[pyfunction]
pub fn recipes() -> PyResult<Vec<(String, String)>> {
    let text = |name| Recipe::source_text(name).map(|text| (String::from(name), text.to_owned()));
    Recipe::names().map(text).collect::<Result<_>>().map_err(|error| raised(&error))
}

/// A picture's file as pixel values [N, C, H, W]: of its own size, or its middle as a square of a side.
#[pyfunction]
#[pyo3(signature = (path, size=None))]
pub fn read<'py>(py: Python<'py>, path: PathBuf, size: Option<usize>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let read = || {
        let values = picture::read_values(&path)?;
        Ok(match size {
            Some(side) if [values.shape.h(), values.shape.w()] != [side; 2] => picture::fit(&values, side),
            _ => values,
        })
    };
    given(py, py.detach(read).map_err(|error| raised(&error))?, 4)
}
