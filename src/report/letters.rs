//! What is put on a page of pictures: letters, rectangles, other pictures.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::tensor::Array;

const WEIGHT: FontWeight = FontWeight::Regular;
const RASTER: RasterHeight = RasterHeight::Size16;

/// Of letters, in pixels.
pub(super) const HEIGHT: usize = RASTER.val();

pub(super) const BLACK: [f32; 3] = [0.0; 3];

/// Of a line of letters, in pixels.
pub(super) fn width(text: &str) -> usize {
    text.chars().count() * get_raster_width(WEIGHT, RASTER)
}

/// Writes on a white page [1, 3, H, W], at most `room` pixels wide; `at` is row and column of the upper left corner. A letter
/// that the font lacks is a question mark.
pub(super) fn write(page: &mut Array, text: &str, (top, left): (usize, usize), room: usize, colour: [f32; 3]) {
    let [_, _, height, width] = page.shape.0;
    let right = (left + room).min(width);
    for (index, letter) in text.chars().enumerate() {
        let glyph = get_raster(letter, WEIGHT, RASTER).or_else(|| get_raster('?', WEIGHT, RASTER));
        let Some(glyph) = glyph else { continue };
        for (y, line) in glyph.rows().enumerate().filter(|(y, _)| top + y < height) {
            for (x, &ink) in line.iter().enumerate() {
                let x = left + index * glyph.width() + x;
                for c in (0..3).filter(|_| x < right) {
                    let ink = f32::from(ink) / 255.0;
                    page.values[(c * height + top + y) * width + x] = 1.0 - ink * (1.0 - colour[c]);
                }
            }
        }
    }
}

/// Fills a rectangle that lies on the page: rows, then columns.
pub(super) fn fill(page: &mut Array, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, colour: [f32; 3]) {
    let [_, _, height, width] = page.shape.0;
    for (c, value) in colour.into_iter().enumerate() {
        for y in rows.clone() {
            let line = (c * height + y) * width;
            page.values[line + columns.start..line + columns.end].fill(value);
        }
    }
}

/// Puts a picture [1, 3, h, w] on the page; `at` is row and column of its first pixel.
pub(super) fn paste(page: &mut Array, picture: &Array, (top, left): (usize, usize)) {
    let [_, _, height, width] = page.shape.0;
    let [_, _, h, w] = picture.shape.0;
    for (line, pixels) in picture.values.chunks_exact(w).enumerate() {
        let to = (line / h * height + top + line % h) * width + left;
        page.values[to..to + w].copy_from_slice(pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn written(text: &str, colour: [f32; 3]) -> Array {
        let mut page = Array::filled(Shape::new(1, 3, 20, 12), 1.0);
        write(&mut page, text, (2, 1), 100, colour);
        page
    }

    #[test]
    fn letters_that_the_font_lacks_are_question_marks() {
        assert_eq!(written("\u{4e00}", BLACK), written("?", BLACK));
        assert_ne!(written("x", BLACK), written("?", BLACK));
    }

    #[test]
    fn ink_has_its_colour() {
        let (page, plane) = (written("x", [1.0, 0.5, 0.0]), 20 * 12);
        let least = |c: usize| page.values[c * plane..(c + 1) * plane].iter().copied().fold(1.0, f32::min);
        assert_eq!(least(0), 1.0);
        assert!(least(1) < 0.6 && least(1) >= 0.5 && least(2) < 0.2, "{} {}", least(1), least(2));
    }
}
