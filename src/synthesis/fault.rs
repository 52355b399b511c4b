//! A mistake in a recipe: which key has it, why it is one, and on which line of the text it stands.

use std::fmt::Display;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A value that is not allowed: its key (as in [`places`]) and why.
#[derive(Debug)]
pub(super) struct Fault {
    key: String,
    reason: String,
}

impl Fault {
    pub fn new(key: &str, reason: impl Into<String>) -> Fault {
        Fault { key: key.into(), reason: reason.into() }
    }

    /// The same fault, its key inside a stage.
    pub fn within(self, stage: usize) -> Fault {
        Fault { key: format!("stage {}: {}", stage + 1, self.key), ..self }
    }

    /// Text with the line of the key, or of the nearest table above it.
    pub fn at_line(&self, text: &str) -> String {
        let places = places(text);
        let mut key = self.key.as_str();
        loop {
            if let Some((_, span)) = places.iter().find(|(place, _)| place == key) {
                return format!("line {}, {self}", line(text, span.start));
            }
            match key.rfind(['.', ':']) {
                Some(end) => key = &key[..end],
                None => return self.to_string(),
            }
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// Refuses what lies outside, NaN included.
pub(super) fn within<T: PartialOrd + Display + Copy>(key: &str, value: T, lowest: T, highest: T) -> Result<(), Fault> {
    if (lowest..=highest).contains(&value) {
        return Ok(());
    }
    Err(Fault::new(key, format!("is {value}, allowed are {lowest} to {highest}")))
}

/// Refuses a pair in the wrong order.
pub(super) fn ascending(key: &str, ordered: bool, low: f64, high: f64) -> Result<(), Fault> {
    if ordered { Ok(()) } else { Err(Fault::new(key, format!("is [{low}, {high}], the lower value comes first"))) }
}

/// What the parser found, with line and key.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return error.message().to_string() };
    let places = places(text);
    let around = places.iter().filter(|(_, place)| place.start <= span.start && span.end <= place.end);
    let key = around.min_by_key(|(_, place)| place.len()).map(|(key, _)| format!(", {key}")).unwrap_or_default();
    format!("line {}{key}: {}", line(text, span.start), error.message())
}

/// Line of a byte, from 1.
fn line(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}

/// Every key of the text with its bytes: `init.size`, `stage 2`, `stage 2: pad.width`. Empty when it is no TOML.
fn places(text: &str) -> Vec<(String, Range<usize>)> {
    let mut places = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(table.get_ref(), "", &mut places);
    }
    places
}

fn walk(table: &DeTable<'_>, prefix: &str, places: &mut Vec<(String, Range<usize>)>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        let (key, bytes) = (key.span(), value.span());
        let span = key.start.min(bytes.start)..key.end.max(bytes.end);
        match value.get_ref() {
            DeValue::Table(inner) => walk(inner, &format!("{path}."), places),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        let path = format!("{path} {}", index + 1);
                        walk(inner, &format!("{path}: "), places);
                        places.push((path, item.span()));
                    }
                }
            }
            _ => {}
        }
        places.push((path, span));
    }
}
