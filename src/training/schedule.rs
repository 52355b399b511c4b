//! Learning rates over a run.

use std::f64::consts::PI;

/// How the learning rate goes from the first step to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// The same at every step.
    #[default]
    Constant,
    /// Down to nothing along half a cosine.
    Cosine,
    /// Up in a straight line over the first tenth of the steps, then down to nothing along half a cosine.
    OneCycle,
}

impl Schedule {
    /// The rates of all steps; `rate` is the largest.
    pub fn rates(self, rate: f32, steps: usize) -> Vec<f32> {
        let rise = if self == Schedule::OneCycle { steps.div_ceil(10) } else { 0 };
        let share = |step: usize| match self {
            Schedule::Constant => 1.0,
            _ if step < rise => (step + 1) as f64 / rise as f64,
            _ => 0.5 * (1.0 + (PI * (step - rise) as f64 / (steps - rise) as f64).cos()),
        };
        (0..steps).map(|step| (f64::from(rate) * share(step)) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rates_follow_their_curves() {
        assert_eq!(Schedule::Constant.rates(0.5, 3), [0.5; 3]);
        let cosine = Schedule::Cosine.rates(2.0, 4);
        for (found, expected) in cosine.iter().zip([2.0, 1.0 + 0.5f32.sqrt(), 1.0, 1.0 - 0.5f32.sqrt()]) {
            assert!((found - expected).abs() < 1e-6, "{cosine:?}");
        }
        let cycle = Schedule::OneCycle.rates(1.0, 20);
        assert_eq!(cycle[..3], [0.5, 1.0, 1.0]);
        assert!((cycle[11] - 0.5).abs() < 1e-6, "half way down from step 2 to step 20: {cycle:?}");
        assert!(cycle[19] > 0.0 && cycle[19] < 0.01);
        assert_eq!(Schedule::OneCycle.rates(1.0, 1), [1.0]);
        assert!(Schedule::OneCycle.rates(1.0, 0).is_empty());
    }
}
