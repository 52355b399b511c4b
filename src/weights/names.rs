//! What the names of tensors tell: other spellings of the names that networks are known by, as rules.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, Index, Made};

/// Rules by which other tools name the layers of a network that torchvision names otherwise; the first that fits counts. `{}`
/// stands for a number, `{+}` for one that is written one larger; the names may go on after a dot, and begin before one.
pub type Rules = &'static [(&'static str, &'static str)];

/// The namings that are known besides torchvision's own, each with the tool that writes it.
pub const NAMINGS: [(&str, Rules); 2] = [
    // ResNets of any depth, with basic blocks and with bottlenecks.
    (
        "transformers",
        &[
            ("resnet.embedder.embedder.convolution", "conv1"),
            ("resnet.embedder.embedder.normalization", "bn1"),
            ("resnet.encoder.stages.{}.layers.{}.layer.{}.convolution", "layer{+}.{}.conv{+}"),
            ("resnet.encoder.stages.{}.layers.{}.layer.{}.normalization", "layer{+}.{}.bn{+}"),
            ("resnet.encoder.stages.{}.layers.{}.shortcut.convolution", "layer{+}.{}.downsample.0"),
            ("resnet.encoder.stages.{}.layers.{}.shortcut.normalization", "layer{+}.{}.downsample.1"),
            // Without its classifier it is the network itself.
            ("embedder.embedder.convolution", "conv1"),
            ("embedder.embedder.normalization", "bn1"),
            ("encoder.stages.{}.layers.{}.layer.{}.convolution", "layer{+}.{}.conv{+}"),
            ("encoder.stages.{}.layers.{}.layer.{}.normalization", "layer{+}.{}.bn{+}"),
            ("encoder.stages.{}.layers.{}.shortcut.convolution", "layer{+}.{}.downsample.0"),
            ("encoder.stages.{}.layers.{}.shortcut.normalization", "layer{+}.{}.downsample.1"),
        ],
    ),
    // ResNets as `nn.Sequential(*resnet.children())`, with or without the last of them.
    (
        "nn.Sequential",
        &[
            ("0.weight", "conv1.weight"),
            ("1.weight", "bn1.weight"),
            ("1.bias", "bn1.bias"),
            ("1.running_mean", "bn1.running_mean"),
            ("1.running_var", "bn1.running_var"),
            ("1.num_batches_tracked", "bn1.num_batches_tracked"),
            ("4.{}.", "layer1.{}."),
            ("5.{}.", "layer2.{}."),
            ("6.{}.", "layer3.{}."),
            ("7.{}.", "layer4.{}."),
            ("9.weight", "fc.weight"),
            ("9.bias", "fc.bias"),
        ],
    ),
];

/// Names in another spelling: each with the name that the file has for it. None where no rule fits any name.
pub fn translated<'a>(names: impl Iterator<Item = &'a str>, rules: Rules) -> Option<BTreeMap<String, &'a str>> {
    let mut any = false;
    let mut translate = |name: &'a str| {
        let new = translate(name, rules);
        any |= new.is_some();
        (new.unwrap_or_else(|| name.to_owned()), name)
    };
    let all = names.map(&mut translate).collect();
    any.then_some(all)
}

/// A name by the first rule that fits at its beginning, else behind its first dot, and so on.
fn translate(name: &str, rules: Rules) -> Option<String> {
    let mut starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.find_map(|start| {
        rules.iter().find_map(|(from, to)| {
            let (numbers, rest) = fit(&name[start..], from)?;
            let mut numbers = numbers.into_iter();
            let mut pieces = to.split('{');
            let mut new = format!("{}{}", &name[..start], pieces.next().unwrap_or_default());
            for piece in pieces {
                let (place, after) = piece.split_once('}').unwrap_or((piece, ""));
                new += &(numbers.next()? + usize::from(place == "+")).to_string();
                new += after;
            }
            Some(new + rest)
        })
    })
}

/// The numbers of a name that a pattern has at its beginning, and what comes after it.
fn fit<'a>(name: &'a str, pattern: &str) -> Option<(Vec<usize>, &'a str)> {
    let (mut rest, mut numbers) = (name, vec![]);
    let mut pieces = pattern.split("{}").peekable();
    while let Some(piece) = pieces.next() {
        rest = rest.strip_prefix(piece)?;
        if pieces.peek().is_some() {
            let digits = rest.bytes().take(4).take_while(u8::is_ascii_digit).count();
            numbers.push(rest[..digits].parse().ok()?);
            rest = &rest[digits..];
        }
    }
    let ends = rest.is_empty() || rest.starts_with('.') || pattern.ends_with('.');
    ends.then_some((numbers, rest))
}

/// Prefixes that wrappers put before every name: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Leaves out what wrappers have put before every name. Any other prefix, and one that some names lack, is part of the names: what
/// is the network's among them is for those to find who know networks.
pub(super) fn strip(mut entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| entries.keys().all(|name| name.starts_with(**wrapper))) {
        if entries.is_empty() {
            break;
        }
        entries = entries.into_iter().map(|(name, entry)| (name[wrapper.len()..].to_owned(), entry)).collect();
    }
    entries
}

/// What a user's key leaves of a file whose dictionaries have no such key: the tensors whose names begin with it.
pub(super) fn chosen(index: Index, key: Option<&str>) -> Result<Index, String> {
    let Some(key) = key else { return Ok(index) };
    let taken = index.keys.get(index.taken);
    if taken.is_some_and(|taken| taken == key || taken.rsplit('.').next() == Some(key)) {
        return Ok(index);
    }
    let prefix = format!("{}.", key.trim_end_matches('.'));
    let begins = |name: &String| name.starts_with(&prefix);
    // With what wrappers have put before it or without.
    let all = if index.entries.keys().any(begins) { index.entries } else { strip(index.entries) };
    if all.keys().any(begins) {
        let wanted = all.into_iter().filter(|(name, _)| begins(name));
        let entries = wanted.map(|(name, entry)| (name[prefix.len()..].to_owned(), entry)).collect();
        return Ok(Index { entries, metadata: index.metadata, ..Index::default() });
    }
    let first = |name: &String| name.split('.').next().unwrap_or_default().escape_debug().to_string();
    let firsts: BTreeSet<String> = all.keys().map(first).collect();
    let all = all.len();
    let keys: Vec<String> =
        index.keys.iter().filter(|key| !key.is_empty()).map(|key| key.escape_debug().to_string()).collect();
    let keys = if keys.is_empty() { String::new() } else { format!("weights are under {}; ", keys.join(", ")) };
    let firsts = firsts.into_iter().take(12).collect::<Vec<_>>().join(", ");
    let key = key.escape_debug();
    Err(format!("has nothing under the key \"{key}\": {keys}the names of its {all} tensors begin with {firsts}"))
}

/// Weights that PyTorch's pruning keeps in two: `weight_orig`, and `weight_mask` with what is left of it.
pub(super) fn pruned(mut entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let masked = |name: &String| Some((name.clone(), name.strip_suffix("_mask")?.to_owned()));
    for (mask, name) in entries.keys().filter_map(masked).collect::<Vec<_>>() {
        let original = format!("{name}_orig");
        let same =
            entries.get(&original).is_some_and(|entry| entry.shape == entries[&mask].shape && entry.made.is_none());
        if same
            && !entries.contains_key(&name)
            && let (Some(entry), Some(mask)) = (entries.remove(&original), entries.remove(&mask))
        {
            entries.insert(name, Entry { made: Some(Box::new(Made::Masked(mask))), ..entry });
        }
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
        let entry = || Entry {
            shape: vec![8, 8, 1, 1],
            strides: None,
            element: Err("".into()),
            deflated: None,
            at: 0..0,
            made: None,
        };
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
    fn rules_find_numbers_and_keep_what_stands_around() {
        let by = |name: &str, which: usize| translate(name, NAMINGS[which].1);
        let cases = [
            ("resnet.embedder.embedder.convolution.weight", Some("conv1.weight")),
            ("resnet.encoder.stages.0.layers.2.layer.1.normalization.bias", Some("layer1.2.bn2.bias")),
            ("encoder.stages.3.layers.0.shortcut.convolution.weight", Some("layer4.0.downsample.0.weight")),
            (
                "model.resnet.encoder.stages.2.layers.10.layer.0.convolution.weight",
                Some("model.layer3.10.conv1.weight"),
            ),
            ("resnet.encoder.stages.x.layers.2.layer.1.normalization.bias", None),
            ("layer1.0.conv1.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(by(name, 0).as_deref(), expected, "{name}");
        }
        assert_eq!(by("backbone.7.2.conv1.weight", 1).as_deref(), Some("backbone.layer4.2.conv1.weight"));
        let downsample = by("features.5.0.downsample.0.weight", 1);
        assert_eq!(downsample.as_deref(), Some("features.layer2.0.downsample.0.weight"));
        assert_eq!(by("10.weight", 1), None);
        assert!(translated(["a", "b"].into_iter(), NAMINGS[0].1).is_none());
    }

    #[test]
    fn a_weight_and_its_mask_are_one() {
        let names = ["a.weight_orig", "a.weight_mask", "b.weight_orig", "c.bias_mask", "d.weight"];
        assert_eq!(
            pruned(entries(names)).into_keys().collect::<Vec<_>>(),
            ["a.weight", "b.weight_orig", "c.bias_mask", "d.weight"]
        );
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
