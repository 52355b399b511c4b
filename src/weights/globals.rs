//! The closed list of names that a file of tensors may refer to, and what stands for each here.

use super::entry::Element;

/// Names that a pickle may refer to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    Parameter,
    RebuildParameter,
    RebuildTensor(Rebuild),
    RebuildSparse,
    /// What gives a layout by its name.
    Layout,
    Size,
    Device,
    /// `torch.FloatStorage` and the like.
    Storage(Kind),
    /// `torch.float32` and the like.
    Dtype(Kind),
}

/// How a tensor's arguments are laid out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rebuild {
    V1,
    V2,
    V3,
}

/// What a storage holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kind {
    pub name: &'static str,
    /// How to read it, where we can.
    pub element: Option<Element>,
    /// Bytes of one element.
    pub bytes: usize,
}

/// Name of the storage type, name of the element type, how it is read, bytes.
const KINDS: [(&str, &str, Option<Element>, usize); 19] = [
    ("FloatStorage", "float32", Some(Element::F32), 4),
    ("HalfStorage", "float16", Some(Element::F16), 2),
    ("BFloat16Storage", "bfloat16", Some(Element::Bf16), 2),
    ("DoubleStorage", "float64", Some(Element::F64), 8),
    ("CharStorage", "int8", Some(Element::I8), 1),
    ("ShortStorage", "int16", Some(Element::I16), 2),
    ("IntStorage", "int32", Some(Element::I32), 4),
    ("LongStorage", "int64", Some(Element::I64), 8),
    ("ByteStorage", "uint8", Some(Element::U8), 1),
    ("BoolStorage", "bool", Some(Element::U8), 1),
    ("ComplexFloatStorage", "complex64", None, 8),
    ("ComplexDoubleStorage", "complex128", None, 16),
    ("", "uint16", Some(Element::U16), 2),
    ("", "uint32", Some(Element::U32), 4),
    ("", "uint64", Some(Element::U64), 8),
    ("", "float8_e4m3fn", None, 1),
    ("", "float8_e5m2", None, 1),
    ("", "float8_e4m3fnuz", None, 1),
    ("", "float8_e5m2fnuz", None, 1),
];

/// A storage of bytes, whose tensors say what they make of them.
const BYTES: Kind = Kind { name: "bytes", element: None, bytes: 1 };

impl Kind {
    /// The name that safetensors gives to what is not read, where it has one.
    pub fn shown(self) -> &'static str {
        match self.name {
            "complex64" => "C64",
            "float8_e4m3fn" => "F8_E4M3",
            "float8_e5m2" => "F8_E5M2",
            other => other,
        }
    }
}

impl Global {
    /// The closed list of names.
    pub fn find(module: &str, name: &str) -> Option<Global> {
        let kind = |&(_, name, element, bytes): &_| Kind { name, element, bytes };
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch.nn.parameter", "Parameter") => Global::Parameter,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
            ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor(Rebuild::V1),
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor(Rebuild::V2),
            ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensor(Rebuild::V3),
            ("torch._utils", "_rebuild_sparse_tensor") => Global::RebuildSparse,
            ("torch.serialization", "_get_layout") => Global::Layout,
            ("torch", "Size") => Global::Size,
            ("torch", "device") => Global::Device,
            ("torch" | "torch.storage", "UntypedStorage") => Global::Storage(BYTES),
            ("torch", name) if name.ends_with("Storage") => {
                Global::Storage(KINDS.iter().find(|known| known.0 == name).map(kind)?)
            }
            ("torch", name) => Global::Dtype(KINDS.iter().find(|known| known.1 == name).map(kind)?),
            _ => return None,
        })
    }
}
