//! Frames of a run: a GIF, or numbered PNG files in a folder.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context;
use entoptic::picture;
use entoptic::tensor::Array;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

/// A film in the making.
pub struct Film {
    path: PathBuf,
    frames: Vec<Array>,
}

/// How long a frame stands; the last one stands longer.
const FRAME_MS: u32 = 80;
const LAST_MS: u32 = 1500;

impl Film {
    /// A film at a path: a file that ends in .gif, or a folder.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        if is_gif(path) {
            picture::check_writable(path)?;
        } else {
            std::fs::create_dir_all(path).with_context(|| format!("making folder {}", path.display()))?;
        }
        Ok(Film { path: path.to_owned(), frames: Vec::new() })
    }

    pub fn add(&mut self, frame: &Array) {
        self.frames.push(frame.clone());
    }

    /// Writes the film, all frames at the size of the last.
    pub fn write(self) -> anyhow::Result<()> {
        let Some(side) = self.frames.last().map(|frame| frame.shape.h()) else { return Ok(()) };
        let frames = self
            .frames
            .iter()
            .map(|frame| if frame.shape.h() == side { frame.clone() } else { picture::fit(frame, side) });
        if is_gif(&self.path) {
            let file = File::create(&self.path).with_context(|| format!("writing {}", self.path.display()))?;
            let mut encoder = GifEncoder::new_with_speed(BufWriter::new(file), 10);
            encoder.set_repeat(Repeat::Infinite)?;
            let count = self.frames.len();
            for (index, frame) in frames.enumerate() {
                let ms = if index + 1 == count { LAST_MS } else { FRAME_MS };
                let delay = Delay::from_numer_denom_ms(ms, 1);
                encoder.encode_frame(Frame::from_parts(rgba(&frame), 0, 0, delay))?;
            }
        } else {
            for (index, frame) in frames.enumerate() {
                picture::write_png(&self.path.join(format!("{index:04}.png")), &frame, &[])?;
            }
        }
        println!("{}", self.path.display());
        Ok(())
    }
}

fn is_gif(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif"))
}

fn rgba(frame: &Array) -> RgbaImage {
    let [_, _, h, w] = frame.shape.0;
    RgbaImage::from_fn(w as u32, h as u32, |x, y| {
        let at = y as usize * w + x as usize;
        let value = |c: usize| (frame.values[c * h * w + at].clamp(0.0, 1.0) * 255.0).round() as u8;
        image::Rgba([value(0), value(1), value(2), 255])
    })
}
