//! `entoptic gradient`

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::evaluate::{self, Scene};
use entoptic::objective::{Form, Measure, Objective, Place, Term, class_input, goal_input};
use entoptic::ops::Metric;
use entoptic::picture;
use entoptic::studio::{objectives, summed};
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{Checkpoint, NamedArray, Precision, write};

use super::events::print_path;
use super::models::Models;
use super::networks::{Loaded, check_normalize, check_range, check_size, load, open, shared_classes, sized};
use super::options::{Global, NormalizeArg};
use super::progress::memory;

#[derive(Args)]
pub struct GradientArgs {
    #[command(flatten)]
    pub models: Models,
    /// PNG, JPEG, WebP, GIF, TIFF, BMP, or safetensors with one tensor `image` [N, 3, H, W], or of as many channels as
    /// the network takes; of its own size without --size
    #[arg(long)]
    pub image: PathBuf,
    /// Side of the square that is looked at: the shorter side of the picture is scaled to it, the middle of the longer one is taken
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub size: Option<u32>,
    /// class:C, joint:C, difference:C (the last network is subtracted), opposite:C, merge:C+D, channel:LAYER/K, layer:LAYER,
    /// or match:FILE.safetensors with one tensor, `target` or `logits`; C is an index or a name. Or a sum of what is to be raised,
    /// as in `channel(layer3,7) + 0.5*logit(church) - 0.001*tv`, whose negative is the loss; docs/objectives.md has its terms
    #[arg(long)]
    pub objective: String,
    /// What pixel values become before the first layer; by default what the first network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// File to write: safetensors with `gradient` and `loss`, or a picture of the gradient (PNG)
    #[arg(long, short)]
    pub out: PathBuf,
}

pub fn run(global: &Global, args: GradientArgs) -> anyhow::Result<()> {
    let image = sized(picture::read_values(&args.image).context("--image")?, args.size);
    picture::check_writable(&args.out)?;
    let as_picture = args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if as_picture && image.shape.c() != 3 {
        bail!(
            "--out {}: a gradient of {} channels is no picture; name a .safetensors file",
            args.out.display(),
            image.shape.c()
        );
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
    let (objective, inputs) = parse(&args.objective, &networks.iter().collect::<Vec<_>>(), image.shape.n())?;
    let all = networks.iter().map(|loaded| &loaded.network).collect();
    let scene = Scene { objective, inputs, ..Scene::of(all, normalize) };
    let found = evaluate::gradient(&device, &scene, &image, global.check_finite)?;
    global.explain(|| format!("{} kernel launches; {}", found.dispatches, memory(&found.plan)));
    for (n, loss) in found.loss.values.iter().enumerate() {
        println!("loss of picture {n}: {loss}");
    }
    if as_picture {
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
    print_path(&args.out)?;
    Ok(())
}

/// The objective that a text means, with the values it needs for a batch.
fn parse(text: &str, networks: &[&Loaded], pictures: usize) -> anyhow::Result<(Objective, Vec<(String, Array)>)> {
    let usage = "write class:C, joint:C, difference:C, opposite:C, merge:C+D, channel:LAYER/K, layer:LAYER or match:FILE, or a \
                 sum such as channel(layer3,7) + 0.5*logit(church) - 0.001*tv";
    let Some((kind, of)) = text.split_once(':') else {
        return Ok((-summed(text, networks).context(usage)?, vec![]));
    };
    let count = networks.len();
    let takes = |wanted: &str, fits: bool| {
        if fits { Ok(()) } else { bail!("--objective {kind} takes {wanted}, not {count}") }
    };
    let class = |slot: usize, text: &str| -> anyhow::Result<(String, Array)> {
        let class = shared_classes(networks.iter().copied())?.find(text)?;
        Ok((class_input(slot), Array::filled(Shape::per_picture(pictures), class as f32)))
    };
    let region = |layer: &str, channels| {
        let measure = Measure::Region { channels, rows: None, columns: None };
        (objectives::region(layer, measure, 1.0), vec![])
    };
    Ok(match kind {
        "class" => {
            takes("one network", count == 1)?;
            let term = Term::class(0, networks[0].head, Form::Lacking(200.0), networks[0].weight);
            (Objective { terms: vec![term] }, vec![class(0, of)?])
        }
        "joint" => (objectives::joint(networks, 200.0), vec![class(0, of)?]),
        "difference" => {
            takes("two networks or more", count > 1)?;
            (objectives::difference(networks, 1), vec![class(0, of)?])
        }
        "opposite" => (objectives::opposite(networks), vec![class(0, of)?]),
        "merge" => {
            let (first, second) = of.split_once('+').context("--objective merge takes two classes, merge:C+D")?;
            (objectives::merge(networks, false), vec![class(0, first)?, class(1, second)?])
        }
        "channel" => {
            let (layer, channel) = of.rsplit_once('/').context("--objective channel takes channel:LAYER/K")?;
            let channel: usize =
                channel.parse().with_context(|| format!("{channel} is not the number of a channel"))?;
            region(layer, Some(channel..channel + 1))
        }
        "layer" => region(of, None),
        "match" => {
            takes("one network", count == 1)?;
            let goal = goal(Path::new(of), networks[0].network.class_count(), pictures)?;
            let place = Place::Logits(0, networks[0].head);
            (Objective::reach(place, Metric::L1, 0.05), vec![(goal_input(0), goal)])
        }
        _ => bail!("--objective {text}: {usage}"),
    })
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
