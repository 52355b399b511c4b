//! What the benches share: the adapter, and samples taken by criterion.

use std::time::Duration;

use anyhow::Result;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use entoptic::device::{AdapterChoice, Device};

/// The adapter that `ENTOPTIC_ADAPTER` names, else the best one.
pub fn open() -> Result<Device> {
    Ok(Device::open(&std::env::var("ENTOPTIC_ADAPTER").map(AdapterChoice::Named).unwrap_or_default())?)
}

/// Fewest samples that criterion takes; on a software adapter one is a second or more.
const SAMPLES: usize = 10;

/// Criterion without drawings: intervals, outliers, and the change since the last run on this machine.
pub fn criterion() -> Criterion {
    Criterion::default().sample_size(SAMPLES).warm_up_time(Duration::from_millis(1)).without_plots()
}

/// Samples work that tells how many seconds it took, shortest first. `flops` is of one such.
///
/// # Errors
/// The first that the work gave.
pub fn sample(
    criterion: &mut Criterion,
    (group, name): (&str, &str),
    flops: Option<u64>,
    mut run: impl FnMut() -> entoptic::Result<f64>,
) -> Result<Vec<f64>> {
    let (mut times, mut failure) = (Vec::new(), None);
    // Criterion takes no failures: those samples are nothing worth, and the error is given when it is through.
    let mut once = || {
        run().unwrap_or_else(|error| {
            failure = Some(error);
            f64::EPSILON
        })
    };
    let expected = once();
    let mut groups = criterion.benchmark_group(group);
    groups.sampling_mode(SamplingMode::Flat);
    groups.measurement_time(Duration::from_secs_f64((1.5 * expected * SAMPLES as f64).max(0.5)));
    if let Some(flops) = flops {
        groups.throughput(Throughput::Elements(flops));
    }
    groups.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|count| {
            let taken: Vec<f64> = (0..count).map(|_| once()).collect();
            let total = taken.iter().sum();
            times.extend(taken);
            Duration::from_secs_f64(total)
        });
    });
    groups.finish();
    if let Some(error) = failure {
        return Err(error.into());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
