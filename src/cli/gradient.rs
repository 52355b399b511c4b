//! `entoptic gradient`

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use entoptic::classes::ClassList;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::Head;
use entoptic::objective::{Form, Objective, Place, Term, class_input, goal_input};
use entoptic::ops::Metric;
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};

use super::args::{Global, GradientArgs};
use super::networks::{load, open};
use super::progress::memory;

pub fn run(global: &Global, args: GradientArgs) -> anyhow::Result<()> {
    args.models.single("gradient")?;
    let image = picture::read(&args.image).with_context(|| format!("--image {}", args.image.display()))?;
    picture::check_writable(&args.out)?;
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let normalize = args.normalize.map_or(networks[0].trained_with, Into::into);
    global.say(format_args!("pixel values {normalize:?}"));
    let network = &networks[0].network;
    let (objective, inputs) = parse(&args.objective, &network.classes, image.shape.n())?;
    let scene = Scene { objective, inputs, ..Scene::of(vec![network], normalize) };
    let found = evaluate::gradient(&device, &scene, &image, global.check_finite)?;
    global.explain(|| format!("{} kernel launches; {}", found.dispatches, memory(&found.plan)));
    for (n, loss) in found.loss.values.iter().enumerate() {
        println!("loss of picture {n}: {loss}");
    }
    if args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        picture::write_png(&args.out, &visible(&found.gradient.picture(0)), &[])?;
    } else {
        let named = |name: &str, shape: Vec<usize>, array: &Array| NamedArray {
            name: name.to_owned(),
            shape,
            values: array.values.clone(),
        };
        let gradient = named("gradient", found.gradient.shape.0.to_vec(), &found.gradient);
        let loss = named("loss", vec![found.loss.shape.n()], &found.loss);
        write(&args.out, &[gradient, loss], &BTreeMap::new(), Precision::F32)?;
    }
    println!("{}", args.out.display());
    Ok(())
}

/// The objective that a text means, with the values it needs for a batch.
fn parse(text: &str, classes: &ClassList, pictures: usize) -> anyhow::Result<(Objective, Vec<(String, Array)>)> {
    match text.split_once(':') {
        Some(("class", class)) => {
            let class = classes.find(class)?;
            let objective = Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] };
            let index = Array::filled(Shape::per_picture(pictures), class as f32);
            Ok((objective, vec![(class_input(0), index)]))
        }
        Some(("match", file)) => {
            let goal = goal(Path::new(file), classes.len(), pictures)?;
            let objective = Objective::reach(Place::Logits(0, Head::Main), Metric::L1, 0.05);
            Ok((objective, vec![(goal_input(0), goal)]))
        }
        _ => bail!("--objective {text}: write class:C or match:FILE.safetensors"),
    }
}

/// Logits to aim at, from a safetensors file with one tensor; one row serves all pictures.
fn goal(path: &Path, classes: usize, pictures: usize) -> anyhow::Result<Array> {
    let file = Checkpoint::open(path)?;
    let names: Vec<&str> = file.names().collect();
    let name = names.iter().find(|name| ["target", "logits"].contains(name)).or(match names.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    let Some(name) = name else { bail!("{}: no tensor is called target or logits", path.display()) };
    let values = file.read(name)?;
    let values = match values.len() {
        count if count == classes => values.repeat(pictures),
        count if count == classes * pictures => values,
        count => bail!("{}: {name} has {count} values, the network has {classes} classes", path.display()),
    };
    Ok(Array::new(Shape::new(pictures, classes, 1, 1), values))
}

/// A gradient as a picture: grey where it is zero, the largest value at the end of the range.
fn visible(gradient: &Array) -> Array {
    let largest = gradient.values.iter().fold(0f32, |top, value| top.max(value.abs()));
    let scale = if largest > 0.0 { 0.5 / largest } else { 0.0 };
    Array::new(gradient.shape, gradient.values.iter().map(|value| 0.5 + scale * value).collect())
}
