//! What all commands share that make pictures: the recipe, the run, files with everything that made them inside.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use entoptic::Error;
use entoptic::analysis::softmax;
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::{Place, class_input};
use entoptic::picture;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, Finished, Job, run};
use entoptic::tensor::{Array, Shape};
use serde_json::{Value, json};

use super::args::{Global, MakingArgs, PicturesArgs};
use super::film::Film;
use super::networks::{Loaded, file_name, shared_classes};
use super::print_path;
use super::progress::Watcher;

/// Pictures to be made with some networks.
pub struct Making<'a> {
    pub global: &'a Global,
    pub device: &'a Device,
    pub networks: &'a [Loaded],
    pub recipe: Recipe,
    pub args: &'a MakingArgs,
    started: Instant,
}

/// One picture of a batch.
pub struct Picture {
    /// Its file's name, when the user gives none.
    pub name: String,
    /// Where its random numbers come from.
    pub stream: Stream,
    /// What it shows, for its metadata.
    pub what: Value,
}

impl<'a> Making<'a> {
    /// Settles the recipe.
    pub fn new(
        global: &'a Global,
        device: &'a Device,
        networks: &'a [Loaded],
        args: &'a MakingArgs,
    ) -> anyhow::Result<Self> {
        let mut recipe = Recipe::load(args.recipe.as_deref().unwrap_or(Path::new(networks[0].recipe)))?;
        if let Some(normalize) = args.normalize {
            recipe.normalize = normalize.into();
        }
        global.say(format_args!("recipe: {}, pixel values {:?}, seed {}", recipe.name, recipe.normalize, args.seed));
        // Recipes for published networks are those of the experiments, which gave them pixel values as they are.
        let shipped = args.normalize.is_none() && Recipe::named(&recipe.name).is_ok();
        for loaded in networks.iter().filter(|loaded| !(shipped && loaded.is_published())) {
            loaded.check_preprocessing(global, device, recipe.normalize)?;
        }
        Ok(Making::with_recipe(global, device, networks, recipe, args))
    }

    /// By a recipe that is settled already.
    pub fn with_recipe(
        global: &'a Global,
        device: &'a Device,
        networks: &'a [Loaded],
        recipe: Recipe,
        args: &'a MakingArgs,
    ) -> Self {
        Making { global, device, networks, recipe, args, started: Instant::now() }
    }

    /// Scene with this making's networks and preprocessing, still without objective.
    pub fn scene(&self) -> Scene<'a> {
        Scene::of(self.networks.iter().map(|loaded| &loaded.network).collect(), self.recipe.normalize)
    }

    /// The place of network `index`'s logits.
    pub fn logits(&self, index: usize) -> Place {
        Place::Logits(index, self.networks[index].head)
    }

    /// Makes the pictures, writes them and tells where. Returns them as saved, [N, 3, S, S] with values 0..1.
    pub fn make(&self, scene: Scene, pictures: &[Picture], measured: &'static str) -> anyhow::Result<Array> {
        let outs = self.outs(pictures)?;
        let saved = self.make_at(&outs, scene, pictures, measured)?;
        for out in &outs {
            print_path(out)?;
        }
        Ok(saved)
    }

    /// [`Making::make`] with a path for each picture that can be written.
    pub fn make_at(
        &self,
        outs: &[PathBuf],
        scene: Scene,
        pictures: &[Picture],
        measured: &'static str,
    ) -> anyhow::Result<Array> {
        let start = if self.from_noise() { None } else { Some(self.start(pictures[0].stream)?) };
        let mut film = Film::new(&self.args.film)?;
        let schedule_steps = self.recipe.stages.iter().map(|stage| stage.iterations as usize).sum::<usize>();
        let job = Job {
            scene,
            recipe: self.recipe.clone(),
            streams: pictures.iter().map(|picture| picture.stream).collect(),
            start,
            check_finite: self.global.check_finite,
            report_every: 5,
            frame_every: film.wanted().then(|| schedule_steps.div_ceil(self.args.frames.max(1) as usize)),
        };
        let mut watcher = Watcher::new(self.global, measured)?;
        let mut kept = None;
        let run = run(self.device, &job, &mut |event| {
            match &event {
                Event::Frame(frame) => film.add(&frame.picture(0)),
                Event::Kept(so_far) => kept = Some((*so_far).clone()),
                _ => {}
            }
            watcher.event(event)
        });
        let finished = match (run, kept) {
            (Ok(finished), _) => finished,
            (Err(error), kept) => return Err(self.failed(error.into(), kept, outs, pictures)),
        };
        self.save(&finished, outs, pictures)?;
        film.write()?;
        if watcher.stopped() {
            bail!("stopped after {} steps; the picture so far is in {}", finished.steps, list(outs));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.global.say(format_args!("{} steps in {seconds:.1} s", finished.steps));
        let mut saved = Array::filled(finished.pictures.shape, 0.0);
        saved.values.clear();
        for out in outs {
            saved.values.extend(picture::read(out)?.values);
        }
        Ok(saved)
    }

    /// The error of a run, once what it had made is written: that is not lost with the rest.
    fn failed(
        &self,
        error: anyhow::Error,
        kept: Option<Finished>,
        outs: &[PathBuf],
        pictures: &[Picture],
    ) -> anyhow::Error {
        let error = match error.downcast_ref() {
            Some(Error::NotFinite { .. }) if !self.global.check_finite => {
                anyhow!("{error}; --check-finite names the layer in which that begins")
            }
            _ => error,
        };
        let Some(kept) = kept else { return error };
        match self.save(&kept, outs, pictures) {
            Ok(()) => error.context(format!("failed; the picture after {} steps is in {}", kept.steps, list(outs))),
            Err(other) => anyhow!("{error:#}; and then {other:#}"),
        }
    }

    /// Writes the pictures, each whatever becomes of the others.
    fn save(&self, finished: &Finished, outs: &[PathBuf], pictures: &[Picture]) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        for (index, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let metadata = [
                software(),
                ("entoptic:recipe".to_owned(), self.recipe.to_toml()),
                ("entoptic:run".to_owned(), self.description(picture, finished.steps).to_string()),
            ];
            let write = |path: &Path| picture::write_png(path, &finished.pictures.picture(index), &metadata);
            if let Err(error) = write(out) {
                lost.push(match elsewhere(out, write) {
                    Some(kept) => format!("{error}; the picture is in {} instead", kept.display()),
                    None => error.to_string(),
                });
            }
        }
        if lost.is_empty() { Ok(()) } else { bail!("{}", lost.join("; ")) }
    }

    /// Where the pictures go: one to the file given, several into the folder given. Checked before anything slow happens.
    fn outs(&self, pictures: &[Picture]) -> anyhow::Result<Vec<PathBuf>> {
        let outs: Vec<PathBuf> = match (&self.args.out, pictures) {
            (Some(out), [_]) => vec![out.clone()],
            (None, [picture]) => vec![format!("{}.png", picture.name).into()],
            (folder, _) => {
                let folder = folder.clone().unwrap_or_default();
                if !folder.as_os_str().is_empty() {
                    std::fs::create_dir_all(&folder).with_context(|| format!("making folder {}", folder.display()))?;
                }
                pictures.iter().map(|picture| folder.join(format!("{}.png", picture.name))).collect()
            }
        };
        for out in &outs {
            if out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
                bail!("{}: pictures are written as .png", out.display());
            }
            picture::check_writable(out)?;
        }
        Ok(outs)
    }

    /// What a picture starts from: noise, or a photograph at the size with which the recipe starts.
    pub fn start(&self, stream: Stream) -> anyhow::Result<Array> {
        if self.from_noise() {
            return Ok(initial(&self.recipe, stream)?);
        }
        let photograph = picture::read(&self.args.init).context("--init")?;
        Ok(picture::fit(&photograph, self.recipe.init.size as usize))
    }

    fn from_noise(&self) -> bool {
        self.args.init == Path::new("noise")
    }

    /// Everything that decides how a picture looks.
    fn description(&self, picture: &Picture, steps: usize) -> Value {
        let adapter = self.device.adapter();
        let network = |Loaded { network, weight, head, .. }: &Loaded| {
            json!({
                "network": network.architecture.name(),
                "weights": file_name(Path::new(&network.source)),
                "sha256": network.checksum,
                "transform_input": network.transform_input,
                "weight": weight,
                "head": head.name(),
            })
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "objective": picture.what,
            "seed": picture.stream.seed,
            "stream": picture.stream.picture,
            "init": file_name(&self.args.init),
            "networks": self.networks.iter().map(network).collect::<Vec<_>>(),
            "steps": steps,
            "adapter": { "name": adapter.name, "backend": adapter.backend, "driver": adapter.driver },
            "kernels": self.device.tuning().tiling.to_string(),
        })
    }

    /// Probability that network `index` gives to each class, for each picture.
    pub fn probabilities(&self, index: usize, pictures: &Array) -> anyhow::Result<Vec<Vec<f32>>> {
        let place = [self.logits(index)];
        let logits = evaluate::outputs(self.device, &self.scene(), pictures, &place, false)?.remove(0);
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

/// The program that made a picture, for its metadata.
pub fn software() -> (String, String) {
    ("Software".to_owned(), format!("entoptic {}", env!("CARGO_PKG_VERSION")))
}

/// The pictures that `--class a,b --seeds K` means: every class with every seed.
pub struct Set {
    /// Class of each picture.
    pub classes: Vec<usize>,
    pub pictures: Vec<Picture>,
}

impl Set {
    /// `what` describes a picture of a class with that index and name.
    pub fn new(
        making: &Making,
        args: &PicturesArgs,
        kind: &str,
        what: impl Fn(usize, &str) -> Value,
    ) -> anyhow::Result<Self> {
        let names = shared_classes(making.networks)?;
        let mut set = Set { classes: vec![], pictures: vec![] };
        for text in &args.class {
            let class = names.find(text)?;
            for seed in making.args.seed..making.args.seed + args.seeds {
                let suffix = if args.seeds > 1 { format!("-seed{seed}") } else { String::new() };
                let name = format!("{}{kind}{suffix}", file_stem(names.name(class)));
                let stream = Stream { seed, picture: class as u64 };
                set.classes.push(class);
                set.pictures.push(Picture { name, stream, what: what(class, names.name(class)) });
            }
        }
        Ok(set)
    }

    /// The class input of the objective.
    pub fn input(&self, slot: usize) -> (String, Array) {
        let classes = self.classes.iter().map(|&class| class as f32).collect();
        (class_input(slot), Array::new(Shape::per_picture(self.classes.len()), classes))
    }
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
