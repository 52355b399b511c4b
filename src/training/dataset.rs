//! Pictures for training: folders of classes, and batches of them that other threads decode and augment.
//!
//! Every random number depends on the seed, the epoch and the picture's place in it, so that a run can be taken up
//! again at any batch and gives the same batches however many threads there are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::tensor::{Array, Layout, Shape};
use crate::{Error, Result, picture};

/// Batches that each decoding thread may be ahead.
const AHEAD: usize = 2;

/// Least and largest share of a photograph's area that training sees, and of width to height: those of torchvision's
/// `RandomResizedCrop`, but for the least area, since small networks need more of a picture.
const AREA: [f64; 2] = [0.35, 1.0];
const RATIO: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// Share of the shorter side that validation sees, in the middle: torchvision's 224 of 256.
const CENTRE: f64 = 0.875;

/// Bytes at the start of a photograph's file by which it is told from others.
const LOOKED_AT: u64 = 4096;

/// A photograph and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photograph {
    /// A picture in any format that is read.
    pub path: PathBuf,
    /// Position of the class in the network's list.
    pub label: usize,
}

/// A folder with `train/CLASS/*` and `val/CLASS/*`.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Names of the class folders, sorted or as the network has them.
    pub classes: Vec<String>,
    /// Photographs to learn.
    pub train: Vec<Photograph>,
    /// Photographs to judge by.
    pub val: Vec<Photograph>,
    /// Files that are no pictures, and hidden ones.
    pub skipped: usize,
}

impl Folder {
    /// Lists the pictures of a folder, as [`picture::list`] does.
    ///
    /// # Errors
    /// [`Error::File`] when a part is absent or empty or has other classes than the other; [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        let classes = class_folders(&folder.join("train"))?;
        let part = folder.join("val");
        let judged = class_folders(&part)?;
        if classes != judged {
            let lacks = |of: &[String], other: &[String]| of.iter().find(|class| !other.contains(class)).cloned();
            let (part, class) = match lacks(&classes, &judged) {
                Some(class) => ("val", class),
                None => ("train", lacks(&judged, &classes).unwrap_or_default()),
            };
            return Err(Error::file(folder.join(part), format!("has no folder for class {class}")));
        }
        let (train, skipped) = photographs(&folder.join("train"), &classes)?;
        let (val, more) = photographs(&part, &classes)?;
        Ok(Folder { train, val, classes, skipped: skipped + more })
    }

    /// A name for these photographs: the same for the same files, wherever they lie. Of each file it looks at the name, the class,
    /// the length and the first bytes, for a folder may be large.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn digest(&self) -> Result<String> {
        let mut text = Sha256::new();
        for photograph in self.train.iter().chain(&self.val) {
            let path = &photograph.path;
            let file = File::open(path).map_err(Error::io(path))?;
            let length = file.metadata().map_err(Error::io(path))?.len();
            let mut start = Vec::new();
            file.take(LOOKED_AT).read_to_end(&mut start).map_err(Error::io(path))?;
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            for part in [name, &photograph.label.to_le_bytes(), &length.to_le_bytes(), &start] {
                text.update(part.len().to_le_bytes());
                text.update(part);
            }
        }
        Ok(hex(&text.finalize()))
    }

    /// Gives the classes the order that a network has them in; `order` holds the same names.
    ///
    /// # Panics
    /// When it does not.
    pub fn reorder(&mut self, order: &[String]) {
        let place = |class: &String| order.iter().position(|other| other == class).expect("the same classes");
        let places: Vec<usize> = self.classes.iter().map(place).collect();
        self.train.iter_mut().chain(&mut self.val).for_each(|photograph| photograph.label = places[photograph.label]);
        self.classes = order.to_vec();
    }
}

/// The photographs of a folder with a folder for each class, labelled by the class's position among the sorted names; these
/// names; and how many files are no pictures, or hidden.
///
/// # Errors
/// As [`Folder::open`].
pub fn labelled(folder: &Path) -> Result<(Vec<String>, Vec<Photograph>, usize)> {
    let classes = class_folders(folder)?;
    let (photographs, skipped) = photographs(folder, &classes)?;
    Ok((classes, photographs, skipped))
}

fn photographs(part: &Path, classes: &[String]) -> Result<(Vec<Photograph>, usize)> {
    let (mut all, mut skipped) = (Vec::new(), picture::list(part)?.skipped);
    for (label, class) in classes.iter().enumerate() {
        let folder = part.join(class);
        let found = picture::list(&folder)?;
        if found.pictures.is_empty() {
            return Err(Error::file(folder, NO_PICTURE));
        }
        all.extend(found.pictures.into_iter().map(|path| Photograph { path, label }));
        skipped += found.skipped;
    }
    Ok((all, skipped))
}

fn class_folders(part: &Path) -> Result<Vec<String>> {
    let folders = picture::list(part)?.folders.into_iter();
    let names: Vec<String> =
        folders.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    if let Some(name) = names.iter().find(|name| name.contains(',')) {
        return Err(Error::file(part.join(name), "a comma in a class's name is not allowed; rename the folder"));
    }
    match names.len() {
        0 | 1 => Err(Error::file(part, format!("has {} class folders, at least 2 are needed", names.len()))),
        _ => Ok(names),
    }
}

const NO_PICTURE: &str = "has no picture whose name ends in .jpg, .png, .webp, .gif, .tif or .bmp";

/// The picture files of a folder, sorted, or the file itself.
///
/// # Errors
/// [`Error::File`] when there is none; [`Error::Io`].
pub fn picture_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = picture::list(path)?.pictures;
    if files.is_empty() { Err(Error::file(path, NO_PICTURE)) } else { Ok(files) }
}

/// How photographs become batches.
#[derive(Clone, Debug)]
pub struct Batches {
    /// All of them.
    pub photographs: Vec<Photograph>,
    /// Pictures of a batch.
    pub size: usize,
    /// Side of a picture in pixels.
    pub side: usize,
    /// Shuffled anew each epoch, random crops resized, mirrored half of the time, a last batch that is not full left out; if
    /// absent: in order, the middle of each, once, those left out that cannot be read, the last batch filled up with black.
    pub augment: Option<u64>,
}

/// Pictures as the engine stores them, and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// [`Layout::Picture`] of [N, 3, side, side].
    pub stored: Vec<f32>,
    /// One for each real picture.
    pub labels: Vec<usize>,
    /// What is wrong with each picture that was left out.
    pub skipped: Vec<String>,
}

impl Batches {
    /// Batches of an epoch.
    pub fn per_epoch(&self) -> usize {
        match self.augment {
            Some(_) => self.photographs.len() / self.size,
            None => self.photographs.len().div_ceil(self.size),
        }
    }

    /// Which photographs make up a batch, counted through all epochs.
    fn members(&self, batch: usize) -> Vec<usize> {
        let (epoch, batch) = (batch / self.per_epoch(), batch % self.per_epoch());
        let mut order: Vec<usize> = (0..self.photographs.len()).collect();
        if let Some(seed) = self.augment {
            order.shuffle(&mut numbers(seed, epoch, 0));
        }
        order.into_iter().skip(batch * self.size).take(self.size).collect()
    }

    /// A photograph and its label.
    fn read(&self, member: usize) -> Result<(Array, usize)> {
        let Photograph { path, label } = &self.photographs[member];
        Ok((picture::read(path)?, *label))
    }

    fn decode(&self, batch: usize) -> Result<Batch> {
        let (epoch, place) = (batch / self.per_epoch(), batch % self.per_epoch() * self.size);
        let shape = Shape::new(1, 3, self.side, self.side);
        let stored = Vec::with_capacity(self.size * Layout::Picture.stored(shape));
        let mut made = Batch { stored, labels: vec![], skipped: vec![] };
        for (index, member) in self.members(batch).into_iter().enumerate() {
            let mut found = self.read(member);
            // A batch that is learnt stays full: the next photographs stand in for those that cannot be read.
            for further in 1..if self.augment.is_some() { self.photographs.len() } else { 1 } {
                let Err(error) = found else { break };
                made.skipped.push(error.to_string());
                found = self.read((member + further) % self.photographs.len());
            }
            let (full, label) = match (found, self.augment) {
                (Ok(found), _) => found,
                (Err(error), Some(_)) => return Err(error),
                (Err(error), None) => {
                    made.skipped.push(error.to_string());
                    continue;
                }
            };
            let (window, flip) = match self.augment {
                Some(seed) => {
                    let mut numbers = numbers(seed, epoch, 1 + place + index);
                    (random_window(full.shape, &mut numbers), numbers.random::<bool>())
                }
                None => (middle(full.shape, CENTRE), false),
            };
            let picture = resample(&full, window, self.side, flip);
            made.stored.extend(Layout::Picture.pack(shape, &picture.values));
            made.labels.push(label);
        }
        made.stored.resize(self.size * Layout::Picture.stored(shape), 0.0);
        Ok(made)
    }

    /// Batches from `first` up to `end`, made by as many threads as the machine has, in order.
    pub fn load(self, first: usize, end: usize) -> Loader {
        let threads = thread::available_parallelism().map_or(1, |count| count.get()).min(end - first).max(1);
        let batches = Arc::new(self);
        let queue = |worker: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let batches = Arc::clone(&batches);
            thread::spawn(move || {
                for batch in (first + worker..end).step_by(threads) {
                    let made = batches.decode(batch);
                    let failed = made.is_err();
                    // Nobody listens any more once the run has ended.
                    if sender.send(made).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
        };
        Loader { queues: (0..threads).map(queue).collect(), next: 0 }
    }
}

/// Batches on their way from the threads that make them.
pub struct Loader {
    queues: Vec<Receiver<Result<Batch>>>,
    next: usize,
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    /// Waits for the next batch; [`Error::File`] or [`Error::Io`] for a picture that cannot be read.
    fn next(&mut self) -> Option<Result<Batch>> {
        let batch = self.queues[self.next].recv().ok();
        self.next = (self.next + 1) % self.queues.len();
        batch
    }
}

fn numbers(seed: u64, epoch: usize, index: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, epoch as u64, index as u64]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A part of a picture: top, left, height, width in pixels.
type Window = [f64; 4];

/// A square in the middle with a share of the shorter side.
fn middle(shape: Shape, share: f64) -> Window {
    let side = share * shape.h().min(shape.w()) as f64;
    [(shape.h() as f64 - side) / 2.0, (shape.w() as f64 - side) / 2.0, side, side]
}

/// torchvision's `RandomResizedCrop.get_params`, without rounding to pixels.
fn random_window(shape: Shape, numbers: &mut ChaCha8Rng) -> Window {
    let (h, w) = (shape.h() as f64, shape.w() as f64);
    for _ in 0..10 {
        let area = h * w * numbers.random_range(AREA[0]..=AREA[1]);
        let ratio = numbers.random_range(RATIO[0].ln()..=RATIO[1].ln()).exp();
        let (height, width) = ((area / ratio).sqrt(), (area * ratio).sqrt());
        if height <= h && width <= w {
            return [numbers.random_range(0.0..=h - height), numbers.random_range(0.0..=w - width), height, width];
        }
    }
    middle(shape, 1.0)
}

/// A window of a picture [1, 3, H, W] as a square, mirrored if asked for: a triangle filter as wide as a pixel of the result.
fn resample(picture: &Array, window: Window, side: usize, flip: bool) -> Array {
    let [_, _, h, w] = picture.shape.0;
    let [top, left, height, width] = window;
    let rows = taps(top, height, side, h);
    let mut columns = taps(left, width, side, w);
    if flip {
        columns.reverse();
    }
    let mut values = Vec::with_capacity(3 * side * side);
    for plane in picture.values.chunks_exact(h * w) {
        let narrow: Vec<f32> =
            plane.chunks_exact(w).flat_map(|row| columns.iter().map(|taps| weigh(taps, |x| row[x]))).collect();
        for taps in &rows {
            values.extend((0..side).map(|x| weigh(taps, |y| narrow[y * side + x])));
        }
    }
    Array::new(Shape::new(1, 3, side, side), values)
}

/// Weights of neighbouring pixels, from the first one on.
type Taps = (usize, Vec<f32>);

fn weigh((first, weights): &Taps, value: impl Fn(usize) -> f32) -> f32 {
    weights.iter().enumerate().map(|(k, weight)| weight * value(first + k)).sum()
}

/// For each pixel of the result, the weights of the pixels along one side of a picture of `size`.
fn taps(start: f64, length: f64, side: usize, size: usize) -> Vec<Taps> {
    let step = length / side as f64;
    let reach = step.max(1.0);
    let tap = |out: usize| {
        let centre = start + (out as f64 + 0.5) * step;
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(size);
        let weight = |k: usize| (1.0 - (k as f64 + 0.5 - centre).abs() / reach).max(0.0);
        let total: f64 = (first..end).map(weight).sum();
        (first, (first..end).map(|k| (weight(k) / total) as f32).collect())
    };
    (0..side).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(h: usize, w: usize) -> Array {
        let mut numbers = numbers(5, 0, 0);
        Array::new(Shape::new(1, 3, h, w), (0..3 * h * w).map(|_| numbers.random()).collect())
    }

    #[test]
    fn whole_squares_are_resized_as_other_pictures_are() {
        for (size, side) in [(40, 24), (24, 24), (17, 40)] {
            let picture = noise(size, size);
            let found = resample(&picture, middle(picture.shape, 1.0), side, false);
            let expected = picture::fit(&picture, side);
            let worst = found.values.iter().zip(&expected.values).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            // The other one rounds its positions to f32.
            assert!(worst < 1e-4, "{size} to {side}: {worst}");
        }
    }

    #[test]
    fn windows_cut_and_mirrors_turn() {
        let picture = noise(8, 10);
        let cut = resample(&picture, [2.0, 3.0, 5.0, 5.0], 5, false);
        let mirrored = resample(&picture, [2.0, 3.0, 5.0, 5.0], 5, true);
        for (c, y, x) in (0..3).flat_map(|c| (0..25).map(move |k| (c, k / 5, k % 5))) {
            let expected = picture.values[c * 80 + (2 + y) * 10 + 3 + x];
            assert!((cut.values[c * 25 + y * 5 + x] - expected).abs() < 1e-6);
            assert!((mirrored.values[c * 25 + y * 5 + 4 - x] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn random_windows_lie_inside() {
        for index in 0..200 {
            let shape = Shape::new(1, 3, 30 + index, 100);
            let [top, left, height, width] = random_window(shape, &mut numbers(1, 2, index));
            assert!(top >= 0.0 && left >= 0.0 && top + height <= 30.0 + index as f64 && left + width <= 100.0);
            let share = height * width / ((30 + index) * 100) as f64;
            assert!(share > 0.29 && share <= 1.0, "{share}");
        }
    }

    #[test]
    fn every_epoch_sees_every_picture_once_in_another_order() {
        let photographs = (0..12).map(|label| Photograph { path: PathBuf::new(), label }).collect();
        let batches = Batches { photographs, size: 4, side: 8, augment: Some(1) };
        assert_eq!(batches.per_epoch(), 3);
        let epoch = |epoch: usize| (0..3).flat_map(|k| batches.members(3 * epoch + k)).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for mut epoch in [first, second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..12).collect::<Vec<_>>());
        }
        let judged = Batches { size: 5, augment: None, ..batches };
        assert_eq!((judged.per_epoch(), judged.members(2)), (3, vec![10, 11]));
    }
}
