//! What was found, row by row.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// What comes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything lies within its bound.
    Right,
    /// Something does not, or could not be run.
    Wrong,
    /// This adapter is never given it.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Right => "right",
            Verdict::Wrong => "WRONG",
            Verdict::Skipped => "skipped",
        })
    }
}

/// A kernel in one of its variants, or another thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `shader.entry`, several where one hands on to the next; or what else was looked at.
    pub kernel: String,
    /// Tile, override constants.
    pub variant: String,
    /// Results compared.
    pub cases: usize,
    /// The worst distance from what is expected, as a share of its bound; none where nothing is measured, or nothing finite.
    pub worst: Option<f64>,
    /// The case that was worst.
    pub at: String,
    /// What comes of it.
    pub verdict: Verdict,
    /// Why it is wrong or skipped.
    pub why: String,
}

impl Row {
    /// A row of something that is not a kernel, measured once.
    pub fn once(what: &str, variant: &str, worst: f64, at: String) -> Row {
        let verdict = if worst <= 1.0 { Verdict::Right } else { Verdict::Wrong };
        let why = if worst <= 1.0 { String::new() } else { format!("{worst:.3} times the bound") };
        let (kernel, variant, worst) = (what.to_owned(), variant.to_owned(), Some(worst).filter(|w| w.is_finite()));
        Row { kernel, variant, cases: 1, worst, at, verdict, why }
    }

    /// A row without a measure.
    pub fn of(what: &str, variant: &str, verdict: Verdict, why: impl Into<String>) -> Row {
        let (kernel, variant) = (what.to_owned(), variant.to_owned());
        Row { kernel, variant, cases: 0, worst: None, at: String::new(), verdict, why: why.into() }
    }
}

/// How one result compares.
pub(super) struct Finding {
    /// Share of the bound.
    pub share: f64,
    /// What is wrong with it, if it is not the share.
    pub trouble: Option<String>,
    /// What was compared.
    pub at: String,
}

/// Findings, kernel by kernel.
#[derive(Default)]
pub(super) struct Tally {
    pub rows: Vec<Row>,
    /// Kernels that were launched, `shader.entry`.
    pub launched: BTreeSet<String>,
    /// Whether the device went away.
    pub lost: bool,
}

impl Tally {
    /// Enters a finding in the row of these kernels.
    pub fn enter(&mut self, kernels: &[String], variant: &str, finding: Finding) {
        let kernel = kernels.join(", ");
        let known = self.rows.iter().position(|row| row.kernel == kernel && row.variant == variant);
        let index = known.unwrap_or_else(|| {
            let row = Row { worst: Some(0.0), ..Row::of(&kernel, variant, Verdict::Right, "") };
            self.rows.push(row);
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        row.cases += 1;
        let Finding { share, trouble, at } = finding;
        if row.verdict == Verdict::Right && (row.worst.is_none_or(|worst| share > worst) || row.at.is_empty()) {
            row.at.clone_from(&at);
        }
        if share <= 1.0 {
            row.worst = row.worst.map(|worst| worst.max(share));
            return;
        }
        if row.verdict == Verdict::Right {
            row.verdict = Verdict::Wrong;
            row.at = at;
            row.why = trouble.unwrap_or_else(|| match share {
                f64::INFINITY => "a value is not finite".into(),
                f64::MAX => "a value that has no rounding differs".into(),
                _ => format!("{share:.3} times the bound"),
            });
        }
        row.worst = row.worst.map(|worst| worst.max(share)).filter(|&worst| worst < f64::MAX);
    }
}
