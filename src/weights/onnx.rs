//! ONNX files: a graph of operations, and tensors in the file or in others beside it.
//!
//! Read with a reader of our own ([`super::protobuf`]) that leaves every tensor where it is. Graphs inside of operations (loops,
//! branches) are not descended into, and functions of a file's own are not looked at: operations that need them are unknown ones.
//! One file past 500 lines: whoever checks what a hostile file can do reads every length, offset and path that it could choose in
//! one place. `tests/imported_hostile.rs` tries them.
//!
//! **Reference** `onnx.proto3` of ONNX 1.23, intermediate representations 3 to 13.

use std::collections::BTreeMap;
use std::ops::Range;

use super::bytes::Beside;
use super::entry::{Element, Entry, Index};
use super::program::{Attribute, Constant, Input, Language, MOST, Node, Numbers, Program, SMALL};
use super::protobuf::{Field, Message};

/// Attributes of one operation, and values that it takes or makes: more than any has.
const GIVEN: usize = 1 << 12;

/// Whether these bytes read as an ONNX file from their first field to their last.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let (mut version, mut graph) = (false, false);
    for field in Message::of(bytes).fields() {
        match field {
            Ok((1, Field::Varint(1..=64))) => version = true,
            Ok((7, Field::Bytes(_))) => graph = true,
            Ok((5, Field::Varint(_)) | (2..=4 | 6 | 8 | 14 | 20 | 25 | 26, Field::Bytes(_))) => {}
            _ => return false,
        }
    }
    version && graph
}

/// Reads the graph and finds its tensors; says in words what is wrong.
pub(super) fn index(bytes: &[u8], beside: &mut Beside) -> Result<Index, String> {
    let mut reader = Reader { bytes, beside, index: Index::default(), program: Program::default() };
    let (mut graph, mut version) = (None, None);
    for field in Message::of(bytes).fields() {
        match field? {
            (2, Field::Bytes(producer)) => reader.program.producer = producer.text()?.to_owned(),
            (7, Field::Bytes(found)) => graph = Some(found),
            (8, Field::Bytes(set)) => {
                let (mut domain, mut number) = ("", 1);
                for field in set.fields() {
                    match field? {
                        (1, Field::Bytes(name)) => domain = name.text()?,
                        (2, Field::Varint(value)) => number = value,
                        _ => {}
                    }
                }
                if is_usual(domain) {
                    version = Some(number);
                }
            }
            (14, Field::Bytes(property)) => {
                let (key, value) = property_of(property)?;
                reader.index.metadata.insert(key.to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    let graph = graph.ok_or("holds no graph, so it is not an ONNX file of a network")?;
    reader.program.language = Language::Onnx(version.unwrap_or(1));
    reader.graph(graph)?;
    reader.index.program = Some(reader.program);
    Ok(reader.index)
}

fn is_usual(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// A key and its value.
fn property_of(message: Message<'_>) -> Result<(&str, &str), String> {
    let (mut key, mut value) = ("", "");
    for field in message.fields() {
        match field? {
            (1, Field::Bytes(text)) => key = text.text()?,
            (2, Field::Bytes(text)) => value = text.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

struct Reader<'a, 'b> {
    bytes: &'a [u8],
    beside: &'b mut Beside,
    index: Index,
    program: Program,
}

/// A tensor as the file has it.
#[derive(Default)]
struct Tensor<'a> {
    name: &'a str,
    sizes: Vec<u64>,
    kind: u64,
    raw: Option<Message<'a>>,
    /// Numbers in a list of their own; one that is packed, or one number.
    lists: Vec<(u64, Field<'a>)>,
    external: BTreeMap<&'a str, &'a str>,
    is_external: bool,
}

impl<'a> Reader<'a, '_> {
    fn graph(&mut self, graph: Message<'a>) -> Result<(), String> {
        let mut tensors = 0;
        for field in graph.fields() {
            match field? {
                (1, Field::Bytes(node)) => {
                    if self.program.nodes.len() == MOST {
                        return Err(format!("has more than {MOST} operations, so it is no network that is read here"));
                    }
                    let node = self.node(node)?;
                    self.program.nodes.extend(node);
                }
                (5, Field::Bytes(tensor)) => {
                    tensors += 1;
                    if tensors > MOST {
                        return Err(format!("has more than {MOST} tensors, so it is no network that is read here"));
                    }
                    let tensor = Tensor::of(tensor)?;
                    let name = tensor.name.to_owned();
                    self.tensor(name, tensor)?;
                }
                (11, Field::Bytes(value)) => {
                    let input = input(value)?;
                    if self.program.inputs.len() == MOST {
                        return Err(format!("has more than {MOST} inputs, so it is no network that is read here"));
                    }
                    self.program.inputs.push(input);
                }
                (12, Field::Bytes(value)) => {
                    let output = input(value)?;
                    if self.program.outputs.len() == GIVEN {
                        return Err(format!("has more than {GIVEN} outputs, so it is no network that is read here"));
                    }
                    self.program.outputs.push(output.name);
                }
                _ => {}
            }
        }
        // Before version 4 tensors are inputs too.
        let tensors = &self.program.tensors;
        self.program.inputs.retain(|input| !tensors.contains_key(&input.name));
        Ok(())
    }

    /// An operation; nothing for one that only names a tensor, which is then known by that name.
    fn node(&mut self, message: Message<'a>) -> Result<Option<Node>, String> {
        let mut node = Node::default();
        let (mut operator, mut domain, mut tensor) = ("", "", None);
        for field in message.fields() {
            match field? {
                (1, Field::Bytes(name)) => node.inputs.push(name.text()?.to_owned()),
                (2, Field::Bytes(name)) => node.outputs.push(name.text()?.to_owned()),
                (3, Field::Bytes(name)) => node.name = name.text()?.to_owned(),
                (4, Field::Bytes(name)) => operator = name.text()?,
                (5, Field::Bytes(attribute)) => {
                    let (name, value, own) = attribute_of(attribute)?;
                    tensor = own.or(tensor);
                    node.attributes.insert(name.to_owned(), value);
                }
                (7, Field::Bytes(name)) => domain = name.text()?,
                (9, Field::Bytes(property)) => {
                    if let ("pkg.torch.onnx.name_scopes", scopes) = property_of(property)? {
                        node.modules = scopes_of(scopes);
                    }
                }
                _ => {}
            }
            if node.inputs.len().max(node.outputs.len()).max(node.attributes.len()) > GIVEN {
                return Err(format!(
                    "has an operation that takes or makes more than {GIVEN} values, which is not read"
                ));
            }
        }
        node.operator = if is_usual(domain) { operator.to_owned() } else { format!("{domain}::{operator}") };
        if node.modules.is_empty() {
            node.modules = modules_of(&node.name);
        }
        if let ("ConstantOfShape", Some(output)) = (&node.operator[..], node.outputs.first())
            && let Some(value) = tensor.take()
        {
            let name = format!("{output} value");
            self.tensor(name.clone(), value)?;
            node.inputs.push(name);
        }
        let ("Constant", Some(output)) = (&node.operator[..], node.outputs.first()) else { return Ok(Some(node)) };
        let numbers = |attribute: &Attribute| {
            let list = |list: &[Attribute]| list.iter().map(Attribute::float).collect::<Option<Vec<f64>>>();
            let (shape, values) = match attribute {
                Attribute::List(values) => (vec![values.len()], values.clone()),
                one => (vec![], vec![one.clone()]),
            };
            let ints = Attribute::List(values.clone()).ints().map(Numbers::Int);
            Some(Constant { shape, numbers: ints.or_else(|| Some(Numbers::Float(list(&values)?)))? })
        };
        let values = ["value_int", "value_ints", "value_float", "value_floats"];
        if let Some(tensor) = tensor {
            self.tensor(output.clone(), tensor)?;
        } else if let Some(constant) = values.iter().find_map(|name| node.attributes.get(*name)).and_then(numbers) {
            self.program.constants.insert(output.clone(), constant);
        } else {
            return Ok(Some(node));
        }
        Ok(None)
    }

    /// Finds the numbers of a tensor.
    fn tensor(&mut self, name: String, tensor: Tensor<'a>) -> Result<(), String> {
        let shown = name.escape_debug().to_string();
        let sizes: Option<Vec<usize>> = tensor.sizes.iter().map(|size| usize::try_from(*size as i64).ok()).collect();
        let count =
            sizes.as_ref().and_then(|sizes| sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size)));
        let (Some(sizes), Some(count)) = (sizes, count) else {
            return Err(format!("file is damaged: tensor {shown} has impossible sizes; download it again"));
        };
        let element = element(tensor.kind);
        let short = |there: usize, needed: &str| {
            format!(
                "file is damaged: tensor {shown} of {count} elements needs {needed} bytes and has {there}; download it again"
            )
        };
        let needed = |element: &Result<Element, String>| match element {
            Ok(element) => count.checked_mul(element.bytes()),
            // How large the elements of types are that are not read does not matter.
            Err(_) => Some(0),
        };
        let Some(needed) = needed(&element) else { return Err(short(0, "too many")) };
        let at: Range<usize> = if tensor.is_external {
            self.external(&shown, &tensor, needed, element.is_err())?
        } else if let Some(raw) = tensor.raw {
            let at = raw.range();
            if at.len() != needed && element.is_ok() {
                return Err(short(at.len(), &needed.to_string()));
            }
            at
        } else {
            match &element {
                Ok(element) => {
                    let bytes = listed(&tensor, *element)?;
                    if bytes.len() != needed {
                        return Err(short(bytes.len(), &needed.to_string()));
                    }
                    self.beside.numbers(bytes)
                }
                Err(_) => 0..0,
            }
        };
        let entry = Entry::plain(sizes, element, at);
        if let Some(constant) = self.constant(&entry) {
            self.program.constants.insert(name.clone(), constant);
        }
        self.index.entries.insert(name.clone(), entry);
        self.program.tensors.insert(name.clone(), name);
        Ok(())
    }

    /// Where a tensor lies in another file.
    fn external(&mut self, shown: &str, tensor: &Tensor, needed: usize, unread: bool) -> Result<Range<usize>, String> {
        let number = |key: &str| match tensor.external.get(key) {
            Some(text) => text.trim().parse::<usize>().map(Some).map_err(|_| {
                format!(
                    "file is damaged: tensor {shown} has the impossible {key} {}; download it again",
                    text.escape_debug()
                )
            }),
            None => Ok(None),
        };
        let location = tensor.external.get("location").copied().unwrap_or_default();
        let file = self.beside.file(location).map_err(|reason| format!("{reason} (tensor {shown})"))?;
        let start = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(needed);
        if length != needed && !unread {
            return Err(format!(
                "file is damaged: tensor {shown} needs {needed} bytes, and {length} are said to be in {}; download it again",
                location.escape_debug()
            ));
        }
        let end = start.checked_add(length).filter(|end| *end <= file.len());
        let end = end.ok_or_else(|| {
            format!(
                "its weights in {} are truncated: tensor {shown} ends at byte {} of {}; download both files again",
                location.escape_debug(),
                start.saturating_add(length),
                file.len()
            )
        })?;
        Ok(file.start + start..file.start + end)
    }

    /// The numbers of a tensor that is small.
    fn constant(&self, entry: &Entry) -> Option<Constant> {
        let element = entry.element.clone().ok()?;
        if entry.shape.iter().product::<usize>() > SMALL {
            return None;
        }
        let bytes = match entry.at.clone() {
            at if at.is_empty() => &[],
            at if at.start < self.bytes.len() => &self.bytes[at],
            at => self.beside.get(at),
        };
        Some(Constant { shape: entry.shape.clone(), numbers: numbers(element, entry, bytes) })
    }
}

/// The numbers of a small array, whole ones exactly.
fn numbers(element: Element, entry: &Entry, bytes: &[u8]) -> Numbers {
    match element {
        Element::I64 | Element::U64 => {
            Numbers::Int(bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
        }
        Element::I32 => {
            Numbers::Int(bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect())
        }
        Element::F64 => {
            Numbers::Float(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        element if element.is_float() => {
            Numbers::Float(entry.values(element, bytes).into_iter().map(f64::from).collect())
        }
        // Of up to 32 bits, of which a network has only small ones here.
        element => Numbers::Int(entry.values(element, bytes).into_iter().map(|value| value as i64).collect()),
    }
}

impl<'a> Tensor<'a> {
    fn of(message: Message<'a>) -> Result<Self, String> {
        let mut tensor = Tensor::default();
        for field in message.fields() {
            match field? {
                (1, Field::Varint(size)) => tensor.sizes.push(size),
                (1, Field::Bytes(sizes)) => tensor.sizes.extend(sizes.varints()?),
                (2, Field::Varint(kind)) => tensor.kind = kind,
                (8, Field::Bytes(name)) => tensor.name = name.text()?,
                (9, Field::Bytes(raw)) => tensor.raw = Some(raw),
                (13, Field::Bytes(property)) => {
                    let (key, value) = property_of(property)?;
                    tensor.external.insert(key, value);
                }
                (14, Field::Varint(place)) => tensor.is_external = place == 1,
                (4..=7 | 10 | 11, _) if tensor.lists.len() > GIVEN => {
                    return Err("has a tensor whose numbers are listed one by one, which is not read".into());
                }
                (number @ (4 | 5 | 7 | 10 | 11), value) => tensor.lists.push((number, value)),
                _ => {}
            }
            if tensor.sizes.len() > 16 {
                return Err("has a tensor of more than 16 sizes, which is not read".into());
            }
        }
        Ok(tensor)
    }
}

/// Bytes of the numbers of a tensor that lists them: at most eight for each byte of the list.
fn listed(tensor: &Tensor, element: Element) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Half precision is listed by its bits.
    let size = element.bytes();
    let mut whole = |value: u64| bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    let mut rest: Vec<u8> = Vec::new();
    for (number, value) in &tensor.lists {
        match (number, value) {
            (5 | 7 | 11, Field::Varint(value)) => whole(*value),
            (5 | 7 | 11, Field::Bytes(list)) => list.varints()?.into_iter().for_each(&mut whole),
            (4, Field::Fixed32(value)) => rest.extend_from_slice(value),
            (10, Field::Fixed64(value)) => rest.extend_from_slice(value),
            (4 | 10, Field::Bytes(list)) => rest.extend_from_slice(list.bytes()),
            _ => {}
        }
    }
    Ok(if bytes.is_empty() { rest } else { bytes })
}

fn element(kind: u64) -> Result<Element, String> {
    const UNREAD: [(u64, &str); 9] = [
        (8, "text"),
        (14, "complex numbers"),
        (15, "complex numbers"),
        (17, "F8"),
        (18, "F8"),
        (19, "F8"),
        (20, "F8"),
        (21, "U4"),
        (22, "I4"),
    ];
    Ok(match kind {
        1 => Element::F32,
        2 | 9 => Element::U8,
        3 => Element::I8,
        4 => Element::U16,
        5 => Element::I16,
        6 => Element::I32,
        7 => Element::I64,
        10 => Element::F16,
        11 => Element::F64,
        12 => Element::U32,
        13 => Element::U64,
        16 => Element::Bf16,
        other => {
            let known = UNREAD.iter().find(|(kind, _)| *kind == other);
            return Err(known.map_or_else(|| format!("number {other}"), |(_, name)| (*name).to_owned()));
        }
    })
}

/// An attribute by name, and the tensor that it is.
fn attribute_of(message: Message<'_>) -> Result<(&str, Attribute, Option<Tensor<'_>>), String> {
    let (mut name, mut kind, mut tensor) = ("", 0, None);
    let (mut one, mut list) = (Attribute::None, Vec::new());
    let mut push = |value: Attribute| match list.len() {
        SMALL => Err("has an attribute of more numbers than are read".to_owned()),
        _ => {
            list.push(value);
            Ok(())
        }
    };
    for field in message.fields() {
        match field? {
            (1, Field::Bytes(text)) => name = text.text()?,
            (2, Field::Fixed32(value)) => one = Attribute::Float(shortest(f32::from_le_bytes(value))),
            (3, Field::Varint(value)) => one = Attribute::Int(value as i64),
            (4, Field::Bytes(text)) => {
                one = text.text().map_or(Attribute::Other("bytes"), |text| Attribute::Text(text.to_owned()));
            }
            (5, Field::Bytes(value)) => {
                tensor = Some(Tensor::of(value)?);
                one = Attribute::Other("a tensor");
            }
            (6 | 11, _) => one = Attribute::Other("a graph of its own"),
            (7, Field::Fixed32(value)) => push(Attribute::Float(shortest(f32::from_le_bytes(value))))?,
            (7, Field::Bytes(values)) => {
                for value in values.bytes().as_chunks::<4>().0 {
                    push(Attribute::Float(shortest(f32::from_le_bytes(*value))))?;
                }
            }
            (8, Field::Varint(value)) => push(Attribute::Int(value as i64))?,
            (8, Field::Bytes(values)) => {
                values.varints()?.into_iter().try_for_each(|value| push(Attribute::Int(value as i64)))?;
            }
            (9, Field::Bytes(text)) => push(Attribute::Text(text.text().unwrap_or_default().to_owned()))?,
            (20, Field::Varint(value)) => kind = value,
            _ => {}
        }
    }
    // Kinds 6 to 10 are lists, which may be empty. Numbers that are zero may be left out.
    let value = match (kind, one) {
        (6..=10, _) => Attribute::List(list),
        (_, Attribute::None) if !list.is_empty() => Attribute::List(list),
        (1, Attribute::None) => Attribute::Float(0.0),
        (2, Attribute::None) => Attribute::Int(0),
        (3, Attribute::None) => Attribute::Text(String::new()),
        (_, one) => one,
    };
    Ok((name, value, tensor))
}

/// A number as people write it: 1e-5 is not 9.99999974738e-6 because it has been stored in 32 bits.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// Name and sizes of an input.
fn input(message: Message<'_>) -> Result<Input, String> {
    let mut input = Input { name: String::new(), sizes: None, is_float: false };
    for field in message.fields() {
        match field? {
            (1, Field::Bytes(name)) => input.name = name.text()?.to_owned(),
            (2, Field::Bytes(kind)) => {
                for field in kind.fields() {
                    let (1, Field::Bytes(tensor)) = field? else { continue };
                    for field in tensor.fields() {
                        match field? {
                            (1, Field::Varint(kind)) => input.is_float = element(kind).is_ok_and(Element::is_float),
                            (2, Field::Bytes(shape)) => input.sizes = Some(sizes(shape)?),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

fn sizes(shape: Message) -> Result<Vec<Option<usize>>, String> {
    let mut sizes = Vec::new();
    for field in shape.fields() {
        let (1, Field::Bytes(size)) = field? else { continue };
        let mut known = None;
        for field in size.fields() {
            if let (1, Field::Varint(value)) = field? {
                // Some tools write -1 or 0 for a size that is not known.
                known = usize::try_from(value as i64).ok().filter(|value| *value > 0);
            }
        }
        if sizes.len() == 16 {
            return Err("has a value of more than 16 sizes, which is not read".into());
        }
        sizes.push(known);
    }
    Ok(sizes)
}

/// The modules in `['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']`, of which the last is the operation.
fn scopes_of(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let names = inner.split(',').map(|name| name.trim().trim_matches(['\'', '"']).to_owned());
    let mut names: Vec<String> = names.collect();
    names.pop();
    names.retain(|name| !name.is_empty());
    names
}

/// The modules in the name of an operation, `/layer1/layer1.0/conv1/Conv`: members of containers have the container's name before
/// their own.
fn modules_of(name: &str) -> Vec<String> {
    let Some(path) = name.strip_prefix('/') else { return vec![] };
    let mut modules: Vec<String> = Vec::new();
    let (mut path, mut before) = (path.split('/').collect::<Vec<_>>(), "");
    path.pop();
    for part in path {
        let parent = modules.last().cloned().unwrap_or_default();
        let own = part.strip_prefix(before).filter(|own| !before.is_empty() && own.starts_with('.'));
        modules.push(match own {
            Some(own) => format!("{parent}{own}"),
            None if parent.is_empty() => part.to_owned(),
            None => format!("{parent}.{part}"),
        });
        before = part;
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_names_and_in_scopes() {
        assert_eq!(modules_of("/layer1/layer1.0/conv1/Conv"), ["layer1", "layer1.0", "layer1.0.conv1"]);
        assert_eq!(
            modules_of("/layer2/layer2.0/downsample/downsample.0/Conv").last().map(String::as_str),
            Some("layer2.0.downsample.0")
        );
        assert_eq!(
            modules_of("/features/features.1/features.1.0/block/block.0/Conv").last().map(String::as_str),
            Some("features.1.0.block.0")
        );
        assert_eq!(modules_of("/Flatten"), Vec::<String>::new());
        assert_eq!(modules_of("model/conv1/Conv2D"), Vec::<String>::new());
        assert_eq!(scopes_of("['', 'layer1', 'layer1.0', 'relu']"), ["layer1", "layer1.0"]);
    }

    #[test]
    fn numbers_are_as_people_write_them() {
        assert_eq!((shortest(1e-5), shortest(0.1), shortest(6.0)), (1e-5, 0.1, 6.0));
    }
}
