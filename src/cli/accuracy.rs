//! `entoptic accuracy`

use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use entoptic::device::Device;
use entoptic::evaluate::Pass;
use entoptic::tensor::Shape;
use entoptic::training::{Accuracy, Photograph, Strength, Validation, labelled};
use serde_json::{Value, json};

use super::messages::shown;
use super::models::Models;
use super::networks::{Loaded, SIDE, check_normalize, file_name, load, open};
use super::options::{Global, NormalizeArg};
use super::progress::Watcher;
use super::subjects::{say_broken, say_others};

#[derive(Args)]
pub struct AccuracyArgs {
    #[command(flatten)]
    pub models: Models,
    /// Photographs: a folder with one for each class, named by synset or class, or one with such a folder `val`
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// Only so many photographs, spread evenly
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Side of the pictures in pixels: the shorter side is scaled to it, the middle of the longer one is taken [default: as the weights were trained, else 224]
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub size: Option<u32>,
    /// Pictures that are looked at together
    #[arg(long, default_value_t = 32, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// What pixel values become before the first layer; by default what each network was trained with
    #[arg(long)]
    pub normalize: Option<NormalizeArg>,
    /// Also count what is left under attack: largest L2 distance from the photograph, in units of pixel values 0..1
    #[arg(long, value_name = "EPS")]
    pub attack_eps: Option<f32>,
    /// Steps of the attack along the gradient
    #[arg(long, default_value_t = 10, value_name = "K", requires = "attack_eps",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attack_steps: u32,
    /// Of the attack's random starts
    #[arg(long, default_value_t = 0, requires = "attack_eps")]
    pub seed: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

pub fn run(global: &Global, args: AccuracyArgs) -> anyhow::Result<()> {
    if args.attack_eps.is_some_and(|eps| !(eps > 0.0 && eps.is_finite())) {
        bail!("--attack-eps is a number above 0");
    }
    let val = args.data.join("val");
    let folder = if val.is_dir() { &val } else { &args.data };
    let (names, mut photographs, others) = labelled(folder).context("--data")?;
    say_others(global, folder, others);
    if let Some(limit) = args.limit.map(|limit| (limit as usize).min(photographs.len())) {
        photographs = (0..limit).map(|index| photographs[index * photographs.len() / limit].clone()).collect();
    }
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    check_normalize(global, &device, &networks, args.normalize, folder)?;
    let mut rows = Vec::with_capacity(networks.len());
    let mut broken = vec![];
    for loaded in &networks {
        let photographs = relabelled(loaded, &names, &photographs)?;
        let (clean, skipped) = measure(global, &device, &args, loaded, &photographs, None)?;
        // The same for every network.
        if broken.is_empty() {
            say_broken(global, &skipped);
            broken = skipped;
        }
        let strength = args.attack_eps.map(|eps| Strength { eps, steps: args.attack_steps as usize });
        let attacked = strength
            .map(|strength| measure(global, &device, &args, loaded, &photographs, Some(strength)))
            .transpose()?
            .map(|(accuracy, _)| accuracy);
        rows.push((loaded, clean, attacked));
    }
    if args.json {
        let rows: Vec<Value> =
            rows.iter().map(|(loaded, clean, attacked)| row(&args, loaded, clean, *attacked)).collect();
        println!("{:#}", json!({ "networks": rows, "skipped": { "broken": broken, "others": others } }));
        return Ok(());
    }
    let name = |loaded: &Loaded| file_name(Path::new(&loaded.network.source));
    let width = rows.iter().map(|(loaded, ..)| name(loaded).chars().count()).max().unwrap_or(0).max("network".len());
    let attacked = if args.attack_eps.is_some() { "  top 1 attacked" } else { "" };
    println!("{:<width$}  side  photographs   top 1   top 5{attacked}", "network");
    for (loaded, clean, attacked) in rows {
        let (side, count, top_1, top_5) = (side(&args, loaded), clean.count, clean.top_1(), clean.top_5());
        let attacked = attacked.map_or(String::new(), |attacked| format!("{:>16.4}", attacked.top_1()));
        println!("{:<width$}{side:>6}{count:>13}{top_1:>8.4}{top_5:>8.4}{attacked}", shown(&name(loaded)));
    }
    Ok(())
}

/// Photographs labelled as a network counts its classes.
fn relabelled(loaded: &Loaded, names: &[String], photographs: &[Photograph]) -> anyhow::Result<Vec<Photograph>> {
    let classes = &loaded.network.classes;
    let index = |name: &String| classes.find(name).with_context(|| format!("--data: folder {name}"));
    let indices = names.iter().map(index).collect::<anyhow::Result<Vec<_>>>()?;
    let relabel = |photograph: &Photograph| Photograph { label: indices[photograph.label], ..photograph.clone() };
    Ok(photographs.iter().map(relabel).collect())
}

fn side(args: &AccuracyArgs, loaded: &Loaded) -> usize {
    args.size.map(|side| side as usize).or(loaded.side).unwrap_or(SIDE)
}

fn measure(
    global: &Global,
    device: &Device,
    args: &AccuracyArgs,
    loaded: &Loaded,
    photographs: &[Photograph],
    attack: Option<Strength>,
) -> anyhow::Result<(Accuracy, Vec<String>)> {
    let (side, normalize) = (side(args, loaded), args.normalize.map_or(loaded.trained_with, Into::into));
    let batch = (args.batch as usize).min(photographs.len());
    let pass = Pass {
        head: loaded.head,
        check_finite: global.check_finite,
        ..Pass::of(&loaded.network, normalize, Shape::new(batch, 3, side, side))
    };
    let mut validation = Validation::prepare(device, &pass, attack.map(|strength| (strength, args.seed)))?;
    let mut watcher = Watcher::new(global, "")?;
    let mut stopped = false;
    let accuracy = validation.accuracy(photographs, &mut |so_far| {
        let what = if attack.is_some() { " under attack" } else { "" };
        watcher.show(so_far.count, photographs.len(), what, &format!("top 1 {:.4}", so_far.top_1()));
        stopped = watcher.stopped();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let skipped = validation.skipped().to_vec();
    if stopped && accuracy.count + skipped.len() < photographs.len() {
        let (seen, all) = (accuracy.count, photographs.len());
        bail!("stopped after {seen} of {all} photographs; top 1 so far {:.4}", accuracy.top_1());
    }
    Ok((accuracy, skipped))
}

fn row(args: &AccuracyArgs, loaded: &Loaded, clean: &Accuracy, attacked: Option<Accuracy>) -> Value {
    let network = &loaded.network;
    let mut row = json!({
        "network": network.structure.name(),
        "weights": file_name(Path::new(&network.source)),
        "sha256": network.checksum,
        "side": side(args, loaded),
        "photographs": clean.count,
        "top_1": clean.top_1(),
        "top_5": clean.top_5(),
    });
    if let Some(attacked) = attacked {
        row["attack"] = json!({
            "eps": args.attack_eps,
            "steps": args.attack_steps,
            "top_1": attacked.top_1(),
            "top_5": attacked.top_5(),
        });
    }
    row
}
