//! A recipe.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rooms::Error;
use rooms::synthesis::recipe::Recipe;

fuzz_target!(|text: &str| {
    let begun = Instant::now();
    match Recipe::parse("fuzzed", text) {
        Ok(recipe) => {
            recipe.validate().expect("it has been checked");
            assert!(recipe.final_window() > 0);
            assert_eq!(Recipe::parse("again", &recipe.to_toml()).expect("what is written can be read"), recipe);
        }
        Err(Error::Recipe { reason, .. }) => assert!(!reason.is_empty()),
        Err(other) => panic!("{other}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
});
