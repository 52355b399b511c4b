//! Which way imports point, read from the `use` lines and the `crate::` paths of all files of the engine.
//!
//! The order of the rooms is that of the `mod` lines in `src/lib.rs`: a room imports from rooms above it alone, and the command
//! line, which is the last, from all. Within and between rooms no two files need each other, by however long a way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

/// Rooms that do not import from each other, whatever their order.
const APART: [&str; 3] = ["synthesis", "training", "analysis"];

/// Files that need each other, and why that is better than the alternative.
const RINGS: &[(&[&str], &str)] = &[];

/// A module by its path below `src`, without `mod.rs` and the ending: `ops/conv2d/sizes`.
type Module = String;

/// What the files of the engine say of each other.
struct Sources {
    /// The text of each module without comments and unit tests.
    texts: BTreeMap<Module, String>,
    /// Rooms in the order of `src/lib.rs`, the command line last.
    rooms: Vec<String>,
    /// Where the names come from that an index of a folder, or the front page, hands on: index and name to module.
    handed_on: BTreeMap<(Module, String), Module>,
}

impl Sources {
    fn read() -> Sources {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        read_folder(&root, "", &mut texts);
        let front = texts.remove("lib").expect("src/lib.rs");
        let main = texts.remove("main").expect("src/main.rs");
        let modules = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.trim_start_matches("pub "));
            lines.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect()
        };
        let rooms = [modules(&front), modules(&main)].concat();
        let mut sources = Sources { texts, rooms, handed_on: BTreeMap::new() };
        let mut handed_on = BTreeMap::new();
        for (module, text) in sources.texts.iter().chain([(&String::new(), &front)]) {
            for (path, public) in used(text) {
                let name = path.last().expect("a path has a part").clone();
                if public && let Some(from) = sources.resolve(module, &path) {
                    handed_on.insert((module.clone(), name), from);
                }
            }
        }
        sources.handed_on = handed_on;
        sources
    }

    /// The module that a path leads to, as it stands in another one; nothing where that is of another crate.
    fn resolve(&self, module: &str, path: &[String]) -> Option<Module> {
        let mut at: Vec<&str> = if module.is_empty() { vec![] } else { module.split('/').collect() };
        let mut rest = path;
        match path[0].as_str() {
            "crate" | "entoptic" => (at, rest) = (vec![], &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            child if self.texts.contains_key(&joined(&at, child)) => {}
            _ => return None,
        }
        // Down while there are modules; what follows is an item, which the module has itself or hands on.
        while let Some(part) = rest.first() {
            if self.texts.contains_key(&joined(&at, part)) {
                at.push(part);
                rest = &rest[1..];
            } else if let Some(from) = self.handed_on.get(&(at.join("/"), part.clone())) {
                return Some(from.clone());
            } else {
                break;
            }
        }
        (!at.is_empty()).then(|| at.join("/"))
    }

    /// The modules that a module imports from. That an index hands on what its folder has is no import.
    fn imports(&self, module: &str) -> BTreeSet<Module> {
        let text = &self.texts[module];
        let lines = used(text).into_iter().filter(|(_, public)| !public).map(|(path, _)| path);
        let found = lines.chain(written_out(text)).filter_map(|path| self.resolve(module, &path));
        found.filter(|other| other != module).collect()
    }

    fn place(&self, room: &str) -> usize {
        let place = self.rooms.iter().position(|known| known == room);
        place.unwrap_or_else(|| panic!("src/lib.rs does not list the room {room}"))
    }
}

fn room(module: &str) -> &str {
    module.split('/').next().expect("a module has a name")
}

fn joined(at: &[&str], part: &str) -> Module {
    [at, &[part]].concat().join("/")
}

fn read_folder(folder: &Path, prefix: &str, texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_str().expect("a name in letters").to_owned();
        if path.is_dir() {
            read_folder(&path, &format!("{prefix}{stem}/"), texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module =
                if stem == "mod" { prefix.trim_end_matches('/').to_owned() } else { format!("{prefix}{stem}") };
            texts.insert(module, code(&fs::read_to_string(&path).expect("text")));
        }
    }
}

/// A file without comments and without its unit tests, which stand at its end and may import from anywhere.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a part");
    text.lines().map(|line| line.split("//").next().expect("a part")).collect::<Vec<_>>().join("\n")
}

/// The paths of all `use` lines, and whether each is handed on (`pub use`).
fn used(text: &str) -> Vec<(Vec<String>, bool)> {
    let mut all = vec![];
    for statement in text.split(';') {
        let Some((before, tree)) = statement.rsplit_once("use ") else { continue };
        // Of the statement before there may be a brace left, or an attribute.
        let start = before.rsplit(['}', ']', '{', '\n']).next().expect("a part").trim();
        if start.is_empty() || start.starts_with("pub") {
            all.extend(branches(tree).into_iter().map(|path| (path, !start.is_empty())));
        }
    }
    all
}

/// `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn branches(tree: &str) -> Vec<Vec<String>> {
    let Some((stem, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().expect("a part");
        return vec![path.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one").push(letter);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().flat_map(|part| branches(&format!("{stem}{}", part.trim()))).collect()
}

/// Paths in code that begin at the crate or at a module above.
fn written_out(text: &str) -> Vec<Vec<String>> {
    let in_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter: char| !in_path(letter));
    let words = words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::"));
    let paths = words.map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| ["crate", "entoptic", "super"].contains(&path[0].as_str())).collect()
}

#[test]
fn rooms_import_from_rooms_above_them() {
    let sources = Sources::read();
    let mut wrong = vec![];
    for module in sources.texts.keys() {
        for other in sources.imports(module) {
            let (here, there) = (room(module), room(&other));
            let apart = here != there && APART.contains(&here) && APART.contains(&there);
            if apart || sources.place(there) > sources.place(here) {
                wrong.push(format!("src/{module} imports from src/{other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these arrows run back against the list in src/lib.rs:\n  {}", wrong.join("\n  "));
}

#[test]
fn no_files_need_each_other() {
    let sources = Sources::read();
    let mut graph = DiGraph::new();
    let nodes: BTreeMap<&str, _> =
        sources.texts.keys().map(|module| (&module[..], graph.add_node(&module[..]))).collect();
    for module in sources.texts.keys() {
        for other in sources.imports(module) {
            graph.add_edge(nodes[&module[..]], nodes[&other[..]], ());
        }
    }
    let rings = tarjan_scc(&graph).into_iter().filter(|ring| ring.len() > 1);
    let rings: BTreeSet<BTreeSet<&str>> =
        rings.map(|ring| ring.into_iter().map(|node| graph[node]).collect()).collect();
    let allowed = RINGS.iter().map(|(ring, _)| ring.iter().copied().collect()).collect();
    assert_eq!(rings, allowed, "files that need each other, found and allowed");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use a::{b, c::{d, e as f}};\npub(crate) use self::g::H;\nfn i() { use super::j; crate::k::l() }\n";
    let paths: Vec<String> = used(text).iter().map(|(path, public)| format!("{} {public}", path.join("::"))).collect();
    assert_eq!(paths, ["a::b false", "a::c::d false", "a::c::e false", "self::g::H true", "super::j false"]);
    assert_eq!(written_out(text).concat().join("::"), "super::j::crate::k::l");
    let sources = Sources::read();
    let of = |module: &str| sources.imports(module);
    assert!(of("ops/relu").contains("device/recording"), "by what src/device/mod.rs hands on: {:?}", of("ops/relu"));
    assert!(of("ops/relu").contains("ops/pass"), "by super: {:?}", of("ops/relu"));
    assert!(of("cli/generate").contains("cli/making"), "{:?}", of("cli/generate"));
    assert!(of("cli/gallery/run").contains("cli/networks"), "by super::super: {:?}", of("cli/gallery/run"));
    assert!(of("weights/checkpoint").contains("error"), "by src/lib.rs: {:?}", of("weights/checkpoint"));
}
