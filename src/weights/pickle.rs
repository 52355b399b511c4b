//! The part of Python's pickle language that files of tensors use. Nothing is imported and nothing is called.
//!
//! A pickle is a program for a machine with a stack. This machine knows the instructions that build numbers, text,
//! tuples, lists and dictionaries, and for each global on its list what stands for it here. Any other global, and what a
//! pickle would have it make, is an opaque value with that name: never looked up, built or called. Values live in flat lists
//! and refer to each other by position, so that none is too deep to walk or drop, and a budget bounds the work and the memory whatever the pickle says.
//!
//! One file past 500 lines: who checks that nothing is executed reads all the instructions, their limits and tests in one
//! place.

use std::collections::HashMap;

use super::entry::Layout;
use super::globals::{Global, Kind, Rebuild};

/// Instructions and copied values that a pickle may ask for. A tensor takes about thirty.
const BUDGET: usize = 1 << 19;

/// More dimensions than any tensor of a network has.
const DIMENSIONS: usize = 16;

/// What a pickle stands for.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub value: Value<'a>,
    /// Where its last instruction ends.
    pub end: usize,
    items: Vec<Vec<Value<'a>>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor>,
    sparse: Vec<Sparse>,
    /// Module and name of the globals that are on no list.
    unknown: Vec<[&'a str; 2]>,
}

/// One value. Numbers in `Tuple`, `List`, `Dict`, `Storage`, `Tensor`, `Sparse` and `Opaque` are positions in the pickle's lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// None, a float, bytes, a set or a device: nothing that a tensor depends on.
    Other,
    /// A global that is on no list, or what it would make.
    Opaque(usize),
    Bool(bool),
    Int(i64),
    /// An integer of any length, little-endian.
    Long(&'a [u8]),
    Text(&'a str),
    Tuple(usize),
    List(usize),
    /// Keys and values in turns.
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
    Sparse(usize),
}

/// A run of elements that tensors look into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub kind: Kind,
    pub count: usize,
}

/// A look into a storage. Offset and strides are in elements of its kind, which may differ from the storage's.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub storage: usize,
    pub kind: Kind,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A sparse tensor: the positions of its tensors of indices and of the one of values, and its sizes.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    pub layout: Layout,
    pub indices: Vec<usize>,
    pub values: usize,
    pub shape: Vec<usize>,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that the bytes begin with; says what is wrong with it or what it must not ask for.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (value, end, unknown) = (Value::Other, 0, vec![]);
        let pickle = Pickle { value, end, items: vec![], storages: vec![], tensors: vec![], sparse: vec![], unknown };
        let mut machine =
            Machine { bytes, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), budget: BUDGET, pickle };
        while machine.step()? {}
        Ok(Pickle { value: machine.pop()?, end: machine.at, ..machine.pickle })
    }

    /// What a tuple or a list holds; nothing for other values.
    pub fn items(&self, value: Value<'a>) -> &[Value<'a>] {
        match value {
            Value::Tuple(at) | Value::List(at) => &self.items[at],
            _ => &[],
        }
    }

    /// Keys and values of a dictionary, in the order in which they were set; nothing for other values.
    pub fn pairs(&self, value: Value<'a>) -> impl DoubleEndedIterator<Item = (Value<'a>, Value<'a>)> {
        let flat: &[_] = if let Value::Dict(at) = value { &self.items[at] } else { &[] };
        flat.as_chunks().0.iter().map(|[key, value]| (*key, *value))
    }

    /// What a dictionary holds under a name.
    pub fn get(&self, dict: Value<'a>, name: &str) -> Option<Value<'a>> {
        // A key that is set again holds its last value.
        self.pairs(dict).rev().find(|(key, _)| *key == Value::Text(name)).map(|(_, value)| value)
    }

    /// A tensor and the storage that it looks into.
    pub fn tensor(&self, at: usize) -> (&Tensor, Storage<'a>) {
        let tensor = &self.tensors[at];
        (tensor, self.storages[tensor.storage])
    }

    /// A sparse tensor.
    pub fn sparse(&self, at: usize) -> &Sparse {
        &self.sparse[at]
    }

    /// The name of the global behind an opaque value; nothing for other values.
    pub fn opaque(&self, value: Value) -> Option<String> {
        let Value::Opaque(at) = value else { return None };
        Some(shown(self.unknown[at]))
    }

    /// Names of the globals that are on no list, in the order in which they are asked for.
    pub fn unknown(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().copied().map(shown)
    }

    /// Every storage, in the order in which they are named; one that is named again comes again.
    pub fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }
}

/// A pickle as far as it has been read.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    budget: usize,
    pickle: Pickle<'a>,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; false when it was the last.
    fn step(&mut self) -> Result<bool, String> {
        self.spend(1)?;
        match self.take(1)?[0] {
            0x80 => match self.take(1)?[0] {
                ..=5 => {}
                protocol => return Err(format!("has a pickle of protocol {protocol}, at most 5 is read")),
            },
            0x95 => drop(self.take(8)?), // FRAME: a length that helps streams
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::Other),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            0x8a => {
                let length = self.take(1)?[0];
                self.integer(length.into())?;
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length as usize)?;
            }
            0x8c => {
                let length = self.take(1)?[0];
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length as usize)?;
            }
            b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.old_text(length as usize)?;
            }
            b'U' => {
                let length = self.take(1)?[0];
                self.old_text(length.into())?;
            }
            b'C' => {
                let length = self.take(1)?[0];
                self.bytes(length.into())?;
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.bytes(length as usize)?;
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.bytes(length as usize)?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                self.integer(length as usize)?;
            }
            b'c' => {
                let [module, name] = [self.line()?, self.line()?];
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) if module.len().max(name.len()) < MAX_NAME => {
                    self.global(module, name)?;
                }
                _ => return Err(self.damaged("a global has no name")),
            },
            b'Q' => self.storage()?,
            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.make(Value::Tuple, items);
            }
            b']' => self.make(Value::List, vec![]),
            b'}' => self.make(Value::Dict, vec![]),
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])?;
            }
            b'e' | b'u' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b'q' => {
                let key = self.take(1)?[0];
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let key = self.take(1)?[0];
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            b'R' => self.reduce()?,
            0x81 => self.object(1)?,
            0x92 => self.object(2)?,
            0x8f => self.stack.push(Value::Other), // EMPTY_SET
            0x91 => {
                self.since_mark()?; // FROZENSET
                self.stack.push(Value::Other);
            }
            0x90 => {
                self.since_mark()?; // ADDITEMS
                if !matches!(self.top()?, Value::Other | Value::Opaque(_)) {
                    return Err(self.damaged("it adds to something that is no set"));
                }
            }
            b'0' if self.stack.len() > self.floor() => drop(self.stack.pop()), // POP
            b'0' | b'1' => drop(self.since_mark()?),                           // POP_MARK
            b'2' => {
                let value = self.top()?; // DUP
                self.stack.push(value);
            }
            b'b' => {
                // Attributes of a tensor or a dictionary, such as the versions of the modules: not numbers.
                self.pop()?;
                if !matches!(self.top()?, Value::Dict(_) | Value::Tensor(_) | Value::Opaque(_)) {
                    return Err("pickle asks to set attributes of something that is not a tensor; it is refused".into());
                }
            }
            other => return Err(refused_instruction(other)),
        }
        Ok(true)
    }

    fn spend(&mut self, amount: usize) -> Result<(), String> {
        self.budget = self.budget.checked_sub(amount).ok_or_else(|| {
            format!("has a pickle of more than {BUDGET} steps, more than weights need; {SAVE_NUMBERS}")
        })?;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let bytes: &'a [u8] = self.bytes;
        let taken = bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(CUT)?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N)?.first_chunk().expect("as many bytes were taken"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let length = self.bytes[self.at..].iter().take(MAX_NAME).position(|byte| *byte == b'\n');
        let Some(length) = length else {
            let cut = self.bytes.len() - self.at < MAX_NAME;
            return Err(if cut { CUT.into() } else { self.damaged("a global has a very long name") });
        };
        let line = &self.take(length + 1)?[..length];
        std::str::from_utf8(line).map_err(|_| self.damaged("a global's name is not text"))
    }

    fn int(&mut self, length: usize) -> Result<(), String> {
        let number = self.take(length)?.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte));
        self.stack.push(Value::Int(number));
        Ok(())
    }

    fn integer(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|last| *last > 127);
        let mut wide = [if negative { 255 } else { 0 }; 8];
        self.stack.push(match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Long(bytes),
        });
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| self.damaged("a text is not UTF-8"))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// A text of Python 2, which may be bytes that are no text: those mean nothing here.
    fn old_text(&mut self, length: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(length)?);
        self.stack.push(text.map_or(Value::Other, Value::Text));
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Result<(), String> {
        self.take(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), String> {
        if runs_programs(module, name) {
            return Err(useless(&shown([module, name])));
        }
        self.stack.push(match Global::find(module, name) {
            Some(global) => Value::Global(global),
            None => {
                self.pickle.unknown.push([module, name]);
                Value::Opaque(self.pickle.unknown.len() - 1)
            }
        });
        Ok(())
    }

    /// An object of a class, from so many values; none on the list is made in this way.
    fn object(&mut self, values: usize) -> Result<(), String> {
        for _ in 0..values {
            self.pop()?;
        }
        let class = self.pop()?;
        let Value::Opaque(_) = class else { return Err(self.damaged("it makes an object of what is no class")) };
        self.stack.push(class);
        Ok(())
    }

    /// Where the top of the stack begins: values below a mark cannot be touched.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        let value = if self.stack.len() > self.floor() { self.stack.pop() } else { None };
        value.ok_or_else(|| self.damaged("it takes a value that it has not made"))
    }

    fn top(&self) -> Result<Value<'a>, String> {
        let value = self.stack[self.floor()..].last().copied();
        value.ok_or_else(|| self.damaged("it uses a value that it has not made"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged("it ends a group that it has not begun"))?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn make(&mut self, value: impl Fn(usize) -> Value<'a>, items: Vec<Value<'a>>) {
        self.stack.push(value(self.pickle.items.len()));
        self.pickle.items.push(items);
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = vec![Value::Other; count];
        for slot in items.iter_mut().rev() {
            *slot = self.pop()?;
        }
        self.make(Value::Tuple, items);
        Ok(())
    }

    /// Adds to the list or the dictionary at the top.
    fn extend(&mut self, items: Vec<Value<'a>>) -> Result<(), String> {
        let (Value::List(at) | Value::Dict(at)) = self.top()? else {
            // What an object on no list holds is not looked at.
            if let Value::Opaque(_) = self.top()? {
                return Ok(());
            }
            return Err(self.damaged("it adds to something that is neither a list nor a dictionary"));
        };
        if matches!(self.top()?, Value::Dict(_)) && !items.len().is_multiple_of(2) {
            return Err(self.damaged("a key has no value"));
        }
        self.pickle.items[at].extend(items);
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let value = self.memo.get(&key).ok_or_else(|| self.damaged("it recalls a value that it has not stored"))?;
        self.stack.push(*value);
        Ok(())
    }

    /// `("storage", type, key, place, count)` and in old files the part of another storage that it is, or None.
    fn storage(&mut self) -> Result<(), String> {
        let named = self.pop()?;
        // A storage of a type on no list, as quantized tensors have.
        if let &[Value::Text("storage"), kind @ Value::Opaque(_), ..] = self.pickle.items(named) {
            self.stack.push(kind);
            return Ok(());
        }
        let storage = match *self.pickle.items(named) {
            [Value::Text("storage"), Value::Global(Global::Storage(kind)), Value::Text(key), _, count]
            | [
                Value::Text("storage"),
                Value::Global(Global::Storage(kind)),
                Value::Text(key),
                _,
                count,
                Value::Other,
            ] => size(count).map(|count| Storage { key, kind, count }),
            [Value::Text("storage"), _, _, _, _, Value::Tuple(_)] => {
                return Err(format!(
                    "has storages in the way of PyTorch before 0.4, which is not read; {SAVE_NUMBERS}"
                ));
            }
            _ => None,
        };
        let storage = storage.ok_or_else(|| self.damaged("a storage is not described as PyTorch does"))?;
        self.stack.push(Value::Storage(self.pickle.storages.len()));
        self.pickle.storages.push(storage);
        Ok(())
    }

    /// What a call on the list stands for.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        if let Value::Opaque(_) = callable {
            self.stack.push(callable);
            return Ok(());
        }
        let Value::Global(global) = callable else {
            return Err(self.damaged("it calls something that is not a function"));
        };
        let Value::Tuple(at) = arguments else {
            return Err(self.damaged("it calls a function without a tuple of arguments"));
        };
        let arguments = &self.pickle.items[at];
        // What is made of something that nobody made is not made either.
        if let Some(opaque) = arguments.iter().find(|value| matches!(value, Value::Opaque(_)))
            && !matches!(global, Global::Device)
        {
            self.stack.push(*opaque);
            return Ok(());
        }
        match (global, &arguments[..]) {
            (Global::OrderedDict, []) => self.make(Value::Dict, vec![]),
            (Global::OrderedDict, &[pairs @ Value::List(_)]) => self.dictionary(pairs)?,
            (Global::Device, _) => self.stack.push(Value::Other),
            (Global::Size, &[size @ Value::Tuple(_)]) => self.stack.push(size),
            (Global::Parameter | Global::RebuildParameter, &[tensor @ (Value::Tensor(_) | Value::Sparse(_)), ..]) => {
                self.stack.push(tensor);
            }
            (Global::Layout, &[name @ Value::Text(_)]) => self.stack.push(name),
            (Global::RebuildSparse, arguments) => {
                let made = match self.sparse(arguments) {
                    Some(sparse) => {
                        self.pickle.sparse.push(sparse);
                        Value::Sparse(self.pickle.sparse.len() - 1)
                    }
                    // Of another layout.
                    None => {
                        self.pickle.unknown.push(["torch._utils", "_rebuild_sparse_tensor"]);
                        Value::Opaque(self.pickle.unknown.len() - 1)
                    }
                };
                self.stack.push(made);
            }
            (Global::RebuildTensor(rebuild), arguments) => {
                let tensor = self
                    .tensor(rebuild, arguments)
                    .ok_or_else(|| self.damaged("a tensor is not described as PyTorch does"))?;
                self.stack.push(Value::Tensor(self.pickle.tensors.len()));
                self.pickle.tensors.push(tensor);
            }
            _ => return Err(self.damaged("a function gets other arguments than PyTorch gives it")),
        }
        Ok(())
    }

    /// An ordered dictionary from a list of pairs, as Python 2 writes it.
    fn dictionary(&mut self, pairs: Value<'a>) -> Result<(), String> {
        let count = self.pickle.items(pairs).len();
        self.spend(2 * count)?;
        let mut flat = Vec::with_capacity(2 * count);
        for pair in self.pickle.items(pairs) {
            match *self.pickle.items(*pair) {
                [key, value] => flat.extend([key, value]),
                _ => return Err(self.damaged("a dictionary is not made of pairs")),
            }
        }
        self.make(Value::Dict, flat);
        Ok(())
    }

    fn tensor(&self, rebuild: Rebuild, arguments: &[Value<'a>]) -> Option<Tensor> {
        let [Value::Storage(storage), offset, shape, strides, rest @ ..] = arguments else { return None };
        let stored = self.pickle.storages[*storage].kind;
        // After the strides: whether a gradient is wanted, hooks, the type (v3 only), flags such as "negated".
        let (kind, flags) = match (rebuild, rest) {
            (Rebuild::V1, []) => (stored, &[][..]),
            (Rebuild::V2, [_, _, flags @ ..]) => (stored, flags),
            (Rebuild::V3, [_, _, Value::Global(Global::Dtype(kind)), flags @ ..]) => (*kind, flags),
            _ => return None,
        };
        let plain = match flags {
            [] | [Value::Other] => true,
            [flags] => matches!(flags, Value::Dict(_)) && self.pickle.pairs(*flags).next().is_none(),
            _ => false,
        };
        let sizes = |value: &Value<'a>| {
            let Value::Tuple(_) = value else { return None };
            let items = self.pickle.items(*value);
            if items.len() > DIMENSIONS {
                None
            } else {
                items.iter().map(|item| size(*item)).collect::<Option<Vec<_>>>()
            }
        };
        let tensor =
            Tensor { storage: *storage, kind, offset: size(*offset)?, shape: sizes(shape)?, strides: sizes(strides)? };
        (plain && tensor.shape.len() == tensor.strides.len()).then_some(tensor)
    }

    /// From the name of a layout, and indices, values and sizes.
    fn sparse(&self, arguments: &[Value<'a>]) -> Option<Sparse> {
        let &[Value::Text(layout), parts, ..] = arguments else { return None };
        let layout = Layout::named(layout)?;
        let (parts, count) = (self.pickle.items(parts), layout.indices());
        let tensor = |value: &Value<'a>| if let Value::Tensor(at) = value { Some(*at) } else { None };
        let sizes = self.pickle.items(*parts.get(count + 1)?);
        if sizes.len() > DIMENSIONS {
            return None;
        }
        Some(Sparse {
            layout,
            indices: parts[..count].iter().map(tensor).collect::<Option<_>>()?,
            values: tensor(&parts[count])?,
            shape: sizes.iter().map(|size_of| size(*size_of)).collect::<Option<_>>()?,
        })
    }

    fn damaged(&self, how: &str) -> String {
        format!("pickle is damaged at byte {}: {how}; download it again", self.at)
    }
}

/// Longest name that is read or shown.
const MAX_NAME: usize = 200;

const CUT: &str = "file is truncated: its pickle does not end; download it again";

const SAVE_NUMBERS: &str = "save the numbers alone, with torch.save(model.state_dict(), path)";

/// Why a global is refused.
pub(super) fn useless(global: &str) -> String {
    format!("pickle asks for {global}, which weights have no use for; it was not run; {SAVE_NUMBERS}")
}

/// Whether a global runs what it is given. It would not be called, but a file that names one is made to attack whoever opens it.
fn runs_programs(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => ["eval", "exec", "execfile", "compile", "open", "__import__"].contains(&name),
        _ => {
            let top = module.split('.').next().unwrap_or(module);
            ["os", "posix", "nt", "subprocess", "sys", "shutil", "pty", "socket", "runpy", "importlib", "ctypes"]
                .contains(&top)
        }
    }
}

/// The name of a global as messages show it.
fn shown([module, name]: [&str; 2]) -> String {
    format!("{module}.{name}").escape_debug().take(MAX_NAME).collect()
}

fn size(value: Value) -> Option<usize> {
    if let Value::Int(number) = value { usize::try_from(number).ok() } else { None }
}

/// Instructions of the language that make what weights have no use for.
const REFUSED: [(u8, &str); 17] = [
    (b'F', "FLOAT"),
    (b'I', "INT"),
    (b'L', "LONG"),
    (b'P', "PERSID"),
    (b'S', "STRING"),
    (b'V', "UNICODE"),
    (b'd', "DICT"),
    (b'g', "GET"),
    (b'i', "INST"),
    (b'l', "LIST"),
    (b'o', "OBJ"),
    (b'p', "PUT"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
];

fn refused_instruction(code: u8) -> String {
    match REFUSED.iter().find(|(refused, _)| *refused == code) {
        Some((_, name)) => {
            format!("pickle uses the instruction {name}, which weights have no use for; it was not run; {SAVE_NUMBERS}")
        }
        None => format!("pickle is damaged: there is no instruction {code:#04x}; download it again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [&[u8]; 2] = [
        include_bytes!("../../tests/fixtures/checkpoints/calls_protocol2.pkl"),
        include_bytes!("../../tests/fixtures/checkpoints/calls_protocol4.pkl"),
    ];

    fn message(bytes: &[u8]) -> String {
        Pickle::read(bytes).expect_err("refused")
    }

    #[test]
    fn every_call_on_the_list_gives_its_tensor() {
        for bytes in CALLS {
            let pickle = Pickle::read(bytes).expect("a good pickle");
            assert_eq!(pickle.end, bytes.len());
            let tensor = |name: &str| {
                let Some(Value::Tensor(at)) = pickle.get(pickle.value, name) else { panic!("{name} is no tensor") };
                let (tensor, storage) = pickle.tensor(at);
                (
                    tensor.kind.name,
                    tensor.offset,
                    tensor.shape.clone(),
                    tensor.strides.clone(),
                    storage.key,
                    storage.count,
                )
            };
            assert_eq!(tensor("v1"), ("float32", 1, vec![2], vec![3], "0", 6));
            assert_eq!(tensor("v3"), ("uint16", 0, vec![2, 2], vec![2, 1], "1", 8));
            assert_eq!(tensor("with_state"), ("float32", 0, vec![6], vec![1], "0", 6));
            assert_eq!(tensor("parameter"), ("float32", 5, vec![], vec![], "0", 6));
            let words = pickle.items(pickle.get(pickle.value, "words").expect("a list"));
            let long = [0, 0, 0, 0, 0, 0, 0, 0, 64];
            let expected = [1, -2, 300, 70_000, -(1 << 40)].map(Value::Int).into_iter().chain([
                Value::Long(&long),
                Value::Other,
                Value::Other,
                Value::Bool(true),
                Value::Other,
                Value::Text("ä"),
            ]);
            assert_eq!(words, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn dictionaries_of_python_2_are_lists_of_pairs() {
        let bytes = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x07e](U\x01bK\x08e](U\x01aK\x09ee\x85R.";
        let pickle = Pickle::read(bytes).expect("a good pickle");
        assert_eq!(pickle.get(pickle.value, "a"), Some(Value::Int(9)));
        assert_eq!(pickle.get(pickle.value, "b"), Some(Value::Int(8)));
        assert_eq!(pickle.get(pickle.value, "c"), None);
    }

    #[test]
    fn what_is_not_on_the_lists_is_never_made() {
        let opaque = |bytes: &[u8]| {
            let pickle = Pickle::read(bytes).unwrap_or_else(|error| panic!("{error}"));
            pickle.opaque(pickle.value).unwrap_or_else(|| panic!("{:?} is made", pickle.value))
        };
        let cases: [(&[u8], &str); 10] = [
            (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
            (b"ctorch\nload\n.", "torch.load"),
            (b"ctorch\nQInt8Storage\n.", "torch.QInt8Storage"),
            (b"ctorchvision.models.resnet\nResNet\n)\x81}U\x01aK\x01sb.", "torchvision.models.resnet.ResNet"),
            (b"ca\x1b[31m\n\"\n.", "a\\u{1b}[31m.\\\""),
            // What a call gives can be called, filled and given to a call on the list, and stays what it was.
            (b"cbuiltins\nset\n]\x85R)R.", "builtins.set"),
            (b"ccollections\nCounter\n}K\x01K\x02s\x85R.", "collections.Counter"),
            (b"ccollections\ndefaultdict\n)R(K\x01K\x02u.", "collections.defaultdict"),
            (b"ca\nb\n)}\x92.", "a.b"),
            (b"ctorch.nn.parameter\nParameter\nca\nb\n)R\x85R.", "a.b"),
        ];
        for (bytes, name) in cases {
            assert_eq!(opaque(bytes), name);
        }
        let cases: [(&[u8], &str); 6] = [
            (
                b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
                "pickle asks for posix.system, which weights have no use for; it was not run; save the numbers alone",
            ),
            (b"c__builtin__\neval\n.", "pickle asks for __builtin__.eval, which"),
            (b"cos.path\njoin\n.", "pickle asks for os.path.join, which"),
            (b"ctorch.nn.parameter\nParameter\n)\x81.", "makes an object of what is no class"),
            (b"(S'true'\nios\nsystem\n.", "instruction STRING,"),
            (b"\xff.", "there is no instruction 0xff;"),
        ];
        for (bytes, part) in cases {
            assert!(message(bytes).contains(part), "{}", message(bytes));
        }
    }

    #[test]
    fn bytes_sets_and_long_numbers_stand_for_nothing() {
        for bytes in [
            &b"C\x02ab."[..],
            b"B\x02\0\0\0ab.",
            b"\x8e\x02\0\0\0\0\0\0\0ab.",
            b"\x96\x02\0\0\0\0\0\0\0ab.",
            b"\x8f(K\x01K\x02\x90.",
            b"(K\x01K\x02\x91.",
            b"U\x02\xff\xfe.", // bytes of Python 2
            b"NK\x010.",
            b"N(K\x01K\x021.",
            b"N(K\x0100.",
        ] {
            let pickle = Pickle::read(bytes).unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
            assert_eq!(pickle.value, Value::Other, "{bytes:?}");
        }
        let value = |bytes: &'static [u8]| Pickle::read(bytes).expect("good").value;
        assert_eq!(value(b"\x8b\x02\0\0\0\x01\x02."), Value::Int(513));
        assert_eq!(value(b"\x8d\x01\0\0\0\0\0\0\0a."), Value::Text("a"));
        assert_eq!(value(b"K\x07K\x0820."), Value::Int(8));
        assert!(message(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffab.").starts_with("file is truncated"));
        assert!(message(b"]K\x01\x90.").contains("ends a group"));
        assert!(message(b"](K\x01\x90.").contains("adds to something that is no set"));
    }

    #[test]
    fn damaged_pickles_say_where() {
        let cases: [(&[u8], &str); 14] = [
            (b".", "takes a value that it has not made"),
            (b"K\x01(a.", "takes a value that it has not made"),
            (b"t.", "ends a group that it has not begun"),
            (b"h\x05.", "recalls a value that it has not stored"),
            (b"K\x01K\x01a.", "adds to something that is neither"),
            (b"}(K\x01u.", "a key has no value"),
            (b"K\x01)R.", "calls something that is not a function"),
            (b"ctorch\nSize\nK\x01R.", "without a tuple of arguments"),
            (b"ctorch\nSize\n)R.", "other arguments than PyTorch gives it"),
            (b"ctorch._utils\n_rebuild_tensor\n)R.", "a tensor is not described"),
            (b")Q.", "a storage is not described"),
            (b"X\x01\0\0\0\xff.", "a text is not UTF-8"),
            (b"K\x01Nb.", "asks to set attributes"),
            (b"\x80\x06.", "protocol 6, at most 5"),
        ];
        for (bytes, part) in cases {
            assert!(message(bytes).contains(part), "{}", message(bytes));
        }
        // A number of dimensions that differs, a size below zero, a flag that changes the numbers.
        let tensor = |middle: &[u8]| {
            let storage =
                b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x06tQK\0";
            [&storage[..], middle, b"tR."].concat()
        };
        Pickle::read(&tensor(b"K\x06\x85K\x01\x85\x89N}")).expect("a good tensor");
        let cases: [&[u8]; 3] =
            [b"K\x06\x85)\x89N", b"J\xff\xff\xff\xff\x85K\x01\x85\x89N", b"K\x06\x85K\x01\x85\x89N}U\x03neg\x88s"];
        for middle in cases {
            assert!(message(&tensor(middle)).contains("a tensor is not described"));
        }
    }

    #[test]
    fn pickles_that_end_early_are_truncated() {
        for bytes in CALLS {
            for length in 0..bytes.len() {
                let message = message(&bytes[..length]);
                assert!(message.starts_with("file is truncated: its pickle does not end"), "{length} bytes: {message}");
            }
        }
    }

    #[test]
    fn endless_pickles_are_stopped() {
        let steps = [&b"]".repeat(1 << 20)[..], b"."].concat();
        assert!(message(&steps).contains("more than 524288 steps"));
        let deep = [&b"]".repeat(1 << 17)[..], &b"a".repeat((1 << 17) - 1), b"."].concat();
        Pickle::read(&deep).expect("depth is no danger");
        // A list of 10,000 pairs, copied into a dictionary 10,000 times.
        let pairs = [&b"](".to_vec()[..], &b"K\x01K\x02\x86".repeat(10_000), b"eq\0"].concat();
        let copies = b"ccollections\nOrderedDict\nh\0\x85R".repeat(10_000);
        assert!(message(&[pairs, copies].concat()).contains("more than 524288 steps"));
    }
}
