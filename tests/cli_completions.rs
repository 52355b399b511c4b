//! `entoptic completions` and `entoptic man` from outside.

use std::path::Path;
use std::process::{Command, Output};

fn entoptic(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entoptic")).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// All commands, from the help.
fn commands() -> Vec<String> {
    let help = text(&entoptic(&["--help"]).stdout);
    let list = help.split("Commands:\n").nth(1).expect("a list").split("\n\n").next().expect("its end");
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.len() > 15 && names.contains(&"generate".to_owned()), "{help}");
    names
}

#[test]
fn every_shell_gets_all_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = entoptic(&["completions", shell]);
        let script = text(&output.stdout);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        for word in commands().iter().map(String::as_str).chain(["film-logits", "preview-file", "adapter"]) {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    assert_eq!(entoptic(&["completions", "cmd"]).status.code(), Some(2));
}

/// What bash offers when the cursor stands behind some words.
#[cfg(unix)]
fn offered(words: &str) -> Vec<String> {
    let script = "source <(\"$1\" completions bash) || exit 1
        read -ra COMP_WORDS <<<\"$2\"
        [[ $2 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        how=$(complete -p entoptic) || exit 1
        [[ $how =~ -F\\ ([^ ]+) ]] || exit 1
        \"${BASH_REMATCH[1]}\" entoptic \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", script, "bash", env!("CARGO_BIN_EXE_entoptic"), words]).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{words}: {}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_values() {
    let all = offered("entoptic ");
    for command in commands() {
        assert!(all.contains(&command), "{command}: {all:?}");
    }
    assert_eq!(offered("entoptic gen"), ["generate"]);
    assert_eq!(offered("entoptic generate --previ"), ["--preview", "--preview-file"]);
    assert_eq!(offered("entoptic weights fe"), ["fetch"]);
    assert_eq!(offered("entoptic demo --show "), ["auto", "kitty", "iterm2", "sixel", "blocks", "none"]);
}

#[test]
fn manual_pages_are_written_for_all_commands_and_those_in_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man").join("man1");
    let output = entoptic(&["man", pages.to_str().expect("text")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{}\n", pages.display()));
    let mut names: Vec<String> = commands().into_iter().filter(|name| name != "help").collect();
    names.extend(["weights-fetch", "weights-convert", "recipes-show"].map(str::to_owned));
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for name in names {
        let page = page(&format!("entoptic-{name}.1"));
        assert!(page.contains(&format!(".TH entoptic-{name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains("\\-\\-adapter"), "{page}");
    }
    assert!(page("entoptic-generate.1").contains("\\-\\-preview\\-file"));
    let overview = page("entoptic.1");
    for command in commands() {
        assert!(command == "help" || overview.contains(&format!("entoptic\\-{command}(1)")), "{command}: {overview}");
    }
    check_pages(&pages);
}

/// Formats each page, where there is a program for it, which has nothing to say against any.
fn check_pages(pages: &Path) {
    for page in std::fs::read_dir(pages).expect("a folder") {
        let page = page.expect("an entry").path();
        for (program, arguments) in [("man", ["--warnings", "-l"]), ("mandoc", ["-Tlint", "-Werror"])] {
            let mut command = Command::new(program);
            command.args(arguments).arg(&page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100");
            // Neither need be there.
            let Ok(output) = command.output() else { continue };
            assert!(output.status.success(), "{program} {}: {}", page.display(), text(&output.stderr));
            assert!(output.stderr.is_empty(), "{program} {}: {}", page.display(), text(&output.stderr));
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").expect("a file");
    let output = entoptic(&["man", file.join("man1").to_str().expect("text")]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("error: making folder "), "{said}");
}
