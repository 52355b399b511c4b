//! Programs as texts in the metadata of other files: what a `.safetensors` file says of a network that another file described, so that
//! weights trained from that one are read without it.
//!
//! The text is JSON; numbers with a fractional part stand in it as Rust writes them, since they must come back to the bit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::program::{Attribute, Constant, Input, Language, MOST, Node, Numbers, Program, SMALL};

/// Under which key of the metadata a program is kept.
pub const PROGRAM: &str = "program";

/// How the text is written.
const FORMAT: u64 = 1;

/// Longest text, in bytes: with the names of as many tensors it must fit into the header of a file.
const LONGEST: usize = 5 << 20;

/// More numbers than any tensor has.
const LARGEST: usize = 1 << 40;

impl Program {
    /// The program as a text, with the sizes that its tensors have in its own file; says in words why that is not possible.
    pub(crate) fn to_text(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<String, String> {
        let language = match self.language {
            Language::Aten => json!("aten"),
            Language::Onnx(version) => json!(version),
        };
        let inputs: Vec<Value> =
            self.inputs.iter().map(|input| json!([input.name, input.sizes, input.is_float])).collect();
        let node = |node: &Node| {
            let attributes: BTreeMap<&String, Value> =
                node.attributes.iter().map(|(name, attribute)| (name, written(attribute))).collect();
            json!([node.name, node.operator, node.inputs, node.outputs, attributes, node.modules])
        };
        let tensor = |(name, tensor): (&String, &String)| (name.clone(), json!([tensor, shapes.get(tensor)]));
        let constant = |(name, constant): (&String, &Constant)| {
            let (kind, numbers) = match &constant.numbers {
                Numbers::Int(values) => ("int", joined(values.iter().map(i64::to_string))),
                Numbers::Float(values) => ("float", joined(values.iter().map(|value| format!("{value:e}")))),
            };
            (name.clone(), json!([constant.shape, kind, numbers]))
        };
        let text = json!({
            "format": FORMAT,
            "language": language,
            "producer": self.producer,
            "inputs": inputs,
            "outputs": self.outputs,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "tensors": self.tensors.iter().map(tensor).collect::<BTreeMap<_, _>>(),
            "constants": self.constants.iter().map(constant).collect::<BTreeMap<_, _>>(),
        })
        .to_string();
        match text.len() {
            length if length > LONGEST => Err(format!(
                "takes {length} bytes to describe without its weights, at most {LONGEST} are kept with them"
            )),
            _ => Ok(text),
        }
    }

    /// The program of a text; says in words what is wrong with it.
    pub(super) fn of_text(text: &str) -> Result<Program, String> {
        let damaged = |what: &str| format!("the network that its metadata describe is damaged: {what}");
        let read: Value = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        match read["format"].as_u64() {
            Some(FORMAT) => {}
            Some(format) => {
                return Err(format!(
                    "describes its network in format {format}, this version reads {FORMAT}; use a newer one"
                ));
            }
            None => return Err(damaged("it has no format")),
        }
        of_value(&read).ok_or_else(|| damaged("something in it is not what it should be"))
    }
}

fn joined(numbers: impl Iterator<Item = String>) -> String {
    numbers.collect::<Vec<_>>().join(" ")
}

fn written(attribute: &Attribute) -> Value {
    match attribute {
        // What was not read then is not needed.
        Attribute::None | Attribute::Other(_) => Value::Null,
        Attribute::Int(value) => json!(value),
        Attribute::Float(value) => json!({ "float": format!("{value:e}") }),
        Attribute::Bool(value) => json!(value),
        Attribute::Text(text) => json!(text),
        Attribute::Value(name) => json!({ "value": name }),
        Attribute::List(list) => Value::Array(list.iter().map(written).collect()),
    }
}

fn attribute(value: &Value) -> Option<Attribute> {
    Some(match value {
        Value::Null => Attribute::None,
        Value::Bool(value) => Attribute::Bool(*value),
        Value::Number(number) => Attribute::Int(number.as_i64()?),
        Value::String(text) => Attribute::Text(text.clone()),
        Value::Array(list) => Attribute::List(list.iter().map(attribute).collect::<Option<_>>()?),
        Value::Object(_) => match value["value"].as_str() {
            Some(name) => Attribute::Value(name.to_owned()),
            None => Attribute::Float(value["float"].as_str()?.parse().ok()?),
        },
    })
}

fn of_value(read: &Value) -> Option<Program> {
    let language = match &read["language"] {
        Value::String(name) if name == "aten" => Language::Aten,
        version => Language::Onnx(version.as_u64()?),
    };
    let inputs = read["inputs"].as_array()?.iter().map(input).collect::<Option<Vec<_>>>()?;
    let nodes = read["nodes"].as_array()?;
    if nodes.len() > MOST || inputs.len() > MOST {
        return None;
    }
    let mut program = Program {
        language,
        producer: text(&read["producer"])?,
        inputs,
        outputs: texts(&read["outputs"])?,
        nodes: nodes.iter().map(node).collect::<Option<_>>()?,
        ..Program::default()
    };
    for (name, about) in read["tensors"].as_object()? {
        let (tensor, sizes) = (text(&about[0])?, sizes(&about[1])?);
        program.tensors.insert(name.clone(), tensor.clone());
        program.shapes.insert(tensor, sizes);
    }
    for (name, about) in read["constants"].as_object()? {
        program.constants.insert(name.clone(), constant(about)?);
    }
    // Weights without a tensor are none.
    (!program.shapes.is_empty()).then_some(program)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok())
}

/// Sizes of something that has not more numbers than there can be.
fn sizes(value: &Value) -> Option<Vec<usize>> {
    let sizes = value.as_array()?.iter().map(size).collect::<Option<Vec<_>>>()?;
    let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul((*size).max(1)));
    count.is_some_and(|count| count <= LARGEST).then_some(sizes)
}

fn input(value: &Value) -> Option<Input> {
    let one = |value: &Value| if value.is_null() { Some(None) } else { size(value).map(Some) };
    let sizes = match &value[1] {
        Value::Null => None,
        sizes => Some(sizes.as_array()?.iter().map(one).collect::<Option<_>>()?),
    };
    Some(Input { name: text(&value[0])?, sizes, is_float: value[2].as_bool()? })
}

fn node(value: &Value) -> Option<Node> {
    let attributes = value[4].as_object()?.iter();
    Some(Node {
        name: text(&value[0])?,
        operator: text(&value[1])?,
        inputs: texts(&value[2])?,
        outputs: texts(&value[3])?,
        attributes: attributes.map(|(name, value)| Some((name.clone(), attribute(value)?))).collect::<Option<_>>()?,
        modules: texts(&value[5])?,
    })
}

fn constant(value: &Value) -> Option<Constant> {
    let (shape, numbers) = (sizes(&value[0])?, value[2].as_str()?.split_ascii_whitespace());
    let numbers = match value[1].as_str()? {
        "int" => Numbers::Int(numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?),
        _ => Numbers::Float(numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?),
    };
    let constant = Constant { shape, numbers };
    let count = constant.floats().len();
    (count <= SMALL && count == constant.shape.iter().product::<usize>()).then_some(constant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        let attributes = [
            ("alpha", Attribute::Float(f64::NEG_INFINITY)),
            ("eps", Attribute::Float(1e-5)),
            ("group", Attribute::Int(-3)),
            ("keep", Attribute::Bool(true)),
            ("mode", Attribute::Text("constant".into())),
            ("parts", Attribute::List(vec![Attribute::Value("x".into()), Attribute::None, Attribute::Int(1)])),
        ];
        Program {
            language: Language::Onnx(17),
            producer: "somebody".into(),
            inputs: vec![Input { name: "x".into(), sizes: Some(vec![None, Some(3)]), is_float: true }],
            outputs: vec!["y".into()],
            nodes: vec![Node {
                name: "n".into(),
                operator: "Conv".into(),
                inputs: vec!["x".into(), "".into()],
                outputs: vec!["y".into()],
                attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
                modules: vec!["a".into(), "a.b".into()],
            }],
            tensors: BTreeMap::from([("w".into(), "conv.weight".into())]),
            constants: BTreeMap::from([
                ("sizes".into(), Constant { shape: vec![2], numbers: Numbers::Int(vec![i64::MIN, 7]) }),
                ("third".into(), Constant { shape: vec![], numbers: Numbers::Float(vec![1.0 / 3.0]) }),
                ("none".into(), Constant { shape: vec![0], numbers: Numbers::Float(vec![]) }),
            ]),
            shapes: BTreeMap::from([("conv.weight".into(), vec![4, 3, 1, 1])]),
        }
    }

    #[test]
    fn a_program_comes_back_to_the_bit() {
        let written = program();
        let read = Program::of_text(&written.to_text(&written.shapes).expect("short")).expect("good");
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }

    #[test]
    fn damaged_texts_say_so() {
        let whole = program().to_text(&program().shapes).expect("short");
        let refused = |text: &str| Program::of_text(text).expect_err("refused");
        for (from, to) in [
            ("\"inputs\"", "\"input\""),
            ("[4,3,1,1]", "[4,3,1,1099511627776]"),
            ("[4,3,1,1]", "[4,3,1,18446744073709551615]"),
            ("\"float\",\"3", "\"float\",\"x"),
            ("[2],\"int\"", "[3],\"int\""),
            ("\"Conv\"", "7"),
        ] {
            assert!(whole.contains(from), "{from}: {whole}");
            assert!(refused(&whole.replace(from, to)).contains("is damaged"), "{from}");
        }
        assert!(refused(&whole[..whole.len() / 2]).contains("is damaged"));
        assert!(refused(&whole.replace("\"format\":1", "\"format\":9")).contains("format 9, this version reads 1"));
        // Deeper than anything is nested.
        assert!(refused(&"[".repeat(20_000)).contains("is damaged"));
    }
}
