//! Layers made of operations, with their parameters looked up by torchvision's names.

use std::collections::BTreeMap;

use crate::Result;
use crate::ops::{Add, BatchNorm, BatchNormTrain, Concat, Conv2d, MaxPool2d, Op, Relu};
use crate::tape::{Tape, Var};
use crate::tensor::{Layout, Shape};

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The running statistics of the weights; nothing changes (torch's `eval`).
    #[default]
    Frozen,
    /// Those of the batch, with the running statistics updated (torch's `train`).
    Batch,
    /// The running statistics, folded into weights of which [`Network::folded`](super::Network::folded) gives the buffers: the
    /// values of `Frozen` but for roundings. Convolutions and batch norms have values of their own only where asked for.
    Folded,
}

/// What follows a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// max(., 0).
    Relu,
    /// The sum with a value, then max(., 0): the end of a residual block of that name.
    AddRelu(Var, &'a str),
}

/// A convolution without bias and the batch norm behind it, by their names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    /// The convolution.
    pub conv: String,
    /// The batch norm.
    pub norm: String,
    /// Added to variances.
    pub eps: f32,
    /// Where it lies in the one convolution that does what it and its siblings do.
    pub joint: Option<Joint>,
}

/// Some output channels of one convolution in the place of several.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Joint {
    /// Names of all.
    pub name: String,
    /// First channel.
    pub first: usize,
    /// Channels of all.
    pub channels: usize,
}

impl Pair {
    /// Names of the weights and the bias of both in one, or of all siblings in one.
    pub fn folded(&self) -> [String; 2] {
        folded(self.joint.as_ref().map_or(&self.conv, |joint| &joint.name))
    }

    /// Names of the convolution's weights and of the batch norm's four vectors.
    pub fn tensors(&self) -> [String; 5] {
        let norm = |leaf| format!("{}.{leaf}", self.norm);
        let [weight, bias, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(norm);
        [format!("{}.weight", self.conv), weight, bias, mean, var]
    }
}

fn folded(conv: &str) -> [String; 2] {
    ["weight", "bias"].map(|leaf| format!("{conv}.{leaf} folded"))
}

/// A network under construction: the tape, the parameters it has asked for and the values it has named.
pub struct Layers<'a> {
    /// Where operations go.
    pub tape: &'a mut Tape,
    /// Shapes of the tensors that the weights hold.
    shapes: &'a BTreeMap<String, Vec<usize>>,
    /// Put before a tensor's name to name its buffer, so that two networks can share a tape.
    prefix: &'a str,
    mode: BatchNormMode,
    /// Layers that must have a value of their own.
    apart: &'a [&'a str],
    parameters: Vec<Parameter>,
    taps: Vec<(String, Var)>,
    merged: Vec<String>,
    norms: Vec<Norm>,
    pairs: Vec<Pair>,
    problems: Vec<String>,
    /// Channels of the first convolution over those of the full network.
    width: f64,
}

/// A tensor of the weights on a tape.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// torchvision's name.
    pub name: String,
    /// Its value on the tape.
    pub var: Var,
    /// Its shape in the engine.
    pub shape: Shape,
    /// Its order in the engine.
    pub layout: Layout,
}

/// A batch norm on a tape: what it is given, and what it has run up of that in training.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// The values before it, [N, C, H, W].
    pub x: Var,
    /// Their mean in training, [1, C, 1, 1].
    pub running_mean: Var,
    /// Their variance in training, [1, C, 1, 1].
    pub running_var: Var,
    /// Added to variances.
    pub eps: f32,
}

/// What has been built.
#[derive(Debug)]
pub(super) struct Built {
    /// Tensors used, in order.
    pub parameters: Vec<Parameter>,
    /// Named values in order of execution.
    pub taps: Vec<(String, Var)>,
    /// Names of layers that have no value of their own.
    pub merged: Vec<String>,
    /// Batch norms with a value of their own, in order of execution.
    pub norms: Vec<Norm>,
    /// Convolutions with a batch norm behind them.
    pub pairs: Vec<Pair>,
    /// Missing and wrong tensors.
    pub problems: Vec<String>,
}

/// A convolution without bias: its window, and how many channels the full network gives it.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// Output channels of the full network; the weights decide.
    pub channels: usize,
    /// Window, [height, width].
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: usize,
    /// Zeros around the input, [height, width].
    pub padding: [usize; 2],
}

impl Conv {
    /// A square window of step 1 with as much padding as keeps the size.
    pub const fn same(channels: usize, kernel: usize) -> Self {
        Conv { channels, kernel: [kernel; 2], stride: 1, padding: [kernel / 2; 2] }
    }

    /// A rectangular window of step 1 with as much padding as keeps the size.
    pub const fn rectangle(channels: usize, kernel: [usize; 2]) -> Self {
        Conv { channels, kernel, stride: 1, padding: [kernel[0] / 2, kernel[1] / 2] }
    }

    /// A square window of step 2 with that much padding.
    pub const fn halving(channels: usize, kernel: usize, padding: usize) -> Self {
        Conv { channels, kernel: [kernel; 2], stride: 2, padding: [padding; 2] }
    }

    /// The same without padding.
    pub const fn valid(self) -> Self {
        Conv { padding: [0, 0], ..self }
    }

    const fn op(self) -> Conv2d {
        Conv2d { stride: [self.stride; 2], padding: self.padding, relu: false }
    }
}

impl<'a> Layers<'a> {
    /// Starts on a tape, with the shapes that the weights have.
    pub fn new(
        tape: &'a mut Tape,
        shapes: &'a BTreeMap<String, Vec<usize>>,
        prefix: &'a str,
        (mode, apart): (BatchNormMode, &'a [&'a str]),
        first: (&str, usize),
    ) -> Self {
        let width = shapes.get(first.0).and_then(|shape| shape.first()).map_or(1.0, |&c| c as f64 / first.1 as f64);
        Layers {
            tape,
            shapes,
            prefix,
            mode,
            apart,
            parameters: vec![],
            taps: vec![],
            merged: vec![],
            norms: vec![],
            pairs: vec![],
            problems: vec![],
            width,
        }
    }

    pub(super) fn finish(self) -> Built {
        let Layers { parameters, taps, merged, norms, pairs, problems, .. } = self;
        Built { parameters, taps, merged, norms, pairs, problems }
    }

    /// Gives a value the name by which users ask for it.
    pub fn tap(&mut self, name: &str, var: Var) -> Var {
        self.taps.push((name.to_owned(), var));
        var
    }

    /// A tensor of the weights. `None` in `expected` stands for a size that the weights decide, `nominal` for its value in
    /// the full network.
    fn parameter(&mut self, name: &str, expected: &[Option<usize>], nominal: usize) -> Var {
        let sizes = self.sizes(name, expected, nominal);
        let (shape, layout) = match *sizes {
            [n, c, h, w] => (Shape::new(n, c, h, w), Layout::Filter),
            _ => (Shape::channels(sizes.iter().product()), Layout::Picture),
        };
        self.external(name, shape, layout)
    }

    fn external(&mut self, name: &str, shape: Shape, layout: Layout) -> Var {
        let var = self.tape.external(&format!("{}{name}", self.prefix), shape, layout);
        self.parameters.push(Parameter { name: name.to_owned(), var, shape, layout });
        var
    }

    /// What the weights say of a tensor, or what it would have to be, with the difference noted.
    fn sizes(&mut self, name: &str, expected: &[Option<usize>], nominal: usize) -> Vec<usize> {
        // Channels come in groups of four, so fewer would cost as much.
        let full = ((nominal as f64 * self.width).round() as usize).max(4);
        let show = |sizes: &[Option<usize>]| {
            sizes.iter().map(|size| size.map_or("any".into(), |s| s.to_string())).collect::<Vec<_>>().join(", ")
        };
        let fallback = || expected.iter().map(|size| size.unwrap_or(full)).collect();
        let fits = |sizes: &[usize]| {
            let equal =
                sizes.iter().zip(expected).all(|(&size, expected)| size > 0 && expected.is_none_or(|e| e == size));
            equal && sizes.len() == expected.len()
        };
        match self.shapes.get(name) {
            Some(sizes) if fits(sizes) => sizes.clone(),
            Some(sizes) => {
                self.problems.push(format!("wrong shape: {name} is {sizes:?}, expected [{}]", show(expected)));
                fallback()
            }
            None => {
                self.problems.push(format!("missing: {name} [{}]", show(expected)));
                fallback()
            }
        }
    }

    /// A convolution without bias, `conv.weight`, then batch norm, `norm.weight`, `.bias`, `.running_mean`, `.running_var`, then
    /// what follows. Where the batch norm is folded all of it is one operation.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits, [`crate::Error::Shape`] when the value to add differs.
    pub fn conv_norm(&mut self, [name, norm]: [&str; 2], x: Var, conv: Conv, eps: f32, then: Then<'_>) -> Result<Var> {
        if self.folds(&[name, norm]) {
            self.merged.extend([name, norm].map(str::to_owned));
            self.tape.layer(name);
            let channels = self.channels(name, conv.channels);
            return Ok(self.folded(name, x, &[channels], conv, then)?[0]);
        }
        self.unfolded([name, norm], x, conv, eps, then)
    }

    /// Whether batch norms are folded, none of these layers excepted.
    fn folds(&self, layers: &[&str]) -> bool {
        self.mode == BatchNormMode::Folded && !layers.iter().any(|name| self.apart.contains(name))
    }

    /// Output channels of a convolution as the weights have it.
    fn channels(&self, conv: &str, nominal: usize) -> usize {
        self.shapes.get(&format!("{conv}.weight")).map_or(nominal, |sizes| sizes[0])
    }

    fn unfolded(&mut self, [name, norm]: [&str; 2], x: Var, conv: Conv, eps: f32, then: Then<'_>) -> Result<Var> {
        self.tape.layer(name);
        let [kh, kw] = conv.kernel;
        let c_in = self.tape.shape(x).c();
        let weight = format!("{name}.weight");
        let weight = self.parameter(&weight, &[None, Some(c_in), Some(kh), Some(kw)], conv.channels);
        let y = self.tape.apply(conv.op(), &[x, weight])?;
        self.tap(name, y);
        let y = self.batch_norm(norm, y, eps)?;
        self.pairs.push(Pair { conv: name.to_owned(), norm: norm.to_owned(), eps, joint: None });
        match then {
            Then::Nothing => Ok(y),
            Then::Relu => self.relu(y),
            Then::AddRelu(other, block) => {
                self.tape.layer(block);
                let sum = self.tape.apply(Add, &[y, other])?;
                self.relu(sum)
            }
        }
    }

    /// The two of a pair, or of several with as many channels each, and what follows, as one convolution.
    fn folded(&mut self, name: &str, x: Var, channels: &[usize], conv: Conv, then: Then<'_>) -> Result<Vec<Var>> {
        let [weight, bias] = folded(name).map(|name| format!("{}{name}", self.prefix));
        let (c, [kh, kw]) = (channels.iter().sum(), conv.kernel);
        let weight = self.tape.external(&weight, Shape::new(c, self.tape.shape(x).c(), kh, kw), Layout::Filter);
        let bias = self.tape.external(&bias, Shape::channels(c), Layout::Picture);
        let op = Conv2d { relu: then != Then::Nothing, ..conv.op() };
        match then {
            Then::AddRelu(other, _) => self.tape.apply(op, &[x, weight, bias, other]).map(|y| vec![y]),
            Then::Relu | Then::Nothing => self.tape.apply_in_parts(op, &[x, weight, bias], channels),
        }
    }

    /// Convolutions of one value with 1x1 windows, so many channels each, under names as in [`Layers::conv_norm_relu`]. Where
    /// batch norms are folded all of them are one operation, if channels lie in whole groups.
    ///
    /// # Errors
    /// None for shapes that the weights allow.
    pub fn siblings<const N: usize>(&mut self, x: Var, convs: [(&str, usize); N], eps: f32) -> Result<[Var; N]> {
        let names = convs.map(|(name, _)| [format!("{name}.conv"), format!("{name}.bn")]);
        let channels: Vec<usize> =
            names.iter().zip(convs).map(|([conv, _], (_, nominal))| self.channels(conv, nominal)).collect();
        let joint = convs.map(|(name, _)| name).join(" + ");
        let joins = channels[..N - 1].iter().all(|channels| channels % 4 == 0);
        let layers: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        if joins && self.folds(&layers) {
            self.tape.layer(&joint);
            let parts = self.folded(&joint, x, &channels, Conv::same(0, 1), Then::Relu)?;
            self.merged.extend(names.into_iter().flatten());
            return Ok(std::array::from_fn(|k| self.tap(convs[k].0, parts[k])));
        }
        let mut parts = [x; N];
        for (k, [conv, norm]) in names.iter().enumerate() {
            let (names, op) = ([conv.as_str(), norm], Conv::same(convs[k].1, 1));
            let y = match joins {
                // Folded weights are there only for all of them.
                true => self.unfolded(names, x, op, eps, Then::Relu)?,
                false => self.conv_norm(names, x, op, eps, Then::Relu)?,
            };
            parts[k] = self.tap(convs[k].0, y);
            if let Some(pair) = self.pairs.last_mut().filter(|_| joins) {
                let (first, channels) = (channels[..k].iter().sum(), channels.iter().sum());
                pair.joint = Some(Joint { name: joint.clone(), first, channels });
            }
        }
        Ok(parts)
    }

    fn batch_norm(&mut self, name: &str, x: Var, eps: f32) -> Result<Var> {
        self.tape.layer(name);
        let c = self.tape.shape(x).c();
        let mut inputs = vec![x];
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.parameter(&format!("{name}.{leaf}"), &[Some(c)], c));
        }
        self.norms.push(Norm { x, running_mean: inputs[3], running_var: inputs[4], eps });
        let y = match self.mode {
            BatchNormMode::Batch => self.tape.apply(BatchNormTrain { eps, momentum: 0.1 }, &inputs)?,
            BatchNormMode::Frozen | BatchNormMode::Folded => self.tape.apply(BatchNorm { eps }, &inputs)?,
        };
        Ok(self.tap(name, y))
    }

    /// max(x, 0).
    ///
    /// # Errors
    /// None.
    pub fn relu(&mut self, x: Var) -> Result<Var> {
        self.tape.apply(Relu, &[x])
    }

    /// A convolution, batch norm and relu under one name; `name.conv.weight`, `name.bn.*`.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn conv_norm_relu(&mut self, name: &str, x: Var, conv: Conv, eps: f32) -> Result<Var> {
        let y = self.conv_norm([&format!("{name}.conv"), &format!("{name}.bn")], x, conv, eps, Then::Relu)?;
        Ok(self.tap(name, y))
    }

    /// A linear layer over all that is left of a picture; `name.weight`, `name.bias`.
    ///
    /// It is a convolution whose window covers its input: torch flattens [C, H, W] in the order in which the weights of such a
    /// window lie.
    ///
    /// # Errors
    /// None for shapes that the weights allow.
    pub fn linear(&mut self, name: &str, x: Var, outputs: Option<usize>, nominal: usize) -> Result<Var> {
        self.tape.layer(name);
        let [_, c, h, w] = self.tape.shape(x).0;
        let weight = format!("{name}.weight");
        let sizes = self.sizes(&weight, &[outputs, Some(c * h * w)], nominal);
        let weight = self.external(&weight, Shape::new(sizes[0], c, h, w), Layout::Filter);
        let bias = self.parameter(&format!("{name}.bias"), &[Some(sizes[0])], sizes[0]);
        let y = self.tape.apply(Conv2d::new(1, 0), &[x, weight, bias])?;
        Ok(self.tap(name, y))
    }

    /// Average pooling of any kind.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn average(&mut self, name: &str, x: Var, op: impl Op + 'static) -> Result<Var> {
        self.tape.layer(name);
        let y = self.tape.apply(op, &[x])?;
        Ok(self.tap(name, y))
    }

    /// Max pooling with square windows.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn max_pool(&mut self, name: &str, x: Var, op: MaxPool2d) -> Result<Var> {
        self.tape.layer(name);
        let y = self.tape.apply(op, &[x])?;
        Ok(self.tap(name, y))
    }

    /// Branches side by side.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when their pictures differ in size.
    pub fn concat(&mut self, name: &str, branches: &[Var]) -> Result<Var> {
        self.tape.layer(name);
        let y = self.tape.apply(Concat, branches)?;
        Ok(self.tap(name, y))
    }
}
