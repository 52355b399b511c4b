//! The page of a comparison: one HTML file that needs nothing but the pictures beside it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// What the page shows. Pictures, networks, sets and classes are known by their places in the lists.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// Names of the networks' classes.
    pub classes: Vec<String>,
    /// Names of the networks.
    pub networks: Vec<String>,
    /// Sets of pictures.
    pub sets: Vec<PageSet>,
    /// Pictures of all sets.
    pub pictures: Vec<PagePicture>,
    /// Networks two by two, in the order of [`PagePicture::apart`].
    pub network_pairs: Vec<[usize; 2]>,
    /// Sets two by two, in the order of `set_distances`.
    pub set_pairs: Vec<[usize; 2]>,
    /// By network and pair of sets.
    pub set_distances: Vec<Vec<ClassDistances>>,
    /// By set and network.
    pub meetings: Vec<Vec<PageMeeting>>,
    /// By set and network.
    pub graphs: Vec<Vec<PageGraph>>,
    /// By network, the largest shares of variance.
    pub shares: Vec<Vec<f32>>,
    /// Two channels of a layer.
    pub planes: Vec<PagePlane>,
    /// Texts of recipes.
    pub recipes: Vec<String>,
    /// Texts about runs.
    pub runs: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// Files with numbers, from the page.
    pub data: Vec<String>,
}

/// Classes, each with L1, L2 and cosine.
pub type ClassDistances = Vec<(usize, [f32; 3])>;

/// A set of pictures.
#[derive(Clone, Debug, Serialize)]
pub struct PageSet {
    /// Its name.
    pub label: String,
    /// Where it came from.
    pub folder: String,
}

/// A picture.
#[derive(Clone, Debug, Serialize)]
pub struct PagePicture {
    /// Its name for people.
    pub file: String,
    /// Address of the small picture, from the page or as `data:`.
    pub small: String,
    /// Address of the large one.
    pub large: String,
    /// Its set.
    pub set: usize,
    /// Its class.
    pub class: usize,
    /// Who made it.
    pub maker: Option<String>,
    /// Of the run that made it.
    pub seed: Option<u64>,
    /// Its recipe.
    pub recipe: Option<usize>,
    /// What else is known of the run.
    pub run: Option<usize>,
    /// By network.
    pub by: Vec<PageOpinion>,
    /// By pair of networks: L1, L2 and cosine between their outputs.
    pub apart: Vec<[f32; 3]>,
}

/// What a network makes of a picture.
#[derive(Clone, Debug, Serialize)]
pub struct PageOpinion {
    /// Logit of the class.
    pub logit: f32,
    /// Its probability.
    pub p: f32,
    /// Classes with a larger logit, and one.
    pub rank: usize,
    /// Ahead of all others, in standard deviations.
    pub margin: f32,
    /// The most activated classes with their logits.
    pub top: Vec<(usize, f32)>,
    /// The most activated other class.
    pub other: Option<usize>,
    /// The nearest picture of another class in the same set, and its distance.
    pub near: Option<(usize, f32)>,
    /// Along the principal components.
    pub at: Vec<f32>,
}

/// What a network makes of a set.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PageMeeting {
    /// Pictures.
    pub pictures: usize,
    /// Share of right answers.
    pub top_1: f64,
    /// Share of those with the class among the first five.
    pub top_5: f64,
    /// Mean probability of the class.
    pub p: f64,
    /// Mean rank, from 1.
    pub rank: f64,
    /// Whether the network had a part in all pictures.
    pub own: bool,
}

/// A graph of nearest neighbours.
#[derive(Clone, Debug, Serialize)]
pub struct PageGraph {
    /// Classes, their components and their places.
    pub places: Vec<(usize, usize, [f32; 2])>,
    /// From class to class.
    pub edges: Vec<(usize, usize)>,
    /// Sizes of its components, largest first.
    pub components: Vec<usize>,
}

/// Two channels of a layer of a network.
#[derive(Clone, Debug, Serialize)]
pub struct PagePlane {
    /// The network.
    pub network: usize,
    /// The layer.
    pub layer: String,
    /// The channels.
    pub channels: [usize; 2],
    /// Means of both, by picture.
    pub points: Vec<[f32; 2]>,
}

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// One after another they are the page's script.
const SCRIPTS: [&str; 6] = [
    include_str!("page/data.js"),
    include_str!("page/classes.js"),
    include_str!("page/picture.js"),
    include_str!("page/plot.js"),
    include_str!("page/space.js"),
    include_str!("page/page.js"),
];

impl Page {
    /// The whole file. Names are data in it, never markup; a browser runs its one script and no other, and loads pictures and
    /// nothing else.
    pub fn html(&self) -> String {
        let script = SCRIPTS.concat();
        let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
        let safe = |text: &str| Value::from_safe_string(text.to_owned());
        let mut environment = Environment::new();
        environment.add_template("page.html", TEMPLATE).expect("the template is valid");
        let page = environment.get_template("page.html").expect("it was added");
        let filled = page.render(context! {
            version => env!("CARGO_PKG_VERSION"),
            pictures => self.pictures.len(),
            sets => self.sets.iter().map(|set| set.label.as_str()).collect::<Vec<_>>().join(", "),
            script_hash => safe(&hash(&script)),
            style_hash => safe(&hash(STYLE)),
            style => safe(STYLE),
            script => safe(&script),
            data => safe(&self.json()),
        });
        filled.expect("the template asks for nothing else")
    }

    /// Itself as JSON that holds nothing that could end the element around it.
    fn json(&self) -> String {
        let plain = serde_json::to_string(self).expect("lists, numbers and texts");
        let mut text = String::with_capacity(plain.len() + plain.len() / 64);
        for letter in plain.chars() {
            match letter {
                // Only inside texts, where JSON knows them by their number too.
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text += &format!("\\u{:04x}", letter as u32),
                letter => text.push(letter),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><script>alert(1)</script><!-- \u{2028}&lt;\"'`{{ 7 * 7 }}{% raw %}\\";

    fn page() -> Page {
        let picture = PagePicture {
            file: HOSTILE.into(),
            small: "small/0000.jpg".into(),
            large: "pictures/0000.png".into(),
            set: 0,
            class: 0,
            maker: None,
            seed: Some(3),
            recipe: None,
            run: None,
            by: vec![],
            apart: vec![],
        };
        Page {
            classes: vec![HOSTILE.into()],
            networks: vec![],
            sets: vec![PageSet { label: HOSTILE.into(), folder: "a".into() }],
            pictures: vec![picture],
            network_pairs: vec![],
            set_pairs: vec![],
            set_distances: vec![],
            meetings: vec![],
            graphs: vec![],
            shares: vec![],
            planes: vec![],
            recipes: vec![],
            runs: vec![],
            skipped: vec![],
            data: vec![],
        }
    }

    #[test]
    fn names_are_never_markup() {
        let html = page().html();
        let clean = { Page { classes: vec![], sets: vec![], pictures: vec![], ..page() }.html() };
        for tag in ["<script", "</script", "<!--", "alert(1)</script>"] {
            assert_eq!(html.matches(tag).count(), clean.matches(tag).count(), "{tag}");
        }
        assert!(!html.contains("49") || clean.contains("49"), "templates in names are text");
        assert!(html.contains("&lt;&#x2f;script&gt;"), "the title is escaped");
        let begin = html.find("type=\"application/json\">").expect("the data") + "type=\"application/json\">".len();
        let data = &html[begin..begin + html[begin..].find("</script>").expect("its end")];
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!((&data["classes"][0], &data["pictures"][0]["file"]), (&HOSTILE.into(), &HOSTILE.into()));
    }

    #[test]
    fn the_policy_allows_the_script_and_no_other() {
        let html = page().html();
        let policy = html.split("Content-Security-Policy\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
        let policy = policy.expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        let script = html.rsplit("<script>").next().and_then(|rest| rest.split("</script>").next()).expect("a script");
        let hash = BASE64_STANDARD.encode(Sha256::digest(script));
        assert!(policy.contains(&format!("script-src 'sha256-{hash}'")), "{policy}");
        let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
        assert!(policy.contains(&BASE64_STANDARD.encode(Sha256::digest(style))), "{policy}");
        assert!(!html.contains("http:") && !html.contains("https:"), "no address of the web");
    }
}
