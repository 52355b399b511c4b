//! Numbers as the bytes of files that other programs read.

/// A table as comma-separated values after RFC 4180, with lines that end in a line feed.
#[derive(Clone, Debug)]
pub struct Csv {
    text: String,
    columns: usize,
}

impl Csv {
    /// A table with a line of names and nothing below it.
    pub fn new(names: &[&str]) -> Self {
        let mut table = Csv { text: String::new(), columns: names.len() };
        table.push(names.iter().map(|&name| name.to_owned()));
        table
    }

    /// Adds a line. Cells that hold a comma, a quote or a line's end are quoted.
    ///
    /// # Panics
    /// When it has not as many cells as there are columns.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut count = 0;
        for cell in cells {
            if count > 0 {
                self.text.push(',');
            }
            if cell.contains([',', '"', '\n', '\r']) {
                self.text.push('"');
                self.text += &cell.replace('"', "\"\"");
                self.text.push('"');
            } else {
                self.text += &cell;
            }
            count += 1;
        }
        assert_eq!(count, self.columns, "a cell for each column");
        self.text.push('\n');
    }

    /// The whole table.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A matrix as numpy's format, version 1.0: f32, little-endian, row after row.
///
/// **Reference** `numpy.lib.format`.
///
/// # Panics
/// When there are not rows times columns values.
pub fn npy((rows, columns): (usize, usize), values: &[f32]) -> Vec<u8> {
    const START: &[u8] = b"\x93NUMPY\x01\x00";
    assert_eq!(values.len(), rows * columns, "a whole matrix");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Values begin at a multiple of 64 bytes, behind a line feed.
    let unpadded = START.len() + 2 + header.len() + 1;
    header += &" ".repeat(unpadded.next_multiple_of(64) - unpadded);
    header.push('\n');
    let length = u16::try_from(header.len()).expect("two numbers are short");
    let values: &[u8] = &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    [START, &length.to_le_bytes(), header.as_bytes(), values].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_need_it_are_quoted() {
        let mut table = Csv::new(&["name", "value"]);
        table.push(["jack-o'-lantern".into(), "1.5".into()]);
        table.push(["a, \"b\"".into(), "line\nline".into()]);
        table.push([String::new(), "cr\r".into()]);
        assert_eq!(table.text(), "name,value\njack-o'-lantern,1.5\n\"a, \"\"b\"\"\",\"line\nline\"\n,\"cr\r\"\n");
    }

    /// The bytes that numpy 2.4.6 writes: `numpy.save(file, numpy.array([[1, -2.5, 0]], 'f4'))`.
    #[test]
    fn matrices_have_the_bytes_of_numpy() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        expected.extend(format!("{text:<117}\n").bytes());
        expected.extend([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0, 0, 0, 0]);
        assert_eq!(npy((1, 3), &[1.0, -2.5, 0.0]), expected);
        assert_eq!(npy((0, 1000), &[]).len() % 64, 0);
    }
}
