//! How the sides of a value, as a file counts them, lie in a picture [N, C, H, W] of the engine.
//!
//! A side is a product of axes of the picture, or of parts of them. Transposing and reshaping change which axes make which
//! side, and move no number: only where an operation wants a picture again may channels have to change places.

/// Which axis of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    N,
    C,
    H,
    W,
}

const KINDS: [Kind; 4] = [Kind::N, Kind::C, Kind::H, Kind::W];

/// An axis of a picture, or a part of one: the outer parts come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub kind: Kind,
    pub size: usize,
}

/// The sides of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// In the order of the engine. Those of size 1 may belong to no side.
    axes: Vec<Axis>,
    /// For each side the axes that it is the product of, the outer ones first.
    sides: Vec<Vec<usize>>,
}

/// What must be done to channels so that they lie as a picture's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    Kept,
    /// A shuffle of this many groups.
    Shuffled(usize),
}

impl Form {
    /// A picture, side for axis.
    pub fn plain(sizes: [usize; 4]) -> Self {
        let axes = KINDS.into_iter().zip(sizes).map(|(kind, size)| Axis { kind, size }).collect();
        Form { axes, sides: (0..4).map(|axis| vec![axis]).collect() }
    }

    /// Sizes of all sides.
    pub fn sizes(&self) -> Vec<usize> {
        self.sides.iter().map(|side| self.product(side)).collect()
    }

    pub fn rank(&self) -> usize {
        self.sides.len()
    }

    fn product(&self, side: &[usize]) -> usize {
        side.iter().map(|axis| self.axes[*axis].size).product()
    }

    /// Size of an axis of the picture.
    pub fn size(&self, kind: Kind) -> usize {
        self.axes.iter().filter(|axis| axis.kind == kind).map(|axis| axis.size).product()
    }

    /// Sizes of the picture.
    pub fn picture(&self) -> [usize; 4] {
        KINDS.map(|kind| self.size(kind))
    }

    /// The kinds of the axes that make a side, those of size 1 left out.
    pub fn kinds(&self, side: usize) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.large(side).map(|axis| self.axes[axis].kind).collect();
        kinds.dedup();
        kinds
    }

    fn large(&self, side: usize) -> impl Iterator<Item = usize> {
        self.sides[side].iter().copied().filter(|axis| self.axes[*axis].size > 1)
    }

    /// The kinds of all axes that make a side.
    pub fn all_kinds(&self, side: usize) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.sides[side].iter().map(|axis| self.axes[*axis].kind).collect();
        kinds.dedup();
        kinds
    }

    /// Whether a side is the whole of an axis, or both have size 1.
    pub fn is(&self, side: usize, kind: Kind) -> bool {
        let own: Vec<usize> = self.large(side).collect();
        let all: Vec<usize> =
            (0..self.axes.len()).filter(|axis| self.axes[*axis].kind == kind && self.axes[*axis].size > 1).collect();
        own == all
    }

    /// What has to be done so that the sides are those of a picture; nothing when they cannot become so.
    pub fn order(&self) -> Option<Order> {
        let plain = self.rank() == 4 && [0, 2, 3].iter().all(|side| self.is(*side, KINDS[*side]));
        if !plain {
            return None;
        }
        self.order_of_channels(1)
    }

    /// The same for a side that is made of the channels alone.
    pub fn order_of_channels(&self, side: usize) -> Option<Order> {
        let all = (0..self.axes.len()).filter(|axis| self.axes[*axis].kind == Kind::C && self.axes[*axis].size > 1);
        let all: Vec<usize> = all.collect();
        let own: Vec<usize> = self.large(side).collect();
        if own == all {
            return Some(Order::Kept);
        }
        // Two runs that have changed places.
        let groups = (1..all.len()).find(|cut| [&all[*cut..], &all[..*cut]].concat() == own)?;
        Some(Order::Shuffled(self.product(&all[..groups])))
    }

    /// The same value once its channels have been put in order.
    pub fn ordered(&self) -> Form {
        let mut form = self.clone();
        let all = (0..self.axes.len()).filter(|axis| self.axes[*axis].kind == Kind::C && self.axes[*axis].size > 1);
        let all: Vec<usize> = all.collect();
        let mut place = 0;
        for side in &mut form.sides {
            for axis in side.iter_mut().filter(|axis| all.contains(axis)) {
                // Sizes go with the axes as they lie now.
                *axis = all[place];
                place += 1;
            }
        }
        let order: Vec<usize> = self.sides.iter().flatten().copied().filter(|axis| all.contains(axis)).collect();
        for (axis, from) in all.iter().zip(order) {
            form.axes[*axis].size = self.axes[from].size;
        }
        form
    }

    /// Sides in another order.
    pub fn transposed(&self, order: &[usize]) -> Option<Form> {
        let mut seen = order.to_vec();
        seen.sort_unstable();
        let fits = seen.into_iter().eq(0..self.rank());
        fits.then(|| Form {
            axes: self.axes.clone(),
            sides: order.iter().map(|side| self.sides[*side].clone()).collect(),
        })
    }

    /// The same numbers with other sides; nothing where a side would begin in the middle of an axis.
    pub fn reshaped(&self, sizes: &[usize]) -> Option<Form> {
        let mut axes = self.axes.clone();
        // Places in `axes` change when one is divided.
        let mut queue: Vec<usize> = self.sides.iter().flatten().copied().rev().collect();
        let mut sides: Vec<Vec<usize>> = Vec::new();
        for &wanted in sizes {
            let (mut side, mut size) = (Vec::new(), 1);
            if wanted == 1 {
                // One axis at most, so that each of several such sides can have its own.
                if queue.last().is_some_and(|axis| axes[*axis].size == 1) {
                    side.extend(queue.pop());
                }
                sides.push(side);
                continue;
            }
            while size < wanted {
                let axis = queue.pop()?;
                let (have, need) = (axes[axis].size, wanted / size);
                if wanted % size != 0 {
                    return None;
                }
                if have <= need {
                    side.push(axis);
                    size *= have;
                    continue;
                }
                if need == 0 || !have.is_multiple_of(need) {
                    return None;
                }
                axes[axis].size = need;
                axes.insert(axis + 1, Axis { size: have / need, ..axes[axis] });
                let later = |other: &mut usize| *other += usize::from(*other > axis);
                queue.iter_mut().for_each(later);
                side.iter_mut().for_each(later);
                sides.iter_mut().flatten().for_each(later);
                queue.push(axis + 1);
                side.push(axis);
                size = wanted;
            }
            if size != wanted {
                return None;
            }
            sides.push(side);
        }
        if queue.iter().any(|axis| axes[*axis].size > 1) {
            return None;
        }
        // What is left has size 1 here, though perhaps not for other pictures: it belongs to the last side.
        if let Some(last) = sides.last_mut() {
            last.extend(queue.into_iter().rev());
        }
        Some(Form { axes, sides })
    }

    /// The same with a side of size 1 more.
    pub fn with_side(&self, place: usize) -> Option<Form> {
        (place <= self.rank()).then(|| {
            let mut form = self.clone();
            form.sides.insert(place, vec![]);
            form
        })
    }

    /// The same without a side of size 1.
    pub fn without_side(&self, place: usize) -> Option<Form> {
        (self.sizes().get(place) == Some(&1)).then(|| {
            let mut form = self.clone();
            form.sides.remove(place);
            form
        })
    }

    /// The same with another size of an axis, which is whole.
    pub fn resized(&self, kind: Kind, size: usize) -> Form {
        let mut form = self.clone();
        let mut first = true;
        for axis in form.axes.iter_mut().filter(|axis| axis.kind == kind) {
            axis.size = if std::mem::take(&mut first) { size } else { 1 };
        }
        // An axis that belonged to no side because it had size 1.
        form
    }

    /// The same where a side is all channels: those that were made by an operation over this side.
    pub fn with_channels(&self, side: usize, channels: usize) -> Form {
        let axes = KINDS.map(|kind| Axis { kind, size: if kind == Kind::C { channels } else { self.size(kind) } });
        let own = self.all_kinds(side);
        let sides = (0..self.rank()).map(|other| match other == side {
            true => vec![1],
            false => {
                let kinds = self.all_kinds(other);
                KINDS
                    .iter()
                    .enumerate()
                    .filter(|(_, kind)| kinds.contains(kind) && **kind != Kind::C)
                    .map(|(at, _)| at)
                    .collect()
            }
        });
        let sides = sides.collect();
        let mut form = Form { axes: axes.to_vec(), sides };
        for (axis, kind) in form.axes.iter_mut().zip(KINDS) {
            if kind != Kind::C && own.contains(&kind) {
                axis.size = 1;
            }
        }
        form
    }

    /// Whether two values lie alike side for side, where an axis of size 1 may stand for any.
    pub fn agrees(&self, other: &Form) -> bool {
        let like = |side: usize| {
            let of = |form: &Form| -> Vec<Axis> { form.large(side).map(|axis| form.axes[axis]).collect() };
            let (one, two) = (merged(of(self)), merged(of(other)));
            one.is_empty() || two.is_empty() || one == two
        };
        self.rank() == other.rank() && (0..self.rank()).all(like)
    }
}

/// Parts of one axis side by side are one.
fn merged(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes {
        match merged.last_mut() {
            Some(last) if last.kind == axis.kind => last.size *= axis.size,
            _ => merged.push(axis),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattening_joins_and_shuffling_permutes() {
        let x = Form::plain([1, 512, 1, 1]);
        let flat = x.reshaped(&[1, 512]).expect("fits");
        assert_eq!((flat.sizes(), flat.all_kinds(1)), (vec![1, 512], vec![Kind::C, Kind::H, Kind::W]));
        let flat = Form::plain([2, 8, 3, 5]).reshaped(&[2, 120]).expect("fits");
        assert_eq!(flat.kinds(1), [Kind::C, Kind::H, Kind::W]);
        let x = Form::plain([1, 116, 7, 5]);
        let split = x.reshaped(&[1, 2, 58, 7, 5]).expect("fits");
        assert_eq!(split.sizes(), [1, 2, 58, 7, 5]);
        let shuffled = split.transposed(&[0, 2, 1, 3, 4]).expect("fits").reshaped(&[1, 116, 7, 5]).expect("fits");
        assert_eq!(shuffled.order(), Some(Order::Shuffled(2)));
        assert_eq!(shuffled.ordered().order(), Some(Order::Kept));
        assert_eq!(shuffled.ordered().sizes(), [1, 116, 7, 5]);
        assert_eq!(x.reshaped(&[1, 117, 7, 5]), None);
        assert_eq!(x.reshaped(&[1, 116, 5, 7]), None, "rows would begin in the middle of others");
    }

    #[test]
    fn channels_behind_pixels_are_an_order_of_sides_alone() {
        let x = Form::plain([1, 96, 7, 5]);
        let last = x.transposed(&[0, 2, 3, 1]).expect("fits");
        assert_eq!((last.sizes(), last.order()), (vec![1, 7, 5, 96], None));
        assert!(last.is(3, Kind::C) && last.agrees(&last.clone()) && !last.agrees(&x));
        let wide = last.with_channels(3, 384);
        assert_eq!((wide.sizes(), wide.picture()), (vec![1, 7, 5, 384], [1, 384, 7, 5]));
        let back = wide.transposed(&[0, 3, 1, 2]).expect("fits");
        assert_eq!(back.order(), Some(Order::Kept));
    }

    #[test]
    fn sides_of_size_one_come_and_go() {
        let x = Form::plain([1, 8, 1, 1]);
        let flat = x.without_side(3).and_then(|form| form.without_side(2)).expect("ones");
        assert_eq!(flat.sizes(), [1, 8]);
        let again = flat.with_side(2).and_then(|form| form.with_side(3)).expect("two more");
        assert_eq!((again.sizes(), again.order()), (vec![1, 8, 1, 1], Some(Order::Kept)));
        assert!(again.agrees(&Form::plain([1, 8, 7, 5])));
        assert_eq!(x.without_side(1), None);
    }
}
