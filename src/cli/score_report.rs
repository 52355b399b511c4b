//! What `entoptic score` says of the pictures it has judged: sets by maker and class, tables, JSON.

use std::collections::BTreeMap;
use std::path::Path;

use entoptic::analysis::{self, calibrated};
use entoptic::evaluate::Moments;
use serde_json::{Map, Value, json};

use super::networks::{Loaded, file_name};
use super::score_bench::{Bench, Entry, NOISE};
use super::score_numbers::{Numbers, Scores, TRANSFER, mean, object, quantile, table, value};

/// Of more pictures only the means are shown, unless each is asked for.
const FEW: usize = 16;

/// With fewer photographs than this nothing is said of their spread.
const SPREAD: usize = 20;

/// Everything that has been judged.
pub struct Report<'a> {
    pub bench: &'a Bench<'a>,
    /// Whether the numbers of every picture are shown.
    pub each: bool,
    pub pictures: Vec<Entry>,
    pub noises: Vec<Entry>,
    pub photographs: Vec<Entry>,
}

/// Some pictures under a name.
type Set<'a> = (String, Vec<&'a Entry>);

/// Sets of pictures with the same key, in the order in which they turn up.
fn sets<'a>(entries: impl IntoIterator<Item = &'a Entry>, key: impl Fn(&Entry) -> Option<&str>) -> Vec<Set<'a>> {
    let mut sets: Vec<Set> = vec![];
    for entry in entries {
        let name = key(entry).unwrap_or("unknown");
        match sets.iter_mut().find(|(other, _)| other == name) {
            Some((_, members)) => members.push(entry),
            None => sets.push((name.to_owned(), vec![entry])),
        }
    }
    sets
}

fn by_maker<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Set<'a>> {
    sets(entries, |entry| entry.maker.as_ref().map(|maker| maker.label.as_str()))
}

fn by_class<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Set<'a>> {
    sets(entries, |entry| entry.class.as_deref())
}

fn scores<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Scores {
    Scores::mean(entries.into_iter().map(|entry| &entry.scores))
}

/// How alike pictures of one class are, in the mean of the classes that have several.
fn alikeness(set: &[&Entry]) -> f64 {
    let of_classes = by_class(set.iter().copied()).into_iter().map(|(_, members)| Bench::alikeness(&members));
    let known: Vec<f64> = of_classes.filter(|alike| !alike.is_nan()).collect();
    known.iter().sum::<f64>() / known.len() as f64
}

impl Report<'_> {
    /// Means of a set under one judge, and the distance of the whole set from what the judge's batch norms know.
    fn judged(&self, set: &[&Entry], judge: usize) -> Numbers {
        let mut numbers = vec![("pictures", set.len() as f64)];
        numbers.extend(mean(set.iter().map(|entry| &entry.scores.judges[judge])));
        let running = self.bench.judges[judge].running();
        let distance = |set: &[&Entry]| {
            let moments: Vec<&[Moments]> = set.iter().map(|entry| entry.moments[judge].as_slice()).collect();
            analysis::distance(running, &moments)
        };
        let found = distance(set);
        let photographs = self.photographs_like(set);
        let noises: Vec<&Entry> = self.noises.iter().take(set.len().max(NOISE)).collect();
        let [known, random] = [&photographs, &noises].map(|set| match set.is_empty() {
            true => f64::NAN,
            false => distance(set).layers,
        });
        numbers.extend([
            ("set", found.layers),
            ("first x10", found.first),
            ("photographs", known),
            ("noise", random),
            ("calibrated", calibrated(found.layers, known, random)),
        ]);
        numbers
    }

    /// As many photographs of each class as the set has pictures of it, as far as there are.
    fn photographs_like(&self, set: &[&Entry]) -> Vec<&Entry> {
        let mut alike = vec![];
        for (class, members) in by_class(set.iter().copied()) {
            let of_class = self.photographs.iter().filter(|entry| entry.class.as_deref().unwrap_or("unknown") == class);
            alike.extend(of_class.take(members.len()));
        }
        alike
    }

    /// How a set fares with judges that had no part in it, picture by picture; with all of them where nobody knows.
    fn transfer(&self, set: &[&Entry]) -> Option<Numbers> {
        let mut seen: Vec<Numbers> = vec![];
        for entry in set {
            for (judge, numbers) in entry.scores.judges.iter().enumerate() {
                if self.bench.held_out(judge, entry).unwrap_or(true) {
                    seen.push(TRANSFER.iter().map(|&name| (name, value(numbers, name))).collect());
                }
            }
        }
        (!seen.is_empty()).then(|| mean(&seen))
    }

    fn baselines(&self) -> Vec<(&'static str, &[Entry])> {
        let all = [("noise", &self.noises[..]), ("photographs", &self.photographs[..])];
        all.into_iter().filter(|(_, entries)| !entries.is_empty()).collect()
    }

    pub fn tables(&self) {
        let mut rows: Vec<(String, Scores)> = match self.each || self.pictures.len() <= FEW {
            true => self.pictures.iter().map(|entry| (entry.name.clone(), entry.scores.clone())).collect(),
            false => by_maker(&self.pictures).into_iter().map(|(name, set)| (name, scores(set))).collect(),
        };
        if rows.len() > 1 {
            rows.push(("mean".into(), scores(&self.pictures)));
        }
        rows.extend(self.baselines().into_iter().map(|(name, entries)| (name.to_owned(), scores(entries))));
        let mut of_pixels: Vec<_> = rows.iter().map(|(name, scores)| (name.clone(), scores.pixels.clone())).collect();
        if self.photographs.len() >= SPREAD {
            let each: Vec<&Numbers> = self.photographs.iter().map(|entry| &entry.scores.pixels).collect();
            of_pixels.push(("photographs, 5 %".into(), quantile(&each, 0.05)));
            of_pixels.push(("photographs, 95 %".into(), quantile(&each, 0.95)));
        }
        table("pixels", &of_pixels);
        if self.bench.networks.is_empty() {
            return;
        }
        for (judge, Loaded { network, .. }) in self.bench.networks.iter().enumerate() {
            let side = self.bench.side(judge).map_or(String::new(), |side| format!(", at {side} px"));
            let title = format!("\n{} ({}{side})", network.structure, file_name(Path::new(&network.source)));
            let rows = rows.iter().map(|(name, scores)| (name.clone(), scores.judges[judge].clone()));
            table(&title, &rows.collect::<Vec<_>>());
        }
        let makers = by_maker(&self.pictures);
        table("\nmaker, judge", &makers.iter().flat_map(|(name, set)| self.maker_rows(name, set)).collect::<Vec<_>>());
        for (name, set) in &makers {
            let classes = by_class(set.iter().copied());
            if classes.len() > 1 {
                let rows: Vec<_> = classes.iter().map(|(class, set)| (class.clone(), self.held(set))).collect();
                table(&format!("\n{name}, class"), &rows);
            }
        }
    }

    /// A row of the matrix for each judge, and one for all that had no part.
    fn maker_rows(&self, name: &str, set: &[&Entry]) -> Vec<(String, Numbers)> {
        let mut rows = vec![];
        for judge in 0..self.bench.networks.len() {
            let own = if self.bench.held_out(judge, set[0]) == Some(false) { " (its own)" } else { "" };
            rows.push((format!("{name}, {}{own}", self.bench.label(judge)), self.judged(set, judge)));
        }
        let all: BTreeMap<&str, f64> = self.held(set).into_iter().collect();
        let held = rows[0].1.iter().map(|(name, _)| (*name, all.get(name).copied().unwrap_or(f64::NAN))).collect();
        rows.push((format!("{name}, held out"), held));
        // That of pixels is the same for all judges.
        rows.iter_mut().for_each(|(_, numbers)| numbers.push(("alike", all["alike"])));
        rows
    }

    /// A set in the mean of the judges that had no part, and its stability in the mean of all.
    fn held(&self, set: &[&Entry]) -> Numbers {
        let mut numbers = vec![("pictures", set.len() as f64)];
        let unknown = || TRANSFER.iter().map(|&name| (name, f64::NAN)).collect();
        numbers.extend(self.transfer(set).unwrap_or_else(unknown));
        numbers.extend(["stability", "worst"].map(|name| (name, scores(set.iter().copied()).over_judges(name))));
        numbers.push(("alike", alikeness(set)));
        numbers
    }

    pub fn json(&self) -> Value {
        let pictures = self.pictures.iter().map(|entry| {
            let mut value = self.scores_json(&entry.scores, Some(entry));
            value["file"] = json!(entry.name);
            value["class"] = json!(entry.class);
            value["maker"] = json!(entry.maker.as_ref().map(|maker| &maker.label));
            value
        });
        let makers = by_maker(&self.pictures).into_iter().map(|(name, set)| {
            let mut value = self.set_json(&set);
            value["maker"] = json!(name);
            let classes = by_class(set.iter().copied()).into_iter().map(|(class, set)| {
                let mut value = self.set_json(&set);
                value["class"] = json!(class);
                value
            });
            value["classes"] = classes.collect();
            value
        });
        let baselines = self.baselines().into_iter().map(|(name, entries)| {
            let mut value = self.scores_json(&scores(entries), None);
            value["count"] = json!(entries.len());
            (name.to_owned(), value)
        });
        let mut all = json!({
            "pictures": pictures.collect::<Vec<_>>(),
            "mean": self.scores_json(&scores(&self.pictures), None),
            "makers": makers.collect::<Vec<_>>(),
            "baselines": baselines.collect::<Map<_, _>>(),
        });
        if let [(class, _)] = &by_class(&self.pictures)[..] {
            all["class"] = json!(class);
        }
        all
    }

    fn judge_json(&self, judge: usize, numbers: &Numbers) -> Map<String, Value> {
        let network = &self.bench.networks[judge].network;
        let mut value = object(numbers);
        value.insert("network".into(), json!(network.structure.name()));
        value.insert("weights".into(), json!(file_name(Path::new(&network.source))));
        value.insert("sha256".into(), json!(network.checksum));
        value.insert("side".into(), json!(self.bench.side(judge)));
        value
    }

    fn scores_json(&self, scores: &Scores, entry: Option<&Entry>) -> Value {
        let judges = scores.judges.iter().enumerate().map(|(judge, numbers)| {
            let mut value = self.judge_json(judge, numbers);
            if let Some(entry) = entry {
                value.insert("held_out".into(), json!(self.bench.held_out(judge, entry)));
            }
            value
        });
        json!({
            "pixels": object(&scores.pixels),
            "judges": judges.collect::<Vec<_>>(),
            "stability": scores.over_judges("stability"),
            "worst": scores.over_judges("worst"),
        })
    }

    fn set_json(&self, set: &[&Entry]) -> Value {
        let judges = (0..self.bench.networks.len()).map(|judge| {
            let mut value = self.judge_json(judge, &self.judged(set, judge));
            value.insert("held_out".into(), json!(self.bench.held_out(judge, set[0])));
            value
        });
        let known = set.iter().all(|entry| entry.maker.is_some());
        let mut value = self.scores_json(&scores(set.iter().copied()), None);
        value["judges"] = judges.collect();
        value["count"] = json!(set.len());
        value["alike"] = json!(alikeness(set));
        value["held_out"] = json!(self.transfer(set).filter(|_| known).map(|numbers| object(&numbers)));
        value
    }
}
