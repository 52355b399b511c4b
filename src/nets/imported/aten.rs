//! PyTorch's operators, as `torch.export` names them.
//!
//! **Reference** `aten/src/ATen/native/native_functions.yaml` for the names of arguments and what they are when left out.

use std::sync::Arc;

use super::moves::{Over, sizes_of};
use super::resolve::Resolver;
use super::step::{Operation, clip};
use super::value::{Fixed, Found, Refusal, Value};
use crate::ops::{Activation, AdaptiveAvgPool2d, AvgPool2d, Binary, MaxPool2d, Relu, Window};
use crate::weights::{Attribute, Constant, Node, Numbers};

/// What an operation is given, by name.
struct Given<'a>(&'a Node);

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a Attribute> {
        self.0.attributes.get(name).filter(|attribute| **attribute != Attribute::None)
    }

    /// A value's name.
    fn value(&self, name: &str) -> Found<&'a str> {
        match self.get(name) {
            Some(Attribute::Value(value)) => Ok(value),
            _ => Err(format!("is not given its {name}").into()),
        }
    }

    fn optional(&self, name: &str) -> Option<&'a str> {
        match self.get(name) {
            Some(Attribute::Value(value)) => Some(value),
            _ => None,
        }
    }

    fn values(&self, name: &str) -> Found<Vec<String>> {
        let Some(Attribute::List(list)) = self.get(name) else { return Err(format!("is not given its {name}").into()) };
        let value = |attribute: &Attribute| match attribute {
            Attribute::Value(value) => Ok(value.clone()),
            _ => Err("is given something that is no value".into()),
        };
        list.iter().map(value).collect()
    }

    fn float(&self, name: &str, usual: f64) -> Found<f64> {
        match self.get(name) {
            None => Ok(usual),
            Some(attribute) => attribute.float().ok_or_else(|| format!("has a {name} that is no number").into()),
        }
    }

    fn flag(&self, name: &str, usual: bool) -> bool {
        match self.get(name) {
            Some(Attribute::Bool(value)) => *value,
            Some(Attribute::Int(value)) => *value != 0,
            _ => usual,
        }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.get(name) {
            Some(Attribute::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl Resolver<'_> {
    /// Whole numbers that an operation is given, some of which may have been computed.
    fn given_ints(&self, node: &Node, name: &str) -> Found<Option<Vec<i64>>> {
        let one = |attribute: &Attribute| match attribute {
            Attribute::Int(value) => Ok(*value),
            Attribute::Bool(value) => Ok(i64::from(*value)),
            Attribute::Value(value) => match self.ints(value)?[..] {
                [value] => Ok(value),
                _ => Err(Refusal::Given(format!("has a {name} of several numbers"))),
            },
            _ => Err(Refusal::Given(format!("has a {name} that is no whole number"))),
        };
        match Given(node).get(name) {
            None => Ok(None),
            Some(Attribute::List(list)) => list.iter().map(one).collect::<Found<_>>().map(Some),
            Some(attribute) => Ok(Some(vec![one(attribute)?])),
        }
    }

    fn pair(&self, node: &Node, name: &str, usual: [usize; 2]) -> Found<[usize; 2]> {
        let Some(ints) = self.given_ints(node, name)?.filter(|ints| !ints.is_empty()) else { return Ok(usual) };
        let size = |value: i64| usize::try_from(value).map_err(|_| Refusal::Given(format!("has a negative {name}")));
        match ints[..] {
            [both] => Ok([size(both)?; 2]),
            [first, second] => Ok([size(first)?, size(second)?]),
            _ => Err(format!("has a {name} for {} dimensions; 2 are read", ints.len()).into()),
        }
    }

    fn int(&self, node: &Node, name: &str, usual: i64) -> Found<i64> {
        Ok(self.given_ints(node, name)?.and_then(|ints| ints.first().copied()).unwrap_or(usual))
    }
}

/// What an operation makes.
pub(super) fn apply(r: &mut Resolver, node: &Node) -> Found<Vec<Value>> {
    let name = node.operator.strip_prefix("aten.").ok_or(Refusal::Operator(None))?;
    let name = name.split('.').next().unwrap_or(name);
    // What ends in _ does the same in place, and the graph says where the result goes.
    let name = if name.starts_with("__") { name } else { name.trim_end_matches('_') };
    if let Some(parts) = several(r, node, name)? {
        return Ok(parts);
    }
    if let Some(value) = activation(r, node, name)? {
        return Ok(vec![value]);
    }
    single(r, node, name).map(|value| vec![value])
}

/// Operations that make several values.
fn several(r: &mut Resolver, node: &Node, name: &str) -> Found<Option<Vec<Value>>> {
    let given = Given(node);
    Ok(Some(match name {
        "chunk" | "split" | "split_with_sizes" => {
            let x = given.value("self").or_else(|_| given.value("tensor"))?;
            let side = r.int(node, "dim", 0)?;
            let sizes = sizes_of(&r.get(x)?)?;
            let length = sizes[super::moves::place(side, sizes.len())?];
            let ints = match name {
                "chunk" => r.given_ints(node, "chunks")?,
                _ => r.given_ints(node, "split_size")?.or(r.given_ints(node, "split_sizes")?),
            };
            let ints = ints.ok_or("is not given its sizes")?;
            let parts: Vec<usize> = match (name, &ints[..]) {
                ("chunk", [count]) if *count > 0 => even(length, length.div_ceil(*count as usize)),
                ("split", [size]) if *size > 0 => even(length, *size as usize),
                _ => ints.iter().map(|size| *size as usize).collect(),
            };
            r.split(node, x, side, &parts)?
        }
        "max_pool2d_with_indices" => vec![max_pool(r, node)?, Value::Unknown],
        "adaptive_max_pool2d" => {
            if r.pair(node, "output_size", [1; 2])? != [1; 2] {
                return Err("makes more than one pixel, which only its mean is read for".into());
            }
            let x = given.value("self").or_else(|_| given.value("input"))?;
            vec![r.over_pixels(node, x, &[-2, -1], true, Over::Largest)?, Value::Unknown]
        }
        "native_layer_norm" => vec![layer_norm(r, node)?, Value::Unknown, Value::Unknown],
        "_native_batch_norm_legit_no_training" => vec![batch_norm(r, node)?, Value::Unknown, Value::Unknown],
        _ => return Ok(None),
    }))
}

fn even(length: usize, size: usize) -> Vec<usize> {
    (0..length).step_by(size.max(1)).map(|first| size.min(length - first)).collect()
}

/// Functions of single numbers.
fn activation(r: &mut Resolver, node: &Node, name: &str) -> Found<Option<Value>> {
    let given = Given(node);
    let clipped = |low: f64, high: f64| clip(low as f32, high as f32);
    let one = |function: Activation| Operation::Apply(Arc::new(function));
    let operation = match name {
        "relu" => Operation::Apply(Arc::new(Relu)),
        "relu6" => clipped(0.0, 6.0),
        "hardtanh" => clipped(given.float("min_val", -1.0)?, given.float("max_val", 1.0)?),
        "clamp" | "clip" if given.optional("min").is_none() && given.optional("max").is_none() => {
            clipped(given.float("min", f64::NEG_INFINITY)?, given.float("max", f64::INFINITY)?)
        }
        "clamp_min" => clipped(given.float("min", f64::NEG_INFINITY)?, f64::INFINITY),
        "leaky_relu" => one(Activation::LeakyRelu { slope: given.float("negative_slope", 0.01)? as f32 }),
        "sigmoid" => one(Activation::Sigmoid),
        "silu" => one(Activation::Silu),
        "hardsigmoid" => one(Activation::HardSigmoid),
        "hardswish" => one(Activation::HardSwish),
        "gelu" => one(match given.text("approximate") {
            Some("tanh") => Activation::GeluTanh,
            _ => Activation::Gelu,
        }),
        "tanh" => one(Activation::Tanh),
        "elu" if given.float("scale", 1.0)? == 1.0 && given.float("input_scale", 1.0)? == 1.0 => {
            one(Activation::Elu { alpha: given.float("alpha", 1.0)? as f32 })
        }
        "softplus" => {
            let (beta, threshold) = (given.float("beta", 1.0)? as f32, given.float("threshold", 20.0)? as f32);
            one(Activation::Softplus { beta, threshold })
        }
        _ => return Ok(None),
    };
    let x = r.picture(given.value("self").or_else(|_| given.value("input"))?)?;
    r.apply(node, operation, x).map(Some)
}

fn max_pool(r: &mut Resolver, node: &Node) -> Found {
    let kernel = r.pair(node, "kernel_size", [1; 2])?;
    let padding = r.pair(node, "padding", [0; 2])?;
    let op = MaxPool2d {
        kernel,
        stride: r.pair(node, "stride", kernel)?,
        padding: [padding; 2],
        dilation: r.pair(node, "dilation", [1; 2])?,
        ceil_mode: Given(node).flag("ceil_mode", false),
    };
    r.pool(node, Given(node).value("self")?, op)
}

fn layer_norm(r: &mut Resolver, node: &Node) -> Found {
    let given = Given(node);
    let sides = r.given_ints(node, "normalized_shape")?.unwrap_or_default().len();
    let affine = [given.optional("weight"), given.optional("bias")];
    r.layer_norm(node, given.value("input")?, affine, given.float("eps", 1e-5)?, sides)
}

fn batch_norm(r: &mut Resolver, node: &Node) -> Found {
    let given = Given(node);
    if given.flag("training", false) {
        return Err("is in training mode; call model.eval() before the export".into());
    }
    let value = |name: &str| given.value(name).map_err(|_| Refusal::Given(format!("has no {name}, which is not read")));
    let tensors = [value("weight")?, value("bias")?, value("running_mean")?, value("running_var")?];
    r.batch_norm(node, given.value("input")?, tensors, given.float("eps", 1e-5)?)
}

fn conv(r: &mut Resolver, node: &Node, name: &str) -> Found {
    let given = Given(node);
    let weight = given.value("weight")?;
    let sizes = r.view(weight)?.sizes;
    if sizes.len() != 4 || matches!(name, "conv1d" | "conv3d") || given.flag("transposed", false) {
        let kind = if given.flag("transposed", false) { " that is transposed" } else { "" };
        let rank = sizes.len().saturating_sub(2);
        return Err(format!("is a convolution in {rank} dimensions{kind}; plain ones in 2 are read").into());
    }
    let dilation = r.pair(node, "dilation", [1; 2])?;
    let padding = match given.text("padding") {
        Some("same") => {
            let all = [0, 1].map(|side| dilation[side] * (sizes[2 + side] - 1));
            [all.map(|all| all / 2), all.map(|all| all - all / 2)]
        }
        Some(_) => [[0; 2]; 2],
        None => [r.pair(node, "padding", [0; 2])?; 2],
    };
    let groups = usize::try_from(r.int(node, "groups", 1)?).map_err(|_| "has a negative number of groups")?;
    let window = Window { stride: r.pair(node, "stride", [1; 2])?, padding, dilation, groups };
    r.conv(node, given.value("input")?, weight, given.optional("bias"), window)
}

fn binary(r: &mut Resolver, node: &Node, op: Binary) -> Found {
    let given = Given(node);
    if given.float("alpha", 1.0)? != 1.0 {
        return Err("has an alpha other than 1".into());
    }
    if let Some(mode) = given.text("rounding_mode") {
        let one = |name: &str| match r.given_ints(node, name)?.as_deref() {
            Some([one]) => Ok(*one),
            _ => Err(Refusal::from("is not given two numbers")),
        };
        let (a, b) = (one("self")?, one("other")?);
        let quotient = a.checked_div(b).ok_or("divides by zero")?;
        let towards_less = mode == "floor" && a % b != 0 && (a < 0) != (b < 0);
        return Ok(number(quotient - i64::from(towards_less)));
    }
    let a = given.value("self")?;
    match given.get("other") {
        Some(Attribute::Value(b)) => r.binary(node, op, [a, b]),
        Some(attribute) => {
            let value = attribute.float().ok_or("is given something that is no number")?;
            let x = r.picture(a)?;
            r.apply(node, Operation::Constant(op, vec![value as f32], false), x)
        }
        None => Err("is given one value".into()),
    }
}

fn number(value: i64) -> Value {
    Value::Fixed(Fixed::of(Constant { shape: vec![], numbers: Numbers::Int(vec![value]) }))
}

fn single(r: &mut Resolver, node: &Node, name: &str) -> Found {
    let given = Given(node);
    let x = || given.value("self").or_else(|_| given.value("input"));
    match name {
        "conv2d" | "conv1d" | "conv3d" | "convolution" => conv(r, node, name),
        "batch_norm" => batch_norm(r, node),
        "layer_norm" => layer_norm(r, node),
        "max_pool2d" => max_pool(r, node),
        "avg_pool2d" => {
            if given.get("divisor_override").is_some() {
                return Err("has a divisor of its own".into());
            }
            let kernel = r.pair(node, "kernel_size", [1; 2])?;
            let op = AvgPool2d {
                kernel,
                stride: r.pair(node, "stride", kernel)?,
                padding: [r.pair(node, "padding", [0; 2])?; 2],
                ceil_mode: given.flag("ceil_mode", false),
                count_include_pad: given.flag("count_include_pad", true),
            };
            r.pool(node, x()?, op)
        }
        "adaptive_avg_pool2d" => {
            let output = r.pair(node, "output_size", [1; 2])?;
            r.pool(node, x()?, AdaptiveAvgPool2d { output })
        }
        "linear" => {
            let weight = r.view(given.value("weight")?)?;
            r.linear(node, x()?, weight, given.optional("bias"))
        }
        "matmul" | "mm" | "bmm" => r.matmul(node, x()?, given.value("other").or_else(|_| given.value("mat2"))?),
        "scaled_dot_product_attention"
        | "_native_multi_head_attention"
        | "_scaled_dot_product_flash_attention_for_cpu" => Err(Refusal::Attention),
        "add" => binary(r, node, Binary::Plus),
        "sub" => binary(r, node, Binary::Minus),
        "mul" => binary(r, node, Binary::Times),
        "div" | "true_divide" | "floor_divide" => binary(r, node, Binary::Over),
        "neg" => {
            let x = r.picture(x()?)?;
            r.apply(node, Operation::Constant(Binary::Times, vec![-1.0], false), x)
        }
        "cat" | "concat" => r.concat(node, &given.values("tensors")?, r.int(node, "dim", 0)?),
        "flatten" => r.flatten(x()?, r.int(node, "start_dim", 0)?, r.int(node, "end_dim", -1)?),
        "view" | "reshape" | "_unsafe_view" => {
            let sizes = r.given_ints(node, "size")?.or(r.given_ints(node, "shape")?);
            r.reshape(x()?, &sizes.ok_or("is not given its sizes")?, false)
        }
        "permute" => r.transpose(x()?, &r.given_ints(node, "dims")?.unwrap_or_default()),
        "transpose" | "swapaxes" => {
            let rank = sizes_of(&r.get(x()?)?)?.len();
            let [a, b] = [r.int(node, "dim0", 0)?, r.int(node, "dim1", 1)?];
            let [a, b] = [super::moves::place(a, rank)?, super::moves::place(b, rank)?];
            let mut order: Vec<i64> = (0..rank as i64).collect();
            order.swap(a, b);
            r.transpose(x()?, &order)
        }
        "t" => r.transpose(x()?, &[1, 0]),
        "unsqueeze" => r.unsqueeze(x()?, &[r.int(node, "dim", 0)?]),
        "squeeze" => r.squeeze(x()?, r.given_ints(node, "dim")?.as_deref()),
        "select" => r.select(node, x()?, r.int(node, "dim", 0)?, r.int(node, "index", 0)?),
        "slice" | "narrow" => {
            let start = r.int(node, "start", 0)?;
            let end = match name {
                "narrow" => start.saturating_add(r.int(node, "length", 0)?),
                _ => r.int(node, "end", i64::MAX)?,
            };
            r.slice(node, x()?, r.int(node, "dim", 0)?, [start, end, r.int(node, "step", 1)?])
        }
        "mean" | "amax" => {
            let sides = r.given_ints(node, "dim")?.filter(|sides| !sides.is_empty());
            let sides = sides.ok_or("goes over everything, pictures and channels too")?;
            let over = if name == "mean" { Over::Mean } else { Over::Largest };
            r.over_pixels(node, x()?, &sides, given.flag("keepdim", false), over)
        }
        "softmax" | "_softmax" => r.softmax(node, x()?, r.int(node, "dim", 0)?),
        "log_softmax" | "_log_softmax" => r.end(node, x()?, r.int(node, "dim", 0)?, "log softmax"),
        "prelu" | "_prelu_kernel" => {
            let slopes = given.value("weight")?;
            // One for each channel, wherever pixels come behind them.
            let rank = sizes_of(&r.get(x()?)?)?.len();
            if let Value::Fixed(numbers) = r.get(slopes)?
                && numbers.sizes().is_some_and(|sizes| sizes.len() == 1 && sizes[0] > 1)
            {
                let mut sizes = numbers.sizes().unwrap_or_default();
                sizes.resize(rank.saturating_sub(1).max(1), 1);
                r.set("the slopes", Value::Fixed(super::fold::reshaped(&numbers, &sizes)?));
                return r.leaky(node, x()?, "the slopes");
            }
            r.leaky(node, x()?, slopes)
        }
        "selu" => r.selu(node, x()?, None, None),
        "celu" => r.celu(node, x()?, given.float("alpha", 1.0)?),
        "mish" => r.mish(node, x()?),
        "square" => r.binary(node, Binary::Times, [x()?; 2]),
        "dropout" | "feature_dropout" | "alpha_dropout" if given.flag("train", false) => {
            Err("is in training mode; call model.eval() before the export".into())
        }
        // 6, 7, 8 and 13 are kinds of numbers with a fractional part in the schema of exported programs.
        "to" | "_to_copy" if r.picture(x()?).is_ok() && !matches!(r.int(node, "dtype", 7)?, 6..=8 | 13) => {
            Err("makes whole numbers of values of the picture".into())
        }
        "dropout" | "feature_dropout" | "alpha_dropout" | "contiguous" | "clone" | "detach" | "alias"
        | "lift_fresh_copy" | "to" | "_to_copy" => {
            let value = r.get(x()?)?;
            Ok(value)
        }
        "channel_shuffle" => {
            let groups = r.int(node, "groups", 1)?;
            let [n, c, h, w] = r.plain(node, x()?)?.form.picture().map(|size| size as i64);
            if groups < 1 || c % groups != 0 {
                return Err("shuffles channels that do not come in so many groups".into());
            }
            let split = r.reshape(x()?, &[n, groups, c / groups, h, w], false)?;
            r.set("channel_shuffle", split);
            let turned = r.transpose("channel_shuffle", &[0, 2, 1, 3, 4])?;
            r.set("channel_shuffle", turned);
            r.reshape("channel_shuffle", &[n, c, h, w], false)
        }
        "sym_size" => {
            let sizes = sizes_of(&r.get(x()?)?)?;
            let side = super::moves::place(r.int(node, "dim", 0)?, sizes.len())?;
            Ok(number(sizes[side] as i64))
        }
        "pad" | "constant_pad_nd" => {
            if !matches!(given.text("mode"), None | Some("constant")) {
                return Err("puts something other than one number around a picture".into());
            }
            let value = given.float("value", 0.0)? as f32;
            let ints = r.given_ints(node, "pad")?.unwrap_or_default();
            let ints: Option<Vec<usize>> = ints.iter().map(|size| usize::try_from(*size).ok()).collect();
            match ints.as_deref() {
                Some([left, right]) => r.pad(node, x()?, [[0, *left], [0, *right]], value),
                Some([left, right, top, bottom]) => r.pad(node, x()?, [[*top, *left], [*bottom, *right]], value),
                _ => Err("puts numbers along other sides than those of the pixels, or cuts".into()),
            }
        }
        _ => Err(Refusal::Operator(None)),
    }
}
