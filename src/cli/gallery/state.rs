//! A batch that was left half done: its pictures as they were, exactly, and the step that comes next.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use entoptic::studio::Place;
use entoptic::synthesis::Finished;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};
use serde::{Deserialize, Serialize};

/// Name of its file.
pub const FILE: &str = "unfinished.safetensors";

const ABOUT: &str = "entoptic:unfinished";
const PICTURES: &str = "pictures";
const PARAMETERS: &str = "parameters";
const MEMORY: [&str; 2] = ["memory 0", "memory 1"];
const FIRST_LOSS: &str = "first loss";
const LOSS: &str = "loss";
const MEASURED: &str = "measured";
const TARGETS: &str = "targets";

/// Where a batch stands between two steps.
pub struct State {
    /// Indices of its classes.
    pub classes: Vec<usize>,
    /// How far its pictures are, or those that they are to match.
    pub finished: Finished,
    /// The pictures to be matched, once they are made.
    pub targets: Option<Array>,
}

#[derive(Serialize, Deserialize)]
struct About {
    gallery: String,
    place: Place,
    classes: Vec<usize>,
    steps: usize,
}

impl State {
    /// Writes it for the gallery of that checksum. The file appears whole or not at all.
    pub fn write(&self, folder: &Path, gallery: &str, place: Place) -> anyhow::Result<()> {
        let Finished { pictures, steps, first_loss, loss, measured, memory, parameters } = &self.finished;
        let named = |name: &str, array: &Array| NamedArray {
            name: name.to_owned(),
            shape: array.shape.0.to_vec(),
            values: array.values.clone(),
        };
        let list = |name: &str, values: &[f32]| named(name, &row(values.to_vec()));
        let mut arrays = vec![named(PICTURES, pictures), list(FIRST_LOSS, first_loss)];
        arrays.extend([list(LOSS, loss), list(MEASURED, measured)]);
        arrays.extend(MEMORY.iter().zip(memory).map(|(name, array)| named(name, array)));
        arrays.extend(parameters.iter().map(|array| named(PARAMETERS, array)));
        arrays.extend(self.targets.iter().map(|array| named(TARGETS, array)));
        let about = About { gallery: gallery.to_owned(), place, classes: self.classes.clone(), steps: *steps };
        let about = serde_json::to_string(&about).expect("numbers and texts have a form in JSON");
        write(&folder.join(FILE), &arrays, &BTreeMap::from([(ABOUT.to_owned(), about)]), Precision::F32)?;
        Ok(())
    }

    /// Reads what [`State::write`] left in a folder, for the same gallery and the same place: elsewhere the pictures would come
    /// out otherwise.
    pub fn read(folder: &Path, gallery: &str, here: &Place) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let file = Checkpoint::open(&path)?;
        let about = file.metadata().get(ABOUT).and_then(|about| serde_json::from_str(about).ok());
        let About { gallery: of, place, classes, steps } =
            about.with_context(|| format!("{}: is damaged; delete it, and its batch begins anew", path.display()))?;
        if of != gallery {
            bail!("{}: belongs to another gallery; delete it", path.display());
        }
        // Which kernels were chosen is known only at the end of a run.
        if (&place.version, &place.adapter, &place.shaders) != (&here.version, &here.adapter, &here.shaders) {
            return Ok(None);
        }
        let array = |name: &str| -> anyhow::Result<Option<Array>> {
            let Some(&[n, c, h, w]) = file.shape(name) else { return Ok(None) };
            Ok(Some(Array::new(Shape::new(n, c, h, w), file.read(name)?)))
        };
        let values = |name: &str| Ok::<_, anyhow::Error>(array(name)?.map_or(vec![], |array| array.values));
        let pictures = array(PICTURES)?.with_context(|| format!("{}: has no pictures; delete it", path.display()))?;
        let memory = MEMORY.map(&array).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let finished = Finished {
            pictures,
            steps,
            first_loss: values(FIRST_LOSS)?,
            loss: values(LOSS)?,
            measured: values(MEASURED)?,
            memory: memory.into_iter().flatten().collect(),
            parameters: array(PARAMETERS)?,
        };
        Ok(Some(State { classes, finished, targets: array(TARGETS)? }))
    }
}

fn row(values: Vec<f32>) -> Array {
    Array::new(Shape::per_picture(values.len()), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use entoptic::studio::Adapter;

    #[test]
    fn states_come_back_to_their_own_gallery_and_adapter() {
        let adapter = |driver: &str| Adapter { name: "a".into(), backend: "b".into(), driver: driver.into() };
        let place = |driver, kernels: &str| Place {
            version: "1".into(),
            adapter: adapter(driver),
            kernels: kernels.into(),
            shaders: "s".into(),
        };
        let array = |value: f32| Array::filled(Shape::new(2, 3, 4, 4), value);
        let finished = Finished {
            pictures: array(0.1),
            steps: 7,
            first_loss: vec![5.0, 6.0],
            loss: vec![1.0, 2.0],
            measured: vec![3.0, 4.0],
            memory: vec![array(1e-30), array(-2.0)],
            parameters: Some(array(0.25)),
        };
        let state = State { classes: vec![3, 9], finished, targets: Some(array(0.5)) };
        let folder = tempfile::tempdir().expect("a folder");
        assert!(State::read(folder.path(), "g", &place("1", "")).expect("none yet").is_none());
        state.write(folder.path(), "g", place("1", "none yet")).expect("written");
        let back = State::read(folder.path(), "g", &place("1", "chosen")).expect("readable").expect("of this gallery");
        assert_eq!((&back.classes, &back.targets), (&state.classes, &state.targets));
        assert_eq!(
            (&back.finished.pictures, &back.finished.memory, &back.finished.parameters),
            (&state.finished.pictures, &state.finished.memory, &state.finished.parameters)
        );
        assert_eq!((back.finished.steps, &back.finished.loss), (7, &state.finished.loss));
        assert_eq!(back.finished.first_loss, state.finished.first_loss);
        assert!(State::read(folder.path(), "g", &place("2", "")).expect("readable").is_none(), "another driver");
        let error = State::read(folder.path(), "h", &place("1", "")).err().expect("another gallery");
        assert!(error.to_string().ends_with("belongs to another gallery; delete it"), "{error}");
    }
}
