//! Which GPU to use.

use std::fmt;

use serde::Serialize;

use super::cards;
use crate::{Error, Result};

const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// What kind of processor an adapter is; the order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A card of its own.
    Discrete,
    /// Part of the processor, sharing its memory.
    Integrated,
    /// A slice of a GPU given to a virtual machine, or one that does not say.
    Virtual,
    /// A driver that computes on the CPU.
    Software,
}

impl Class {
    /// Processors that compute independently on an adapter of this kind: usual numbers, where its name says nothing.
    fn units(self) -> u32 {
        match self {
            Class::Discrete => 128,
            Class::Integrated | Class::Virtual => 16,
            Class::Software => 1,
        }
    }
}

impl From<wgpu::DeviceType> for Class {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Class::Discrete,
            wgpu::DeviceType::IntegratedGpu => Class::Integrated,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => Class::Virtual,
            wgpu::DeviceType::Cpu => Class::Software,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Discrete => "discrete",
            Class::Integrated => "integrated",
            Class::Virtual => "virtual",
            Class::Software => "software",
        })
    }
}

/// What there is to know about an adapter before using it.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterSummary {
    /// Position in the list of [`adapters`], which `--adapter` takes.
    pub index: usize,
    /// Name that the driver gives.
    pub name: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// Kind of processor.
    pub class: Class,
    /// Driver and its version.
    pub driver: String,
    /// Largest buffer, in bytes.
    pub max_buffer: u64,
    /// Largest part of a buffer that a kernel may see, in bytes.
    pub max_binding: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub workgroup_invocations: u32,
    /// Features that faster kernels may use: f16, subgroups, timestamps.
    pub features: Vec<&'static str>,
}

impl AdapterSummary {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let named = [
            (wgpu::Features::SHADER_F16, "f16"),
            (wgpu::Features::SUBGROUP, "subgroups"),
            (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
        ];
        AdapterSummary {
            index,
            name: info.name,
            backend: info.backend.to_string(),
            class: info.device_type.into(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            features: named.iter().filter(|(feature, _)| features.contains(*feature)).map(|(_, name)| *name).collect(),
        }
    }

    /// Processors of this adapter that compute independently: multiprocessors, compute units. Drivers do not say how many there
    /// are, so that it is what a card of its name has, or what is usual for its class.
    pub fn units(&self) -> u32 {
        let known = (self.class != Class::Software).then(|| cards::units(&self.name)).flatten();
        known.unwrap_or_else(|| self.class.units())
    }
}

impl fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}, {})", self.name, self.backend, self.class, self.driver)
    }
}

/// Which adapter the user wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The first in order of preference: discrete, integrated, virtual, software.
    #[default]
    Best,
    /// By its index, or by a part of its name, upper or lower case.
    Named(String),
}

/// All adapters, best first.
///
/// # Errors
/// [`Error::NoAdapter`] when there is none.
pub fn adapters() -> Result<Vec<AdapterSummary>> {
    let found = enumerate()?;
    Ok(found.iter().enumerate().map(|(index, adapter)| AdapterSummary::new(index, adapter)).collect())
}

pub(super) fn choose(choice: &AdapterChoice) -> Result<(wgpu::Adapter, AdapterSummary)> {
    let mut found = enumerate()?;
    let summaries: Vec<_> = found.iter().enumerate().map(|(i, adapter)| AdapterSummary::new(i, adapter)).collect();
    let index = match choice {
        AdapterChoice::Best => 0,
        AdapterChoice::Named(wanted) => pick(wanted, &summaries)?,
    };
    Ok((found.swap_remove(index), summaries[index].clone()))
}

fn enumerate() -> Result<Vec<wgpu::Adapter>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        // Adapters that miss a corner of the specification still run compute kernels; tests tell.
        flags: wgpu::InstanceFlags::default().union(wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut found = pollster::block_on(instance.enumerate_adapters(BACKENDS));
    if found.is_empty() {
        let backends =
            [("Vulkan", wgpu::Backends::VULKAN), ("Metal", wgpu::Backends::METAL), ("DX12", wgpu::Backends::DX12)];
        let compiled = wgpu::Instance::enabled_backend_features();
        let tried: Vec<_> = backends.iter().filter(|(_, b)| compiled.contains(*b)).map(|(name, _)| *name).collect();
        return Err(Error::NoAdapter { backends: tried.join(", ") });
    }
    found.sort_by_key(|adapter| Class::from(adapter.get_info().device_type));
    Ok(found)
}

fn pick(wanted: &str, summaries: &[AdapterSummary]) -> Result<usize> {
    let by_index = wanted.parse().ok().filter(|&index: &usize| index < summaries.len());
    let by_name = || summaries.iter().position(|s| s.name.to_lowercase().contains(&wanted.to_lowercase()));
    by_index.or_else(by_name).ok_or_else(|| Error::UnknownAdapter {
        wanted: wanted.to_owned(),
        available: summaries.iter().map(|s| format!("{}: {s}", s.index)).collect::<Vec<_>>().join("; "),
    })
}
