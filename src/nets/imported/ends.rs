//! Which of a file's inputs and outputs are meant, and what of the file lies between them.

use std::collections::BTreeSet;

use super::order;
use crate::nets::structure::Ends;
use crate::weights::{Input, Program};

/// What of a program lies between one of its inputs and one of its outputs; says in words which names there are, where several may
/// be meant.
pub(super) fn between(program: &Program, ends: &Ends) -> Result<Program, String> {
    let outputs: Vec<&str> = program.outputs.iter().map(String::as_str).collect();
    let output = match (&ends.output, &outputs[..]) {
        (Some(wanted), _) => {
            let found = place(wanted, &outputs);
            found
                .ok_or_else(|| format!("it has no output {}; {}", wanted.escape_debug(), listed(&outputs, "output")))?
        }
        (None, [_]) => 0,
        (None, _) => {
            return Err(format!("it has {}; {}", counted(outputs.len(), "output"), listed(&outputs, "output")));
        }
    };
    let outputs = vec![program.outputs[output].clone()];
    // Operations in a circle are told before anything that may follow from them.
    order::sorted(&program.nodes, &outputs)?;
    let used = order::used(&program.nodes, &outputs);
    let input = picture(program, &used, ends)?.clone();
    let is_used = |name: &String| used.contains(name.as_str());
    Ok(Program {
        language: program.language,
        producer: program.producer.clone(),
        inputs: vec![input],
        nodes: program.nodes.iter().filter(|node| node.outputs.iter().any(is_used)).cloned().collect(),
        tensors: program.tensors.iter().filter(|(name, _)| is_used(name)).map(owned).collect(),
        constants: program.constants.iter().filter(|(name, _)| is_used(name)).map(owned).collect(),
        shapes: program.shapes.clone(),
        outputs,
    })
}

fn owned<T: Clone>((name, value): (&String, &T)) -> (String, T) {
    (name.clone(), value.clone())
}

/// The one input that the output depends on, which is a picture.
fn picture<'a>(program: &'a Program, used: &BTreeSet<&str>, ends: &Ends) -> Result<&'a Input, String> {
    let inputs: Vec<&Input> = program.inputs.iter().filter(|input| used.contains(input.name.as_str())).collect();
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let about: Vec<String> =
        inputs.iter().map(|input| format!("{} {}", input.name.escape_debug(), shown(input))).collect();
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    let wanted = match &ends.input {
        None => None,
        Some(wanted) => {
            let found = place(wanted, &names).or_else(|| {
                let all: Vec<&str> = program.inputs.iter().map(|input| input.name.as_str()).collect();
                let named = place(wanted, &all)?;
                names.iter().position(|name| *name == all[named])
            });
            let none = || format!("its output does not depend on an input {}", wanted.escape_debug());
            Some(found.ok_or_else(|| match about.is_empty() {
                true => none(),
                false => format!("{}; {}", none(), listed(&about, "input")),
            })?)
        }
    };
    match (&inputs[..], wanted) {
        ([], _) => Err("none of its outputs depends on an input".into()),
        ([input], _) if !input.is_float => {
            Err(format!("its input {} holds whole numbers, not a picture", input.name.escape_debug()))
        }
        ([input], _) => Ok(input),
        (several, None) => Err(format!(
            "its output depends on {} ({}), and a network of one picture is read; choose another output, or export it with one input",
            counted(several.len(), "input"),
            about.join(", ")
        )),
        (several, Some(wanted)) => {
            let others: Vec<String> = several
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != wanted)
                .map(|(_, input)| input.name.escape_debug().to_string())
                .collect();
            Err(format!(
                "its output depends on {} too, and a network of one picture is read; choose another output, or export it with \
                 one input",
                others.join(", ")
            ))
        }
    }
}

/// Which of some names is meant, by itself or by its place.
fn place(wanted: &str, names: &[&str]) -> Option<usize> {
    let by_place = || wanted.parse().ok().filter(|place| *place < names.len());
    names.iter().position(|name| *name == wanted).or_else(by_place)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The names that there are, and what to do with them.
fn listed(names: &[&str], what: &str) -> String {
    /// More names than this do not help.
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match names {
        [] => format!("there is no {what}"),
        _ => format!("choose one with --{what}: {}{more}", shown.join(", ")),
    }
}

/// Sizes of an input, for people.
pub(super) fn shown(input: &Input) -> String {
    let size = |size: &Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
    let sizes = input.sizes.iter().flatten().map(size).collect::<Vec<_>>();
    format!("[{}]", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Node;

    /// Two inputs; `a` depends on the first, `b` on both.
    fn program() -> Program {
        let node = |made: &str, given: &[&str]| Node {
            outputs: vec![made.into()],
            inputs: given.iter().map(|name| (*name).to_owned()).collect(),
            ..Node::default()
        };
        let input = |name: &str| Input { name: name.into(), sizes: Some(vec![Some(1), None]), is_float: true };
        Program {
            inputs: vec![input("x"), input("mask")],
            outputs: vec!["a".into(), "b".into()],
            nodes: vec![node("a", &["x"]), node("b", &["a", "mask"])],
            ..Program::default()
        }
    }

    fn chosen(input: Option<&str>, output: Option<&str>) -> Result<Program, String> {
        between(&program(), &Ends { input: input.map(str::to_owned), output: output.map(str::to_owned) })
    }

    #[test]
    fn ends_are_found_by_name_and_by_place() {
        for output in ["a", "0"] {
            for input in [None, Some("x"), Some("0")] {
                let found = chosen(input, Some(output)).expect("it depends on one input");
                assert_eq!((found.inputs[0].name.as_str(), found.nodes.len()), ("x", 1));
            }
        }
    }

    #[test]
    fn one_line_names_what_there_is_to_choose_from() {
        let line = |input, output| chosen(input, output).expect_err("refused");
        assert_eq!(line(None, None), "it has 2 outputs; choose one with --output: a, b");
        assert_eq!(line(None, Some("c")), "it has no output c; choose one with --output: a, b");
        let said = line(None, Some("b"));
        assert!(
            said.starts_with("its output depends on 2 inputs (x [1, any], mask [1, any]), and a network of"),
            "{said}"
        );
        let said = line(Some("x"), Some("b"));
        assert!(said.starts_with("its output depends on mask too, and a network of one picture is read"), "{said}");
        let said = line(Some("mask"), Some("a"));
        assert_eq!(said, "its output does not depend on an input mask; choose one with --input: x [1, any]");
    }
}
