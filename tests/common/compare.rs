//! Comparing arrays with stored answers.

/// How far an answer may lie from the stored one. Both halves must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// On the distance of the whole array over the length of the stored one; infinite: not asked.
    pub rel_l2: f64,
    /// On every single element; infinite: not asked.
    pub abs: f64,
}

impl Bound {
    /// Only the relative distance of the whole array.
    pub const fn rel_l2(rel_l2: f64) -> Bound {
        Bound { rel_l2, abs: f64::INFINITY }
    }

    /// Only the single elements.
    pub const fn abs(abs: f64) -> Bound {
        Bound { rel_l2: f64::INFINITY, abs }
    }

    /// Bit for bit but for the sign of zero.
    pub const EXACT: Bound = Bound::abs(0.0);
}

/// Fails unless `actual` lies within the bound of `expected`; returns the share of the bound that it used.
///
/// # Panics
/// When it does not, naming what was compared, how many elements are off, the worst one and the share of the bound;
/// when a value is not finite; when there is nothing to compare; when the bound would let an answer of zeros pass.
#[track_caller]
pub fn assert_close(label: &str, actual: &[f32], expected: &[f32], bound: Bound) -> f64 {
    check(label, actual, expected);
    assert!(
        share(&vec![0.0; expected.len()], expected, bound) > 1.0
            || is_zero(expected) && bound.abs.min(bound.rel_l2).is_finite(),
        "{label}: {bound:?} is so loose that an answer of zeros passes"
    );
    let used = share(actual, expected, bound);
    if used > 1.0 {
        let allowed = bound.abs.min(bound.rel_l2 * norm(expected) / (expected.len() as f64).sqrt());
        let off = (0..expected.len()).filter(|k| difference(actual[*k], expected[*k]) > allowed).count();
        let worst = worst(actual, expected);
        panic!(
            "{label}: {used:.3} times the bound was used ({bound:?}, relative L2 {:.3e}, largest difference {:.3e}); \
             {off} of {} elements are off by more than {allowed:.3e}; worst at {worst}: {} instead of {}",
            distance(actual, expected) / norm(expected),
            difference(actual[worst], expected[worst]),
            expected.len(),
            actual[worst],
            expected[worst],
        );
    }
    used
}

/// Fails unless 1 - cosine of the angle between the two arrays is at most `bound`; returns that distance.
///
/// # Panics
/// As [`assert_close`]; a bound of one half or more is refused, unrelated arrays have 1.
#[track_caller]
pub fn assert_aligned(label: &str, actual: &[f32], expected: &[f32], bound: f64) -> f64 {
    check(label, actual, expected);
    assert!(bound < 0.5, "{label}: a cosine distance of {bound} is so loose that anything passes");
    let dot: f64 = actual.iter().zip(expected).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let distance = 1.0 - dot / (norm(actual) * norm(expected));
    assert!(distance <= bound, "{label}: cosine distance is {distance:.3e}, at most {bound:.3e} is allowed");
    distance
}

#[track_caller]
fn check(label: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{label}: {} elements, expected {}", actual.len(), expected.len());
    assert!(!expected.is_empty(), "{label}: nothing is compared");
    for (whose, values) in [("stored", expected), ("computed", actual)] {
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            panic!("{label}: {count} {whose} elements are not finite, the first at {index}: {}", values[index]);
        }
    }
}

/// The larger of the two shares; above 1 the bound is broken.
fn share(actual: &[f32], expected: &[f32], bound: Bound) -> f64 {
    let worst = worst(actual, expected);
    let whole = match bound.rel_l2 {
        f64::INFINITY => 0.0,
        // Nothing is relative to zero; then only the elements count, where they are asked.
        _ if is_zero(expected) && bound.abs.is_finite() => 0.0,
        rel_l2 => ratio(distance(actual, expected), rel_l2 * norm(expected)),
    };
    let single = match bound.abs {
        f64::INFINITY => 0.0,
        abs => ratio(difference(actual[worst], expected[worst]), abs),
    };
    whole.max(single)
}

/// 0 / 0 is a bound of nothing, fully kept.
fn ratio(found: f64, allowed: f64) -> f64 {
    if found == 0.0 { 0.0 } else { found / allowed }
}

fn is_zero(values: &[f32]) -> bool {
    values.iter().all(|value| *value == 0.0)
}

fn difference(a: f32, b: f32) -> f64 {
    (f64::from(a) - f64::from(b)).abs()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| difference(*a, *b).powi(2)).sum::<f64>().sqrt()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn worst(a: &[f32], b: &[f32]) -> usize {
    let by = |i: &usize, j: &usize| difference(a[*i], b[*i]).total_cmp(&difference(a[*j], b[*j]));
    (0..a.len()).max_by(by).unwrap_or(0)
}
