//! Arithmetic with the numbers of a file that are not pictures: sizes, axes, factors.

use super::value::{Fixed, Found};
use crate::ops::Binary;
use crate::weights::{Constant, Numbers, TensorView};

/// Sizes and numbers of a result, of which few may be computed.
const MOST: usize = 1 << 12;

/// Places of a tensor that holds one number: more than the largest layer of a network has whose weights were taken out.
const MOST_REPEATED: usize = 1 << 28;

/// a + b, a − b, a · b or a / b of equal sizes, or with one number.
pub(super) fn binary(op: Binary, a: &Fixed, b: &Fixed) -> Found<Fixed> {
    let (Some(a), Some(b)) = (&a.constant, &b.constant) else {
        return Err("computes with tensors of the file, which is not done; let the exporter fold constants".into());
    };
    let count = |constant: &Constant| constant.shape.iter().product::<usize>();
    let shape = match (count(a), count(b)) {
        _ if a.shape == b.shape => a.shape.clone(),
        (_, 1) if a.shape.len() >= b.shape.len() => a.shape.clone(),
        (1, _) if b.shape.len() >= a.shape.len() => b.shape.clone(),
        _ => {
            return Err(
                format!("computes with numbers of sizes {:?} and {:?}, which is not done", a.shape, b.shape).into()
            );
        }
    };
    let count = shape.iter().product::<usize>();
    fn at<T: Copy>(values: &[T], index: usize) -> T {
        values[if values.len() == 1 { 0 } else { index }]
    }
    let numbers = match (&a.numbers, &b.numbers) {
        (Numbers::Int(a), Numbers::Int(b)) => {
            let one = |index: usize| {
                let (a, b) = (at(a, index), at(b, index));
                match op {
                    Binary::Plus => a.checked_add(b),
                    Binary::Minus => a.checked_sub(b),
                    Binary::Times => a.checked_mul(b),
                    // Towards zero, as integers are divided in ONNX.
                    Binary::Over => a.checked_div(b),
                }
            };
            Numbers::Int((0..count).map(one).collect::<Option<_>>().ok_or("computes a size that is impossible")?)
        }
        _ => {
            let (a, b) = (a.floats(), b.floats());
            let one = |index: usize| {
                let (a, b) = (at(&a, index), at(&b, index));
                match op {
                    Binary::Plus => a + b,
                    Binary::Minus => a - b,
                    Binary::Times => a * b,
                    Binary::Over => a / b,
                }
            };
            Numbers::Float((0..count).map(one).collect())
        }
    };
    Ok(Fixed::of(Constant { shape, numbers }))
}

/// Some of the numbers along the only axis, or along the first.
pub(super) fn gather(constant: &Constant, indices: &Constant) -> Found<Fixed> {
    let rows = constant.shape.first().copied().ok_or("takes a part of a single number")?;
    let row: usize = constant.shape[1..].iter().product();
    let wanted = indices.ints().ok_or("takes places that are not whole numbers")?;
    let place = |index: &i64| {
        let index = if *index < 0 { index + rows as i64 } else { *index };
        usize::try_from(index).ok().filter(|index| *index < rows)
    };
    let places: Vec<usize> = wanted.iter().map(place).collect::<Option<_>>().ok_or("takes a part that is not there")?;
    let shape = [&indices.shape[..], &constant.shape[1..]].concat();
    Ok(Fixed::of(Constant { shape, numbers: picked(&constant.numbers, places, row)? }))
}

/// Rows of some numbers.
fn picked(numbers: &Numbers, rows: Vec<usize>, row: usize) -> Found<Numbers> {
    if rows.len().saturating_mul(row) > MOST {
        return Err("computes too many numbers".into());
    }
    fn of<T: Copy>(values: &[T], rows: &[usize], row: usize) -> Vec<T> {
        rows.iter().flat_map(|at| values[at * row..(at + 1) * row].iter().copied()).collect()
    }
    Ok(match numbers {
        Numbers::Int(values) => Numbers::Int(of(values, &rows, row)),
        Numbers::Float(values) => Numbers::Float(of(values, &rows, row)),
    })
}

/// Numbers from one place to another along the first axis.
pub(super) fn slice(constant: &Constant, [start, end, step]: [i64; 3]) -> Found<Fixed> {
    let length = constant.shape.first().copied().ok_or("takes a part of a single number")? as i64;
    if step != 1 {
        return Err("takes every so many of some numbers".into());
    }
    let place = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(0, length);
    let (start, end) = (place(start) as usize, place(end) as usize);
    let rows: Vec<usize> = (start..end.max(start)).collect();
    let row = constant.shape[1..].iter().product();
    let shape = [&[rows.len()], &constant.shape[1..]].concat();
    Ok(Fixed::of(Constant { shape, numbers: picked(&constant.numbers, rows, row)? }))
}

/// Numbers one after another along the first axis.
pub(super) fn concat(parts: &[Constant]) -> Found<Fixed> {
    let tail = parts.first().map(|part| part.shape.get(1..).unwrap_or_default().to_vec()).unwrap_or_default();
    let fits = |part: &Constant| !part.shape.is_empty() && part.shape[1..] == tail[..];
    if !parts.iter().all(fits) {
        return Err("puts numbers of different sizes together".into());
    }
    let shape = [vec![parts.iter().map(|part| part.shape[0]).sum()], tail].concat();
    if shape.iter().product::<usize>() > MOST {
        return Err("computes too many numbers".into());
    }
    let ints: Option<Vec<&[i64]>> = parts.iter().map(Constant::ints).collect();
    let numbers = match ints {
        Some(ints) => Numbers::Int(ints.concat()),
        None => Numbers::Float(parts.iter().flat_map(Constant::floats).collect()),
    };
    Ok(Fixed::of(Constant { shape, numbers }))
}

/// One number in all places: where there are many, they are one tensor of the file, seen with steps of 0.
pub(super) fn repeated(value: &Fixed, sizes: &[i64]) -> Found<Fixed> {
    let shape: Option<Vec<usize>> = sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
    let shape = shape.ok_or("fills impossible sizes")?;
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| *count <= MOST_REPEATED).ok_or("repeats a number more often than is read")?;
    let one = value.constant.as_ref().filter(|one| one.shape.iter().product::<usize>() == 1);
    let constant = one.filter(|_| count <= MOST).map(|one| Constant {
        shape: shape.clone(),
        numbers: match &one.numbers {
            Numbers::Int(values) => Numbers::Int(vec![values[0]; count]),
            Numbers::Float(values) => Numbers::Float(vec![values[0]; count]),
        },
    });
    let view = value.view.as_ref().filter(|_| count > 0).map(|view| TensorView {
        tensor: view.tensor.clone(),
        strides: Some(vec![0; shape.len()]),
        sizes: shape,
    });
    if constant.is_none() && view.is_none() {
        return Err("computes too many numbers".into());
    }
    Ok(Fixed { view, constant })
}

/// Other sizes for the same numbers.
pub(super) fn reshaped(fixed: &Fixed, sizes: &[usize]) -> Found<Fixed> {
    let count: usize = sizes.iter().product();
    if fixed.sizes().is_none_or(|own| own.iter().product::<usize>() != count) {
        return Err("gives numbers sizes that do not hold them".into());
    }
    let constant = fixed.constant.clone().map(|constant| Constant { shape: sizes.to_vec(), ..constant });
    let view = fixed.view.as_ref().and_then(|view| {
        let large = |sizes: &[usize]| sizes.iter().copied().filter(|size| *size > 1).collect::<Vec<_>>();
        match &view.strides {
            None => Some(TensorView { sizes: sizes.to_vec(), ..view.clone() }),
            // Sides of size 1 come and go without a change of order.
            Some(strides) if large(&view.sizes) == large(sizes) => {
                let own = view.sizes.iter().zip(strides).filter(|(size, _)| **size > 1).map(|(_, stride)| *stride);
                let mut own = own.collect::<Vec<_>>().into_iter();
                let strides = sizes.iter().map(|size| if *size > 1 { own.next().unwrap_or(1) } else { 1 }).collect();
                Some(TensorView { sizes: sizes.to_vec(), strides: Some(strides), ..view.clone() })
            }
            Some(_) => None,
        }
    });
    Ok(Fixed { view, constant })
}

/// Sides of a tensor in another order.
pub(super) fn transposed(fixed: &Fixed, order: &[usize]) -> Found<Fixed> {
    let Some(view) = &fixed.view else { return Err("turns numbers that are computed".into()) };
    let mut seen = order.to_vec();
    seen.sort_unstable();
    if !seen.into_iter().eq(0..view.sizes.len()) {
        return Err("has an order of sides that is none".into());
    }
    let strides = view.strides.clone().unwrap_or_else(|| {
        let after = |side: usize| view.sizes[side + 1..].iter().product();
        (0..view.sizes.len()).map(after).collect()
    });
    let sizes = order.iter().map(|side| view.sizes[*side]).collect();
    let strides = Some(order.iter().map(|side| strides[*side]).collect());
    // One number is the same in any order.
    let constant = fixed.constant.clone().filter(|constant| constant.shape.iter().product::<usize>() == 1);
    Ok(Fixed { view: Some(TensorView { sizes, strides, ..view.clone() }), constant })
}
