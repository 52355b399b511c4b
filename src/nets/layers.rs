//! Layers made of operations, with their parameters looked up by the names that checkpoints give them.
//!
//! A structure describes its network with these, plainly: what makes a network fast is done to the tape afterwards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::head::Head;
use super::normalize::grey;
use crate::Result;
use crate::ops::{
    Activation, AdaptiveAvgPool2d, Add, BatchNorm, BatchNormTrain, Binary, Concat, Conv2d, MaxPool2d, Op, Relu, Window,
};
use crate::tape::{Tape, Var};
use crate::tensor::{Array, Layout, Shape};

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The running statistics of the weights; nothing changes (torch's `eval`).
    #[default]
    Frozen,
    /// Those of the batch, with the running statistics updated (torch's `train`).
    Batch,
}

/// What the layers of a network are given to begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// Sizes of the tensors that the weights hold, by name.
    pub shapes: &'a BTreeMap<String, Vec<usize>>,
    /// Put before a tensor's name to name its buffer, so that two networks can share a tape.
    pub prefix: &'a str,
    /// Which statistics batch norms use.
    pub mode: BatchNormMode,
    /// Heads besides the main one that are built.
    pub heads: &'a [Head],
    /// Channels over those of the full network, for tensors that the weights lack; by default as the first tensor says.
    pub width: Option<f64>,
}

impl<'a> Setting<'a> {
    /// For weights of these sizes, with frozen statistics and the main head alone.
    pub fn of(shapes: &'a BTreeMap<String, Vec<usize>>) -> Self {
        Setting { shapes, prefix: "", mode: BatchNormMode::Frozen, heads: &[], width: None }
    }
}

/// A network under construction: the tape, the parameters it has asked for and the values it has named.
pub struct Layers<'a> {
    tape: &'a mut Tape,
    setting: Setting<'a>,
    built: Built,
}

/// A tensor of the weights on a tape, or some of its rows.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name in checkpoints; with the rows behind it, where it holds only some.
    pub name: String,
    /// Its value on the tape.
    pub var: Var,
    /// Its shape in the engine.
    pub shape: Shape,
    /// Its order in the engine.
    pub layout: Layout,
    /// The tensor in checkpoints that it belongs to.
    pub tensor: String,
    /// Sizes of that tensor.
    pub sizes: Vec<usize>,
    /// Which of its rows, the first size, it holds.
    pub rows: Range<usize>,
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
#[derive(Debug, Default)]
pub(super) struct Built {
    /// Tensors used, in order.
    pub parameters: Vec<Parameter>,
    /// Named values in order of execution.
    pub taps: Vec<(String, Var)>,
    /// Batch norms in order of execution.
    pub norms: Vec<Norm>,
    /// Logits of heads.
    pub heads: Vec<(Head, Var)>,
    /// Missing and wrong tensors.
    pub problems: Vec<String>,
    /// Channels of the first tensor over those of the full network.
    pub width: Option<f64>,
}

/// A convolution: its window, and how many channels the full network gives it.
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
    /// Whether a number is added to each channel.
    pub bias: bool,
    /// Input channels of a group, where channels come in groups that do not see each other; the weights decide.
    pub group: Option<usize>,
}

impl Conv {
    /// A square window of step 1 with as much padding as keeps the size.
    pub const fn same(channels: usize, kernel: usize) -> Self {
        Conv { channels, kernel: [kernel; 2], stride: 1, padding: [kernel / 2; 2], bias: false, group: None }
    }

    /// A rectangular window of step 1 with as much padding as keeps the size.
    pub const fn rectangle(channels: usize, kernel: [usize; 2]) -> Self {
        Conv { kernel, padding: [kernel[0] / 2, kernel[1] / 2], ..Conv::same(channels, 1) }
    }

    /// A square window of step 2 with that much padding.
    pub const fn halving(channels: usize, kernel: usize, padding: usize) -> Self {
        Conv { stride: 2, padding: [padding; 2], ..Conv::same(channels, kernel) }
    }

    /// The same without padding.
    pub const fn valid(self) -> Self {
        Conv { padding: [0, 0], ..self }
    }

    /// The same with a bias.
    pub const fn biased(self) -> Self {
        Conv { bias: true, ..self }
    }

    /// The same with groups of so many input channels.
    pub const fn grouped(self, group: usize) -> Self {
        Conv { group: Some(group), ..self }
    }

    const fn op(self, groups: usize) -> Conv2d {
        Conv2d { padding: [self.padding; 2], groups, ..Conv2d::new(self.stride, 0) }
    }
}

/// A kernel sees at most so many bytes of a buffer on every adapter of WebGPU; a larger linear layer is taken in parts.
const LARGEST: u64 = 128 << 20;

impl<'a> Layers<'a> {
    /// Starts on a tape.
    pub(super) fn new(tape: &'a mut Tape, setting: Setting<'a>) -> Self {
        let built = Built { width: setting.width, ..Built::default() };
        Layers { tape, setting, built }
    }

    pub(super) fn finish(self) -> Built {
        self.built
    }

    /// Gives a value the name by which users ask for it.
    pub fn tap(&mut self, name: &str, var: Var) -> Var {
        self.built.taps.push((name.to_owned(), var));
        var
    }

    /// Says that a value [N, classes, 1, 1] is the logits of a head.
    pub fn logits(&mut self, head: Head, logits: Var) {
        self.built.heads.push((head, logits));
    }

    /// Whether somebody wants a head besides the main one.
    pub fn wants(&self, head: Head) -> bool {
        self.setting.heads.contains(&head)
    }

    /// A tensor of the weights. `None` in `expected` stands for a size that the weights decide, `nominal` for its value in
    /// the full network.
    fn parameter(&mut self, name: &str, expected: &[Option<usize>], nominal: usize) -> Var {
        let sizes = self.sizes(name, expected, nominal);
        let (shape, layout) = match *sizes {
            [n, c, h, w] => (Shape::new(n, c, h, w), Layout::Filter),
            _ => (Shape::channels(sizes.iter().product()), Layout::Picture),
        };
        let rows = 0..sizes[0];
        self.rows(name, sizes, rows, shape, layout)
    }

    /// Some rows of a tensor, which lie in a shape of their own.
    fn rows(&mut self, tensor: &str, sizes: Vec<usize>, rows: Range<usize>, shape: Shape, layout: Layout) -> Var {
        let tensor = tensor.to_owned();
        let name =
            if rows.len() == sizes[0] { tensor.clone() } else { format!("{tensor}[{}..{}]", rows.start, rows.end) };
        let var = self.tape.parameter(self.setting.prefix, &name, shape, layout);
        self.built.parameters.push(Parameter { name, var, shape, layout, tensor, sizes, rows });
        var
    }

    /// What the weights say of a tensor, or what it would have to be, with the difference noted.
    fn sizes(&mut self, name: &str, expected: &[Option<usize>], nominal: usize) -> Vec<usize> {
        let known = self.setting.shapes.get(name);
        let width = *self.built.width.get_or_insert_with(|| {
            known.and_then(|sizes| sizes.first()).map_or(1.0, |&first| first as f64 / nominal as f64)
        });
        // Channels come in groups of four, so fewer would cost as much.
        let full = ((nominal as f64 * width).round() as usize).max(4);
        let show = |sizes: &[Option<usize>]| {
            sizes.iter().map(|size| size.map_or("any".into(), |s| s.to_string())).collect::<Vec<_>>().join(", ")
        };
        let fallback = || expected.iter().map(|size| size.unwrap_or(full)).collect();
        let fits = |sizes: &[usize]| {
            let equal =
                sizes.iter().zip(expected).all(|(&size, expected)| size > 0 && expected.is_none_or(|e| e == size));
            equal && sizes.len() == expected.len()
        };
        match known {
            Some(sizes) if fits(sizes) => sizes.clone(),
            Some(sizes) => {
                let problem = format!("wrong shape: {name} is {sizes:?}, expected [{}]", show(expected));
                self.built.problems.push(problem);
                fallback()
            }
            None => {
                self.built.problems.push(format!("missing: {name} [{}]", show(expected)));
                fallback()
            }
        }
    }

    /// A convolution; `name.weight` and, where it has one, `name.bias`.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn conv(&mut self, name: &str, x: Var, conv: Conv) -> Result<Var> {
        self.tape.layer(name);
        let [kh, kw] = conv.kernel;
        let c_in = self.tape.shape(x).c();
        let weight = format!("{name}.weight");
        let known = self.setting.shapes.get(&weight).and_then(|sizes| sizes.get(1)).copied();
        // A narrow network may have fewer channels than a group of the full one: then all of them are one.
        let fits = |group: &usize| *group > 0 && c_in.is_multiple_of(*group);
        let group = conv.group.map(|group| known.unwrap_or(group)).filter(fits).unwrap_or(c_in);
        let mut inputs = vec![x, self.parameter(&weight, &[None, Some(group), Some(kh), Some(kw)], conv.channels)];
        if conv.bias {
            let c = self.tape.shape(inputs[1]).n();
            inputs.push(self.parameter(&format!("{name}.bias"), &[Some(c)], c));
        }
        let y = self.tape.apply(conv.op(c_in / group), &inputs)?;
        Ok(self.tap(name, y))
    }

    /// Batch norm; `name.weight`, `.bias`, `.running_mean`, `.running_var`.
    ///
    /// # Errors
    /// None: the weights have been checked.
    pub fn batch_norm(&mut self, name: &str, x: Var, eps: f32) -> Result<Var> {
        let y = self.norm(name, x, eps)?;
        Ok(self.tap(name, y))
    }

    /// The same without giving the value a name.
    ///
    /// # Errors
    /// As [`Layers::batch_norm`].
    pub(super) fn norm(&mut self, name: &str, x: Var, eps: f32) -> Result<Var> {
        self.tape.layer(name);
        let c = self.tape.shape(x).c();
        let mut inputs = vec![x];
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.parameter(&format!("{name}.{leaf}"), &[Some(c)], c));
        }
        self.built.norms.push(Norm { x, running_mean: inputs[3], running_var: inputs[4], eps });
        match self.setting.mode {
            BatchNormMode::Batch => self.tape.apply(BatchNormTrain { eps, momentum: 0.1 }, &inputs),
            BatchNormMode::Frozen => self.tape.apply(BatchNorm { eps }, &inputs),
        }
    }

    /// Shape of a value.
    pub fn shape(&self, var: Var) -> Shape {
        self.tape.shape(var)
    }

    /// Any operation, which belongs to a layer but is not named by it.
    ///
    /// # Errors
    /// Those of the operation.
    pub(super) fn apply(&mut self, layer: &str, op: Arc<dyn Op>, inputs: &[Var]) -> Result<Var> {
        self.tape.layer(layer);
        self.tape.apply_shared(op, inputs)
    }

    /// A convolution with any window: `name.weight` of these sizes, of which the weights decide the first, and perhaps `name.bias`;
    /// not named.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub(super) fn windowed(
        &mut self,
        name: &str,
        x: Var,
        window: Window,
        sizes: [usize; 4],
        bias: bool,
    ) -> Result<Var> {
        self.tape.layer(name);
        let [nominal, c_in, kh, kw] = sizes;
        let expected = [None, Some(c_in), Some(kh), Some(kw)];
        let mut inputs = vec![x, self.parameter(&format!("{name}.weight"), &expected, nominal)];
        if bias {
            let c = self.tape.shape(inputs[1]).n();
            inputs.push(self.vector(&format!("{name}.bias"), c));
        }
        self.tape.apply(Conv2d::of(window), &inputs)
    }

    /// A vector over channels by its whole name.
    pub(super) fn vector(&mut self, name: &str, channels: usize) -> Var {
        self.parameter(name, &[Some(channels)], channels)
    }

    /// Fixed numbers, one for each channel or one for all.
    pub(super) fn numbers(&mut self, values: &[f32]) -> Var {
        self.tape.constant(&Array::new(Shape::channels(values.len()), values.to_vec()))
    }

    /// The luma of a picture of three colours, without a name of its own.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when it has not three channels.
    pub(super) fn grey(&mut self, x: Var) -> Result<Var> {
        grey(self.tape, x)
    }

    /// max(x, 0), without a name of its own.
    ///
    /// # Errors
    /// None.
    pub fn relu(&mut self, x: Var) -> Result<Var> {
        self.tape.apply(Relu, &[x])
    }

    /// A function of each number, without a name of its own.
    ///
    /// # Errors
    /// None for functions whose numbers are good.
    pub fn activation(&mut self, function: Activation, x: Var) -> Result<Var> {
        self.tape.apply(function, &[x])
    }

    /// a · b, one of which may be one number for each channel.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when they differ otherwise.
    pub fn mul(&mut self, name: &str, a: Var, b: Var) -> Result<Var> {
        self.tape.layer(name);
        let y = self.tape.apply(Binary::Times, &[a, b])?;
        Ok(self.tap(name, y))
    }

    /// a + b.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when they differ.
    pub fn add(&mut self, name: &str, a: Var, b: Var) -> Result<Var> {
        self.tape.layer(name);
        self.tape.apply(Add, &[a, b])
    }

    /// A convolution, batch norm and relu under one name; `name.conv.weight`, `name.bn.*`.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn conv_norm_relu(&mut self, name: &str, x: Var, conv: Conv, eps: f32) -> Result<Var> {
        let y = self.conv(&format!("{name}.conv"), x, conv)?;
        let y = self.batch_norm(&format!("{name}.bn"), y, eps)?;
        let y = self.relu(y)?;
        Ok(self.tap(name, y))
    }

    /// A linear layer over all that is left of a picture; `name.weight`, `name.bias`. `nominal` is the number of its outputs in
    /// the full network.
    ///
    /// It is a convolution whose window covers its input: torch flattens [C, H, W] in the order in which the weights of such a
    /// window lie. One whose weights are larger than a kernel can see is several, side by side.
    ///
    /// # Errors
    /// None for shapes that the weights allow.
    pub fn linear(&mut self, name: &str, x: Var, nominal: usize) -> Result<Var> {
        let [_, _, h, w] = self.tape.shape(x).0;
        let y = self.linear_window(name, x, [h, w], nominal, true)?;
        Ok(self.tap(name, y))
    }

    /// A linear layer over the channels in windows of this size, which is that of the picture or one pixel; `name.weight`, and
    /// `name.bias` where it has one; not named.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub(super) fn linear_window(
        &mut self,
        name: &str,
        x: Var,
        [h, w]: [usize; 2],
        nominal: usize,
        bias: bool,
    ) -> Result<Var> {
        self.tape.layer(name);
        let c = self.tape.shape(x).c();
        let [weight, bias_name] = ["weight", "bias"].map(|leaf| format!("{name}.{leaf}"));
        let sizes = self.sizes(&weight, &[None, Some(c * h * w)], nominal);
        let outputs = sizes[0];
        let bias_sizes = if bias { self.sizes(&bias_name, &[Some(outputs)], outputs) } else { vec![] };
        let bytes = Layout::Filter.bytes(Shape::new(outputs, c, h, w));
        let rows = outputs.div_ceil(bytes.div_ceil(LARGEST) as usize).next_multiple_of(4);
        let mut parts = Vec::new();
        for first in (0..outputs).step_by(rows) {
            let rows = first..outputs.min(first + rows);
            let n = rows.len();
            let shape = Shape::new(n, c, h, w);
            let mut inputs = vec![x, self.rows(&weight, sizes.clone(), rows.clone(), shape, Layout::Filter)];
            if bias {
                inputs.push(self.rows(&bias_name, bias_sizes.clone(), rows, Shape::channels(n), Layout::Picture));
            }
            parts.push(self.tape.apply(Conv2d::new(1, 0), &inputs)?);
        }
        if let [y] = parts[..] { Ok(y) } else { self.tape.apply(Concat, &parts) }
    }

    /// Pooling of any kind, or another operation without parameters.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn pool(&mut self, name: &str, x: Var, op: impl Op + 'static) -> Result<Var> {
        self.tape.layer(name);
        let y = self.tape.apply(op, &[x])?;
        Ok(self.tap(name, y))
    }

    /// Max pooling with square windows.
    ///
    /// # Errors
    /// [`crate::Error::TooSmall`] when no window fits.
    pub fn max_pool(
        &mut self,
        name: &str,
        x: Var,
        kernel: usize,
        stride: usize,
        padding: usize,
        ceil_mode: bool,
    ) -> Result<Var> {
        self.pool(name, x, MaxPool2d { ceil_mode, ..MaxPool2d::new(kernel, stride, padding) })
    }

    /// The mean over the pixels of so many by so many equal parts of the picture.
    ///
    /// # Errors
    /// None.
    pub fn average_to(&mut self, name: &str, x: Var, side: usize) -> Result<Var> {
        self.pool(name, x, AdaptiveAvgPool2d { output: [side; 2] })
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
