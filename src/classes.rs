//! The classes of a network: their order, their names, and finding one by what a user types.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::weights::Checkpoint;
use crate::{Error, Result};

/// ImageNet's thousand classes: index, synset, name. Names are unique but for capitals (the Cardigan is a dog).
const IMAGENET: &str = include_str!("classes/imagenet.tsv");

/// ImageNet's names by synset.
static NAMES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| imagenet_rows().collect());

/// How many candidates a message lists.
const LISTED: usize = 8;

/// The classes of one network, in the order of its logits.
///
/// Two lists are equal when they have the same synsets in the same order; classes without a synset compare by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassList(Vec<Class>);

#[derive(Clone, Debug)]
struct Class {
    synset: Option<String>,
    name: String,
}

impl ClassList {
    /// ImageNet's thousand classes.
    pub fn imagenet() -> Self {
        let class = |(synset, name): (&str, &str)| Class { synset: Some(synset.into()), name: name.into() };
        ClassList(imagenet_rows().map(class).collect())
    }

    /// `count` classes of which nothing is known: `class 0`, `class 1` and so on.
    pub fn unnamed(count: usize) -> Self {
        ClassList((0..count).map(|index| Class { synset: None, name: format!("class {index}") }).collect())
    }

    /// The classes of a checkpoint whose network has `count` logits: those of its metadata `classes` (synsets or names,
    /// separated by commas, or a JSON list), else ImageNet's when there are a thousand, else unnamed ones.
    ///
    /// # Errors
    /// [`Error::File`] when the metadata lists another number of classes.
    pub fn of_checkpoint(checkpoint: &Checkpoint, count: usize) -> Result<Self> {
        match checkpoint.metadata().get("classes") {
            Some(text) => {
                let list = Self::parse(text);
                if list.len() == count {
                    return Ok(if list.is_imagenet() { Self::imagenet() } else { list });
                }
                let reason = format!("metadata lists {} classes, the network has {count}", list.len());
                Err(Error::file(checkpoint.name(), reason))
            }
            None if count == 1000 => Ok(Self::imagenet()),
            None => Ok(Self::unnamed(count)),
        }
    }

    /// Synsets or names separated by commas, or as a JSON list of texts, as checkpoints list them.
    pub fn parse(text: &str) -> Self {
        let list = serde_json::from_str::<Vec<String>>(text).ok();
        let class = |entry: &str| {
            let synset = is_synset(entry).then(|| entry.to_owned());
            Class { synset, name: NAMES.get(entry).copied().unwrap_or(entry).to_owned() }
        };
        let entries: Vec<&str> = match &list {
            Some(list) => list.iter().map(String::as_str).collect(),
            None => text.split(',').collect(),
        };
        ClassList(entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()).map(class).collect())
    }

    /// Whether these are ImageNet's classes as others write them, with all their synonyms: `tench, Tinca tinca`.
    fn is_imagenet(&self) -> bool {
        let alike = |(class, (_, name)): &(&Class, (&str, &str))| {
            class.synset.is_none() && class.name.split(',').any(|word| word.trim().eq_ignore_ascii_case(name))
        };
        // Some of the names here are others, so that no two are the same.
        self.len() == 1000 && self.0.iter().zip(imagenet_rows()).filter(alike).count() > 900
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name for people, such as `garden spider`.
    ///
    /// # Panics
    /// When `index` is not below [`ClassList::len`]; indices come from [`ClassList::find`] or from logits.
    pub fn name(&self, index: usize) -> &str {
        &self.0[index].name
    }

    /// WordNet synset, such as `n01773549`, where it is known.
    ///
    /// # Panics
    /// As [`ClassList::name`].
    pub fn synset(&self, index: usize) -> Option<&str> {
        self.0[index].synset.as_deref()
    }

    /// The index of a class from what a user typed.
    ///
    /// Digits are a position in this list; then come a synset, the exact name, the name but for capitals, and a part of
    /// exactly one name, whole words before other parts. Underscores count as spaces.
    ///
    /// # Errors
    /// [`Error::ClassRange`], [`Error::AmbiguousClass`] with candidates, or [`Error::UnknownClass`] with near names.
    pub fn find(&self, text: &str) -> Result<usize> {
        let wanted = spaced(text);
        if !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()) {
            let index = wanted.parse().ok().filter(|index| *index < self.len());
            return index.ok_or(Error::ClassRange { index: wanted, count: self.len() });
        }
        let lower = wanted.to_lowercase();
        if is_synset(&lower) {
            let index = self.0.iter().position(|class| class.synset.as_ref() == Some(&lower));
            return index.ok_or_else(|| self.unknown(text, Vec::new()));
        }
        let name = |class: &Class| spaced(&class.name).to_lowercase();
        let rules: [&dyn Fn(&Class) -> bool; 4] = [
            &|class| spaced(&class.name) == wanted,
            &|class| name(class) == lower,
            &|class| format!(" {} ", name(class)).contains(&format!(" {lower} ")),
            &|class| name(class).contains(&lower),
        ];
        for rule in rules.iter().filter(|_| !lower.is_empty()) {
            let found: Vec<usize> = (0..self.len()).filter(|index| rule(&self.0[*index])).collect();
            match found[..] {
                [] => {}
                [index] => return Ok(index),
                _ => return Err(Error::AmbiguousClass { class: text.into(), candidates: self.listed(&found) }),
            }
        }
        Err(self.unknown(text, self.near(&lower)))
    }

    fn unknown(&self, text: &str, candidates: Vec<String>) -> Error {
        const ALL: usize = 20;
        let known = if self.len() <= ALL {
            let names: Vec<&str> = self.0.iter().map(|class| class.name.as_str()).collect();
            format!("there are: {}", names.join(", "))
        } else {
            let last = self.len() - 1;
            format!("give a name, a part of one, a synset such as n02979186, or an index from 0 to {last}")
        };
        Error::UnknownClass { class: text.into(), candidates, known }
    }

    /// Indices and names for a message, not too many.
    fn listed(&self, found: &[usize]) -> Vec<String> {
        let mut list: Vec<String> =
            found.iter().take(LISTED).map(|index| format!("{index} {}", self.name(*index))).collect();
        if found.len() > LISTED {
            list.push(format!("{} more", found.len() - LISTED));
        }
        list
    }

    /// Up to three names that a slip of the keyboard may have meant, nearest first.
    fn near(&self, lower: &str) -> Vec<String> {
        const NEAR: f64 = 0.85;
        let score = |class: &Class| {
            let name = class.name.to_lowercase();
            let parts = name.split(' ').chain([name.as_str()]);
            parts.map(|part| strsim::jaro_winkler(part, lower)).fold(0.0, f64::max)
        };
        let mut scored: Vec<(f64, &str)> = self.0.iter().map(|class| (score(class), class.name.as_str())).collect();
        scored.retain(|(score, _)| *score >= NEAR);
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        match (&self.synset, &other.synset) {
            (None, None) => self.name == other.name,
            (mine, theirs) => mine == theirs,
        }
    }
}

impl Eq for Class {}

/// Synset and name of each row, in order.
fn imagenet_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    IMAGENET.lines().skip(1).filter_map(|row| row.split_once('\t')?.1.split_once('\t'))
}

/// An `n` and eight digits.
fn is_synset(text: &str) -> bool {
    text.strip_prefix('n').is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Underscores and runs of blanks become single spaces, none at the ends.
fn spaced(text: &str) -> String {
    text.split(|c: char| c == '_' || c.is_whitespace()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str =
        "n01440764,n02102040,n02979186,n03000684,n03028079,n03394916,n03417042,n03425413,n03445777,n03888257";

    fn message(list: &ClassList, text: &str) -> String {
        list.find(text).expect_err("refused").to_string()
    }

    fn checkpoint(classes: Option<&str>) -> Checkpoint {
        let header = match classes {
            Some(classes) => serde_json::json!({ "__metadata__": { "classes": classes } }).to_string(),
            None => "{}".into(),
        };
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        Checkpoint::embedded("demo", file.leak()).expect("a good file")
    }

    #[test]
    fn imagenet_has_a_thousand_classes_in_order() {
        let list = ClassList::imagenet();
        assert_eq!(list.len(), 1000);
        assert_eq!((list.name(0), list.synset(0)), ("tench", Some("n01440764")));
        assert_eq!((list.name(999), list.synset(999)), ("toilet tissue", Some("n15075141")));
        for (index, row) in IMAGENET.lines().skip(1).enumerate() {
            assert!(row.starts_with(&format!("{index}\t")), "{row}");
        }
    }

    #[test]
    fn each_name_and_synset_finds_its_own_class() {
        let list = ClassList::imagenet();
        for index in 0..list.len() {
            assert_eq!(list.find(list.name(index)).expect("its name"), index);
            assert_eq!(list.find(list.synset(index).expect("its synset")).expect("its synset"), index);
        }
    }

    #[test]
    fn parts_underscores_and_capitals_are_understood() {
        let list = ClassList::imagenet();
        assert_eq!(list.find("574").expect("index"), 574);
        assert_eq!(list.find(" GOLDEN_retriever ").expect("name"), 207);
        assert_eq!(list.find("tench").expect("name"), 0);
        assert_eq!(list.find("crane").expect("an exact name wins over crane bird"), 517);
        assert_eq!(list.find("Cardigan").expect("the dog"), 264);
        assert_eq!(list.find("cardigan").expect("the garment"), 474);
        assert_eq!(list.find("chihuahua").expect("but for capitals"), 151);
        assert_eq!(list.find("hartebee").expect("part of a word"), 351);
        let demo = ClassList::parse(DEMO);
        assert_eq!(demo.find("springer").expect("a word of one name here"), 1);
        assert_eq!(demo.find("N03888257").expect("synset"), 9);
    }

    #[test]
    fn several_candidates_are_listed_with_indices() {
        let list = ClassList::imagenet();
        assert_eq!(
            message(&list, "springer"),
            "\"springer\" may mean 217 English springer, 218 Welsh springer spaniel; give an index"
        );
        assert!(message(&list, "CARDIGAN").contains("264 Cardigan, 474 cardigan"));
        assert!(message(&list, "a").contains(" more; give an index"));
    }

    #[test]
    fn unknown_classes_bring_near_names() {
        let list = ClassList::imagenet();
        assert!(message(&list, "goldfsh").contains("did you mean goldfish"));
        let advice = "give a name, a part of one, a synset such as n02979186, or an index from 0 to 999";
        for unknown in ["", "n00000000", "-1"] {
            assert_eq!(message(&list, unknown), format!("no class \"{unknown}\"; {advice}"));
        }
        let demo = message(&ClassList::parse(DEMO), "zebra");
        assert!(demo.starts_with("no class \"zebra\"; there are: tench, English springer, "), "{demo}");
    }

    #[test]
    fn indices_out_of_range_say_the_range() {
        let demo = ClassList::parse(DEMO);
        assert_eq!(message(&demo, "574"), "no class 574: this network has 10, numbered from 0 to 9");
        assert!(message(&demo, "99999999999999999999999").contains("from 0 to 9"));
    }

    #[test]
    fn a_checkpoint_names_its_classes() {
        let demo = ClassList::of_checkpoint(&checkpoint(Some(DEMO)), 10).expect("ten");
        assert_eq!((demo.name(0), demo.name(9)), ("tench", "parachute"));
        let own = ClassList::of_checkpoint(&checkpoint(Some("cat, dog,n99999999")), 3).expect("three");
        assert_eq!((own.name(1), own.synset(1)), ("dog", None));
        assert_eq!((own.name(2), own.synset(2)), ("n99999999", Some("n99999999")));
        let none = checkpoint(None);
        assert_eq!(ClassList::of_checkpoint(&none, 1000).expect("a thousand"), ClassList::imagenet());
        let unnamed = ClassList::of_checkpoint(&none, 7).expect("seven");
        assert_eq!((unnamed.find("class 3").expect("its name"), unnamed.synset(3)), (3, None));
        // ImageNet's with synonyms, as a JSON list.
        let synonyms: Vec<String> = imagenet_rows().map(|(_, name)| format!("{name}, or so")).collect();
        let list = serde_json::to_string(&synonyms).expect("texts");
        let list = ClassList::of_checkpoint(&checkpoint(Some(&list)), 1000).expect("a thousand");
        assert_eq!((list.name(0), list.synset(0)), ("tench", Some("n01440764")));
        let error = ClassList::of_checkpoint(&checkpoint(Some(DEMO)), 1000).expect_err("refused").to_string();
        assert_eq!(error, "demo: metadata lists 10 classes, the network has 1000");
    }

    #[test]
    fn lists_compare_by_synset() {
        assert_eq!(ClassList::parse(DEMO), ClassList::parse(DEMO));
        assert_ne!(ClassList::parse(DEMO), ClassList::imagenet());
        assert_ne!(ClassList::parse("tench"), ClassList::parse("n01440764"));
        assert_ne!(ClassList::parse("cat,dog"), ClassList::parse("dog,cat"));
        let list = DEMO.split(',').map(|synset| format!("\"{synset}\"")).collect::<Vec<_>>().join(", ");
        assert_eq!(ClassList::parse(&format!("[{list}]")), ClassList::parse(DEMO));
        let commas = ClassList::parse(r#"["crane, bird", "[b]"]"#);
        assert_eq!((commas.len(), commas.name(0), commas.name(1)), (2, "crane, bird", "[b]"));
    }
}
