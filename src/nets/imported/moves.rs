//! Operations that move sides about, take parts and put parts together: of pictures these are forms, of numbers new numbers.

use std::sync::Arc;

use super::fold;
use super::form::{Form, Kind, Order};
use super::resolve::Resolver;
use super::step::Operation;
use super::value::{Fixed, Found, Picture, Refusal, Value};
use crate::ops::{AdaptiveAvgPool2d, Channels, Concat};
use crate::weights::{Constant, Node, Numbers};

/// A place among so many, counted from the end where it is negative.
pub(super) fn place(at: i64, count: usize) -> Found<usize> {
    let found = if at < 0 { at.checked_add(count as i64) } else { Some(at) };
    let found = found.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < count);
    found.ok_or_else(|| Refusal::Given(format!("names side {at} of {count}")))
}

fn moved(x: Picture, form: Option<Form>, what: &str) -> Found {
    let form = form.ok_or_else(|| Refusal::Given(format!("{what} pixels or channels in a way that is not read")))?;
    Ok(Value::Picture(Picture { form, ..x }))
}

impl Resolver<'_> {
    /// Other sizes for the same numbers: −1 is what is left, and 0, where `zero_copies`, the size that was there.
    pub fn reshape(&mut self, name: &str, sizes: &[i64], zero_copies: bool) -> Found {
        let value = self.get(name)?;
        let own = sizes_of(&value)?;
        let count: usize = own.iter().product();
        let mut wanted = Vec::new();
        let mut rest = None;
        for (side, &size) in sizes.iter().enumerate() {
            wanted.push(match size {
                0 if zero_copies => *own.get(side).ok_or("keeps the size of a side that is not there")?,
                -1 if rest.is_none() => {
                    rest = Some(side);
                    1
                }
                size => usize::try_from(size).map_err(|_| Refusal::Given(format!("wants the sizes {sizes:?}")))?,
            });
        }
        let known =
            wanted.iter().try_fold(1usize, |product, size| product.checked_mul(*size)).filter(|known| *known > 0);
        let known = known.ok_or_else(|| Refusal::Given(format!("wants the sizes {sizes:?}")))?;
        if let Some(side) = rest {
            wanted[side] = count / known;
        }
        if wanted.iter().product::<usize>() != count {
            return Err(format!("gives a value of sizes {own:?} the sizes {sizes:?}, which hold another number").into());
        }
        self.resized(value, &wanted)
    }

    fn resized(&self, value: Value, sizes: &[usize]) -> Found {
        match value {
            Value::Picture(x) => {
                let form = x.form.reshaped(sizes);
                moved(x, form, "divides or joins")
            }
            Value::Fixed(fixed) => fold::reshaped(&fixed, sizes).map(Value::Fixed),
            Value::Unknown => Err(Refusal::Unknown),
        }
    }

    /// One side for those from `first` to `last`.
    pub fn flatten(&mut self, name: &str, first: i64, last: i64) -> Found {
        let value = self.get(name)?;
        let own = sizes_of(&value)?;
        if own.is_empty() {
            return Ok(value);
        }
        let (first, last) = (place(first, own.len())?, place(last, own.len())?);
        if first > last {
            return Err("joins sides from a later one to an earlier one".into());
        }
        let joined = own[first..=last].iter().product();
        let sizes = [&own[..first], &[joined], &own[last + 1..]].concat();
        self.resized(value, &sizes)
    }

    /// Sides in another order.
    pub fn transpose(&mut self, name: &str, order: &[i64]) -> Found {
        let value = self.get(name)?;
        let rank = sizes_of(&value)?.len();
        let order = order.iter().map(|side| place(*side, rank)).collect::<Found<Vec<usize>>>()?;
        match value {
            Value::Picture(x) => {
                let form = x.form.transposed(&order);
                moved(x, form, "turns")
            }
            Value::Fixed(fixed) => fold::transposed(&fixed, &order).map(Value::Fixed),
            Value::Unknown => Err(Refusal::Unknown),
        }
    }

    /// Sides of size 1 more, at these places of the result.
    pub fn unsqueeze(&mut self, name: &str, places: &[i64]) -> Found {
        let mut value = self.get(name)?;
        let rank = sizes_of(&value)?.len() + places.len();
        let mut places = places.iter().map(|at| place(*at, rank)).collect::<Found<Vec<usize>>>()?;
        places.sort_unstable();
        for at in places {
            value = match value {
                Value::Picture(x) => {
                    let form = x.form.with_side(at);
                    moved(x, form, "moves")?
                }
                Value::Fixed(fixed) => {
                    let mut sizes = fixed.sizes().unwrap_or_default();
                    sizes.insert(at.min(sizes.len()), 1);
                    Value::Fixed(fold::reshaped(&fixed, &sizes)?)
                }
                Value::Unknown => return Err(Refusal::Unknown),
            };
        }
        Ok(value)
    }

    /// Without sides of size 1: these, or all of them.
    pub fn squeeze(&mut self, name: &str, places: Option<&[i64]>) -> Found {
        let mut value = self.get(name)?;
        let own = sizes_of(&value)?;
        let mut places = match places {
            Some(places) => places.iter().map(|at| place(*at, own.len())).collect::<Found<Vec<usize>>>()?,
            None => (0..own.len()).collect(),
        };
        places.retain(|at| own[*at] == 1);
        places.sort_unstable();
        for at in places.into_iter().rev() {
            value = match value {
                Value::Picture(x) => {
                    let form = x.form.without_side(at);
                    moved(x, form, "drops")?
                }
                Value::Fixed(fixed) => {
                    let mut sizes = fixed.sizes().unwrap_or_default();
                    sizes.remove(at);
                    Value::Fixed(fold::reshaped(&fixed, &sizes)?)
                }
                Value::Unknown => return Err(Refusal::Unknown),
            };
        }
        Ok(value)
    }

    /// Sizes of a value, as numbers.
    pub fn shape(&mut self, name: &str) -> Found {
        let sizes: Vec<i64> = sizes_of(&self.get(name)?)?.into_iter().map(|size| size as i64).collect();
        Ok(Value::Fixed(Fixed::of(Constant { shape: vec![sizes.len()], numbers: Numbers::Int(sizes) })))
    }

    /// Values side by side.
    pub fn concat(&mut self, node: &Node, names: &[String], axis: i64) -> Found {
        let values = names.iter().map(|name| self.get(name)).collect::<Found<Vec<Value>>>()?;
        if !values.iter().any(|value| matches!(value, Value::Picture(_))) {
            let parts = names.iter().map(|name| self.constant(name)).collect::<Found<Vec<Constant>>>()?;
            return fold::concat(&parts).map(Value::Fixed);
        }
        let mut pictures = names.iter().map(|name| self.picture(name)).collect::<Found<Vec<Picture>>>()?;
        let first = pictures.first().ok_or("puts nothing together")?.clone();
        let side = place(axis, first.form.rank())?;
        let ordered = |x: &Picture| x.form.order_of_channels(side) == Some(Order::Kept);
        if !pictures.iter().all(ordered) {
            pictures = names.iter().map(|name| self.plain(node, name)).collect::<Found<Vec<Picture>>>()?;
        }
        let mut channels = 0;
        for x in &pictures {
            let whole = x.form.rank() == first.form.rank() && ordered(x) && x.form.is(side, Kind::C);
            let alike = [Kind::N, Kind::H, Kind::W].iter().all(|kind| x.form.size(*kind) == first.form.size(*kind));
            let lies = (0..first.form.rank())
                .filter(|other| *other != side)
                .all(|other| x.form.kinds(other) == first.form.kinds(other));
            if !whole || !alike || !lies || x.padding != [[0; 2]; 2] {
                return Err("puts values together along another side than their channels".into());
            }
            channels += x.form.size(Kind::C);
        }
        let layer = self.names.own(node);
        let ids = pictures.iter().map(|x| x.id).collect();
        let id = self.push(Operation::Apply(Arc::new(Concat)), ids, layer, vec![]);
        let form = pictures[0].form.with_channels(side, channels);
        Ok(Value::Picture(Picture { id, form, ..first }))
    }

    /// What lies between two places along a side.
    pub fn slice(&mut self, node: &Node, name: &str, side: i64, [start, end, step]: [i64; 3]) -> Found {
        let value = self.get(name)?;
        let x = match value {
            Value::Picture(x) => x,
            Value::Fixed(Fixed { constant: Some(constant), .. }) if place(side, constant.shape.len())? == 0 => {
                return fold::slice(&constant, [start, end, step]).map(Value::Fixed);
            }
            _ => return Err("takes a part of a tensor of the file, which is not done".into()),
        };
        let side = place(side, x.form.rank())?;
        let length = x.form.sizes()[side];
        let at =
            |at: i64| (if at < 0 { at.saturating_add(length as i64) } else { at }).clamp(0, length as i64) as usize;
        let (start, end) = (at(start), at(end));
        if (start, end, step) == (0, length, 1) {
            return Ok(Value::Picture(x));
        }
        if step != 1 || end <= start {
            return Err("takes every so many pixels or channels, or turns their order round".into());
        }
        self.channels(node, name, side, start, end - start)
    }

    /// Some channels.
    pub fn channels(&mut self, node: &Node, name: &str, side: usize, first: usize, count: usize) -> Found {
        let mut x = self.picture(name)?;
        if x.form.order_of_channels(side) != Some(Order::Kept) {
            x = self.plain(node, name)?;
        }
        if !x.form.is(side, Kind::C) || x.padding != [[0; 2]; 2] {
            return Err("takes a part of a picture's pixels".into());
        }
        let layer = self.names.own(node);
        let id = self.push(Operation::Apply(Arc::new(Channels::slice(first, count))), vec![x.id], layer, vec![]);
        let form = x.form.with_channels(side, count);
        Ok(Value::Picture(Picture { id, form, ..x }))
    }

    /// Parts of a side, one after another.
    pub fn split(&mut self, node: &Node, name: &str, side: i64, sizes: &[usize]) -> Found<Vec<Value>> {
        let mut first = 0;
        let mut parts = Vec::new();
        for size in sizes {
            parts.push(self.slice(node, name, side, [first as i64, (first + size) as i64, 1])?);
            first += size;
        }
        Ok(parts)
    }

    /// One row along a side, which is then gone.
    pub fn select(&mut self, node: &Node, name: &str, side: i64, index: i64) -> Found {
        let x = self.picture(name)?;
        let side = place(side, x.form.rank())?;
        let count = x.form.sizes()[side];
        let index = place(index, count)?;
        let part = match count {
            1 => Value::Picture(x),
            _ => self.channels(node, name, side, index, 1)?,
        };
        let Value::Picture(x) = part else { return Err(Refusal::Unknown) };
        let form = x.form.without_side(side);
        moved(x, form, "takes")
    }

    /// The mean or the largest value over some sides, which are those of the pixels.
    pub fn over_pixels(&mut self, node: &Node, name: &str, sides: &[i64], keep: bool, over: Over) -> Found {
        let x = self.picture(name)?;
        let mut sides = sides.iter().map(|side| place(*side, x.form.rank())).collect::<Found<Vec<usize>>>()?;
        let mut kinds: Vec<Kind> = sides.iter().flat_map(|side| x.form.all_kinds(*side)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let pixels = match kinds[..] {
            [Kind::H, Kind::W] => true,
            // What is one pixel already is its own mean.
            [] => false,
            _ => return Err("goes over other sides than those of the pixels".into()),
        };
        x.without_padding()?;
        let mut value = x;
        if pixels {
            let layer = self.names.own(node);
            let operation = match over {
                Over::Mean => Operation::Apply(Arc::new(AdaptiveAvgPool2d { output: [1; 2] })),
                Over::Largest => Operation::Largest,
            };
            value.id = self.push(operation, vec![value.id], layer, vec![]);
            value.form = value.form.resized(Kind::H, 1).resized(Kind::W, 1);
        }
        sides.sort_unstable();
        if !keep {
            for side in sides.into_iter().rev() {
                value.form = value.form.without_side(side).ok_or(Refusal::Unknown)?;
            }
        }
        Ok(Value::Picture(value))
    }
}

/// What is taken of all pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Mean,
    Largest,
}

/// Sizes of a value.
pub(super) fn sizes_of(value: &Value) -> Found<Vec<usize>> {
    match value {
        Value::Picture(x) => Ok(x.form.sizes()),
        Value::Fixed(fixed) => fixed.sizes().ok_or_else(|| "is given a value whose sizes are not known".into()),
        Value::Unknown => Err(Refusal::Unknown),
    }
}
