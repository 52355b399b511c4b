//! The list of a gallery's pictures: one line of JSON for each, appended when its file has its name.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::files;
use serde::{Deserialize, Serialize};

/// Name of its file.
pub const FILE: &str = "manifest.jsonl";

/// One picture, made or failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub index: usize,
    pub class: String,
    /// Its file and that file's checksum; absent where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why there is no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    pub seed: u64,
    /// Before the last step; null where it is not a finite number.
    pub loss: Option<f32>,
    /// What each network makes of the picture as its file holds it.
    pub networks: Vec<Judgement>,
    /// Its share of the time that its batch took.
    pub seconds: f64,
    pub adapter: String,
}

/// What a network makes of a picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judgement {
    pub network: String,
    /// Probability of the class, and how many classes have a higher one.
    pub probability: Option<f32>,
    pub rank: usize,
    pub top5: Vec<Top>,
    /// All of them; null where one is not a finite number.
    pub logits: Vec<Option<f32>>,
}

/// One of the likeliest classes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top {
    pub index: usize,
    pub class: String,
    pub probability: Option<f32>,
}

/// What is kept in memory of a line.
#[derive(Deserialize)]
struct Short {
    index: usize,
    class: String,
    file: Option<String>,
    sha256: Option<String>,
    failed: Option<String>,
}

/// A picture as far as the list has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub class: String,
    /// File and checksum, or why there is none.
    pub made: Result<(String, String), String>,
    /// Where its line stands.
    at: u64,
    length: usize,
}

/// The list of a folder.
pub struct Manifest {
    path: PathBuf,
    /// By index of the class; of several lines of a class the last counts.
    pub listed: BTreeMap<usize, Listed>,
    /// Where the next line goes.
    end: u64,
    /// Whether there is one line for each picture, in order.
    sorted: bool,
}

impl Manifest {
    /// Reads the list of a folder, if there is one. A line that a killed process has not finished counts for nothing.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let mut manifest = Manifest { path: path.clone(), listed: BTreeMap::new(), end: 0, sorted: true };
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(manifest),
            file => file.with_context(|| format!("reading {}", path.display()))?,
        };
        let (mut lines, mut line) = (BufReader::new(file), Vec::new());
        for number in 1.. {
            line.clear();
            let length = lines.read_until(b'\n', &mut line).with_context(|| format!("reading {}", path.display()))?;
            if !line.ends_with(b"\n") {
                break;
            }
            let short: Short = serde_json::from_slice(&line)
                .with_context(|| format!("{}, line {number}: is damaged; delete that line", path.display()))?;
            let made = match (short.file, short.sha256, short.failed) {
                (Some(file), Some(sum), None) => Ok((file, sum)),
                (None, None, Some(why)) => Err(why),
                _ => bail!("{}, line {number}: is damaged; delete that line", path.display()),
            };
            let last = manifest.listed.last_key_value().map(|(index, _)| *index);
            manifest.sorted &= last.is_none_or(|last| last < short.index);
            let at = manifest.end;
            manifest.listed.insert(short.index, Listed { class: short.class, made, at, length });
            manifest.end += length as u64;
        }
        Ok(manifest)
    }

    /// Adds lines and brings them to the disk.
    pub fn append(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let said = || format!("writing {}", self.path.display());
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(false).open(&self.path).with_context(said)?;
        // Over what a killed process has left of a line.
        file.set_len(self.end).with_context(said)?;
        file.seek(SeekFrom::Start(self.end)).with_context(said)?;
        for entry in entries {
            let mut line = serde_json::to_vec(entry).expect("numbers, texts and lists have a form in JSON");
            line.push(b'\n');
            file.write_all(&line).with_context(|| format!("writing {}", self.path.display()))?;
            let made = match (&entry.file, &entry.sha256) {
                (Some(name), Some(sum)) => Ok((name.clone(), sum.clone())),
                _ => Err(entry.failed.clone().unwrap_or_default()),
            };
            let last = self.listed.last_key_value().map(|(index, _)| *index);
            self.sorted &= last.is_none_or(|last| last < entry.index);
            let listed = Listed { class: entry.class.clone(), made, at: self.end, length: line.len() };
            self.listed.insert(entry.index, listed);
            self.end += line.len() as u64;
        }
        file.sync_all().with_context(|| format!("writing {}", self.path.display()))
    }

    /// Brings the lines into the order of the classes, one for each, so that the list does not tell how it came about.
    pub fn sort(&mut self) -> anyhow::Result<()> {
        if !self.sorted {
            gather(&self.path, [&*self].into_iter())?;
            self.sorted = true;
            *self = Manifest::read(self.path.parent().unwrap_or(Path::new("")))?;
        }
        Ok(())
    }
}

/// Writes the lines of several lists as one, in the order of the classes.
pub fn gather<'a>(path: &Path, manifests: impl Iterator<Item = &'a Manifest>) -> anyhow::Result<()> {
    let mut lines = BTreeMap::new();
    let mut sources = Vec::new();
    for (source, manifest) in manifests.enumerate() {
        sources.push(File::open(&manifest.path).with_context(|| format!("reading {}", manifest.path.display()))?);
        lines.extend(manifest.listed.iter().map(|(index, listed)| (*index, (source, listed.at, listed.length))));
    }
    files::replace(path, |out| {
        for &(source, at, length) in lines.values() {
            let mut line = vec![0; length];
            sources[source].seek(SeekFrom::Start(at))?;
            sources[source].read_exact(&mut line)?;
            out.write_all(&line)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: usize, failed: Option<&str>) -> Entry {
        let file = failed.is_none().then(|| format!("{index}.png"));
        Entry {
            index,
            class: format!("class {index}"),
            sha256: file.is_some().then(|| "00".into()),
            file,
            failed: failed.map(str::to_owned),
            seed: 1,
            loss: Some(0.5),
            networks: vec![],
            seconds: 1.0,
            adapter: "a card".into(),
        }
    }

    #[test]
    fn a_line_that_was_cut_off_counts_for_nothing_and_the_last_of_a_class_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let mut manifest = Manifest::read(folder.path()).expect("none yet");
        manifest.append(&[entry(5, None), entry(3, Some("loss is NaN"))]).expect("written");
        let whole = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, format!("{whole}{}", &whole[..40])).expect("a torn line");
        let mut again = Manifest::read(folder.path()).expect("readable");
        assert_eq!(again.listed, manifest.listed);
        again.append(&[entry(3, None)]).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 3);
        again.sort().expect("sorted");
        let sorted = std::fs::read_to_string(&path).expect("text");
        let entries: Vec<Entry> = sorted.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [3, 5]);
        assert!(entries.iter().all(|entry| entry.failed.is_none()), "{sorted}");
        again.append(&[entry(7, None)]).expect("written");
        assert_eq!(Manifest::read(folder.path()).expect("readable").listed, again.listed);
        std::fs::write(&path, sorted.replacen('{', "", 1)).expect("written");
        let error = Manifest::read(folder.path()).err().expect("damaged");
        assert!(error.to_string().contains("line 1: is damaged"), "{error}");
    }
}
