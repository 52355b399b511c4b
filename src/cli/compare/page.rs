//! The page of a comparison.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use entoptic::analysis::{OutputDistance, Pair};
use entoptic::report::{Page, PageGraph, PageMeeting, PageOpinion, PagePicture, PagePlane, PageSet, layout};
use serde_json::Value;

use super::super::making::largest;
use super::super::networks::file_name;
use super::pictures::About;
use super::{Plane, Report, Set};

/// By what a page made here is known.
pub const MARK: &str = "<meta name=\"generator\" content=\"entoptic compare ";

/// Most activated classes that are drawn of a picture.
const TOP: usize = 8;

/// Shares of variance that are drawn.
const SHARES: usize = 12;

/// The file of a small picture, from the page.
pub fn small(index: usize) -> String {
    format!("small/{index:04}.jpg")
}

/// The file of a picture as it was given, from the page.
pub fn large(index: usize, file: &Path) -> String {
    let end = file.extension().map(|end| end.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    format!("pictures/{index:04}.{end}")
}

/// Writes the page. `data` are names of files beside it.
pub fn write(report: &Report, data: &[String], path: &Path) -> anyhow::Result<()> {
    let html = report.page(data).html();
    std::fs::write(path, html).with_context(|| format!("writing {}", path.display()))
}

/// Texts of which each is kept once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: String) -> usize {
        *self.places.entry(text).or_insert_with_key(|text| {
            self.all.push(text.clone());
            self.all.len() - 1
        })
    }
}

/// Digits that nobody sees are not written.
fn short(value: f64) -> f32 {
    format!("{value:.4e}").parse().expect("a number as it was written")
}

fn three(OutputDistance { l1, l2, cosine }: &OutputDistance) -> [f32; 3] {
    [*l1, *l2, *cosine].map(short)
}

/// What is known of a run, but for what the page shows elsewhere.
fn facts(run: &Value) -> Option<String> {
    let mut facts = run.as_object()?.clone();
    for shown in ["seed", "stream"] {
        facts.remove(shown);
    }
    if let Some(objective) = facts.get_mut("objective").and_then(Value::as_object_mut) {
        objective.remove("class");
        objective.remove("name");
    }
    Some(format!("{:#}", Value::Object(facts)))
}

impl Report<'_> {
    fn page(&self, data: &[String]) -> Page {
        let classes = &self.networks[0].network.classes;
        let (mut recipes, mut runs) = (Texts::default(), Texts::default());
        let pictures = self.pictures.iter().enumerate().map(|(index, about)| {
            let recipe = about.recipe.clone().map(|recipe| recipes.place(recipe));
            let run = facts(&about.run).map(|run| runs.place(run));
            PagePicture { recipe, run, ..self.picture(index, about) }
        });
        let pictures = pictures.collect();
        let pairs = |pairs: &[Pair]| pairs.iter().map(|pair| [pair.a, pair.b]).collect();
        let of_sets = |pairs: &Vec<Pair>| {
            let one = |pair: &Pair| pair.distances.iter().map(|(&class, distance)| (class, three(distance))).collect();
            pairs.iter().map(one).collect()
        };
        let networks = 0..self.networks.len();
        Page {
            classes: (0..classes.len()).map(|class| classes.name(class).to_owned()).collect(),
            networks: self.labels.clone(),
            sets: self.sets.iter().map(|set| self.set(set)).collect(),
            pictures,
            network_pairs: pairs(&self.comparison.networks),
            set_pairs: pairs(&self.comparison.sets[0]),
            set_distances: self.comparison.sets.iter().map(of_sets).collect(),
            meetings: (0..self.sets.len())
                .map(|set| networks.clone().map(|network| self.meeting(set, network)).collect())
                .collect(),
            graphs: (0..self.sets.len())
                .map(|set| networks.clone().map(|network| self.graph(set, network)).collect())
                .collect(),
            shares: self.shares(),
            planes: self.planes.iter().map(plane).collect(),
            recipes: recipes.all,
            runs: runs.all,
            skipped: self.skipped.clone(),
            data: data.to_vec(),
        }
    }

    fn set(&self, set: &Set) -> PageSet {
        PageSet { label: set.label.clone(), folder: set.folder.display().to_string() }
    }

    fn picture(&self, index: usize, about: &About) -> PagePicture {
        let embedded = |bytes: &[u8]| format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes));
        let (small, large) = match &about.large {
            Some(large) => (embedded(&about.small), embedded(large)),
            None => (small(index), large(index, &about.file)),
        };
        PagePicture {
            file: file_name(&about.file),
            small,
            large,
            set: about.set,
            class: about.class,
            maker: about.maker.as_ref().map(|maker| maker.label.clone()),
            seed: about.run["seed"].as_u64(),
            recipe: None,
            run: None,
            by: (0..self.networks.len()).map(|network| self.opinion(index, network)).collect(),
            apart: self.comparison.networks.iter().map(|pair| three(&pair.distances[&index])).collect(),
        }
    }

    fn opinion(&self, picture: usize, network: usize) -> PageOpinion {
        let count = self.networks[network].network.class_count();
        let logits = &self.logits[network][picture * count..(picture + 1) * count];
        let opinion = &self.comparison.opinions[network][picture];
        let nearest = self.comparison.nearest[network][picture];
        PageOpinion {
            logit: short(opinion.logit.into()),
            p: short(opinion.probability),
            rank: opinion.rank + 1,
            margin: short(opinion.margin),
            top: largest(logits, TOP).into_iter().map(|class| (class, short(logits[class].into()))).collect(),
            other: opinion.other,
            near: nearest.map(|nearest| (nearest.index, short(nearest.distance))),
            at: self.comparison.principal[network].points[picture].iter().map(|&value| short(value)).collect(),
        }
    }

    fn meeting(&self, set: usize, network: usize) -> PageMeeting {
        let meeting = &self.comparison.meetings[set][network];
        PageMeeting {
            pictures: meeting.pictures,
            top_1: meeting.top_1,
            top_5: meeting.top_5,
            p: meeting.probability,
            rank: meeting.rank + 1.0,
            own: self.made(network, set),
        }
    }

    fn graph(&self, set: usize, network: usize) -> PageGraph {
        let graph = &self.comparison.graphs[set][network];
        let component = |class: usize| graph.components.iter().position(|part| part.binary_search(&class).is_ok());
        let place = |(class, place): (usize, [f64; 2])| (class, component(class).unwrap_or_default(), place.map(short));
        PageGraph {
            places: layout(graph).into_iter().map(place).collect(),
            edges: graph.next.iter().map(|(&from, &to)| (from, to)).collect(),
            components: graph.components.iter().map(Vec::len).collect(),
        }
    }

    fn shares(&self) -> Vec<Vec<f32>> {
        let first = |shares: &[f64]| shares.iter().take(SHARES).map(|&share| short(share)).collect();
        self.comparison.principal.iter().map(|principal| first(&principal.shares)).collect()
    }
}

fn plane(plane: &Plane) -> PagePlane {
    let points = plane.points.iter().map(|point| point.map(|value| short(value.into()))).collect();
    PagePlane { network: plane.network, layer: plane.axes.layer.clone(), channels: plane.axes.channels, points }
}
