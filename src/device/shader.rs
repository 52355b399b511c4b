//! WGSL sources, and how the text that a driver compiles is made of them.
//!
//! This is the one place where text becomes another text. A file may hold these lines, indented or not, which WGSL does not know:
//!
//! | line | becomes |
//! |---|---|
//! | `#import name` | the text of `shaders/shared/name.wgsl` |
//! | `#number NAME 8` | `const NAME: u32 = 8u;`, or another number where the [`Kernel`](super::Kernel) says one for that name |
//! | `#each i NAME` ... `#end` | the lines between, once for each number below NAME (or below a number that stands there), `{i}` being it |
//!
//! A number that sizes an array within an array, or under which a sum is found, has to be in the text: WGSL lets an `override` size
//! nothing but a whole array, and compilers keep a loop that they could have written out. Everything else that changes the code is
//! an `override`, and what changes the numbers alone is in `Params`.

use std::collections::BTreeMap;

/// One WGSL file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Base name of the file, which is the operation's.
    pub name: &'static str,
    /// Its text, with `#import`, `#number` and `#each` lines.
    pub text: &'static str,
    /// Bytes of the Rust twin of `struct Params`.
    pub params_size: usize,
}

impl Shader {
    /// The text that a driver compiles, with these numbers in the places of those in the file.
    ///
    /// # Panics
    /// When the file has no such number, or its lines do not match: mistakes of this library, which the shader tests exclude.
    pub fn written(&self, numbers: &[(&str, u32)]) -> String {
        let text = expand(self.text);
        let lines: Vec<&str> = text.lines().collect();
        let mut writer =
            Writer { given: numbers, numbers: BTreeMap::new(), out: String::with_capacity(2 * text.len()) };
        writer.write(&lines, &mut Vec::new());
        for (name, _) in numbers {
            assert!(writer.numbers.contains_key(name), "{} has no number {name}", self.name);
        }
        writer.out
    }
}

/// Fragments for `#import`.
const SHARED: &[(&str, &str)] = &[
    ("activation", include_str!("../../shaders/shared/activation.wgsl")),
    ("conv2d_registers", include_str!("../../shaders/shared/conv2d_registers.wgsl")),
    ("conv2d_sizes", include_str!("../../shaders/shared/conv2d_sizes.wgsl")),
    ("conv2d_taps", include_str!("../../shaders/shared/conv2d_taps.wgsl")),
    ("corner", include_str!("../../shaders/shared/corner.wgsl")),
    ("linear", include_str!("../../shaders/shared/linear.wgsl")),
    ("not_finite", include_str!("../../shaders/shared/not_finite.wgsl")),
    ("one_minus_exp", include_str!("../../shaders/shared/one_minus_exp.wgsl")),
    ("reduce", include_str!("../../shaders/shared/reduce.wgsl")),
    ("window", include_str!("../../shaders/shared/window.wgsl")),
];

/// The text with every `#import name` line replaced by `shaders/shared/name.wgsl`, and nothing else.
///
/// # Panics
/// When a shader of this library names a fragment that does not exist, which the shader tests exclude.
pub fn expand(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len() + 1024);
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let fragment = SHARED.iter().find(|(shared, _)| *shared == name.trim());
                let (_, fragment) = fragment.unwrap_or_else(|| panic!("no shared fragment named {name}"));
                expanded.push_str(fragment);
            }
            None => expanded.push_str(line),
        }
        expanded.push('\n');
    }
    expanded
}

/// Writes a text out, line by line.
struct Writer<'a> {
    given: &'a [(&'a str, u32)],
    /// Those met so far.
    numbers: BTreeMap<&'a str, u32>,
    out: String,
}

impl<'a> Writer<'a> {
    /// Writes lines within repetitions, each of which has a mark and a number that takes its place.
    fn write(&mut self, lines: &[&'a str], repeated: &mut Vec<(String, String)>) {
        let mut at = 0;
        while let Some(&line) = lines.get(at) {
            at += 1;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["#number", name, usual, ..] => self.number(name, usual, line),
                ["#each", name, count] => {
                    let length = length(&lines[at..]);
                    let mark = format!("{{{name}}}");
                    for number in 0..self.count(count) {
                        repeated.push((mark.clone(), number.to_string()));
                        self.write(&lines[at..at + length], repeated);
                        repeated.pop();
                    }
                    at += length + 1;
                }
                _ => {
                    let filled = |line: String, (mark, number): &(String, String)| line.replace(mark, number);
                    self.out += &repeated.iter().fold(line.to_owned(), filled);
                    self.out.push('\n');
                }
            }
        }
    }

    /// Writes a constant, and what stands behind it in the line: a comment.
    fn number(&mut self, name: &'a str, usual: &str, line: &str) {
        let given = self.given.iter().find(|(given, _)| *given == name);
        let value = given.map_or_else(|| usual.parse().expect("a number has a value"), |(_, value)| *value);
        self.numbers.insert(name, value);
        let comment = line.find("//").map_or("", |at| &line[at..]);
        self.out += format!("const {name}: u32 = {value}u; {comment}").trim_end();
        self.out.push('\n');
    }

    fn count(&self, text: &str) -> u32 {
        let named = self.numbers.get(text).copied();
        named.or_else(|| text.parse().ok()).unwrap_or_else(|| panic!("no number named {text}"))
    }
}

/// How many lines a repetition has before its own `#end`.
fn length(lines: &[&str]) -> usize {
    let mut depth = 1;
    let end = lines.iter().position(|line| {
        match line.split_whitespace().next() {
            Some("#each") => depth += 1,
            Some("#end") => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.expect("every #each has its #end")
}

#[cfg(test)]
mod tests {
    use super::Shader;

    static TEXT: Shader = Shader {
        name: "text",
        text: "#number ROWS 2 // of a tile\n#number COLUMNS 1\n#each r ROWS\n    #each c COLUMNS\n    s{r}{c} += {1};\n    #end\n    \
               next{r};\n#end\n#each k 2\nv{k}\n#end\nROWS\n",
        params_size: 16,
    };

    #[test]
    fn numbers_and_repetitions_are_written_out() {
        let usual = "const ROWS: u32 = 2u; // of a tile\nconst COLUMNS: u32 = 1u;\n    s00 += {1};\n    next0;\n    s10 += {1};\n    \
                     next1;\nv0\nv1\nROWS\n";
        assert_eq!(TEXT.written(&[]), usual);
        let other = "const ROWS: u32 = 1u; // of a tile\nconst COLUMNS: u32 = 2u;\n    s00 += {1};\n    s01 += {1};\n    next0;\nv0\nv1\n\
                     ROWS\n";
        assert_eq!(TEXT.written(&[("COLUMNS", 2), ("ROWS", 1)]), other);
        let none = "const ROWS: u32 = 0u; // of a tile\nconst COLUMNS: u32 = 1u;\nv0\nv1\nROWS\n";
        assert_eq!(TEXT.written(&[("ROWS", 0)]), none);
    }

    #[test]
    #[should_panic(expected = "text has no number DEPTH")]
    fn a_number_that_a_file_does_not_have_is_a_mistake() {
        TEXT.written(&[("DEPTH", 4)]);
    }
}
