//! Pictures of some classes made together, from the first step to what the networks make of them.

use std::ops::ControlFlow;

use entoptic::analysis::eight_bit;
use entoptic::device::{Class, Device, Tiling};
use entoptic::evaluate;
use entoptic::ops::Metric;
use entoptic::picture;
use entoptic::studio::{Aim, Goal, Init, Target};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Finished, Job, memory, resume};
use entoptic::tensor::{Array, Shape};

use super::super::interrupt;
use super::super::making::{Making, Picture, largest};
use super::super::networks::{Loaded, probabilities};
use super::super::options::{Global, MakingArgs};
use super::super::represent::{class_picture, made_by};
use super::ObjectiveArg;
use super::manifest::{Judgement, Top};
use super::state::State;

/// What all batches share.
pub struct Workshop<'a> {
    pub global: &'a Global,
    pub device: &'a Device,
    pub objective: ObjectiveArg,
    pub constant: f32,
    pub args: &'a MakingArgs,
    pub networks: &'a [Loaded],
    pub recipe: Recipe,
    /// The network whose pictures are matched, and its recipe.
    pub target: Option<(&'a [Loaded], Recipe)>,
}

/// A batch, done or left.
pub enum Outcome {
    Done(Vec<Made>),
    Stopped(Box<State>),
}

/// A picture of a batch.
pub struct Made {
    /// The bytes of its file, or why there is none.
    pub file: Result<Vec<u8>, String>,
    pub loss: f32,
    /// By each network; none where there is no picture.
    pub networks: Vec<Judgement>,
}

/// Told of the share of the batch that is done, the step and their number.
pub type Watch<'a> = &'a mut dyn FnMut(f64, (usize, usize));

impl Workshop<'_> {
    /// Bytes that a batch of so many pictures takes on the device.
    pub fn memory(&self, pictures: usize) -> anyhow::Result<u64> {
        let making = self.making();
        let names = &self.networks[0].network.classes;
        let aim = |n: usize| self.aim(n % names.len(), names.name(n % names.len()).to_owned(), None);
        let any: Vec<Picture> =
            (0..pictures).map(|n| Picture { aim: aim(n), ..self.picture(n, String::new()) }).collect();
        let answers = Array::filled(Shape::new(pictures, self.networks[0].network.class_count(), 1, 1), 0.0);
        let mut most = memory(&making.plan.device, &making.plan.job(&any, self.target.as_ref().map(|_| &answers))?)?;
        if let Some(making) = self.target_making() {
            let any: Vec<Picture> = (0..pictures).map(|n| class_picture(n % names.len(), &making)).collect();
            most = most.max(memory(&making.plan.device, &making.plan.job(&any, None)?)?);
        }
        Ok(most)
    }

    /// Makes the pictures of some classes, from the beginning or from where they were left. Ends early, after the step that
    /// is at work, where the user asks for it.
    pub fn make(&self, classes: &[(usize, String)], from: Option<State>, watch: Watch) -> anyhow::Result<Outcome> {
        let (mut begun, mut targets) = from.map_or((None, None), |state| (Some(state.finished), state.targets));
        let stopped = |finished, targets| {
            let classes = classes.iter().map(|(class, _)| *class).collect();
            Ok(Outcome::Stopped(Box::new(State { classes, finished, targets })))
        };
        let making = self.making();
        let matched = self.target_making();
        let mut pictures: Vec<Picture> =
            classes.iter().map(|(class, name)| self.picture(*class, name.clone())).collect();
        let mut goal = None;
        if let Some(other) = &matched {
            let shown: Vec<Picture> = classes.iter().map(|(class, _)| class_picture(*class, other)).collect();
            if targets.is_none() {
                let finished = self.steps(other, &shown, None, begun.take(), &mut |share, steps| {
                    watch(share / 2.0, steps);
                })?;
                if finished.steps < other.plan.recipe.steps() {
                    return stopped(finished, None);
                }
                targets = Some(eight_bit(&finished.pictures));
            }
            for (index, picture) in pictures.iter_mut().enumerate() {
                let of = made_by(other, &shown[index], index)?;
                let Aim::Class { class, name, .. } = &shown[index].aim else { unreachable!("pictures of a class") };
                picture.aim = self.aim(*class, name.clone(), Some(of));
            }
            let place = pictures[0].aim.place(&making.plan);
            goal = targets
                .as_ref()
                .map(|targets| Goal::new(&self.global.ear(), &making.plan, place, targets))
                .transpose()?;
        }
        let first = if matched.is_some() { 0.5 } else { 0.0 };
        let goal = goal.map(|goal| goal.values);
        let finished = self.steps(&making, &pictures, goal.as_ref(), begun, &mut |share, steps| {
            watch(first + (1.0 - first) * share, steps);
        })?;
        if finished.steps < making.plan.recipe.steps() {
            return stopped(finished, targets);
        }
        let files = files(&making, &pictures, &finished)?;
        let networks = self.judged(&making, matched.as_ref(), classes, &finished.pictures, &files)?;
        let made = files.into_iter().zip(networks).zip(&finished.loss);
        Ok(Outcome::Done(made.map(|((file, networks), loss)| Made { file, networks, loss: *loss }).collect()))
    }

    /// Runs the steps that are left.
    fn steps(
        &self,
        making: &Making,
        pictures: &[Picture],
        goal: Option<&Array>,
        begun: Option<Finished>,
        watch: Watch,
    ) -> anyhow::Result<Finished> {
        let device = &making.plan.device;
        // Where reading the loss back costs nothing, a run can end after any step.
        let report_every = if device.adapter().class == Class::Software { 1 } else { 5 };
        let job = Job { report_every, ..making.plan.job(pictures, goal)? };
        // A batch that goes on has the choices of all its steps in its pictures' metadata, as one that was never left.
        if !matches!(device.tuning().tiling, Tiling::Always(_)) {
            memory(device, &job)?;
        }
        let costs = costs(&making.plan.recipe);
        let mut observer = |event: Event| {
            if let Event::Progress(progress) = event {
                let share = costs[progress.step - 1] / costs[costs.len() - 1];
                watch(share, (progress.step, progress.steps));
            }
            if interrupt::stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        Ok(match begun {
            Some(begun) => resume(device, &job, &begun, &mut observer)?,
            None => entoptic::synthesis::run(device, &job, &mut observer)?,
        })
    }

    /// A making with a choice of kernels of its own, which then depends on nothing else.
    fn making(&self) -> Making<'_> {
        Making::with_recipe(self.global, self.device, self.networks, self.recipe.clone(), self.args)
    }

    fn target_making(&self) -> Option<Making<'_>> {
        let (networks, recipe) = self.target.as_ref()?;
        Some(Making::with_recipe(self.global, self.device, networks, recipe.clone(), self.args))
    }

    fn picture(&self, class: usize, name: String) -> Picture {
        let stream = Stream { seed: self.args.seed, picture: class as u64 };
        Picture { name: String::new(), stream, aim: self.aim(class, name, None) }
    }

    /// What a picture of a class is to show; `of` is what it is to match.
    fn aim(&self, class: usize, name: String, of: Option<Target>) -> Aim {
        let constant = self.constant;
        match (self.objective, of) {
            (_, Some(of)) => Aim::matching(of, None, Metric::L1),
            (ObjectiveArg::Joint, None) => Aim::Joint { class, name, constant },
            (ObjectiveArg::Difference, None) => Aim::Difference { class, name, minus: 1 },
            (ObjectiveArg::Opposite, None) => Aim::Opposite { class, name },
            (ObjectiveArg::Class | ObjectiveArg::Match, None) => Aim::Class { class, name, constant },
        }
    }

    /// What each network makes of the pictures as their files hold them.
    fn judged(
        &self,
        making: &Making,
        matched: Option<&Making>,
        classes: &[(usize, String)],
        pictures: &Array,
        files: &[Result<Vec<u8>, String>],
    ) -> anyhow::Result<Vec<Vec<Judgement>>> {
        let good: Vec<usize> = (0..files.len()).filter(|&n| files[n].is_ok()).collect();
        let mut judged = vec![vec![]; files.len()];
        if good.is_empty() {
            return Ok(judged);
        }
        let [_, c, h, w] = pictures.shape.0;
        let values = good.iter().flat_map(|&n| eight_bit(&pictures.picture(n)).values).collect();
        let seen = Array::new(Shape::new(good.len(), c, h, w), values);
        for making in [making].into_iter().chain(matched) {
            let places: Vec<_> = (0..making.plan.networks.len()).map(|index| making.plan.logits(index)).collect();
            let found = evaluate::outputs(&making.plan.device, &making.plan.scene(), &seen, &places, false)?;
            for (loaded, logits) in making.plan.networks.iter().zip(found) {
                for (at, &n) in good.iter().enumerate() {
                    judged[n].push(judgement(loaded, classes[n].0, &logits.picture(at).values));
                }
            }
        }
        Ok(judged)
    }
}

fn judgement(loaded: &Loaded, class: usize, logits: &[f32]) -> Judgement {
    let names = &loaded.network.classes;
    let probabilities = probabilities(&loaded.network, logits);
    let finite = |value: f32| value.is_finite().then_some(value);
    let top =
        |index: usize| Top { index, class: names.name(index).to_owned(), probability: finite(probabilities[index]) };
    Judgement {
        network: loaded.network.structure.name().to_owned(),
        probability: finite(probabilities[class]),
        rank: logits.iter().filter(|logit| **logit > logits[class]).count(),
        top5: largest(logits, 5).into_iter().map(top).collect(),
        logits: logits.iter().copied().map(finite).collect(),
    }
}

/// The bytes of the pictures' files, and why some have none.
fn files(making: &Making, pictures: &[Picture], finished: &Finished) -> anyhow::Result<Vec<Result<Vec<u8>, String>>> {
    let file = |(index, picture): (usize, &Picture)| {
        let made = finished.pictures.picture(index);
        if !finished.loss[index].is_finite() {
            return Ok(Err(format!("its loss became {}", finished.loss[index])));
        }
        let origin = making.plan.origin(picture, index, Init::Noise, finished);
        match picture::encode_png(&made, &origin.texts(&making.plan.recipe, &made)) {
            Err(error @ entoptic::Error::NotFinite { .. }) => Ok(Err(error.to_string())),
            bytes => Ok(Ok(bytes?)),
        }
    };
    pictures.iter().enumerate().map(file).collect()
}

/// What all steps up to each cost, about: as many parts as there are pixels that the networks see.
fn costs(recipe: &Recipe) -> Vec<f64> {
    let mut sum = 0.0;
    let mut costs = Vec::new();
    for (stage, start) in recipe.starts() {
        for step in 0..stage.iterations {
            sum += f64::from(stage.crop.unwrap_or(stage.size_at(start, step))).powi(2);
            costs.push(sum);
        }
    }
    costs
}
