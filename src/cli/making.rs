//! What all commands share that make pictures: the recipe, the run, files with everything that made them inside.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use entoptic::Error;
use entoptic::analysis::softmax;
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::Place;
use entoptic::ops;
use entoptic::picture;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Finished, Job, run};
use entoptic::tensor::Array;

use super::aim::{self, Aim};
use super::args::{Global, MakingArgs, PicturesArgs};
use super::events::print_path;
use super::networks::{Loaded, check_range, check_recipe, file_name, shared_classes};
use super::origin::{self, Design, Init, Maker, Origin};
use super::progress::Watcher;
use super::watching::{Watched, WatchingArgs};

/// Pictures to be made with some networks.
pub struct Making<'a> {
    pub global: &'a Global,
    /// It chooses kernels as for a picture alone.
    pub device: Device,
    pub networks: &'a [Loaded],
    pub recipe: Recipe,
    pub args: &'a MakingArgs,
    /// Whether the pictures are those of `entoptic demo`.
    pub demo: bool,
    pub started: Instant,
}

/// One picture of a batch.
#[derive(Clone)]
pub struct Picture {
    /// Its file's name, when the user gives none.
    pub name: String,
    /// Where its random numbers come from.
    pub stream: Stream,
    /// What it is to show.
    pub aim: Aim,
}

impl MakingArgs {
    /// From noise, into no file, and nothing else that a user may choose.
    pub fn plain(seed: u64) -> Self {
        MakingArgs {
            recipe: None,
            seed,
            normalize: None,
            init: "noise".into(),
            out: None,
            film: vec![],
            frames: 0,
            watching: WatchingArgs::default(),
        }
    }
}

impl<'a> Making<'a> {
    /// Settles the recipe.
    pub fn new(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        args: &'a MakingArgs,
    ) -> anyhow::Result<Self> {
        let mut recipe = Recipe::load(args.recipe.as_deref().unwrap_or(Path::new(networks[0].recipe)))?;
        if let Some(normalize) = args.normalize {
            recipe.normalize = normalize.into();
        }
        global.say(format_args!("recipe: {}, pixel values {:?}, seed {}", recipe.name, recipe.normalize, args.seed));
        check_recipe(global, device, networks, &recipe, args.normalize.is_some())?;
        Ok(Making::with_recipe(global, device, networks, recipe, args))
    }

    /// By a recipe that is settled already.
    pub fn with_recipe(
        global: &'a Global,
        device: &Device,
        networks: &'a [Loaded],
        recipe: Recipe,
        args: &'a MakingArgs,
    ) -> Self {
        let alone = device.apart();
        alone.set_tiling(ops::alone(&device.tuning().tiling));
        Making { global, device: alone, networks, recipe, args, demo: false, started: Instant::now() }
    }

    /// Scene with this making's networks and preprocessing, still without objective.
    pub fn scene(&self) -> Scene<'a> {
        Scene::of(self.networks.iter().map(|loaded| &loaded.network).collect(), self.recipe.normalize)
    }

    /// The place of network `index`'s logits.
    pub fn logits(&self, index: usize) -> Place {
        Place::Logits(index, self.networks[index].head)
    }

    /// Makes the pictures, writes them and tells where. Where they are to match something, `goal` is what. Returns them as
    /// saved, [N, 3, S, S] with values 0..1.
    pub fn make(&self, pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Array> {
        let outs = self.outs(pictures)?;
        let saved = self.make_at(&outs, pictures, goal)?;
        if !self.global.events {
            outs.iter().try_for_each(|out| print_path(out))?;
        }
        Ok(saved)
    }

    /// [`Making::make`] with a path for each picture that can be written.
    pub fn make_at(&self, outs: &[PathBuf], pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Array> {
        let init = self.init()?;
        let mut watched = Watched::new(self, &pictures[0].aim)?;
        let schedule_steps = self.recipe.stages.iter().map(|stage| stage.iterations as usize).sum::<usize>();
        let job = Job { frame_every: watched.every(schedule_steps, self.args.frames), ..self.job(pictures, goal)? };
        let mut watcher = Watcher::new(self.global, pictures[0].aim.measured())?;
        self.announce(outs, pictures, &init, schedule_steps);
        let mut kept = None;
        let finished = run(&self.device, &job, &mut |event| {
            if let Event::Kept(so_far) = &event {
                kept = Some((*so_far).clone());
            }
            match watched.event(&event, &watcher) {
                true => watcher.event(event),
                false => ControlFlow::Break(()),
            }
        });
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => return Err(self.failed(error, kept, outs, pictures, &init)),
        };
        self.save(&finished, outs, pictures, &init)?;
        watched.finish(&finished.pictures.picture(0), &watcher)?;
        if watcher.stopped() {
            self.tell(outs, pictures, &finished, None)?;
            bail!("stopped after {} steps; the picture so far is in {}", finished.steps, list(outs));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.global.say(format_args!("{} steps in {seconds:.1} s", finished.steps));
        let mut saved = Array::filled(finished.pictures.shape, 0.0);
        saved.values.clear();
        for out in outs {
            saved.values.extend(picture::read(out)?.values);
        }
        self.tell(outs, pictures, &finished, Some(&saved))?;
        Ok(saved)
    }

    /// The error of a run, once what it had made is written: that is not lost with the rest.
    fn failed(
        &self,
        error: Error,
        kept: Option<Finished>,
        outs: &[PathBuf],
        pictures: &[Picture],
        init: &Init,
    ) -> anyhow::Error {
        let error = match error {
            Error::NotFinite { .. } if !self.global.check_finite => {
                anyhow!("{error}; --check-finite names the layer in which that begins")
            }
            other => other.into(),
        };
        let Some(kept) = kept else { return error };
        match self.save(&kept, outs, pictures, init) {
            Ok(()) => error.context(format!("failed; the picture after {} steps is in {}", kept.steps, list(outs))),
            Err(other) => anyhow!("{error:#}; and then {other:#}"),
        }
    }

    /// Writes the pictures, each whatever becomes of the others.
    fn save(&self, finished: &Finished, outs: &[PathBuf], pictures: &[Picture], init: &Init) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        for (index, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let made = finished.pictures.picture(index);
            let texts = self.origin(picture, index, init.clone(), finished).texts(&self.recipe, &made);
            let write = |path: &Path| picture::write_png(path, &made, &texts);
            if let Err(error) = write(out) {
                lost.push(match elsewhere(out, write) {
                    Some(kept) => format!("{error}; the picture is in {} instead", kept.display()),
                    // The one error that does not name the file.
                    None if matches!(error, Error::NotFinite { .. }) => {
                        format!("{}: {error}; --check-finite names the layer in which that begins", out.display())
                    }
                    None => error.to_string(),
                });
            }
        }
        if lost.is_empty() { Ok(()) } else { bail!("{}", lost.join("; ")) }
    }

    /// What is to be run for some pictures, watched every few steps.
    pub fn job(&self, pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Job<'a>> {
        let start = if self.starts_from_noise() { None } else { Some(self.start(pictures[0].stream)?) };
        Ok(Job {
            scene: aim::scene(self, pictures, goal)?,
            recipe: self.recipe.clone(),
            streams: pictures.iter().map(|picture| picture.stream).collect(),
            start,
            check_finite: self.global.check_finite,
            report_every: 5,
            frame_every: None,
        })
    }

    /// Where the pictures go: one to the file given, several into the folder given. Checked before anything slow happens.
    fn outs(&self, pictures: &[Picture]) -> anyhow::Result<Vec<PathBuf>> {
        let outs: Vec<PathBuf> = match (&self.args.out, pictures) {
            (Some(out), [_]) => vec![out.clone()],
            (None, [picture]) => vec![format!("{}.png", picture.name).into()],
            (folder, _) => {
                let folder = folder.clone().unwrap_or_default();
                if is_png(&folder) && !folder.is_dir() {
                    bail!("--out {}: {} pictures need a folder, not a file", folder.display(), pictures.len());
                }
                if !folder.as_os_str().is_empty() {
                    std::fs::create_dir_all(&folder).with_context(|| format!("making folder {}", folder.display()))?;
                }
                pictures.iter().map(|picture| folder.join(format!("{}.png", picture.name))).collect()
            }
        };
        for out in &outs {
            if !is_png(out) {
                bail!("{}: pictures are written as .png", out.display());
            }
            if self.args.watching.preview_file.as_ref() == Some(out) {
                bail!("--preview-file {}: is where the picture itself goes; name another", out.display());
            }
            picture::check_writable(out)?;
        }
        Ok(outs)
    }

    /// What a picture starts from: noise, or a photograph at the size with which the recipe starts.
    pub fn start(&self, stream: Stream) -> anyhow::Result<Array> {
        if self.starts_from_noise() {
            return Ok(initial(&self.recipe, stream)?);
        }
        let photograph = picture::read(&self.args.init).context("--init")?;
        Ok(picture::fit(&photograph, self.recipe.init.size as usize))
    }

    fn starts_from_noise(&self) -> bool {
        self.args.init == Path::new("noise")
    }

    /// The same for the metadata, with the file's checksum.
    pub fn init(&self) -> anyhow::Result<Init> {
        if self.starts_from_noise() {
            return Ok(Init::Noise);
        }
        let path = &self.args.init;
        let sha256 = origin::file_sum(path).context("--init")?;
        let photograph = picture::read(path).context("--init")?;
        check_range(self.global, path, &photograph, self.recipe.normalize);
        let several = photograph.shape.n() > 1;
        Ok(Init::Image { file: file_name(path), sha256, picture: several.then_some(0) })
    }

    /// What decides how the picture at a place of its batch looks.
    pub fn design(&self, picture: &Picture, index: usize, init: Init) -> Design {
        let init = match init {
            Init::Image { file, sha256, picture: Some(first) } => {
                Init::Image { file, sha256, picture: Some(first + index) }
            }
            same => same,
        };
        Design {
            objective: picture.aim.clone(),
            seed: picture.stream.seed,
            stream: picture.stream.picture,
            init,
            networks: self.networks.iter().map(Maker::from).collect(),
        }
    }

    /// Everything that made the picture at a place of its batch.
    pub fn origin(&self, picture: &Picture, index: usize, init: Init, finished: &Finished) -> Origin {
        let loss = [&finished.first_loss, &finished.loss].map(|loss| loss.get(index).copied());
        let loss = loss.map(|loss| loss.filter(|loss| loss.is_finite()));
        let place = origin::Place::of(&self.device);
        Origin::new(self.design(picture, index, init), (finished.steps, loss), place, self.demo)
    }

    /// Logits of network `index`.
    pub fn logits_of(&self, index: usize, pictures: &Array) -> anyhow::Result<Array> {
        let scene = Scene::of(vec![&self.networks[index].network], self.recipe.normalize);
        let place = [Place::Logits(0, self.networks[index].head)];
        Ok(evaluate::outputs(&self.device, &scene, pictures, &place, false)?.remove(0))
    }

    /// Probability that network `index` gives to each class, for each picture.
    pub fn probabilities(&self, index: usize, pictures: &Array) -> anyhow::Result<Vec<Vec<f32>>> {
        let logits = self.logits_of(index, pictures)?;
        Ok((0..logits.shape.n()).map(|n| softmax(&logits.picture(n).values)).collect())
    }

    /// Tells what each network makes of the pictures' classes.
    pub fn report(&self, made: &Array, pictures: &[Picture], classes: &[usize]) -> anyhow::Result<()> {
        for (index, loaded) in self.networks.iter().enumerate() {
            let after = self.probabilities(index, made)?;
            for (n, (picture, &class)) in pictures.iter().zip(classes).enumerate() {
                let names = &loaded.network.classes;
                let before = self.probabilities(index, &self.start(picture.stream)?)?[0][class];
                let network = loaded.network.architecture;
                let (name, after) = (names.name(class), after[n][class]);
                self.global.say(format_args!("{network}: probability of {name} {after:.3}, at the start {before:.3}"));
            }
        }
        Ok(())
    }
}

/// The pictures that `--class a,b --seeds K` means: every class with every seed.
pub struct Set {
    /// Class of each picture.
    pub classes: Vec<usize>,
    pub pictures: Vec<Picture>,
}

impl Set {
    /// `aim` is that of a class with that index and name.
    pub fn new(
        making: &Making,
        args: &PicturesArgs,
        kind: &str,
        aim: impl Fn(usize, String) -> Aim,
    ) -> anyhow::Result<Self> {
        let names = shared_classes(making.networks)?;
        let mut set = Set { classes: vec![], pictures: vec![] };
        for text in &args.class {
            let class = names.find(text)?;
            for seed in (0..args.seeds).map(|count| making.args.seed.wrapping_add(count)) {
                let suffix = if args.seeds > 1 { format!("-seed{seed}") } else { String::new() };
                let name = format!("{}{kind}{suffix}", file_stem(names.name(class)));
                let stream = Stream { seed, picture: class as u64 };
                set.classes.push(class);
                set.pictures.push(Picture { name, stream, aim: aim(class, names.name(class).to_owned()) });
            }
        }
        Ok(set)
    }
}

/// Writes a file that cannot be written where it should be into a new folder among the system's temporary files.
fn elsewhere(out: &Path, write: impl Fn(&Path) -> entoptic::Result<()>) -> Option<PathBuf> {
    let folder = tempfile::Builder::new().prefix("entoptic-").tempdir().ok()?;
    let path = folder.path().join(out.file_name()?);
    write(&path).ok()?;
    let _ = folder.keep();
    Some(path)
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

/// A class name as the name of a file.
pub fn file_stem(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect()
}

/// Positions of the largest values, largest first.
pub fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order
}
