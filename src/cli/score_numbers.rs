//! Named numbers that `entoptic score` shows: means, quantiles, tables.

use entoptic::analysis::{FREQUENCIES, Judged, Pixels, frequency};
use serde_json::{Map, Value, json};

use super::messages::shown;

/// Named numbers, always the same names in the same order.
pub type Numbers = Vec<(&'static str, f64)>;

/// What is said of one picture, or of several in the mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub pixels: Numbers,
    /// In the order of the judges.
    pub judges: Vec<Numbers>,
}

impl Scores {
    pub fn mean<'a>(all: impl IntoIterator<Item = &'a Scores>) -> Scores {
        let all: Vec<&Scores> = all.into_iter().collect();
        let judge = |judge: usize| mean(all.iter().map(|scores| &scores.judges[judge]));
        Scores {
            pixels: mean(all.iter().map(|scores| &scores.pixels)),
            judges: (0..all[0].judges.len()).map(judge).collect(),
        }
    }

    /// Mean over all judges of a number that each of them gives.
    pub fn over_judges(&self, name: &str) -> f64 {
        self.judges.iter().map(|numbers| value(numbers, name)).sum::<f64>() / self.judges.len() as f64
    }
}

/// The mean of each number.
pub fn mean<'a>(all: impl IntoIterator<Item = &'a Numbers>) -> Numbers {
    let all: Vec<&Numbers> = all.into_iter().collect();
    let sum = |index: usize| all.iter().map(|numbers| numbers[index].1).sum::<f64>();
    all[0].iter().enumerate().map(|(index, (name, _))| (*name, sum(index) / all.len() as f64)).collect()
}

/// The value of each number below which a share of all lies.
pub fn quantile(all: &[&Numbers], share: f64) -> Numbers {
    let at = |index: usize| {
        let mut values: Vec<f64> = all.iter().map(|numbers| numbers[index].1).collect();
        values.sort_by(f64::total_cmp);
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    all[0].iter().enumerate().map(|(index, (name, _))| (*name, at(index))).collect()
}

/// One of the numbers.
///
/// # Panics
/// When there is none of that name.
pub fn value(numbers: &Numbers, name: &str) -> f64 {
    numbers.iter().find(|(other, _)| *other == name).expect("names are those of the lists below").1
}

pub fn pixel_numbers(pixels: &Pixels) -> Numbers {
    vec![
        ("slope", pixels.spectrum.slope),
        ("fine", pixels.spectrum.fine),
        ("fine ratio", pixels.spectrum.fine_ratio),
        ("difference", pixels.spectrum.difference),
        ("variation", pixels.variation),
        ("saturated", pixels.saturation),
        ("chroma", pixels.chroma),
        ("contrast", pixels.contrast),
        ("symmetry", pixels.symmetry),
    ]
}

/// What [`judge_numbers`] says of transfer.
pub const TRANSFER: [&str; 4] = ["top 1", "top 5", "probability", "margin"];

pub fn judge_numbers(judged: &Judged) -> Numbers {
    vec![
        ("top 1", f64::from(u8::from(judged.rank < 1))),
        ("top 5", f64::from(u8::from(judged.rank < 5))),
        ("probability", judged.probability),
        ("margin", judged.margin),
        ("stability", judged.stability),
        ("worst", judged.worst),
        ("statistics", judged.statistics),
    ]
}

/// Mean logarithm of the spectra's power, row by row.
pub fn spectrum_rows(pixels: &[Pixels]) -> Vec<(f64, f64)> {
    let mean = |index: usize| {
        let known = pixels.iter().map(|pixels| pixels.spectrum.log_power[index]).filter(|power| !power.is_nan());
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), power| (sum + power, count + 1.0));
        sum / count
    };
    (0..FREQUENCIES).map(|index| (frequency(index), mean(index))).collect()
}

/// The numbers as an object; what is no number becomes null.
pub fn object(numbers: &Numbers) -> Map<String, Value> {
    numbers.iter().map(|&(name, value)| (name.replace(' ', "_"), json!(value))).collect()
}

/// Rows of equally named numbers under a line of their names.
pub fn table(title: &str, rows: &[(String, Numbers)]) {
    let Some((_, first)) = rows.first() else { return };
    let width = rows.iter().map(|(name, _)| name.chars().count()).chain([title.chars().count()]).max().unwrap_or(0);
    let names: String = first.iter().map(|(name, _)| format!("{name:>13}")).collect();
    println!("{title:<width$}{names}");
    for (name, numbers) in rows {
        let cell = |&(name, value): &(&str, f64)| match (name, value.is_nan()) {
            (_, true) => format!("{:>13}", "-"),
            ("pictures", false) => format!("{value:>13}"),
            _ => format!("{value:>13.4}"),
        };
        println!("{:<width$}{}", shown(name), numbers.iter().map(cell).collect::<String>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_quantiles_are_taken_number_by_number() {
        let all: Vec<Numbers> = (0..5).map(|k| vec![("a", f64::from(k)), ("b", f64::from(10 - k * k))]).collect();
        assert_eq!(mean(&all), [("a", 2.0), ("b", 4.0)]);
        let all: Vec<&Numbers> = all.iter().collect();
        assert_eq!(quantile(&all, 0.0), [("a", 0.0), ("b", -6.0)]);
        assert_eq!(quantile(&all, 0.375), [("a", 1.5), ("b", 3.5)]);
        assert_eq!(quantile(&all, 1.0), [("a", 4.0), ("b", 10.0)]);
    }
}
