//! Operations on a device, and how their results compare with the oracle's.

use std::collections::HashMap;

use super::row::{Finding, Tally};
use crate::Result;
use crate::device::{BufferId, Device, Externals, Program, Recorder, Source, Tuning};
use crate::ops::View;
use crate::oracle::Values;
use crate::tensor::{Array, Layout, Shape};

/// What lies beside values, and in results before they are written.
const OTHERS: f32 = 12345.0;

/// A recording in the making with buffers of its own, and what is expected of it.
pub(super) struct Bench<'a> {
    pub recorder: Recorder,
    device: &'a Device,
    externals: Externals,
    names: HashMap<BufferId, String>,
    expected: Vec<Expected>,
    passes: usize,
}

/// What is expected of a buffer.
struct Expected {
    /// The pass that writes it, and what it is.
    pass: usize,
    what: String,
    view: View,
    name: String,
    wanted: Wanted,
}

enum Wanted {
    Numbers(Values),
    /// At least one of them.
    Nan,
}

impl<'a> Bench<'a> {
    pub fn new(device: &'a Device, tuning: Tuning) -> Self {
        let recorder = Recorder::new(tuning);
        let (externals, names) = (Externals::new(), HashMap::new());
        Bench { recorder, device, externals, names, expected: Vec::new(), passes: 0 }
    }

    /// A value in a buffer of its own, with `margin` groups of other channels on either side.
    pub fn put(&mut self, array: &Array, layout: Layout, margin: usize) -> Result<View> {
        self.place(array.shape, layout, margin, layout.pack(array.shape, &array.values))
    }

    /// A picture-like value that fills its buffer.
    pub fn picture(&mut self, array: &Array) -> Result<View> {
        self.put(array, Layout::Picture, 0)
    }

    /// Room for a result.
    pub fn room(&mut self, shape: Shape, layout: Layout, margin: usize) -> Result<View> {
        self.place(shape, layout, margin, vec![OTHERS; layout.stored(shape)])
    }

    /// A buffer of whole numbers or bits.
    pub fn words(&mut self, words: &[u32]) -> Result<BufferId> {
        let array = Array::new(Shape::channels(words.len()), words.iter().map(|&bits| f32::from_bits(bits)).collect());
        Ok(self.picture(&array)?.buffer)
    }

    fn place(&mut self, shape: Shape, layout: Layout, margin: usize, narrow: Vec<f32>) -> Result<View> {
        let [n, _, h, w] = shape.0;
        let wide = Shape::new(n, 4 * (shape.groups() + 2 * margin), h, w);
        let mut stored = narrow;
        if margin > 0 {
            let narrow = std::mem::replace(&mut stored, vec![OTHERS; layout.stored(wide)]);
            let pixels = stored.chunks_mut(4 * wide.groups()).zip(narrow.chunks(4 * shape.groups()));
            pixels.for_each(|(wide, narrow)| wide[4 * margin..][..narrow.len()].copy_from_slice(narrow));
        }
        let name = format!("value {}", self.externals.len());
        let bytes = stored.len() as u64 * 4;
        let buffer = self.device.buffer(&name, bytes)?;
        self.device.write(&buffer, &stored)?;
        self.externals.insert(name.clone(), buffer);
        let id = self.recorder.buffer(&name, bytes, Source::External(name.clone()));
        self.names.insert(id, name);
        Ok(match margin {
            0 => View::whole(id, shape, layout),
            _ => View::whole(id, wide, layout).slice(4 * margin, shape.c()),
        })
    }

    /// Begins a pass: the kernels that are recorded from now on belong to it.
    pub fn pass(&mut self) {
        self.passes += 1;
        self.recorder.layer(&format!("pass {}", self.passes));
    }

    /// What the pass must have written in a view.
    pub fn expect(&mut self, what: &str, view: View, values: Values) {
        self.want(what, view, Wanted::Numbers(values));
    }

    /// That the pass must have left a NaN in a view.
    pub fn expect_nan(&mut self, what: &str, view: View) {
        self.want(what, view, Wanted::Nan);
    }

    fn want(&mut self, what: &str, view: View, wanted: Wanted) {
        let name = self.names[&view.buffer].clone();
        self.expected.push(Expected { pass: self.passes, what: what.to_owned(), view, name, wanted });
    }

    /// Runs what was recorded and enters it, kernel by kernel.
    pub fn examine(mut self, about: &str, variant: &dyn Fn(&[String]) -> String, tally: &mut Tally) {
        let recording = std::mem::take(&mut self.recorder).finish();
        let kernels = |pass: usize| -> Vec<String> {
            let layer = format!("pass {pass}: ");
            let mut names: Vec<String> = Vec::new();
            for dispatch in recording.dispatches.iter().filter(|dispatch| dispatch.label.starts_with(&layer)) {
                if !names.contains(&dispatch.kernel.label()) {
                    names.push(dispatch.kernel.label());
                }
            }
            names
        };
        for dispatch in &recording.dispatches {
            tally.launched.insert(dispatch.kernel.label());
        }
        let ran = Program::prepare(self.device, "doctor", &recording, &self.externals)
            .and_then(|mut program| program.run())
            .and_then(|()| self.device.wait("doctor"));
        for expected in &self.expected {
            let kernels = kernels(expected.pass);
            let overrides = || {
                let layer = format!("pass {}: ", expected.pass);
                let of_pass = recording.dispatches.iter().filter(|dispatch| dispatch.label.starts_with(&layer));
                let constants = of_pass.flat_map(|dispatch| {
                    let numbers = dispatch.kernel.numbers().iter().map(|&(name, value)| (name, f64::from(value)));
                    numbers.chain(dispatch.kernel.constants()).collect::<Vec<_>>()
                });
                constants.filter(|(name, _)| *name != "WG").map(|(name, value)| format!("{name} {value}")).collect()
            };
            let overrides: Vec<String> = overrides();
            let what = &expected.what;
            let at = format!("{what}, {about}");
            let finding = match ran.as_ref().map_err(ToString::to_string).and_then(|()| self.compare(expected)) {
                Ok(worst) => Finding { share: worst, trouble: None, at },
                Err(trouble) => Finding { share: f64::INFINITY, trouble: Some(trouble), at },
            };
            tally.enter(&kernels, &variant(&overrides), finding);
        }
        if let Err(error) = ran {
            tally.lost |= super::lost(self.device, &error);
        }
    }

    /// The largest share of a bound; an error where something is written that should not be.
    fn compare(&self, expected: &Expected) -> Result<f64, String> {
        let Expected { view, name, wanted, .. } = expected;
        let buffer = &self.externals[name];
        let read = self.device.readback(buffer.bytes).and_then(|readback| readback.read(self.device, buffer));
        let stored: Vec<f32> = read.map_err(|error| error.to_string())?;
        let whole = *view == View::whole(view.buffer, view.shape, view.layout);
        let narrow = if whole { stored } else { narrow(view, &stored)? };
        let found = view.layout.unpack(view.shape, &narrow);
        let Wanted::Numbers(values) = wanted else {
            let there = found.iter().any(|value| value.is_nan());
            return if there { Ok(0.0) } else { Err("a NaN is lost on the way".into()) };
        };
        if values.shape != view.shape {
            return Err(format!("has shape {}, expected {}", view.shape, values.shape));
        }
        let clean = view.layout.pack(view.shape, &found);
        let same = |(a, b): (&f32, &f32)| a.to_bits() << 1 == b.to_bits() << 1;
        if !clean.iter().zip(&narrow).all(same) {
            return Err("lanes that fill up the channels are not zero".into());
        }
        let shares = values.numbers.iter().zip(&found).map(|(number, &found)| number.share(found));
        Ok(shares.fold(0.0, f64::max))
    }
}

/// The channels of a view of a wider buffer, beside which nothing may have changed.
fn narrow(view: &View, stored: &[f32]) -> Result<Vec<f32>, String> {
    let (first, length) = (4 * view.offset as usize, 4 * view.shape.groups());
    let mut narrow = Vec::with_capacity(view.layout.stored(view.shape));
    for pixel in stored[..view.shape.pixels() * 4 * view.stride as usize].chunks(4 * view.stride as usize) {
        narrow.extend_from_slice(&pixel[first..first + length]);
        let mut beside = pixel[..first].iter().chain(&pixel[first + length..]);
        if beside.any(|&value| value != OTHERS) {
            return Err("what lies beside it was changed".into());
        }
    }
    Ok(narrow)
}
