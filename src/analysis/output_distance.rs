//! How far two outputs of a network lie from each other.

/// Distances between two vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputDistance {
    /// Sum of absolute differences.
    pub l1: f64,
    /// Root of the sum of squares.
    pub l2: f64,
    /// 1 less the cosine of the angle between them, 0 to 2; 1 when one of them is zero.
    pub cosine: f64,
}

/// The distances between two vectors.
///
/// # Panics
/// When one is longer than the other.
pub fn output_distance(a: &[f32], b: &[f32]) -> OutputDistance {
    assert_eq!(a.len(), b.len(), "vectors of one space");
    let (mut l1, mut squares, mut product, mut of_a, mut of_b) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        l1 += (a - b).abs();
        squares += (a - b) * (a - b);
        product += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    let norm = (of_a * of_b).sqrt();
    let cosine = if norm > 0.0 { (1.0 - product / norm).clamp(0.0, 2.0) } else { 1.0 };
    OutputDistance { l1, l2: f64::sqrt(squares), cosine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_angles_and_opposites() {
        assert_eq!(output_distance(&[3.0, 0.0], &[0.0, -4.0]), OutputDistance { l1: 7.0, l2: 5.0, cosine: 1.0 });
        assert_eq!(output_distance(&[1.0, 2.0], &[2.0, 4.0]).cosine, 0.0);
        assert_eq!(output_distance(&[1.0, 0.0], &[-2.0, 0.0]), OutputDistance { l1: 3.0, l2: 3.0, cosine: 2.0 });
        assert_eq!(output_distance(&[0.0, 0.0], &[1.0, 0.0]).cosine, 1.0, "zero has no direction");
    }
}
