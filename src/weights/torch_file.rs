//! The files of `torch.save`: a zip archive since PyTorch 1.6, a row of pickles and arrays before.
//!
//! Both describe tensors in a pickle and keep their numbers in storages beside it. Tensors may share a storage, begin
//! anywhere in it and skip through it by strides. Here they become an index; numbers stay in the file until asked for.

use std::collections::BTreeMap;

use super::container::{Found, is_weight};
use super::entry::{Entry, Index, Made, Sparse};
use super::pickle::{Pickle, Storage, Value, useless};
use super::zip::{Archive, Deflated, Member};

/// The number that a legacy file begins with, a little-endian integer of ten bytes.
const MAGIC: &[u8] = b"l\xfc\x9cF\xf9 j\xa8P\x19";

/// Longest pickle that is unpacked where it is compressed. A tensor takes about a hundred bytes.
const PICKLE: usize = 1 << 24;

const GIVE: &str = "give a .safetensors file or one of torch.save(model.state_dict(), path)";

/// Where the bytes of a storage are.
struct Place {
    /// They are compressed.
    deflated: Option<Deflated>,
    /// Where they begin, in the file or in what is unpacked.
    start: usize,
    bytes: usize,
}

/// Reads the directory and the pickle of an archive; says in words what is wrong.
pub(super) fn index_zip(bytes: &[u8], key: Option<&str>) -> Result<Index, String> {
    let archive = Archive::open(bytes)?;
    let described = archive.names().find(|name| name.rsplit_once('/').map_or(*name, |(_, file)| file) == "data.pkl");
    let described = described.ok_or_else(|| format!("is a zip archive, but not one of PyTorch; {GIVE}"))?;
    let folder = &described[..described.len() - "data.pkl".len()];
    let find = |name: &str| archive.find(&format!("{folder}{name}"));
    if find("constants.pkl")?.is_some() {
        return Err(format!("is a TorchScript program, which is not run; {GIVE}"));
    }
    if let Some(order) = find("byteorder")? {
        let order = archive.read(&order)?;
        match order.trim_ascii() {
            b"little" => {}
            b"big" => {
                return Err("holds big-endian numbers, which are not read; save it again on another machine".into());
            }
            _ => {
                return Err(
                    "archive is damaged: its order of bytes is neither little nor big; download it again".into()
                );
            }
        }
    }
    let pickle = find("data.pkl")?.expect("its name is in the archive");
    if matches!(&pickle, Member::Deflated(deflated) if deflated.size > PICKLE) {
        return Err(format!(
            "has a compressed pickle of more than {PICKLE} bytes, so it is not a file of weights; {GIVE}"
        ));
    }
    let pickle = archive.read(&pickle)?;
    index(&Pickle::read(&pickle)?, key, |storage| {
        let key = storage.key;
        let member = find(&format!("data/{key}"))?;
        let place = match member {
            Some(Member::Stored(at)) => Place { deflated: None, start: at.start, bytes: at.len() },
            Some(Member::Deflated(deflated)) => Place { start: 0, bytes: deflated.size, deflated: Some(deflated) },
            None => return Err(damaged(&format!("storage {} is not there", key.escape_debug()))),
        };
        match needed(storage) {
            Some(needed) if needed <= place.bytes => Ok(place),
            _ => Err(damaged(&format!(
                "storage {} holds {} bytes, expected {} elements of {}",
                key.escape_debug(),
                place.bytes,
                storage.count,
                storage.kind.bytes
            ))),
        }
    })
}

/// Reads the pickles of a legacy file; says in words what is wrong. Any other pickle is refused.
pub(super) fn index_legacy(bytes: &[u8], key: Option<&str>) -> Result<Index, String> {
    let magic = Pickle::read(bytes)?;
    if magic.value != Value::Long(MAGIC) {
        return Err(format!("is a pickle that torch.save did not write; {GIVE}"));
    }
    let version = Pickle::read(&bytes[magic.end..])?;
    if version.value != Value::Int(1001) {
        return Err(format!("is a legacy PyTorch file of another version than 1001; {GIVE}"));
    }
    let mut at = magic.end + version.end;
    let machine = Pickle::read(&bytes[at..])?;
    if machine.get(machine.value, "little_endian") != Some(Value::Bool(true)) {
        return Err("holds big-endian numbers, which are not read; save it again on another machine".into());
    }
    at += machine.end;
    let pickle = Pickle::read(&bytes[at..])?;
    at += pickle.end;
    let keys = Pickle::read(&bytes[at..])?;
    at += keys.end;
    // Storages lie behind each other, in the order of the keys; where each ends only the pickle's types tell.
    let storages: BTreeMap<&str, &Storage> = pickle.storages().iter().map(|storage| (storage.key, storage)).collect();
    if let Some(storage) = pickle.storages().iter().find(|storage| needed(storage) != needed(storages[storage.key])) {
        return Err(damaged(&format!("storage {} has two sizes", storage.key.escape_debug())));
    }
    let mut places = BTreeMap::new();
    for key in keys.items(keys.value) {
        let Value::Text(key) = *key else { return Err(damaged("the name of a storage is not text")) };
        let unknown = || damaged(&format!("storage {} is not described", key.escape_debug()));
        let storage = storages.get(key).ok_or_else(unknown)?;
        let cut = || {
            let (key, there) = (key.escape_debug(), bytes.len());
            format!("file is truncated: storage {key} does not end within its {there} bytes; download it again")
        };
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(cut)?;
        if u64::from_le_bytes(*count) != storage.count as u64 {
            return Err(damaged(&format!(
                "storage {} has {} elements, expected {}",
                key.escape_debug(),
                u64::from_le_bytes(*count),
                storage.count
            )));
        }
        let start = at + 8;
        at = needed(storage)
            .and_then(|needed| start.checked_add(needed))
            .filter(|end| *end <= bytes.len())
            .ok_or_else(cut)?;
        places.insert(key, start..at);
    }
    index(&pickle, key, |storage| match places.get(storage.key) {
        Some(at) => Ok(Place { deflated: None, start: at.start, bytes: at.len() }),
        None => Err(damaged(&format!("storage {} is not there", storage.key.escape_debug()))),
    })
}

/// Finds the weights in a pickle, under the key that the user names or the first that there is, and every tensor of theirs in the
/// file.
fn index(
    pickle: &Pickle,
    key: Option<&str>,
    place: impl Fn(&Storage) -> Result<Place, String>,
) -> Result<Index, String> {
    let found = Found::of(pickle);
    let taken = key.and_then(|key| found.named(key)).unwrap_or(0);
    let mut index = Index { taken, ..Index::default() };
    for (name, value) in found.dictionaries.get(taken).into_iter().flat_map(|(_, weights)| pickle.pairs(*weights)) {
        let Value::Text(name) = name else { continue };
        if let Value::Tensor(at) = value {
            index.entries.insert(name.to_owned(), entry(pickle, name, at, &place)?);
        } else if let Value::Sparse(at) = value {
            index.entries.insert(name.to_owned(), sparse(pickle, name, at, &place)?);
        } else if let Some(global) = pickle.opaque(value).filter(|_| is_weight(name)) {
            return Err(strange(&name.escape_debug().to_string(), &global));
        }
    }
    index.keys = found.dictionaries.into_iter().map(|(path, _)| path).collect();
    if !index.entries.is_empty() {
        return Ok(index);
    }
    Err(match Found::behind(pickle) {
        Some(global) => useless(&global),
        None if found.outer.is_empty() => format!("holds no tensors by name; {GIVE}"),
        None => {
            format!("holds no tensors by name, neither as it is nor under its keys {}; {GIVE}", listed(&found.outer))
        }
    })
}

/// Words from a file, fit for a message.
fn listed(words: &[String]) -> String {
    const MOST: usize = 12;
    let shown = words.iter().take(MOST).map(|word| word.escape_debug().take(40).collect::<String>());
    let more = if words.len() > MOST { format!(" and {} more", words.len() - MOST) } else { String::new() };
    format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
}

/// What is wrong with a weight that is no plain tensor, and what to do.
fn strange(name: &str, global: &str) -> String {
    let (what, advice) = match global {
        global if global.contains("_qtensor") || global.starts_with("torch.Q") || global.starts_with("torch.q") => {
            ("quantized", "save the network as it was before it was quantized")
        }
        global if global.contains("_sparse_") => ("sparse", "save it after .to_dense()"),
        _ => ("no plain tensor", "save it as one"),
    };
    format!("tensor {name} is {what} ({global}), which is not read; {advice}")
}

/// A sparse tensor, whose parts are plain ones.
fn sparse(
    pickle: &Pickle,
    name: &str,
    at: usize,
    place: impl Fn(&Storage) -> Result<Place, String>,
) -> Result<Entry, String> {
    let described = pickle.sparse(at);
    let part = |at: usize| entry(pickle, name, at, &place);
    let (values, shown) = (part(described.values)?, part(described.values)?);
    let indices = described.indices.iter().map(|at| part(*at)).collect::<Result<_, _>>()?;
    let sparse = Sparse { layout: described.layout, indices, values };
    Ok(Entry { shape: described.shape.clone(), made: Some(Box::new(Made::Sparse(sparse))), ..shown })
}

fn entry(
    pickle: &Pickle,
    name: &str,
    at: usize,
    place: impl Fn(&Storage) -> Result<Place, String>,
) -> Result<Entry, String> {
    let (tensor, storage) = pickle.tensor(at);
    let place = place(&storage)?;
    let elements = place.bytes / tensor.kind.bytes;
    let count = tensor.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    // How far the last element is from the first.
    let span = tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .try_fold(0usize, |span, (size, stride)| span.checked_add(stride.checked_mul(size.saturating_sub(1))?));
    let (first, last) = match (count, span) {
        (Some(0), _) => (0, 0),
        (Some(_), Some(span)) => (tensor.offset, tensor.offset.saturating_add(span).saturating_add(1)),
        _ => (0, usize::MAX),
    };
    if last > elements {
        let (name, key) = (name.escape_debug(), storage.key.escape_debug());
        return Err(damaged(&format!("tensor {name} reaches beyond storage {key} of {elements} elements")));
    }
    if count.is_none_or(|count| count > elements) {
        let (name, shape) = (name.escape_debug(), &tensor.shape);
        return Err(format!(
            "tensor {name} of shape {shape:?} repeats the {elements} elements of its storage; save it after .contiguous()"
        ));
    }
    let size = tensor.kind.bytes;
    Ok(Entry {
        shape: tensor.shape.clone(),
        strides: (!is_row_major(&tensor.shape, &tensor.strides)).then(|| tensor.strides.clone()),
        element: tensor.kind.element.ok_or_else(|| tensor.kind.shown().to_owned()),
        deflated: place.deflated,
        made: None,
        at: place.start + first * size..place.start + last * size,
    })
}

/// Whether elements follow each other without gaps in the order of their indices.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.contains(&0)
        || shape.iter().zip(strides).rev().filter(|(size, _)| **size > 1).all(|(size, stride)| {
            let fits = *stride == expected;
            expected *= size;
            fits
        })
}

/// Bytes of a storage.
fn needed(storage: &Storage) -> Option<usize> {
    storage.count.checked_mul(storage.kind.bytes)
}

fn damaged(how: &str) -> String {
    format!("file is damaged: {how}; download it again")
}

#[cfg(test)]
mod tests {
    use super::super::zip::tests::{File, archive};
    use super::*;

    /// A legacy file: magic number, version, order of bytes, what is given, the names of storages, the storages.
    fn legacy(described: &[u8], keys: &[u8], storages: &[u8]) -> Vec<u8> {
        let head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\rlittle_endian\x88s.";
        [head, described, keys, storages].concat()
    }

    /// Six floats from 1 to 6 in storage `k`.
    fn six(described: &[u8]) -> Vec<u8> {
        let numbers = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes).concat();
        legacy(&[described, b"."].concat(), b"]U\x01ka.", &[&6u64.to_le_bytes()[..], &numbers].concat())
    }

    fn tensor(offset: u32, shape: &[u32], strides: &[u32]) -> Vec<u8> {
        let tuple = |sizes: &[u32]| {
            let items: Vec<u8> = sizes.iter().flat_map(|size| [&b"J"[..], &size.to_le_bytes()].concat()).collect();
            [b"(", &items[..], b"t"].concat()
        };
        let storage = b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01kU\x03cpuK\x06tQJ";
        [&storage[..], &offset.to_le_bytes(), &tuple(shape), &tuple(strides), b"tR"].concat()
    }

    fn one(offset: u32, shape: &[u32], strides: &[u32]) -> Vec<u8> {
        six(&[b"}U\x01t", &tensor(offset, shape, strides)[..], b"s"].concat())
    }

    fn message(bytes: &[u8]) -> String {
        index_legacy(bytes, None).expect_err("refused")
    }

    #[test]
    fn tensors_must_lie_within_their_storage() {
        for (offset, shape, strides) in [
            (0, &[6][..], &[1][..]),
            (5, &[], &[]),
            (1, &[2, 2], &[3, 1]),
            (9, &[0, 3], &[3, 1]),
            (5, &[1, 1], &[7, 9]),
        ] {
            index_legacy(&one(offset, shape, strides), None).expect("a good tensor");
        }
        for (offset, shape, strides) in
            [(1, &[6][..], &[1][..]), (6, &[], &[]), (0, &[2, 2], &[3, 3]), (i32::MAX as u32, &[1], &[1])]
        {
            let message = message(&one(offset, shape, strides));
            assert_eq!(message, "file is damaged: tensor t reaches beyond storage k of 6 elements; download it again");
        }
        let large = [i32::MAX as u32; 5];
        assert!(message(&one(0, &large, &large)).contains("reaches beyond"));
        assert!(message(&one(0, &large[..2], &[0; 2])).contains("repeats the 6 elements of its storage"));
        let repeated = message(&one(0, &[2, 6], &[0, 1]));
        assert!(repeated.starts_with("tensor t of shape [2, 6] repeats the 6 elements of its storage"), "{repeated}");
    }

    #[test]
    fn weights_are_found_among_other_things() {
        let t = tensor(0, &[6], &[1]);
        let names = |described: &[u8]| {
            index_legacy(&six(described), None).map(|index| index.entries.into_keys().collect::<Vec<_>>())
        };
        let inner = [b"}U\x01t", &t[..], b"sU\x01nK\x03s"].concat();
        assert_eq!(names(&inner).expect("weights"), ["t"]);
        // A best accuracy that is a tensor too does not make the outer dictionary the weights.
        let outer = [b"}U\x08best_acc", &t[..], b"sU\x0astate_dict", &inner, b"s"].concat();
        assert_eq!(names(&outer).expect("weights"), ["t"]);
        let twice = [b"}U\x05model", &outer[..], b"s"].concat();
        assert_eq!(names(&twice).expect("weights"), ["t"]);
        // Objects beside the weights, and among them under a name that no weight has.
        let beside = [&b"}U\x04argscargparse\nNamespace\n)\x81}U\x02lrK\x01sbsU\x05model"[..], &inner, b"s"].concat();
        assert_eq!(names(&beside).expect("weights"), ["t"]);
        let among = [b"}U\x01t", &t[..], b"sU\x05epochca\nb\n)Rs"].concat();
        assert_eq!(names(&among).expect("weights"), ["t"]);
        for (global, words) in [
            ("torch._utils\n_rebuild_qtensor", "is quantized (torch._utils._rebuild_qtensor), which is not read"),
            ("torch._utils\n_rebuild_sparse_tensor", "is sparse (torch._utils._rebuild_sparse_tensor)"),
            ("a\nb", "is no plain tensor (a.b), which is not read; save it as one"),
        ] {
            let one = [b"}U\x01t", &t[..], b"sU\x09fc.weightc", global.as_bytes(), b"\n)Rs"].concat();
            let said = names(&one).expect_err("refused");
            assert!(said.starts_with(&format!("tensor fc.weight {words}")), "{said}");
        }
        let nothing = |described: &[u8]| legacy(&[described, b"."].concat(), b"].", b"");
        // A whole network, alone and among other things.
        let network = b"ctorchvision.models.resnet\nResNet\n)\x81}b";
        let inside = [&b"}U\x04argsca\nb\nsU\x05model"[..], network, b"s"].concat();
        for described in [&network[..], &inside] {
            let said = message(&nothing(described));
            assert!(
                said.starts_with("pickle asks for torchvision.models.resnet.ResNet, which weights have no use for"),
                "{said}"
            );
        }
        let cases = [&b"}"[..], b"K\x01", b"}q\0U\x0astate_dicth\0s", b"}K\x01K\x02s"].map(nothing);
        for bytes in cases.into_iter().chain([six(&t)]) {
            let said = message(&bytes);
            assert!(said.starts_with("holds no tensors by name"), "{said}");
            assert!(said.contains("; give a .safetensors file or one of torch.save("), "{said}");
        }
    }

    #[test]
    fn legacy_files_that_cannot_be_read_say_why() {
        assert!(message(b"\x80\x02}.").starts_with("is a pickle that torch.save did not write; give"));
        let good = one(0, &[6], &[1]);
        let swap = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|window| window == from).expect("it is there");
            [&good[..at], to, &good[at + from.len()..]].concat()
        };
        assert!(message(&swap(b"M\xe9\x03", b"M\xea\x03")).contains("of another version than 1001"));
        assert!(message(&swap(b"\x88s.", b"\x89s.")).starts_with("holds big-endian numbers"));
        assert!(message(&swap(b"]U\x01ka.", b"]U\x01ja.")).contains("storage j is not described"));
        assert!(message(&swap(b"]U\x01ka.", b"].")).contains("storage k is not there"));
        assert!(message(&swap(b"]U\x01ka.", b"]K\x01a.")).contains("the name of a storage is not text"));
        assert!(
            message(&swap(&6u64.to_le_bytes(), &7u64.to_le_bytes())).contains("storage k has 7 elements, expected 6")
        );
        for length in 0..good.len() {
            assert!(message(&good[..length]).starts_with("file is truncated"), "{length} bytes");
        }
    }

    #[test]
    fn other_archives_are_not_taken_for_weights() {
        let message = |names: &[&str]| {
            let files: Vec<File> = names.iter().map(|name| File { name, ..File::default() }).collect();
            index_zip(&archive(&files, false), None).expect_err("refused")
        };
        assert!(message(&["word/document.xml"]).starts_with("is a zip archive, but not one of PyTorch"));
        assert!(message(&["m/constants.pkl", "m/data.pkl"]).starts_with("is a TorchScript program, which is not run"));
        assert!(message(&["m/byteorder", "m/data.pkl"]).contains("its order of bytes is neither"));
        assert!(message(&["m/data.pkl"]).starts_with("file is truncated: its pickle does not end"));
        assert!(message(&["m/data.pkl", "m/data.pkl"]).contains("it holds m/data.pkl twice"));
    }
}
