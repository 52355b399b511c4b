//! Films: frames written as they come.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files::Draft;
use crate::picture;
use crate::tensor::{Array, Shape};
use crate::{Error, Result};

/// How long a frame stands, in hundredths of a second; the last one stands longer.
const DELAY: u16 = 8;
const LAST_DELAY: u16 = 150;

/// Endings of files that somebody may expect to be films, or to be one picture.
const OTHER_FILES: [&str; 9] = ["png", "jpg", "jpeg", "webp", "mp4", "webm", "mov", "avi", "mkv"];

/// A film in the making. Its file has a temporary name until it is finished.
pub struct Film {
    path: PathBuf,
    kind: Kind,
    shape: Option<Shape>,
    /// The frame that came last: how long it stands is known when the next one comes.
    waiting: Option<Vec<u8>>,
    frames: usize,
}

enum Kind {
    Gif(Box<Gif>),
    Apng(Box<Apng>),
    Folder,
}

impl Film {
    /// A film as a .gif or .apng file, or as numbered PNG files in a folder, which is made.
    ///
    /// # Errors
    /// [`Error::File`] when the name ends like another kind of file, or nothing can be written there; [`Error::Io`].
    pub fn create(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let kind = match ending.as_str() {
            _ if path.is_dir() => Kind::Folder,
            "gif" => Kind::Gif(Box::new(Gif { draft: Draft::new(path)?, encoder: None })),
            "apng" => Kind::Apng(Box::new(Apng { draft: Draft::new(path)?, writer: None })),
            other if OTHER_FILES.contains(&other) => {
                return Err(Error::file(path, "a film is a .gif or .apng file, or a folder for numbered PNG files"));
            }
            _ => {
                std::fs::create_dir_all(path).map_err(Error::io(path))?;
                Kind::Folder
            }
        };
        Ok(Film { path: path.to_owned(), kind, shape: None, waiting: None, frames: 0 })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a frame [1, 3, H, W].
    ///
    /// # Errors
    /// [`Error::Shape`] when it is not of the first one's size, or too large for the kind of file; [`Error::Io`].
    pub fn add(&mut self, frame: &Array) -> Result<()> {
        let shape = *self.shape.get_or_insert(frame.shape);
        if frame.shape != shape {
            return Err(Error::shape("film", "frame", shape, frame.shape));
        }
        if let Kind::Folder = self.kind {
            picture::write_png(&self.path.join(format!("{:04}.png", self.frames)), frame, &[])?;
        } else {
            self.write_waiting(DELAY)?;
            self.waiting = Some(picture::rgb(frame));
        }
        self.frames += 1;
        Ok(())
    }

    /// Ends the film and gives the file its name. Returns the number of frames; of none there is no file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<usize> {
        if self.frames > 0 {
            self.write_waiting(LAST_DELAY)?;
            match self.kind {
                Kind::Gif(gif) => gif.finish(&self.path)?,
                Kind::Apng(apng) => apng.finish(&self.path, self.frames as u32)?,
                Kind::Folder => {}
            }
        }
        Ok(self.frames)
    }

    fn write_waiting(&mut self, delay: u16) -> Result<()> {
        let (Some(pixels), Some(Shape([_, _, h, w]))) = (self.waiting.take(), self.shape) else { return Ok(()) };
        match &mut self.kind {
            Kind::Gif(gif) => gif.add(&self.path, (w, h), &pixels, delay),
            Kind::Apng(apng) => apng.add(&self.path, (w, h), &pixels, delay),
            Kind::Folder => Ok(()),
        }
    }
}

/// Frames of 256 colours each, over and over.
struct Gif {
    draft: Draft,
    encoder: Option<gif::Encoder<BufWriter<File>>>,
}

impl Gif {
    fn add(&mut self, path: &Path, (w, h): (usize, usize), pixels: &[u8], delay: u16) -> Result<()> {
        let side = |side| u16::try_from(side).map_err(|_| Error::shape("gif", "side", "below 65536", side));
        let (w, h) = (side(w)?, side(h)?);
        if self.encoder.is_none() {
            let mut encoder = gif::Encoder::new(self.draft.writer()?, w, h, &[]).map_err(fault(path))?;
            encoder.set_repeat(gif::Repeat::Infinite).map_err(fault(path))?;
            self.encoder = Some(encoder);
        }
        let mut frame = gif::Frame::from_rgb_speed(w, h, pixels, 10);
        frame.delay = delay;
        let encoder = self.encoder.as_mut().expect("it was made above");
        encoder.write_frame(&frame).map_err(fault(path))
    }

    fn finish(self, path: &Path) -> Result<()> {
        if let Some(encoder) = self.encoder {
            encoder.into_inner().map_err(fault(path))?.flush().map_err(Error::io(path))?;
        }
        self.draft.publish()
    }
}

/// Whole frames in all colours, over and over.
struct Apng {
    draft: Draft,
    writer: Option<png::Writer<BufWriter<File>>>,
}

impl Apng {
    fn add(&mut self, path: &Path, (w, h): (usize, usize), pixels: &[u8], delay: u16) -> Result<()> {
        if self.writer.is_none() {
            let mut encoder = png::Encoder::new(self.draft.writer()?, w as u32, h as u32);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            // How many there will be is not known yet.
            encoder.set_animated(i32::MAX as u32, 0).map_err(fault(path))?;
            self.writer = Some(encoder.write_header().map_err(fault(path))?);
        }
        let writer = self.writer.as_mut().expect("it was made above");
        writer.set_frame_delay(delay, 100).map_err(fault(path))?;
        writer.write_image_data(pixels).map_err(fault(path))
    }

    fn finish(self, path: &Path, frames: u32) -> Result<()> {
        if let Some(writer) = self.writer {
            writer.finish().map_err(fault(path))?;
        }
        let mut file = self.draft.writer()?;
        count_frames(&mut file, frames).and_then(|()| file.flush()).map_err(Error::io(path))?;
        self.draft.publish()
    }
}

/// Where the chunk acTL begins: after the signature and the chunk IHDR. Its length comes first, then its name.
const ACTL: u64 = 8 + 25;

/// Writes the number of frames into the chunk acTL: frames, then plays, then the checksum of name and both.
fn count_frames(file: &mut (impl Write + Seek), frames: u32) -> std::io::Result<()> {
    let mut chunk = *b"acTL\0\0\0\0\0\0\0\0";
    chunk[4..8].copy_from_slice(&frames.to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(&chunk);
    file.seek(SeekFrom::Start(ACTL + 4))?;
    file.write_all(&chunk)?;
    file.write_all(&sum.sum().to_be_bytes())
}

fn fault<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error {
    move |error| Error::file(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::AnimationDecoder;
    use image::codecs::png::PngDecoder;

    /// A frame of a grey that an encoder of 256 colours keeps.
    fn frame(grey: u8) -> Array {
        Array::filled(Shape::new(1, 3, 4, 6), f32::from(grey) / 255.0)
    }

    /// Of each frame its first value, and how long it stands, in milliseconds.
    fn shown(frames: image::Frames) -> Vec<(u8, u32)> {
        let shown = |frame: image::Frame| {
            let (milliseconds, per) = frame.delay().numer_denom_ms();
            (frame.buffer().get_pixel(0, 0).0[0], milliseconds / per)
        };
        frames.map(|frame| shown(frame.expect("a frame"))).collect()
    }

    fn made(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        let mut film = Film::create(&path).expect("a film");
        for grey in [10, 120, 250] {
            film.add(&frame(grey)).expect("room");
            assert!(film.path().is_dir() || !path.exists(), "not before it is finished");
        }
        assert_eq!(film.finish().expect("a file"), 3);
        (folder, path)
    }

    #[test]
    fn animated_png_holds_all_frames_and_their_number() {
        let (_folder, path) = made("film.APNG");
        let bytes = std::fs::read(&path).expect("a film");
        let reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().expect("a PNG");
        assert_eq!(reader.info().animation_control().expect("animated").num_frames, 3);
        let decoder = PngDecoder::new(std::io::Cursor::new(&bytes)).expect("a PNG").apng().expect("animated");
        assert_eq!(shown(decoder.into_frames()), [(10, 80), (120, 80), (250, 1500)]);
    }

    #[test]
    fn gifs_hold_all_frames_and_go_on_for_ever() {
        let (_folder, path) = made("film.gif");
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(File::open(&path).expect("a film")).expect("a GIF");
        let mut shown = vec![];
        while let Some(frame) = decoder.read_next_frame().expect("a frame") {
            shown.push((frame.buffer[0], frame.delay));
        }
        assert_eq!(shown, [(10, 8), (120, 8), (250, 150)]);
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
    }

    #[test]
    fn folders_hold_numbered_pictures() {
        let (_folder, path) = made("frames.of.a.film");
        let pictures =
            ["0000.png", "0001.png", "0002.png"].map(|name| picture::read(&path.join(name)).expect("a frame"));
        assert!(pictures == [10, 120, 250].map(frame));
    }

    #[test]
    fn what_is_no_film_is_refused_and_unfinished_ones_go_away() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        for name in ["film.mp4", "film.PNG"] {
            let error = Film::create(&file(name)).err().expect("refused").to_string();
            assert!(error.ends_with("a film is a .gif or .apng file, or a folder for numbered PNG files"), "{error}");
        }
        let mut film = Film::create(&file("film.gif")).expect("a film");
        film.add(&frame(1)).expect("room");
        film.add(&frame(2)).expect("room");
        let wide = Array::filled(Shape::new(1, 3, 4, 8), 0.0);
        assert!(matches!(film.add(&wide), Err(Error::Shape { .. })));
        drop(film);
        assert_eq!(Film::create(&file("film.apng")).expect("a film").finish().expect("nothing to write"), 0);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
