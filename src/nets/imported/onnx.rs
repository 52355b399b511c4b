//! ONNX's operators.
//!
//! One file past 500 lines: it is a table of operators, a few lines each, that is looked through by name.
//!
//! **Reference** ONNX's `Operators.md`, versions 9 to 22 of the usual domain. Where an operator has moved something from its
//! attributes to its inputs, both are read, whatever the version.

use std::sync::Arc;

use super::fold;
use super::form::Kind;
use super::moves::{Over, sizes_of};
use super::patterns;
use super::resolve::Resolver;
use super::step::{Operation, Same, clip};
use super::value::{Fixed, Found, Refusal, Value};
use crate::ops::{Activation, AvgPool2d, Binary, LocalResponseNorm, MaxPool2d, Relu, Window};
use crate::weights::{Attribute, Constant, Node, Numbers};

/// What an operator is given.
struct Given<'a>(&'a Node);

impl<'a> Given<'a> {
    /// An input by its place; none where it is left out.
    fn input(&self, place: usize) -> Option<&'a str> {
        self.0.inputs.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn needed(&self, place: usize) -> Found<&'a str> {
        self.input(place).ok_or_else(|| "is not given everything that it needs".into())
    }

    fn x(&self) -> Found<&'a str> {
        self.needed(0)
    }

    fn int(&self, name: &str, usual: i64) -> Found<i64> {
        match self.0.attributes.get(name) {
            None => Ok(usual),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(format!("has an attribute {name} that is no whole number").into()),
        }
    }

    fn float(&self, name: &str, usual: f64) -> Found<f64> {
        match self.0.attributes.get(name) {
            None => Ok(usual),
            Some(value) => value.float().ok_or_else(|| format!("has an attribute {name} that is no number").into()),
        }
    }

    fn ints(&self, name: &str) -> Found<Option<Vec<i64>>> {
        match self.0.attributes.get(name) {
            None => Ok(None),
            Some(value) => value
                .ints()
                .map(Some)
                .ok_or_else(|| format!("has an attribute {name} that is not of whole numbers").into()),
        }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.0.attributes.get(name) {
            Some(Attribute::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A pair of sizes.
    fn pair(&self, name: &str, usual: [usize; 2]) -> Found<[usize; 2]> {
        let Some(ints) = self.ints(name)? else { return Ok(usual) };
        let sizes: Option<Vec<usize>> = ints.iter().map(|size| usize::try_from(*size).ok()).collect();
        match sizes.as_deref() {
            Some([first, second]) => Ok([*first, *second]),
            _ => Err(format!("has an attribute {name} for {} dimensions; 2 are read", ints.len()).into()),
        }
    }

    /// Whether zeros around pictures follow from their sides.
    fn same(&self) -> Option<Same> {
        match self.text("auto_pad") {
            Some("SAME_UPPER") => Some(Same { upper: true }),
            Some("SAME_LOWER") => Some(Same { upper: false }),
            _ => None,
        }
    }

    /// Zeros around pictures of these sides, for windows of this kernel, step and distance of taps.
    fn padding(
        &self,
        sides: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Found<[[usize; 2]; 2]> {
        if let Some(same) = self.same() {
            return Ok(same.padding(sides, kernel, stride, dilation));
        }
        match self.text("auto_pad").unwrap_or("NOTSET") {
            "VALID" => Ok([[0; 2]; 2]),
            "NOTSET" | "" => {
                let Some(pads) = self.ints("pads")? else { return Ok([[0; 2]; 2]) };
                pads_of(&pads)
            }
            other => Err(format!("has the attribute auto_pad {}", other.escape_debug()).into()),
        }
    }
}

fn pads_of(pads: &[i64]) -> Found<[[usize; 2]; 2]> {
    let sizes: Option<Vec<usize>> = pads.iter().map(|size| usize::try_from(*size).ok()).collect();
    match sizes.as_deref() {
        Some([top, left, bottom, right]) => Ok([[*top, *left], [*bottom, *right]]),
        Some(_) => Err(format!("has zeros for {} dimensions; 2 are read", pads.len() / 2).into()),
        None => Err("cuts pixels off".into()),
    }
}

/// What an operator makes.
pub(super) fn apply(r: &mut Resolver, node: &Node, version: u64) -> Found<Vec<Value>> {
    let given = Given(node);
    if let Some(value) = activation(r, node)? {
        return Ok(vec![value]);
    }
    if let Some(value) = sizes(r, node)? {
        return Ok(vec![value]);
    }
    let value = match node.operator.as_str() {
        "Split" => return split(r, node),
        "Conv" => conv(r, node)?,
        "BatchNormalization" => {
            if given.int("training_mode", 0)? != 0
                || (version < 14 && node.outputs.iter().skip(1).any(|name| !name.is_empty()))
            {
                return Err(
                    "is in training mode; call model.eval() before the export, or export with training=EVAL".into()
                );
            }
            let tensors = [given.needed(1)?, given.needed(2)?, given.needed(3)?, given.needed(4)?];
            r.batch_norm(node, given.x()?, tensors, given.float("epsilon", 1e-5)?)?
        }
        "MaxPool" | "AveragePool" => pool(r, node)?,
        "GlobalAveragePool" => r.over_pixels(node, given.x()?, &[2, 3], true, Over::Mean)?,
        "GlobalMaxPool" => r.over_pixels(node, given.x()?, &[2, 3], true, Over::Largest)?,
        "ReduceMean" | "ReduceMax" => {
            let x = given.x()?;
            let rank = sizes_of(&r.get(x)?)?.len() as i64;
            let axes = match r.axes(node, 1)? {
                Some(axes) if !axes.is_empty() => axes,
                _ if given.int("noop_with_empty_axes", 0)? != 0 => vec![],
                _ => (0..rank).collect(),
            };
            let over = if node.operator == "ReduceMean" { Over::Mean } else { Over::Largest };
            r.over_pixels(node, x, &axes, given.int("keepdims", 1)? != 0, over)?
        }
        "Gemm" => {
            if given.int("transA", 0)? != 0 || given.float("alpha", 1.0)? != 1.0 || given.float("beta", 1.0)? != 1.0 {
                return Err("has an alpha or beta other than 1, or turns what it is given".into());
            }
            let weight = r.view(given.needed(1)?)?;
            let weight = if given.int("transB", 0)? != 0 { weight } else { super::parametrised::turned(weight)? };
            let mut bias = given.input(2);
            // A row of numbers is as good as numbers.
            if let Some(name) = bias
                && let Value::Fixed(numbers) = r.get(name)?
                && numbers.sizes().is_some_and(|sizes| sizes.len() == 2 && sizes[0] == 1)
            {
                r.set("the bias", Value::Fixed(fold::reshaped(&numbers, &weight.sizes[..1])?));
                bias = Some("the bias");
            }
            r.linear(node, given.x()?, weight, bias)?
        }
        "MatMul" => r.matmul(node, given.x()?, given.needed(1)?)?,
        "Attention" | "MultiHeadAttention" | "com.microsoft::Attention" | "com.microsoft::MultiHeadAttention" => {
            return Err(Refusal::Attention);
        }
        "Add" => r.binary(node, Binary::Plus, [given.x()?, given.needed(1)?])?,
        "Sub" => r.binary(node, Binary::Minus, [given.x()?, given.needed(1)?])?,
        "Mul" => r.binary(node, Binary::Times, [given.x()?, given.needed(1)?])?,
        "Div" => r.binary(node, Binary::Over, [given.x()?, given.needed(1)?])?,
        "Sum" | "Mean" => {
            let mut sum = r.get(given.x()?)?;
            for place in 1..node.inputs.len() {
                r.set("the sum so far", sum);
                sum = r.binary(node, Binary::Plus, ["the sum so far", given.needed(place)?])?;
            }
            match sum {
                Value::Picture(x) if node.operator == "Mean" && node.inputs.len() > 1 => {
                    let share = vec![1.0 / node.inputs.len() as f32];
                    r.apply(node, Operation::Constant(Binary::Times, share, false), x)?
                }
                sum => sum,
            }
        }
        "Neg" => {
            let x = r.picture(given.x()?)?;
            r.apply(node, Operation::Constant(Binary::Times, vec![-1.0], false), x)?
        }
        "Concat" => r.concat(node, &node.inputs, given.int("axis", 1)?)?,
        "LayerNormalization" => {
            let x = given.x()?;
            let rank = sizes_of(&r.get(x)?)?.len();
            let axis = super::moves::place(given.int("axis", -1)?, rank)?;
            r.layer_norm(node, x, [given.input(1), given.input(2)], given.float("epsilon", 1e-5)?, rank - axis)?
        }
        "Softmax" => softmax(r, node, version)?,
        "LogSoftmax" => {
            let side = given.int("axis", if version < 13 { 1 } else { -1 })?;
            r.end(node, given.x()?, side, "log softmax")?
        }
        "LRN" => {
            let size = usize::try_from(given.int("size", 1)?).ok().filter(|size| (1..=1 << 12).contains(size));
            let size = size.ok_or("has an impossible size")?;
            let op = LocalResponseNorm {
                before: (size - 1) / 2,
                after: size / 2,
                alpha: given.float("alpha", 1e-4)? as f32,
                beta: given.float("beta", 0.75)? as f32,
                k: given.float("bias", 1.0)? as f32,
            };
            r.local_response_norm(node, given.x()?, op)?
        }
        "Pad" => pad(r, node)?,
        "Dropout" => {
            let training = given.input(2).map(|name| r.constant(name)).transpose()?;
            if training.is_some_and(|constant| constant.floats().iter().any(|value| *value != 0.0)) {
                return Err("is in training mode; call model.eval() before the export".into());
            }
            r.get(given.x()?)?
        }
        "CastLike" if matches!(r.get(given.needed(1)?)?, Value::Fixed(Fixed { constant: Some(like), .. }) if like.ints().is_some()) =>
        {
            let x = r.get(given.x()?)?;
            cast(x, true)?
        }
        "Identity" | "CastLike" => r.get(given.x()?)?,
        other => return Err(Refusal::Operator(advice(other))),
    };
    Ok(vec![value])
}

/// What avoids an operator, where something does.
fn advice(operator: &str) -> Option<&'static str> {
    let quantized = "export the network before it is quantized";
    match operator {
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "ConvInteger"
        | "MatMulInteger"
        | "QLinearMatMul"
        | "DynamicQuantizeLinear" => Some(quantized),
        other if other.starts_with("com.microsoft::Q") || other.starts_with("com.microsoft::D") => Some(quantized),
        other if other.starts_with("com.microsoft::") => Some("take the file as it was before onnxruntime changed it"),
        "Loop" | "If" | "Scan" => Some("export with torch.onnx.export(..., dynamo=True), which leaves one path"),
        "Pow" | "Sqrt" => Some("export layer norms as LayerNormalization: opset_version=17 or later"),
        _ => None,
    }
}

/// Functions of single numbers.
fn activation(r: &mut Resolver, node: &Node) -> Found<Option<Value>> {
    let given = Given(node);
    let one = |function: Activation| Operation::Apply(Arc::new(function));
    let operation = match node.operator.as_str() {
        "Relu" => Operation::Apply(Arc::new(Relu)),
        "Clip" => {
            let limit = |place: usize, name: &str, usual: f64| match given.input(place) {
                Some(input) => {
                    let values = r.constant(input)?.floats();
                    values.first().copied().ok_or_else(|| Refusal::from("has a limit that is no number"))
                }
                None => given.float(name, usual),
            };
            clip(limit(1, "min", f64::NEG_INFINITY)? as f32, limit(2, "max", f64::INFINITY)? as f32)
        }
        "LeakyRelu" => one(Activation::LeakyRelu { slope: given.float("alpha", 0.01)? as f32 }),
        "PRelu" => return r.leaky(node, given.x()?, given.needed(1)?).map(Some),
        "Selu" => {
            let number = |name: &str| given.0.attributes.get(name).and_then(Attribute::float);
            return r.selu(node, given.x()?, number("alpha"), number("gamma")).map(Some);
        }
        "Celu" => return r.celu(node, given.x()?, given.float("alpha", 1.0)?).map(Some),
        "Mish" => return r.mish(node, given.x()?).map(Some),
        // Limits as exporters wrote them before Clip took values.
        "Max" | "Min" if given.0.inputs.len() == 2 => {
            return r.limited(node, [given.x()?, given.needed(1)?], node.operator == "Max").map(Some);
        }
        "Sigmoid" => one(Activation::Sigmoid),
        "Tanh" => one(Activation::Tanh),
        "HardSwish" => one(Activation::HardSwish),
        "HardSigmoid" => {
            let (alpha, beta) = (given.float("alpha", 0.2)?, given.float("beta", 0.5)?);
            if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5 {
                one(Activation::HardSigmoid)
            } else {
                let mut x = r.picture(given.x()?)?;
                for (op, number) in [(Binary::Times, alpha), (Binary::Plus, beta)] {
                    if let Value::Picture(next) =
                        r.apply(node, Operation::Constant(op, vec![number as f32], false), x.clone())?
                    {
                        x = next;
                    }
                }
                return r.apply(node, clip(0.0, 1.0), x).map(Some);
            }
        }
        "Elu" => one(Activation::Elu { alpha: given.float("alpha", 1.0)? as f32 }),
        "Softplus" => one(Activation::Softplus { beta: 1.0, threshold: 20.0 }),
        "Gelu" => one(match given.text("approximate") {
            Some("tanh") => Activation::GeluTanh,
            _ => Activation::Gelu,
        }),
        patterns::GELU => one(Activation::Gelu),
        "Swish" if given.float("alpha", 1.0)? == 1.0 => one(Activation::Silu),
        _ => return Ok(None),
    };
    let x = r.picture(given.x()?)?;
    r.apply(node, operation, x).map(Some)
}

fn conv(r: &mut Resolver, node: &Node) -> Found {
    let given = Given(node);
    let x = r.padded_plain(node, given.x()?)?;
    let weight = given.needed(1)?;
    let sizes = r.view(weight)?.sizes;
    let [_, _, kh, kw] = sizes[..] else {
        return Err(
            format!("is a convolution in {} dimensions; those in 2 are read", sizes.len().saturating_sub(2)).into()
        );
    };
    let (stride, dilation) = (given.pair("strides", [1; 2])?, given.pair("dilations", [1; 2])?);
    let sides = [x.form.size(Kind::H), x.form.size(Kind::W)];
    let padding = given.padding(sides, [kh, kw], stride, dilation)?;
    let groups = usize::try_from(given.int("group", 1)?).map_err(|_| "has a negative number of groups")?;
    // Zeros that come from elsewhere belong to the picture.
    let same = given.same().filter(|_| x.padding == [[0; 2]; 2]);
    let made = r.conv(node, given.x()?, weight, given.input(2), Window { stride, padding, dilation, groups });
    r.padded_by(same, made)
}

fn pool(r: &mut Resolver, node: &Node) -> Found {
    let given = Given(node);
    let x = r.padded_plain(node, given.x()?)?;
    if given.ints("kernel_shape")?.is_none() {
        return Err("has no size".into());
    }
    let kernel = given.pair("kernel_shape", [1; 2])?;
    let (stride, dilation) = (given.pair("strides", [1; 2])?, given.pair("dilations", [1; 2])?);
    let sides = [x.form.size(Kind::H), x.form.size(Kind::W)];
    let padding = given.padding(sides, kernel, stride, dilation)?;
    let ceil_mode = given.int("ceil_mode", 0)? != 0;
    if node.operator == "MaxPool" {
        if node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
            return Err("tells the places of its maxima, which are not read".into());
        }
        let made = r.pool(node, given.x()?, MaxPool2d { kernel, stride, padding, dilation, ceil_mode });
        return r.padded_by(given.same(), made);
    }
    if dilation != [1; 2] {
        return Err("has taps that are not neighbours".into());
    }
    let count_include_pad = given.int("count_include_pad", 0)? != 0;
    let made = r.pool(node, given.x()?, AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad });
    r.padded_by(given.same(), made)
}

fn softmax(r: &mut Resolver, node: &Node, version: u64) -> Found {
    let given = Given(node);
    let x = given.x()?;
    let form = r.picture(x)?.form;
    let side = given.int("axis", if version < 13 { 1 } else { -1 })?;
    // Before version 13 it went over all sides from this one on.
    let rest = super::moves::place(side, form.rank())? + 1;
    if version < 13 && (rest..form.rank()).any(|side| form.sizes()[side] > 1) {
        return Err("goes along more sides than the channels".into());
    }
    r.softmax(node, x, side)
}

fn pad(r: &mut Resolver, node: &Node) -> Found {
    let given = Given(node);
    let value = match given.input(2) {
        Some(name) => r.constant(name)?.floats().first().copied().unwrap_or(0.0),
        None => given.float("value", 0.0)?,
    };
    if !matches!(given.text("mode"), None | Some("constant")) {
        return Err("puts something other than one number around a picture".into());
    }
    let pads = match given.input(1) {
        Some(name) => r.ints(name)?,
        None => given.ints("pads")?.or(given.ints("paddings")?).ok_or("is not given its sizes")?,
    };
    let form = r.picture(given.x()?)?.form;
    let axes = match given.input(3) {
        Some(name) => r.ints(name)?,
        None => (0..form.rank() as i64).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("is given {} sizes for {} sides", pads.len(), axes.len()).into());
    }
    if pads.iter().all(|size| *size == 0) {
        return r.get(given.x()?);
    }
    // For each axis of the picture what comes before and behind it.
    let mut sizes = [[0; 2]; 2];
    for (at, axis) in axes.iter().enumerate() {
        let side = super::moves::place(*axis, form.rank())?;
        let own = [pads[at], pads[axes.len() + at]];
        let pixels = [Kind::H, Kind::W].iter().position(|kind| form.rank() == 4 && form.all_kinds(side) == [*kind]);
        match pixels {
            Some(kind) => sizes[kind] = own,
            None if own == [0; 2] => {}
            None => return Err("puts numbers along other sides than those of the pixels".into()),
        }
    }
    let [[top, bottom], [left, right]] = sizes;
    r.pad(node, given.x()?, pads_of(&[top, left, bottom, right])?, value as f32)
}

fn split(r: &mut Resolver, node: &Node) -> Found<Vec<Value>> {
    let given = Given(node);
    let x = given.x()?;
    let side = given.int("axis", 0)?;
    let own = sizes_of(&r.get(x)?)?;
    let length = own[super::moves::place(side, own.len())?];
    let sizes = match given.input(1) {
        Some(name) => Some(r.ints(name)?),
        None => given.ints("split")?,
    };
    let sizes: Vec<usize> = match sizes {
        Some(sizes) => sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect(),
        None => {
            let size = length.div_ceil(node.outputs.len().max(1)).max(1);
            (0..length).step_by(size).map(|first| size.min(length - first)).collect()
        }
    };
    if sizes.iter().sum::<usize>() != length {
        return Err(format!("splits {length} into {sizes:?}").into());
    }
    r.split(node, x, side, &sizes)
}

/// Numbers as whole ones, or with a fractional part; values of a picture keep theirs.
fn cast(value: Value, whole: bool) -> Found {
    match value {
        Value::Fixed(Fixed { view, constant: Some(constant) }) => {
            let numbers = match (whole, &constant.numbers) {
                (true, Numbers::Float(values)) => Numbers::Int(values.iter().map(|value| *value as i64).collect()),
                (false, Numbers::Int(values)) => Numbers::Float(values.iter().map(|value| *value as f64).collect()),
                _ => constant.numbers.clone(),
            };
            Ok(Value::Fixed(Fixed { view, constant: Some(Constant { numbers, ..constant }) }))
        }
        Value::Picture(_) if whole => Err("makes whole numbers of values of the picture".into()),
        value => Ok(value),
    }
}

impl Resolver<'_> {
    /// Says that the step which has just been made finds its zeros by itself.
    fn padded_by(&mut self, same: Option<Same>, made: Found) -> Found {
        if let (Some(same), Ok(_), Some(step)) = (same, &made, self.steps.last_mut()) {
            step.same = Some(same);
        }
        made
    }

    /// Axes, which are an attribute or an input.
    fn axes(&self, node: &Node, place: usize) -> Found<Option<Vec<i64>>> {
        let given = Given(node);
        match given.input(place) {
            Some(name) => self.ints(name).map(Some),
            None => given.ints("axes"),
        }
    }
}

/// Operators that compute sizes or move sides about.
fn sizes(r: &mut Resolver, node: &Node) -> Found<Option<Value>> {
    let given = Given(node);
    let fixed = |constant: Constant| Value::Fixed(Fixed::of(constant));
    Ok(Some(match node.operator.as_str() {
        "Shape" => {
            let shape = r.shape(given.x()?)?;
            let (start, end) = (given.int("start", 0)?, given.int("end", i64::MAX)?);
            let Value::Fixed(Fixed { constant: Some(constant), .. }) = &shape else { return Ok(Some(shape)) };
            Value::Fixed(fold::slice(constant, [start, end, 1])?)
        }
        "Gather" => {
            let x = r.get(given.x()?)?;
            let indices = r.constant(given.needed(1)?)?;
            let side = given.int("axis", 0)?;
            match x {
                Value::Picture(_) if indices.shape.iter().product::<usize>() == 1 => {
                    let index = indices.ints().ok_or("takes places that are not whole numbers")?[0];
                    let part = r.select(node, given.x()?, side, index)?;
                    if indices.shape.is_empty() {
                        return Ok(Some(part));
                    }
                    r.set("the part", part);
                    r.unsqueeze("the part", &[side])?
                }
                // All of it, in its order, with other sizes.
                Value::Picture(x)
                    if x.form.rank() == 1
                        && indices.ints().is_some_and(|ints| ints.iter().copied().eq(0..x.form.sizes()[0] as i64)) =>
                {
                    let sizes: Vec<i64> = indices.shape.iter().map(|size| *size as i64).collect();
                    r.reshape(given.x()?, &sizes, false)?
                }
                Value::Picture(_) => return Err("takes several parts of a picture by their places".into()),
                _ => {
                    let constant = r.constant(given.x()?)?;
                    if super::moves::place(side, constant.shape.len())? != 0 {
                        return Err("takes parts of numbers along a later side".into());
                    }
                    Value::Fixed(fold::gather(&constant, &indices)?)
                }
            }
        }
        "Slice" => {
            let from = |place: usize, name: &str| match given.input(place) {
                Some(input) => r.ints(input).map(Some),
                None => given.ints(name),
            };
            let (starts, ends) = (from(1, "starts")?.unwrap_or_default(), from(2, "ends")?.unwrap_or_default());
            let axes = from(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
            let steps = from(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
            if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
                return Err("is given different numbers of starts and ends".into());
            }
            let mut value = r.get(given.x()?)?;
            for (at, axis) in axes.into_iter().enumerate() {
                r.set("the part", value);
                value = r.slice(node, "the part", axis, [starts[at], ends[at], steps[at]])?;
            }
            value
        }
        "Reshape" => {
            let sizes = match given.input(1) {
                Some(name) => r.ints(name)?,
                None => given.ints("shape")?.ok_or("is not given its sizes")?,
            };
            r.reshape(given.x()?, &sizes, given.int("allowzero", 0)? == 0)?
        }
        "Flatten" => {
            let axis = given.int("axis", 1)?;
            let own = sizes_of(&r.get(given.x()?)?)?;
            let axis = if axis == own.len() as i64 { own.len() } else { super::moves::place(axis, own.len())? };
            let sizes = [&own[..axis], &own[axis..]].map(|sizes| sizes.iter().product::<usize>() as i64);
            r.reshape(given.x()?, &sizes, false)?
        }
        "Transpose" => {
            let rank = sizes_of(&r.get(given.x()?)?)?.len() as i64;
            let order = given.ints("perm")?.unwrap_or_else(|| (0..rank).rev().collect());
            r.transpose(given.x()?, &order)?
        }
        "Unsqueeze" => {
            let axes = r.axes(node, 1)?.ok_or("is not given its sides")?;
            r.unsqueeze(given.x()?, &axes)?
        }
        "Squeeze" => {
            let axes = r.axes(node, 1)?;
            r.squeeze(given.x()?, axes.as_deref())?
        }
        "Cast" => {
            let x = r.get(given.x()?)?;
            // 1, 10, 11 and 16 are numbers with a fractional part.
            cast(x, !matches!(given.int("to", 1)?, 1 | 10 | 11 | 16))?
        }
        "ConstantOfShape" => {
            let sizes = r.ints(given.x()?)?;
            let zero = || Value::Fixed(Fixed::of(Constant { shape: vec![1], numbers: Numbers::Float(vec![0.0]) }));
            match given.input(1).map_or_else(|| Ok(zero()), |name| r.get(name))? {
                Value::Fixed(value) => fold::repeated(&value, &sizes).map(Value::Fixed)?,
                _ => return Err("is filled with something that depends on the picture".into()),
            }
        }
        "Expand" => {
            let x = given.x()?;
            let sizes = r.ints(given.needed(1)?)?;
            let own = sizes_of(&r.get(x)?)?;
            if let Value::Fixed(value) = r.get(x)?
                && own.iter().product::<usize>() == 1
                && sizes.len() >= own.len()
            {
                return fold::repeated(&value, &sizes).map(|value| Some(Value::Fixed(value)));
            }
            let same = sizes.len() <= own.len()
                && sizes.iter().rev().zip(own.iter().rev()).all(|(size, own)| *size == 1 || *size == *own as i64);
            if !same {
                return Err("repeats a value".into());
            }
            r.get(x)?
        }
        "Floor" | "Ceil" | "Sqrt" | "Reciprocal" if !matches!(r.get(given.x()?)?, Value::Picture(_)) => {
            let constant = r.constant(given.x()?)?;
            let one = |value: f64| match node.operator.as_str() {
                "Floor" => value.floor(),
                "Ceil" => value.ceil(),
                "Sqrt" => value.sqrt(),
                _ => value.recip(),
            };
            fixed(Constant { numbers: Numbers::Float(constant.floats().into_iter().map(one).collect()), ..constant })
        }
        "Mod" => {
            let (a, b) = (r.ints(given.x()?)?, r.ints(given.needed(1)?)?);
            let [b] = b[..] else { return Err("divides by several numbers".into()) };
            let as_in_c = given.int("fmod", 0)? != 0;
            // The rest has the sign of what is divided, or that of what it is divided by.
            let rest = |a: &i64| {
                let rest = a.checked_rem(b)?;
                Some(if as_in_c || rest == 0 || (rest < 0) == (b < 0) { rest } else { rest + b })
            };
            let rest = a.iter().map(rest).collect::<Option<Vec<i64>>>().ok_or("divides by zero")?;
            fixed(Constant { shape: r.constant(given.x()?)?.shape, numbers: Numbers::Int(rest) })
        }
        _ => return Ok(None),
    }))
}
