//! A picture that was made, with all that made it.

use std::path::PathBuf;

use entoptic::analysis::eight_bit;
use entoptic::picture;
use entoptic::studio::{Origin, Record};
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::Array;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::given;
use crate::errors::raised;

/// A picture with its provenance.
#[pyclass(frozen, module = "entoptic._entoptic")]
pub struct Picture {
    /// [1, 3, H, W], not clamped.
    made: Array,
    recipe: Recipe,
    origin: Origin,
}

impl Picture {
    pub fn new(made: Array, recipe: Recipe, origin: Origin) -> Self {
        Picture { made, recipe, origin }
    }

    fn texts(&self) -> Vec<(String, String)> {
        self.origin.texts(&self.recipe, &self.made)
    }
}

#[pymethods]
impl Picture {
    /// Reads a picture that Entoptic wrote.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let record = py.detach(|| Record::read(&path)).map_err(|error| raised(&error))?;
        Ok(Picture { made: record.picture, recipe: record.recipe, origin: record.origin })
    }

    /// Pixel values [1, 3, H, W] as its file has them: from 0 to 1, of 256 levels.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        given(py, eight_bit(&self.made), 4)
    }

    /// Pixel values [1, 3, H, W] as they were computed, which may lie outside of 0 to 1.
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        given(py, self.made.clone(), 4)
    }

    /// Its file, with its recipe and all that made it inside.
    fn png<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| picture::encode_png(&self.made, &self.texts())).map_err(|error| raised(&error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes its file, which appears whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
            return Err(PyValueError::new_err(format!("{}: pictures are written as .png", path.display())));
        }
        py.detach(|| picture::write_png(&path, &self.made, &self.texts())).map_err(|error| raised(&error))
    }

    /// Its recipe as TOML.
    #[getter]
    fn recipe(&self) -> String {
        self.recipe.to_toml()
    }

    /// What becomes of pixel values before they reach the networks.
    #[getter]
    fn normalize(&self) -> &'static str {
        match self.recipe.normalize {
            entoptic::nets::Normalize::Source => "source",
            entoptic::nets::Normalize::Imagenet => "imagenet",
        }
    }

    /// All else that made it, as JSON.
    #[getter]
    fn origin(&self) -> PyResult<String> {
        let texts = self.texts();
        let run = texts.iter().find(|(key, _)| key == "entoptic:run");
        run.map(|(_, text)| text.clone()).ok_or_else(|| PyValueError::new_err("it says nothing of what made it"))
    }
}
