//! Several adapters one after another, how far they are apart, and the file that says all of it.

use std::path::Path;

use serde::Serialize;

use super::{Report, Row, Settings, Verdict, examine};
use crate::device::{AdapterChoice, AdapterSummary, Device};
use crate::{Result, files};

/// How far the pictures of a short run may lie apart on two adapters, over the length of one. llvmpipe and SwiftShader make the
/// same bits; a GPU that contracts products and sums rounds otherwise, by some 1e-6 in a step, and what turns on a sign may
/// fall either way in some of twelve. A driver that is wrong is far beyond.
const APART: f64 = 1e-3;

/// What came of all adapters that were asked for.
#[derive(Debug, Default, Serialize)]
pub struct Checkup {
    /// One for each adapter that could be opened.
    pub reports: Vec<Report>,
    /// Adapters that could not, or whose examination could not be finished.
    pub failures: Vec<Failure>,
    /// How far adapters are from the first one.
    pub across: Vec<Row>,
}

/// An adapter of which there is no report.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Which.
    pub adapter: String,
    /// Why.
    pub reason: String,
}

impl Checkup {
    /// Examines one adapter after another; none of them ends it.
    pub fn of(adapters: &[AdapterSummary], settings: &Settings, progress: &mut dyn FnMut(&str)) -> Checkup {
        let mut checkup = Checkup::default();
        for adapter in adapters {
            progress(&format!("adapter: {adapter}"));
            let device = Device::open(&AdapterChoice::Named(adapter.index.to_string()));
            match device.and_then(|device| examine(&device, settings, progress)) {
                Ok(report) => checkup.reports.push(report),
                Err(error) => {
                    checkup.failures.push(Failure { adapter: adapter.to_string(), reason: error.to_string() });
                }
            }
        }
        checkup.compare();
        checkup
    }

    /// Compares the pictures of the short run.
    fn compare(&mut self) {
        let Some((first, others)) = self.reports.split_first() else { return };
        for other in others {
            let what = format!("{} and {}", first.adapter.name, other.adapter.name);
            let row = match (&first.picture, &other.picture) {
                (Some(a), Some(b)) => apart(&what, &a.values, &b.values),
                _ => Row::of(&what, "a short run", Verdict::Wrong, "one of them has made no picture"),
            };
            self.across.push(row);
        }
    }

    /// What is wrong, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let failed = self.failures.iter().map(|Failure { adapter, reason }| format!("{adapter}: {reason}"));
        let rows = self.reports.iter().flat_map(Report::wrong);
        let rows = rows.chain(self.across.iter().filter(|row| row.verdict == Verdict::Wrong));
        let line = |row: &Row| {
            let name = [&row.kernel, &row.variant].map(String::as_str).join(" ");
            let at = if row.at.is_empty() { String::new() } else { format!(" ({})", row.at) };
            format!("{}: {}{at}", name.trim_end(), row.why)
        };
        failed.chain(rows.map(line)).collect()
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::File`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("reports hold nothing but texts and numbers");
        files::replace(path, |out| writeln!(out, "{text}"))
    }
}

fn apart(what: &str, a: &[f32], b: &[f32]) -> Row {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let off = squares(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let relative = off / squares(&mut a.iter().map(|&value| f64::from(value)));
    let largest = a.iter().zip(b).map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max);
    let differ = a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let at = format!(
        "{relative:.1e} apart over the length, {largest:.1e} at most; bits differ in {differ} of {} numbers",
        a.len()
    );
    Row::once(what, "a short run", if relative.is_finite() { relative / APART } else { f64::INFINITY }, at)
}
