//! The picture that a file was made for.

use super::ends::shown;
use crate::weights::Input;

/// Sides of pictures that are tried in turn where a file leaves them open: most networks take the first, and a layer that sees a
/// certain number of pixels takes one of them.
const USUAL_SIDES: [usize; 14] = [224, 32, 28, 64, 96, 128, 160, 192, 256, 299, 320, 384, 448, 512];

/// Longest side, and most channels, that a file may say.
const LARGEST: usize = 1 << 14;
const MOST_CHANNELS: usize = 1 << 12;

/// The picture that a file was made for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub sides: [usize; 2],
    /// Whether the file leaves the sides open.
    pub free: bool,
    /// Whether channels come last.
    pub last: bool,
}

impl Sizes {
    /// What an input may be, the likeliest first; says in words why it is no picture.
    pub fn all(input: &Input) -> Result<Vec<Self>, String> {
        let name = input.name.escape_debug();
        let Some([batch, sizes @ ..]) = input.sizes.as_deref() else {
            return Err(format!(
                "its input {name} has no sizes, and a picture has four; export it with an example picture"
            ));
        };
        let &[a, b, c] = sizes else {
            return Err(format!("its input {name} has the sizes {}, and a picture has four", shown(input)));
        };
        let few = |size: Option<usize>| matches!(size, Some(1 | 3 | 4));
        let likely = few(c) && !few(a);
        let mut all = Vec::new();
        for last in [likely, !likely] {
            let (channels, h, w) = if last { (c, a, b) } else { (a, b, c) };
            let channels = channels.unwrap_or(3);
            let impossible = channels == 0 || channels > MOST_CHANNELS;
            if impossible || [h, w].into_iter().flatten().any(|side| side == 0 || side > LARGEST) {
                continue;
            }
            let known = h.or(w);
            for side in known.map_or(USUAL_SIDES.to_vec(), |side| vec![side]) {
                all.push(Sizes {
                    batch: batch.unwrap_or(1).clamp(1, LARGEST),
                    channels,
                    sides: [h.unwrap_or(side), w.unwrap_or(side)],
                    free: h.is_none() || w.is_none(),
                    last,
                });
            }
        }
        if all.is_empty() {
            return Err(format!(
                "its input {name} has the sizes {}, and pictures have up to {LARGEST} pixels a side and {MOST_CHANNELS} channels",
                shown(input)
            ));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sizes: &[Option<usize>]) -> Result<Vec<Sizes>, String> {
        Sizes::all(&Input { name: "x".into(), sizes: Some(sizes.to_vec()), is_float: true })
    }

    #[test]
    fn channels_are_first_or_last_whichever_are_few() {
        let first = |sizes: [usize; 4]| {
            let found = all(&sizes.map(Some)).expect("a picture").remove(0);
            (found.channels, found.sides, found.last)
        };
        assert_eq!(first([1, 3, 64, 48]), (3, [64, 48], false));
        assert_eq!(first([1, 64, 48, 3]), (3, [64, 48], true));
        assert_eq!(first([1, 28, 28, 1]), (1, [28, 28], true));
        assert_eq!(first([1, 2, 32, 32]), (2, [32, 32], false));
        // The other way round comes second, for those of other numbers of channels.
        assert_eq!(all(&[Some(1), Some(32), Some(32), Some(6)]).expect("a picture")[1].channels, 6);
    }

    #[test]
    fn open_sides_are_tried_from_the_usual_one_on() {
        let found = all(&[None, Some(3), None, None]).expect("a picture");
        assert!(found[0].free && found[0].sides == [224, 224] && found[1].sides == [32, 32]);
        let found = all(&[None, Some(3), Some(40), None]).expect("a picture");
        assert_eq!((found[0].sides, found[0].free), ([40, 40], true));
        assert!(all(&[Some(1), Some(3), Some(1 << 20), Some(1 << 20)]).is_err());
        assert!(all(&[Some(1), Some(3), Some(4)]).is_err());
    }
}
