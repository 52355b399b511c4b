//! One generation step as a recording: brightness, window, what is seen of it, networks, loss, gradient, descent, blur. Replayed without a word from the
//! host: the numbers of all steps are uploaded ahead and read by a counter on the GPU.

use super::canvas::Canvas;
use super::octave::{PictureNumbers, StepNumbers};
use super::parametrisation::Parametrisation;
use super::stage::{BlurOn, Stage, StepRule};
use crate::device::{Buffer, BufferId, Device, Plan, Program, Readback, Recorder, Tuning};
use crate::evaluate::prepare::{self, Prepared};
use crate::evaluate::{FiniteChecks, PICTURE, Scene};
use crate::nets::mean_of_colours;
use crate::objective::{Form, Measure, Place, Term, fade_input};
use crate::ops::{Advance, Brighten, Crop, Descend, GaussianBlur, Metric, Paste, Rule, View, Warp};
use crate::tape::{Derived, Request, Tape};
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result};

/// Names of external values.
const STEP: &str = "step";
const HISTORIES: [&str; 2] = ["losses", "measured values"];
const MOMENTS: [&str; 2] = ["adam mean", "adam mean square"];

/// Some consecutive steps of a stage at one picture size, and what is optimised in them.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// What stands between what is optimised and the picture.
    pub parametrisation: Parametrisation,
    /// The steps.
    pub steps: &'a [StepNumbers],
    /// The first of them, counted from the start of the run, and how many the run has.
    pub run: (usize, usize),
}

/// Some consecutive steps at one picture size, of all pictures: of as many at a time as the device can hold.
pub(super) struct StepPrograms {
    parts: Vec<StepProgram>,
}

impl StepPrograms {
    /// Records and prepares steps for the pictures [N, 3, H, W] of these parts.
    pub(super) fn prepare(
        device: &Device,
        scene: &Scene,
        segment: Segment,
        canvases: &[Canvas],
        check_finite: bool,
    ) -> Result<Self> {
        let scene = complete(scene, segment.stage);
        let mut parts: Vec<StepProgram> = Vec::with_capacity(canvases.len());
        let mut first = 0;
        for canvas in canvases {
            let pictures = first..first + canvas.pictures.n();
            first = pictures.end;
            let of =
                |step: &StepNumbers| StepNumbers { pictures: step.pictures[pictures.clone()].to_vec(), ..step.clone() };
            let steps: Vec<StepNumbers> = segment.steps.iter().map(of).collect();
            let segment = Segment { steps: &steps, ..segment };
            let scene = scene.pictures(pictures);
            let before = parts.first().map(|part| &part.program);
            let part = StepProgram::prepare(device, &scene, segment, canvas, check_finite, before)?;
            parts.push(part);
        }
        Ok(StepPrograms { parts })
    }

    /// Where the memory of one part goes, which the others share, how many kernels a step launches, and how many parts there are.
    pub(super) fn plan(&self) -> (&Plan, usize, usize) {
        let dispatches = self.parts.iter().map(|part| part.program.dispatches()).sum();
        (self.parts[0].program.plan(), dispatches, self.parts.len())
    }

    /// Whether such a program can be recorded for pictures of this shape; the device is not asked.
    pub(super) fn check(scene: &Scene, segment: Segment, shape: Shape) -> Result<()> {
        Draft::new(&complete(scene, segment.stage), segment, shape).map(drop)
    }

    /// Where the memory of such a program would go, for all pictures at a time; nothing is allocated.
    pub(super) fn plan_for(device: &Device, scene: &Scene, segment: Segment, shape: Shape) -> Result<Plan> {
        let draft = Draft::new(&complete(scene, segment.stage), segment, shape)?;
        let (recorder, ..) = draft.record(device.tuning(), segment.stage, segment.steps.len(), &mut None)?;
        Program::plan_for(device, &recorder.finish())
    }

    /// Takes the first steps as done, and what the step rule remembered after them.
    pub(super) fn skip(&mut self, done: usize, memory: &[Array]) -> Result<()> {
        let mut first = 0;
        for part in &mut self.parts {
            let pictures = first..first + part.shape.n();
            first = pictures.end;
            let memory: Vec<Array> = memory.iter().map(|array| array.pictures(pictures.clone())).collect();
            part.skip(done, &memory)?;
        }
        Ok(())
    }

    /// What the step rule remembers now.
    pub(super) fn memory(&self) -> Result<Vec<Array>> {
        let parts = self.parts.iter().map(StepProgram::memory).collect::<Result<Vec<_>>>()?;
        let all = |k: usize| Array::batch(parts.iter().map(|part| part[k].clone()).collect());
        Ok((0..parts[0].len()).map(all).collect())
    }

    /// Submits the next steps, the first of which is this one of the run.
    pub(super) fn run(&mut self, first: usize, steps: usize) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.run(first, steps))
    }

    /// What the steps so far have found.
    pub(super) fn report(&self) -> Result<Report> {
        let mut all = Report { first: vec![], loss: vec![], measured: vec![], odd: None };
        for part in &self.parts {
            let Report { first, loss, measured, odd } = part.report()?;
            all.first.extend(first);
            all.loss.extend(loss);
            all.measured.extend(measured);
            all.odd = all.odd.into_iter().chain(odd).min();
        }
        Ok(all)
    }

    /// Whether the last step had no gradient anywhere in any picture. Parts share the memory of their gradients: of several nobody
    /// can say it.
    pub(super) fn gradient_is_zero(&self, readback: &Readback) -> Result<bool> {
        let [only] = &self.parts[..] else { return Ok(false) };
        only.gradient_is_zero(readback)
    }

    /// Steps done, skipped ones included.
    pub(super) fn done(&self) -> usize {
        self.parts[0].done
    }
}

/// The same for the pictures of one part.
struct StepProgram {
    device: Device,
    program: Program,
    /// Losses and measured values of all steps.
    history: [Buffer; 2],
    readback: Readback,
    checks: Option<(FiniteChecks, Buffer)>,
    /// The step that comes next, counted from the first of these.
    counter: Buffer,
    /// What the step rule remembers from step to step.
    memory: Vec<Buffer>,
    /// The gradient of what is optimised.
    gradient: BufferId,
    /// The shape of what is optimised.
    shape: Shape,
    done: usize,
}

/// A value of every step, uploaded as a table with one row of vec4s for each.
struct Table {
    name: &'static str,
    shape: Shape,
    rows: Vec<f32>,
}

impl Table {
    /// Name of the external value that holds all rows; `name` is that of the current one.
    fn rows_name(&self) -> String {
        format!("{} table", self.name)
    }

    /// `shape` says how one row lies in memory; `row` gives its numbers in the engine's order.
    fn new(name: &'static str, shape: Shape, steps: &[StepNumbers], row: impl Fn(&StepNumbers) -> Vec<f32>) -> Self {
        let rows = steps.iter().flat_map(|step| Layout::Picture.pack(shape, &row(step))).collect();
        Table { name, shape, rows }
    }

    /// `numbers` gives those of one picture.
    fn each(
        name: &'static str,
        shape: Shape,
        steps: &[StepNumbers],
        numbers: impl Fn(&PictureNumbers) -> Vec<f32>,
    ) -> Self {
        Table::new(name, shape, steps, |step| step.pictures.iter().flat_map(&numbers).collect())
    }
}

/// A step on its tape, and the numbers that change with each step.
struct Draft {
    tape: Tape,
    request: Request,
    tables: Vec<Table>,
    /// What is optimised.
    parameters: Shape,
    /// What the step shows of the picture.
    window: Shape,
    /// Numbers of each picture that a step changes: outside of the window it has no gradient.
    changed: usize,
}

impl Draft {
    /// Steps for pictures [N, 3, H, W].
    fn new(scene: &Scene, segment: Segment, shape: Shape) -> Result<Self> {
        let Segment { stage, parametrisation, steps, run: (first, of) } = segment;
        let n = shape.n();
        let mut tape = Tape::default();
        let parameters = parametrisation.parameters(shape);
        let optimised = tape.input(PICTURE, parameters);
        let x = parametrisation.record(&mut tape, optimised, shape.w())?;
        let mut tables = vec![Table::new("rate", Shape::channels(1), steps, |step| vec![step.rate])];
        let mut window = x;
        if let Some(side) = stage.crop {
            let corners = Shape::new(n, 2, 1, 1);
            let corner = |picture: &PictureNumbers| vec![picture.top as f32, picture.left as f32];
            tables.push(Table::each("corners", corners, steps, corner));
            let corners = tape.input("corners", corners);
            tape.layer("crop");
            window = tape.apply(Crop { height: side as usize, width: side as usize }, &[x, corners])?;
        }
        let mut seen = window;
        if stage.transforms() {
            let maps = Shape::new(n, 6, 1, 1);
            tables.push(Table::each("maps", maps, steps, |picture| picture.map().to_vec()));
            let maps = tape.input("maps", maps);
            tape.layer("transform");
            seen = tape.apply(Warp, &[window, maps])?;
        }
        if stage.colour_jitter > 0.0 {
            let factors = Shape::per_picture(n);
            tables.push(Table::each("brightness", factors, steps, |picture| vec![picture.brightness]));
        }
        if steps.iter().any(|step| step.sigma > 0.0) {
            let taps = Shape::channels(stage.blur_kernel as usize);
            tables.push(Table::new("taps", taps, steps, |step| step.taps.clone()));
        }
        for rising in [true, false].into_iter().filter(|&rising| scene.objective.fades(rising)) {
            let share = (first..first + steps.len()).map(|step| step as f32 / of as f32);
            let shares = share.map(|share| if rising { share } else { 1.0 - share });
            let rows = shares.flat_map(|share| [share, 0.0, 0.0, 0.0]).collect();
            tables.push(Table { name: fade_input(rising), shape: Shape::channels(1), rows });
        }
        if scene.is_grey() {
            // A grey picture stays grey.
            seen = mean_of_colours(&mut tape, seen)?;
        }
        let loss = scene.stage(&mut tape, (window, seen), &[])?.loss.expect("a run has an objective");
        let request =
            Request { keep: vec![loss.total, loss.measured[0]], loss: Some(loss.total), wrt: vec![optimised] };
        let window = tape.shape(window);
        let changed = if parametrisation.is_of_pixels() { window } else { parameters };
        let changed = changed.elements() / n;
        Ok(Draft { tape, request, tables, parameters, window, changed })
    }

    /// Reads the step's numbers, runs the tape, and changes what is optimised along its gradient, which lies in the buffer returned.
    fn record(
        &self,
        tuning: Tuning,
        stage: &Stage,
        steps: usize,
        checks: &mut Option<FiniteChecks>,
    ) -> Result<(Recorder, Vec<Derived>, BufferId)> {
        let shape = self.parameters;
        let mut recorder = Recorder::new(tuning);
        let counter = recorder.external(STEP, 16);
        recorder.layer("numbers of the step");
        let mut numbers = Vec::new();
        for table in &self.tables {
            let rows = recorder.external(&table.rows_name(), table.rows.len() as u64 * 4);
            let bytes = Layout::Picture.bytes(table.shape);
            let now = View::whole(recorder.external(table.name, bytes), table.shape, Layout::Picture);
            Advance::read_row(&mut recorder, counter, rows, steps, now);
            numbers.push((table.name, now));
        }
        let number = |name: &str| numbers.iter().find(|(other, _)| *other == name).map(|(_, view)| *view);
        let bytes = Layout::Picture.bytes(shape);
        let picture = View::whole(recorder.external(PICTURE, bytes), shape, Layout::Picture);
        if let Some(factors) = number("brightness") {
            Brighten::record(&mut recorder, picture, factors);
        }
        let recorded = FiniteChecks::record(checks, &self.tape, &mut recorder, &self.request)?;
        recorder.layer("step");
        for (name, view) in HISTORIES.into_iter().zip(&recorded.kept) {
            let history = recorder.external(name, (steps * shape.n() * 16) as u64);
            Advance::log(&mut recorder, counter, *view, history, steps);
        }
        let rule = match stage.step {
            StepRule::Raw => Rule::Raw,
            StepRule::Normalized => Rule::Normalized { count: self.changed },
            StepRule::Adam => {
                let [m, v] = MOMENTS.map(|name| recorder.external(name, bytes));
                Rule::Adam { m, v, step: counter }
            }
        };
        let limits = stage.clamp.map(|bounds| bounds.map(|bound| bound as f32));
        let rate = number("rate").expect("every stage has a rate");
        Descend { rule, limits }.record(&mut recorder, picture, recorded.gradients[0], rate);
        if let Some(taps) = number("taps") {
            let corners = number("corners").filter(|_| stage.blur_on == BlurOn::Crop);
            let window = corners.map(|corners| (corners, self.window));
            blur(&mut recorder, stage.blur_kernel as usize, picture, taps, window);
        }
        Advance::next(&mut recorder, counter);
        Ok((recorder, recorded.derived, recorded.gradients[0].buffer))
    }
}

impl StepProgram {
    fn prepare(
        device: &Device,
        scene: &Scene,
        segment: Segment,
        &Canvas { buffer: ref picture, pictures, .. }: &Canvas,
        check_finite: bool,
        before: Option<&Program>,
    ) -> Result<Self> {
        let draft = Draft::new(scene, segment, pictures)?;
        let shape = draft.parameters;
        let mut checks = check_finite.then(FiniteChecks::default);
        let (recorder, derived, gradient) =
            draft.record(device.tuning(), segment.stage, segment.steps.len(), &mut checks)?;
        let networks = &scene.networks;
        let program = prepare::Draft { label: "generation step", recorder, derived, networks, checks, after: before };
        let Prepared { program, externals, checks } = program.prepare(device, || {
            let mut externals = scene.uploads(device)?;
            externals.insert(PICTURE.into(), picture.clone());
            Ok(externals)
        })?;
        for table in &draft.tables {
            device.write(&externals[&table.rows_name()], &table.rows)?;
        }
        let history = HISTORIES.map(|name| externals[name].clone());
        let readback = device.readback(history[0].bytes)?;
        let counter = externals[STEP].clone();
        let memory = MOMENTS.iter().filter_map(|name| externals.get(*name).cloned()).collect();
        let device = device.clone();
        Ok(StepProgram { device, program, history, readback, checks, counter, memory, gradient, shape, done: 0 })
    }

    fn skip(&mut self, done: usize, memory: &[Array]) -> Result<()> {
        let expected = self.memory.len();
        if memory.len() != expected {
            return Err(Error::shape("resume", "arrays of memory", expected, memory.len()));
        }
        for (buffer, array) in self.memory.iter().zip(memory) {
            self.device.write_array(buffer, Layout::Picture, array)?;
        }
        self.device.write(&self.counter, &[done as u32])?;
        self.done = done;
        Ok(())
    }

    fn memory(&self) -> Result<Vec<Array>> {
        self.memory.iter().map(|buffer| self.device.download(buffer, Layout::Picture, self.shape)).collect()
    }

    fn run(&mut self, first: usize, steps: usize) -> Result<()> {
        self.done += steps;
        let Some((checks, flags)) = &self.checks else { return self.program.run_times(steps) };
        (first..first + steps).try_for_each(|step| {
            self.program.run()?;
            checks.verify(&self.device, flags, Some(step as u64))
        })
    }

    fn report(&self) -> Result<Report> {
        let [losses, measured] = [self.rows_of(&self.history[0])?, self.rows_of(&self.history[1])?];
        let row = self.shape.n() * 4;
        let last = |rows: &[f32]| rows[(self.done - 1) * row..].iter().step_by(4).copied().collect();
        let odd = losses.iter().step_by(4).position(|loss| !loss.is_finite()).map(|at| at / self.shape.n());
        let first = losses[..row].iter().step_by(4).copied().collect();
        Ok(Report { first, loss: last(&losses), measured: last(&measured), odd })
    }

    /// One row for each step that is done.
    fn rows_of(&self, history: &Buffer) -> Result<Vec<f32>> {
        let mut rows: Vec<f32> = self.readback.read(&self.device, history)?;
        rows.truncate(self.done * self.shape.n() * 4);
        Ok(rows)
    }

    fn gradient_is_zero(&self, readback: &Readback) -> Result<bool> {
        let stored: Vec<f32> = readback.read(&self.device, self.program.buffer(self.gradient))?;
        Ok(stored.iter().all(|&value| value == 0.0))
    }
}

/// What some consecutive steps have found.
pub(super) struct Report {
    /// Loss of each picture at the first step, if that was not skipped.
    pub first: Vec<f32>,
    /// Loss of each picture at the last step.
    pub loss: Vec<f32>,
    /// First measured value of each picture at the last step.
    pub measured: Vec<f32>,
    /// The first step with a loss that is not finite, counted from the first of these.
    pub odd: Option<usize>,
}

/// Blurs the pictures, or the window of each at these corners and of this shape.
fn blur(recorder: &mut Recorder, kernel: usize, pictures: View, taps: View, window: Option<(View, Shape)>) {
    let blur = GaussianBlur { kernel };
    let Some((corners, shape)) = window else { return blur.record(recorder, pictures, taps, pictures) };
    let window = View::transient(recorder, "window", shape);
    Crop { height: shape.h(), width: shape.w() }.record(recorder, pictures, corners, window);
    blur.record(recorder, window, taps, window);
    Paste::record(recorder, window, corners, pictures);
}

/// The scene with the penalties that a stage asks for.
fn complete<'a>(scene: &Scene<'a>, stage: &Stage) -> Scene<'a> {
    let mut objective = scene.objective.clone();
    let mut penalties = vec![
        (stage.l1, Measure::Norm(Metric::L1)),
        (stage.l2, Measure::Norm(Metric::SumOfSquares)),
        (stage.total_variation, Measure::TotalVariation),
    ];
    penalties.extend((0..scene.networks.len()).map(|network| (stage.bn_statistics, Measure::Statistics { network })));
    for (weight, measure) in penalties {
        if weight > 0.0 {
            objective.terms.push(Term { place: Place::Picture, measure, form: Form::Plain, weight: weight as f32 });
        }
    }
    Scene { objective, ..scene.clone() }
}
