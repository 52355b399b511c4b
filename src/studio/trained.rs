//! What the metadata of weights say that were trained towards another network's answers.

use std::collections::BTreeMap;

use super::loaded::Loaded;
use crate::Result;
use crate::nets::Card;
use crate::weights::PROGRAM;

/// The words beside a student's weights: its card, the network itself where a file has described it, and what it learnt from whom.
///
/// # Errors
/// Those of [`crate::nets::Structure::description`].
pub fn trained_words(student: &Loaded, teacher: &Loaded) -> Result<BTreeMap<String, String>> {
    let structure = &student.network.structure;
    let mut words = Card {
        network: Some(structure.name().into()),
        transform_input: Some(student.network.transform_input),
        ..student.network.card.clone()
    }
    .write();
    words.extend(structure.description()?.map(|text| (PROGRAM.to_owned(), text)));
    // What was measured of the weights before holds no longer.
    words.retain(|key, _| !["val_accuracy", "adversarial_eps"].contains(&key.as_str()));
    words.insert("trained_from".into(), student.network.checksum.clone());
    words.insert("trained_towards".into(), teacher.network.checksum.clone());
    Ok(words)
}
