//! Operations with weights, and those that are particular about which side they go along.

use std::sync::Arc;

use super::form::{Form, Kind, Order};
use super::resolve::Resolver;
use super::step::Operation;
use super::value::{Fixed, Found, Picture, Refusal, Value};
use crate::ops::{Conv2d, LocalResponseNorm, Op, Pad, Softmax, Window};
use crate::tensor::Shape;
use crate::weights::{Node, TensorView};

impl Resolver<'_> {
    /// A convolution of pictures.
    pub fn conv(&mut self, node: &Node, x: &str, weight: &str, bias: Option<&str>, window: Window) -> Found {
        let x = self.padded_plain(node, x)?;
        let weight = self.view(weight)?;
        let [c_out, c_in, kh, kw] = weight.sizes[..] else {
            let rank = weight.sizes.len().saturating_sub(2);
            return Err(format!("is a convolution in {rank} dimensions; those in 2 are read").into());
        };
        let mut window = window;
        for (ends, more) in window.padding.iter_mut().zip(x.padding) {
            ends.iter_mut().zip(more).for_each(|(end, more)| *end += more);
        }
        let [n, c, h, w] = x.form.picture();
        let shapes = [Shape::new(n, c, h, w), Shape::new(c_out, c_in, kh, kw)];
        let shape = Conv2d::of(window).output_shape(&shapes);
        let shape = shape.map_err(|error| Refusal::Given(format!("does not fit: {error}")))?;
        let bias = bias.map(|bias| self.tensor(bias, &[c_out])).transpose()?;
        let layer = self.names.with_tensors(node, &weight.tensor);
        let tensors = [Some(("weight", weight)), bias.map(|bias| ("bias", bias))].into_iter().flatten().collect();
        let id = self.push(Operation::Conv(window), vec![x.id], layer, tensors);
        Ok(Value::Picture(Picture { id, form: Form::plain(shape.0), padding: [[0; 2]; 2] }))
    }

    /// A batch norm of pictures with frozen statistics: weight, bias, mean, variance.
    pub fn batch_norm(&mut self, node: &Node, x: &str, tensors: [&str; 4], eps: f64) -> Found {
        let x = match self.picture(x)? {
            // Of vectors it is the same.
            flat if flat.form.rank() == 2 && flat.form.is(1, Kind::C) => flat,
            _ => self.plain(node, x)?,
        };
        let c = x.form.size(Kind::C);
        let [weight, bias, mean, var] = tensors.map(|name| self.tensor(name, &[c]));
        let (weight, bias, mean, var) = (weight?, bias?, mean?, var?);
        let layer = self.names.with_tensors(node, &weight.tensor);
        let tensors = vec![("weight", weight), ("bias", bias), ("running_mean", mean), ("running_var", var)];
        let id = self.push(Operation::BatchNorm(eps as f32), vec![x.id], layer, tensors);
        Ok(Value::Picture(Picture { id, ..x }))
    }

    /// x · weight' + bias along the last side; `weight` is [out, in].
    pub fn linear(&mut self, node: &Node, x: &str, weight: TensorView, bias: Option<&str>) -> Found {
        let mut given = self.picture(x)?;
        let last = given.form.rank().checked_sub(1).ok_or("is given a single number")?;
        given.without_padding()?;
        if given.form.order_of_channels(last) != Some(Order::Kept) && given.form.all_kinds(last) == [Kind::C] {
            given = self.plain(node, x)?;
        }
        let [out, inputs] = weight.sizes[..] else {
            return Err(format!("has a weight of sizes {:?}, which is no matrix", weight.sizes).into());
        };
        let size = given.form.sizes()[last];
        if size != inputs {
            return Err(format!("has a weight for {inputs} numbers and is given {size}").into());
        }
        let others_are_pixels = (0..last).any(|side| {
            let kinds = given.form.all_kinds(side);
            kinds.contains(&Kind::H) || kinds.contains(&Kind::W)
        });
        let all = given.form.all_kinds(last);
        let pixels = match all[..] {
            [Kind::C] => others_are_pixels,
            [Kind::C, Kind::H, Kind::W] => false,
            // A side that is a single number may be any.
            _ if given.form.is(last, Kind::C) => others_are_pixels,
            _ => {
                return Err(
                    "goes along other sides than the channels, or than channels, rows and columns in this order".into(),
                );
            }
        };
        let bias = bias.map(|bias| self.tensor(bias, &[out])).transpose()?;
        let layer = self.names.with_tensors(node, &weight.tensor);
        let tensors = [Some(("weight", weight)), bias.map(|bias| ("bias", bias))].into_iter().flatten().collect();
        let form = given.form.with_channels(last, out);
        let id = self.push(Operation::Linear { pixels }, vec![given.id], layer, tensors);
        Ok(Value::Picture(Picture { id, form, ..given }))
    }

    /// A product with a matrix [in, out] of the file.
    pub fn matmul(&mut self, node: &Node, a: &str, b: &str) -> Found {
        match (self.get(a)?, self.get(b)?) {
            (Value::Picture(_), Value::Picture(_)) => Err(Refusal::Attention),
            (Value::Picture(_), Value::Fixed(Fixed { view: Some(view), .. })) => {
                let weight = turned(view)?;
                self.linear(node, a, weight, None)
            }
            _ => Err("is a product of another kind than that of a value with a matrix of the file".into()),
        }
    }

    /// A layer norm along the last side, which is that of the channels.
    pub fn layer_norm(&mut self, node: &Node, x: &str, affine: [Option<&str>; 2], eps: f64, sides: usize) -> Found {
        let x = self.picture(x)?;
        let last = x.form.rank().checked_sub(1).ok_or("is given a single number")?;
        let fits = sides == 1 && x.form.is(last, Kind::C) && x.form.order_of_channels(last) == Some(Order::Kept);
        if !fits || x.padding != [[0; 2]; 2] {
            return Err("goes along other sides than the channels".into());
        }
        let c = x.form.size(Kind::C);
        let [weight, bias] = affine;
        let weight = weight.map(|name| self.tensor(name, &[c])).transpose()?;
        let bias = bias.map(|name| self.tensor(name, &[c])).transpose()?;
        let name = weight.as_ref().map(|view| view.tensor.clone()).unwrap_or_default();
        let layer = if name.is_empty() { self.names.own(node) } else { self.names.with_tensors(node, &name) };
        let tensors =
            [weight.map(|view| ("weight", view)), bias.map(|view| ("bias", view))].into_iter().flatten().collect();
        let id = self.push(Operation::LayerNorm(eps as f32), vec![x.id], layer, tensors);
        Ok(Value::Picture(Picture { id, ..x }))
    }

    /// Softmax along the channels.
    pub fn softmax(&mut self, node: &Node, name: &str, side: i64) -> Found {
        let x = self.picture(name)?;
        let side = super::moves::place(side, x.form.rank())?;
        if !x.form.is(side, Kind::C) {
            return Err("goes along another side than the channels".into());
        }
        self.apply(node, Operation::Apply(Arc::new(Softmax)), x)
    }

    /// Normalisation by neighbouring channels.
    pub fn local_response_norm(&mut self, node: &Node, name: &str, op: LocalResponseNorm) -> Found {
        self.pool(node, name, op)
    }

    /// A number around a picture: [top, left] and [bottom, right]. A convolution takes zeros in.
    pub fn pad(&mut self, node: &Node, name: &str, padding: [[usize; 2]; 2], value: f32) -> Found {
        let x = self.picture(name)?;
        if x.padding != [[0; 2]; 2] {
            return Err("puts zeros around a picture twice".into());
        }
        let deferred = value == 0.0 && node.outputs.first().is_some_and(|made| !self.read_by_others.contains(made));
        if deferred {
            return Ok(Value::Picture(Picture { padding, ..x }));
        }
        let [[top, left], [bottom, right]] = padding;
        let layer = self.names.own(node);
        let op = Pad { left, top, right, bottom, value };
        let id = self.push(Operation::Apply(Arc::new(op)), vec![x.id], layer, vec![]);
        let (h, w) = (x.form.size(Kind::H) + top + bottom, x.form.size(Kind::W) + left + right);
        let form = x.form.resized(Kind::H, h).resized(Kind::W, w);
        Ok(Value::Picture(Picture { id, form, ..x }))
    }
}

/// A matrix [in, out] as [out, in].
pub(super) fn turned(view: TensorView) -> Found<TensorView> {
    let [rows, columns] = view.sizes[..] else {
        return Err(format!("has a weight of sizes {:?}, which is no matrix", view.sizes).into());
    };
    let strides = view.strides.clone().unwrap_or_else(|| vec![columns, 1]);
    Ok(TensorView { sizes: vec![columns, rows], strides: Some(vec![strides[1], strides[0]]), ..view })
}
