//! Pictures on their way from files through all networks: read by several threads, looked at in batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, anyhow};
use entoptic::classes::ClassList;
use entoptic::device::Device;
use entoptic::evaluate::{Forward, Pass};
use entoptic::nets::Normalize;
use entoptic::picture;
use entoptic::tensor::{Array, Layout, Shape};

use super::super::networks::Loaded;
use super::super::subjects::{Maker, Subject};

/// Pictures that a thread reads ahead.
const AHEAD: usize = 2;

/// Side of the small pictures on a page, and the longest one of the large ones inside it.
const SMALL: usize = 160;
const LARGE: usize = 512;

/// JPEG's quality.
const QUALITY: u8 = 86;

/// Where pictures come from, and how they are read.
pub struct Source {
    /// A set's index and a file of it.
    pub files: Vec<(usize, PathBuf)>,
    /// Side that pictures are brought to.
    pub side: Option<u32>,
    pub classes: ClassList,
    /// The page holds its pictures itself.
    pub embed: bool,
}

/// A picture read.
pub struct Picture {
    pub pixels: Array,
    /// As [`Subject::cut`].
    pub cut: Option<[f32; 2]>,
    pub about: About,
}

/// What is kept of a picture once the networks have seen it.
pub struct About {
    pub file: PathBuf,
    pub set: usize,
    pub class: usize,
    pub maker: Option<Maker>,
    pub run: serde_json::Value,
    pub recipe: Option<String>,
    /// JPEG files: the small one, and the large one where the page holds it.
    pub small: Vec<u8>,
    pub large: Option<Vec<u8>>,
}

impl Source {
    fn read(&self, index: usize) -> anyhow::Result<Picture> {
        let (set, file) = &self.files[index];
        let Subject { name: _, picture, cut, class, maker, run, recipe } =
            Subject::read(file, self.side, Some(&self.classes))?;
        let named = class.ok_or_else(|| anyhow!("neither its texts nor its name tell a class of these networks"));
        let class = named.and_then(|name| Ok(self.classes.find(&name)?)).with_context(|| file.display().to_string())?;
        let small = picture::encode_jpeg(&square(&picture, SMALL), QUALITY)?;
        let large = self.embed.then(|| picture::encode_jpeg(&within(&picture, LARGE), QUALITY)).transpose()?;
        let about = About { file: file.clone(), set: *set, class, maker, run, recipe, small, large };
        Ok(Picture { pixels: picture, cut, about })
    }

    /// All pictures in order, read by as many threads as the machine has.
    pub fn read_all(self) -> impl Iterator<Item = anyhow::Result<Picture>> {
        let count = self.files.len();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(count).max(1);
        let source = Arc::new(self);
        let queue = |worker: usize| -> Receiver<anyhow::Result<Picture>> {
            let (sender, receiver) = sync_channel(AHEAD);
            let source = Arc::clone(&source);
            thread::spawn(move || {
                // Nobody listens any more once the command has ended.
                (worker..count).step_by(threads).all(|index| sender.send(source.read(index)).is_ok());
            });
            receiver
        };
        let queues: Vec<_> = (0..threads).map(queue).collect();
        (0..count).map(move |index| queues[index % threads].recv().expect("a thread sends all its pictures"))
    }
}

/// The middle of a picture as a square of at most `side`: a page need not cut it, which takes browsers time.
fn square(picture: &Array, side: usize) -> Array {
    let [_, _, h, w] = picture.shape.0;
    if h == w && h <= side { picture.clone() } else { picture::fit(picture, side.min(h).min(w)) }
}

/// A picture whose longer side is at most `side`; a long one loses its ends.
fn within(picture: &Array, side: usize) -> Array {
    let [_, _, h, w] = picture.shape.0;
    if h.max(w) <= side { picture.clone() } else { picture::fit(picture, side.min(h).min(w)) }
}

/// The networks that look at pictures.
pub struct Eyes<'a> {
    pub device: &'a Device,
    pub networks: &'a [Loaded],
    /// What pixel values become; none: what each network was trained with.
    pub normalize: Option<Normalize>,
    /// Of each network, the layers whose channels are averaged.
    pub layers: &'a [Vec<String>],
    /// Pictures at once.
    pub batch: usize,
    pub check_finite: bool,
    pub ready: Option<(Shape, Vec<Forward>)>,
}

/// What a network makes of a picture.
#[derive(Clone, Default)]
pub struct Seen {
    pub logits: Vec<f32>,
    /// Means of the channels, at each layer asked for.
    pub means: Vec<Vec<f32>>,
}

impl Eyes<'_> {
    /// What each network makes of each picture; all have one size. The batch may be filled up with its first picture.
    pub fn see(&mut self, pictures: &[&Array]) -> entoptic::Result<Vec<Vec<Seen>>> {
        let [_, _, h, w] = pictures[0].shape.0;
        let fits = |(shape, _): &(Shape, _)| (shape.h(), shape.w()) == (h, w) && shape.n() >= pictures.len();
        let (shape, passes) = match self.ready.take().filter(fits) {
            Some(ready) => self.ready.insert(ready),
            None => {
                let ready = self.prepare(Shape::new(pictures.len(), 3, h, w))?;
                self.ready.insert(ready)
            }
        };
        let filled = pictures.iter().chain(std::iter::repeat(&pictures[0])).take(shape.n());
        let values: Vec<f32> = filled.flat_map(|picture| picture.values.iter().copied()).collect();
        let stored = Layout::Picture.pack(*shape, &values);
        let mut seen = vec![vec![]; pictures.len()];
        for pass in passes {
            let (logits, means) = (pass.logits(&stored)?, pass.means());
            for (n, seen) in seen.iter_mut().enumerate() {
                let means = means.iter().map(|means| means.picture(n).values).collect();
                seen.push(Seen { logits: logits.picture(n).values, means });
            }
        }
        Ok(seen)
    }

    fn prepare(&self, shape: Shape) -> entoptic::Result<(Shape, Vec<Forward>)> {
        let pass = |(Loaded { network, head, trained_with, .. }, means): (&Loaded, &Vec<String>)| {
            let normalize = self.normalize.unwrap_or(*trained_with);
            let check_finite = self.check_finite;
            let pass = Pass { head: *head, means, check_finite, ..Pass::of(network, normalize, shape) };
            Forward::prepare(self.device, &pass)
        };
        Ok((shape, self.networks.iter().zip(self.layers).map(pass).collect::<entoptic::Result<_>>()?))
    }
}
