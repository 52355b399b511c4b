//! A look at every value and every gradient for NaN and infinity.

use crate::device::{Buffer, Device, Externals, Recorder};
use crate::ops::CheckFinite;
use crate::tape::{Recorded, Request, Tape};
use crate::{Error, Result};

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Numbers,
    Zeros,
    NotFinite,
}

/// The layers whose values are looked through for NaN and infinity, in order of execution.
#[derive(Default)]
pub(crate) struct FiniteChecks {
    layers: Vec<String>,
}

const FLAGS: &str = "finite flags";

impl FiniteChecks {
    /// Records a tape, with a check behind every value and gradient where there are `checks`.
    pub fn record(
        checks: &mut Option<Self>,
        tape: &Tape,
        recorder: &mut Recorder,
        request: &Request,
    ) -> Result<Recorded> {
        let Some(checks) = checks else { return tape.record(recorder, request) };
        tape.record_watched(recorder, request, &mut |recorder, layer, view| {
            let slot = checks.layers.len();
            let flags = recorder.external(FLAGS, (slot as u64 + 1) * 4);
            CheckFinite::record(recorder, view, flags, slot);
            checks.layers.push(layer.to_owned());
        })
    }

    /// The checks with the buffer that holds their flags, which [`Program::provide`] has made.
    pub fn with_flags(self, externals: &Externals) -> (Self, Buffer) {
        (self, externals[FLAGS].clone())
    }

    /// Reads the flags back.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first layer that raised one.
    pub fn verify(&self, device: &Device, flags: &Buffer, step: Option<u64>) -> Result<()> {
        match self.found(device, flags)?.into_iter().find(|(_, found)| *found == Found::NotFinite) {
            Some((layer, _)) => Err(Error::NotFinite { layer: layer.to_owned(), step }),
            None => Ok(()),
        }
    }

    /// What the checks have found, by layer and gradient in order of execution.
    pub(super) fn found(&self, device: &Device, flags: &Buffer) -> Result<Vec<(&str, Found)>> {
        let raised: Vec<f32> = device.readback(flags.bytes)?.read(device, flags)?;
        let found = |flag: f32| match flag {
            0.0 => Found::Numbers,
            flag if flag < 0.0 => Found::Zeros,
            _ => Found::NotFinite,
        };
        Ok(self.layers.iter().map(String::as_str).zip(raised.into_iter().map(found)).collect())
    }
}
