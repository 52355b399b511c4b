//! Many pictures in one.

use super::letters::{self, BLACK, HEIGHT, width};
use crate::tensor::{Array, Shape};

/// Between pictures, and around all of them, in pixels.
const GAP: usize = 4;

/// What is written beside and above the pictures of a sheet.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Left of each row.
    pub rows: &'a [&'a str],
    /// Above each column.
    pub columns: &'a [&'a str],
}

/// Pictures in rows and columns on white, 4 pixels apart, with labels where there are any: 16 pixels high, ASCII, cut off where
/// the next column begins.
///
/// **Shapes** each picture [1, 3, S, S], all of one size -> [1, 3, H, W].
///
/// **Panics** When pictures differ in size.
pub fn contact_sheet(rows: &[Vec<Array>], labels: Option<Labels>) -> Array {
    let side = rows.iter().flatten().next().map_or(0, |picture| picture.shape.h());
    let cell = side + GAP;
    let (row_labels, column_labels) = labels.map_or((&[][..], &[][..]), |labels| (labels.rows, labels.columns));
    let left = row_labels.iter().map(|label| width(label)).max().map_or(GAP, |width| width + 2 * GAP);
    let top = if column_labels.is_empty() { GAP } else { HEIGHT + 2 * GAP };
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut sheet = Array::filled(Shape::new(1, 3, top + rows.len() * cell, left + columns * cell), 1.0);
    for (row, pictures) in rows.iter().enumerate() {
        for (column, picture) in pictures.iter().enumerate() {
            assert_eq!(picture.shape, Shape::new(1, 3, side, side), "pictures of a sheet have one size");
            letters::paste(&mut sheet, picture, (top + row * cell, left + column * cell));
        }
    }
    for (row, label) in row_labels.iter().enumerate() {
        let at = (top + row * cell + side.saturating_sub(HEIGHT) / 2, GAP);
        letters::write(&mut sheet, label, at, left - GAP, BLACK);
    }
    for (column, label) in column_labels.iter().enumerate() {
        let room = width(label).min(side);
        letters::write(&mut sheet, label, (GAP, left + column * cell + (side - room) / 2), room, BLACK);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(value: f32) -> Array {
        Array::filled(Shape::new(1, 3, 24, 24), value)
    }

    /// Least value of a rectangle: rows, then columns.
    fn darkest(sheet: &Array, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> f32 {
        let w = sheet.shape.w();
        rows.flat_map(|y| columns.clone().map(move |x| y * w + x)).map(|at| sheet.values[at]).fold(1.0, f32::min)
    }

    #[test]
    fn pictures_lie_in_rows_and_columns_on_white() {
        let mut marked = filled(0.25);
        marked.values[24 * 24 + 24 + 2] = 0.75; // green, second line, third pixel
        let sheet = contact_sheet(&[vec![filled(0.0), filled(0.5), marked], vec![filled(0.125)]], None);
        assert_eq!(sheet.shape, Shape::new(1, 3, 4 + 2 * 28, 4 + 3 * 28));
        let (h, w) = (sheet.shape.h(), sheet.shape.w());
        let pixel = |c: usize, y: usize, x: usize| sheet.values[(c * h + y) * w + x];
        assert_eq!([pixel(0, 4, 4), pixel(1, 4, 32), pixel(2, 27, 83), pixel(0, 32, 4)], [0.0, 0.5, 0.25, 0.125]);
        assert_eq!([pixel(1, 5, 62), pixel(0, 5, 62), pixel(1, 5, 63)], [0.75, 0.25, 0.25]);
        assert_eq!([pixel(0, 3, 4), pixel(0, 4, 3), pixel(0, 28, 4), pixel(0, 4, 28), pixel(0, 32, 32)], [1.0; 5]);
    }

    #[test]
    fn labels_are_written_beside_the_pictures_and_never_on_them() {
        let rows = [vec![filled(1.0), filled(1.0)]];
        let labels = Labels { rows: &["church"], columns: &["a", "much too long"] };
        let sheet = contact_sheet(&rows, Some(labels));
        let (left, top) = (width("church") + 8, 24);
        assert_eq!(sheet.shape, Shape::new(1, 3, top + 28, left + 2 * 28));
        assert!(darkest(&sheet, top..top + 24, 4..left - 4) < 0.2, "the row's");
        assert!(darkest(&sheet, 4..20, left..left + 24) < 0.2, "the first column's");
        assert!(darkest(&sheet, 4..20, left + 28..left + 52) < 0.2, "the second column's");
        let spaces = [left - 4..left, left + 24..left + 28, left + 52..left + 56];
        assert!(spaces.into_iter().all(|space| darkest(&sheet, 0..top + 28, space) == 1.0), "between columns");
        assert_eq!(darkest(&sheet, top..top + 28, left..left + 56), 1.0);
    }
}
