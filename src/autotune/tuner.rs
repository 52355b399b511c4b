//! Measurements on first demand, within a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::measure::measure;
use super::memory::{Place, key, load, save};
use crate::device::{Choices, Class, Device, Tiling, Variant};
use crate::digest::sha256;
use crate::ops::Problem;

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
    device: Device,
    units: u32,
    place: Place,
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was chosen, now or in another process.
    known: BTreeMap<String, Variant>,
    /// What this process was told.
    told: BTreeMap<String, Variant>,
    measured: usize,
    spent: Duration,
    /// Whether the file could not be written, which is said once.
    forgetful: bool,
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
        let (place, units) = (Place::new(device.adapter()), device.adapter().class.units());
        let known = settings.folder.as_ref().map(|folder| load(&folder.join(place.file()), &place, units));
        let state = Mutex::new(State { known: known.unwrap_or_default(), ..State::default() });
        // Its own recordings must not ask it.
        Autotuner { device: device.apart(), units, place, settings, state }
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

    /// The fastest variant for a problem; the table's where nothing could be measured.
    fn measure(&self, state: &mut State, key: &str, problem: &Problem) -> Variant {
        let candidates = problem.candidates(self.units);
        if state.spent >= self.settings.time {
            return candidates[0];
        }
        let started = Instant::now();
        let tried = measure(&self.device, problem, &candidates[..candidates.len().min(self.settings.candidates)]);
        state.spent += started.elapsed();
        state.measured += 1;
        match tried {
            Ok(tried) => {
                for (variant, reason) in tried.excluded {
                    (self.settings.warn)(&format!("kernel {variant} {reason} for {key}; it is not used there"));
                }
                tried.best.unwrap_or(Variant::Registers)
            }
            Err(error) => {
                (self.settings.warn)(&format!("{key} cannot be measured: {error}"));
                candidates[0]
            }
        }
    }

    fn keep(&self, state: &mut State) {
        let Some(folder) = self.settings.folder.as_ref().filter(|_| !state.forgetful) else { return };
        let made = std::fs::create_dir_all(folder).map_err(crate::Error::io(folder));
        let saved = made.and_then(|()| save(&folder.join(self.place.file()), &self.place, &state.known));
        if let Err(error) = saved {
            state.forgetful = true;
            (self.settings.warn)(&format!("measurements cannot be kept: {error}"));
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
        let variant = match state.known.get(&key) {
            Some(&variant) => variant,
            None => {
                let problem = Problem::from_sizes(entry, sizes).expect("a layer that is recorded has been checked");
                let variant = self.measure(&mut state, &key, &problem);
                // What the table chose is kept too: the same seed is to give the same picture tomorrow.
                state.known.insert(key.clone(), variant);
                self.keep(&mut state);
                variant
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
