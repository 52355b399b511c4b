//! Frames of a run: a GIF, or numbered PNG files in a folder.

use super::print_path;
use std::path::{Path, PathBuf};

use anyhow::Context;
use entoptic::tensor::Array;
use entoptic::{files, picture};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

/// A film in the making.
pub struct Film<'a> {
    paths: &'a [PathBuf],
    frames: Vec<Array>,
}

/// How long a frame stands; the last one stands longer.
const FRAME_MS: u32 = 80;
const LAST_MS: u32 = 1500;

impl<'a> Film<'a> {
    /// A film at each path: a file that ends in .gif, or a folder.
    pub fn new(paths: &'a [PathBuf]) -> anyhow::Result<Self> {
        for path in paths {
            if is_gif(path) {
                picture::check_writable(path)?;
            } else {
                std::fs::create_dir_all(path).with_context(|| format!("making folder {}", path.display()))?;
            }
        }
        Ok(Film { paths, frames: Vec::new() })
    }

    /// Whether anybody wants frames.
    pub fn wanted(&self) -> bool {
        !self.paths.is_empty()
    }

    pub fn add(&mut self, frame: &Array) {
        self.frames.push(frame.clone());
    }

    /// Writes the film, all frames at the size of the last.
    pub fn write(mut self) -> anyhow::Result<()> {
        let Some(side) = self.frames.last().map(|frame| frame.shape.h()) else { return Ok(()) };
        for frame in self.frames.iter_mut().filter(|frame| frame.shape.h() != side) {
            *frame = picture::fit(frame, side);
        }
        for path in self.paths {
            if is_gif(path) {
                write_gif(path, &self.frames)?;
            } else {
                for (index, frame) in self.frames.iter().enumerate() {
                    picture::write_png(&path.join(format!("{index:04}.png")), frame, &[])?;
                }
            }
            print_path(path)?;
        }
        Ok(())
    }
}

fn write_gif(path: &Path, frames: &[Array]) -> anyhow::Result<()> {
    let film = |out: &mut dyn std::io::Write| -> image::ImageResult<()> {
        let mut encoder = GifEncoder::new_with_speed(out, 10);
        encoder.set_repeat(Repeat::Infinite)?;
        for (index, frame) in frames.iter().enumerate() {
            let ms = if index + 1 == frames.len() { LAST_MS } else { FRAME_MS };
            let delay = Delay::from_numer_denom_ms(ms, 1);
            encoder.encode_frame(Frame::from_parts(rgba(frame), 0, 0, delay))?;
        }
        Ok(())
    };
    files::replace(path, |out| {
        film(out).map_err(|error| match error {
            image::ImageError::IoError(error) => error,
            other => std::io::Error::other(other),
        })
    })?;
    Ok(())
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
