//! The networks that judge pictures for `entoptic score`, what they judge, and what they find.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::analysis::{Judge, alikeness, altered, pixels};
use entoptic::evaluate::Moments;
use entoptic::tensor::Array;

use super::networks::{Loaded, shared_classes};
use super::options::Global;
use super::progress::Watcher;
use super::score_numbers::{Scores, judge_numbers, pixel_numbers};
use super::subjects::{Maker, Subject, labels, say_broken, say_cut};

/// Fewest pictures of noise that others are compared with: one is like the other, also to batch norms.
pub const NOISE: usize = 2;

/// Most of them.
pub const MOST_NOISE: usize = 16;

/// Fewest photographs of a class that others are compared with, where there are as many.
const PHOTOGRAPHS: usize = 8;

/// Who judges.
pub struct Bench<'a> {
    pub global: &'a Global,
    pub networks: &'a [Loaded],
    pub judges: Vec<Judge<'a>>,
    /// The side at which all of them look at pictures, where the user names it.
    pub size: Option<u32>,
    /// Class of all pictures, where the user names it.
    pub class: Option<&'a str>,
    /// Pictures judged so far, of how many.
    pub done: usize,
    pub all: usize,
}

/// A picture that has been judged.
pub struct Entry {
    pub name: String,
    pub class: Option<String>,
    pub maker: Option<Maker>,
    pub scores: Scores,
    /// As it is, not as judges see it.
    pub picture: Array,
    /// At the batch norms of each judge.
    pub moments: Vec<Vec<Moments>>,
}

impl Bench<'_> {
    /// Settles the class of each picture by its name in the first judge's list.
    pub fn settle(&self, subjects: &mut [Subject]) -> anyhow::Result<()> {
        let Some(first) = self.networks.first() else { return Ok(()) };
        if self.class.is_some_and(|text| text.parse::<usize>().is_ok()) {
            shared_classes(self.networks)?;
        }
        for subject in subjects {
            let Some(text) = self.class.or(subject.class.as_deref()) else {
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
    pub fn photographs(
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
        let (mut chosen, mut broken) = (vec![], vec![]);
        for (class, &count) in wanted {
            let known = by_class.get(class).map_or(&[][..], Vec::as_slice);
            let count = count.max(PHOTOGRAPHS).min(known.len());
            for index in 0..count {
                match Subject::read(known[index * known.len() / count], Some(side), None) {
                    Ok(subject) => {
                        say_cut(self.global, &subject.name, subject.cut);
                        chosen.push(Subject { class: class.clone(), maker: None, ..subject });
                    }
                    Err(error) => broken.push(format!("{error:#}")),
                }
            }
        }
        say_broken(self.global, &broken);
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

    /// The side at which a judge looks at pictures: that of its training, where it is known and the user names none.
    pub fn side(&self, judge: usize) -> Option<usize> {
        self.size.map(|side| side as usize).or(self.networks[judge].side)
    }

    /// Judges pictures one after the other; `seen` makes what a judge sees of one at its side.
    pub fn score(
        &mut self,
        subjects: Vec<Subject>,
        watcher: &mut Watcher,
        seen: impl Fn(usize, &Array, usize) -> Array,
    ) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(subjects.len());
        for (number, Subject { name, picture, class, maker, .. }) in subjects.into_iter().enumerate() {
            let [_, _, h, w] = picture.shape.0;
            // What has been altered for one judge serves the others that look at the same side.
            let mut shown: BTreeMap<usize, Array> = BTreeMap::new();
            let (mut judges, mut moments) = (vec![], vec![]);
            for (index, Loaded { network, .. }) in self.networks.iter().enumerate() {
                let class = network.classes.find(class.as_deref().unwrap_or_default())?;
                let side = self.side(index).unwrap_or(h.min(w));
                let shown = shown.entry(side).or_insert_with(|| {
                    if side == h.min(w) { altered(&picture) } else { altered(&seen(number, &picture, side)) }
                });
                let (judged, at_norms) = self.judges[index].judge(shown, class)?;
                judges.push(judge_numbers(&judged));
                moments.push(at_norms);
            }
            let scores = Scores { pixels: pixel_numbers(&pixels(&picture)), judges };
            entries.push(Entry { name, class, maker, scores, picture, moments });
            self.done += 1;
            watcher.show(self.done, self.all, "", &entries[entries.len() - 1].name);
            if watcher.stopped() {
                bail!("stopped after {} of {} pictures", self.done, self.all);
            }
        }
        Ok(entries)
    }

    /// How alike pictures are, as [`alikeness`] tells.
    pub fn alikeness(set: &[&Entry]) -> f64 {
        alikeness(&set.iter().map(|entry| &entry.picture).collect::<Vec<_>>())
    }

    /// A judge's name among the others.
    pub fn label(&self, judge: usize) -> String {
        labels(self.networks).swap_remove(judge)
    }

    /// Whether a judge had no part in a picture; nothing where nobody knows who made it.
    pub fn held_out(&self, judge: usize, entry: &Entry) -> Option<bool> {
        Some(!entry.maker.as_ref()?.checksums.contains(&self.networks[judge].network.checksum))
    }
}
