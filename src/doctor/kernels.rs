//! Operations with a gradient, in every variant, against the oracle.

use std::sync::Arc;

use super::bench::Bench;
use super::cases::{Case, Tiles, random};
use super::row::{Finding, Tally};
use crate::Result;
use crate::device::{Choices, Device, Tile, Tiling, Tuning, Variant};
use crate::ops::{Backward, Finish, Forward, Live, Op, Problem, View};
use crate::oracle::{self, Number, Values, exact};
use crate::tensor::{Array, Layout, Shape};

/// Masks that a gradient is tried with.
const MASKS: [Live; 2] = [Live::Positive, Live::Between([-0.5, 0.25])];

/// What the oracle says of a case.
struct Answers {
    result: Values,
    changed: Vec<(usize, Values)>,
    grads: Vec<Option<Values>>,
    /// An addend, and for each mask the first gradient with it and zero where the value is not live.
    finished: Option<(Array, Vec<(Live, Values)>)>,
}

impl Answers {
    fn of(case: &Case) -> Option<Answers> {
        let formula = oracle::of(&*case.op)?;
        let inputs: Vec<Array> = case.inputs.iter().map(|(array, _)| array.clone()).collect();
        let grads = formula.gradients(&inputs, &case.upstream);
        let finished = grads[0].as_ref().filter(|_| case.op.finishes()).map(|grad| {
            let (x, addend) = (&inputs[0], random(1, inputs[0].shape));
            let masked = MASKS.map(|live| {
                let kept =
                    |i| if live.holds(exact(x, i).value) { grad.at(i) + exact(&addend, i) } else { Number::ZERO };
                (live, Values::fill(x.shape, kept))
            });
            (addend, masked.into())
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
    for (tuning, tile) in tunings(device, case, number, thorough) {
        if tally.lost {
            return Ok(());
        }
        run(device, case, &answers, tuning, tile, tally)?;
    }
    Ok(())
}

/// Of each pass the candidate with this tile whose sums are taken in the fewest parts, or in one of the other numbers of parts.
#[derive(Clone, Copy, Debug)]
struct OfTile {
    tile: Tile,
    /// 0 for the fewest; others count up through the rest, round and round.
    parts: usize,
}

impl Choices for OfTile {
    fn variant(&self, entry: &str, sizes: &[u32]) -> Variant {
        let problem = Problem::from_sizes(entry, sizes).expect("a layer that is recorded has been checked");
        let splits = problem.candidates(1).into_iter().filter_map(|variant| match variant {
            Variant::Tiled(tile, splits) if tile == self.tile => Some(splits),
            _ => None,
        });
        let mut splits: Vec<u32> = splits.collect();
        splits.sort_unstable();
        let others = splits.len().saturating_sub(1);
        let index = if self.parts == 0 || others == 0 { 0 } else { 1 + (self.parts - 1) % others };
        Variant::Tiled(self.tile, splits[index])
    }

    fn digest(&self) -> String {
        let parts = if self.parts == 0 { "fewest parts".to_owned() } else { format!("parts {}", self.parts) };
        format!("{} in {parts}", Variant::Tiled(self.tile, 1))
    }
}

/// More numbers of parts than there are.
const PARTS: usize = 9;

/// The tunings in which a case is tried: this adapter's own, without what only some adapters have, and tiles.
fn tunings(device: &Device, case: &Case, number: usize, thorough: bool) -> Vec<(Tuning, Option<OfTile>)> {
    let own = Tuning { tiling: Tiling::Always(Variant::Registers), ..device.tuning() };
    let mut all = vec![(own.clone(), None)];
    if !case.op.has_tiles() {
        return all;
    }
    if own.subgroup {
        all.push((Tuning { subgroup: false, ..own.clone() }, None));
    }
    let all_tiles = Tile::ALL.into_iter();
    let both = |tile: Tile| [0, 1 + number % PARTS].map(|parts| OfTile { tile, parts });
    let tiles: Vec<OfTile> = match case.tiles {
        Tiles::Next if thorough => all_tiles.flat_map(both).collect(),
        _ if thorough => all_tiles.flat_map(|tile| (0..PARTS).map(move |parts| OfTile { tile, parts })).collect(),
        Tiles::Each => all_tiles.flat_map(both).collect(),
        Tiles::One(tile) => both(tile).to_vec(),
        Tiles::Next => {
            let round = number / Tile::ALL.len();
            vec![OfTile {
                tile: Tile::ALL[number % Tile::ALL.len()],
                parts: if round.is_multiple_of(2) { 0 } else { round },
            }]
        }
    };
    all.extend(tiles.into_iter().map(|tile| {
        let tiling = Tiling::Measured(Arc::new(tile));
        (Tuning { tiling, ..own.clone() }, Some(tile))
    }));
    all
}

fn run(
    device: &Device,
    case: &Case,
    answers: &Answers,
    tuning: Tuning,
    tile: Option<OfTile>,
    tally: &mut Tally,
) -> Result<()> {
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
    let backward = |bench: &mut Bench, index: usize, grad_output: View, finish: Finish| -> Result<View> {
        let grad = bench.room(shapes[index], case.inputs[index].1, margin(index))?;
        let mut grads = vec![None; inputs.len()];
        grads[index] = Some(grad);
        bench.pass();
        op.backward(
            &mut bench.recorder,
            &Backward { inputs: &inputs, output, saved: &saved, grad_output, grads: &grads, finish },
        )?;
        Ok(grad)
    };
    for (index, values) in answers.grads.iter().enumerate() {
        if let Some(values) = values.as_ref().filter(|_| !op.passes_gradient(index)) {
            let grad = backward(&mut bench, index, grad_output, Finish::default())?;
            bench.expect(&format!("gradient of argument {index}"), grad, values.clone());
            if case.with_nan {
                let nan = bench.picture(&Array::filled(output.shape, f32::NAN))?;
                let grad = backward(&mut bench, index, nan, Finish::default())?;
                bench.expect_nan(&format!("gradient of argument {index}, from NaN"), grad);
            }
        }
    }
    if let Some((addend, masked)) = &answers.finished {
        let addend = bench.put(addend, Layout::Picture, case.margin)?;
        for (live, values) in masked {
            let finish = Finish { addend: Some(addend), mask: Some(*live) };
            let grad = backward(&mut bench, 0, grad_output, finish)?;
            bench.expect(
                &format!("gradient of argument 0, added to another and masked by {live:?}"),
                grad,
                values.clone(),
            );
        }
    }
    if case.with_nan {
        forward_from_nan(&mut bench, case, &shapes)?;
    }
    let variant = |overrides: &[String]| match tile {
        // Sizes of a tile say less than its name.
        Some(OfTile { tile, .. }) if !overrides.is_empty() => Variant::Tiled(tile, 1).to_string(),
        _ => {
            let mut distinct = overrides.to_vec();
            distinct.dedup();
            distinct.join(", ")
        }
    };
    let about = tile.map_or(case.about(), |tile| format!("{}, {}", case.about(), tile.digest()));
    bench.examine(&about, &variant, tally);
    Ok(())
}

/// The result of a first argument that is no number, and of each other one like it: what went wrong must not look right.
fn forward_from_nan(bench: &mut Bench, case: &Case, shapes: &[Shape]) -> Result<()> {
    for index in (0..shapes.len()).filter(|&index| shapes[index] == shapes[0]) {
        let mut arrays = case.inputs.clone();
        arrays[index].0.values.fill(f32::NAN);
        let inputs: Vec<View> =
            arrays.iter().map(|(array, layout)| bench.put(array, *layout, 0)).collect::<Result<_>>()?;
        let output = bench.room(case.op.output_shape(shapes)?, Layout::Picture, 0)?;
        let saved: Vec<View> = case
            .op
            .saved(shapes)
            .into_iter()
            .map(|shape| bench.room(shape, Layout::Picture, 0))
            .collect::<Result<_>>()?;
        bench.pass();
        case.op.forward(&mut bench.recorder, &Forward { inputs: &inputs, output, saved: &saved });
        bench.expect_nan(&format!("result from NaN in argument {index}"), output);
    }
    Ok(())
}
