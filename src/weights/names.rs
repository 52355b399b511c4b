//! What the names of tensors tell.

use std::collections::BTreeMap;

use super::entry::Entry;

/// Prefixes that wrappers put before every name: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Leaves out what wrappers have put before every name; a prefix that some names lack is part of the names.
pub(super) fn strip(mut entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| entries.keys().all(|name| name.starts_with(**wrapper))) {
        if entries.is_empty() {
            break;
        }
        entries = entries.into_iter().map(|(name, entry)| (name[wrapper.len()..].to_owned(), entry)).collect();
    }
    entries
}

/// Spells names as they are spelt today. torchvision's published DenseNets were saved when names could hold dots: the second norm of
/// a layer is `denselayer1.norm.2`, and has been `denselayer1.norm2` since.
pub(super) fn respell(entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let today = |name: String| {
        let Some((before, rest)) = name.split_once(".denselayer") else { return name };
        let mut words = rest.splitn(4, '.');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(layer), Some(kind @ ("norm" | "relu" | "conv")), Some(number @ ("1" | "2")), Some(leaf)) => {
                format!("{before}.denselayer{layer}.{kind}{number}.{leaf}")
            }
            _ => name,
        }
    };
    entries.into_iter().map(|(name, entry)| (today(name), entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Entry> {
        let entry =
            || Entry { shape: vec![8, 8, 1, 1], strides: None, element: Err("".into()), deflated: None, at: 0..0 };
        names.into_iter().map(|name| (name.to_owned(), entry())).collect()
    }

    fn stripped(names: &[&str]) -> Vec<String> {
        strip(entries(names.iter().copied())).into_keys().collect()
    }

    #[test]
    fn prefixes_go_when_every_name_has_them() {
        assert_eq!(stripped(&["module.a", "module.b.c"]), ["a", "b.c"]);
        assert_eq!(stripped(&["module._orig_mod.a", "module._orig_mod.b"]), ["a", "b"]);
        assert_eq!(stripped(&["module.a", "b"]), ["b", "module.a"]);
        assert_eq!(stripped(&["module.module.a", "module.b"]), ["b", "module.a"]);
        assert_eq!(stripped(&["modulea"]), ["modulea"]);
        assert!(stripped(&[]).is_empty());
    }

    #[test]
    fn names_of_old_are_spelt_as_today() {
        let respelt = |name| respell(entries([name])).into_keys().next().expect("one");
        let old = "features.denseblock1.denselayer12.norm.2.running_mean";
        assert_eq!(respelt(old), "features.denseblock1.denselayer12.norm2.running_mean");
        assert_eq!(
            respelt("features.denseblock1.denselayer1.conv.1.weight"),
            "features.denseblock1.denselayer1.conv1.weight"
        );
        for today in ["features.denseblock1.denselayer1.conv1.weight", "features.norm0.weight", "features.3.weight"] {
            assert_eq!(respelt(today), today);
        }
    }
}
