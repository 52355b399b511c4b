//! The directions in which outputs vary most.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Principal components of some vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Share of each component in the variance, largest first; zeros where nothing varies.
    pub shares: Vec<f64>,
    /// Coordinates of each vector along the components, as many as asked for.
    pub points: Vec<Vec<f64>>,
}

/// Principal components of vectors of `width` numbers that stand one after another in `rows`. Of each component the largest
/// weight is positive.
///
/// # Panics
/// When a number is not finite, or the last vector is not whole.
pub fn principal(rows: &[f32], width: usize, components: usize) -> Principal {
    assert!(rows.iter().all(|value| value.is_finite()), "finite outputs");
    let count = rows.len() / width.max(1);
    assert_eq!(rows.len(), count * width, "whole vectors");
    let mut vectors = DMatrix::from_row_iterator(count, width, rows.iter().map(|&value| f64::from(value)));
    for mut column in vectors.column_iter_mut() {
        let mean = column.sum() / count as f64;
        column.add_scalar_mut(-mean);
    }
    let covariance = vectors.tr_mul(&vectors);
    let total = covariance.trace();
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let share = |&index: &usize| if total > 0.0 { (eigen.eigenvalues[index] / total).max(0.0) } else { 0.0 };
    let axis = |&index: &usize| -> DVector<f64> {
        let axis = eigen.eigenvectors.column(index);
        let largest = axis[axis.icamax()];
        axis * largest.signum()
    };
    let kept = components.min(width);
    let axes: Vec<DVector<f64>> = order[..kept].iter().map(axis).collect();
    let along: Vec<DVector<f64>> = axes.iter().map(|axis| &vectors * axis).collect();
    let point = |at: usize| along.iter().map(|axis| axis[at]).collect();
    Principal { shares: order.iter().map(share).collect(), points: (0..count).map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_component() {
        // Mean (2, 2); along (0.6, -0.8), at -5, 0 and 5.
        let found = principal(&[-1.0, 6.0, 2.0, 2.0, 5.0, -2.0], 2, 2);
        assert!((found.shares[0] - 1.0).abs() < 1e-12 && found.shares[1].abs() < 1e-12, "{found:?}");
        for (point, expected) in found.points.iter().zip([5.0, 0.0, -5.0]) {
            assert!((point[0] - expected).abs() < 1e-12 && point[1].abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn what_does_not_vary_has_no_shares() {
        let found = principal(&[1.0, 2.0, 1.0, 2.0], 2, 5);
        assert_eq!((found.shares, found.points), (vec![0.0; 2], vec![vec![0.0; 2]; 2]));
        assert_eq!(principal(&[], 3, 2).points, Vec::<Vec<f64>>::new());
        assert_eq!(principal(&[7.0], 1, 2).points, [[0.0]]);
    }

    /// `tests/fixtures/comparison.py` computes these with numpy.
    #[test]
    fn shares_and_points_are_those_of_numpy() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/comparison.json")).expect("JSON");
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
        };
        let rows: Vec<f32> = numbers(&fixture["rows"]).iter().map(|&value| value as f32).collect();
        let found = principal(&rows, 6, 3);
        let close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&found.shares, &numbers(&fixture["shares"])), "{:?}", found.shares);
        assert!(close(&found.points.concat(), &numbers(&fixture["points"])), "{:?}", found.points);
    }
}
