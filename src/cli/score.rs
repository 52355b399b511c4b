//! `entoptic score`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::analysis::{self, Judge, Pixels, altered, calibrated, noise, pixels};
use entoptic::evaluate::Moments;
use serde_json::{Map, Value, json};

use super::args::{Global, ScoreArgs};
use super::networks::{Loaded, file_name, load, open, shared_classes};
use super::progress::Watcher;
use super::score_report::{
    Numbers, Scores, TRANSFER, judge_numbers, mean, object, pixel_numbers, quantile, spectrum_rows, table, value,
};
use super::subjects::{Maker, Subject, files, short};

/// Fewest pictures of noise, and photographs of a class, that others are compared with.
const NOISE: usize = 2;
const PHOTOGRAPHS: usize = 8;

/// Of more pictures only the means are shown, unless each is asked for.
const FEW: usize = 16;

/// With fewer photographs than this nothing is said of their spread.
const SPREAD: usize = 20;

pub fn run(global: &Global, args: ScoreArgs) -> anyhow::Result<()> {
    if args.pictures.is_empty() {
        return photographs_alone(&args);
    }
    let files = files(&args.pictures)?;
    let photographs = args.photographs.iter().map(|path| self::files(std::slice::from_ref(path)));
    let photographs = photographs.collect::<anyhow::Result<Vec<_>>>().context("--photographs")?.concat();
    let device = open(global)?;
    let networks = load(global, &device, &args.judges.models)?;
    let judges = networks.iter().map(|Loaded { network, head, trained_with, .. }| {
        let normalize = args.normalize.map_or(*trained_with, Into::into);
        Judge::new(&device, (network, *head), normalize, global.check_finite)
    });
    let judges = judges.collect();
    let mut bench = Bench { global, networks: &networks, judges, args: &args, done: 0, all: 0 };

    let classes = networks.first().map(|loaded| &loaded.network.classes);
    let read = |file: &PathBuf| Subject::read(file, args.size, classes);
    let mut subjects = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    bench.settle(&mut subjects)?;
    let wanted = wanted(&subjects);
    let [_, _, h, w] = subjects[0].picture.shape.0;
    let photographs = bench.photographs(&photographs, h.min(w) as u32, &wanted)?;
    let noises = wanted.values().sum::<usize>().max(NOISE);
    let shown = || wanted.keys().cloned().cycle();
    let noises: Vec<Subject> = (0..)
        .zip(shown())
        .take(noises)
        .map(|(seed, class)| Subject { name: "noise".into(), picture: noise(seed, h, w), class, maker: None })
        .collect();

    bench.all = subjects.len() + photographs.len() + noises.len();
    let mut watcher = Watcher::new(global, "")?;
    let pictures = bench.score(subjects, &mut watcher)?;
    let noises = bench.score(noises, &mut watcher)?;
    let photographs = bench.score(photographs, &mut watcher)?;
    drop(watcher);
    let report = Report { bench: &bench, pictures, noises, photographs };
    if args.json {
        println!("{:#}", report.json());
    } else {
        report.tables();
    }
    Ok(())
}

/// How many pictures of each class a set has at most: those of one maker.
fn wanted(subjects: &[Subject]) -> BTreeMap<Option<String>, usize> {
    let mut counts: BTreeMap<(Option<&str>, &Option<String>), usize> = BTreeMap::new();
    for subject in subjects {
        let maker = subject.maker.as_ref().map(|maker| maker.label.as_str());
        *counts.entry((maker, &subject.class)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, class), count) in counts {
        let known: &mut usize = most.entry(class.clone()).or_default();
        *known = count.max(*known);
    }
    most
}

/// What pixels of photographs are like, and their spectrum.
fn photographs_alone(args: &ScoreArgs) -> anyhow::Result<()> {
    let path = args.photographs.as_ref().context("give pictures, or --photographs")?;
    let files = files(std::slice::from_ref(path)).context("--photographs")?;
    let mut all: Vec<Pixels> = Vec::with_capacity(files.len());
    for file in &files {
        all.push(pixels(&Subject::read(file, args.size, None)?.picture));
    }
    let numbers: Vec<Numbers> = all.iter().map(pixel_numbers).collect();
    let each: Vec<&Numbers> = numbers.iter().collect();
    let rows = [mean(&numbers), quantile(&each, 0.05), quantile(&each, 0.95)];
    let spectrum = spectrum_rows(&all);
    if args.json {
        let [mean, low, high] = rows.map(|numbers| object(&numbers));
        let row = |(frequency, power): (f64, f64)| json!({ "frequency": frequency, "log_power": power });
        let spectrum: Vec<Value> = spectrum.into_iter().map(row).collect();
        let count = files.len();
        println!(
            "{:#}",
            json!({ "photographs": { "count": count, "mean": mean, "low": low, "high": high, "spectrum": spectrum } })
        );
        return Ok(());
    }
    let names = ["mean", "5 %", "95 %"].map(str::to_owned);
    table(&format!("{} photographs", files.len()), &names.into_iter().zip(rows).collect::<Vec<_>>());
    println!("\n# cycles per pixel, mean logarithm of power");
    spectrum.iter().for_each(|(frequency, power)| println!("{frequency:.4}\t{power:.4}"));
    Ok(())
}

/// Who judges.
struct Bench<'a> {
    global: &'a Global,
    networks: &'a [Loaded],
    judges: Vec<Judge<'a>>,
    args: &'a ScoreArgs,
    done: usize,
    all: usize,
}

/// A picture that has been judged.
struct Entry {
    name: String,
    class: Option<String>,
    maker: Option<Maker>,
    scores: Scores,
    /// At the batch norms of each judge.
    moments: Vec<Vec<Moments>>,
}

impl Bench<'_> {
    /// Settles the class of each picture by its name in the first judge's list.
    fn settle(&self, subjects: &mut [Subject]) -> anyhow::Result<()> {
        let Some(first) = self.networks.first() else { return Ok(()) };
        if self.args.class.as_ref().is_some_and(|text| text.parse::<usize>().is_ok()) {
            shared_classes(self.networks)?;
        }
        for subject in subjects {
            let Some(text) = self.args.class.as_ref().or(subject.class.as_ref()) else {
                bail!(
                    "{}: neither the file nor its name tells what it shows; give --class, or put it into a folder named \
                     after its class",
                    subject.name
                );
            };
            let index = first.network.classes.find(text).with_context(|| subject.name.clone())?;
            subject.class = Some(first.network.classes.name(index).to_owned());
        }
        Ok(())
    }

    /// The photographs to compare with, up to as many of each class as a set of pictures has.
    fn photographs(
        &self,
        files: &[PathBuf],
        side: u32,
        wanted: &BTreeMap<Option<String>, usize>,
    ) -> anyhow::Result<Vec<Subject>> {
        let classes = self.networks.first().map(|loaded| &loaded.network.classes);
        let folder = |file: &Path| file.parent().and_then(Path::file_name)?.to_str().map(str::to_owned);
        let mut by_class: BTreeMap<Option<String>, Vec<&PathBuf>> = BTreeMap::new();
        for file in files {
            let index = folder(file).zip(classes).and_then(|(name, classes)| classes.find(&name).ok());
            let class = index.zip(classes).map(|(index, classes)| classes.name(index).to_owned());
            by_class.entry(class).or_default().push(file);
        }
        // A plain folder is one of the pictures' class, when they have one.
        if let (Some(plain), [only]) = (by_class.remove(&None), &wanted.keys().collect::<Vec<_>>()[..]) {
            by_class.entry((*only).clone()).or_default().extend(plain);
        }
        let mut chosen = vec![];
        for (class, &count) in wanted {
            let known = by_class.get(class).map_or(&[][..], Vec::as_slice);
            let count = count.max(PHOTOGRAPHS).min(known.len());
            for index in 0..count {
                let mut subject = Subject::read(known[index * known.len() / count], Some(side), None)?;
                (subject.class, subject.maker) = (class.clone(), None);
                chosen.push(subject);
            }
        }
        if chosen.is_empty() && !files.is_empty() {
            bail!(
                "--photographs: none is of a class that the pictures show; give a folder with a folder for each class, \
                 named after it"
            );
        }
        if !files.is_empty() {
            self.global.say(format_args!("photographs to compare with: {} of {}", chosen.len(), files.len()));
        }
        Ok(chosen)
    }

    fn score(&mut self, subjects: Vec<Subject>, watcher: &mut Watcher) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(subjects.len());
        for Subject { name, picture, class, maker } in subjects {
            let altered = if self.judges.is_empty() { picture.clone() } else { altered(&picture) };
            let (mut judges, mut moments) = (vec![], vec![]);
            for (judge, Loaded { network, .. }) in self.judges.iter_mut().zip(self.networks) {
                let index = network.classes.find(class.as_deref().unwrap_or_default())?;
                let (judged, at_norms) = judge.judge(&altered, index)?;
                judges.push(judge_numbers(&judged));
                moments.push(at_norms);
            }
            let scores = Scores { pixels: pixel_numbers(&pixels(&picture)), judges };
            entries.push(Entry { name, class, maker, scores, moments });
            self.done += 1;
            watcher.show(self.done, self.all, "", &entries[entries.len() - 1].name);
            if watcher.stopped() {
                bail!("stopped after {} of {} pictures", self.done, self.all);
            }
        }
        Ok(entries)
    }

    /// A judge's name among the others.
    fn label(&self, judge: usize) -> String {
        let name = |loaded: &Loaded| short(&file_name(Path::new(&loaded.network.source))).to_owned();
        let label = name(&self.networks[judge]);
        let same = self.networks.iter().filter(|other| name(other) == label).count();
        if same > 1 { format!("{label} {}", &self.networks[judge].network.checksum[..8]) } else { label }
    }

    /// Whether a judge had no part in a picture; nothing where nobody knows who made it.
    fn held_out(&self, judge: usize, entry: &Entry) -> Option<bool> {
        Some(!entry.maker.as_ref()?.checksums.contains(&self.networks[judge].network.checksum))
    }
}

/// Everything that has been judged.
struct Report<'a> {
    bench: &'a Bench<'a>,
    pictures: Vec<Entry>,
    noises: Vec<Entry>,
    photographs: Vec<Entry>,
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

    fn tables(&self) {
        let mut rows: Vec<(String, Scores)> = match self.bench.args.each || self.pictures.len() <= FEW {
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
            let title = format!("\n{} ({})", network.architecture, file_name(Path::new(&network.source)));
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
        rows
    }

    /// A set in the mean of the judges that had no part, and its stability in the mean of all.
    fn held(&self, set: &[&Entry]) -> Numbers {
        let mut numbers = vec![("pictures", set.len() as f64)];
        let unknown = || TRANSFER.iter().map(|&name| (name, f64::NAN)).collect();
        numbers.extend(self.transfer(set).unwrap_or_else(unknown));
        numbers.extend(["stability", "worst"].map(|name| (name, scores(set.iter().copied()).over_judges(name))));
        numbers
    }

    fn json(&self) -> Value {
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
        value.insert("network".into(), json!(network.architecture.name()));
        value.insert("weights".into(), json!(file_name(Path::new(&network.source))));
        value.insert("sha256".into(), json!(network.checksum));
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
        value["held_out"] = json!(self.transfer(set).filter(|_| known).map(|numbers| object(&numbers)));
        value
    }
}
