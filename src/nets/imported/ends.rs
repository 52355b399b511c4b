//! Which of a file's inputs and outputs are meant, and what of the file lies between them.

use std::collections::BTreeSet;

use super::order;
use crate::nets::structure::Ends;
use crate::weights::{Input, Program};

/// What of a program lies between one of its inputs and one of its outputs; says in words which names there are, where several may
/// be meant.
pub(super) fn between(program: &Program, ends: &Ends) -> Result<Program, String> {
    let outputs: Vec<&str> = program.outputs.iter().map(String::as_str).collect();
    let choose = || format!("({}); choose one with --output", listed(&outputs));
    let output = match (&ends.output, &outputs[..]) {
        (None, [_]) => 0,
        (_, []) => return Err("it has no output".into()),
        (None, several) => return Err(format!("it has {} outputs {}", several.len(), choose())),
        (Some(wanted), _) => {
            let found = place(wanted, &outputs);
            found.ok_or_else(|| format!("it has no output {} among its own {}", wanted.escape_debug(), choose()))?
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
    let about: Vec<String> = inputs.iter().map(|input| format!("{} {}", input.name, shown(input))).collect();
    let about = listed(&about.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(wanted) = &ends.input {
        let all: Vec<&str> = program.inputs.iter().map(|input| input.name.as_str()).collect();
        if !place(wanted, &all).is_some_and(|at| used.contains(all[at])) {
            return Err(format!(
                "its output does not depend on an input {}, but on these ({about})",
                wanted.escape_debug()
            ));
        }
    }
    match &inputs[..] {
        [] => Err("none of its outputs depends on an input".into()),
        [input] if !input.is_float => {
            Err(format!("its input {} holds whole numbers, not a picture", input.name.escape_debug()))
        }
        [input] => Ok(input),
        several => Err(format!(
            "it has {} inputs ({about}) on which its output depends, and a network of one picture is read; choose another output \
             with --output, or export it with one input",
            several.len()
        )),
    }
}

/// Which of some names is meant, by itself or by its place.
fn place(wanted: &str, names: &[&str]) -> Option<usize> {
    let by_place = || wanted.parse().ok().filter(|place| *place < names.len());
    names.iter().position(|name| *name == wanted).or_else(by_place)
}

/// Names, as far as they help.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
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
        assert_eq!(line(None, None), "it has 2 outputs (a, b); choose one with --output");
        assert_eq!(line(None, Some("c")), "it has no output c among its own (a, b); choose one with --output");
        let said = line(None, Some("b"));
        assert!(said.starts_with("it has 2 inputs (x [1, any], mask [1, any]) on which its output depends"), "{said}");
        assert_eq!(line(Some("x"), Some("b")), said);
        let said = line(Some("mask"), Some("a"));
        assert_eq!(said, "its output does not depend on an input mask, but on these (x [1, any])");
    }
}
