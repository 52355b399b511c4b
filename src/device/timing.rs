//! Time by the device's own clock.

use std::time::Duration;

use super::context::{Buffer, Device, Readback};
use crate::Result;

/// Two readings of the device's clock, around one pass.
pub(super) struct Clock {
    readings: wgpu::QuerySet,
    resolved: Buffer,
    readback: Readback,
}

/// Two numbers of eight bytes.
const BYTES: u64 = 16;

impl Clock {
    /// A clock, where the device has one.
    pub(super) fn new(device: &Device) -> Result<Option<Clock>> {
        if !device.raw.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let label = "timestamps";
        let descriptor = wgpu::QuerySetDescriptor { label: Some(label), ty: wgpu::QueryType::Timestamp, count: 2 };
        let readings = device.checked(label, || device.raw.create_query_set(&descriptor))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = device.raw_buffer(label, BYTES, usage)?;
        Ok(Some(Clock { readings, resolved, readback: device.readback(BYTES)? }))
    }

    /// What a pass must be told.
    pub(super) fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.readings,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// To be encoded after the pass.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.readings, 0..2, &self.resolved.raw, 0);
    }

    /// Waits for the pass and says how long it took.
    pub(super) fn read(&self, device: &Device) -> Result<Duration> {
        let readings: Vec<u64> = self.readback.read(device, &self.resolved)?;
        let period = f64::from(device.queue.get_timestamp_period());
        Ok(Duration::from_nanos((readings[1].saturating_sub(readings[0]) as f64 * period) as u64))
    }
}
