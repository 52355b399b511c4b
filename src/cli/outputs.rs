//! `entoptic outputs`

use std::collections::BTreeMap;

use anyhow::Context;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::Head;
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::weights::{NamedArray, Precision, write};

use super::args::{Global, OutputsArgs};
use super::making::{largest, softmax};
use super::networks::{load, open};

pub fn run(global: &Global, args: OutputsArgs) -> anyhow::Result<()> {
    args.models.single("outputs")?;
    let image = picture::read(&args.image).with_context(|| format!("--image {}", args.image.display()))?;
    if let Some(out) = &args.out {
        picture::check_writable(out)?;
    }
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let normalize = args.normalize.map_or(networks[0].trained_with, Into::into);
    global.say(format_args!("pixel values {normalize:?}"));
    let network = &networks[0].network;
    let mut places = vec![Place::Logits(0, Head::Main)];
    places.extend(args.layer.iter().map(|layer| Place::Layer(0, layer.clone())));
    let scene = Scene::of(vec![network], normalize);
    let outputs = evaluate::outputs(&device, &scene, &image, &places, global.check_finite)?;
    let logits = &outputs[0];
    for n in 0..logits.shape.n() {
        let logits = logits.picture(n).values;
        let probabilities = softmax(&logits);
        if image.shape.n() > 1 {
            println!("picture {n}");
        }
        for class in largest(&logits, 5) {
            println!(
                "{:>7.3}  {:>9.4}  {:>4}  {}",
                probabilities[class],
                logits[class],
                class,
                network.classes.name(class)
            );
        }
    }
    if let Some(out) = &args.out {
        let (name, array) = match &args.layer {
            Some(layer) => (layer.as_str(), &outputs[1]),
            None => ("logits", logits),
        };
        let shape = match args.layer {
            Some(_) => array.shape.0.to_vec(),
            None => array.shape.0[..2].to_vec(),
        };
        let arrays = [NamedArray { name: name.to_owned(), shape, values: array.values.clone() }];
        write(out, &arrays, &BTreeMap::new(), Precision::F32)?;
        println!("{}", out.display());
    }
    Ok(())
}
