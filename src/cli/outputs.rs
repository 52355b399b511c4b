//! `entoptic outputs`

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::Head;
use entoptic::objective::Place;
use entoptic::picture;
use entoptic::weights::{NamedArray, Precision, write};

use super::events::print_path;
use super::making::largest;
use super::models::Models;
use super::networks::{check_normalize, check_range, check_size, load, open, probabilities, sized};
use super::options::{Global, NormalizeArg};

#[derive(Args)]
pub struct OutputsArgs {
    #[command(flatten)]
    pub models: Models,
    /// PNG, JPEG, WebP, GIF, TIFF, BMP, or safetensors with one tensor `image` [N, 3, H, W], or of as many channels as
    /// the network takes; of its own size without --size
    #[arg(long)]
    pub image: PathBuf,
    /// Side of the square that is looked at: the shorter side of the picture is scaled to it, the middle of the longer one is taken
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub size: Option<u32>,
    /// Layer whose values to write instead of the logits
    #[arg(long)]
    pub layer: Option<String>,
    /// What pixel values become before the first layer; by default what the network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// File to write (safetensors)
    #[arg(long, short)]
    pub out: Option<PathBuf>,
}

pub fn run(global: &Global, args: OutputsArgs) -> anyhow::Result<()> {
    let image = sized(picture::read_values(&args.image).context("--image")?, args.size);
    if let Some(out) = &args.out {
        picture::check_writable(out)?;
    }
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let normalize = args.normalize.map_or(networks[0].trained_with, Into::into);
    global.say(format_args!("pixel values {normalize:?}"));
    check_normalize(global, &device, &networks, args.normalize, &args.image)?;
    check_range(global, &args.image, &image, normalize);
    if args.size.is_none() {
        check_size(global, &args.image, &image, &networks);
    }
    let mut arrays = Vec::new();
    for (index, loaded) in networks.iter().enumerate() {
        let network = &loaded.network;
        // Weights without a classifier have no logits to tell; a layer of theirs has values.
        let tells = args.layer.is_none() || network.has_classifier() || loaded.head != Head::Main;
        let mut places = if tells { vec![Place::Logits(0, loaded.head)] } else { vec![] };
        places.extend(args.layer.iter().map(|layer| Place::Layer(0, layer.clone())));
        let scene = Scene::of(vec![network], normalize);
        let outputs = evaluate::outputs(&device, &scene, &image, &places, global.check_finite)?;
        let logits = &outputs[0];
        for n in 0..if tells { logits.shape.n() } else { 0 } {
            if networks.len() > 1 || image.shape.n() > 1 {
                println!("{}, picture {n}", network.structure);
            }
            let logits = logits.picture(n).values;
            let probabilities = probabilities(network, &logits);
            for class in largest(&logits, 5) {
                let (probability, logit) = (probabilities[class], logits[class]);
                println!("{probability:>7.3}  {logit:>9.4}  {class:>4}  {}", network.classes.name(class));
            }
        }
        let (name, array, sizes) = match &args.layer {
            Some(layer) => (layer.as_str(), &outputs[places.len() - 1], 4),
            None => ("logits", logits, 2),
        };
        // One network's values are called by their layer alone.
        let name = match networks.len() {
            1 => name.to_owned(),
            _ => format!("{index}.{}.{name}", network.structure),
        };
        arrays.push(NamedArray { name, shape: array.shape.0[..sizes].to_vec(), values: array.values.clone() });
    }
    if let Some(out) = &args.out {
        write(out, &arrays, &BTreeMap::new(), Precision::F32)?;
        print_path(out)?;
    }
    Ok(())
}
