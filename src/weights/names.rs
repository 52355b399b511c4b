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

/// The network that has these tensors.
pub(super) fn architecture(entries: &BTreeMap<String, Entry>) -> Option<&'static str> {
    let has = |name: &&str| entries.contains_key(*name);
    let googlenet = ["conv1.conv.weight", "inception3a.branch1.conv.weight", "inception5b.branch4.1.conv.weight"];
    let inception_v3 =
        ["Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_1.conv.weight", "Mixed_7c.branch3x3dbl_3b.conv.weight"];
    if is_resnet50(entries) {
        Some("resnet50")
    } else if googlenet.iter().all(has) {
        Some("googlenet")
    } else if inception_v3.iter().all(has) {
        Some("inception_v3")
    } else {
        None
    }
}

/// Deeper and shallower networks of the family have other blocks, its wide and grouped ones other shapes.
fn is_resnet50(entries: &BTreeMap<String, Entry>) -> bool {
    let blocks = |layer: usize| {
        (0..).take_while(|block| entries.contains_key(&format!("layer{layer}.{block}.conv3.weight"))).count()
    };
    let shape = |name| entries.get(name).map(|entry| &entry.shape[..]);
    let (Some(&[width, ..]), Some(&[c_out, c_in, ..])) = (shape("conv1.weight"), shape("layer1.0.conv2.weight")) else {
        return false;
    };
    [1, 2, 3, 4].map(blocks) == [3, 4, 6, 3] && c_out == width && c_in == width
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
    fn other_networks_of_the_family_are_not_taken_for_resnet50() {
        let of = |blocks: [usize; 4]| {
            let conv = |layer, block| [1, 2, 3].map(|k| format!("layer{layer}.{block}.conv{k}.weight"));
            let layers =
                (1..).zip(blocks).flat_map(|(layer, count)| (0..count).flat_map(move |block| conv(layer, block)));
            let names: Vec<String> = layers.chain(["conv1.weight".into()]).collect();
            entries(names.iter().map(String::as_str))
        };
        let resnet50 = of([3, 4, 6, 3]);
        assert_eq!(architecture(&resnet50), Some("resnet50"));
        assert_eq!(architecture(&of([3, 4, 23, 3])), None, "resnet101");
        assert_eq!(architecture(&of([2, 2, 2, 2])), None, "resnet18");
        for (network, shape) in [("resnext50_32x4d", [16, 1, 3, 3]), ("wide_resnet50_2", [16, 16, 3, 3])] {
            let mut other = of([3, 4, 6, 3]);
            other.get_mut("layer1.0.conv2.weight").expect("a tensor").shape = shape.into();
            assert_eq!(architecture(&other), None, "{network}");
        }
        assert_eq!(architecture(&entries(["weight"])), None);
    }
}
