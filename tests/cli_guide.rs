//! Every command that the documents show: the program understands it. `scripts/guide.sh` runs those of the guide.

use std::path::Path;
use std::process::Command;

/// Words of a command as a shell takes them, with double quotes around spaces; without where its output goes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '>' | '|' | ')' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("there is one").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Commands of a document: lines of its blocks, and whole texts between backquotes.
fn commands(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect("a document");
    let mut found = vec![];
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            found.extend(part.lines().map(|line| line.trim_start_matches("$ ").to_owned()));
        } else {
            found.extend(part.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")));
        }
    }
    found.retain(|command| command.starts_with("entoptic "));
    found
}

#[test]
fn commands_of_the_documents_are_understood() {
    for (document, least) in [("README.md", 20), ("docs/guide.md", 40), ("docs/experiments.md", 4), ("docs/json.md", 1)]
    {
        let commands = commands(document);
        assert!(commands.len() >= least, "{document}: {commands:?}");
        for command in commands.iter().filter(|command| !command.contains("COMMAND")) {
            // What stands before is understood before help is given.
            let output = Command::new(env!("CARGO_BIN_EXE_entoptic")).args(&words(command)[1..]).arg("--help").output();
            let output = output.expect("the program starts");
            assert!(output.status.success(), "{document}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
