//! Walks the operations of a file once, at the sizes for which it was exported, and writes down the steps of the network.
//!
//! What only computes sizes is computed here; what only moves sides about becomes a [`Form`]. What cannot be read is noted, and the
//! walk goes on, so that one error can tell everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::form::{Form, Kind, Order};
use super::names::Names;
use super::problems::Problems;
use super::step::{Id, Operation, Step};
use super::value::{Fixed, Found, Picture, Refusal, Value};
use crate::ops::{Binary, Channels, Op};
use crate::weights::{Constant, Node, Program, TensorView};

/// A walk over a program.
pub(super) struct Resolver<'a> {
    pub program: &'a Program,
    /// Sizes of the file's tensors.
    shapes: &'a BTreeMap<String, Vec<usize>>,
    values: BTreeMap<String, Value>,
    /// How many operations are given each value.
    pub readers: BTreeMap<String, usize>,
    /// Values that something else than a convolution is given.
    pub read_by_others: BTreeSet<String>,
    /// Values that are what a step has made, not yet seen in another form.
    pub direct: BTreeMap<String, Id>,
    pub steps: Vec<Step>,
    pub names: Names,
    pub problems: Problems,
    /// A function at the end that has been left out.
    pub behind: Option<&'static str>,
}

impl<'a> Resolver<'a> {
    pub fn new(program: &'a Program, shapes: &'a BTreeMap<String, Vec<usize>>) -> Self {
        Resolver {
            program,
            shapes,
            values: BTreeMap::new(),
            readers: BTreeMap::new(),
            read_by_others: BTreeSet::new(),
            direct: BTreeMap::new(),
            steps: vec![],
            names: Names::default(),
            problems: Problems::default(),
            behind: None,
        }
    }

    /// Says what a value is.
    pub fn set(&mut self, name: &str, value: Value) {
        if !name.is_empty() {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// A value by its name.
    pub fn get(&self, name: &str) -> Found {
        match self.values.get(name) {
            Some(Value::Unknown) => return Err(Refusal::Unknown),
            Some(value) => return Ok(value.clone()),
            None => {}
        }
        let constant = self.program.constants.get(name).cloned();
        let tensor = self.program.tensors.get(name);
        let view = tensor.and_then(|tensor| {
            let sizes = self.shapes.get(tensor)?.clone();
            Some(TensorView { tensor: tensor.clone(), sizes, strides: None })
        });
        if constant.is_none() && view.is_none() {
            return Err(Refusal::Given(format!("is given {}, which is not in the file", name.escape_debug())));
        }
        Ok(Value::Fixed(Fixed { view, constant }))
    }

    /// A value that depends on the picture.
    pub fn picture(&self, name: &str) -> Found<Picture> {
        match self.get(name)? {
            Value::Picture(picture) => Ok(picture),
            _ => Err("is given no picture".into()),
        }
    }

    /// The same as the engine has pictures, without zeros around it that are still to come.
    pub fn plain(&mut self, node: &Node, name: &str) -> Found<Picture> {
        let picture = self.padded_plain(node, name)?;
        picture.without_padding()?;
        Ok(picture)
    }

    /// The same with zeros around it.
    pub fn padded_plain(&mut self, node: &Node, name: &str) -> Found<Picture> {
        let picture = self.picture(name)?;
        match picture.form.order() {
            Some(Order::Kept) => Ok(picture),
            Some(Order::Shuffled(groups)) => {
                let channels = picture.form.size(Kind::C);
                let shuffle = Operation::Apply(Arc::new(Channels::shuffle(channels, groups)));
                let layer = self.names.own(node);
                let id = self.push(shuffle, vec![picture.id], layer, vec![]);
                let ordered = Picture { id, form: picture.form.ordered(), ..picture };
                self.set(name, Value::Picture(ordered.clone()));
                Ok(ordered)
            }
            None => {
                Err(format!("is given a value of sizes {:?}, which are not those of a picture", picture.form.sizes())
                    .into())
            }
        }
    }

    /// A tensor of the file of so many sizes.
    pub fn tensor(&self, name: &str, sizes: &[usize]) -> Found<TensorView> {
        match self.get(name)? {
            Value::Fixed(Fixed { view: Some(view), .. }) if view.sizes == sizes => Ok(view),
            Value::Fixed(Fixed { view: Some(view), .. }) => Err(format!(
                "has a tensor {} of sizes {:?}, expected {sizes:?}",
                view.tensor.escape_debug(),
                view.sizes
            )
            .into()),
            _ => Err("has weights that are computed, not in the file".into()),
        }
    }

    /// A tensor of the file.
    pub fn view(&self, name: &str) -> Found<TensorView> {
        match self.get(name)? {
            Value::Fixed(Fixed { view: Some(view), .. }) => Ok(view),
            Value::Picture(_) => Err("has weights that depend on the picture".into()),
            _ => Err("has weights that are computed, not in the file".into()),
        }
    }

    /// Few numbers.
    pub fn constant(&self, name: &str) -> Found<Constant> {
        match self.get(name)? {
            Value::Fixed(Fixed { constant: Some(constant), .. }) => Ok(constant),
            Value::Picture(_) => Err("is given numbers that depend on the picture's values".into()),
            _ => Err("is given numbers that are too many to be sizes".into()),
        }
    }

    /// Whole numbers.
    pub fn ints(&self, name: &str) -> Found<Vec<i64>> {
        let constant = self.constant(name)?;
        constant
            .ints()
            .map(<[i64]>::to_vec)
            .ok_or_else(|| "is given numbers that are not whole where sizes are wanted".into())
    }

    /// Adds a step and says which value it makes.
    pub fn push(
        &mut self,
        operation: Operation,
        inputs: Vec<Id>,
        layer: String,
        tensors: Vec<(&'static str, TensorView)>,
    ) -> Id {
        self.steps.push(Step { operation, inputs, layer, tensors, same: None });
        self.steps.len()
    }

    /// An operation on a value as it lies.
    pub fn apply(&mut self, node: &Node, operation: Operation, x: Picture) -> Found {
        x.without_padding()?;
        let layer = self.names.own(node);
        let id = self.push(operation, vec![x.id], layer, vec![]);
        Ok(Value::Picture(Picture { id, ..x }))
    }

    /// An operation without parameters that makes a picture of another size.
    pub fn pool(&mut self, node: &Node, name: &str, op: impl Op + 'static) -> Found {
        let x = self.plain(node, name)?;
        let [n, c, h, w] = x.form.picture();
        let shape = op.output_shape(&[crate::tensor::Shape::new(n, c, h, w)]);
        let shape = shape.map_err(|error| Refusal::Given(format!("does not fit: {error}")))?;
        let layer = self.names.own(node);
        let id = self.push(Operation::Apply(Arc::new(op)), vec![x.id], layer, vec![]);
        Ok(Value::Picture(Picture { id, form: Form::plain(shape.0), ..x }))
    }

    /// a + b, a − b, a · b or a / b.
    pub fn binary(&mut self, node: &Node, op: Binary, [a, b]: [&str; 2]) -> Found {
        match (self.get(a)?, self.get(b)?) {
            (Value::Picture(_), Value::Picture(_)) => self.of_two(node, op, [a, b]),
            (Value::Picture(x), Value::Fixed(numbers)) => match self.as_bias(op, a, &x, &numbers) {
                true => Ok(Value::Picture(x)),
                false => self.with_numbers(node, op, x, numbers, false),
            },
            (Value::Fixed(numbers), Value::Picture(x)) => match self.as_bias(op, b, &x, &numbers) {
                true => Ok(Value::Picture(x)),
                false => self.with_numbers(node, op, x, numbers, true),
            },
            (Value::Fixed(a), Value::Fixed(b)) => super::fold::binary(op, &a, &b).map(Value::Fixed),
            _ => Err(Refusal::Unknown),
        }
    }

    /// Whether a sum with numbers is the bias of the layer that has made its other part, and nobody else looks at that: then it has
    /// become so.
    fn as_bias(&mut self, op: Binary, name: &str, x: &Picture, numbers: &Fixed) -> bool {
        let alone = self.readers.get(name) == Some(&1) && self.direct.get(name) == Some(&x.id);
        let (Binary::Plus, true, Some(view)) = (op, alone, &numbers.view) else { return false };
        let step = &mut self.steps[x.id - 1];
        let takes_one = matches!(step.operation, Operation::Conv(_) | Operation::Linear { .. });
        let channels = step.tensors.first().map(|(_, weight)| weight.sizes[0]);
        let side = view.sizes.iter().position(|size| *size > 1).unwrap_or(view.sizes.len().saturating_sub(1));
        let own = (x.form.rank() + side).checked_sub(view.sizes.len());
        let fits = own.is_some_and(|own| own < x.form.rank() && x.form.is(own, Kind::C))
            && Some(view.sizes.iter().product()) == channels
            && view.strides.is_none();
        if takes_one && fits && step.tensors.len() == 1 {
            let sizes = channels.into_iter().collect();
            step.tensors.push(("bias", TensorView { sizes, ..view.clone() }));
            return true;
        }
        false
    }

    fn of_two(&mut self, node: &Node, op: Binary, names: [&str; 2]) -> Found {
        let mut pictures = [self.picture(names[0])?, self.picture(names[1])?];
        if !pictures[0].form.agrees(&pictures[1].form) {
            // Channels may be out of order in one of them.
            pictures = [self.plain(node, names[0])?, self.plain(node, names[1])?];
        }
        let [x, y] = pictures;
        x.without_padding()?;
        y.without_padding()?;
        if !x.form.agrees(&y.form) {
            let (a, b) = (x.form.sizes(), y.form.sizes());
            return Err(format!("is given values of sizes {a:?} and {b:?} whose sides do not match").into());
        }
        let equal = x.form.picture() == y.form.picture();
        let larger = [Kind::N, Kind::C, Kind::H, Kind::W].iter().all(|kind| x.form.size(*kind) >= y.form.size(*kind));
        let smaller = [Kind::N, Kind::C, Kind::H, Kind::W].iter().all(|kind| x.form.size(*kind) <= y.form.size(*kind));
        let form = match (larger, smaller) {
            (true, _) => x.form.clone(),
            (_, true) => y.form.clone(),
            _ => return Err("is given two values of which each is the smaller along some side".into()),
        };
        let operation = match op {
            Binary::Plus if equal => Operation::Apply(Arc::new(crate::ops::Add)),
            op => Operation::Apply(Arc::new(op)),
        };
        let layer = self.names.own(node);
        let id = self.push(operation, vec![x.id, y.id], layer, vec![]);
        Ok(Value::Picture(Picture { id, form, padding: [[0; 2]; 2] }))
    }

    /// An operation on a value and numbers: one, or one for each channel.
    pub fn with_numbers(&mut self, node: &Node, op: Binary, x: Picture, numbers: Fixed, first: bool) -> Found {
        x.without_padding()?;
        let sizes = numbers.sizes().ok_or("is given a value that is not known")?;
        let count: usize = sizes.iter().product();
        let known = numbers.constant.as_ref().map(|constant| constant.floats());
        if count == 1
            && let Some(values) = &known
        {
            let operation = Operation::Constant(op, vec![values[0] as f32], first);
            return self.apply(node, operation, x);
        }
        // Sides are matched from the last one on.
        let own = x.form.rank();
        let side = (0..sizes.len()).find(|side| sizes[*side] > 1);
        let side = side.filter(|side| sizes[*side] == count && own + side >= sizes.len());
        let side = side.map(|side| own + side - sizes.len());
        let fits = side.is_some_and(|side| {
            x.form.is(side, Kind::C)
                && x.form.size(Kind::C) == count
                && x.form.order_of_channels(side) == Some(Order::Kept)
        });
        if !fits {
            return Err(format!("is given numbers of sizes {sizes:?} that are not one for each channel").into());
        }
        let layer;
        let mut tensors = vec![];
        let operation = match (numbers.view, known) {
            (Some(view), _) => {
                layer = self.names.with_tensors(node, &view.tensor);
                let strides = view.strides.as_ref().and_then(|strides| {
                    let place = view.sizes.iter().position(|size| *size > 1)?;
                    Some(vec![strides[place]])
                });
                tensors.push(("factor", TensorView { sizes: vec![count], strides, ..view }));
                Operation::Constant(op, vec![], first)
            }
            (None, Some(values)) => {
                layer = self.names.own(node);
                Operation::Constant(op, values.iter().map(|value| *value as f32).collect(), first)
            }
            (None, None) => return Err("is given numbers that are computed, not in the file".into()),
        };
        let id = self.push(operation, vec![x.id], layer, tensors);
        Ok(Value::Picture(Picture { id, ..x }))
    }
}
