//! `entoptic replay` and `entoptic verify`: a picture made again from what is inside it, and compared.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use entoptic::analysis::eight_bit;
use entoptic::device::Device;
use entoptic::picture;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, run};
use entoptic::tensor::Array;

use super::design::{Aim, Design, Init, Target};
use super::events::print_path;
use super::making::{Making, Picture};
use super::messages::shown;
use super::networks::open;
use super::options::{Global, MakingArgs};
use super::origin::{Origin, Record};
use super::progress::Watcher;
use super::represent::Goal;
use super::sources::Sources;

/// Where a picture is computed otherwise (another adapter, driver or version), steps amplify what rounding leaves: after some
/// dozens a picture may be as far from itself as from another seed's. So three things are asked there; `docs/gallery.md` has
/// the measurements. How far the loss before the first step may be off, in its own unit and as a share of it: with other kernels
/// it came out the same, with another seed at least 0.002 off.
const FIRST_LOSS: [f32; 2] = [1e-5, 1e-6];

/// How many times as much, at most, one of the two falls as the other.
const FALL: f32 = 1.5;

/// How far off the picture may be, as a share of the distance to the picture of the next seed.
const PIXELS: f64 = 1.25;

#[derive(Args)]
pub struct ReplayArgs {
    /// A picture that Entoptic made
    pub picture: PathBuf,
    /// Picture to write (PNG) [default: its name with -again, in the current folder]
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub files: FilesArgs,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Pictures that Entoptic made
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub files: FilesArgs,
}

/// Files that a picture was made from.
#[derive(Args)]
pub struct FilesArgs {
    /// Weights that are neither in the program nor in the cache; known by their checksum, may be given again
    #[arg(long, short, value_name = "FILE")]
    pub weights: Vec<PathBuf>,
    /// Picture that it starts from or aims at; known by its checksum, may be given again
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
}

impl FilesArgs {
    fn beside<'a>(&'a self, picture: &'a Path) -> Sources<'a> {
        let beside = picture.parent().unwrap_or(Path::new(""));
        Sources { weights: &self.weights, images: &self.image, beside }
    }
}

pub fn replay(global: &Global, args: ReplayArgs) -> anyhow::Result<()> {
    let record = Record::read(&args.picture)?;
    let out = args.out.unwrap_or_else(|| {
        format!("{}-again.png", args.picture.file_stem().unwrap_or_default().to_string_lossy()).into()
    });
    let same = |path: &Path| path.canonicalize().ok();
    if same(&out).is_some_and(|out| Some(out) == same(&args.picture)) {
        bail!("{}: is the picture itself; name another file (--out)", out.display());
    }
    picture::check_writable(&out)?;
    if !record.is_untouched() {
        global.say(format_args!("{}: was changed after it was made", args.picture.display()));
    }
    let sources = args.files.beside(&args.picture);
    sources.check([&record.origin.design].into_iter())?;
    let device = open(global)?;
    let again = Again::of(global, &device, &sources, &record).with_context(|| args.picture.display().to_string())?;
    picture::write_png(&out, &again.picture, &again.origin.texts(&record.recipe, &again.picture))?;
    let differences = again.origin.place.differences(&record.origin.place);
    if !differences.is_empty() {
        global.say(format_args!("it may differ a little, for it was computed with {}", differences.join(", ")));
    }
    print_path(&out)
}

pub fn verify(global: &Global, args: VerifyArgs) -> anyhow::Result<()> {
    let records = args.pictures.iter().map(|path| Record::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    args.files.beside(Path::new("")).check(records.iter().map(|record| &record.origin.design))?;
    let mut device = None;
    let mut wrong = 0;
    for (path, record) in args.pictures.iter().zip(&records) {
        let found = if record.is_untouched() {
            let device = match &device {
                Some(device) => device,
                None => device.insert(open(global)?),
            };
            let sources = args.files.beside(path);
            let Origin { design, steps, .. } = &record.origin;
            let next = Design { seed: design.seed.wrapping_add(1), ..design.clone() };
            let other = || Ok(make(global, device, &sources, (&next, &record.recipe), Some(*steps), false)?.picture);
            let again = Again::of(global, device, &sources, record).and_then(|again| again.compared(record, other));
            again.with_context(|| path.display().to_string())?
        } else {
            Err("was changed after it was made: its pixels and texts are not those of its checksum".into())
        };
        let (Ok(said) | Err(said)) = &found;
        println!("{}", shown(&format!("{}: {said}", path.display())));
        wrong += usize::from(found.is_err());
    }
    ensure!(wrong == 0, "{wrong} of {} do not come out the same", records.len());
    Ok(())
}

/// A picture made again.
struct Again {
    origin: Origin,
    /// Not yet rounded to 256 levels.
    picture: Array,
    /// What it starts from, at its size.
    start: Array,
}

impl Again {
    fn of(global: &Global, device: &Device, sources: &Sources, record: &Record) -> anyhow::Result<Self> {
        let Origin { design, steps, demo, .. } = &record.origin;
        make(global, device, sources, (design, &record.recipe), Some(*steps), *demo)
    }

    /// Whether it came out as it was, and how near, for people. `other` makes the picture of the next seed.
    fn compared(
        &self,
        record: &Record,
        other: impl FnOnce() -> anyhow::Result<Array>,
    ) -> anyhow::Result<Result<String, String>> {
        if self.picture.shape != record.picture.shape {
            return Ok(Err(format!("comes out as {}, and is {}", self.picture.shape, record.picture.shape)));
        }
        let (now, then) = (picture::rgb(&self.picture), picture::rgb(&record.picture));
        let differences = self.origin.place.differences(&record.origin.place);
        let elsewhere = differences.join(", ");
        if now == then {
            return Ok(Ok(match differences.is_empty() {
                true => "comes out the same, bit by bit, on the same adapter by the same version".into(),
                false => format!("comes out the same, bit by bit, though with {elsewhere}"),
            }));
        }
        let differing = now.iter().zip(&then).filter(|(a, b)| a != b).count();
        let off = distance(&now, &then);
        let many = format!("{differing} of {} values differ, by {off:.2} of 256 levels", now.len());
        if differences.is_empty() {
            return Ok(Err(format!("does not come out the same, on the same adapter by the same version: {many}")));
        }
        let next = distance(&now, &picture::rgb(&other()?));
        // Where a photograph is the start, nothing may depend on the seed; then the way from there is the measure.
        let (what, scale) = match next {
            0.0 => ("its start", distance(&now, &picture::rgb(&self.start))),
            next => ("the picture of the next seed", next),
        };
        let [(first, fall), (first_then, fall_then)] = [&self.origin, &record.origin].map(|origin| {
            let [first, last] = origin.loss.map(|loss| loss.unwrap_or(f32::NAN));
            (first, first - last)
        });
        let said = format!(
            "{many}, {:.2} of the distance to {what}; its loss begins with {first}, then {first_then}, and falls by {fall}, then \
             {fall_then}; with {elsewhere}",
            off / scale
        );
        let [of_fall, of_itself] = FIRST_LOSS;
        let allowed = of_fall * fall_then.abs() + of_itself * first_then.abs();
        let wrong = if (first - first_then).abs() > allowed || first.is_nan() != first_then.is_nan() {
            format!("its loss before the first step differs by more than {allowed}")
        } else if (fall - fall_then).abs() > allowed && !(1.0 / FALL..=FALL).contains(&(fall / fall_then)) {
            format!("one falls more than {FALL} times as much as the other")
        } else if off > PIXELS * scale {
            format!("it is more than {PIXELS} times as far off as {what}")
        } else {
            return Ok(Ok(format!("comes out alike, as far as can be asked elsewhere: {said}")));
        };
        Ok(Err(format!("does not come out alike, {wrong}: {said}")))
    }
}

/// Root of the mean square of all differences, in levels of 256.
fn distance(a: &[u8], b: &[u8]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// Makes what a design and a recipe say, up to a step.
fn make(
    global: &Global,
    device: &Device,
    sources: &Sources,
    (design, recipe): (&Design, &Recipe),
    steps: Option<usize>,
    demo: bool,
) -> anyhow::Result<Again> {
    let networks = sources.networks(device, &design.networks)?;
    design.objective.check(&networks)?;
    let (init, index) = match &design.init {
        Init::Noise => ("noise".into(), None),
        Init::Image { file, sha256, picture } => {
            let path = sources.image(file, sha256)?;
            (path, *picture)
        }
    };
    let args = MakingArgs { init, ..MakingArgs::plain(design.seed) };
    let making = Making { demo, ..Making::with_recipe(global, device, &networks, recipe.clone(), &args) };
    let goal = match &design.objective {
        Aim::Match { of, .. } => {
            let aimed_at = target(global, device, sources, of)?;
            Some(Goal::new(&making, design.objective.place(&making), &aimed_at)?.values)
        }
        _ => None,
    };
    let stream = Stream { seed: design.seed, picture: design.stream };
    let picture = Picture { name: String::new(), stream, aim: design.objective.clone() };
    let mut job = making.job(std::slice::from_ref(&picture), goal.as_ref())?;
    if let (Some(start), Some(index)) = (&job.start, index) {
        ensure!(index < start.shape.n(), "it starts from picture {index} of a file that has {}", start.shape.n());
        job.start = Some(start.picture(index));
    }
    let all = recipe.steps();
    let steps = steps.unwrap_or(all);
    ensure!((1..=all).contains(&steps), "it was made in {steps} steps, its recipe has {all}");
    // A picture of a run that was stopped is compared with the same step.
    job.report_every = if steps < all { 1 } else { job.report_every };
    let mut watcher = Watcher::new(global, picture.aim.measured())?;
    let finished = run(&making.device, &job, &mut |event| {
        let there = matches!(&event, Event::Progress(progress) if progress.step == steps);
        if there { ControlFlow::Break(()) } else { watcher.event(event) }
    })?;
    ensure!(finished.steps == steps, "stopped after {} steps; nothing was written", finished.steps);
    let origin = making.origin(&picture, 0, design.init.clone(), &finished);
    let start = match job.start {
        Some(start) => start,
        None => initial(recipe, stream)?,
    };
    let made = finished.pictures.shape;
    let start = picture::resize(&start, [made.h(), made.w()]);
    Ok(Again { origin, picture: finished.pictures, start })
}

/// What a picture is to match, as it was read from its file.
fn target(global: &Global, device: &Device, sources: &Sources, of: &Target) -> anyhow::Result<Array> {
    Ok(match of {
        Target::Image { image, image_sha256 } => sources.read_image(image, image_sha256)?,
        Target::Given { picture, picture_sha256, .. } => sources.read_image(picture, picture_sha256)?,
        Target::Made { network, sha256, class, name, made, recipe } => {
            let [maker] = made.networks.as_slice() else {
                bail!("it matches a picture by one network, not by several")
            };
            let told = matches!(&made.objective, Aim::Class { class: c, name: n, .. } if (c, n) == (class, name));
            ensure!(
                told && (network, sha256) == (&maker.network, &maker.sha256),
                "what it says of the picture that it matches does not agree with itself"
            );
            let recipe = Recipe::parse("of the picture that it matches", recipe)?;
            global.say(format_args!("the picture that it matches:"));
            let again = make(global, device, sources, (made, &recipe), None, false)?;
            eight_bit(&again.picture)
        }
    })
}
