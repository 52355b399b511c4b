//! Arrays between numpy and the engine; both have pictures as [N, C, H, W] here.

use entoptic::nets::Normalize;
use entoptic::tensor::{Array, Shape};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray4};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A copy for the engine.
pub fn taken(array: &PyReadonlyArray4<f32>) -> PyResult<Array> {
    let sides = array.as_array().shape().to_vec();
    let [n, c, h, w] = sides[..] else { return Err(PyValueError::new_err("expected an array with four axes")) };
    let values = match array.as_slice() {
        Ok(values) => values.to_vec(),
        Err(_) => array.as_array().iter().copied().collect(),
    };
    Ok(Array::new(Shape::new(n, c, h, w), values))
}

/// An array for Python, of some first axes: the others have one entry.
pub fn given<'py>(py: Python<'py>, array: Array, axes: usize) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let shape = array.shape.0;
    PyArray1::from_vec(py, array.values).reshape(shape[..axes].to_vec())
}

/// What becomes of pixel values before the first layer, by its name.
pub fn normalize(name: Option<&str>) -> PyResult<Option<Normalize>> {
    match name {
        None => Ok(None),
        Some("source") => Ok(Some(Normalize::Source)),
        Some("imagenet") => Ok(Some(Normalize::Imagenet)),
        Some(other) => {
            Err(PyValueError::new_err(format!("normalize is \"{other}\", expected \"source\", \"imagenet\" or None")))
        }
    }
}
