//! The wire format of protocol buffers, over bytes that stay where they are.
//!
//! A message is a row of fields, read one after another. Nothing is unpacked by itself: a reader descends into the messages that
//! it knows, so that how deep others are nested does not matter. Every length is checked against what is there.
//!
//! **Reference** the encoding guide of protocol buffers. Groups, which no current language writes, are refused.

use std::ops::Range;

/// A message that has been found: some bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    /// A number or a truth value.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// Text, bytes, a message, or several numbers without their tags.
    Bytes(Message<'a>),
}

impl<'a> Message<'a> {
    /// A file that is one message.
    pub fn of(file: &'a [u8]) -> Self {
        Message { file, at: 0, end: file.len() }
    }

    /// Where it lies in the file.
    pub fn range(&self) -> Range<usize> {
        self.at..self.end
    }

    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        &self.file[self.range()]
    }

    /// Its bytes as text.
    pub fn text(&self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()).map_err(|_| damaged("a name in it is no text"))
    }

    /// Its fields, by their numbers.
    pub fn fields(self) -> Fields<'a> {
        Fields(self)
    }

    /// Numbers that follow each other without tags.
    pub fn varints(mut self) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::new();
        while self.at < self.end {
            numbers.push(self.varint()?);
        }
        Ok(numbers)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes().first().ok_or_else(|| damaged("a number in it is cut off"))?;
            self.at += 1;
            // The tenth byte holds one bit; others there would be lost.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number in it has more than 64 bits"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = *self.bytes().first_chunk().ok_or_else(|| damaged("a number in it is cut off"))?;
        self.at += N;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Field<'a>), String> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed()?),
            5 => Field::Fixed32(self.fixed()?),
            2 => {
                let length = self.varint()?;
                let left = self.end - self.at;
                let Some(length) = usize::try_from(length).ok().filter(|length| *length <= left) else {
                    return Err(format!(
                        "file is truncated or damaged: a field of {length} bytes lies where {left} are left; download it again"
                    ));
                };
                let inner = Message { end: self.at + length, ..*self };
                self.at += length;
                Field::Bytes(inner)
            }
            kind => return Err(damaged(&format!("a field in it has the unknown kind {kind}"))),
        };
        Ok((tag >> 3, value))
    }
}

/// The fields of a message in the order of the file. After an error there are no more.
pub(super) struct Fields<'a>(Message<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = &mut self.0;
        if message.at >= message.end {
            return None;
        }
        let field = message.field();
        if field.is_err() {
            message.at = message.end;
        }
        Some(field)
    }
}

fn damaged(how: &str) -> String {
    format!("file is damaged: {how}; download it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
        Message::of(bytes).fields().collect()
    }

    #[test]
    fn fields_of_every_kind_are_read() {
        let bytes =
            [&[0x08, 0xac, 0x02, 0x12, 2][..], b"ab", &[0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let found = fields(&bytes).expect("a good message");
        assert!(matches!(found[0], (1, Field::Varint(300))));
        let (2, Field::Bytes(text)) = found[1] else { panic!("text") };
        assert_eq!((text.text(), text.range()), (Ok("ab"), 5..7));
        assert!(matches!(found[2], (3, Field::Fixed32([1, 2, 3, 4]))));
        assert!(matches!(found[3], (4, Field::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]))));
        assert_eq!(Message::of(&[1, 0xac, 2, 0]).varints(), Ok(vec![1, 300, 0]));
        let negative = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Message::of(&negative).varints(), Ok(vec![u64::MAX]));
    }

    #[test]
    fn lengths_beyond_the_file_are_refused_whatever_they_claim() {
        for length in [3u64, 1 << 36, 1 << 62, u64::MAX] {
            let mut bytes = vec![0x0a];
            let mut rest = length;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.extend([rest as u8, 7, 7]);
            let error = fields(&bytes).expect_err("refused");
            assert!(error.contains(&format!("a field of {length} bytes lies where 2 are left")), "{error}");
        }
        for cut in [&[0x08][..], &[0x08, 0x80], &[0x1d, 1, 2], &[0x21, 1], &[0x0a]] {
            assert!(fields(cut).expect_err("refused").contains("is cut off"), "{cut:?}");
        }
        assert!(fields(&[0x0b]).expect_err("a group").contains("unknown kind 3"));
        assert!(fields(&[[0xff; 10].as_slice(), &[1]].concat()).expect_err("refused").contains("more than 64 bits"));
    }
}
