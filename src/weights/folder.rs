//! Folders of weights as Hugging Face's libraries write them, and what the files beside the weights say of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Error, Result, files};

/// Files of weights in such folders, the better one first.
const WEIGHTS: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "pytorch_model.safetensors"];

/// Longest description that is read, in bytes. Those with ImageNet's labels have 70 kB.
const LONGEST: u64 = 4 << 20;

/// The file of weights that a path means: itself, or the one in a folder.
pub(super) fn weights_in(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let inside = WEIGHTS.iter().map(|name| path.join(name)).find(|path| path.is_file());
    inside.ok_or_else(|| {
        let reason = format!("is a folder without {}; name a file of weights", WEIGHTS.join(" or "));
        Error::file(path, reason)
    })
}

/// Adds what the descriptions beside a file of weights say of it, where it has the name that such folders give it and does not say
/// so itself.
///
/// # Errors
/// [`Error::File`] for a description that is damaged, or of a network that its tensors do not tell from another.
pub(super) fn describe(path: &Path, metadata: &mut BTreeMap<String, String>) -> Result<()> {
    if !path.file_name().is_some_and(|name| WEIGHTS.iter().any(|known| name == *known)) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for file in ["config.json", "preprocessor_config.json"] {
        let file = folder.join(file);
        let Some(said) = read(&file)? else { continue };
        if let Some(reason) = relative(&said) {
            return Err(Error::file(path, format!("{reason} ({})", file.display())));
        }
        for (key, value) in words(&said) {
            metadata.entry(key.to_owned()).or_insert(value);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Value>> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    if metadata.len() > LONGEST {
        return Err(Error::file(path, format!("has {} bytes, at most {LONGEST} are read", metadata.len())));
    }
    let text = files::read(path).map_err(Error::io(path))?;
    let said = serde_json::from_slice(&text).map_err(|error| Error::file(path, format!("is no JSON: {error}")))?;
    Ok(Some(said))
}

/// Why weights with the names of a known network are those of another one.
fn relative(said: &Value) -> Option<&'static str> {
    if said["model_type"] != "resnet" {
        return None;
    }
    let is_true = |key: &str| said[key] == true;
    if is_true("downsample_in_bottleneck") {
        return Some(
            "halves pictures in the first convolution of a block, not in its second as the networks known here",
        );
    }
    if is_true("downsample_in_first_stage") {
        return Some("halves pictures in its first stage, which the networks known here do not");
    }
    let activation = said["hidden_act"].as_str().unwrap_or("relu");
    (activation != "relu").then_some("has another activation than relu, which the networks known here have")
}

/// What a description says, in the words of our metadata.
fn words(said: &Value) -> Vec<(&'static str, String)> {
    let mut words = vec![];
    // timm has its own description inside that of the hub.
    let trained = if said["pretrained_cfg"].is_object() { &said["pretrained_cfg"] } else { said };
    if let Some(labels) = labels(said) {
        words.push(("classes", Value::from(labels).to_string()));
    }
    for (key, names) in [("pixel_mean", ["image_mean", "mean"]), ("pixel_std", ["image_std", "std"])] {
        let numbers = names.iter().find_map(|name| trained[*name].as_array());
        if let Some(numbers) = numbers.filter(|numbers| numbers.len() == 3 && numbers.iter().all(Value::is_number)) {
            words.push((key, numbers.iter().map(Value::to_string).collect::<Vec<_>>().join(",")));
        }
    }
    let sizes = [&trained["input_size"][2], &trained["crop_size"]["height"], &trained["size"]["shortest_edge"]];
    if let Some(side) = sizes.into_iter().find_map(Value::as_u64) {
        words.push(("side", side.to_string()));
    }
    words
}

/// Names of classes in the order of the logits: `id2label` by number, or `label_names`. transformers' own names for labels that
/// nobody has named, `LABEL_0`, are none.
fn labels(said: &Value) -> Option<Vec<String>> {
    let labels: Vec<String> = match (&said["id2label"], &said["label_names"]) {
        (Value::Object(by_number), _) => {
            let label = |index: usize| Some(by_number.get(&index.to_string())?.as_str()?.to_owned());
            (0..by_number.len()).map(label).collect::<Option<_>>()?
        }
        (_, Value::Array(list)) => list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        _ => return None,
    };
    let named = labels.iter().enumerate().any(|(index, label)| *label != format!("LABEL_{index}"));
    (named && !labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn descriptions_are_read_in_the_ways_of_their_libraries() {
        let transformers = json!({ "model_type": "resnet", "id2label": { "1": "b", "0": "a, first", "2": "c" } });
        assert_eq!(words(&transformers), [("classes", r#"["a, first","b","c"]"#.to_owned())]);
        let pixels =
            json!({ "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "size": { "shortest_edge": 96 } });
        let expected = [("pixel_mean", "0.5,0.5,0.5"), ("pixel_std", "0.25,0.25,0.25"), ("side", "96")];
        assert_eq!(words(&pixels), expected.map(|(key, value)| (key, value.to_owned())));
        let timm =
            json!({ "label_names": ["x"], "pretrained_cfg": { "mean": [0, 0, 0], "input_size": [3, 160, 160] } });
        assert_eq!(words(&timm).len(), 3);
        assert_eq!(labels(&json!({ "id2label": { "0": "LABEL_0", "1": "LABEL_1" } })), None);
        assert!(relative(&json!({ "model_type": "resnet", "downsample_in_bottleneck": true })).is_some());
        assert!(relative(&transformers).is_none());
    }
}
