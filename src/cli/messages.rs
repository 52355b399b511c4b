//! Lines for people, on standard error and on a terminal.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{IsTerminal, Write};

/// A line on standard error. One that nobody can read, as on a full disk or a terminal that is gone, is no reason to lose a result.
pub fn tell(line: Arguments) {
    let _ = writeln!(std::io::stderr().lock(), "{}", plain(&line.to_string()));
}

/// A text without control characters but for line breaks: names of files and words in them are not commands to a terminal.
pub fn plain(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(commands) { text.replace(commands, "\u{fffd}").into() } else { text.into() }
}

/// A text as [`plain`] gives it where standard output is a terminal; whoever else reads it gets it as it is.
pub fn shown(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() { plain(text) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_a_terminal_become_signs() {
        assert_eq!(plain("é.png: 1\tline\nand another"), "é.png: 1\tline\nand another");
        assert_eq!(plain("a\x1b[2J\u{9b}31m\r\x07\x7f.png"), "a\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}.png");
    }
}
