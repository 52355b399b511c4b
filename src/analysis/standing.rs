//! How a class stands among a network's logits.

/// Where a class is among the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Classes with a larger logit: 0 when it is the most activated one, below 5 when it is among the first five.
    pub rank: usize,
    /// The logit of the class less the largest other one, over the standard deviation of all logits.
    pub margin: f64,
    /// The most activated other class, the first of equal ones; none where there is one class only.
    pub other: Option<usize>,
}

/// How a class stands.
///
/// # Panics
/// When there is no such logit.
pub fn standing(logits: &[f32], class: usize) -> Standing {
    let own = logits[class];
    let others = || logits.iter().enumerate().filter(|(index, _)| *index != class);
    let other = others().fold(None, |best: Option<(usize, f32)>, (index, &logit)| match best {
        Some((_, top)) if top >= logit => best,
        _ => Some((index, logit)),
    });
    let count = logits.len() as f64;
    let mean = logits.iter().map(|&logit| f64::from(logit)).sum::<f64>() / count;
    let deviation = (logits.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let ahead = f64::from(own) - f64::from(other.map_or(f32::NEG_INFINITY, |(_, logit)| logit));
    Standing {
        rank: others().filter(|(_, other)| **other > own).count(),
        margin: if deviation > 0.0 { ahead / deviation } else { 0.0 },
        other: other.map(|(index, _)| index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(logits: &[f32], class: usize) -> (usize, f64, Option<usize>) {
        let Standing { rank, margin, other } = standing(logits, class);
        (rank, margin, other)
    }

    #[test]
    fn margins_count_in_deviations() {
        // Mean 1, deviation 1.
        assert_eq!(found(&[2.0, 0.0, 2.0, 0.0], 0), (0, 0.0, Some(2)));
        assert_eq!(found(&[2.0, 0.0, 2.0, 0.0], 1), (2, -2.0, Some(0)));
        assert_eq!(found(&[1.0, 1.0], 1), (0, 0.0, Some(0)));
        assert_eq!(found(&[1.0], 0), (0, 0.0, None));
        assert_eq!(found(&[-3.0, -1.0, -2.0], 1).2, Some(2));
    }
}
