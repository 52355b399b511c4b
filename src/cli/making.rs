//! What all commands share that make pictures: the recipe, the run, files with everything that made them inside.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use entoptic::analysis::softmax;
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::{Place, class_input};
use entoptic::picture;
use entoptic::synthesis::octave::{Stream, initial};
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Finished, Job, run};
use entoptic::tensor::{Array, Shape};
use serde_json::{Value, json};

use super::args::{Global, MakingArgs, PicturesArgs};
use super::film;
use super::networks::{Loaded, about, file_name, shared_classes};
use super::progress::Watcher;
use super::watching::Watched;

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
        let mut recipe = Recipe::load(args.recipe.as_deref().unwrap_or(networks[0].recipe))?;
        if let Some(normalize) = args.normalize {
            recipe.normalize = normalize.into();
        }
        global.say(format_args!("recipe: {}, pixel values {:?}, seed {}", recipe.name, recipe.normalize, args.seed));
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
        if !self.global.events {
            outs.iter().for_each(|out| println!("{}", out.display()));
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
        let start = match self.args.init.as_str() {
            "noise" => None,
            _ => Some(self.start(pictures[0].stream)?),
        };
        let mut watched = Watched::new(self, &pictures[0].what)?;
        let schedule_steps = self.recipe.stages.iter().map(|stage| stage.iterations as usize).sum::<usize>();
        let job = Job {
            scene,
            recipe: self.recipe.clone(),
            streams: pictures.iter().map(|picture| picture.stream).collect(),
            start,
            check_finite: self.global.check_finite,
            report_every: 5,
            frame_every: watched.every(schedule_steps, self.args.frames),
        };
        let mut watcher = Watcher::new(self.global, measured)?;
        self.announce(outs, pictures, schedule_steps);
        let finished = run(self.device, &job, &mut |event| match watched.event(&event, &watcher) {
            true => watcher.event(event),
            false => ControlFlow::Break(()),
        })?;
        for (index, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let metadata = [
                software(),
                ("entoptic:recipe".to_owned(), self.recipe.to_toml()),
                ("entoptic:run".to_owned(), self.description(picture, finished.steps).to_string()),
            ];
            picture::write_png(out, &finished.pictures.picture(index), &metadata)?;
        }
        watched.finish(&finished.pictures.picture(0), &watcher)?;
        if watcher.stopped() {
            if self.global.events {
                self.tell(outs, pictures, &finished, &[]);
            }
            let made: Vec<String> = outs.iter().map(|out| out.display().to_string()).collect();
            bail!("stopped after {} steps; the picture so far is in {}", finished.steps, made.join(", "));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.global.say(format_args!("{} steps in {seconds:.1} s", finished.steps));
        let mut saved = Array::filled(finished.pictures.shape, 0.0);
        saved.values.clear();
        for out in outs {
            saved.values.extend(picture::read(out)?.values);
        }
        if self.global.events {
            let found = (0..self.networks.len()).map(|index| self.probabilities(index, &saved));
            self.tell(outs, pictures, &finished, &found.collect::<anyhow::Result<Vec<_>>>()?);
        }
        Ok(saved)
    }

    /// An event: what is about to be made.
    fn announce(&self, outs: &[PathBuf], pictures: &[Picture], steps: usize) {
        if !self.global.events {
            return;
        }
        let picture = |(picture, out): (&Picture, &PathBuf)| {
            let Stream { seed, picture: stream } = picture.stream;
            json!({ "file": out.display().to_string(), "objective": picture.what, "seed": seed, "stream": stream })
        };
        let mut facts = self.description(&pictures[0], steps);
        for of_one in ["objective", "stream"] {
            facts.as_object_mut().and_then(|facts| facts.remove(of_one));
        }
        (facts["recipe"], facts["normalize"]) = (json!(self.recipe.name), json!(self.recipe.normalize));
        facts["pictures"] = pictures.iter().zip(outs).map(picture).collect();
        self.global.event("start", facts);
    }

    /// An event for each picture that is made, with what each network makes of it where that is known.
    fn tell(&self, outs: &[PathBuf], pictures: &[Picture], finished: &Finished, found: &[Vec<Vec<f32>>]) {
        for (n, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let judged = |(loaded, found): (&Loaded, &Vec<Vec<f32>>)| {
                let (names, mut classes) = (&loaded.network.classes, largest(&found[n], 5));
                classes.extend(film::classes(&picture.what));
                let mut seen = BTreeSet::new();
                classes.retain(|&class| seen.insert(class));
                let class = |&class: &usize| json!({ "class": class, "name": names.name(class), "probability": found[n][class] });
                json!({ "network": loaded.network.architecture.name(), "classes": classes.iter().map(class).collect::<Vec<_>>() })
            };
            let facts = json!({
                "objective": picture.what,
                "seed": picture.stream.seed,
                "size": finished.pictures.shape.h(),
                "steps": finished.steps,
                "complete": !found.is_empty(),
                "loss": finished.loss.get(n),
                "measured": finished.measured.get(n),
                "probabilities": self.networks.iter().zip(found).map(judged).collect::<Vec<_>>(),
            });
            self.global.made(out, "picture", facts);
        }
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
            if self.args.watching.preview_file.as_ref() == Some(out) {
                bail!("--preview-file {}: is where the picture itself goes; name another", out.display());
            }
            picture::check_writable(out)?;
        }
        Ok(outs)
    }

    /// What a picture starts from: noise, or a photograph at the size with which the recipe starts.
    pub fn start(&self, stream: Stream) -> anyhow::Result<Array> {
        match self.args.init.as_str() {
            "noise" => Ok(initial(&self.recipe, stream)?),
            path => {
                let photograph = picture::read(Path::new(path)).context("--init")?;
                Ok(picture::fit(&photograph, self.recipe.init.size as usize))
            }
        }
    }

    /// Everything that decides how a picture looks.
    fn description(&self, picture: &Picture, steps: usize) -> Value {
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
            "init": if self.args.init == "noise" { "noise".into() } else { file_name(Path::new(&self.args.init)) },
            "networks": self.networks.iter().map(network).collect::<Vec<_>>(),
            "steps": steps,
            "adapter": about(self.device),
            "kernels": self.device.tuning().tiling.to_string(),
        })
    }

    /// Logits of network `index`.
    pub fn logits_of(&self, index: usize, pictures: &Array) -> anyhow::Result<Array> {
        let scene = Scene::of(vec![&self.networks[index].network], self.recipe.normalize);
        let place = [Place::Logits(0, self.networks[index].head)];
        Ok(evaluate::outputs(self.device, &scene, pictures, &place, false)?.remove(0))
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
