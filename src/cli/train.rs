//! `entoptic train`: a network towards another one, or towards labels.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::Error;
use entoptic::classes::ClassList;
use entoptic::device::Device;
use entoptic::files::Lock;
use entoptic::nets::{BatchNormMode, Card, Network, Normalize, Structure};
use entoptic::ops::{Adam, Sgd};
use entoptic::picture;
use entoptic::studio::{Adapter, guess_pixels, trained_words};
use entoptic::tensor::{Array, Shape};
use entoptic::training::{self, Event, Folder, Job, Lesson, Optimiser, Schedule, State, Strength};
use entoptic::weights::{NamedArray, PROGRAM, Precision, write};
use serde_json::{Value, json};

use super::models::{Model, Named};
use super::networks::{check_range, file_name, load_one, open};
use super::options::Global;
use super::progress::{Watcher, memory};
use super::subjects::{say_broken, say_others};
use super::train_args::{LossArg, TrainArgs};

/// Side of new networks' pictures, where the user names none: that of the demo networks' photographs.
const NEW_SIDE: usize = 128;

/// Side where weights say nothing: torchvision's.
const SIDE: usize = 224;

pub fn run(global: &Global, args: TrainArgs) -> anyhow::Result<()> {
    let files = Files::beside(&args.out)?;
    let Some(lock) = files.lock()? else {
        bail!("--out {}: another process is training into this file; name another, or wait", args.out.display());
    };
    let trained = run_alone(global, &args, &files);
    lock.remove();
    trained
}

/// [`run`] while no other process writes the same files.
fn run_alone(global: &Global, args: &TrainArgs, files: &Files) -> anyhow::Result<()> {
    let state = match args.resume {
        true => Some(State::read(&files.state).with_context(|| format!("--resume {}", files.state.display()))?),
        false => None,
    };
    match (&args.teacher, &args.data) {
        (Some(teacher), _) => towards(global, args, teacher, files, state),
        (None, Some(data)) => labels(global, args, data, files, state),
        (None, None) => bail!("give --teacher or --data"),
    }
}

fn towards(
    global: &Global,
    args: &TrainArgs,
    teacher: &Named,
    files: &Files,
    state: Option<State>,
) -> anyhow::Result<()> {
    let path = args.images.as_deref().context("--teacher needs --images")?;
    let student = student(args)?;
    let (structure, checkpoint) = student.find()?;
    let said = checkpoint.metadata().get("side").and_then(|side| side.parse().ok());
    let made_for = structure.sides().map(|[h, w]| h.min(w));
    let side = args.size.or(said).or(made_for).unwrap_or(SIDE);
    let pictures = pictures(global, path, side, args.normalize.map_or(Normalize::Imagenet, Into::into))?;
    let device = open(global)?;
    let student = load_one(global, &device, &student, 0)?;
    let mut taught = Model::of(Some(teacher.clone()), args.teacher_weights.clone(), "--teacher")?;
    taught.ends.output = args.teacher_output.clone();
    let teacher = load_one(global, &device, &taught, 1)?;
    if let Some(chosen) = args.normalize {
        student.check_preprocessing(&global.ear(), &device, chosen.into())?;
    }
    let batch_norm = args.batch_norm.map_or(BatchNormMode::Frozen, Into::into);
    say_norms(global, &student.network, batch_norm);
    let loss = args.loss.unwrap_or(LossArg::Sse).into();
    let lesson = Lesson::Teacher { teacher: &teacher.network, pictures: &pictures, loss };
    let job = Job {
        student: &student.network,
        lesson,
        normalize: args.normalize.map_or(student.trained_with, Into::into),
        batch_norm,
        batch: args.batch.unwrap_or(1),
        side,
        optimiser: optimiser(args, 0.0, 0.0, false),
        rate: args.lr.unwrap_or(if args.adam { 1e-4 } else { 1e-5 }),
        schedule: args.schedule.map_or(Schedule::Constant, Into::into),
        steps: args.steps.unwrap_or(1000),
        seed: args.seed,
        state,
        report_every: 10,
        check_finite: global.check_finite,
        checkpoint_every: Some(args.checkpoint_every.unwrap_or(250)),
    };
    let words =
        trained_words(&student, &teacher).context("--out holds the network too, and its description is too long")?;
    let [learning, taught] = [&student.network, &teacher.network].map(described);
    announce(global, &device, &job, files, json!({ "student": learning, "teacher": taught }));
    let state = train(global, &device, &job, files, &words)?;
    // Each picture once at the beginning, each once at the end.
    let steps = state.losses.len();
    let round = pictures.shape.n().div_ceil(job.batch).min(steps);
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / round as f32;
    let (first, last) = (mean(&state.losses[..round]), mean(&state.losses[steps - round..]));
    let change = match 2 * round <= steps {
        true => format!("after {first:.6}: {:.1} times less", first / last),
        false => "in all; after two rounds through the pictures there is something to compare".into(),
    };
    global.say(format_args!("loss {last:.6} {change}"));
    global.made(&files.out, "weights", json!({ "loss": { "first": first, "last": last } }))
}

fn labels(global: &Global, args: &TrainArgs, data: &Path, files: &Files, state: Option<State>) -> anyhow::Result<()> {
    let mut folder = Folder::open(data).with_context(|| format!("--data {}", data.display()))?;
    say_others(global, data, folder.skipped);
    let device = open(global)?;
    let (student, card) = learner(global, args, &device, &mut folder)?;
    let batch_norm = args.batch_norm.map_or(BatchNormMode::Batch, Into::into);
    say_norms(global, &student, batch_norm);
    let (batch, fresh) = (args.batch.unwrap_or(64), is_fresh(args));
    let per_epoch = folder.train.len() / batch;
    let epochs = args.epochs.unwrap_or(20);
    let side = args.size.or(card.side).unwrap_or(if fresh { NEW_SIDE } else { SIDE });
    let own = if student.structure.is_imported() { card.normalize() } else { Normalize::Imagenet };
    let normalize = args.normalize.map_or(own, Into::into);
    let attack = Strength { eps: args.adversarial_eps, steps: args.adversarial_steps };
    let job = Job {
        student: &student,
        lesson: Lesson::Labels {
            folder: &folder,
            smoothing: args.smoothing.unwrap_or(0.05),
            attack: (attack.eps > 0.0).then_some(attack),
        },
        normalize,
        batch_norm,
        batch,
        side,
        optimiser: optimiser(args, 0.9, 5e-4, true),
        rate: args.lr.unwrap_or(match (args.adam, fresh) {
            (true, _) => 1e-3,
            (false, true) => 0.05,
            (false, false) => 0.01,
        }),
        schedule: args.schedule.map_or(Schedule::OneCycle, Into::into),
        steps: args.steps.unwrap_or(epochs * per_epoch),
        seed: args.seed,
        state,
        report_every: 10,
        check_finite: global.check_finite,
        checkpoint_every: Some(args.checkpoint_every.unwrap_or(per_epoch)),
    };
    global.say(format_args!(
        "{} photographs of {} classes to learn, {} to judge by; {side} px, {} steps of {batch}",
        folder.train.len(),
        folder.classes.len(),
        folder.val.len(),
        job.steps,
    ));
    let mut words = Card {
        network: Some(student.structure.name().into()),
        classes: Some(folder.classes.join(",")),
        transform_input: Some(student.transform_input),
        normalisation: Some(normalize),
        side: Some(side),
        ..card
    }
    .write();
    words.extend(description(&student.structure)?);
    words.insert("adversarial_eps".into(), args.adversarial_eps.to_string());
    announce(global, &device, &job, files, json!({ "student": described(&student), "classes": folder.classes }));
    let state = train(global, &device, &job, files, &words)?;
    let best = state.accuracies.iter().copied().fold(0.0, f32::max);
    global.say(format_args!("best validation accuracy {best:.4}"));
    global.made(&files.out, "weights", json!({ "accuracy": best }))
}

/// An event: what is about to be learnt.
fn announce(global: &Global, device: &Device, job: &Job, files: &Files, mut facts: Value) {
    facts["version"] = json!(env!("CARGO_PKG_VERSION"));
    facts["file"] = json!(files.out.display().to_string());
    (facts["seed"], facts["steps"]) = (json!(job.seed), json!(job.steps));
    (facts["size"], facts["batch"]) = (json!(job.side), json!(job.batch));
    facts["adapter"] = json!(Adapter::of(device));
    global.event("start", facts);
}

fn described(network: &Network) -> Value {
    let weights = file_name(Path::new(&network.source));
    json!({ "network": network.structure.name(), "weights": weights, "sha256": network.checksum })
}

/// The network that learns, as typed.
fn student(args: &TrainArgs) -> anyhow::Result<Model> {
    let mut student = Model::of(args.model.clone(), args.weights.clone(), "--student")?;
    student.ends.output = args.output.clone();
    Ok(student)
}

/// Whether the network that learns begins with new weights.
fn is_fresh(args: &TrainArgs) -> bool {
    args.weights.is_none() && !matches!(args.model, Some(Named::File(_)))
}

/// What the metadata of weights say so that they describe the network which a file has described.
fn description(structure: &Structure) -> anyhow::Result<Option<(String, String)>> {
    let text = structure.description().context("--out holds the network too, and its description is too long")?;
    Ok(text.map(|text| (PROGRAM.to_owned(), text)))
}

/// Says which batch norms cannot take up the statistics of batches since they are no longer there.
fn say_norms(global: &Global, student: &Network, batch_norm: BatchNormMode) {
    const KEEP: &str = "a .pt2 keeps them, and so does torch.onnx.export(..., dynamo=False, do_constant_folding=False, \
                        training=torch.onnx.TrainingMode.PRESERVE)";
    let folded = student.structure.folded_norms();
    let source = &student.source;
    match (batch_norm, student.has_batch_norms()) {
        (BatchNormMode::Frozen, _) => {}
        _ if folded > 0 => global.say(format_args!(
            "{source}: its exporter has folded {folded} batch norms into convolutions; they are trained as parts of these, without \
             statistics of batches ({KEEP})"
        )),
        (_, false) => global.say(format_args!("{source}: has no batch norms, so that there are no statistics to take up")),
        (_, true) => {}
    }
}

fn optimiser(args: &TrainArgs, momentum: f32, weight_decay: f32, nesterov: bool) -> Optimiser {
    let weight_decay = args.weight_decay.unwrap_or(weight_decay);
    if args.adam {
        return Optimiser::Adam(Adam { weight_decay, ..Adam::default() });
    }
    let momentum = args.momentum.unwrap_or(momentum);
    // Looking ahead along nothing is standing still.
    let nesterov = args.nesterov.unwrap_or(nesterov) && momentum > 0.0;
    Optimiser::Sgd(Sgd { momentum, weight_decay, nesterov })
}

/// Pictures as squares of one side. Of a folder those that cannot be read are left out.
fn pictures(global: &Global, path: &Path, side: usize, normalize: Normalize) -> anyhow::Result<Array> {
    let files = training::picture_files(path).with_context(|| format!("--images {}", path.display()))?;
    let (mut values, mut broken) = (Vec::new(), vec![]);
    for file in &files {
        match picture::read(file) {
            Ok(picture) => {
                check_range(global, file, &picture, normalize);
                values.extend(picture::fit(&picture, side).values);
            }
            Err(error) if file == path => return Err(error).with_context(|| format!("--images {}", path.display())),
            Err(error) => broken.push(error.to_string()),
        }
    }
    if let (true, Some(first)) = (values.is_empty(), broken.first()) {
        bail!("--images {}: none of {} pictures can be read: {first}", path.display(), broken.len());
    }
    if path.is_dir() {
        say_others(global, path, picture::list(path)?.skipped);
    }
    say_broken(global, &broken);
    Ok(Array::new(Shape::new(values.len() / (3 * side * side), 3, side, side), values))
}

/// The network that learns labels, and what its file will say: a new one, or one whose last layer fits the folder's classes or
/// is made anew.
fn learner(global: &Global, args: &TrainArgs, device: &Device, folder: &mut Folder) -> anyhow::Result<(Network, Card)> {
    let classes = ClassList::parse(&folder.classes.join(","));
    if is_fresh(args) {
        let Some(Named::Known(structure)) = args.model.clone() else { bail!("new weights need a --model") };
        let width = args.width.unwrap_or(1.0);
        let arrays = training::initial_weights(&structure, width, classes.len(), args.seed)?;
        let count: usize =
            arrays.iter().filter(|array| !array.name.contains("running_")).map(|array| array.values.len()).sum();
        global.say(format_args!("network: {structure}, width {width}, new weights, {count} parameters"));
        let network = Network::from_arrays(device, &structure, &arrays, classes, "0")?;
        let words = BTreeMap::from([("width".into(), width.to_string())]);
        return Ok((network, Card { words, ..Card::default() }));
    }
    let (structure, checkpoint) = student(args)?.find()?;
    if args.width.is_some() {
        bail!("--width belongs to new weights; {} has its own", checkpoint.name());
    }
    let mut network = Network::load(device, &structure, &checkpoint, "0")
        .with_context(|| format!("loading {}", checkpoint.name()))?;
    guess_pixels(&global.ear(), device, &mut network)?;
    let card = network.card.clone();
    let known: Vec<String> = (0..network.class_count())
        .map(|index| network.classes.synset(index).unwrap_or_else(|| network.classes.name(index)).to_owned())
        .collect();
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    if sorted(&known) == sorted(&folder.classes) {
        folder.reorder(&known);
        global.say(format_args!("network: {structure}, weights {}, the same classes", network.source));
        return Ok((network, card));
    }
    global.say(format_args!(
        "network: {structure}, weights {}, with a new last layer for {} classes",
        network.source,
        classes.len()
    ));
    let arrays = with_new_head(&structure, network.weights(device)?, classes.len(), args.seed).with_context(|| {
        format!("{}: its classes do not come out of one layer, so that it gets no new one for others", network.source)
    })?;
    let mut fresh = Network::from_arrays(device, &structure, &arrays, classes, "0")?;
    fresh.transform_input = network.transform_input;
    fresh.pixels = network.pixels;
    Ok((fresh, card))
}

/// The same weights but for a random last layer, and without side heads, which know other classes. None where there is no such layer.
fn with_new_head(structure: &Structure, arrays: Vec<NamedArray>, classes: usize, seed: u64) -> Option<Vec<NamedArray>> {
    let of_main = |name: &str| structure.is_of_a_head(name) && !structure.tolerates(name);
    let weight = arrays.iter().find(|array| of_main(&array.name) && array.name.ends_with(".weight"))?;
    let inputs = weight.shape[1..].iter().product();
    let renewed = |array: NamedArray| match of_main(&array.name) {
        true => {
            let shape = [&[classes], &array.shape[1..]].concat();
            let values = training::initial_tensor(&array.name, &shape, inputs, seed);
            NamedArray { shape, values, ..array }
        }
        false => array,
    };
    Some(arrays.into_iter().filter(|array| !structure.tolerates(&array.name)).map(renewed).collect())
}

/// What a run writes.
struct Files {
    out: PathBuf,
    state: PathBuf,
    curve: PathBuf,
}

impl Files {
    /// Checks before the long run that they can be written.
    fn beside(out: &Path) -> anyhow::Result<Self> {
        let files = Files {
            out: out.to_owned(),
            state: out.with_extension("state.safetensors"),
            curve: out.with_extension("csv"),
        };
        if out.extension().is_none_or(|extension| extension != "safetensors") {
            bail!("--out {}: weights are written as .safetensors", out.display());
        }
        for path in [&files.out, &files.state, &files.curve] {
            picture::check_writable(path).with_context(|| format!("--out {}", out.display()))?;
        }
        Ok(files)
    }

    /// Writes the loss of every step.
    fn write_curve(&self, state: &State, rates: &[f32]) -> entoptic::Result<()> {
        let mut curve = "step,rate,loss\n".to_owned();
        for (index, (loss, rate)) in state.losses.iter().zip(rates).enumerate() {
            writeln!(curve, "{},{rate:e},{loss}", index + 1).expect("a string takes what it is given");
        }
        entoptic::files::replace(&self.curve, |file| file.write_all(curve.as_bytes()))
    }

    /// Writes the weights of the best epoch so far.
    fn write_best(
        &self,
        weights: &[NamedArray],
        accuracy: f32,
        words: &BTreeMap<String, String>,
    ) -> entoptic::Result<()> {
        let mut words = words.clone();
        words.insert("val_accuracy".into(), format!("{accuracy:.4}"));
        write(&self.out, weights, &words, Precision::F32)
    }

    /// Held by the process that writes them.
    fn lock(&self) -> entoptic::Result<Option<Lock>> {
        let mut name = self.out.clone().into_os_string();
        name.push(".lock");
        Lock::take(Path::new(&name))
    }
}

/// Another adapter adds in another order: whoever wants the bits of an undisturbed run is told.
fn say_other_adapter(global: &Global, device: &Device, state: &State) {
    let here = device.adapter().to_string();
    if state.adapter != here {
        global.warn(format_args!(
            "the run was begun on {}; on {here} it goes on, but ends with other last digits",
            state.adapter
        ));
    }
}

/// Runs a job, shows it and writes what it makes.
fn train(
    global: &Global,
    device: &Device,
    job: &Job,
    files: &Files,
    words: &BTreeMap<String, String>,
) -> anyhow::Result<State> {
    let rates = job.schedule.rates(job.rate, job.steps);
    let mut watcher = Watcher::new(global, "")?;
    let keeps_best = matches!(job.lesson, Lesson::Labels { .. });
    let mut kept = job.state.as_ref().map(|state| state.step);
    let (mut begun, mut broken) = (false, vec![]);
    let result = training::run(device, job, &mut |event| {
        match event {
            Event::Prepared { plan, dispatches } => {
                begun = true;
                watcher.begin(job.state.as_ref().map_or(0, |state| state.step));
                global.explain(|| format!("{dispatches} kernel launches a step; {}", memory(plan)));
                watcher.prepared(job.side, plan, dispatches);
                if let Some(state) = &job.state {
                    say_other_adapter(global, device, state);
                    // The files beside the state may be gone, or of another step.
                    let state = state.clone().in_order(&job.student.weights(device)?);
                    match keeps_best {
                        false => write(&files.out, &state.weights, words, Precision::F32)?,
                        true if state.best.is_empty() => {}
                        true => {
                            let accuracy = state.accuracies.iter().copied().fold(0.0, f32::max);
                            files.write_best(&state.best, accuracy, words)?;
                        }
                    }
                    files.write_curve(&state, &rates)?;
                }
            }
            Event::Step { .. } => {}
            Event::Progress { step, steps, rate, loss } => {
                watcher.advanced(step, steps, json!({ "loss": loss, "rate": rate }));
                watcher.show(step, steps, "", &format!("loss {loss:.4}, rate {rate:.2e}"));
            }
            Event::Epoch { epoch, loss, accuracy, best } => {
                let facts = json!({ "epoch": epoch, "loss": loss, "accuracy": accuracy, "best": best.is_some() });
                global.event("epoch", facts);
                watcher.say(&format!("epoch {epoch}: loss {loss:.4}, validation accuracy {accuracy:.4}"));
                if let Some(weights) = best {
                    files.write_best(weights, accuracy, words)?;
                }
            }
            Event::Skipped(reasons) => {
                broken.extend_from_slice(reasons);
                reasons
                    .iter()
                    .for_each(|reason| watcher.say(&format!("skipped a picture that cannot be read: {reason}")));
            }
            Event::Checkpoint(state) => {
                state.write(&files.state)?;
                kept = Some(state.step);
                if !keeps_best {
                    write(&files.out, &state.weights, words, Precision::F32)?;
                }
                files.write_curve(state, &rates)?;
            }
        }
        Ok(if watcher.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let state = result.map_err(|error| {
        if !begun {
            return error.into();
        }
        let advice = match &error {
            Error::NotFinite { .. } if job.check_finite => "training came apart; a smaller --lr may hold it together",
            Error::NotFinite { .. } => {
                "training came apart; a smaller --lr may hold it together, --check-finite names the layer"
            }
            _ => "training failed",
        };
        let kept = kept.map(|step| format!("; the state after step {step} is in {}", files.state.display()));
        anyhow::Error::from(error).context(format!("{advice}{}", kept.unwrap_or_default()))
    })?;
    say_broken(global, &broken);
    if state.step < job.steps {
        bail!(
            "stopped after step {} of {}; the same command with --resume goes on from {}",
            state.step,
            job.steps,
            files.state.display()
        );
    }
    Ok(state)
}
