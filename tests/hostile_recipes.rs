//! Recipes that somebody else wrote, by mistake or to do harm: refused in words, or good, and always soon.

use std::time::{Duration, Instant};

use entoptic::Error;
use entoptic::synthesis::recipe::Recipe;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mutants of each shipped recipe; `ENTOPTIC_MUTATIONS` asks for another number.
const MUTATIONS: u64 = 250;

/// The longest that reading a recipe may take.
const TIME: Duration = Duration::from_secs(20);

/// What a mutation may put in.
const WORDS: [&str; 24] = [
    "-1",
    "0",
    "1e999",
    "-inf",
    "nan",
    "4294967295",
    "18446744073709551616",
    "9223372036854775807",
    "1e-300",
    "[[stage]]\n",
    "[init]\n",
    "[",
    "]",
    "{",
    "\"",
    "'''",
    "=",
    "\n",
    "\\u0000",
    "\u{202e}",
    "iterations = 100000\n",
    "size = 16384\n",
    "pad = { width = 4294967295, value = 0.5 }\n",
    "nearest_sizes = { sizes = [], until = 1.0 }\n",
];

/// Reads a text as any command does. A good recipe is written and read again as it is.
fn survive(text: &str) -> bool {
    let begun = Instant::now();
    let good = match Recipe::parse("hostile", text) {
        Ok(recipe) => {
            recipe.validate().unwrap_or_else(|error| panic!("read and then refused, {error}:\n{text}"));
            assert!(recipe.final_window() > 0, "{text}");
            let again = Recipe::parse("again", &recipe.to_toml()).unwrap_or_else(|error| panic!("{error}:\n{text}"));
            assert_eq!(again, recipe, "{text}");
            true
        }
        Err(Error::Recipe { name, reason }) => {
            assert!(name == "hostile" && !reason.is_empty(), "{text}");
            false
        }
        Err(other) => panic!("{other}:\n{text}"),
    };
    assert!(begun.elapsed() < TIME, "{:?}:\n{text}", begun.elapsed());
    good
}

/// A place between two characters.
fn place(numbers: &mut impl Rng, text: &str) -> usize {
    let mut at = numbers.random_range(0..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(numbers: &mut ChaCha8Rng, text: &mut String) {
    let (a, b) = (place(numbers, text), place(numbers, text));
    let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 40));
    let to = (to..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    match numbers.random_range(0..5) {
        0 => text.replace_range(from..to, ""),
        1 => text.insert_str(from, WORDS[numbers.random_range(0..WORDS.len())]),
        2 => {
            let piece = text[from..to].to_owned();
            text.insert_str(b, &piece);
        }
        3 => text.insert(from, char::from(numbers.random_range(0..128u8))),
        // The value of a key.
        _ => {
            if let Some(equals) = text[from..].find("= ").map(|at| from + at + 2) {
                let end = text[equals..].find('\n').map_or(text.len(), |at| equals + at);
                text.replace_range(equals..end, WORDS[numbers.random_range(0..WORDS.len())]);
            }
        }
    }
}

#[test]
fn mutated_recipes_are_refused_in_words_or_good() {
    let asked = std::env::var("ENTOPTIC_MUTATIONS").ok().and_then(|count| count.parse().ok());
    let (mut good, mut all) = (0, 0);
    for (index, name) in Recipe::names().enumerate() {
        let text = Recipe::source_text(name).expect("a shipped recipe");
        assert!(survive(text), "{name}");
        for seed in 0..asked.unwrap_or(MUTATIONS) {
            let mut numbers = ChaCha8Rng::seed_from_u64(seed << 8 | index as u64);
            let mut mutant = text.to_owned();
            for _ in 0..numbers.random_range(1..4) {
                mutate(&mut numbers, &mut mutant);
            }
            good += u64::from(survive(&mutant));
            all += 1;
        }
    }
    // Mutations reach past the parser and stop short of nonsense.
    assert!(good > all / 20 && good < all * 19 / 20, "{good} of {all} mutants are good");
}

#[test]
fn deep_long_and_endless_recipes_end() {
    let demo = Recipe::source_text("demo").expect("a shipped recipe");
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(20_000)),
        format!("a{} = 1", ".a".repeat(20_000)),
        format!("name = \"{}", "x".repeat(1 << 20)),
        "[[stage]]\n".repeat(50_000),
        "\0".repeat(1 << 16),
        "\u{feff}".repeat(1000),
        String::new(),
    ] {
        let begun = Instant::now();
        assert!(matches!(Recipe::parse("hostile", &text), Err(Error::Recipe { .. })), "{:.40}", text);
        assert!(begun.elapsed() < TIME, "{:?} for {:.40}", begun.elapsed(), text);
    }
    // Words are bounded by the file alone: a long name is a name.
    let long = demo.replacen("name = \"demo\"", &format!("name = \"{}\"", "x".repeat(1 << 16)), 1);
    assert!(Recipe::parse("long", &long).is_ok());
}
