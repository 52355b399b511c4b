//! Pictures made, and made again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use entoptic::nets::Normalize;
use entoptic::ops::Metric;
use entoptic::studio::{
    self, Again, Aim, Design, Ear, Goal, Loaded, Making, Record, Sources, Target, Wishes, file_name, file_sum,
    match_recipe,
};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Job, run};
use entoptic::tensor::Array;
use entoptic::{Result, picture};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{given, normalize};
use crate::errors::raised;
use crate::network::Network;
use crate::picture::Picture;
use crate::session::Session;

/// Asks Python between steps: whether the user wants to stop, and what a callback has to say.
pub struct Asking {
    progress: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

impl Asking {
    pub fn new(progress: Option<Py<PyAny>>) -> Self {
        Asking { progress, raised: Mutex::new(None) }
    }

    /// Whether the user wants to go on; an exception ends the run, and is kept.
    pub fn ask_signals(&self) -> ControlFlow<()> {
        self.heed(Python::attach(|py| py.check_signals()))
    }

    /// The same, and calls back with what `tell` says.
    pub fn ask(&self, tell: impl FnOnce(&Bound<PyDict>) -> PyResult<()>) -> ControlFlow<()> {
        self.heed(Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                let facts = PyDict::new(py);
                tell(&facts)?;
                progress.call1(py, (facts,))?;
            }
            Ok(())
        }))
    }

    fn heed(&self, answer: PyResult<()>) -> ControlFlow<()> {
        let Err(error) = answer else { return ControlFlow::Continue(()) };
        if let Ok(mut raised) = self.raised.lock() {
            raised.get_or_insert(error);
        }
        ControlFlow::Break(())
    }

    /// What ended the run.
    pub fn exception(self) -> Option<PyErr> {
        self.raised.into_inner().ok().flatten()
    }

    fn event(&self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Progress(progress) => self.ask(|facts| {
                facts.set_item("step", progress.step)?;
                facts.set_item("steps", progress.steps)?;
                facts.set_item("stage", progress.stage)?;
                facts.set_item("size", progress.size)?;
                facts.set_item("loss", progress.loss)?;
                facts.set_item("measured", progress.measured)
            }),
            Event::Frame(pictures) => self.ask(|facts| facts.set_item("frame", frame(facts.py(), pictures)?)),
            Event::Dead { since, end } => self.ask(|facts| {
                facts.set_item("dead_since", since)?;
                facts.set_item("layer", &end.layer)
            }),
            Event::Prepared { .. } | Event::Kept(_) => ControlFlow::Continue(()),
        }
    }
}

fn frame<'py>(py: Python<'py>, pictures: &Array) -> PyResult<Bound<'py, PyAny>> {
    Ok(given(py, pictures.clone(), 4)?.into_any())
}

/// How pictures are made, as Python says it.
struct Asked {
    wishes: Wishes,
    seeds: Vec<u64>,
    every: usize,
    frame_every: Option<usize>,
}

fn recipe(given: Option<&str>) -> Result<Option<Recipe>> {
    match given {
        None => Ok(None),
        // The text of a recipe has more than one line; its name and its path have one.
        Some(text) if text.contains('\n') => Recipe::parse("given", text).map(Some),
        Some(name) => Recipe::load(name).map(Some),
    }
}

impl Asked {
    fn new(
        (recipe_, normalize_): (Option<&str>, Option<Normalize>),
        (size, init): (Option<u32>, Option<PathBuf>),
        seeds: Vec<u64>,
        (every, frame_every): (usize, Option<usize>),
        check_finite: bool,
    ) -> PyResult<Self> {
        let Some(&seed) = seeds.first() else {
            return Err(PyValueError::new_err("seeds is empty, expected one or more"));
        };
        let recipe = recipe(recipe_).map_err(|error| raised(&error))?;
        let wishes = Wishes { recipe, normalize: normalize_, size, start: init, check_finite, seed };
        Ok(Asked { wishes, seeds, every, frame_every })
    }

    /// Makes pictures that differ in their seeds. What was made up to an error of the engine is lost to nobody: it is returned with
    /// it.
    fn make(
        self,
        ear: Ear,
        networks: &[&Network],
        aim: impl FnOnce(&Making) -> Result<(Aim, u64, Option<Array>)>,
        asking: &Asking,
    ) -> Result<Made> {
        let loaded: Vec<&Loaded> = networks.iter().map(|network| &*network.loaded).collect();
        let making = Making::new(ear, &networks[0].device, loaded, self.wishes)?;
        let (aim, stream, goal) = aim(&making)?;
        let picture = |&seed: &u64| {
            let stream = Stream { seed, picture: stream };
            studio::Picture { name: String::new(), stream, aim: aim.clone() }
        };
        let pictures: Vec<studio::Picture> = self.seeds.iter().map(picture).collect();
        // One answer is aimed at by all pictures.
        let goal = goal.map(|goal| Array::batch(vec![goal; pictures.len()]));
        let init = making.init(ear)?;
        let job = making.job(&pictures, goal.as_ref())?;
        let job = Job { report_every: self.every.max(1), frame_every: self.frame_every, ..job };
        let mut kept = None;
        let finished = run(&making.device, &job, &mut |event| {
            if let Event::Kept(so_far) = &event {
                kept = Some((*so_far).clone());
            }
            asking.event(&event)
        });
        let (finished, error) = match (finished, kept) {
            (Ok(finished), _) => (finished, None),
            (Err(error), Some(kept)) => (kept, Some(error)),
            (Err(error), None) => return Err(error),
        };
        let picture = |(index, picture): (usize, &studio::Picture)| {
            let origin = making.origin(picture, index, init.clone(), &finished);
            Picture::new(finished.pictures.picture(index), making.recipe.clone(), origin)
        };
        Ok((pictures.iter().enumerate().map(picture).collect(), error))
    }
}

/// Pictures, and what went wrong after them.
type Made = (Vec<Picture>, Option<entoptic::Error>);

/// The networks of a call, all on one device.
fn of_one_device(networks: &[Py<Network>]) -> PyResult<Vec<&Network>> {
    let networks: Vec<&Network> = networks.iter().map(Py::get).collect();
    match networks.first() {
        None => Err(PyValueError::new_err("no network is given")),
        Some(first) if networks.iter().any(|network| !network.device.is_same(&first.device)) => {
            Err(PyValueError::new_err("the networks are on different devices; load them after one call of use()"))
        }
        Some(_) => {
            networks.iter().try_for_each(|network| network.check_origin())?;
            Ok(networks)
        }
    }
}

/// What was made, and the exception that ended it.
fn told((pictures, error): Made, asking: Asking) -> (Vec<Picture>, Option<PyErr>) {
    (pictures, asking.exception().or_else(|| error.map(|error| raised(&error))))
}

/// Makes pictures that raise a sum, one for each seed.
#[pyfunction]
#[pyo3(signature = (
    networks, text, seeds, size=None, recipe=None, normalize_=None, init=None, progress=None, every=5, frame_every=None,
    check_finite=false
))]
pub fn render(
    py: Python<'_>,
    networks: Vec<Py<Network>>,
    text: String,
    seeds: Vec<u64>,
    size: Option<u32>,
    recipe: Option<&str>,
    normalize_: Option<&str>,
    init: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
    every: usize,
    frame_every: Option<usize>,
    check_finite: bool,
) -> PyResult<(Vec<Picture>, Option<PyErr>)> {
    let networks = of_one_device(&networks)?;
    let how = (recipe, normalize(normalize_)?);
    let asked = Asked::new(how, (size, init), seeds, (every, frame_every), check_finite)?;
    let asking = Asking::new(progress);
    let made = networks[0].teller.detached(py, |ear| {
        let aim = |making: &Making| Aim::raising(&text, &making.networks).map(|(aim, stream)| (aim, stream, None));
        asked.make(&|note| ear(note), &networks, aim, &asking)
    })?;
    Ok(told(made, asking))
}

/// Makes pictures to which a network answers as to a photograph.
#[pyfunction]
#[pyo3(signature = (
    network, photograph, seeds, layer=None, metric="l1", size=None, recipe=None, normalize_=None, init=None, progress=None,
    every=5, frame_every=None, check_finite=false
))]
pub fn matched(
    py: Python<'_>,
    network: Py<Network>,
    photograph: PathBuf,
    seeds: Vec<u64>,
    layer: Option<String>,
    metric: &str,
    size: Option<u32>,
    recipe: Option<&str>,
    normalize_: Option<&str>,
    init: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
    every: usize,
    frame_every: Option<usize>,
    check_finite: bool,
) -> PyResult<(Vec<Picture>, Option<PyErr>)> {
    let metric = match metric {
        "l1" => Metric::L1,
        "l2" => Metric::L2,
        "sse" => Metric::SumOfSquares,
        other => {
            return Err(PyValueError::new_err(format!("metric is \"{other}\", expected \"l1\", \"l2\" or \"sse\"")));
        }
    };
    let network = network.get();
    network.check_origin()?;
    let recipe = recipe.or(Some(match_recipe(&network.loaded)));
    let asked = Asked::new((recipe, normalize(normalize_)?), (size, init), seeds, (every, frame_every), check_finite)?;
    let asking = Asking::new(progress);
    let made = network.teller.detached(py, |ear| {
        let ear: Ear = &|note| ear(note);
        let aimed_at = picture::read(&photograph)?;
        let of = Target::Image { image: file_name(&photograph), image_sha256: file_sum(&photograph)? };
        let aim = |making: &Making| {
            let aim = Aim::matching(of, layer, metric);
            let goal = Goal::new(ear, making, aim.place(making), &aimed_at)?.values;
            Ok((aim, 0, Some(goal)))
        };
        asked.make(ear, &[network], aim, &asking)
    })?;
    Ok(told(made, asking))
}

/// Where a picture's sources may be.
fn sources<'a>(weights: &'a [PathBuf], images: &'a [PathBuf], picture: &'a Path) -> Sources<'a> {
    Sources { weights, images, beside: picture.parent().unwrap_or(Path::new("")) }
}

/// Makes a picture again from what is inside of its file.
#[pyfunction]
#[pyo3(signature = (session, path, weights, images, progress=None))]
pub fn replay(
    py: Python<'_>,
    session: Py<Session>,
    path: PathBuf,
    weights: Vec<PathBuf>,
    images: Vec<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Picture> {
    let session = session.get();
    let asking = Asking::new(progress);
    let made = session.teller().detached(py, |ear| {
        let record = Record::read(&path)?;
        let sources = sources(&weights, &images, &path);
        sources.check([&record.origin.design].into_iter())?;
        let mut watch = |_: &Aim, event: Event| asking.event(&event);
        let again = Again::of(&|note| ear(note), &session.device, &sources, &record, &mut watch)?;
        Ok(Picture::new(again.picture, record.recipe, again.origin))
    });
    match asking.exception() {
        Some(exception) => Err(exception),
        None => made,
    }
}

/// Makes a picture again and compares: whether it came out as it was, and how near.
#[pyfunction]
#[pyo3(signature = (session, path, weights, images, progress=None))]
pub fn verify(
    py: Python<'_>,
    session: Py<Session>,
    path: PathBuf,
    weights: Vec<PathBuf>,
    images: Vec<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(bool, String)> {
    let session = session.get();
    let asking = Asking::new(progress);
    let found = session.teller().detached(py, |ear| {
        let ear: Ear = &|note| ear(note);
        let record = Record::read(&path)?;
        if !record.is_untouched() {
            let changed = "was changed after it was made: its pixels and texts are not those of its checksum";
            return Ok((false, changed.to_owned()));
        }
        let sources = sources(&weights, &images, &path);
        sources.check([&record.origin.design].into_iter())?;
        let mut watch = |_: &Aim, event: Event| asking.event(&event);
        let again = Again::of(ear, &session.device, &sources, &record, &mut watch)?;
        let design = &record.origin.design;
        let next = Design { seed: design.seed.wrapping_add(1), ..design.clone() };
        let other = || {
            let by = (&next, &record.recipe);
            Ok(studio::again(ear, &session.device, &sources, by, Some(record.origin.steps), &mut watch)?.picture)
        };
        Ok(match again.compared(&record, other)? {
            Ok(said) => (true, said),
            Err(said) => (false, said),
        })
    });
    match asking.exception() {
        Some(exception) => Err(exception),
        None => found,
    }
}
