//! Operations with a gradient, in every variant, against the oracle.

use super::bench::Bench;
use super::cases::{Case, Tiles, random};
use super::row::{Finding, Tally};
use crate::Result;
use crate::device::{Device, Tile, Tiling, Tuning, Variant};
use crate::ops::{Backward, Finish, Forward, Op, View};
use crate::oracle::{self, Number, Values, exact};
use crate::tensor::{Array, Layout, Shape};

/// What the oracle says of a case.
struct Answers {
    result: Values,
    changed: Vec<(usize, Values)>,
    grads: Vec<Option<Values>>,
    /// An addend, and the first gradient with it and zero where the value is not positive.
    finished: Option<(Array, Values)>,
}

impl Answers {
    fn of(case: &Case) -> Option<Answers> {
        let formula = oracle::of(&*case.op)?;
        let inputs: Vec<Array> = case.inputs.iter().map(|(array, _)| array.clone()).collect();
        let grads = formula.gradients(&inputs, &case.upstream);
        let finished = grads[0].as_ref().filter(|_| case.op.finishes()).map(|grad| {
            let (x, addend) = (&inputs[0], random(1, inputs[0].shape));
            let masked = |i| if exact(x, i).value > 0.0 { grad.at(i) + exact(&addend, i) } else { Number::ZERO };
            let values = Values::fill(x.shape, masked);
            (addend, values)
        });
        Some(Answers { result: formula.result(&inputs), changed: formula.changed(&inputs), grads, finished })
    }
}

/// Runs a case in its variants.
///
/// # Errors
/// Those of the device where nothing was recorded yet.
pub(super) fn examine(device: &Device, case: &Case, number: usize, thorough: bool, tally: &mut Tally) -> Result<()> {
    let Some(answers) = Answers::of(case) else {
        let trouble = Some("there is no formula to compare it with".to_owned());
        let finding = Finding { share: f64::INFINITY, trouble, at: case.about() };
        tally.enter(&[case.op.name().to_owned()], "", finding);
        return Ok(());
    };
    for tuning in tunings(device, case, number, thorough) {
        if tally.lost {
            return Ok(());
        }
        run(device, case, &answers, tuning, tally)?;
    }
    Ok(())
}

/// The tunings in which a case is tried: this adapter's own, without what only some adapters have, and tiles.
fn tunings(device: &Device, case: &Case, number: usize, thorough: bool) -> Vec<Tuning> {
    let own = Tuning { tiling: Tiling::Always(Variant::Registers), ..device.tuning() };
    let shapes: Vec<Shape> = case.inputs.iter().map(|(array, _)| array.shape).collect();
    let variants = case.op.variants(&shapes);
    let mut all = vec![own.clone()];
    if own.subgroup && !variants.is_empty() {
        all.push(Tuning { subgroup: false, ..own.clone() });
    }
    let chosen = if thorough { variants } else { some(&variants, case.tiles, number) };
    all.extend(chosen.into_iter().map(|variant| Tuning { tiling: Tiling::Always(variant), ..own.clone() }));
    all
}

/// Of each tile that is to be tried one variant with whole sums, and one with as many parts as the case's number leads to.
fn some(variants: &[Variant], tiles: Tiles, number: usize) -> Vec<Variant> {
    let tried = match tiles {
        Tiles::Each => Tile::ALL.to_vec(),
        Tiles::One(tile) => vec![tile],
        Tiles::Next => vec![Tile::ALL[number % Tile::ALL.len()]],
    };
    let of_tile = |tile: Tile| {
        let (whole, parts): (Vec<_>, Vec<_>) = (variants.iter().copied())
            .filter(|variant| matches!(variant, Variant::Tiled(other, _) if *other == tile))
            .partition(|variant| matches!(variant, Variant::Tiled(_, 1)));
        let part = parts.get(number % parts.len().max(1)).copied();
        match tiles {
            // One or the other.
            Tiles::Next if (number / Tile::ALL.len()).is_multiple_of(2) => whole.into_iter().chain(None),
            Tiles::Next => Vec::new().into_iter().chain(part),
            _ => whole.into_iter().chain(part),
        }
    };
    tried.into_iter().flat_map(of_tile).collect()
}

fn run(device: &Device, case: &Case, answers: &Answers, tuning: Tuning, tally: &mut Tally) -> Result<()> {
    let tiling = tuning.tiling.clone();
    let op: &dyn Op = &*case.op;
    let mut bench = Bench::new(device, tuning);
    let shapes: Vec<Shape> = case.inputs.iter().map(|(array, _)| array.shape).collect();
    // Pictures of the first argument's shape lie as it does; vectors over channels and filters are never parts of others.
    let margin = |index: usize| {
        let alike = shapes[index] == shapes[0] && shapes[0].pixels() > 1;
        if index == 0 || alike { case.margin } else { 0 }
    };
    let inputs: Vec<View> = (case.inputs.iter().enumerate())
        .map(|(index, (array, layout))| bench.put(array, *layout, margin(index)))
        .collect::<Result<_>>()?;
    let output = bench.room(op.output_shape(&shapes)?, Layout::Picture, case.margin)?;
    let saved: Vec<View> =
        op.saved(&shapes).into_iter().map(|shape| bench.room(shape, Layout::Picture, 0)).collect::<Result<_>>()?;
    let grad_output = bench.put(&case.upstream, Layout::Picture, case.margin)?;
    bench.pass();
    op.forward(&mut bench.recorder, &Forward { inputs: &inputs, output, saved: &saved });
    bench.expect("result", output, answers.result.clone());
    for (index, values) in &answers.changed {
        bench.expect(&format!("argument {index} afterwards"), inputs[*index], values.clone());
    }
    let backward = |bench: &mut Bench, index: usize, finish: Finish, what: &str, values: &Values| -> Result<()> {
        let grad = bench.room(shapes[index], case.inputs[index].1, margin(index))?;
        let mut grads = vec![None; inputs.len()];
        grads[index] = Some(grad);
        bench.pass();
        let pass = Backward { inputs: &inputs, output, saved: &saved, grad_output, grads: &grads, finish };
        op.backward(&mut bench.recorder, &pass)?;
        bench.expect(what, grad, values.clone());
        Ok(())
    };
    for (index, values) in answers.grads.iter().enumerate() {
        if let Some(values) = values.as_ref().filter(|_| !op.passes_gradient(index)) {
            let what = format!("gradient of argument {index}");
            backward(&mut bench, index, Finish::default(), &what, values)?;
        }
    }
    if let Some((addend, values)) = &answers.finished {
        let addend = bench.put(addend, Layout::Picture, case.margin)?;
        let finish = Finish { addend: Some(addend), mask: true };
        backward(&mut bench, 0, finish, "gradient of argument 0, added to another and masked", values)?;
    }
    let variant = |overrides: &[String]| match tiling {
        // Sizes of a tile say less than its name.
        Tiling::Always(Variant::Tiled(tile, _)) if !overrides.is_empty() => Variant::Tiled(tile, 1).to_string(),
        _ => {
            let mut distinct = overrides.to_vec();
            distinct.dedup();
            distinct.join(", ")
        }
    };
    bench.examine(&format!("{}, {tiling}", case.about()), &variant, tally);
    Ok(())
}
