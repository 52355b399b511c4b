//! Whether values can be those of pictures.

use std::path::Path;

use super::note::{Ear, Note};
use crate::nets::Normalize;
use crate::tensor::Array;

/// The lowest and the highest of a picture's values and of 0 and 1.
pub fn extent(picture: &Array) -> [f32; 2] {
    picture.values.iter().fold([0.0, 1.0], |[low, high], &value| [low.min(value), high.max(value)])
}

/// Warns of values that are far from those of pixels, which only tensors and some TIFF files can hold.
pub fn check_range(ear: Ear, path: &Path, picture: &Array, normalize: Normalize) {
    let [low, high] = extent(picture);
    if !matches!(picture.shape.c(), 1 | 3) {
        return;
    }
    // As they are, values may have been normalised before: ImageNet's then go from -2.1 to 2.6.
    let margin = if normalize == Normalize::Source { 9.0 } else { 1.0 };
    if low < -margin || high > 1.0 + margin {
        let advice = if high > 10.0 {
            "divide them by 255 if they are bytes"
        } else {
            "--normalize source takes values that have been normalised"
        };
        let path = path.display();
        ear(Note::Warning(format!(
            "{path}: its values go from {low} to {high}, those of a picture from 0 to 1; {advice}"
        )));
    }
}
