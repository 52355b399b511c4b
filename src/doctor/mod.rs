//! The self-test: every kernel in every variant that an adapter could be given against the oracle, whole networks against
//! stored answers, the same bits twice, memory as planned.
//!
//! Operations come from the list of the operations room, layers from the networks; a kernel that no case reaches is wrong
//! until one does. Not here: arguments, tables.

mod bench;
mod cases;
mod checkup;
mod kernels;
mod networks;
mod row;
mod updates;

use std::time::Instant;

use serde::Serialize;

pub use cases::{Case, Tiles};
pub use checkup::{Checkup, Failure};
pub use row::{Row, Verdict};

use row::Tally;

use crate::device::{AdapterSummary, Device};
use crate::nets::Structure;
use crate::ops::shaders;
use crate::{Error, Result};

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Larger pictures and all layers of the networks, which takes minutes.
    pub thorough: bool,
    /// Only operations whose name begins so, and nothing but kernels; all of everything where it is empty.
    pub only: String,
    /// A network whose layers alone are tried, each at the sizes of its own pictures.
    pub network: Option<Structure>,
}

/// What came of a self-test on one adapter.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this program.
    pub version: &'static str,
    /// Operating system and processor.
    pub system: String,
    /// The adapter.
    pub adapter: AdapterSummary,
    /// Lanes of a subgroup that kernels use; none where they do not.
    pub subgroup: Option<u32>,
    /// Whether all layers were looked at.
    pub thorough: bool,
    /// Time that it took.
    pub seconds: f64,
    /// The worst of all rows.
    pub verdict: Verdict,
    /// What was found.
    pub rows: Vec<Row>,
    /// The short run's picture, to compare adapters by.
    #[serde(skip)]
    pub picture: Option<crate::tensor::Array>,
    /// SHA-256 of its numbers: two adapters that have the same computed the same bits.
    pub picture_digest: String,
}

impl Report {
    /// Rows that are wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Wrong)
    }
}

/// Examines a device. `progress` is told of each part that begins.
///
/// # Errors
/// None for what is wrong with the device, which the report says; those of shapes that do not fit, which are mistakes here.
pub fn examine(device: &Device, settings: &Settings, progress: &mut dyn FnMut(&str)) -> Result<Report> {
    let started = Instant::now();
    let mut tally = Tally::default();
    if let Some(structure) = &settings.network {
        progress(&format!("kernels: layers of {structure}"));
        run_cases(device, cases::of_structures(&[structure], true)?, settings, &mut tally)?;
    } else {
        progress("kernels: samples of each operation");
        run_cases(device, cases::of_samples()?, settings, &mut tally)?;
        progress("kernels: awkward shapes");
        run_cases(device, cases::awkward(device)?, settings, &mut tally)?;
    }
    let everything = settings.only.is_empty() && settings.network.is_none();
    if everything {
        progress("kernels: layers of ResNet50, GoogLeNet and InceptionV3");
        run_cases(device, cases::of_networks(settings.thorough)?, settings, &mut tally)?;
        progress("kernels: updates");
        let updated = updates::examine(device, &mut tally);
        note(device, &mut tally, "updates", updated);
        if !tally.lost {
            uncovered(device, &mut tally);
        }
    }
    tally.rows.sort_by(|a, b| (&a.kernel, &a.variant).cmp(&(&b.kernel, &b.variant)));
    let mut run = networks::Run::default();
    if everything && !tally.lost {
        progress("networks");
        let whole = networks::examine(device, &mut tally, &mut run);
        note(device, &mut tally, "networks", whole);
    }
    let wrong = tally.lost || tally.rows.iter().any(|row| row.verdict == Verdict::Wrong);
    if tally.lost {
        tally.rows.push(Row::of("the device", "", Verdict::Wrong, "was lost; what comes after was not looked at"));
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        adapter: device.adapter().clone(),
        subgroup: device.tuning().subgroup.then_some(8),
        thorough: settings.thorough,
        seconds: started.elapsed().as_secs_f64(),
        verdict: if wrong { Verdict::Wrong } else { Verdict::Right },
        rows: tally.rows,
        picture_digest: run.digest(),
        picture: run.picture,
    })
}

/// Tries one operation on given arguments; its number decides which tiles are tried.
///
/// # Errors
/// Those of the device where nothing could be recorded.
pub fn examine_case(device: &Device, case: &Case, number: usize) -> Result<Vec<Row>> {
    let mut tally = Tally::default();
    kernels::examine(device, case, number, false, &mut tally)?;
    Ok(tally.rows)
}

fn run_cases(device: &Device, cases: Vec<Case>, settings: &Settings, tally: &mut Tally) -> Result<()> {
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.op.name().starts_with(&settings.only)) {
        if tally.lost {
            break;
        }
        let ran = kernels::examine(device, case, number, settings.thorough, tally);
        note(device, tally, case.op.name(), ran);
    }
    Ok(())
}

/// What could not be run is wrong. A device that was lost may say something else first.
fn note(device: &Device, tally: &mut Tally, what: &str, ran: Result<()>) {
    if let Err(error) = ran {
        tally.lost |= lost(device, &error);
        tally.rows.push(Row::of(what, "", Verdict::Wrong, error.to_string()));
    }
}

/// Whether an error means that the device is gone.
fn lost(device: &Device, error: &Error) -> bool {
    matches!(error, Error::DeviceLost { .. }) || matches!(device.wait("doctor"), Err(Error::DeviceLost { .. }))
}

/// Kernels that nothing has launched.
fn uncovered(device: &Device, tally: &mut Tally) {
    for shader in shaders() {
        for entry in entries(shader.text) {
            let kernel = format!("{}.{entry}", shader.name);
            if tally.launched.contains(&kernel) {
                continue;
            }
            let row = match shader.name.ends_with("_subgroup") && !device.tuning().subgroup {
                true => Row::of(&kernel, "", Verdict::Skipped, "only for software adapters with 8 lanes to a vector"),
                false => Row::of(&kernel, "", Verdict::Wrong, "no case reaches it"),
            };
            tally.rows.push(row);
        }
    }
}

/// Entry points of a shader.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("@compute").skip(1);
    parts.filter_map(|part| part.split_once("fn ")?.1.split_once('(')).map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests;
