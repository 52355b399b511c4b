//! Which classes a gallery is of.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use entoptic::classes::ClassList;

use super::super::making::file_stem;

/// Indices that a text means, in order: `all`, ranges `0-99`, and whatever [`ClassList::find`] understands, with commas
/// between them, or the path of a file with such lines.
pub fn parse(text: &str, known: &ClassList) -> anyhow::Result<Vec<usize>> {
    let path = Path::new(text);
    let lines = match path.is_file() {
        true => std::fs::read_to_string(path).with_context(|| format!("reading classes from {text}"))?,
        false => text.replace(',', "\n"),
    };
    let mut found = BTreeSet::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match range(line) {
            Some([first, last]) if first <= last && last < known.len() => found.extend(first..=last),
            Some(_) => bail!("--classes {line}: these networks have classes 0 to {}", known.len() - 1),
            None if line == "all" => found.extend(0..known.len()),
            None => {
                found.insert(known.find(line).with_context(|| format!("--classes {text}"))?);
            }
        }
    }
    if found.is_empty() {
        bail!("--classes {text}: names no class");
    }
    Ok(found.into_iter().collect())
}

/// Two indices with a dash between them.
fn range(text: &str) -> Option<[usize; 2]> {
    let (first, last) = text.split_once('-')?;
    Some([first.trim().parse().ok()?, last.trim().parse().ok()?])
}

/// Name of the file of a class.
pub fn file(class: usize, name: &str) -> String {
    format!("{class:04}-{}.png", file_stem(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lists_and_files_name_classes() {
        let known = ClassList::imagenet();
        let parsed = |text: &str| parse(text, &known);
        assert_eq!(parsed("all").expect("all"), (0..1000).collect::<Vec<_>>());
        assert_eq!(parsed("998-999,0, tench").expect("a list"), [0, 998, 999]);
        assert_eq!(parsed("n01440764,goldfish,1").expect("a list"), [0, 1]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("classes.txt");
        std::fs::write(&path, "# fish\ngoldfish\n\n5-6\n").expect("written");
        assert_eq!(parsed(path.to_str().expect("UTF-8")).expect("a file"), [1, 5, 6]);
        let refused = |text: &str| format!("{:#}", parsed(text).expect_err("refused"));
        assert_eq!(refused("990-1000"), "--classes 990-1000: these networks have classes 0 to 999");
        assert!(refused("9-3").contains("classes 0 to 999"));
        assert!(refused("tench,goldfsh").contains("did you mean goldfish"));
        assert!(refused("absent.txt").contains("no class \"absent.txt\""));
        assert!(refused(",").contains("names no class"));
    }

    #[test]
    fn files_are_named_by_index_and_class() {
        assert_eq!(file(0, "tench"), "0000-tench.png");
        assert_eq!(file(72, "black and gold garden spider"), "0072-black-and-gold-garden-spider.png");
    }
}
