//! `entoptic gallery merge`: shards joined, once nothing is missing and nothing doubled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use entoptic::files;
use entoptic::studio::file_sum;

use super::super::events::print_path;
use super::super::options::Global;
use super::MergeArgs;
use super::folder::{Folder, lock};
use super::identity::Identity;
use super::manifest::{self, Manifest};
use super::shard::Shard;

/// A shard that is complete.
struct Part {
    path: PathBuf,
    manifest: Manifest,
    _lock: File,
}

pub fn run(global: &Global, args: MergeArgs) -> anyhow::Result<()> {
    let mut whole: Option<(PathBuf, Identity)> = None;
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    for path in folders(&args.shards)? {
        let Some(identity) = Identity::read(&path)? else {
            bail!("{}: holds no gallery, nor shards of one", path.display())
        };
        let Some(shard) = identity.shard else { bail!("{}: is a whole gallery, not a shard", path.display()) };
        let (first, one) = whole.get_or_insert_with(|| (path.clone(), identity.clone()));
        // But for the part all must agree.
        let differences = identity.with_shard(one.shard.map(|one| Shard { of: shard.of, ..one })).differences(one);
        if !differences.is_empty() {
            bail!(
                "{} and {} are not of one gallery: they differ in {}",
                first.display(),
                path.display(),
                differences.join(", ")
            );
        }
        if let Some(other) = parts.get(&shard.index) {
            bail!("part {shard} is doubled: {} and {}", other.path.display(), path.display());
        }
        let part = Part { manifest: Manifest::read(&path)?, _lock: lock(&path)?, path };
        part.check(&identity)?;
        parts.insert(shard.index, part);
    }
    let (_, identity) = whole.context("no shard is named")?;
    let of = identity.shard.map_or(0, |shard| shard.of);
    let missing: Vec<String> =
        (1..=of).filter(|index| !parts.contains_key(index)).map(|index| index.to_string()).collect();
    if !missing.is_empty() {
        bail!("of {of} parts {} {} missing", missing.join(", "), if missing.len() == 1 { "is" } else { "are" });
    }
    let identity = identity.with_shard(None);
    let folder = Folder::open(&args.out, &identity, false)?;
    for part in parts.values() {
        part.copy(&folder.path)?;
    }
    manifest::gather(&folder.path.join(manifest::FILE), parts.values().map(|part| &part.manifest))?;
    let listed = Manifest::read(&folder.path)?.listed.len();
    if listed != identity.classes.len() {
        bail!("{}: {listed} pictures are listed, not {}", folder.path.display(), identity.classes.len());
    }
    print_path(&folder.path)?;
    global.say(format_args!("{listed} pictures of {of} parts in {}", folder.path.display()));
    Ok(())
}

/// The folders named, and in place of those that hold shards these, in the order of their names.
fn folders(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for path in named {
        let mut inside: Vec<PathBuf> = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
            .with_context(|| format!("reading folder {}", path.display()))?;
        inside.retain(|entry| {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("shard-") && entry.is_dir()
        });
        inside.sort();
        if inside.is_empty() { folders.push(path.clone()) } else { folders.append(&mut inside) }
    }
    Ok(folders)
}

impl Part {
    /// Whether it has each of its pictures, and no other.
    fn check(&self, identity: &Identity) -> anyhow::Result<()> {
        let (own, path) = (identity.own(), self.path.display());
        if let Some(index) = self.manifest.listed.keys().find(|index| own.iter().all(|(class, _)| class != *index)) {
            bail!("{path}: lists class {index}, which belongs to another part");
        }
        let lacks = |(class, _): &&(usize, String)| match self.manifest.listed.get(class).map(|listed| &listed.made) {
            Some(Ok((file, _))) => !self.path.join(file).is_file(),
            _ => true,
        };
        let lacking: Vec<String> = own.iter().filter(lacks).map(|(class, name)| format!("{class} {name}")).collect();
        if !lacking.is_empty() {
            let few = if lacking.len() > 10 { ", .." } else { "" };
            bail!(
                "{path}: {} of {} pictures are missing ({}{few}); run its command again",
                lacking.len(),
                own.len(),
                lacking[..lacking.len().min(10)].join(", ")
            );
        }
        Ok(())
    }

    /// Copies its pictures, each of which must be the one that it lists.
    fn copy(&self, to: &Path) -> anyhow::Result<()> {
        for listed in self.manifest.listed.values() {
            let Ok((name, sum)) = &listed.made else { continue };
            let from = self.path.join(name);
            if file_sum(&from)? != *sum {
                bail!("{}: is not the picture that {} lists", from.display(), manifest::FILE);
            }
            let mut file = File::open(&from).with_context(|| format!("reading {}", from.display()))?;
            files::replace(&to.join(name), |mut out| std::io::copy(&mut file, &mut out).map(drop))?;
        }
        Ok(())
    }
}
