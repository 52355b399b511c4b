//! Functions that the engine computes in several steps, or not at all because nothing is behind them.

use std::sync::Arc;

use super::form::Kind;
use super::moves::place;
use super::resolve::Resolver;
use super::step::{Operation, clip};
use super::value::{Found, Picture, Refusal, Value};
use crate::ops::{Activation, Binary, Relu};
use crate::weights::Node;

/// α and γ of SELU.
///
/// **Reference** Klambauer et al., Self-Normalizing Neural Networks, 2017, equation 14, in the digits of ONNX and PyTorch.
const SELU: [f64; 2] = [1.673_263_242_354_377_2, 1.050_700_987_355_480_5];

impl Resolver<'_> {
    /// Steps one after another on a value as it lies.
    pub fn chain(&mut self, node: &Node, x: Picture, steps: impl IntoIterator<Item = Operation>) -> Found<Picture> {
        x.without_padding()?;
        let layer = self.names.own(node);
        Ok(steps.into_iter().fold(x, |x, step| {
            let id = self.push(step, vec![x.id], layer.clone(), vec![]);
            Picture { id, ..x }
        }))
    }

    /// An operation on two values that lie alike.
    fn both(&mut self, node: &Node, op: Binary, a: &Picture, b: &Picture) -> Value {
        let layer = self.names.own(node);
        let id = self.push(Operation::Apply(Arc::new(op)), vec![a.id, b.id], layer, vec![]);
        Value::Picture(Picture { id, ..a.clone() })
    }

    /// γ · x where it is positive, else γ · α · (exp(x) − 1): ONNX's Selu, whose numbers a file may choose.
    pub fn selu(&mut self, node: &Node, name: &str, alpha: Option<f64>, gamma: Option<f64>) -> Found {
        let (alpha, gamma) = (alpha.unwrap_or(SELU[0]) as f32, gamma.unwrap_or(SELU[1]) as f32);
        let x = self.picture(name)?;
        let steps = [Operation::Apply(Arc::new(Activation::Elu { alpha })), times(gamma)];
        self.chain(node, x, steps).map(Value::Picture)
    }

    /// x where it is positive, else α · (exp(x / α) − 1).
    pub fn celu(&mut self, node: &Node, name: &str, alpha: f64) -> Found {
        if alpha == 0.0 {
            return Err("has an alpha of 0".into());
        }
        let x = self.picture(name)?;
        let elu = Operation::Apply(Arc::new(Activation::Elu { alpha: 1.0 }));
        self.chain(node, x, [times((1.0 / alpha) as f32), elu, times(alpha as f32)]).map(Value::Picture)
    }

    /// x · tanh(softplus(x)).
    pub fn mish(&mut self, node: &Node, name: &str) -> Found {
        let x = self.picture(name)?;
        let softplus = Activation::Softplus { beta: 1.0, threshold: 20.0 };
        let steps = [softplus, Activation::Tanh].map(|step| Operation::Apply(Arc::new(step)));
        let share = self.chain(node, x.clone(), steps)?;
        Ok(self.both(node, Binary::Times, &x, &share))
    }

    /// x where it is positive, else slope · x, with one slope or one for each channel: max(x, 0) + slope · min(x, 0).
    pub fn leaky(&mut self, node: &Node, name: &str, slopes: &str) -> Found {
        let x = self.picture(name)?;
        let Value::Fixed(slopes) = self.get(slopes)? else {
            return Err("has slopes that depend on the picture".into());
        };
        let known = slopes.constant.as_ref().map(|constant| constant.floats());
        if let Some([slope]) = known.as_deref() {
            let slope = Operation::Apply(Arc::new(Activation::LeakyRelu { slope: *slope as f32 }));
            return self.apply(node, slope, x);
        }
        let above = self.chain(node, x.clone(), [Operation::Apply(Arc::new(Relu))])?;
        let below = self.chain(node, x, [clip(f32::NEG_INFINITY, 0.0)])?;
        let Value::Picture(below) = self.with_numbers(node, Binary::Times, below, slopes, false)? else {
            return Err(Refusal::Unknown);
        };
        Ok(self.both(node, Binary::Plus, &above, &below))
    }

    /// A value limited by a number from one side: the largest, or the least, of the two.
    pub fn limited(&mut self, node: &Node, [a, b]: [&str; 2], largest: bool) -> Found {
        let number = |value: &Value| match value {
            Value::Fixed(fixed) => fixed.constant.as_ref().map(|constant| constant.floats()),
            _ => None,
        };
        let (a, b) = (self.get(a)?, self.get(b)?);
        let numbers = number(&a).or(number(&b));
        let (Value::Picture(x), Some([limit])) =
            (if matches!(a, Value::Picture(_)) { a } else { b }, numbers.as_deref())
        else {
            return Err("compares values with something else than one number".into());
        };
        let limit = *limit as f32;
        let step = if largest { clip(limit, f32::INFINITY) } else { clip(f32::NEG_INFINITY, limit) };
        self.apply(node, step, x)
    }

    /// A function of the logits that is the end of the network, where it is left out as a softmax is.
    pub fn end(&mut self, node: &Node, name: &str, side: i64, function: &'static str) -> Found {
        let x = self.picture(name)?;
        x.without_padding()?;
        let side = place(side, x.form.rank())?;
        if !x.form.is(side, Kind::C) {
            return Err("goes along another side than the channels".into());
        }
        if !node.outputs.first().is_some_and(|made| self.program.outputs.contains(made)) {
            return Err("stands inside of the network; it is read at its end, where it is left out".into());
        }
        self.behind = Some(function);
        Ok(Value::Picture(x))
    }
}

fn times(factor: f32) -> Operation {
    Operation::Constant(Binary::Times, vec![factor], false)
}
