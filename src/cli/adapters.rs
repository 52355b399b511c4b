//! `entoptic adapters`

use entoptic::device::adapters;

pub fn run() -> anyhow::Result<()> {
    for adapter in adapters()? {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        println!("{}: {}", adapter.index, adapter.name);
        println!("   {} {}, driver {}", adapter.backend, adapter.class, adapter.driver);
        println!(
            "   buffer up to {}, binding up to {}, workgroup memory {} KiB, {} invocations; {}",
            mib(adapter.max_buffer),
            mib(adapter.max_binding),
            adapter.workgroup_memory >> 10,
            adapter.workgroup_invocations,
            if adapter.features.is_empty() { "no optional features".into() } else { adapter.features.join(", ") },
        );
    }
    Ok(())
}
