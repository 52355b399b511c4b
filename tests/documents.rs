//! What documents promise of the source: the list of dependencies, of unsafe code, of faults and their tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows of the table below a heading, without its head, cell by cell.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let start = document.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = &document[start + 4..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What a text has between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Files of Rust below a folder, but those of the fuzzer, which is another package.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "fuzz") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let keys = |table: &str| manifest[table].as_table().expect("a table").keys().cloned().collect::<Vec<_>>();
    let named: BTreeSet<String> = [keys("dependencies"), keys("dev-dependencies")].concat().into_iter().collect();
    let rows = table(&read("docs/dependencies.md"), "Crates");
    let listed: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, named);
    assert_eq!(rows.len(), listed.len(), "none is listed twice");
    assert!(rows.iter().all(|row| row.len() == 4 && row[1].len() > 5), "each has a reason: {rows:?}");
}

#[test]
fn unsafe_code_is_where_the_document_says() {
    // In two parts, or this file would be among those found.
    let allowed = concat!("#[allow(", "unsafe_code)]");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    for path in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let name = path.strip_prefix(root).expect("it lies there").to_string_lossy().replace('\\', "/");
        assert!(!text.contains(concat!("#![allow(", "unsafe_code")), "{name} allows it everywhere");
        found.extend(text.matches(allowed).map(|_| name.clone()));
    }
    found.sort();
    let mut listed: Vec<String> = table(&read("docs/dependencies.md"), "Unsafe code")
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    listed.sort();
    assert_eq!(found, listed);
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
}

/// Names of tests in a text.
fn tests(text: &str) -> Vec<String> {
    quoted(text).filter(|word| word.contains("::") && !word.contains(['`', ' ', '(', '*'])).map(str::to_owned).collect()
}

/// Fails unless there is such a test, named by its file and its function.
fn assert_is_there(name: &str) {
    let (file, test) = name.rsplit_once("::").expect("two parts");
    let file = if file.ends_with(".rs") { file.to_owned() } else { format!("tests/{file}.rs") };
    let text = read(&file);
    let at = text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no test {test}"));
    let before = text[..at].lines().rev().take(3).any(|line| line.trim() == "#[test]");
    assert!(before, "{file}: {test} is no test");
}

#[test]
fn every_fault_has_a_test_that_is_there() {
    let document = read("docs/reliability.md");
    let rows = table(&document, "Faults");
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()) && !tests(&row[4]).is_empty(), "{row:?}");
    }
    let named = rows.iter().flat_map(|row| tests(&row[4]));
    let others = quoted(&document).filter(|word| word.contains("::") && !word.contains(['`', ' ', '(', '/']));
    let named: BTreeSet<String> =
        named.chain(others.map(str::to_owned)).filter(|name| !name.starts_with("Device::")).collect();
    for name in named.iter().filter(|name| *name != "SystemTime::now" && *name != "FILE::NAME") {
        assert_is_there(name);
    }
}

#[test]
fn every_kind_of_checkpoint_has_a_test_that_is_there() {
    let document = read("docs/checkpoints.md");
    let rows = table(&document, "Files");
    assert!(rows.len() > 15, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()) && !tests(&row[3]).is_empty(), "{row:?}");
    }
    tests(&document).iter().filter(|name| *name != "FILE::NAME").for_each(|name| assert_is_there(name));
    // The order of the keys is that of the source.
    let source = read("src/weights/container.rs");
    let list = source.split("const KEYS").nth(1).and_then(|rest| rest.split("];").next()).expect("the list of keys");
    let keys: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let section = document.split("\n## Keys\n").nth(1).expect("a section on keys");
    assert_eq!(quoted(section).take(keys.len()).collect::<Vec<_>>(), keys);
}

/// What clippy refuses is not there; the lint is on.
#[test]
fn the_clock_is_not_asked() {
    let call = concat!("SystemTime", "::now");
    for path in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let text = fs::read_to_string(&path).expect("UTF-8");
        assert!(!text.contains(&format!("{call}(")), "{} asks a clock that may jump", path.display());
    }
    assert!(read("clippy.toml").contains(&format!("path = \"std::time::{call}\"")));
    assert!(read("Cargo.toml").contains("all = { level = \"warn\""), "clippy's lints are on");
}
