//! Measurements on first demand, within a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::measure::Bench;
use super::memory::{Choice, Kept, Place, key, load, mark, marked, save};
use crate::device::{Choices, Class, Device, Tiling, Variant};
use crate::digest::sha256;
use crate::files::{self, Lock};
use crate::ops::Problem;
use crate::{Error, Result};

/// How long another process is waited for that measures.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked for.
const TICK: Duration = Duration::from_millis(5);

/// How much is measured, and where it is kept.
pub struct Settings {
    /// Folder of the file with the choices, made where it is absent; none to forget them.
    pub folder: Option<PathBuf>,
    /// Time for all measurements of a process; layers that come later are chosen by the table.
    pub time: Duration,
    /// Candidates for each layer: those first that the table thinks best.
    pub candidates: usize,
    /// Is told what the user should know: which kernel computes something wrong, and that choices cannot be kept.
    pub warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl Settings {
    /// Six candidates for each layer and four seconds in all.
    pub fn new(folder: Option<PathBuf>, warn: impl Fn(&str) + Send + Sync + 'static) -> Settings {
        Settings { folder, time: Duration::from_secs(4), candidates: 6, warn: Box::new(warn) }
    }
}

/// Measured choices of kernels for one device.
pub struct Autotuner {
    units: u32,
    place: Place,
    settings: Settings,
    state: Mutex<State>,
}

struct State {
    bench: Bench,
    /// What is on disk, as this process knows it.
    kept: Kept,
    /// What this process was told.
    told: BTreeMap<String, Variant>,
    measured: usize,
    spent: Duration,
    /// Whether files could not be written, which is said once.
    forgetful: bool,
    /// Whether devices are lost whatever runs on them.
    broken: bool,
}

/// Makes a device choose its kernels by measurement from now on. Does nothing on a software driver, for which one kernel is
/// best and all others take long to compile.
pub fn install(device: &Device, settings: Settings) -> Option<Arc<Autotuner>> {
    if device.adapter().class == Class::Software {
        return None;
    }
    let tuner = Arc::new(Autotuner::new(device, settings));
    device.set_tiling(Tiling::Measured(Arc::clone(&tuner) as Arc<dyn Choices>));
    Some(tuner)
}

impl Autotuner {
    /// A tuner for a device of any kind, with what is on disk for it.
    pub fn new(device: &Device, settings: Settings) -> Autotuner {
        let (place, units) = (Place::new(device.adapter()), device.adapter().units());
        let kept = settings.folder.as_ref().map(|folder| load(&folder.join(place.file()), &place, units));
        let state = Mutex::new(State {
            bench: Bench::new(device.clone()),
            kept: kept.unwrap_or_default(),
            told: BTreeMap::new(),
            measured: 0,
            spent: Duration::ZERO,
            forgetful: false,
            broken: false,
        });
        Autotuner { units, place, settings, state }
    }

    /// Layers measured by this process, and the time that it took.
    pub fn measured(&self) -> (usize, Duration) {
        let state = self.state.lock().expect("no panic happens while the lock is held");
        (state.measured, state.spent)
    }

    /// Where the choices are kept.
    pub fn file(&self) -> Option<PathBuf> {
        self.settings.folder.as_ref().map(|folder| folder.join(self.place.file()))
    }

    /// A file beside that of the choices.
    fn beside(&self, ending: &str) -> Option<PathBuf> {
        self.file().map(|path| path.with_extension(ending))
    }

    /// Takes the choices for this process: no other one measures meanwhile, and what others have chosen is known. Nothing where
    /// choices are not kept.
    fn take(&self, state: &mut State) -> Option<Lock> {
        let folder = self.settings.folder.as_ref().filter(|_| !state.forgetful)?;
        let taken = fs::create_dir_all(folder).map_err(Error::io(folder)).and_then(|()| self.lock());
        let lock = self.or_forget(state, taken)??;
        let path = self.file()?;
        let on_disk = load(&path, &self.place, self.units);
        // What is on disk is what other processes go by; only what a file that was damaged held is told from here.
        for (key, choice) in std::mem::replace(&mut state.kept, on_disk).choices {
            state.kept.choices.entry(key).or_insert(choice);
        }
        self.take_up_mark(state);
        Some(lock)
    }

    fn lock(&self) -> Result<Option<Lock>> {
        let path = self.beside("lock").expect("choices are kept");
        let begun = Instant::now();
        loop {
            let lock = Lock::take(&path)?;
            if lock.is_some() || begun.elapsed() > PATIENCE {
                return Ok(lock);
            }
            thread::sleep(TICK);
        }
    }

    /// A mark that is there now was left by a process which ended while that kernel ran.
    fn take_up_mark(&self, state: &mut State) {
        let Some(path) = self.beside("running") else { return };
        let Ok(text) = files::read(&path) else { return };
        if let Some((key, variant)) = std::str::from_utf8(&text).ok().and_then(marked) {
            self.say(&key, variant, "an earlier process ended while it ran");
            state.kept.bury(&key, variant);
            // A choice that was made before it did so is none.
            state.kept.choices.retain(|other, choice| *other != key || choice.variant != variant);
            self.keep(state);
        }
        fs::remove_file(path).ok();
    }

    fn say(&self, key: &str, variant: Variant, why: &str) {
        (self.settings.warn)(&format!("kernel {variant} is not used for {key}: {why}"));
    }

    /// What was done with files, or nothing and from now on no more of it.
    fn or_forget<T>(&self, state: &mut State, done: Result<T>) -> Option<T> {
        done.map_err(|error| {
            state.forgetful = true;
            (self.settings.warn)(&format!("measurements cannot be kept: {error}"));
        })
        .ok()
    }

    fn keep(&self, state: &mut State) {
        let Some(path) = self.file().filter(|_| !state.forgetful) else { return };
        let saved = save(&path, &self.place, &state.kept);
        self.or_forget(state, saved);
    }

    /// The kernel for a problem that nothing good is known of.
    fn decide(&self, state: &mut State, key: &str, problem: &Problem) -> Variant {
        let lock = self.take(state);
        let known = state.kept.choices.get(key).copied().filter(|choice| self.is_right(state, key, problem, *choice));
        let variant = match known {
            Some(choice) => choice.variant,
            None => {
                let (variant, settled) = self.measure(state, key, problem, lock.is_some());
                if let Some(choice) = settled {
                    state.kept.choices.insert(key.to_owned(), choice);
                }
                variant
            }
        };
        if let Some(lock) = lock {
            self.keep(state);
            lock.remove();
        }
        variant
    }

    /// Whether a choice on disk is one: what nobody has compared with the oracle yet is compared, while there is time.
    fn is_right(&self, state: &mut State, key: &str, problem: &Problem, choice: Choice) -> bool {
        if choice.checked || state.broken || state.spent >= self.settings.time {
            return true;
        }
        let started = Instant::now();
        let verified = state.bench.verify(problem, choice.variant);
        state.spent += started.elapsed();
        match verified {
            Ok(()) => {
                state.kept.choices.insert(key.to_owned(), Choice { checked: true, ..choice });
                true
            }
            // Memory says nothing of a kernel.
            Err(Error::OutOfMemory { .. } | Error::BufferLimit { .. }) => true,
            Err(error) => {
                self.say(key, choice.variant, &error.to_string());
                state.kept.choices.remove(key);
                if matches!(error, Error::DeviceLost { .. }) {
                    state.kept.bury(key, choice.variant);
                }
                false
            }
        }
    }

    /// The fastest variant for a problem, and what is to be kept of that: nothing where nothing could be measured. Out of time it
    /// is the table's, which is kept too: the same seed is to give the same picture tomorrow.
    fn measure(&self, state: &mut State, key: &str, problem: &Problem, marks: bool) -> (Variant, Option<Choice>) {
        let mut candidates = problem.candidates(self.units);
        candidates.retain(|&candidate| !state.kept.is_deadly(key, candidate));
        let first = candidates.first().copied().unwrap_or(Variant::Registers);
        if state.broken {
            return (first, None);
        }
        if state.spent >= self.settings.time {
            return (first, Some(Choice { variant: first, checked: false }));
        }
        let started = Instant::now();
        let path = self.beside("running").filter(|_| marks);
        let mut mark = |variant| {
            if let Some(path) = &path {
                fs::write(path, mark(key, variant)).ok();
            }
        };
        candidates.truncate(self.settings.candidates);
        let safe = !state.kept.is_deadly(key, Variant::Registers);
        let tried = state.bench.measure(problem, &candidates, safe, &mut mark);
        if let Some(path) = &path {
            fs::remove_file(path).ok();
        }
        state.spent += started.elapsed();
        state.measured += 1;
        match tried {
            Ok(tried) => {
                for (variant, reason) in &tried.excluded {
                    self.say(key, *variant, reason);
                }
                tried.deadly.iter().for_each(|&variant| state.kept.bury(key, variant));
                state.broken = tried.broken;
                let spared =
                    candidates.iter().find(|&&candidate| tried.excluded.iter().all(|(bad, _)| *bad != candidate));
                match tried.best {
                    Some(variant) if !tried.broken => (variant, Some(Choice { variant, checked: true })),
                    _ => (spared.copied().unwrap_or(Variant::Registers), None),
                }
            }
            Err(error) => {
                (self.settings.warn)(&format!("{key} cannot be measured: {error}"));
                (first, None)
            }
        }
    }
}

impl Choices for Autotuner {
    fn variant(&self, entry: &str, sizes: &[u32]) -> Variant {
        let key = key(entry, sizes);
        let mut state = self.state.lock().expect("no panic happens while the lock is held");
        // Twice in one process must be the same, whatever the time left.
        if let Some(&variant) = state.told.get(&key) {
            return variant;
        }
        let variant = match state.kept.choices.get(&key) {
            Some(choice) if choice.checked => choice.variant,
            _ => {
                let problem = Problem::from_sizes(entry, sizes).expect("a layer that is recorded has been checked");
                self.decide(&mut state, &key, &problem)
            }
        };
        state.told.insert(key, variant);
        variant
    }

    fn digest(&self) -> String {
        let state = self.state.lock().expect("no panic happens while the lock is held");
        let lines: String = state.told.iter().map(|(key, variant)| format!("{key} {variant}\n")).collect();
        format!("measured {}", &sha256(lines)[..12])
    }
}

impl std::fmt::Debug for Autotuner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Autotuner, {}", self.digest())
    }
}
