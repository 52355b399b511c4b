//! The numbers of a comparison as files.

use std::fs;
use std::path::Path;

use anyhow::Context;
use entoptic::analysis::OutputDistance;
use entoptic::report::{Csv, npy};

use super::super::making::file_stem;
use super::Report;

/// Writes all tables, and the logits of each network, into a new folder. Gives the names of the files.
pub fn write(report: &Report, folder: &Path) -> anyhow::Result<Vec<String>> {
    fs::create_dir(folder).with_context(|| format!("making folder {}", folder.display()))?;
    let mut names = vec![];
    let mut put = |name: &str, bytes: &[u8]| {
        names.push(name.to_owned());
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    let tables = [
        ("classes.csv", report.classes()),
        ("pictures.csv", report.pictures()),
        ("outputs.csv", report.outputs()),
        ("networks.csv", report.between_networks()),
        ("sets.csv", report.between_sets()),
        ("makers.csv", report.makers()),
        ("neighbours.csv", report.neighbours()),
        ("variance.csv", report.variance()),
        ("components.csv", report.components()),
        ("axes.csv", report.axes()),
    ];
    for (name, table) in tables {
        put(name, table.text().as_bytes())?;
    }
    let count = report.pictures.len();
    for (network, logits) in report.logits.iter().enumerate() {
        put(&report.vectors(network), &npy((count, logits.len() / count), logits))?;
    }
    Ok(names)
}

/// What numbers and words are in a table.
fn cell(value: impl ToString) -> String {
    value.to_string()
}

fn distances(OutputDistance { l1, l2, cosine }: &OutputDistance) -> [String; 3] {
    [cell(l1), cell(l2), cell(cosine)]
}

impl Report<'_> {
    /// The file with a network's logits.
    pub fn vectors(&self, network: usize) -> String {
        let stem = |network: usize| file_stem(&self.labels[network]);
        let taken = (0..network).any(|other| stem(other) == stem(network));
        let number = if taken { format!("-{network}") } else { String::new() };
        format!("logits-{}{number}.npy", stem(network))
    }

    fn name(&self, class: usize) -> String {
        self.networks[0].network.classes.name(class).to_owned()
    }

    fn classes(&self) -> Csv {
        let classes = &self.networks[0].network.classes;
        let mut table = Csv::new(&["class", "synset", "name"]);
        for class in 0..classes.len() {
            table.push([cell(class), cell(classes.synset(class).unwrap_or_default()), self.name(class)]);
        }
        table
    }

    fn pictures(&self) -> Csv {
        let mut table = Csv::new(&["picture", "file", "set", "class", "name", "maker", "seed"]);
        for (index, about) in self.pictures.iter().enumerate() {
            let maker = about.maker.as_ref().map(|maker| maker.label.clone()).unwrap_or_default();
            let seed = about.run["seed"].as_u64().map(cell).unwrap_or_default();
            let (file, set) = (about.file.display(), self.sets[about.set].label.clone());
            table.push([cell(index), cell(file), set, cell(about.class), self.name(about.class), maker, seed]);
        }
        table
    }

    fn outputs(&self) -> Csv {
        let names = [
            "picture",
            "network",
            "logit",
            "probability",
            "rank",
            "margin",
            "other",
            "other_name",
            "nearest",
            "nearest_l2",
        ];
        let mut table = Csv::new(&names);
        for picture in 0..self.pictures.len() {
            for (network, label) in self.labels.iter().enumerate() {
                let opinion = &self.comparison.opinions[network][picture];
                let nearest = self.comparison.nearest[network][picture];
                table.push([
                    cell(picture),
                    label.clone(),
                    cell(opinion.logit),
                    cell(opinion.probability),
                    cell(opinion.rank + 1),
                    cell(opinion.margin),
                    opinion.other.map(cell).unwrap_or_default(),
                    opinion.other.map(|other| self.name(other)).unwrap_or_default(),
                    nearest.map(|nearest| cell(nearest.index)).unwrap_or_default(),
                    nearest.map(|nearest| cell(nearest.distance)).unwrap_or_default(),
                ]);
            }
        }
        table
    }

    fn between_networks(&self) -> Csv {
        let mut table = Csv::new(&["picture", "network_a", "network_b", "l1", "l2", "cosine"]);
        for pair in &self.comparison.networks {
            for (picture, distance) in &pair.distances {
                let who = [cell(picture), self.labels[pair.a].clone(), self.labels[pair.b].clone()];
                table.push(who.into_iter().chain(distances(distance)));
            }
        }
        table
    }

    fn between_sets(&self) -> Csv {
        let mut table = Csv::new(&["class", "name", "network", "set_a", "set_b", "l1", "l2", "cosine"]);
        for (pairs, label) in self.comparison.sets.iter().zip(&self.labels) {
            for pair in pairs {
                for (&class, distance) in &pair.distances {
                    let sets = [pair.a, pair.b].map(|set| self.sets[set].label.clone());
                    let who = [cell(class), self.name(class), label.clone()];
                    table.push(who.into_iter().chain(sets).chain(distances(distance)));
                }
            }
        }
        table
    }

    fn makers(&self) -> Csv {
        let mut table =
            Csv::new(&["set", "folder", "judge", "had_part", "pictures", "top_1", "top_5", "probability", "rank"]);
        for (set, meetings) in self.comparison.meetings.iter().enumerate() {
            for (network, meeting) in meetings.iter().enumerate() {
                table.push([
                    self.sets[set].label.clone(),
                    cell(self.sets[set].folder.display()),
                    self.labels[network].clone(),
                    cell(self.made(network, set)),
                    cell(meeting.pictures),
                    cell(meeting.top_1),
                    cell(meeting.top_5),
                    cell(meeting.probability),
                    cell(meeting.rank + 1.0),
                ]);
            }
        }
        table
    }

    fn neighbours(&self) -> Csv {
        let names = ["set", "network", "class", "name", "next", "next_name", "component", "component_size"];
        let mut table = Csv::new(&names);
        for (set, graphs) in self.comparison.graphs.iter().enumerate() {
            for (graph, label) in graphs.iter().zip(&self.labels) {
                for (&class, &next) in &graph.next {
                    let whose = graph.components.iter().position(|part| part.binary_search(&class).is_ok());
                    let whose = whose.expect("components hold all classes");
                    table.push([
                        self.sets[set].label.clone(),
                        label.clone(),
                        cell(class),
                        self.name(class),
                        cell(next),
                        self.name(next),
                        cell(whose),
                        cell(graph.components[whose].len()),
                    ]);
                }
            }
        }
        table
    }

    fn variance(&self) -> Csv {
        let mut table = Csv::new(&["network", "component", "share"]);
        for (principal, label) in self.comparison.principal.iter().zip(&self.labels) {
            for (index, share) in principal.shares.iter().enumerate() {
                table.push([label.clone(), cell(index + 1), cell(share)]);
            }
        }
        table
    }

    fn components(&self) -> Csv {
        let mut table = Csv::new(&["picture", "network", "component", "value"]);
        for (principal, label) in self.comparison.principal.iter().zip(&self.labels) {
            for (picture, point) in principal.points.iter().enumerate() {
                for (index, value) in point.iter().enumerate() {
                    table.push([cell(picture), label.clone(), cell(index + 1), cell(value)]);
                }
            }
        }
        table
    }

    fn axes(&self) -> Csv {
        let mut table = Csv::new(&["picture", "network", "layer", "channel_a", "channel_b", "a", "b"]);
        for plane in &self.planes {
            let [a, b] = plane.axes.channels;
            for (picture, point) in plane.points.iter().enumerate() {
                let what = [self.labels[plane.network].clone(), plane.axes.layer.clone(), cell(a), cell(b)];
                table.push([cell(picture)].into_iter().chain(what).chain(point.map(cell)));
            }
        }
        table
    }
}
