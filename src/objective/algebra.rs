//! Objectives that add and scale, and their text: `channel(inception4c, 7) + 0.5*logit(church) - 0.001*tv`.

use std::fmt::Arguments;
use std::ops::{Add, Mul, Neg, Range, Sub};

use super::{Form, Measure, Objective, Place, Term};
use crate::classes::ClassList;
use crate::nets::Head;
use crate::ops::Metric;
use crate::{Error, Result};

impl Objective {
    /// A number that is measured somewhere.
    pub fn of(place: Place, measure: Measure) -> Self {
        Objective { terms: vec![Term { place, measure, form: Form::Plain, weight: 1.0 }] }
    }

    /// A class's logit at a head of a network, by the network's position.
    pub fn logit(network: usize, head: Head, class: usize) -> Self {
        let measure = Measure::Region { channels: Some(class..class + 1), rows: None, columns: None };
        Self::of(Place::Logits(network, head), measure)
    }

    /// The mean of a layer's channel.
    pub fn channel(network: usize, layer: &str, channel: usize) -> Self {
        Self::mean(network, layer, Some(channel..channel + 1))
    }

    /// The mean of a layer.
    pub fn layer(network: usize, layer: &str) -> Self {
        Self::mean(network, layer, None)
    }

    fn mean(network: usize, layer: &str, channels: Option<Range<usize>>) -> Self {
        Self::of(Place::Layer(network, layer.to_owned()), Measure::Mean { channels })
    }

    /// One unit of a layer: a channel at a row and a column, by default in the middle.
    pub fn unit(network: usize, layer: &str, channel: usize, at: Option<[usize; 2]>) -> Self {
        Self::of(Place::Layer(network, layer.to_owned()), Measure::Unit { channel, at })
    }

    /// The sum of absolute differences between neighbouring pixels of the picture.
    pub fn total_variation() -> Self {
        Self::of(Place::Picture, Measure::TotalVariation)
    }

    /// The sum of the picture's absolute values, or of their squares, or its root.
    pub fn norm(metric: Metric) -> Self {
        Self::of(Place::Picture, Measure::Norm(metric))
    }

    /// How far a network's batch norms are given values unlike those of training.
    pub fn statistics(network: usize) -> Self {
        Self::of(Place::Picture, Measure::Statistics { network })
    }
}

impl Add for Objective {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self
    }
}

impl Sub for Objective {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Objective {
    type Output = Self;

    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Mul<f32> for Objective {
    type Output = Self;

    fn mul(mut self, factor: f32) -> Self {
        self.terms.iter_mut().for_each(|term| term.weight *= factor);
        self
    }
}

/// A network as an objective's text may name it.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// Its name, which stands before a term with a dot: `googlenet.logit(church)`. Its position does as well: `1.logit(church)`.
    pub name: &'a str,
    /// Its classes.
    pub classes: &'a ClassList,
    /// The head whose logits are meant.
    pub head: Head,
}

/// Reads an objective: a sum of terms with factors.
///
/// | term | what it is |
/// | --- | --- |
/// | `logit(CLASS)` | a class's logit; an index, a name or a synset |
/// | `channel(LAYER, K)` | the mean of channel K |
/// | `unit(LAYER, K)`, `unit(LAYER, K, ROW, COLUMN)` | channel K at a pixel, by default in the middle |
/// | `layer(LAYER)` | the mean of a layer |
/// | `tv`, `l1`, `l2` | total variation of the picture, the sum of its absolute values, the root of the sum of squares |
/// | `statistics` | the distance to what a network's batch norms know of training |
///
/// A factor stands before a term (`0.5*tv`) or behind it (`tv/2`); parentheses group (`2*(tv + l1)`). `NAME.term` is the term of a
/// network other than the first.
///
/// # Errors
/// [`Error::Objective`] with the place in the text; those of [`ClassList::find`]. Whether a layer exists is found when the
/// objective is recorded.
pub fn read(text: &str, networks: &[Named]) -> Result<Objective> {
    let mut reader = Reader { text, at: 0, depth: 0, networks };
    let sum = reader.sum()?;
    match reader.peek() {
        None => Ok(sum),
        Some(other) => Err(reader.fail(format_args!("\"{other}\" is not expected here"))),
    }
}

/// Groups within each other; more are no objective of anybody's.
const MAX_DEPTH: usize = 32;

struct Reader<'a> {
    text: &'a str,
    /// Bytes of the text that have been read.
    at: usize,
    /// Parentheses that are open.
    depth: usize,
    networks: &'a [Named<'a>],
}

/// What stands between two signs of a product.
enum Factor {
    Number(f32),
    Objective(Objective),
}

impl Reader<'_> {
    fn fail(&self, reason: Arguments) -> Error {
        let character = self.text[..self.at].chars().count() + 1;
        Error::Objective { objective: self.text.to_owned(), reason: format!("{reason}, at character {character}") }
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    fn sum(&mut self) -> Result<Objective> {
        let mut sum = Objective::default();
        loop {
            let minus = match (self.take('+'), self.take('-')) {
                (false, false) if !sum.terms.is_empty() => return Ok(sum),
                (_, minus) => minus,
            };
            let product = self.product()?;
            sum = if minus { sum - product } else { sum + product };
        }
    }

    fn product(&mut self) -> Result<Objective> {
        let (mut number, mut objective, mut divide) = (1.0, None, false);
        loop {
            let from = self.at;
            match self.factor()? {
                Factor::Number(0.0) if divide => return Err(self.fail(format_args!("nothing is divided by 0"))),
                Factor::Number(factor) if divide => number /= factor,
                Factor::Number(factor) => number *= factor,
                Factor::Objective(_) if divide || objective.is_some() => {
                    self.at = from;
                    return Err(self.fail(format_args!("terms are added and scaled, not multiplied with each other")));
                }
                Factor::Objective(found) => objective = Some(found),
            }
            divide = match (self.take('*'), self.take('/')) {
                (false, false) => break,
                (_, divide) => divide,
            };
        }
        match objective {
            Some(objective) => Ok(objective * number),
            None => Err(self.fail(format_args!("a number alone is no objective"))),
        }
    }

    fn factor(&mut self) -> Result<Factor> {
        if self.take('(') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.fail(format_args!("there are more than {MAX_DEPTH} parentheses within each other")));
            }
            let sum = self.sum()?;
            if !self.take(')') {
                return Err(self.fail(format_args!("\")\" is missing")));
            }
            self.depth -= 1;
            return Ok(Factor::Objective(sum));
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.fail(format_args!("a term is missing")));
        }
        match word.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(Factor::Number(number)),
            Ok(_) => Err(self.fail(format_args!("{word} is no number to scale with"))),
            Err(_) => self.term(&word).map(Factor::Objective),
        }
    }

    /// A name with dots, or a number, up to the next sign. The sign of an exponent belongs to its number.
    fn word(&mut self) -> String {
        self.peek();
        let rest = &self.text[self.at..];
        let in_number = |at: usize| rest[..at].ends_with(['e', 'E']) && rest[..at - 1].parse::<f32>().is_ok();
        let ends = |(at, c): (usize, char)| match c {
            '+' | '-' => !in_number(at),
            '*' | '/' | '(' | ')' | ',' => true,
            other => other.is_whitespace(),
        };
        let end = rest.char_indices().find(|&place| ends(place)).map_or(rest.len(), |(at, _)| at);
        self.at += end;
        rest[..end].to_owned()
    }

    /// What stands between parentheses, split at commas outside of further ones; nothing where there are none.
    fn arguments(&mut self) -> Result<Vec<String>> {
        if !self.take('(') {
            return Ok(vec![]);
        }
        let mut arguments = vec![String::new()];
        let mut depth = 0;
        for (at, c) in self.text[self.at..].char_indices() {
            match c {
                ')' if depth == 0 => {
                    self.at += at + 1;
                    return Ok(arguments.iter().map(|argument| argument.trim().to_owned()).collect());
                }
                ',' if depth == 0 => arguments.push(String::new()),
                _ => {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    arguments.last_mut().expect("it begins with one").push(c);
                }
            }
        }
        Err(self.fail(format_args!("\")\" is missing")))
    }

    fn term(&mut self, word: &str) -> Result<Objective> {
        let (network, kind) = match word.rsplit_once('.') {
            None => (0, word),
            Some((name, kind)) => (self.network(name)?, kind),
        };
        let arguments = self.arguments()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let number = |text: &str| {
            let number = text.parse::<usize>();
            number.map_err(|_| self.fail(format_args!("\"{text}\" is not the number of a channel, a row or a column")))
        };
        match (kind, arguments.as_slice()) {
            // The name of a class may have commas in it.
            ("logit", [_, ..]) => {
                let Named { classes, head, .. } = self.networks[network];
                Ok(Objective::logit(network, head, classes.find(&arguments.join(", "))?))
            }
            ("channel", [layer, channel]) => Ok(Objective::channel(network, layer, number(channel)?)),
            ("unit", [layer, channel]) => Ok(Objective::unit(network, layer, number(channel)?, None)),
            ("unit", [layer, channel, row, column]) => {
                Ok(Objective::unit(network, layer, number(channel)?, Some([number(row)?, number(column)?])))
            }
            ("layer", [layer]) => Ok(Objective::layer(network, layer)),
            ("tv", []) => Ok(Objective::total_variation()),
            ("l1", []) => Ok(Objective::norm(Metric::L1)),
            ("l2", []) => Ok(Objective::norm(Metric::L2)),
            ("statistics", []) => Ok(Objective::statistics(network)),
            (_, given) => Err(self.fail(format_args!(
                "{kind} with {} arguments is no term; there are logit(CLASS), channel(LAYER, K), unit(LAYER, K), \
                 unit(LAYER, K, ROW, COLUMN), layer(LAYER), tv, l1, l2 and statistics",
                given.len()
            ))),
        }
    }

    /// A network by its name or its position.
    fn network(&self, name: &str) -> Result<usize> {
        let called = |index: &usize| self.networks[*index].name == name;
        let found: Vec<usize> = (0..self.networks.len()).filter(called).collect();
        match (found.as_slice(), name.parse::<usize>()) {
            ([only], _) => Ok(*only),
            ([], Ok(index)) if index < self.networks.len() => Ok(index),
            ([], _) => {
                let names: Vec<&str> = self.networks.iter().map(|network| network.name).collect();
                Err(self.fail(format_args!("no network is called {name}; there are {}", names.join(", "))))
            }
            (several, _) => {
                let positions: Vec<String> = several.iter().map(|index| format!("{index}.")).collect();
                let positions = positions.join(" or ");
                Err(self.fail(format_args!("several networks are called {name}; begin the term with {positions}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Objective> {
        let one = ClassList::parse(r#"["tench", "church", "great white shark, white shark"]"#);
        let two = ClassList::parse("cat,dog");
        let networks = [
            Named { name: "resnet50", classes: &one, head: Head::Main },
            Named { name: "my.net", classes: &two, head: Head::Side("aux1") },
        ];
        read(text, &networks)
    }

    #[test]
    fn texts_are_sums_of_scaled_terms() {
        let church = || Objective::logit(0, Head::Main, 1);
        let tv = Objective::total_variation;
        let same = |text: &str, objective: Objective| assert_eq!(parse(text).expect(text), objective, "{text}");
        same("logit(church)", church());
        same(" logit( 1 ) ", church());
        same("-logit(church)", -church());
        same("0.5*logit(church) - 1e-3*tv", church() * 0.5 - tv() * 1e-3);
        same("logit(church)/4+tv*2", church() * 0.25 + tv() * 2.0);
        same("2*(tv + 3*(l1 - l2))", tv() * 2.0 + (Objective::norm(Metric::L1) - Objective::norm(Metric::L2)) * 6.0);
        same("channel(layer1.0.conv2, 7)", Objective::channel(0, "layer1.0.conv2", 7));
        same("unit(a, 3) + unit(a,3,1,2)", Objective::unit(0, "a", 3, None) + Objective::unit(0, "a", 3, Some([1, 2])));
        same("my.net.logit(dog) - statistics", Objective::logit(1, Head::Side("aux1"), 1) - Objective::statistics(0));
        same("1.logit(cat) + 1.statistics", Objective::logit(1, Head::Side("aux1"), 0) + Objective::statistics(1));
        same("logit(great white shark, white shark)", Objective::logit(0, Head::Main, 2));
        same("2E+1*layer(b)", Objective::layer(0, "b") * 20.0);
    }

    #[test]
    fn what_is_no_objective_is_said_with_its_place() {
        let said = |text: &str| parse(text).expect_err(text).to_string();
        for (text, part) in [
            ("", "a term is missing, at character 1"),
            ("tv +", "a term is missing, at character 5"),
            ("3", "a number alone is no objective"),
            ("tv*l1", "terms are added and scaled, not multiplied with each other, at character 4"),
            ("1/tv", "not multiplied"),
            ("tv/0", "divided by 0"),
            ("tv tv", "\"t\" is not expected here, at character 4"),
            ("logit(church", "\")\" is missing"),
            ("(tv", "\")\" is missing"),
            ("channel(a)", "channel with 1 arguments is no term"),
            ("channel(a, b)", "\"b\" is not the number of a channel"),
            ("colour", "colour with 0 arguments is no term; there are logit(CLASS)"),
            ("vgg.logit(1)", "no network is called vgg; there are resnet50, my.net"),
            ("inf*tv", "inf is no number to scale with"),
            ("logit(zebra)", "zebra"),
        ] {
            assert!(said(text).contains(part), "{text}: {}", said(text));
        }
        assert!(said(&("(".repeat(40_000) + "tv")).contains("more than 32 parentheses"));
    }
}
