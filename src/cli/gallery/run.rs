//! A gallery from its first picture to its last, through whatever comes between.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::bail;
use entoptic::Error;
use entoptic::device::{Class, Device};
use entoptic::digest::sha256;
use entoptic::files;
use entoptic::studio::{Maker, Place, match_recipe};
use serde_json::json;

use super::super::interrupt::{stopped, take_over_interrupts};
use super::super::networks::{Loaded, check_recipe, load, open, reopen, settled, shared_classes};
use super::super::options::{Global, MakingArgs};
use super::batch::{Made, Outcome, Workshop};
use super::classes;
use super::folder::Folder;
use super::identity::Identity;
use super::manifest::Entry;
use super::progress::Shown;
use super::shard::Shard;
use super::state::State;
use super::{GalleryMaking, ObjectiveArg};

/// Failures that a line names.
const NAMED: usize = 10;

/// A class of the gallery.
type ClassName = (usize, String);

pub fn run(global: &Global, mut args: GalleryMaking) -> anyhow::Result<()> {
    take_over_interrupts()?;
    let shard = shard(global, &args)?;
    let mut device = open(global)?;
    while let Some(fewer) = make(global, &args, shard, &device)? {
        // What is made so far is there, and another device goes on as another run of the same command would.
        device = reopen(global, &device)?;
        (args.batch, args.overwrite) = (Some(fewer), false);
    }
    Ok(())
}

/// Makes the gallery on one device. Where that was given up for lack of memory, returns how many pictures another one should do
/// at a time.
fn make(global: &Global, args: &GalleryMaking, shard: Option<Shard>, device: &Device) -> anyhow::Result<Option<u32>> {
    let loaded = load(global, device, &args.models.models)?;
    let (networks, target) = roles(args.objective, &loaded)?;
    let names = shared_classes(&loaded)?;
    let classes = classes::parse(&args.classes, names)?;
    let recipe = |usual: &str, networks: &[Loaded]| {
        settled(global, args.recipe.as_deref(), usual, networks, (args.normalize, None))
    };
    let matches = args.objective == ObjectiveArg::Match;
    let own = recipe(if matches { match_recipe(&networks[0]) } else { networks[0].recipe }, networks)?;
    let target = match target {
        [] => None,
        target => Some((target, recipe(target[0].recipe, target)?)),
    };
    check_recipe(global, device, networks, &own, args.normalize.is_some())?;
    if let Some((target, recipe)) = &target {
        check_recipe(global, device, target, recipe, args.normalize.is_some())?;
    }
    let aims = matches!(args.objective, ObjectiveArg::Class | ObjectiveArg::Joint);
    let identity = Identity::new(
        (args.objective, aims.then_some(args.constant), args.seed),
        (networks.iter().map(Maker::from).collect(), own.to_toml()),
        target.as_ref().map(|(target, recipe)| (Maker::from(&target[0]), recipe.to_toml())),
        classes.iter().map(|&class| (class, names.name(class).to_owned())).collect(),
        shard,
    );
    global.say(format_args!("recipe: {}, pixel values {:?}, seed {}", own.name, own.normalize, args.seed));
    let path = shard.map_or(args.out.clone(), |shard| args.out.join(shard.folder()));
    let folder = Folder::open(&path, &identity, args.overwrite)?;
    let (objective, constant, recipe) = (args.objective, args.constant, own);
    let making = MakingArgs::plain(args.seed);
    let workshop = Workshop { global, device, objective, constant, args: &making, networks, recipe, target };
    Gallery { global, device, workshop, identity, folder, failed: vec![], fewer: None }.fill(args.batch)
}

/// The part that this process makes, and who says so.
fn shard(global: &Global, args: &GalleryMaking) -> anyhow::Result<Option<Shard>> {
    let variable = |name: &str| std::env::var(name).ok();
    let (shard, by) = match args.shard {
        Some(shard) => (shard, "--shard"),
        None => match Shard::told(variable, args.shards)? {
            Some(told) => told,
            None => return Ok(None),
        },
    };
    global.say(format_args!("part {shard}, by {by}"));
    // The only part is the whole.
    Ok((shard.of > 1).then_some(shard))
}

/// The networks that make the pictures, and the one whose pictures they match.
fn roles(objective: ObjectiveArg, all: &[Loaded]) -> anyhow::Result<(&[Loaded], &[Loaded])> {
    let (fits, takes) = match objective {
        ObjectiveArg::Class => (all.len() == 1, "one --model (joint takes several)"),
        ObjectiveArg::Joint => (all.len() > 1, "two --model or more"),
        ObjectiveArg::Difference => (all.len() > 1, "two --model or more, of which the last is subtracted"),
        ObjectiveArg::Match => (all.len() == 2, "two --model, of which the first matches pictures by the second"),
        ObjectiveArg::Opposite => (true, ""),
    };
    if !fits {
        bail!("--objective {objective:?} takes {takes}, not {}", all.len());
    }
    Ok(all.split_at(if objective == ObjectiveArg::Match { 1 } else { all.len() }))
}

struct Gallery<'a> {
    global: &'a Global,
    device: &'a Device,
    workshop: Workshop<'a>,
    identity: Identity,
    folder: Folder,
    failed: Vec<(ClassName, String)>,
    /// How many pictures another device should do at a time, where this one is given up.
    fewer: Option<u32>,
}

impl Gallery<'_> {
    /// Makes the pictures that are not there. Returns [`Gallery::fewer`].
    fn fill(mut self, batch: Option<u32>) -> anyhow::Result<Option<u32>> {
        let (own, done) = (self.identity.own(), self.folder.done()?);
        let mut left: VecDeque<ClassName> = own.iter().filter(|(class, _)| !done.contains(class)).cloned().collect();
        let path = self.folder.path.clone();
        self.announce(own.len(), own.len() - left.len());
        if !left.is_empty() {
            let mut shown = Shown::new(self.global, own.len(), own.len() - left.len());
            if !done.is_empty() {
                shown.say(&format!("going on in {}: {} of {} are there", path.display(), done.len(), own.len()));
            }
            let mut queue = VecDeque::new();
            let (sum, here) = (self.identity.sum(), Place::of(self.device));
            if let Some(state) = State::read(&path, &sum, &here)?
                && let Some(classes) = take(&mut left, &state.classes)
            {
                shown.say(&format!("{} of them from step {}", classes.len(), state.finished.steps));
                queue.push_back((classes, Some(state)));
            }
            let size = match batch {
                Some(size) => size as usize,
                None => self.size(left.len())?,
            };
            while !left.is_empty() {
                queue.push_back((left.drain(..size.min(left.len())).collect(), None));
            }
            self.batches(queue, &mut shown)?;
            if self.fewer.is_some() {
                return Ok(self.fewer);
            }
        }
        self.folder.manifest.sort()?;
        let (made, failed) = (own.len() - self.failed.len(), self.failed.len());
        self.global.made(&path, "gallery", json!({ "pictures": made, "failed": failed }))?;
        self.global.say(format_args!("{made} pictures in {}", path.display()));
        self.complain(own.len()).map(|()| None)
    }

    /// An event: what is about to be made, and how much of it is there.
    fn announce(&self, all: usize, done: usize) {
        let Place { version, adapter, kernels, .. } = Place::of(self.device);
        let Workshop { objective, recipe, networks, .. } = &self.workshop;
        let facts = json!({
            "version": version,
            "folder": self.folder.path.display().to_string(),
            "objective": objective,
            "recipe": recipe.name,
            "normalize": recipe.normalize,
            "seed": self.identity.seed,
            "networks": networks.iter().map(Maker::from).collect::<Vec<_>>(),
            "adapter": adapter,
            "kernels": kernels,
            "all": all,
            "done": done,
        });
        self.global.event("start", facts);
    }

    /// Makes batches until there are none, or the user stops.
    fn batches(
        &mut self,
        mut queue: VecDeque<(Vec<ClassName>, Option<State>)>,
        shown: &mut Shown,
    ) -> anyhow::Result<()> {
        while self.fewer.is_none()
            && let Some((classes, from)) = queue.pop_front()
        {
            if stopped() {
                bail!("{}", self.how_to_go_on());
            }
            let started = Instant::now();
            let outcome =
                self.workshop.make(&classes, from, &mut |share, steps| shown.step(classes.len(), share, steps));
            match outcome {
                Ok(Outcome::Done(made)) => {
                    self.keep(&classes, made, started)?;
                    shown.batch(classes.len());
                }
                Ok(Outcome::Stopped(state)) => {
                    let kept = state.write(&self.folder.path, &self.identity.sum(), Place::of(self.device));
                    let how = match kept {
                        Ok(()) => format!("{} at step {}", classes.len(), state.finished.steps),
                        // Numbers that are not finite cannot be kept, and are not worth it.
                        Err(error) => format!("a batch begins anew, for it cannot be kept: {error:#}"),
                    };
                    bail!("{}; {how}", self.how_to_go_on());
                }
                Err(error) => self.again(error, classes, started, &mut queue, shown)?,
            }
        }
        Ok(())
    }

    /// What to do when a batch fails: halves where memory was short, one by one where something was not finite.
    fn again(
        &mut self,
        error: anyhow::Error,
        mut classes: Vec<ClassName>,
        started: Instant,
        queue: &mut VecDeque<(Vec<ClassName>, Option<State>)>,
        shown: &mut Shown,
    ) -> anyhow::Result<()> {
        match (error.downcast_ref::<Error>(), classes.len()) {
            (Some(Error::OutOfMemory { .. }), 2..) if self.device.is_lost() => {
                let fewer = classes.len() / 2;
                shown.say(&format!("{error:#}; going on with a new device and batches of {fewer}"));
                self.fewer = u32::try_from(fewer).ok();
                Ok(())
            }
            (Some(Error::OutOfMemory { .. } | Error::BufferLimit { .. }), 2..) => {
                shown.say(&format!("{error:#}; going on with batches of {}", classes.len().div_ceil(2)));
                let rest = classes.split_off(classes.len().div_ceil(2));
                queue.push_front((rest, None));
                queue.push_front((classes, None));
                Ok(())
            }
            (Some(Error::NotFinite { .. }), 2..) => {
                classes.into_iter().rev().for_each(|class| queue.push_front((vec![class], None)));
                Ok(())
            }
            (Some(Error::NotFinite { .. }), _) => {
                let made = Made { file: Err(error.to_string()), loss: f32::NAN, networks: vec![] };
                self.keep(&classes, vec![made], started)?;
                shown.batch(1);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Writes a batch: the pictures, then their lines.
    fn keep(&mut self, classes: &[ClassName], made: Vec<Made>, started: Instant) -> anyhow::Result<()> {
        let seconds = started.elapsed().as_secs_f64() / classes.len() as f64;
        let mut entries = Vec::new();
        for ((index, class), Made { file, loss, networks }) in classes.iter().zip(made) {
            let (mut name, mut sum) = (None, None);
            if let Ok(bytes) = &file {
                let written = classes::file(*index, class);
                files::replace(&self.folder.path.join(&written), |out| out.write_all(bytes))?;
                (name, sum) = (Some(written), Some(sha256(bytes)));
            }
            let failed = file.err();
            if let Some(why) = &failed {
                self.failed.push(((*index, class.clone()), why.clone()));
            }
            entries.push(Entry {
                index: *index,
                class: class.clone(),
                file: name,
                sha256: sum,
                failed,
                seed: self.identity.seed,
                loss: loss.is_finite().then_some(loss),
                networks,
                seconds,
                adapter: self.device.adapter().name.clone(),
            });
        }
        self.folder.manifest.append(&entries)?;
        for entry in &entries {
            let mut facts = json!(entry);
            facts["file"] = json!(entry.file.as_ref().map(|file| self.folder.path.join(file).display().to_string()));
            self.global.event("picture", facts);
        }
        self.folder.drop_state()
    }

    /// The largest of 64, 32 .. 1 pictures that fit, of 16 .. 1 on a processor, which gains little by more; one where even that
    /// does not fit, which then says so.
    fn size(&self, pictures: usize) -> anyhow::Result<usize> {
        // Drivers do not say how much memory there is. These amounts are there on all that is worth using.
        let (budget, most): (u64, usize) = match self.device.adapter().class {
            Class::Discrete => (4 << 30, 64),
            Class::Integrated | Class::Virtual => (1 << 30, 64),
            Class::Software => (1 << 30, 16),
        };
        let fits = |size: usize| match self.workshop.memory(size) {
            Ok(bytes) => Ok((bytes <= budget).then_some(bytes)),
            Err(error) if matches!(error.downcast_ref(), Some(Error::BufferLimit { .. })) => Ok(None),
            Err(error) => Err(error),
        };
        let mut size = pictures.next_power_of_two().min(most);
        while size > 1 {
            let wanted = size.min(pictures);
            if let Some(bytes) = fits(wanted)? {
                self.global.explain(|| format!("batches of {wanted}: {} MiB of memory each", bytes >> 20));
                return Ok(wanted);
            }
            size /= 2;
        }
        Ok(1)
    }

    fn how_to_go_on(&self) -> String {
        let (made, own) = (self.folder.manifest.listed.len(), self.identity.own().len());
        let path = self.folder.path.display();
        format!("stopped; {made} of {own} pictures are in {path}, and the same command goes on")
    }

    /// An error that names the pictures that have failed, if any has.
    fn complain(&self, own: usize) -> anyhow::Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let named = self.failed.iter().take(NAMED).map(|((index, name), why)| format!("{index} {name} ({why})"));
        let mut named: Vec<String> = named.collect();
        if self.failed.len() > NAMED {
            named.push(format!("and {} more, see manifest.jsonl", self.failed.len() - NAMED));
        }
        bail!("{} of {own} pictures could not be made: {}", self.failed.len(), named.join(", "))
    }
}

/// Takes classes out of those that are left, if all are among them.
fn take(left: &mut VecDeque<ClassName>, wanted: &[usize]) -> Option<Vec<ClassName>> {
    let taken: Option<Vec<ClassName>> =
        wanted.iter().map(|class| left.iter().find(|(other, _)| other == class).cloned()).collect();
    let taken = taken?;
    left.retain(|class| !taken.contains(class));
    Some(taken)
}
