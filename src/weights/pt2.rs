//! The files of `torch.export.save`: a zip archive with a graph in JSON, a list of weights, and their numbers as they are.
//!
//! **Reference** `torch/_export/serde/schema.py` of PyTorch 2.15, whose major version is 8: the minor one grows with what is added.

use std::collections::BTreeMap;

use serde_json::Value;

use super::entry::{Element, Entry, Index};
use super::program::{Attribute, Constant, Input, Language, MOST, Node, Numbers, Program, SMALL};
use super::zip::{Archive, Member};

/// The version of the schema that is read.
const MAJOR: u64 = 8;

/// Longest description of a graph that is read; one operation takes about a kilobyte.
const LONGEST: usize = 1 << 26;

const GIVE: &str =
    "save it with torch.export.save(torch.export.export(model.eval(), (picture,)), path) of PyTorch 2.9 or later";

/// Whether an archive is one of `torch.export.save`, by the names of its files.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let Ok(archive) = Archive::open(bytes) else { return false };
    let last = |name: &&str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let marks = ["archive_format", "serialized_exported_program.json"];
    archive.names().any(|name| marks.contains(&last(&name).as_str()))
}

/// Reads the graph and finds its tensors; says in words what is wrong.
pub(super) fn index(bytes: &[u8]) -> Result<Index, String> {
    let archive = Archive::open(bytes)?;
    let names: Vec<&str> = archive.names().collect();
    if names.iter().any(|name| name.ends_with("serialized_exported_program.json")) {
        return Err(format!("was written by an early torch.export, whose weights are pickled; {GIVE}"));
    }
    if names.iter().any(|name| name.contains("/data/aotinductor/") || name.starts_with("data/aotinductor/")) {
        return Err(format!("is a compiled program (AOTInductor), which is not run; {GIVE}"));
    }
    let mark = names.iter().find_map(|name| name.strip_suffix("archive_format")).unwrap_or_default();
    let models: Vec<&&str> =
        names.iter().filter(|name| name.starts_with(&format!("{mark}models/")) && name.ends_with(".json")).collect();
    let model = match models[..] {
        [model] => *model,
        [] => return Err(format!("holds no graph (models/model.json); {GIVE}")),
        _ => return Err(format!("holds {} graphs, and one is wanted; {GIVE}", models.len())),
    };
    let text = |name: &str| -> Result<Option<Value>, String> {
        let Some(member) = archive.find(name)? else { return Ok(None) };
        let size = match &member {
            Member::Stored(at) => at.len(),
            Member::Deflated(deflated) => deflated.size,
        };
        if size > LONGEST {
            return Err(format!(
                "has a description of {size} bytes in {}, at most {LONGEST} are read",
                name.escape_debug()
            ));
        }
        let read = serde_json::from_slice(&archive.read(&member)?);
        read.map(Some).map_err(|error| damaged(&format!("{}: {error}", name.escape_debug())))
    };
    if let Some(order) = archive.find(&format!("{mark}byteorder"))?
        && archive.read(&order)?.trim_ascii() != b"little"
    {
        return Err("holds big-endian numbers, which are not read; save it again on another machine".into());
    }
    let model_text = text(model)?.ok_or_else(|| damaged("its graph is not there"))?;
    let version = model_text["schema_version"]["major"].as_u64();
    if version != Some(MAJOR) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        return Err(format!("has a graph of schema version {found}, and {MAJOR} is read; {GIVE}"));
    }
    let mut index = Index { metadata: words(&archive, mark)?, ..Index::default() };
    let name = model.rsplit('/').next().unwrap_or(model).trim_end_matches(".json");
    let mut pickled = Vec::new();
    for (kind, folder) in [("weights", "weights"), ("constants", "constants")] {
        let folder = format!("{mark}data/{folder}/");
        let Some(list) = text(&format!("{folder}{name}_{kind}_config.json"))? else { continue };
        for (tensor, about) in list["config"].as_object().into_iter().flatten() {
            if index.entries.len() == MOST {
                return Err(format!("has more than {MOST} tensors, so it is no network that is read here"));
            }
            if about["use_pickle"].as_bool().unwrap_or(false) {
                pickled.push(tensor.clone());
                continue;
            }
            if let Some(entry) = entry(&archive, &folder, tensor, about)? {
                index.entries.insert(tensor.clone(), entry);
            }
        }
    }
    let mut program = Program { language: Language::Aten, producer: "torch.export".into(), ..Program::default() };
    let graph = &model_text["graph_module"]["graph"];
    signature(&mut program, &model_text["graph_module"]["signature"], graph)?;
    let needed = |tensor: &&String| program.tensors.values().any(|used| used == *tensor);
    if let Some(tensor) = pickled.iter().find(needed) {
        return Err(format!("keeps tensor {} pickled, which is not read; {GIVE}", tensor.escape_debug()));
    }
    let nodes = graph["nodes"].as_array().ok_or_else(|| damaged("its graph has no operations"))?;
    if nodes.len() > MOST {
        return Err(format!("has more than {MOST} operations, so it is no network that is read here"));
    }
    program.nodes = nodes.iter().map(node).collect();
    for (value, tensor) in &program.tensors {
        if let Some(constant) = index.entries.get(tensor).and_then(|entry| constant(entry, bytes)) {
            program.constants.insert(value.clone(), constant);
        }
    }
    index.program = Some(program);
    Ok(index)
}

/// What the user has put beside the network: `extra_files` of `torch.export.save`, each a text by its name.
fn words(archive: &Archive, mark: &str) -> Result<BTreeMap<String, String>, String> {
    /// Longest text, and most texts, that are looked at.
    const LONGEST_WORD: usize = 1 << 16;
    const WORDS: usize = 64;
    let folder = format!("{mark}extra/");
    let mut words = BTreeMap::new();
    for name in archive.names().filter(|name| name.starts_with(&folder)).take(WORDS) {
        let Some(member) = archive.find(name)? else { continue };
        let size = match &member {
            Member::Stored(at) => at.len(),
            Member::Deflated(deflated) => deflated.size,
        };
        if size <= LONGEST_WORD
            && let Ok(text) = String::from_utf8(archive.read(&member)?.to_vec())
        {
            words.insert(name[folder.len()..].to_owned(), text);
        }
    }
    // What describes a network is the graph alone.
    words.remove(super::kept_program::PROGRAM);
    Ok(words)
}

/// Where a tensor lies.
fn entry(archive: &Archive, folder: &str, tensor: &str, about: &Value) -> Result<Option<Entry>, String> {
    let shown = tensor.escape_debug();
    let meta = &about["tensor_meta"];
    let Some(path) = about["path_name"].as_str() else { return Ok(None) };
    let numbers = |key: &str| -> Option<Vec<usize>> {
        meta[key].as_array()?.iter().map(|size| usize::try_from(size["as_int"].as_u64()?).ok()).collect()
    };
    // Objects that are no tensors have no sizes.
    let (Some(sizes), Some(strides)) = (numbers("sizes"), numbers("strides")) else { return Ok(None) };
    let offset = meta["storage_offset"]["as_int"].as_u64().and_then(|offset| usize::try_from(offset).ok());
    let member = archive.find(&format!("{folder}{path}"))?;
    let member = member.ok_or_else(|| damaged(&format!("the numbers of tensor {shown} are not there")))?;
    let (start, length, deflated) = match member {
        Member::Stored(at) => (at.start, at.len(), None),
        Member::Deflated(deflated) => (0, deflated.size, Some(deflated)),
    };
    let element = element(meta["dtype"].as_u64().unwrap_or(0));
    let size = element.as_ref().map_or(1, |element| element.bytes());
    let span = sizes
        .iter()
        .zip(&strides)
        .try_fold(0usize, |span, (size, stride)| span.checked_add(stride.checked_mul(size.saturating_sub(1))?));
    let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let ends = || {
        let first = offset?;
        let last = if count? == 0 { first } else { first.checked_add(span?)?.checked_add(1)? };
        let end = last.checked_mul(size)?;
        // Numbers that are repeated would be more than the file holds.
        (sizes.len() == strides.len() && end <= length && count? <= last - first).then_some((first * size, end))
    };
    let Some((first, end)) = ends() else {
        return Err(damaged(&format!(
            "tensor {shown} of sizes {sizes:?} does not lie in the {length} bytes it is said to"
        )));
    };
    let mut expected = 1;
    let row_major = sizes.iter().zip(&strides).rev().filter(|(size, _)| **size > 1).all(|(size, stride)| {
        let fits = *stride == expected;
        expected *= size;
        fits
    });
    let strides = (!row_major && count != Some(0)).then_some(strides);
    Ok(Some(Entry { strides, deflated, ..Entry::plain(sizes, element, start + first..start + end) }))
}

/// `torch._export.serde.schema.ScalarType`.
fn element(kind: u64) -> Result<Element, String> {
    Ok(match kind {
        1 | 12 => Element::U8,
        2 => Element::I8,
        3 => Element::I16,
        4 => Element::I32,
        5 => Element::I64,
        6 => Element::F16,
        7 => Element::F32,
        8 => Element::F64,
        13 => Element::Bf16,
        28 => Element::U16,
        other => return Err(format!("number {other}")),
    })
}

/// What goes into the graph, and what comes out of it.
fn signature(program: &mut Program, signature: &Value, graph: &Value) -> Result<(), String> {
    for spec in signature["input_specs"].as_array().into_iter().flatten() {
        for (kind, spec) in spec.as_object().into_iter().flatten() {
            let name = spec["arg"]["name"].as_str();
            let tensor = ["parameter_name", "buffer_name", "tensor_constant_name"]
                .into_iter()
                .find_map(|key| spec[key].as_str());
            if let (Some(name), Some(tensor)) = (name, tensor) {
                program.tensors.insert(name.to_owned(), tensor.to_owned());
            } else if kind == "user_input"
                && let Some(name) = spec["arg"]["as_tensor"]["name"].as_str()
            {
                let about = &graph["tensor_values"][name];
                let size = |size: &Value| size["as_int"].as_u64().and_then(|size| usize::try_from(size).ok());
                let sizes = about["sizes"].as_array().map(|sizes| sizes.iter().map(size).collect());
                let is_float = element(about["dtype"].as_u64().unwrap_or(0)).is_ok_and(Element::is_float);
                program.inputs.push(Input { name: name.to_owned(), sizes, is_float });
            }
        }
    }
    for spec in signature["output_specs"].as_array().into_iter().flatten() {
        if spec["buffer_mutation"].is_object() {
            return Err("was exported in training mode: it changes its running statistics; call model.eval() before \
                        torch.export.export"
                .into());
        }
        if let Some(name) = spec["user_output"]["arg"]["as_tensor"]["name"].as_str() {
            program.outputs.push(name.to_owned());
        }
    }
    Ok(())
}

fn node(node: &Value) -> Node {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let operator = text(&node["target"]);
    let operator = operator.strip_prefix("torch.ops.").unwrap_or(&operator).to_owned();
    let outputs = node["outputs"].as_array().into_iter().flatten().flat_map(values_of).collect();
    let given = node["inputs"].as_array().into_iter().flatten();
    let attributes: BTreeMap<String, Attribute> =
        given.map(|input| (text(&input["name"]), attribute(&input["arg"]))).collect();
    // "L__self__layer1,layer1,torch.nn...;...": names, paths and types, from the outermost to the innermost.
    let stack = node["metadata"]["nn_module_stack"].as_str().unwrap_or_default();
    let path = |entry: &str| entry.split(',').nth(1).map(str::to_owned);
    let modules = stack.split(';').filter_map(path).filter(|path| !path.is_empty()).collect();
    let mut name = text(&node["name"]);
    if name.is_empty() {
        name = text(&node["outputs"][0]["as_tensor"]["name"]);
    }
    Node { name, operator, inputs: vec![], outputs, attributes, modules }
}

/// Names of the values in something that an operation makes.
fn values_of(argument: &Value) -> Vec<String> {
    let name = |value: &Value| value["name"].as_str().or(value["as_name"].as_str()).unwrap_or_default().to_owned();
    let Some((kind, value)) = argument.as_object().and_then(|object| object.iter().next()) else { return vec![] };
    match (kind.as_str(), value.as_array()) {
        (_, Some(list)) => list.iter().map(name).collect(),
        _ => vec![name(value)],
    }
}

fn attribute(argument: &Value) -> Attribute {
    let Some((kind, value)) = argument.as_object().and_then(|object| object.iter().next()) else {
        return Attribute::None;
    };
    let one = |kind: &str, value: &Value| match kind {
        "as_none" => Attribute::None,
        "as_tensor" => Attribute::Value(value["name"].as_str().unwrap_or_default().to_owned()),
        "as_sym_int" | "as_sym_float" | "as_sym_bool" => match (value["as_name"].as_str(), value["as_int"].as_i64()) {
            (Some(name), _) => Attribute::Value(name.to_owned()),
            (_, Some(value)) => Attribute::Int(value),
            _ => value["as_float"].as_f64().map_or(Attribute::Other("a symbol"), Attribute::Float),
        },
        "as_int" => value.as_i64().map_or(Attribute::Other("a number"), Attribute::Int),
        "as_bool" => Attribute::Bool(value.as_bool().unwrap_or(false)),
        "as_string" => Attribute::Text(value.as_str().unwrap_or_default().to_owned()),
        "as_float" => match value {
            Value::String(text) => text.parse().map_or(Attribute::Other("a number"), Attribute::Float),
            value => value.as_f64().map_or(Attribute::Other("a number"), Attribute::Float),
        },
        "as_scalar_type" | "as_memory_format" | "as_layout" => Attribute::Int(value.as_i64().unwrap_or(0)),
        "as_device" => Attribute::None,
        "as_graph" => Attribute::Other("a graph of its own"),
        _ => Attribute::Other("something that is not read"),
    };
    let Some(list) = value.as_array() else { return one(kind, value) };
    let single = match kind.as_str() {
        "as_optional_tensors" => "",
        "as_sym_ints" | "as_sym_bools" | "as_sym_floats" => kind.trim_end_matches('s'),
        kind => kind.trim_end_matches('s'),
    };
    Attribute::List(
        list.iter().map(|value| if single.is_empty() { attribute(value) } else { one(single, value) }).collect(),
    )
}

/// The numbers of a small tensor that lies in the file as it is.
fn constant(entry: &Entry, bytes: &[u8]) -> Option<Constant> {
    let element = entry.element.clone().ok()?;
    if entry.deflated.is_some() || entry.strides.is_some() || entry.shape.iter().product::<usize>() > SMALL {
        return None;
    }
    let values = entry.values(element, bytes.get(entry.at.clone())?);
    let numbers = match element.is_float() {
        true => Numbers::Float(values.into_iter().map(f64::from).collect()),
        // Sizes and axes, which f32 holds.
        false => Numbers::Int(values.into_iter().map(|value| value as i64).collect()),
    };
    Some(Constant { shape: entry.shape.clone(), numbers })
}

fn damaged(how: &str) -> String {
    format!("file is damaged: {how}; download it again")
}
