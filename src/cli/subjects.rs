//! Pictures to be judged: their files, what they show, and who made them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::analysis::eight_bit;
use entoptic::classes::ClassList;
use entoptic::nets::Head;
use entoptic::picture::{self, Listing};
use entoptic::tensor::Array;
use serde_json::Value;

use super::making::file_stem;
use super::networks::{Loaded, extent, file_name};
use super::options::Global;

/// Smaller pictures have no spectrum to speak of.
const MIN_SIDE: usize = 16;

/// How far outside 0..1 values may be without a word: filters of photographs overshoot at edges.
const CUT_MARGIN: f32 = 0.25;

/// A picture and what is known of it.
pub struct Subject {
    pub name: String,
    pub picture: Array,
    /// Lowest and highest value of its file, where they are far outside 0..1 and were cut off.
    pub cut: Option<[f32; 2]>,
    /// What it shows, as [`ClassList::find`] understands it.
    pub class: Option<String>,
    pub maker: Option<Maker>,
    /// What its file says of the run that made it; null where it says nothing.
    pub run: Value,
    /// The recipe that its file holds.
    pub recipe: Option<String>,
}

/// The networks that made a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Name for people.
    pub label: String,
    /// SHA-256 of all weights that had a part in it.
    pub checksums: Vec<String>,
}

impl Subject {
    /// Reads a picture as an 8-bit file holds it, brought to a side if one is given, and what its file says of it. Where the
    /// file is silent, its folder or the beginning of its name may be one of the `classes`.
    pub fn read(path: &Path, side: Option<u32>, classes: Option<&ClassList>) -> anyhow::Result<Self> {
        let (picture, cut) = read(path, side)?;
        let mut words = picture::read_metadata(path)?;
        let run = match words.get("entoptic:run") {
            Some(text) => serde_json::from_str(text)
                .with_context(|| format!("{}: its text entoptic:run is damaged", path.display()))?,
            None => Value::Null,
        };
        let said = [&run["objective"], &run["objective"]["of"]];
        let said = said.into_iter().find_map(|of| of["name"].as_str()).map(str::to_owned);
        let class = said.or_else(|| classes.and_then(|classes| named(path, classes)));
        let recipe = words.remove("entoptic:recipe");
        Ok(Subject { name: path.display().to_string(), picture, cut, class, maker: Maker::of(&run), run, recipe })
    }
}

impl Maker {
    /// From what a picture says of the run that made it.
    fn of(run: &Value) -> Option<Self> {
        let objective = &run["objective"];
        let networks = run["networks"].as_array().filter(|networks| !networks.is_empty())?;
        let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let minus = objective["minus"].as_u64().unwrap_or_default() as usize;
        let mut label = String::new();
        for (index, network) in networks.iter().enumerate() {
            label += match index {
                0 => "",
                _ if index + minus < networks.len() => " + ",
                _ => " - ",
            };
            label += short(&text(network, "weights"));
        }
        // Of these the networks tell it all.
        let kind = text(objective, "kind");
        if !["class", "joint", "difference"].contains(&kind.as_str()) {
            label = format!("{kind}: {label}");
        }
        let mut checksums: Vec<String> = networks.iter().map(|network| text(network, "sha256")).collect();
        // The network whose picture was the goal had its part too.
        checksums.extend(objective["of"]["sha256"].as_str().map(str::to_owned));
        Some(Maker { label, checksums })
    }
}

/// The name of weights without what all of them have.
pub fn short(weights: &str) -> &str {
    let name = weights.strip_suffix(" (built in)").unwrap_or(weights);
    [".safetensors", ".pth", ".pt"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The names of networks among each other: of their weights, with a head that is not the main one, and with the checksum where
/// others have the same.
pub fn labels(networks: &[Loaded]) -> Vec<String> {
    let plain = |loaded: &Loaded| {
        let name = short(&file_name(Path::new(&loaded.network.source))).to_owned();
        if loaded.head == Head::Main { name } else { format!("{name} {}", loaded.head.name()) }
    };
    let name = |loaded: &Loaded| {
        let name = plain(loaded);
        let same = networks.iter().filter(|other| plain(other) == name).count();
        if same > 1 { format!("{name} {}", &loaded.network.checksum[..8]) } else { name }
    };
    networks.iter().map(name).collect()
}

/// The class that a picture's folder is named after, or its file: `golf-ball-seed3.png` after `golf ball`, and
/// `0574-golf-ball.png` too.
fn named(path: &Path, classes: &ClassList) -> Option<String> {
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let exact = |text: &String| (0..classes.len()).find(|&index| is_class(classes, index, text));
    if let Some(index) = folder.as_ref().and_then(exact) {
        return Some(classes.name(index).to_owned());
    }
    let file = path.file_stem()?.to_string_lossy();
    let digits = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let file = file.split_once('-').filter(|(number, _)| digits(number)).map_or(&*file, |(_, name)| name);
    let begins = |class: &str| file.strip_prefix(class).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let names = (0..classes.len()).map(|index| classes.name(index)).filter(|name| begins(&file_stem(name)));
    names.max_by_key(|name| name.len()).map(str::to_owned)
}

fn is_class(classes: &ClassList, index: usize, text: &str) -> bool {
    classes.synset(index) == Some(text) || classes.name(index) == text || file_stem(classes.name(index)) == text
}

/// Says how many files of a folder are left out because of their names.
pub fn say_others(global: &Global, folder: &Path, count: usize) {
    match count {
        0 => {}
        1 => global.say(format_args!("skipped 1 file of {} that is no picture, or hidden", folder.display())),
        _ => global.say(format_args!("skipped {count} files of {} that are no pictures, or hidden", folder.display())),
    }
}

/// Says which pictures are left out because they cannot be read: the first, and the others to the curious.
pub fn say_broken(global: &Global, reasons: &[String]) {
    match reasons {
        [] => {}
        [reason] => global.warn(format_args!("skipped 1 picture that cannot be read: {reason}")),
        [first, others @ ..] => {
            let count = reasons.len();
            global.warn(format_args!("skipped {count} pictures that cannot be read; --verbose names all: {first}"));
            others.iter().for_each(|reason| global.explain(|| format!("skipped {reason}")));
        }
    }
}

/// The files named, and the pictures in the folders named or one folder deeper, in the order of their names.
pub fn files(global: &Global, paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for path in paths {
        std::fs::metadata(path).with_context(|| path.display().to_string())?;
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let Listing { pictures: mut found, folders, mut skipped } = picture::list(path)?;
        for folder in folders {
            let mut inside = picture::list(&folder)?;
            found.append(&mut inside.pictures);
            skipped += inside.skipped;
        }
        if found.is_empty() {
            bail!(
                "{}: there is no picture in it whose name ends in .png, .jpg, .webp, .gif, .tif or .bmp",
                path.display()
            );
        }
        say_others(global, path, skipped);
        files.append(&mut found);
    }
    Ok(files)
}

/// The subjects of `read`, without those that cannot be read; but one that is `named` by the user must be good.
pub fn readable(
    global: &Global,
    files: &[PathBuf],
    named: &[PathBuf],
    read: impl Fn(&Path) -> anyhow::Result<Subject>,
) -> anyhow::Result<Vec<Subject>> {
    let (mut subjects, mut broken) = (vec![], vec![]);
    for file in files {
        match read(file) {
            Ok(subject) => {
                say_cut(global, &subject.name, subject.cut);
                subjects.push(subject);
            }
            Err(error) if named.contains(file) => return Err(error),
            Err(error) => broken.push(format!("{error:#}")),
        }
    }
    if let (true, Some(first)) = (subjects.is_empty(), broken.first()) {
        bail!("none of {} pictures can be read: {first}", broken.len());
    }
    say_broken(global, &broken);
    Ok(subjects)
}

/// Warns of a picture of which more was cut off than roundings.
pub fn say_cut(global: &Global, name: &str, cut: Option<[f32; 2]>) {
    if let Some([low, high]) = cut {
        global.warn(format_args!(
            "{name}: its values go from {low} to {high}, those of a picture from 0 to 1; what is beyond was cut off. \
             Divide bytes by 255, take back what normalised them"
        ));
    }
}

/// One picture as an 8-bit file holds it, brought to a side if one is given; and where its values went, if far outside 0..1.
fn read(path: &Path, side: Option<u32>) -> anyhow::Result<(Array, Option<[f32; 2]>)> {
    let read = picture::read(path)?;
    let [n, _, h, w] = read.shape.0;
    if n != 1 || h.min(w) < MIN_SIDE {
        bail!("{}: {n} of {w} x {h} pixels, one of at least {MIN_SIDE} x {MIN_SIDE} is judged", path.display());
    }
    let [low, high] = extent(&read);
    let cut = (low < -CUT_MARGIN || high > 1.0 + CUT_MARGIN).then_some([low, high]);
    let read = eight_bit(&read);
    let read = match side {
        Some(side) if (h, w) != (side as usize, side as usize) => picture::fit(&read, side as usize),
        _ => read,
    };
    Ok((read, cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn makers_are_all_networks_that_had_a_part() {
        let network = |name: &str| json!({ "weights": name, "sha256": format!("sum of {name}") });
        let run = |objective: Value, networks: &[&str]| {
            let networks: Vec<Value> = networks.iter().map(|name| network(name)).collect();
            Maker::of(&json!({ "objective": objective, "networks": networks })).expect("there is one")
        };
        let class = run(json!({ "kind": "class" }), &["demo-a (built in)"]);
        assert_eq!(class, Maker { label: "demo-a".into(), checksums: vec!["sum of demo-a (built in)".into()] });
        assert_eq!(run(json!({ "kind": "joint" }), &["a.pth", "b.safetensors"]).label, "a + b");
        assert_eq!(run(json!({ "kind": "difference", "minus": 2 }), &["a", "b", "c"]).label, "a - b - c");
        let matched = run(json!({ "kind": "match", "of": { "sha256": "goal" } }), &["a"]);
        assert_eq!((matched.label.as_str(), matched.checksums[1].as_str()), ("match: a", "goal"));
        assert_eq!(Maker::of(&Value::Null), None);
    }

    #[test]
    fn folders_and_file_names_tell_classes() {
        let classes = ClassList::parse("n03445777,church,church organ,cassette player");
        let class = |path: &str| named(Path::new(path), &classes);
        assert_eq!(class("val/n03445777/x.jpg").as_deref(), Some("golf ball"));
        assert_eq!(class("golf-ball/church.png").as_deref(), Some("golf ball"));
        assert_eq!(class("out/church-seed3.png").as_deref(), Some("church"));
        assert_eq!(class("church-organ-joint.png").as_deref(), Some("church organ"));
        assert_eq!(class("0574-golf-ball.png").as_deref(), Some("golf ball"));
        assert_eq!(class("0482-cassette-player-seed3.png").as_deref(), Some("cassette player"));
        assert_eq!(class("churches.png"), None);
        assert_eq!(class("out/seed3-church.png"), None);
    }
}
