//! A network that learns another one's answers.

use entoptic::Error;
use entoptic::nets::BatchNormMode;
use entoptic::ops::{Adam, Metric, Sgd};
use entoptic::training::{self, Event, Job, Lesson, Optimiser, Schedule, TeacherLoss};
use numpy::PyReadonlyArray4;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{normalize, taken};
use crate::errors::raised;
use crate::making::Asking;
use crate::network::Network;

/// Changes a student's weights so that its logits become a teacher's for some pictures [N, 3, S, S]. Returns the loss of every step.
#[pyfunction]
#[pyo3(signature = (student, teacher, pictures, steps, rate=None, batch=1, adam=false, metric="sse", normalize_=None, seed=0, progress=None))]
pub fn train(
    py: Python<'_>,
    student: Py<Network>,
    teacher: Py<Network>,
    pictures: PyReadonlyArray4<'_, f32>,
    steps: usize,
    rate: Option<f32>,
    batch: usize,
    adam: bool,
    metric: &str,
    normalize_: Option<&str>,
    seed: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Vec<f32>, Option<PyErr>)> {
    let loss = match metric {
        "l1" => TeacherLoss::Distance(Metric::L1),
        "l2" => TeacherLoss::Distance(Metric::L2),
        "sse" => TeacherLoss::Distance(Metric::SumOfSquares),
        "cross_entropy" => TeacherLoss::CrossEntropy,
        other => {
            let kinds = "\"sse\", \"l1\", \"l2\" or \"cross_entropy\"";
            return Err(PyValueError::new_err(format!("loss is \"{other}\", expected {kinds}")));
        }
    };
    let pictures = taken(&pictures)?;
    let (student, teacher) = (student.get(), teacher.get());
    let optimiser = if adam { Optimiser::Adam(Adam::default()) } else { Optimiser::Sgd(Sgd::default()) };
    let how = normalize(normalize_)?.unwrap_or(student.loaded.trained_with);
    let asking = Asking::new(progress);
    let done = py.detach(|| {
        let job = Job {
            student: &student.loaded.network,
            lesson: Lesson::Teacher { teacher: &teacher.loaded.network, pictures: &pictures, loss },
            normalize: how,
            batch_norm: BatchNormMode::Frozen,
            batch,
            side: pictures.shape.h(),
            optimiser,
            rate: rate.unwrap_or(if adam { 1e-4 } else { 1e-5 }),
            schedule: Schedule::Constant,
            steps,
            seed,
            state: None,
            report_every: 10,
            check_finite: false,
            checkpoint_every: None,
        };
        training::run(&student.device, &job, &mut |event| {
            Ok(match event {
                Event::Progress { step, steps, rate, loss } => asking.ask(|facts| {
                    facts.set_item("step", step)?;
                    facts.set_item("steps", steps)?;
                    facts.set_item("rate", rate)?;
                    facts.set_item("loss", [loss])
                }),
                Event::Step { .. } => asking.ask_signals(),
                _ => std::ops::ControlFlow::Continue(()),
            })
        })
    });
    student.learnt(&teacher.loaded)?;
    match (done, asking.exception()) {
        (Ok(state), stopped) => Ok((state.losses, stopped)),
        (Err(Error::Interrupted), Some(stopped)) => Ok((vec![], Some(stopped))),
        (Err(error), _) => Err(raised(&error)),
    }
}
