//! The one way from a recording with networks in it to a program.

use super::checks::FiniteChecks;
use crate::Result;
use crate::device::{Buffer, Device, Externals, Program, Recorder};
use crate::nets::Network;
use crate::tape::Derived;

/// What has been recorded, and what it needs besides the buffers that its caller gives.
pub(crate) struct Draft<'a> {
    /// Shown in messages and GPU debuggers.
    pub label: &'a str,
    /// The launches.
    pub recorder: Recorder,
    /// What they read that is computed from the weights alone.
    pub derived: Vec<Derived>,
    /// The networks whose weights they read.
    pub networks: &'a [&'a Network],
    /// Looks for NaN and infinity, where that is wanted.
    pub checks: Option<FiniteChecks>,
    /// A program that it takes turns with and whose memory it uses.
    pub after: Option<&'a Program>,
}

/// A program ready to run, with all its buffers.
pub(crate) struct Prepared {
    pub program: Program,
    /// Every external buffer: what was given, weights, and zeroed ones for the rest.
    pub externals: Externals,
    /// The checks and the buffer of their flags.
    pub checks: Option<(FiniteChecks, Buffer)>,
}

impl Draft<'_> {
    /// Plans the memory, then asks for the buffers that the caller gives, and makes the others.
    ///
    /// # Errors
    /// [`crate::Error::BufferLimit`] before anything is allocated; those of `given` and of [`Program::prepare_after`].
    pub fn prepare(self, device: &Device, given: impl FnOnce() -> Result<Externals>) -> Result<Prepared> {
        let recording = self.recorder.finish();
        Program::plan_for(device, &recording)?;
        let mut externals = given()?;
        for network in self.networks {
            let parameters = network.parameters();
            externals.extend(parameters.buffers().iter().map(|(name, buffer)| (name.clone(), buffer.clone())));
            externals.extend(parameters.derive(device, &self.derived)?);
        }
        let ready = self.derived.iter().all(|value| externals.contains_key(&value.name));
        assert!(ready, "{}: weights are derived of a network that is not given", self.label);
        Program::provide(device, &recording, &mut externals)?;
        let checks = self.checks.map(|checks| checks.with_flags(&externals));
        let program = Program::prepare_after(device, self.label, &recording, &externals, self.after)?;
        Ok(Prepared { program, externals, checks })
    }
}
