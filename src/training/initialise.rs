//! Weights before the first step.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::Result;
use crate::nets::Structure;
use crate::weights::NamedArray;

/// Random weights of a network without side heads: convolutions normal with mean 0 and variance 2 / (Cout·KH·KW), batch norms
/// the identity, linear layers uniform within ±1/sqrt(inputs). The same seed gives the same weights; a tensor's numbers
/// depend on its name and size alone.
///
/// **Reference** He et al. 2015, "Delving deep into rectifiers": `torch.nn.init.kaiming_normal_` with `mode="fan_out"`;
/// the defaults of `torch.nn.BatchNorm2d` and `torch.nn.Linear`.
///
/// # Errors
/// Those of [`Structure::tensors`].
pub fn initial_weights(structure: &Structure, width: f64, classes: usize, seed: u64) -> Result<Vec<NamedArray>> {
    let tensors = structure.tensors(width, classes, &[])?;
    let inputs = |layer: &str| {
        tensors
            .iter()
            .find(|(name, s)| *name == format!("{layer}.weight") && s.len() > 1)
            .map(|(_, s)| s[1..].iter().product())
    };
    let array = |(name, shape): &(String, Vec<usize>)| {
        let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let values = match shape[..] {
            // Without a weight of several dimensions a vector belongs to a batch norm.
            [_] if inputs(layer).is_none() => {
                let identity = name.ends_with(".weight") || name.ends_with(".running_var");
                vec![f32::from(identity); shape[0]]
            }
            _ => initial_tensor(name, shape, inputs(layer).unwrap_or(1), seed),
        };
        NamedArray { name: name.clone(), shape: shape.clone(), values }
    };
    Ok(tensors.iter().map(array).collect())
}

/// Numbers of a convolution, or of the weight or bias of a linear layer with so many inputs.
pub fn initial_tensor(name: &str, shape: &[usize], inputs: usize, seed: u64) -> Vec<f32> {
    let mut numbers = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a of the name.
    numbers
        .set_stream(name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
    let count = shape.iter().product();
    match *shape {
        [c_out, _, kh, kw] => {
            let deviation = (2.0 / (c_out * kh * kw) as f64).sqrt();
            let normal = Normal::new(0.0, deviation).expect("a deviation is a finite number");
            (0..count).map(|_| normal.sample(&mut numbers) as f32).collect()
        }
        _ => {
            let bound = 1.0 / (inputs as f64).sqrt();
            (0..count).map(|_| numbers.random_range(-bound..=bound) as f32).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn googlenet() -> Structure {
        "googlenet".parse().expect("a network of the zoo")
    }

    #[test]
    fn initial_weights_have_their_spread() {
        let arrays = initial_weights(&googlenet(), 0.25, 10, 3).expect("any width fits");
        let find = |name: &str| arrays.iter().find(|array| array.name == name).expect("it has it");
        let conv = find("conv3.conv.weight");
        assert_eq!(conv.shape, [48, 16, 3, 3]);
        let count = conv.values.len() as f64;
        let mean = conv.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = conv.values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
        let expected = 2.0 / (48.0 * 9.0);
        // 6912 numbers: the mean deviates by sqrt(variance / n), the variance by sqrt(2 / n) of itself; five of those.
        assert!(mean.abs() < 5.0 * (expected / count).sqrt(), "{mean}");
        assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{variance} for {expected}");
        assert!(find("conv3.bn.weight").values.iter().chain(&find("conv3.bn.running_var").values).all(|&v| v == 1.0));
        assert!(find("conv3.bn.bias").values.iter().chain(&find("conv3.bn.running_mean").values).all(|&v| v == 0.0));
        for linear in ["fc.weight", "fc.bias"] {
            let largest = find(linear).values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            assert!(largest <= 1.0 / 16.0 && largest > 0.03, "{linear}: {largest}");
        }
        assert_eq!(arrays, initial_weights(&googlenet(), 0.25, 10, 3).expect("any width fits"));
        assert_ne!(arrays, initial_weights(&googlenet(), 0.25, 10, 4).expect("any width fits"));
    }
}
