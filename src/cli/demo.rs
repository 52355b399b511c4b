//! `entoptic demo`: three classes in five ways, by the networks in the program, shown and scored.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::Error;
use entoptic::analysis::{Pixels, pixels, softmax};
use entoptic::device::Device;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::Place;
use entoptic::ops::Metric;
use entoptic::picture;
use entoptic::report::{Labels, contact_sheet};
use entoptic::studio::{Aim, CONSTANT, Goal, software};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::tensor::{Array, Shape};
use serde_json::{Value, json};

use super::interrupt;
use super::making::{Making, Picture, file_stem, largest};
use super::models::{Model, Weights};
use super::networks::{Loaded, load_one, open, shared_classes};
use super::options::{Global, MakingArgs};
use super::represent::{class_picture, made_by};
use super::terminal::{Screen, ShowArg};

#[derive(Args)]
pub struct DemoArgs {
    /// Folder for the pictures
    #[arg(long, short, default_value = "entoptic-demo")]
    pub out: PathBuf,
    /// A recipe's name (`entoptic recipes`) or a TOML file for all pictures [default: demo-quick, and demo-quick-match for
    /// the match]
    #[arg(long, value_name = "NAME-or-FILE.toml")]
    pub recipe: Option<PathBuf>,
    /// The same seed gives the same pictures on the same adapter
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How the pictures are shown on standard output
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub show: ShowArg,
}

/// Classes that come out well with few steps.
const CLASSES: [&str; 3] = ["English springer", "church", "French horn"];

/// A way of making a picture.
struct Kind {
    label: &'static str,
    about: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { label: "ResNet50", about: "what ResNet50 takes for the class" },
    Kind { label: "GoogLeNet", about: "what GoogLeNet takes for the class" },
    Kind { label: "joint", about: "what both do" },
    Kind { label: "difference", about: "what GoogLeNet does and ResNet50 does not" },
    Kind { label: "match", about: "made by GoogLeNet, which answers to it as to ResNet50's picture" },
];

pub fn run(global: &Global, args: DemoArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let recipe = |shipped: &str| Recipe::load(args.recipe.as_deref().unwrap_or(Path::new(shipped)));
    let (recipe, match_recipe) = (recipe("demo-quick")?, recipe("demo-quick-match")?);
    let screen = Screen::of_stdout(args.show);
    let files = Files::prepare(&args.out)?;
    let device = open(global)?;
    let networks = [load(global, &device, "googlenet")?, load(global, &device, "resnet50")?];
    let names = shared_classes(&networks)?;
    let classes = CLASSES.map(|class| names.find(class)).into_iter().collect::<Result<Vec<_>, _>>()?;
    global.say(format_args!("recipes: {} and {}, seed {}", recipe.name, match_recipe.name, args.seed));
    let making = MakingArgs::plain(args.seed);
    let demo = Demo { global, device: &device, classes, files: &files, seed: args.seed };

    let making = |networks, recipe: &Recipe| {
        let mut making = Making::with_recipe(global, &device, networks, recipe.clone(), &making);
        making.plan.demo = true;
        making
    };
    let (googlenet, resnet50) = (&networks[..1], &networks[1..]);
    let constant = CONSTANT;
    let class = |class, name| Aim::Class { class, name, constant };
    let targets = making(resnet50, &recipe);
    let by_resnet50 = demo.of_class(0, &targets, class)?;
    let by_googlenet = demo.of_class(1, &making(googlenet, &recipe), class)?;
    let both = making(&networks, &recipe);
    let joint = demo.of_class(2, &both, |class, name| Aim::Joint { class, name, constant })?;
    let difference = demo.of_class(3, &both, |class, name| Aim::Difference { class, name, minus: 1 })?;
    let matching = making(googlenet, &match_recipe);
    let (matched, reached) = demo.matched(4, &matching, &by_resnet50, &targets)?;
    let all = [by_resnet50, by_googlenet, joint, difference, matched];
    demo.sheet(&all, screen.as_ref())?;
    demo.scores(&all, networks)?;
    println!(
        "match: the L1 distance of GoogLeNet's outputs from the goal falls to {:.1} % of that of noise",
        100.0 * reached
    );
    println!(
        "{} pictures in {}, all in one as {}",
        CLASSES.len() * KINDS.len(),
        args.out.display(),
        files.sheet.display()
    );
    global.say(format_args!("done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// A network in the program.
/// The demo networks, in the order of the report.
const NETWORKS: [&str; 3] = ["resnet50", "googlenet", "inception_v3"];

/// A demo network's place in [`NETWORKS`].
fn place(name: &str) -> usize {
    NETWORKS.iter().position(|known| *known == name).unwrap_or(NETWORKS.len())
}

fn load(global: &Global, device: &Device, name: &str) -> anyhow::Result<Loaded> {
    let structure = name.parse().map_err(anyhow::Error::msg)?;
    load_one(global, device, &Model::new(Some(structure), Weights::Demo), place(name))
}

/// Where everything goes.
struct Files {
    /// Of each kind, for each class.
    pictures: Vec<Vec<PathBuf>>,
    sheet: PathBuf,
}

impl Files {
    /// Makes the folder, and sees to it that all files can be written and none is lost.
    fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let of_kind = |kind: &Kind| {
            let name = |class: &&str| folder.join(format!("{}-{}.png", file_stem(class), kind.label.to_lowercase()));
            CLASSES.iter().map(name).collect()
        };
        let files = Files { pictures: KINDS.iter().map(of_kind).collect(), sheet: folder.join("sheet.png") };
        std::fs::create_dir_all(folder).with_context(|| format!("making folder {}", folder.display()))?;
        for file in files.pictures.iter().flatten().chain([&files.sheet]) {
            if file.exists() && !is_of_a_demo(file) {
                bail!("{}: is there and not from a demo; name another folder (--out)", file.display());
            }
            picture::check_writable(file)?;
        }
        Ok(files)
    }
}

/// Whether an earlier demo left the file.
fn is_of_a_demo(file: &Path) -> bool {
    let words = picture::read_metadata(file).unwrap_or_default();
    let run = words.get("entoptic:run").and_then(|run| serde_json::from_str::<Value>(run).ok());
    // Earlier versions said so of the objective.
    run.is_some_and(|run| run["demo"] == true || run["objective"]["demo"] == true)
}

/// What all kinds of pictures share.
struct Demo<'a> {
    global: &'a Global,
    device: &'a Device,
    classes: Vec<usize>,
    files: &'a Files,
    seed: u64,
}

impl Demo<'_> {
    /// Makes one kind of picture for each class.
    fn make(
        &self,
        kind: usize,
        making: &Making,
        aims: impl Iterator<Item = Aim>,
        goal: Option<&Array>,
    ) -> anyhow::Result<Array> {
        self.global.say(format_args!("{}: {}", KINDS[kind].label, KINDS[kind].about));
        let picture = |((&class, name), aim): ((&usize, &str), Aim)| Picture {
            name: name.to_owned(),
            stream: Stream { seed: self.seed, picture: class as u64 },
            aim,
        };
        let pictures: Vec<Picture> = self.classes.iter().zip(CLASSES).zip(aims).map(picture).collect();
        making.make_at(&self.files.pictures[kind], &pictures, goal)
    }

    /// Pictures of the classes.
    fn of_class(&self, kind: usize, making: &Making, aim: impl Fn(usize, String) -> Aim) -> anyhow::Result<Array> {
        let aims = self.classes.iter().zip(CLASSES).map(|(&class, name)| aim(class, name.to_owned()));
        self.make(kind, making, aims, None)
    }

    /// Pictures to which the network answers as to those that `targets` has made, and the share of the distance that is left.
    fn matched(&self, kind: usize, making: &Making, aim: &Array, targets: &Making) -> anyhow::Result<(Array, f64)> {
        let goal = Goal::new(&self.global.ear(), &making.plan, making.plan.logits(0), aim)?;
        let target = |(index, &class): (usize, &usize)| {
            let of = made_by(targets, &class_picture(class, targets), index)?;
            Ok(Aim::matching(of, None, Metric::L1))
        };
        let aims = self.classes.iter().enumerate().map(target).collect::<anyhow::Result<Vec<_>>>()?;
        let matched = self.make(kind, making, aims.into_iter(), Some(&goal.values))?;
        let noise = |&class: &usize| making.plan.start(Stream { seed: self.seed, picture: class as u64 });
        let noise = self.classes.iter().map(noise).collect::<Result<Vec<_>, _>>()?;
        let [_, c, h, w] = noise[0].shape.0;
        let noise = noise.into_iter().flat_map(|picture| picture.values).collect();
        let noise = Array::new(Shape::new(CLASSES.len(), c, h, w), noise);
        Ok((matched.clone(), goal.distance(&matched)? / goal.distance(&noise)?))
    }

    /// All pictures in one, as a file and on the screen: a row for each class, a column for each kind.
    fn sheet(&self, all: &[Array], screen: Option<&Screen>) -> anyhow::Result<()> {
        let side = all.iter().map(|pictures| pictures.shape.h()).max().unwrap_or(0);
        let picture = |pictures: &Array, class| match pictures.shape.h() == side {
            true => pictures.picture(class),
            false => picture::fit(&pictures.picture(class), side),
        };
        let row = |class| all.iter().map(|pictures| picture(pictures, class)).collect();
        let rows: Vec<Vec<Array>> = (0..CLASSES.len()).map(row).collect();
        let kinds = KINDS.map(|kind| kind.label);
        let sheet = contact_sheet(&rows, Some(Labels { rows: &CLASSES, columns: &kinds }));
        let about = json!({ "version": env!("CARGO_PKG_VERSION"), "objective": { "kind": "sheet" }, "demo": true });
        picture::write_png(&self.files.sheet, &sheet, &[software(), ("entoptic:run".into(), about.to_string())])?;
        if let Some(screen) = screen {
            let fine = screen.is_fine();
            print!("{}", screen.draw(&if fine { sheet } else { contact_sheet(&rows, None) })?);
            println!("rows: {}; columns: {}", CLASSES.join(", "), kinds.join(", "));
        }
        Ok(())
    }

    /// For each kind what every network in the program makes of it, and what the pixels are like; probabilities and pixels
    /// are means over the classes. What takes longer is left to `entoptic score`.
    fn scores(&self, all: &[Array], makers: [Loaded; 2]) -> anyhow::Result<()> {
        let mut judges = Vec::from(makers);
        for name in NETWORKS {
            let known = judges.iter().any(|judge| judge.network.structure.name() == name);
            if !known {
                judges.push(load(self.global, self.device, name)?);
            }
        }
        judges.sort_by_key(|judge| place(judge.network.structure.name()));
        print!("\n{:<12}", "taken for it");
        judges.iter().for_each(|judge| print!("{:>22}", format!("by {}", judge.network.structure)));
        println!("{:>11}{:>11}{:>11}", "slope", "variation", "saturated");
        for (kind, pictures) in KINDS.iter().zip(all) {
            print!("{:<12}", kind.label);
            for judge in &judges {
                if interrupt::stopped() {
                    bail!("stopped before all was scored; the pictures are made, see {}", self.files.sheet.display());
                }
                let judged = match self.judged(judge, pictures)? {
                    Some((hits, probability)) => format!("{hits} of {}, {probability:.3}", CLASSES.len()),
                    None => "pictures too small".into(),
                };
                print!("{judged:>22}");
            }
            let found: Vec<Pixels> = (0..CLASSES.len()).map(|n| pixels(&pictures.picture(n))).collect();
            let mean = |of: fn(&Pixels) -> f64| found.iter().map(of).sum::<f64>() / CLASSES.len() as f64;
            let [slope, variation, saturated] =
                [mean(|p| p.spectrum.slope), mean(|p| p.variation), mean(|p| p.saturation)];
            println!("{slope:>11.2}{variation:>11.3}{saturated:>11.3}");
        }
        Ok(())
    }

    /// How many pictures a network takes for their class, and the probability that it gives the class on average; nothing
    /// where a recipe makes pictures that are too small for it.
    fn judged(&self, judge: &Loaded, pictures: &Array) -> anyhow::Result<Option<(usize, f32)>> {
        let scene = Scene::of(vec![&judge.network], judge.trained_with);
        let place = [Place::Logits(0, judge.head)];
        let logits = match evaluate::outputs(self.device, &scene, pictures, &place, self.global.check_finite) {
            Err(Error::TooSmall { .. }) => return Ok(None),
            outputs => outputs?.remove(0),
        };
        let (mut hits, mut sum) = (0, 0.0);
        for (n, &class) in self.classes.iter().enumerate() {
            let probabilities = softmax(&logits.picture(n).values);
            hits += usize::from(largest(&probabilities, 1) == [class]);
            sum += probabilities[class];
        }
        Ok(Some((hits, sum / self.classes.len() as f32)))
    }
}
