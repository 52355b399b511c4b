//! What values a recipe may have.

use super::fault::{Fault, ascending, within};
use super::parametrisation::{Basis, Parametrisation};
use super::recipe::{Recipe, Start};
use super::stage::{BlurOn, MAX_ITERATIONS, MAX_SIZE, Stage};

impl Recipe {
    /// The first value that is not allowed.
    pub(super) fn check(&self) -> Result<(), Fault> {
        within("init.size", self.init.size, 1, MAX_SIZE)?;
        match self.init.start {
            Start::Normal { mean, std } => {
                within("init.mean", mean, -1000.0, 1000.0)?;
                within("init.std", std, 0.0, 1000.0)?;
            }
            Start::Uniform { low, range } => {
                within("init.low", low, -1000.0, 1000.0)?;
                within("init.range", range, 0.0, 1000.0)?;
            }
            Start::Spectral { mean, std, decay } => {
                within("init.mean", mean, -1000.0, 1000.0)?;
                within("init.std", std, 0.0, 1000.0)?;
                within("init.decay", decay, -4.0, 4.0)?;
            }
            Start::Image => {}
        }
        self.parametrisation.check()?;
        if self.stages.is_empty() {
            return Err(Fault::new("stage", "the list is empty, at least one stage is needed"));
        }
        for (index, (stage, start)) in self.starts().enumerate() {
            stage.check(start).map_err(|fault| fault.within(index))?;
            stage.check_beside(&self.parametrisation).map_err(|fault| fault.within(index))?;
        }
        Ok(())
    }
}

impl Stage {
    /// Refuses what changes pixels where these are not what is optimised.
    fn check_beside(&self, parametrisation: &Parametrisation) -> Result<(), Fault> {
        if parametrisation.is_plain() {
            return Ok(());
        }
        let there = [
            ("clamp", self.clamp.is_some()),
            ("pad", self.pad.is_some()),
            ("colour_jitter", self.colour_jitter > 0.0),
            ("nearest_sizes", self.nearest_sizes.is_some()),
            ("sigma", self.sigma != [0.0, 0.0] && parametrisation.basis != Basis::Pixels),
        ];
        match there.into_iter().find(|(_, there)| *there) {
            Some(("clamp", _)) => {
                Err(Fault::new("clamp", "cannot stand beside parametrisation, whose range bounds pixels"))
            }
            Some((key, _)) => {
                Err(Fault::new(key, "changes pixels, and with this parametrisation others are optimised"))
            }
            None => Ok(()),
        }
    }

    fn check(&self, start: u32) -> Result<(), Fault> {
        within("size", start, 1, MAX_SIZE)?;
        within("iterations", self.iterations, 1, MAX_ITERATIONS)?;
        for rate in self.rate {
            within("rate", rate, 0.0, 1e6)?;
        }
        let smallest = self.check_sizes(start)?;
        let window = self.crop.unwrap_or(smallest);
        self.check_blur(if self.blur_on == BlurOn::Crop { window } else { smallest })?;
        if let Some([low, high]) = self.clamp {
            within("clamp", low, -1000.0, 1000.0)?;
            within("clamp", high, -1000.0, 1000.0)?;
            ascending("clamp", low < high, low, high)?;
        }
        let weights = [("l1", self.l1), ("l2", self.l2), ("total_variation", self.total_variation)];
        for (key, weight) in weights.into_iter().chain([("bn_statistics", self.bn_statistics)]) {
            within(key, weight, 0.0, 1e6)?;
        }
        within("colour_jitter", self.colour_jitter, 0.0, 1.0)?;
        within("shift", self.shift, 0, window - 1)?;
        let [low, high] = self.scale;
        within("scale", low, 0.1, 10.0)?;
        within("scale", high, 0.1, 10.0)?;
        ascending("scale", low <= high, low, high)?;
        within("rotation", self.rotation, 0.0, 180.0)
    }

    /// Checks what changes the size and what must fit into it; returns the smallest size that a step meets.
    fn check_sizes(&self, start: u32) -> Result<u32, Fault> {
        let mut smallest = start;
        if let Some(pad) = self.pad {
            within("pad.width", pad.width, 1, 1000)?;
            within("pad.value", pad.value, -1000.0, 1000.0)?;
            let end = self.size_at(start, self.iterations);
            if end > MAX_SIZE {
                let reason = format!("the picture grows to {end} pixels, allowed are up to {MAX_SIZE}");
                return Err(Fault::new("pad.width", reason));
            }
        }
        if let Some(nearest) = &self.nearest_sizes {
            if self.pad.is_some() {
                return Err(Fault::new("nearest_sizes", "cannot stand beside pad in one stage"));
            }
            if nearest.sizes.is_empty() {
                return Err(Fault::new("nearest_sizes.sizes", "is empty, at least one size is needed"));
            }
            for &size in &nearest.sizes {
                within("nearest_sizes.sizes", size, 1, MAX_SIZE)?;
                smallest = smallest.min(size);
            }
            within("nearest_sizes.until", nearest.until, 0.0, 1.0)?;
        }
        if let Some(crop) = self.crop {
            within("crop", crop, 1, smallest)?;
        }
        if let Some(jitter) = self.jitter {
            if self.crop.is_none() {
                return Err(Fault::new("jitter", "needs crop: it bounds where the crop may lie"));
            }
            within("jitter", jitter, 0, MAX_SIZE)?;
        }
        Ok(smallest)
    }

    fn check_blur(&self, blurred: u32) -> Result<(), Fault> {
        for sigma in self.sigma {
            within("sigma", sigma, 0.0, 1000.0)?;
        }
        within("blur_until", self.blur_until, 0.0, 1.0)?;
        if self.blur_kernel.is_multiple_of(2) {
            return Err(Fault::new("blur_kernel", format!("is {}, an odd number is needed", self.blur_kernel)));
        }
        // The border is reflected without its edge pixel, which needs more pixels than half the kernel.
        let blurs = self.sigma != [0.0, 0.0];
        within("blur_kernel", self.blur_kernel, 1, if blurs { (2 * blurred - 1).min(127) } else { 127 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
name = \"test\"
description = \"\"
normalize = \"source\"
[init]
kind = \"normal\"
size = 64
mean = 0.5
std = 0.05
[[stage]]
iterations = 10
rate = [1.0, 0.5]
[[stage]]
size = 80
iterations = 20
rate = [1.0, 0.5]
";

    /// The reason given for a text with one line changed (`was` to `is`).
    fn reason(was: &str, is: &str) -> String {
        assert!(TEXT.contains(was), "{was} is not in the text");
        reason_of(&TEXT.replacen(was, is, 1))
    }

    /// The reason given for a text with lines added to the second stage, from line 16 on.
    fn added(lines: &str) -> String {
        reason_of(&format!("{TEXT}{lines}\n"))
    }

    fn reason_of(text: &str) -> String {
        match Recipe::parse("test", text) {
            Err(crate::Error::Recipe { name, reason }) if name == "test" => reason,
            other => panic!("expected a mistake, got {other:?}"),
        }
    }

    #[test]
    fn values_out_of_range_are_named_with_their_line_and_what_is_allowed() {
        for (was, is, expected) in [
            ("size = 64", "size = 0", "line 6, init.size: is 0, allowed are 1 to 16384"),
            ("mean = 0.5", "mean = nan", "line 7, init.mean: is NaN, allowed are -1000 to 1000"),
            ("std = 0.05", "std = -1.0", "line 8, init.std: is -1, allowed are 0 to 1000"),
            ("iterations = 10", "iterations = 0", "line 10, stage 1: iterations: is 0, allowed are 1 to 100000"),
            ("[1.0, 0.5]", "[1.0, inf]", "line 11, stage 1: rate: is inf, allowed are 0 to 1000000"),
            ("size = 80", "size = 16385", "line 13, stage 2: size: is 16385, allowed are 1 to 16384"),
        ] {
            assert_eq!(reason(was, is), expected);
        }
        for (lines, expected) in [
            ("sigma = [1.0, -0.1]", "line 16, stage 2: sigma: is -0.1, allowed are 0 to 1000"),
            ("blur_until = 1.5", "line 16, stage 2: blur_until: is 1.5, allowed are 0 to 1"),
            ("blur_kernel = 4", "line 16, stage 2: blur_kernel: is 4, an odd number is needed"),
            (
                "crop = 2\nsigma = [1, 1]\nblur_on = \"crop\"\nblur_kernel = 5",
                "line 19, stage 2: blur_kernel: is 5, allowed are 1 to 3",
            ),
            ("crop = 81", "line 16, stage 2: crop: is 81, allowed are 1 to 80"),
            ("crop = 0", "line 16, stage 2: crop: is 0, allowed are 1 to 80"),
            ("jitter = 3", "line 16, stage 2: jitter: needs crop: it bounds where the crop may lie"),
            ("crop = 70\njitter = 20000", "line 17, stage 2: jitter: is 20000, allowed are 0 to 16384"),
            ("pad = { width = 0, value = 0.7 }", "line 16, stage 2: pad.width: is 0, allowed are 1 to 1000"),
            ("pad = { width = 1, value = nan }", "line 16, stage 2: pad.value: is NaN, allowed are -1000 to 1000"),
            (
                "pad = { width = 1000, value = 0.7 }",
                "line 16, stage 2: pad.width: the picture grows to 40080 pixels, allowed are up to 16384",
            ),
            (
                "pad = { width = 1, value = 0.7 }\nnearest_sizes = { sizes = [70], until = 1 }",
                "line 17, stage 2: nearest_sizes: cannot stand beside pad in one stage",
            ),
            (
                "nearest_sizes = { sizes = [], until = 1 }",
                "line 16, stage 2: nearest_sizes.sizes: is empty, at least one size is needed",
            ),
            (
                "nearest_sizes = { sizes = [70, 0], until = 1 }",
                "line 16, stage 2: nearest_sizes.sizes: is 0, allowed are 1 to 16384",
            ),
            (
                "nearest_sizes = { sizes = [70], until = -1 }",
                "line 16, stage 2: nearest_sizes.until: is -1, allowed are 0 to 1",
            ),
            (
                "crop = 71\nnearest_sizes = { sizes = [70], until = 1 }",
                "line 16, stage 2: crop: is 71, allowed are 1 to 70",
            ),
            ("clamp = [1.0, 0.0]", "line 16, stage 2: clamp: is [1, 0], the lower value comes first"),
            ("clamp = [0.0, inf]", "line 16, stage 2: clamp: is inf, allowed are -1000 to 1000"),
            ("colour_jitter = 2.0", "line 16, stage 2: colour_jitter: is 2, allowed are 0 to 1"),
            ("l1 = -1.0", "line 16, stage 2: l1: is -1, allowed are 0 to 1000000"),
            ("l2 = nan", "line 16, stage 2: l2: is NaN, allowed are 0 to 1000000"),
            ("total_variation = -1.0", "line 16, stage 2: total_variation: is -1, allowed are 0 to 1000000"),
            ("bn_statistics = -1.0", "line 16, stage 2: bn_statistics: is -1, allowed are 0 to 1000000"),
            ("shift = 80", "line 16, stage 2: shift: is 80, allowed are 0 to 79"),
            ("scale = [0.0, 1.0]", "line 16, stage 2: scale: is 0, allowed are 0.1 to 10"),
            ("scale = [1.2, 1.1]", "line 16, stage 2: scale: is [1.2, 1.1], the lower value comes first"),
            ("rotation = 181.0", "line 16, stage 2: rotation: is 181, allowed are 0 to 180"),
        ] {
            assert_eq!(added(lines), expected);
        }
    }

    #[test]
    fn unknown_keys_and_words_are_named_with_their_line() {
        let unknown = added("sgima = [1.0, 1.0]");
        assert!(
            unknown.starts_with("line 16, stage 2: sgima: unknown field `sgima`, expected one of `size`"),
            "{unknown}"
        );
        let unknown = added("pad = { width = 1, values = 0.7 }");
        assert!(unknown.starts_with("line 16, stage 2: pad.values: unknown field `values`"), "{unknown}");
        let unknown = reason("mean = 0.5", "maen = 0.5");
        assert!(unknown.starts_with("line 7, init.maen: unknown field `maen`"), "{unknown}");
        let unknown = added("step = \"adma\"");
        assert!(
            unknown.starts_with("line 16, stage 2: step: unknown variant `adma`, expected one of `raw`"),
            "{unknown}"
        );
    }

    #[test]
    fn wrong_types_missing_keys_and_broken_text_are_named_with_their_line() {
        for (was, is, expected) in [
            (
                "iterations = 10",
                "iterations = \"10\"",
                "line 10, stage 1: iterations: invalid type: string \"10\", expected u32",
            ),
            (
                "iterations = 10",
                "iterations = -1",
                "line 10, stage 1: iterations: invalid value: integer `-1`, expected u32",
            ),
            ("iterations = 10\n", "", "line 9, stage 1: missing field `iterations`"),
            ("[1.0, 0.5]", "[1.0]", "line 11, stage 1: rate: invalid length 1, expected an array of length 2"),
            ("std = 0.05\n", "", "line 4, init: kind = \"normal\" takes mean and std, and no other"),
            (
                "kind = \"normal\"",
                "kind = \"uniform\"",
                "line 4, init: kind = \"uniform\" takes low and range, and no other",
            ),
            (
                "kind = \"normal\"",
                "kind = \"image\"",
                "line 4, init: kind = \"image\" takes no mean, std, low, range or decay",
            ),
            (
                "kind = \"normal\"",
                "kind = \"spectral\"\nlow = 0.5",
                "line 4, init: kind = \"spectral\" takes mean, std and decay, and no other",
            ),
        ] {
            assert_eq!(reason(was, is), expected);
        }
        let broken = reason("size = 80", "size = = 80");
        assert!(broken.starts_with("line 13"), "{broken}");
        let text =
            "name = \"\"\ndescription = \"\"\nnormalize = \"source\"\nstage = []\n[init]\nkind = \"image\"\nsize = 9\n";
        assert_eq!(reason_of(text), "line 4, stage: the list is empty, at least one stage is needed");
    }

    #[test]
    fn a_changed_recipe_is_checked_without_its_text() {
        let mut recipe = Recipe::parse("test", TEXT).unwrap();
        recipe.stages[1].crop = Some(90);
        let error = recipe.validate().unwrap_err().to_string();
        assert_eq!(error, "recipe test: stage 2: crop: is 90, allowed are 1 to 80");
    }
}
