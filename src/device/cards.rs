//! How many processors a card has: Vulkan, Metal and DX12 do not say it, but the name of a usual card does.

/// A part of a name and a number a line; comments begin with `#`.
const CARDS: &str = include_str!("cards.tsv");

/// Processors of the card with this name, if it is one of the list. Of several that the name holds, the longest counts.
pub(super) fn units(name: &str) -> Option<u32> {
    let words = words(name);
    let holds = |part: &[String]| words.windows(part.len()).any(|window| window == part);
    let found = entries().filter(|(part, _)| holds(&self::words(part)));
    found.max_by_key(|(part, _)| self::words(part).len()).map(|(_, units)| units)
}

fn entries() -> impl Iterator<Item = (&'static str, u32)> {
    let lines = CARDS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (part, units) = line.split_once('\t')?;
        Some((part, units.parse().ok()?))
    })
}

/// Words in lower case, without the marks of owners such as `(TM)`, which some drivers write into a name.
fn words(name: &str) -> Vec<String> {
    let plain = name.to_lowercase().replace("(tm)", " ").replace("(r)", " ");
    plain.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_known_by_the_longest_name_that_fits() {
        for (name, expected) in [
            ("AMD Radeon RX 6800 (RADV NAVI21)", Some(60)),
            ("AMD Radeon RX 6800 XT (RADV NAVI21)", Some(72)),
            ("NVIDIA GeForce RTX 4070 Ti SUPER", Some(66)),
            ("NVIDIA GeForce RTX 4070 Laptop GPU", Some(36)),
            ("NVIDIA A100-SXM4-80GB", Some(108)),
            ("NVIDIA H200", Some(132)),
            ("Intel(R) Arc(TM) A770 Graphics (DG2)", Some(32)),
            ("Apple M1 Pro", Some(16)),
            ("NVIDIA GeForce RTX 40900", None),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", None),
            ("", None),
        ] {
            assert_eq!(units(name), expected, "{name}");
        }
    }

    #[test]
    fn every_line_of_the_list_is_a_card_of_its_own() {
        let lines = CARDS.lines().filter(|line| !line.starts_with('#')).count();
        let mut names: Vec<Vec<String>> = entries().map(|(name, _)| words(name)).collect();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), entries().filter(|(_, units)| *units > 0).count()), (lines, lines));
    }
}
