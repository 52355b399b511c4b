//! Networks run once on given pictures: outputs, losses, gradients with respect to the pictures.
//!
//! Not here: changing the pictures or the weights.
//!
//! One long file: each way to run a network once prepares the same scene and program, and reads from it what it wants.

pub(crate) mod checks;
pub(crate) mod parts;
pub(crate) mod prepare;
mod vjp;

use std::ops::Range;
use std::sync::Arc;

pub(crate) use checks::FiniteChecks;
use checks::Found;
use parts::{at_a_time, ranges};
use prepare::{Draft, Prepared};
pub use vjp::vjp;

use crate::device::{Buffer, Device, Externals, Plan, Program, Readback, Recorder};
use crate::nets::{BatchNormMode, Head, Network, Norm, Normalize, Outputs, Parameters};
use crate::objective::{Loss, Objective, Place};
use crate::ops::{StatisticsDistance, View};
use crate::tape::{Derived, GRADIENT_OF, Recorded, Request, Tape, Var};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// Name of the external value that holds the pictures [N, 3, H, W].
pub const PICTURE: &str = "picture";

/// Networks, and what is asked of them.
#[derive(Clone)]
pub struct Scene<'a> {
    /// The networks, all given the same picture.
    pub networks: Vec<&'a Network>,
    /// What pixel values become before they reach the networks.
    pub normalize: Normalize,
    /// The loss; without terms, none.
    pub objective: Objective,
    /// Class indices and goals, by the names of [`crate::objective::class_input`] and [`crate::objective::goal_input`].
    pub inputs: Vec<(String, Array)>,
}

/// A scene on a tape.
pub(crate) struct Staged {
    /// The loss; none for a scene without terms.
    pub loss: Option<Loss>,
    /// The values at the places asked for.
    pub places: Vec<Var>,
}

impl<'a> Scene<'a> {
    /// Networks without an objective.
    pub fn of(networks: Vec<&'a Network>, normalize: Normalize) -> Self {
        Scene { networks, normalize, objective: Objective::default(), inputs: Vec::new() }
    }

    /// Whether every network takes grey pictures, so that those which are made for them are grey.
    pub fn is_grey(&self) -> bool {
        !self.networks.is_empty() && self.networks.iter().all(|network| network.structure.channels() == 1)
    }

    /// Puts the networks and the loss on a tape. `seen` is what the networks are given of the `picture`; terms on the picture
    /// itself look at the latter.
    pub(crate) fn stage(&self, tape: &mut Tape, (picture, seen): (Var, Var), places: &[Place]) -> Result<Staged> {
        let mut outputs: Vec<Outputs> = Vec::with_capacity(self.networks.len());
        // Networks that normalise alike are given the same values.
        let mut shared = None;
        for (index, network) in self.networks.iter().enumerate() {
            let looked_at = || places.iter().chain(self.objective.terms.iter().map(|term| &term.place));
            let mut heads: Vec<Head> = looked_at().filter_map(|place| place.head(index)).collect();
            // Statistics are those of every batch norm up to the end.
            heads.extend(self.objective.measures_statistics(index).then_some(Head::Main));
            let layers: Vec<&str> = looked_at().filter_map(|place| place.layer(index)).collect();
            let x = match shared {
                Some(x) if network.pixels.is_none() && network.structure.takes(tape.shape(x).c()) => x,
                _ => network.input(tape, seen, self.normalize)?,
            };
            shared = shared.or(network.pixels.is_none().then_some(x));
            outputs.push(network.forward(tape, x, BatchNormMode::Frozen, &heads, &layers)?);
        }
        let loss = match self.objective.terms.is_empty() {
            true => None,
            false => Some(self.objective.record(tape, picture, &outputs)?),
        };
        let places = places.iter().map(|place| place.find(picture, &outputs)).collect::<Result<_>>()?;
        Ok(Staged { loss, places })
    }

    /// The same for some of the pictures.
    pub(crate) fn pictures(&self, range: Range<usize>) -> Scene<'a> {
        let inputs = self.inputs.iter().map(|(name, array)| (name.clone(), array.pictures(range.clone())));
        Scene { inputs: inputs.collect(), ..self.clone() }
    }

    /// A program of what has been recorded for a picture.
    fn prepare(
        &self,
        device: &Device,
        label: &str,
        recorder: Recorder,
        derived: Vec<Derived>,
        checks: Option<FiniteChecks>,
        picture: &Array,
    ) -> Result<Prepared> {
        let draft = Draft { label, recorder, derived, networks: &self.networks, checks, after: None };
        draft.prepare(device, || {
            let mut externals = self.uploads(device)?;
            externals.insert(PICTURE.into(), device.upload(PICTURE, Layout::Picture, picture)?);
            Ok(externals)
        })
    }

    /// Buffers of the inputs, made anew.
    pub(crate) fn uploads(&self, device: &Device) -> Result<Externals> {
        let upload = |(name, array): &(String, Array)| Ok((name.clone(), device.upload(name, Layout::Picture, array)?));
        self.inputs.iter().map(upload).collect()
    }
}

/// A gradient with respect to a picture, and what it is the gradient of.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// Loss of each picture [N, 1, 1, 1].
    pub loss: Array,
    /// The gradient of the sum of losses, in the shape of the picture.
    pub gradient: Array,
    /// Where the memory went, for as many pictures as were done at a time.
    pub plan: Plan,
    /// Kernel launches, for all pictures.
    pub dispatches: usize,
}

/// Values of a scene's networks at some places, for a picture [N, 3, H, W].
///
/// # Errors
/// [`Error::UnknownLayer`], [`Error::TooSmall`], [`Error::NotFinite`] with `check_finite`, those of the device.
pub fn outputs(
    device: &Device,
    scene: &Scene,
    picture: &Array,
    places: &[Place],
    check_finite: bool,
) -> Result<Vec<Array>> {
    let scene = Scene { objective: Objective::default(), ..scene.clone() };
    let parts = in_parts(&scene, picture, |scene, picture| {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let keep = scene.stage(&mut tape, (x, x), places)?.places;
        let request = Request { keep, ..Request::default() };
        let once = Once::run(device, scene, &tape, &request, picture, check_finite)?;
        once.recorded.kept.iter().map(|view| once.fetch(device, view)).collect::<Result<Vec<Array>>>()
    })?;
    let place = |k: usize| Array::batch(parts.iter().map(|part| part[k].clone()).collect());
    Ok((0..places.len()).map(place).collect())
}

/// Does the same with all pictures, as many at a time as the device can hold.
fn in_parts<T>(scene: &Scene, picture: &Array, work: impl Fn(&Scene, &Array) -> Result<T>) -> Result<Vec<T>> {
    let n = picture.shape.n();
    let part = |range: Range<usize>| work(&scene.pictures(range.clone()), &picture.pictures(range));
    at_a_time(n, |size| ranges(n, size).map(part).collect())
}

/// Loss of a scene for each picture [N, 3, H, W], without its gradient: [N, 1, 1, 1].
///
/// # Errors
/// As [`gradient`].
pub fn losses(device: &Device, scene: &Scene, picture: &Array, check_finite: bool) -> Result<Array> {
    let parts = in_parts(scene, picture, |scene, picture| {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let loss = scene.stage(&mut tape, (x, x), &[])?.loss.ok_or_else(no_term)?;
        let request = Request { keep: vec![loss.total], ..Request::default() };
        let once = Once::run(device, scene, &tape, &request, picture, check_finite)?;
        once.fetch(device, &once.recorded.kept[0])
    });
    parts.map(Array::batch)
}

fn no_term() -> Error {
    Error::Objective { objective: "loss".into(), reason: "no term is given".into() }
}

/// Loss of a scene, and its gradient with respect to the picture [N, 3, H, W].
///
/// # Errors
/// As [`outputs`], and those of [`Objective::record`].
pub fn gradient(device: &Device, scene: &Scene, picture: &Array, check_finite: bool) -> Result<Gradient> {
    let parts = in_parts(scene, picture, |scene, picture| {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let loss = scene.stage(&mut tape, (x, x), &[])?.loss.ok_or_else(no_term)?;
        let request = Request { keep: vec![loss.total], loss: Some(loss.total), wrt: vec![x] };
        let once = Once::run(device, scene, &tape, &request, picture, check_finite)?;
        Ok(Gradient {
            loss: once.fetch(device, &once.recorded.kept[0])?,
            gradient: once.fetch(device, &once.recorded.gradients[0])?,
            plan: once.program.plan().clone(),
            dispatches: once.program.dispatches(),
        })
    })?;
    let dispatches = parts.iter().map(|part| part.dispatches).sum();
    let plan = parts[0].plan.clone();
    let (loss, gradient) = parts.into_iter().map(|part| (part.loss, part.gradient)).unzip();
    Ok(Gradient { loss: Array::batch(loss), gradient: Array::batch(gradient), plan, dispatches })
}

/// How a network is run over one batch after another.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The network, with frozen statistics.
    pub network: &'a Network,
    /// Whose logits are wanted.
    pub head: Head,
    /// What pixel values become before they reach it.
    pub normalize: Normalize,
    /// Pictures of a batch [N, 3, H, W].
    pub shape: Shape,
    /// Take means and variances of what its batch norms are given: see [`Forward::moments`].
    pub moments: bool,
    /// Layers whose channels are averaged: see [`Forward::means`].
    pub means: &'a [String],
    /// Look for NaN and infinity behind every layer; slow.
    pub check_finite: bool,
}

impl<'a> Pass<'a> {
    /// For the main head's logits and nothing else.
    pub fn of(network: &'a Network, normalize: Normalize, shape: Shape) -> Self {
        Pass { network, head: Head::Main, normalize, shape, moments: false, means: &[], check_finite: false }
    }
}

/// A network for one picture size and batch after another, prepared once.
pub struct Forward {
    device: Device,
    parameters: Arc<Parameters>,
    program: Program,
    pictures: Buffer,
    /// Of a batch, and of as many of its pictures as are done at a time.
    shape: Shape,
    part: Shape,
    logits: View,
    readback: Readback,
    moments: Vec<[View; 2]>,
    means: Vec<View>,
    /// What these were for the last batch, part by part.
    taken: Vec<(Vec<Moments>, Vec<Array>)>,
    running: Vec<Running>,
    checks: Option<(FiniteChecks, Buffer)>,
}

/// Means and biased variances over the pixels of each picture, of what a batch norm is given: both [N, C, 1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// m.
    pub mean: Array,
    /// v.
    pub variance: Array,
}

/// What a batch norm has run up in training of what it is given, one number for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances.
    pub variance: Vec<f32>,
    /// Added to variances.
    pub eps: f32,
    /// Pixels of a picture there.
    pub pixels: usize,
}

impl Forward {
    /// Prepares a pass: it sees every later change of the weights. Batches that are too large for the device are done in parts.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; those of [`Network::forward`] and of the device.
    pub fn prepare(device: &Device, pass: &Pass) -> Result<Self> {
        let [n, c, h, w] = pass.shape.0;
        let whole = at_a_time(n, |n| Self::prepare_whole(device, &Pass { shape: Shape::new(n, c, h, w), ..*pass }))?;
        Ok(Forward { shape: pass.shape, ..whole })
    }

    /// [`Forward::prepare`] for whole batches only.
    pub(crate) fn prepare_whole(device: &Device, pass: &Pass) -> Result<Self> {
        let Pass { network, head, normalize, shape, .. } = *pass;
        let mut tape = Tape::default();
        let pixels = tape.input(PICTURE, shape);
        let x = network.input(&mut tape, pixels, normalize)?;
        let layers: Vec<&str> = pass.means.iter().map(String::as_str).collect();
        let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[head], &layers)?;
        let watched = if pass.moments { &outputs.norms[..] } else { &[] };
        let averaged = pass.means.iter().map(|layer| outputs.tap(layer)).collect::<Result<Vec<Var>>>()?;
        let keep = [outputs.head(head)].into_iter().chain(watched.iter().map(|norm| norm.x)).chain(averaged).collect();
        let mut recorder = Recorder::new(device.tuning());
        let mut checks = pass.check_finite.then(FiniteChecks::default);
        let request = Request { keep, ..Request::default() };
        let Recorded { kept, derived, .. } = FiniteChecks::record(&mut checks, &tape, &mut recorder, &request)?;
        recorder.layer("moments");
        let mut moments: Vec<_> = kept[1..].iter().map(|&x| StatisticsDistance::moments(&mut recorder, x)).collect();
        let means: Vec<View> = moments.split_off(watched.len()).into_iter().map(|[mean, _]| mean).collect();
        moments.iter().flatten().chain(&means).for_each(|view| recorder.keep(view.buffer));
        let draft = Draft { label: "forward", recorder, derived, networks: &[network], checks, after: None };
        let Prepared { program, externals, checks } = draft.prepare(device, || {
            let pictures = device.buffer(PICTURE, Layout::Picture.bytes(shape))?;
            Ok(Externals::from([(PICTURE.to_owned(), pictures)]))
        })?;
        let pictures = externals[PICTURE].clone();
        let logits = kept[0];
        let readback = device.readback(logits.layout.bytes(logits.shape))?;
        let known = |var: Var| -> Result<Vec<f32>> {
            let parameter = outputs.parameters.iter().find(|parameter| parameter.var == var);
            let parameter = parameter.expect("running statistics are parameters");
            Ok(network.parameters().tensor(device, &parameter.name)?.values)
        };
        let running = |norm: &Norm| {
            let [_, _, h, w] = tape.shape(norm.x).0;
            let (mean, variance) = (known(norm.running_mean)?, known(norm.running_var)?);
            Ok(Running { mean, variance, eps: norm.eps, pixels: h * w })
        };
        let running = watched.iter().map(running).collect::<Result<_>>()?;
        Ok(Forward {
            device: device.clone(),
            parameters: network.parameters().clone(),
            program,
            pictures,
            shape,
            part: shape,
            logits,
            readback,
            moments,
            means,
            taken: vec![],
            running,
            checks,
        })
    }

    /// Logits [N, classes, 1, 1] of pictures as the engine stores them ([`Layout::Picture`]), for those who prepare them on
    /// other threads.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with `check_finite`; those of the device.
    ///
    /// # Panics
    /// When there are not as many numbers as in the pictures it was prepared for.
    pub fn logits(&mut self, stored: &[f32]) -> Result<Array> {
        assert_eq!(stored.len(), Layout::Picture.stored(self.shape), "pictures of another shape");
        self.taken.clear();
        let mut logits = Vec::new();
        for part in stored.chunks(Layout::Picture.stored(self.part).max(1)) {
            // The last part may be short; then others are still there behind it.
            self.device.write(&self.pictures, part)?;
            logits.push(self.present_logits()?);
        }
        Ok(Array::batch(logits).pictures(0..self.shape.n()))
    }

    /// Logits of what [`Forward::pictures`] holds, of a pass that is prepared whole.
    pub(crate) fn present_logits(&mut self) -> Result<Array> {
        self.parameters.refresh()?;
        self.program.run()?;
        if let Some((checks, flags)) = &self.checks {
            checks.verify(&self.device, flags, None)?;
        }
        self.taken.push(self.present()?);
        let stored: Vec<f32> = self.readback.read(&self.device, self.program.buffer(self.logits.buffer))?;
        Ok(Array::new(self.logits.shape, self.logits.layout.unpack(self.logits.shape, &stored)))
    }

    /// The buffer that holds the pictures.
    pub(crate) fn pictures(&self) -> &Buffer {
        &self.pictures
    }

    /// What the batch norms know of training, in order of execution; none unless the pass takes moments.
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// Moments at each batch norm, in order of execution, for the pictures that [`Forward::logits`] was last given; none
    /// unless the pass takes them.
    pub fn moments(&self) -> Vec<Moments> {
        let norm = |k: usize| {
            let of = |part: fn(&Moments) -> &Array| self.all(|(moments, _)| part(&moments[k]));
            Moments { mean: of(|moments| &moments.mean), variance: of(|moments| &moments.variance) }
        };
        let norms = if self.taken.is_empty() { 0 } else { self.moments.len() };
        (0..norms).map(norm).collect()
    }

    /// The mean of each channel over the pixels of each picture, [N, C, 1, 1], at each layer that the pass averages, for the
    /// pictures that [`Forward::logits`] was last given.
    pub fn means(&self) -> Vec<Array> {
        let layers = if self.taken.is_empty() { 0 } else { self.means.len() };
        (0..layers).map(|k| self.all(|(_, means)| &means[k])).collect()
    }

    /// A value of all parts of the last batch.
    fn all(&self, of: impl Fn(&(Vec<Moments>, Vec<Array>)) -> &Array) -> Array {
        Array::batch(self.taken.iter().map(|part| of(part).clone()).collect()).pictures(0..self.shape.n())
    }

    /// Moments and means of the pictures that have just been looked at.
    fn present(&self) -> Result<(Vec<Moments>, Vec<Array>)> {
        let fetch = |view: &View| self.device.download(self.program.buffer(view.buffer), view.layout, view.shape);
        let both = |[mean, variance]: &[View; 2]| Ok(Moments { mean: fetch(mean)?, variance: fetch(variance)? });
        let moments = self.moments.iter().map(both).collect::<Result<_>>()?;
        Ok((moments, self.means.iter().map(fetch).collect::<Result<_>>()?))
    }
}

/// A tape that has been run once.
struct Once {
    program: Program,
    recorded: Recorded,
}

impl Once {
    fn run(
        device: &Device,
        scene: &Scene,
        tape: &Tape,
        request: &Request,
        picture: &Array,
        check_finite: bool,
    ) -> Result<Self> {
        let mut recorder = Recorder::new(device.tuning());
        let mut checks = check_finite.then(FiniteChecks::default);
        let recorded = FiniteChecks::record(&mut checks, tape, &mut recorder, request)?;
        let Prepared { mut program, checks, .. } =
            scene.prepare(device, "evaluate", recorder, recorded.derived.clone(), checks, picture)?;
        program.run()?;
        if let Some((checks, flags)) = checks {
            checks.verify(device, &flags, None)?;
        }
        device.wait("evaluate")?;
        Ok(Once { program, recorded })
    }

    /// A value, which may be some channels of another.
    fn fetch(&self, device: &Device, view: &View) -> Result<Array> {
        let [n, c, h, w] = view.shape.0;
        let wide = Shape::new(n, 4 * view.stride as usize, h, w);
        let whole = device.download(self.program.buffer(view.buffer), view.layout, wide)?.values;
        let part = |n: usize| &whole[(n * wide.c() + 4 * view.offset as usize) * h * w..][..c * h * w];
        Ok(Array::new(view.shape, (0..n).flat_map(part).copied().collect()))
    }
}

/// Where a gradient ends before it reaches the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEnd {
    /// The layer that lets nothing through.
    pub layer: String,
    /// Whether that is because all of its values are zero.
    pub silent: bool,
}

/// The layer at which the gradient of a scene's loss ends on its way to the picture [N, 3, H, W]; none while it arrives.
///
/// # Errors
/// As [`gradient`].
pub fn dead_end(device: &Device, scene: &Scene, picture: &Array) -> Result<Option<DeadEnd>> {
    let parts = in_parts(scene, picture, |scene, picture| {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, picture.shape);
        let loss = scene.stage(&mut tape, (x, x), &[])?.loss.ok_or_else(no_term)?;
        let request = Request { keep: vec![loss.total], loss: Some(loss.total), wrt: vec![x] };
        let mut recorder = Recorder::new(device.tuning());
        let mut checks = Some(FiniteChecks::default());
        let derived = FiniteChecks::record(&mut checks, &tape, &mut recorder, &request)?.derived;
        let Prepared { mut program, checks, .. } =
            scene.prepare(device, "dead end", recorder, derived, checks, picture)?;
        program.run()?;
        let (checks, flags) = checks.expect("it was some, and stays so");
        Ok(end_of(&checks.found(device, &flags)?))
    })?;
    // Where it arrives at some pictures it does arrive.
    Ok(parts.into_iter().collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().next()))
}

/// The end of the gradient among values in order of execution and gradients in the reverse of it.
fn end_of(found: &[(&str, Found)]) -> Option<DeadEnd> {
    let gradients = found.iter().filter_map(|&(name, found)| Some((name.strip_prefix(GRADIENT_OF)?, found)));
    let gradients: Vec<(&str, Found)> = gradients.collect();
    let dead = gradients.iter().rev().take_while(|(_, found)| *found == Found::Zeros).count();
    let first = gradients[gradients.len() - dead..].first()?.0;
    // Of what comes before the last layer that the gradient reaches: values that are zero together, up to the layer where
    // they have become so.
    let reached = gradients[..gradients.len() - dead].last().map_or(first, |(name, _)| name);
    let values: Vec<(&str, Found)> = found.iter().copied().filter(|(name, _)| !name.starts_with(GRADIENT_OF)).collect();
    let before = values.iter().position(|(name, _)| *name == reached).unwrap_or_default();
    let zeros = values[..before].iter().rev().take_while(|(_, found)| *found == Found::Zeros);
    Some(match zeros.last() {
        Some((layer, _)) => DeadEnd { layer: (*layer).to_owned(), silent: true },
        None => DeadEnd { layer: first.to_owned(), silent: false },
    })
}
