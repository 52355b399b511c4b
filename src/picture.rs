//! Picture files to arrays and back, with words about the picture inside the file. No networks, no GPU.
//!
//! A little long: what is read must be what was written, so both stand together with the tests that go round.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Rgb,
};
use png::text_metadata::ITXtChunk;

pub use crate::files::check_writable;
use crate::tensor::{Array, Shape};
use crate::weights::Checkpoint;
use crate::{Error, Result, files};

/// Longest side of a picture, in pixels.
pub const MAX_SIDE: usize = 8192;

/// Most pixels of a picture, or of all pictures of a batch together.
pub const MAX_PIXELS: usize = 64_000_000;

/// Bytes that a decoder may claim: the largest picture with four 16-bit channels, and as much again.
const MAX_DECODER_BYTES: u64 = 2 * 8 * MAX_PIXELS as u64;

/// Bytes of one compressed text in a picture once unpacked.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Reads a picture.
///
/// PNG, JPEG, WebP, GIF, TIFF and BMP, told by their first bytes: 8 or 16 bit, grey becomes RGB, transparency goes over white, a
/// camera's orientation is applied; of several pictures in one file the first. A `.safetensors` file gives its tensor `image` as
/// it is, several pictures and any finite values included; bytes are divided by 255.
///
/// **Shapes** [1, 3, H, W]; [N, 3, H, W] from `.safetensors`.
///
/// **Units and ranges** 0 to 1, but for floating-point numbers in `.safetensors` and TIFF.
///
/// # Errors
/// [`Error::File`] when the file is none of these, damaged, or larger than [`MAX_SIDE`] or [`MAX_PIXELS`], checked
/// before anything is decoded; [`Error::Io`] when it cannot be read.
pub fn read(path: &Path) -> Result<Array> {
    if is_tensor(path) { read_tensor(path, true) } else { decode(path) }
}

/// Reads what a network is to be given, which may have any number of channels in a `.safetensors` file; the rest as [`read`].
///
/// **Shapes** [1, 3, H, W]; [N, C, H, W] from `.safetensors`.
///
/// # Errors
/// As [`read`].
pub fn read_values(path: &Path) -> Result<Array> {
    if is_tensor(path) { read_tensor(path, false) } else { decode(path) }
}

fn is_tensor(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors")
}

fn read_tensor(path: &Path, colours: bool) -> Result<Array> {
    const NAME: &str = "image";
    /// More channels than anything has that is looked at as a picture.
    const MOST: usize = 1 << 12;
    let file = Checkpoint::open(path)?;
    let sizes = file.shape(NAME).ok_or_else(|| Error::file(path, format!("has no tensor \"{NAME}\"")))?;
    let (n, c, h, w) = match *sizes {
        [n, c, h, w] if c == 3 || !colours && (1..=MOST).contains(&c) => (n, c, h, w),
        _ => {
            let expected = if colours { "[N, 3, H, W]" } else { "[N, C, H, W]" };
            return Err(Error::file(path, format!("tensor \"{NAME}\" is {sizes:?}, expected {expected}")));
        }
    };
    check_size(path, n.saturating_mul(c.div_ceil(3)), w, h)?;
    let mut values = file.read_unchecked(NAME)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let (picture, channel, row, column) = (at / (c * h * w), at / (h * w) % c, at / w % h, at % w);
        return Err(Error::file(
            path,
            format!(
                "picture {picture} holds {} in channel {channel}, row {row}, column {column}; every pixel must be a finite number",
                values[at]
            ),
        ));
    }
    if file.dtype(NAME) == Some("U8") {
        values.iter_mut().for_each(|value| *value /= 255.0);
    }
    Ok(Array::new(Shape::new(n, c, h, w), values))
}

/// What [`read`] can decode.
const READ: [ImageFormat; 6] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Bmp];

/// The same for people.
const KINDS: &str = "PNG, JPEG, WebP, GIF, TIFF, BMP";

/// How the names of such files end.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "tif", "tiff", "bmp"];

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Pictures that can be read, told by the endings of their names; sorted.
    pub pictures: Vec<PathBuf>,
    /// Folders, sorted.
    pub folders: Vec<PathBuf>,
    /// How many files are of other kinds, or hidden, with hidden folders and those that a Mac puts into archives (`__MACOSX`).
    pub skipped: usize,
}

/// Lists a folder.
///
/// # Errors
/// [`Error::Io`].
pub fn list(folder: &Path) -> Result<Listing> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.map_err(Error::io(folder))?;
    paths.sort();
    let mut listing = Listing::default();
    for path in paths {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        if name.starts_with(b".") || name == b"__MACOSX" {
            listing.skipped += 1;
        } else if path.is_dir() {
            listing.folders.push(path);
        } else if ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            listing.pictures.push(path);
        } else {
            listing.skipped += 1;
        }
    }
    Ok(listing)
}

/// What is wrong with a file that begins so, where it is no picture or one of a kind that is known and not read.
fn unreadable(beginning: &[u8]) -> Option<String> {
    let not_read = |what: &str| Some(format!("is {what}, which is not read; convert it to PNG or JPEG"));
    let brands = beginning.get(8..).filter(|_| beginning.get(4..8) == Some(b"ftyp")).unwrap_or_default();
    // The brand, a version, and the other brands that the file fits.
    let length = beginning.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let brands = &brands[..brands.len().min(length.saturating_sub(8))];
    let is = |known: &[&[u8; 4]]| brands.chunks_exact(4).any(|brand| known.iter().any(|known| brand == *known));
    if is(&[b"avif", b"avis"]) {
        return not_read("an AVIF picture");
    }
    if is(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        return not_read("a HEIC photograph, as telephones take them");
    }
    if beginning.starts_with(b"\xff\x0a") || beginning.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") {
        return not_read("a JPEG XL picture");
    }
    if beginning.starts_with(b"\xff\x4f\xff\x51") || beginning.starts_with(b"\0\0\0\x0cjP  \r\n\x87\n") {
        return not_read("a JPEG 2000 picture");
    }
    if beginning.starts_with(b"\x89PNG\r\n\x1a\n") && beginning.get(12..16) == Some(b"CgBI") {
        return not_read("a PNG from the inside of an iPhone app");
    }
    if beginning.starts_with(b"%PDF") {
        return not_read("a PDF document");
    }
    let text = beginning.trim_ascii_start();
    if text.starts_with(b"<") && beginning.windows(4).take(1024).any(|word| word == b"<svg") {
        return not_read("an SVG drawing");
    }
    files::mistaken(beginning).map(str::to_owned)
}

fn decode(path: &Path) -> Result<Array> {
    let mut file = open(path)?;
    let beginning = file.fill_buf().map_err(Error::io(path))?;
    if let Some(reason) = unreadable(beginning) {
        return Err(Error::file(path, reason));
    }
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(Error::io(path))?;
    match reader.format() {
        Some(format) if READ.contains(&format) => {}
        Some(other) => return Err(Error::file(path, format!("is {other:?}, which is not read; convert it to PNG"))),
        None => return Err(Error::file(path, format!("is not a picture; give a {KINDS} or .safetensors file"))),
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(&std::fs::read(path).map_err(Error::io(path))?) {
        return Err(Error::file(path, "file is truncated; copy or download it again"));
    }
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let fail = |error| damaged(path, error);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (w, h) = decoder.dimensions();
    check_size(path, 1, w as usize, h as usize)?;
    let orientation = decoder.orientation().map_err(fail)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    image.apply_orientation(orientation);
    Ok(planes_of(&image))
}

/// Whether a JPEG file has its end marker. The decoder would fill what is missing with grey and say nothing.
fn has_end(jpeg: &[u8]) -> bool {
    let mut at = 2; // after the start marker
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        match marker {
            // Pixels begin, where a byte 0xff never stands before 0xd9 but in the marker.
            0xda => return jpeg[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            0xff => at += 1, // filling
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    true // no pixels at all, which the decoder reports
}

fn open(path: &Path) -> Result<BufReader<File>> {
    // A folder opens on some systems and fails only when read, a pipe may never open.
    if path.exists() && !path.is_file() {
        return Err(Error::file(path, "is a folder or a device; name a picture"));
    }
    File::open(path).map(BufReader::new).map_err(Error::io(path))
}

fn damaged(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => Error::io(path)(source),
        other => Error::file(path, format!("cannot be decoded: {other}")),
    }
}

fn check_size(path: &Path, n: usize, w: usize, h: usize) -> Result<()> {
    let pixels = n.saturating_mul(w).saturating_mul(h);
    if w > MAX_SIDE || h > MAX_SIDE || pixels > MAX_PIXELS {
        let count = if n == 1 { String::new() } else { format!("{n} times ") };
        let limit = format!("at most {MAX_SIDE} a side and {} million in all", MAX_PIXELS / 1_000_000);
        return Err(Error::file(
            path,
            format!("picture is {count}{w} x {h} pixels, {limit} are read; shrink it first"),
        ));
    }
    if pixels == 0 {
        return Err(Error::file(path, "picture has no pixels"));
    }
    Ok(())
}

fn planes_of(image: &DynamicImage) -> Array {
    let size = (image.height() as usize, image.width() as usize);
    match image {
        DynamicImage::ImageLuma8(grey) => planes(size, 1, 255.0, grey.as_raw()),
        DynamicImage::ImageLumaA8(grey) => planes(size, 2, 255.0, grey.as_raw()),
        DynamicImage::ImageRgb8(rgb) => planes(size, 3, 255.0, rgb.as_raw()),
        DynamicImage::ImageRgba8(rgb) => planes(size, 4, 255.0, rgb.as_raw()),
        DynamicImage::ImageLuma16(grey) => planes(size, 1, 65535.0, grey.as_raw()),
        DynamicImage::ImageLumaA16(grey) => planes(size, 2, 65535.0, grey.as_raw()),
        DynamicImage::ImageRgb16(rgb) => planes(size, 3, 65535.0, rgb.as_raw()),
        DynamicImage::ImageRgba16(rgb) => planes(size, 4, 65535.0, rgb.as_raw()),
        other => planes(size, 4, 1.0, other.to_rgba32f().as_raw()),
    }
}

/// Interleaved samples of 1 to 4 channels, the even ones with alpha last, to three planes of 0 to 1.
fn planes<T: Copy + Into<f32>>((h, w): (usize, usize), channels: usize, full: f32, samples: &[T]) -> Array {
    let mut array = Array::filled(Shape::new(1, 3, h, w), 0.0);
    let opaque = |pixel: &[T]| if channels.is_multiple_of(2) { pixel[channels - 1].into() / full } else { 1.0 };
    for (at, pixel) in samples.chunks_exact(channels).enumerate() {
        let alpha = opaque(pixel);
        for c in 0..3 {
            let sample: f32 = pixel[if channels < 3 { 0 } else { c }].into();
            array.values[c * h * w + at] = sample / full * alpha + (1.0 - alpha);
        }
    }
    array
}

/// The centre of a picture as a square of `side` pixels: the shorter side is scaled to it (triangle filter), the rest of the
/// longer one is cut off.
///
/// **Shapes** [N, 3, H, W] -> [N, 3, side, side].
pub fn fit(picture: &Array, side: usize) -> Array {
    let scaled = scale(picture, side);
    let [n, c, h, w] = scaled.shape.0;
    let (left, top) = ((w - side) / 2, (h - side) / 2);
    let rows = scaled.values.chunks_exact(w).enumerate().filter(|(row, _)| (top..top + side).contains(&(row % h)));
    let values = rows.flat_map(|(_, row)| &row[left..left + side]).copied().collect();
    Array::new(Shape::new(n, c, side, side), values)
}

/// A picture whose shorter side has `side` pixels, in its own shape (triangle filter).
///
/// **Shapes** [N, 3, H, W] -> [N, 3, side, W·side/H], or the same the other way round.
pub fn scale(picture: &Array, side: usize) -> Array {
    let [_, _, h, w] = picture.shape.0;
    let scale = side as f64 / h.min(w) as f64;
    resize(picture, [h, w].map(|size| ((size as f64 * scale).round() as usize).max(side)))
}

/// A picture in another height and width (triangle filter).
///
/// **Shapes** [N, C, H, W] -> [N, C, height, width].
pub fn resize(picture: &Array, [height, width]: [usize; 2]) -> Array {
    let [n, c, h, w] = picture.shape.0;
    let mut values = Vec::with_capacity(n * c * height * width);
    for index in 0..n {
        let planes = picture.picture(index).values;
        // Three at a time, as many as a pixel has that the filter knows; the last may come again and are left out.
        for first in (0..c).step_by(3) {
            let plane = |k: usize| (first + k).min(c - 1) * h * w;
            let pixel = |x: u32, y: u32| {
                let at = y as usize * w + x as usize;
                Rgb([planes[plane(0) + at], planes[plane(1) + at], planes[plane(2) + at]])
            };
            let full = ImageBuffer::from_fn(w as u32, h as u32, pixel);
            let resized = imageops::resize(&full, width as u32, height as u32, FilterType::Triangle);
            for channel in 0..3.min(c - first) {
                values.extend(resized.pixels().map(|pixel| pixel.0[channel]));
            }
        }
    }
    Array::new(Shape::new(n, c, height, width), values)
}

/// Parts of red, green and blue in the luma of a picture.
///
/// **Reference** ITU-R BT.601 in the sixteen binary places of Pillow's `convert("L")`, which rounds to 256 levels in the end.
pub(crate) const LUMA: [f32; 3] = [19595.0 / 65536.0, 38470.0 / 65536.0, 7471.0 / 65536.0];

/// Pictures whose three colours are their luma. Those that are grey already stay as they are, to the bit.
///
/// **Shapes** [N, 3, H, W] -> the same.
pub fn grey(pictures: &Array) -> Array {
    let plane = pictures.shape.pixels() / pictures.shape.n().max(1);
    let mut values = pictures.values.clone();
    for picture in values.chunks_exact_mut(3 * plane) {
        for at in 0..plane {
            let [r, g, b] = [0, 1, 2].map(|colour| picture[colour * plane + at]);
            let luma = if r == g && g == b { r } else { r * LUMA[0] + g * LUMA[1] + b * LUMA[2] };
            (0..3).for_each(|colour| picture[colour * plane + at] = luma);
        }
    }
    Array::new(pictures.shape, values)
}

/// Pictures whose three colours are the first of them: grey noise, which is as strong as each of three was.
///
/// **Shapes** [N, 3, H, W] -> the same.
pub fn of_first_colour(pictures: &Array) -> Array {
    let plane = pictures.shape.pixels() / pictures.shape.n().max(1);
    let values = pictures.values.chunks_exact(3 * plane).flat_map(|picture| picture[..plane].repeat(3)).collect();
    Array::new(pictures.shape, values)
}

/// Writes a picture as PNG with words about it. The file appears whole or not at all.
///
/// # Errors
/// As [`encode_png`]; [`Error::File`] and [`Error::Io`] when the path cannot be written.
pub fn write_png(path: &Path, picture: &Array, metadata: &[(String, String)]) -> Result<()> {
    let bytes = encode_png(picture, metadata)?;
    files::replace(path, |file| file.write_all(&bytes))
}

/// A picture as the bytes of a PNG file, 8-bit RGB, with words about it as text chunks. The same picture and words give
/// the same bytes.
///
/// **Shapes** [1, 3, H, W].
///
/// **Units and ranges** 0 to 1; other values are clamped, the rest rounded to the nearest of 256.
///
/// # Errors
/// [`Error::Shape`] when it is not one picture of three channels; [`Error::NotFinite`]; [`Error::Metadata`] when a key
/// is not 1 to 79 characters of Latin-1 or a text holds a zero byte.
pub fn encode_png(picture: &Array, metadata: &[(String, String)]) -> Result<Vec<u8>> {
    let Shape([n, c, h, w]) = picture.shape;
    if (n, c) != (1, 3) || h == 0 || w == 0 {
        return Err(Error::shape("png", "picture", "[1, 3, H, W]", picture.shape));
    }
    if !picture.values.iter().all(|value| value.is_finite()) {
        return Err(Error::NotFinite { layer: "picture".into(), step: None });
    }
    let mut bytes = Vec::new();
    let size = |side: usize| u32::try_from(side).map_err(|_| Error::shape("png", "side", "below 2^32", side));
    let mut encoder = png::Encoder::new(&mut bytes, size(w)?, size(h)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (key, text) in metadata {
        check_metadata(key, text)?;
        // ASCII reads the same in the older kind of chunk, which more programs show.
        let (key, text) = (key.clone(), text.clone());
        if text.is_ascii() { encoder.add_text_chunk(key, text) } else { encoder.add_itxt_chunk(key, text) }
            .expect("adding a chunk does not check it");
    }
    let mut rows = encoder.write_header().expect("size and texts were checked, memory does not fail");
    rows.write_image_data(&rgb(picture)).expect("three bytes for each pixel");
    rows.finish().expect("memory does not fail");
    Ok(bytes)
}

/// A picture as the bytes of a JPEG file, for pages; `quality` goes from 1 to 100.
///
/// **Shapes** [1, 3, H, W].
///
/// # Errors
/// [`Error::Shape`] when it is not one picture of three channels, or too large for the format.
pub fn encode_jpeg(picture: &Array, quality: u8) -> Result<Vec<u8>> {
    let Shape([n, c, h, w]) = picture.shape;
    let sizes = u16::try_from(h).ok().zip(u16::try_from(w).ok()).filter(|&(h, w)| (n, c) == (1, 3) && h > 0 && w > 0);
    let Some((h, w)) = sizes else { return Err(Error::shape("jpeg", "picture", "[1, 3, H, W]", picture.shape)) };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    let written = encoder.write_image(&rgb(picture), w.into(), h.into(), ExtendedColorType::Rgb8);
    written.expect("sizes were checked, memory does not fail");
    Ok(bytes)
}

/// The pixels of a picture as its PNG file holds them: red, green and blue of the first, then of its right neighbour.
///
/// **Shapes** [1, 3, H, W].
///
/// **Units and ranges** As [`encode_png`].
pub fn rgb(picture: &Array) -> Vec<u8> {
    let pixels = picture.shape.pixels();
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    (0..pixels).flat_map(|at| [0, 1, 2].map(|c| byte(picture.values[c * pixels + at]))).collect()
}

fn check_metadata(key: &str, text: &str) -> Result<()> {
    let fail = |reason: &str| Err(Error::Metadata { key: key.into(), reason: reason.into() });
    let printable = |c: char| matches!(c, ' '..='~' | '\u{a1}'..='\u{ff}');
    if !(1..=79).contains(&key.chars().count()) || !key.chars().all(printable) || key.trim() != key {
        return fail("a key has 1 to 79 characters of Latin-1 and no space at its ends");
    }
    if text.contains('\0') {
        return fail("the text holds a zero byte");
    }
    Ok(())
}

/// The words inside a picture file: text chunks of a PNG, metadata of a `.safetensors` file, none for others. Of two
/// texts with one key the later counts.
///
/// # Errors
/// [`Error::File`] when the file is damaged, [`Error::Io`] when it cannot be read.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return Ok(Checkpoint::open(path)?.metadata().clone());
    }
    let mut file = open(path)?;
    if !file.fill_buf().map_err(Error::io(path))?.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(BTreeMap::new());
    }
    texts(file).map_err(|error| match error {
        png::DecodingError::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io(path)(source)
        }
        other => Error::file(path, format!("cannot be decoded: {other}")),
    })
}

/// All texts of a PNG, before and after its pixels.
fn texts(file: impl BufRead + Seek) -> Result<BTreeMap<String, String>, png::DecodingError> {
    let mut reader = png::Decoder::new(file).read_info()?;
    reader.finish()?;
    let info = reader.info();
    let mut texts = BTreeMap::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.insert(chunk.keyword.clone(), chunk.text.clone());
    }
    for chunk in &info.compressed_latin1_text {
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(MAX_TEXT_BYTES)?;
        texts.insert(chunk.keyword.clone(), chunk.get_text()?);
    }
    for chunk in &info.utf8_text {
        let mut chunk: ITXtChunk = chunk.clone();
        chunk.decompress_text_with_limit(MAX_TEXT_BYTES)?;
        texts.insert(chunk.keyword.clone(), chunk.get_text()?);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{NamedArray, Precision, write};
    use tempfile::TempDir;

    /// A folder that goes away with the test, and a path in it.
    fn file(name: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        (folder, path)
    }

    fn png_of(color: ExtendedColorType, (w, h): (u32, u32), samples: &[u8]) -> Result<Array> {
        let (_folder, path) = file("a.png");
        let out = File::create(&path).expect("new file");
        image::codecs::png::PngEncoder::new(out).write_image(samples, w, h, color).expect("written");
        read(&path)
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.expect_err("refused").to_string()
    }

    /// The bytes of a PNG that claims a size and has no pixels to speak of.
    fn claims(w: u32, h: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, w, h);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("header");
        writer.write_chunk(png::chunk::IDAT, &[0]).expect("a first piece of pixels");
        drop(writer); // writes the end
        bytes
    }

    #[test]
    fn jpegs_are_read_as_they_were_written() {
        let (_folder, path) = file("a.jpg");
        let shades = (0..3 * 24 * 16).map(|at| (at % 16) as f32 / 20.0).collect();
        let picture = Array::new(Shape::new(1, 3, 24, 16), shades);
        std::fs::write(&path, encode_jpeg(&picture, 95).expect("a picture")).expect("written");
        let found = read(&path).expect("a JPEG");
        assert_eq!(found.shape, picture.shape);
        let furthest = found.values.iter().zip(&picture.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 0.03, "{furthest}");
        let refused = [Shape::new(1, 1, 8, 8), Shape::new(2, 3, 8, 8), Shape::new(1, 3, 1, 70000)];
        for shape in refused {
            assert!(message(encode_jpeg(&Array::filled(shape, 0.0), 80)).contains("[1, 3, H, W]"), "{shape}");
        }
    }

    #[test]
    fn channels_become_planes() {
        let rgb = png_of(ExtendedColorType::Rgb8, (2, 1), &[0, 51, 255, 102, 153, 204]).expect("rgb");
        assert_eq!(rgb, Array::new(Shape::new(1, 3, 1, 2), vec![0.0, 0.4, 0.2, 0.6, 1.0, 0.8]));
        let grey = png_of(ExtendedColorType::L8, (1, 2), &[77, 0]).expect("grey");
        assert_eq!(grey.shape, Shape::new(1, 3, 2, 1));
        assert_eq!(grey.values, [77.0 / 255.0, 0.0].repeat(3));
    }

    #[test]
    fn sixteen_bits_keep_their_precision() {
        let sample = 12345u16.to_ne_bytes();
        let grey = png_of(ExtendedColorType::L16, (1, 1), &sample).expect("grey");
        assert_eq!(grey.values, [12345.0 / 65535.0; 3]);
    }

    #[test]
    fn transparency_goes_over_white() {
        let rgba = png_of(ExtendedColorType::Rgba8, (2, 1), &[0, 0, 0, 0, 255, 51, 0, 255]).expect("rgba");
        assert_eq!(rgba.values, [1.0, 1.0, 1.0, 0.2, 1.0, 0.0]);
        let grey = png_of(ExtendedColorType::La8, (1, 1), &[0, 51]).expect("grey with alpha");
        assert_eq!(grey.values, [0.8; 3]);
    }

    #[test]
    fn photographs_are_read_and_turned_upright() {
        let (_folder, path) = file("a.jpg");
        // Left half black, right half white; the camera says "turn a quarter to the right".
        let samples: Vec<u8> = (0..16 * 32).map(|at| if at % 32 < 16 { 0 } else { 255 }).collect();
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100)
            .write_image(&samples, 32, 16, ExtendedColorType::L8)
            .expect("written");
        std::fs::write(&path, &jpeg).expect("write");
        let lying = read(&path).expect("jpeg");
        assert_eq!(lying.shape, Shape::new(1, 3, 16, 32));
        assert!(lying.values[0] < 0.05 && lying.values[31] > 0.95);

        std::fs::write(&path, &jpeg[..jpeg.len() - 20]).expect("write");
        assert!(message(read(&path)).ends_with("file is truncated; copy or download it again"));

        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2][..], exif].concat();
        std::fs::write(&path, [&jpeg[..2], &segment, &jpeg[2..]].concat()).expect("write");
        let upright = read(&path).expect("jpeg");
        assert_eq!(upright.shape, Shape::new(1, 3, 32, 16));
        assert!(upright.values[0] < 0.05 && upright.values[31 * 16] > 0.95);
    }

    #[test]
    fn what_is_written_comes_back_rounded_and_clamped() {
        let (_folder, path) = file("a.png");
        let picture = Array::new(Shape::new(1, 3, 1, 2), vec![-0.5, 0.2, 0.6, 1.5, 0.5, 0.999]);
        write_png(&path, &picture, &[]).expect("written");
        let back = read(&path).expect("read");
        assert_eq!(back.values, [0.0, 0.2, 0.6, 1.0, 128.0 / 255.0, 1.0]);
        assert_eq!(encode_png(&picture, &[]).expect("bytes"), std::fs::read(&path).expect("bytes"));
    }

    #[test]
    fn words_come_back_whatever_their_alphabet() {
        let (_folder, path) = file("a.png");
        let picture = Array::filled(Shape::new(1, 3, 1, 1), 0.5);
        let words = [("entoptic:recipe", "lr = 1.5\nsteps = 220"), ("class", "金魚 – goldfish"), ("empty", "")];
        let words = words.map(|(key, text)| (key.to_owned(), text.to_owned()));
        write_png(&path, &picture, &words).expect("written");
        assert_eq!(read_metadata(&path).expect("words"), BTreeMap::from(words));
    }

    #[test]
    fn words_that_png_cannot_carry_are_refused() {
        let picture = Array::filled(Shape::new(1, 3, 1, 1), 0.5);
        let encode = |key: &str, text: &str| message(encode_png(&picture, &[(key.into(), text.into())]));
        for key in ["", " a", "a ", "金", "a\nb", &"k".repeat(80)] {
            assert!(encode(key, "text").contains("a key has 1 to 79 characters of Latin-1"), "{key}");
        }
        assert_eq!(encode("key", "a\0b"), "picture metadata \"key\": the text holds a zero byte");
    }

    #[test]
    fn arrays_that_are_no_picture_are_refused() {
        let encode = |picture: &Array| message(encode_png(picture, &[]));
        let batch = Array::filled(Shape::new(2, 3, 1, 1), 0.0);
        assert_eq!(encode(&batch), "png: picture is [2, 3, 1, 1], expected [1, 3, H, W]");
        let empty = Array::filled(Shape::new(1, 3, 0, 1), 0.0);
        assert!(encode(&empty).contains("expected [1, 3, H, W]"));
        let nan = Array::filled(Shape::new(1, 3, 1, 1), f32::NAN);
        assert!(encode(&nan).contains("not finite"));
    }

    #[test]
    fn large_pictures_are_refused_before_decoding() {
        let (_folder, path) = file("a.png");
        let refused = |w, h| {
            std::fs::write(&path, claims(w, h)).expect("write");
            message(read(&path))
        };
        assert!(refused(8193, 1).ends_with(
            "picture is 8193 x 1 pixels, at most 8192 a side and 64 million in all are read; shrink it first"
        ));
        assert!(refused(1, 100_000).contains("shrink it first"));
        assert!(refused(8192, 8192).contains("shrink it first"));
        assert!(refused(100, 100).contains("cannot be decoded"));
    }

    /// Without loss where the format has none.
    #[test]
    fn other_formats_are_read_as_png_is() {
        let (_folder, path) = file("a");
        let shades: Vec<u8> = (0..3 * 24 * 16).map(|at| (at * 7 % 256) as u8).collect();
        let picture = image::RgbImage::from_raw(16, 24, shades).expect("three bytes a pixel");
        for format in READ {
            let given: DynamicImage = match format {
                // Of 256 colours at most.
                ImageFormat::Gif => {
                    let few = |x: u32, y: u32| Rgb([(x * 16) as u8, (y % 8 * 32) as u8, 128]);
                    image::RgbImage::from_fn(16, 24, few).into()
                }
                _ => picture.clone().into(),
            };
            let mut bytes = std::io::Cursor::new(vec![]);
            given.write_to(&mut bytes, format).expect("encoded");
            let bytes = bytes.into_inner();
            std::fs::write(&path, &bytes).expect("written");
            let (found, expected) = (read(&path).expect("a picture"), planes_of(&given));
            let furthest = found.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            let lossy = [ImageFormat::Jpeg, ImageFormat::Gif].contains(&format);
            assert!(
                found.shape == expected.shape && furthest <= if lossy { 0.6 } else { 0.0 },
                "{format:?}: {furthest}"
            );
            std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
            assert!(message(read(&path)).len() > 10, "half a {format:?}");
        }
    }

    #[test]
    fn what_is_no_picture_in_a_folder_is_counted() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in
            ["b.PNG", "a.jpeg", "c.webp", "._a.jpeg", ".DS_Store", "Thumbs.db", "words.txt", "photo.heic", "none"]
        {
            std::fs::write(path(name), "").expect("written");
        }
        for name in ["class", ".hidden", "__MACOSX", "folder.png"] {
            std::fs::create_dir(path(name)).expect("made");
        }
        let expected = Listing {
            pictures: ["a.jpeg", "b.PNG", "c.webp"].map(path).into(),
            folders: ["class", "folder.png"].map(path).into(),
            skipped: 8,
        };
        assert_eq!(list(folder.path()).expect("a folder"), expected);
        assert!(matches!(list(&path("absent")), Err(Error::Io { .. })));
    }

    #[test]
    fn bytes_are_pixels_and_a_pixel_that_is_no_number_is_named() {
        let (_folder, path) = file("a.safetensors");
        let mut header = br#"{"image":{"dtype":"U8","shape":[1,3,1,2],"data_offsets":[0,6]}}"#.to_vec();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut header);
        bytes.extend([0, 51, 255, 102, 153, 204]);
        std::fs::write(&path, bytes).expect("written");
        let found = read(&path).expect("a picture");
        assert_eq!(found, Array::new(Shape::new(1, 3, 1, 2), vec![0.0, 0.2, 1.0, 0.4, 0.6, 0.8]));

        let mut values = [0.5f32; 2 * 3 * 2 * 4];
        values[24 + 8 + 4 + 3] = f32::NAN;
        let mut header = br#"{"image":{"dtype":"F32","shape":[2,3,2,4],"data_offsets":[0,192]}}"#.to_vec();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut header);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        std::fs::write(&path, bytes).expect("written");
        let said = message(read(&path));
        assert!(
            said.ends_with("picture 1 holds NaN in channel 1, row 1, column 3; every pixel must be a finite number"),
            "{said}"
        );
    }

    #[test]
    fn tensors_are_taken_as_they_are() {
        let (_folder, path) = file("a.safetensors");
        let save = |name: &str, shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|v: usize| v as f32 - 2.0).collect();
            let array = NamedArray { name: name.into(), shape: shape.into(), values };
            let words = BTreeMap::from([("class".to_owned(), "tench".to_owned())]);
            write(&path, &[array], &words, Precision::F32).expect("written");
            read(&path)
        };
        let batch = save("image", &[2, 3, 1, 1]).expect("two pictures");
        assert_eq!(batch, Array::new(Shape::new(2, 3, 1, 1), vec![-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]));
        assert_eq!(read_metadata(&path).expect("words")["class"], "tench");
        assert!(message(save("picture", &[1, 3, 1, 1])).ends_with("has no tensor \"image\""));
        assert!(message(save("image", &[1, 4, 1, 1])).ends_with("is [1, 4, 1, 1], expected [N, 3, H, W]"));
        assert!(message(save("image", &[3, 1, 1])).ends_with("is [3, 1, 1], expected [N, 3, H, W]"));
        assert!(message(save("image", &[0, 3, 1, 1])).ends_with("has no pixels"));
        assert!(message(save("image", &[1, 3, 1, 9000])).contains("9000 x 1 pixels"));
    }

    #[test]
    fn other_files_are_refused_with_advice() {
        let (folder, path) = file("a.png");
        assert!(matches!(read(&path), Err(Error::Io { .. })));
        assert!(message(read(folder.path())).ends_with("is a folder or a device; name a picture"));
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("write");
            message(read(&path))
        };
        for (bytes, words) in [
            (&b"some text"[..], "is not a picture; give a PNG, JPEG, WebP, GIF, TIFF, BMP or .safetensors file"),
            (b"", "file is empty; download it again"),
            (b"\n<!DOCTYPE html><title>403</title>", "is a web page, so the download failed; download it again"),
            (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer to a file in Git LFS; run `git lfs pull`"),
            (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "(AppleDouble), not the file; name the one without `._`"),
            (
                b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
                "is a HEIC photograph, as telephones take them, which is not read; convert it to PNG or JPEG",
            ),
            (
                b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
                "is a HEIC photograph, as telephones take them, which is not read; convert it to PNG or JPEG",
            ),
            (
                b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
                "is an AVIF picture, which is not read; convert it to PNG or JPEG",
            ),
            (b"\xff\x0a\xfa\x1f", "is a JPEG XL picture, which is not read; convert it to PNG or JPEG"),
            (b"\0\0\0\x0cJXL \r\n\x87\n\0", "is a JPEG XL picture, which is not read; convert it to PNG or JPEG"),
            (b"\0\0\0\x0cjP  \r\n\x87\n\0", "is a JPEG 2000 picture, which is not read; convert it to PNG or JPEG"),
            (b"\xff\x4f\xff\x51\0", "is a JPEG 2000 picture, which is not read; convert it to PNG or JPEG"),
            (
                b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBIP\0 \x02",
                "is a PNG from the inside of an iPhone app, which is not read; convert it to PNG or JPEG",
            ),
            (b"%PDF-1.7", "is a PDF document, which is not read; convert it to PNG or JPEG"),
            (
                b"<?xml version=\"1.0\"?><svg width=\"1\">",
                "is an SVG drawing, which is not read; convert it to PNG or JPEG",
            ),
            (b"qoif\0\0\0\x01\0\0\0\x01\x03\0", "is Qoi, which is not read; convert it to PNG"),
        ] {
            let said = refused(bytes);
            assert!(said.ends_with(words), "{said}");
        }
        assert!(refused(b"GIF89a\x01\0\x01\0").contains("cannot be decoded"));
        let whole = encode_png(&Array::filled(Shape::new(1, 3, 64, 64), 0.5), &[]).expect("bytes");
        assert!(refused(&whole[..whole.len() / 2]).contains("cannot be decoded"));
        assert!(message(read_metadata(&path)).contains("cannot be decoded"));
        std::fs::write(&path, b"some text").expect("write");
        assert_eq!(read_metadata(&path).expect("no words"), BTreeMap::new());
    }
}
