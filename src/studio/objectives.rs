//! The objectives of the original experiments, for networks as the user gave them.

use super::loaded::Loaded;
use crate::objective::{Form, Measure, Objective, Place, Term};

/// What the second network's logit is aimed at in the source; its gradient does not depend on it.
const STEP: f32 = 200.0;

fn logit(networks: &[&Loaded], index: usize, form: Form, weight: f32) -> Term {
    Term::class(index, networks[index].head, form, weight * networks[index].weight)
}

/// One network: |C - O_c|.
pub fn class(networks: &[&Loaded], constant: f32) -> Objective {
    Objective { terms: vec![logit(networks, 0, Form::Apart(constant), 1.0)] }
}

/// Several networks: the mean of w_k (C_k - O_k), with C_k = C, 2C, ... as in the source.
pub fn joint(networks: &[&Loaded], constant: f32) -> Objective {
    let share = 1.0 / networks.len() as f32;
    let term = |k: usize| logit(networks, k, Form::Lacking(constant + k as f32 * STEP), share);
    Objective { terms: (0..networks.len()).map(term).collect() }
}

/// 2 (sum of (C_k - O_k) over the first networks - the same over the last `minus`).
pub fn difference(networks: &[&Loaded], minus: usize) -> Objective {
    let raised = networks.len() - minus;
    let sign = |k: usize| if k < raised { 2.0 } else { -2.0 };
    let term = |k: usize| logit(networks, k, Form::Lacking(STEP * (k + 1) as f32), sign(k));
    Objective { terms: (0..networks.len()).map(term).collect() }
}

/// The sum of O_c, to be made small.
pub fn opposite(networks: &[&Loaded]) -> Objective {
    Objective { terms: (0..networks.len()).map(|k| logit(networks, k, Form::Plain, 1.0)).collect() }
}

/// 2C - O_p - O_r for the classes of inputs 0 and 1, or C less the lower of the two.
pub fn merge(networks: &[&Loaded], juxtapose: bool) -> Objective {
    let term = |k: usize, measure| Term {
        place: Place::Logits(k, networks[k].head),
        measure,
        form: Form::Lacking(STEP),
        weight: networks[k].weight,
    };
    let measures = match juxtapose {
        true => vec![Measure::LowerClass],
        false => vec![Measure::Class { slot: 0 }, Measure::Class { slot: 1 }],
    };
    let terms = (0..networks.len()).flat_map(|k| measures.iter().map(move |measure| term(k, measure.clone())));
    Objective { terms: terms.collect() }
}

/// (C - O_p (q-n)/q) + (C - O_r n/q) at step n of q, for the classes of inputs 0 and 1.
pub fn blend(networks: &[&Loaded]) -> Objective {
    let term = |k: usize, slot: usize| Term {
        place: Place::Logits(k, networks[k].head),
        measure: Measure::Class { slot },
        form: Form::Fading { constant: STEP, rising: slot == 1 },
        weight: networks[k].weight,
    };
    Objective { terms: (0..networks.len()).flat_map(|k| [0, 1].map(|slot| term(k, slot))).collect() }
}

/// C less the sum over a region of a layer, times a factor.
pub fn region(layer: &str, measure: Measure, weight: f32) -> Objective {
    let place = Place::Layer(0, layer.to_owned());
    Objective { terms: vec![Term { place, measure, form: Form::Lacking(STEP), weight }] }
}
