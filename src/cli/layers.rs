//! `entoptic layers`

use clap::Args;
use entoptic::nets::BatchNormMode;
use entoptic::tape::Tape;
use entoptic::tensor::Shape;

use super::models::Models;
use super::networks::{load, open};
use super::options::Global;

#[derive(Args)]
pub struct LayersArgs {
    #[command(flatten)]
    pub models: Models,
    /// Side of the picture that shapes are given for [default: 224, or what the file was made with that describes the network]
    #[arg(long)]
    pub size: Option<usize>,
    /// Show one layer only
    #[arg(long)]
    pub layer: Option<String>,
}

pub fn run(global: &Global, args: LayersArgs) -> anyhow::Result<()> {
    args.models.single("layers")?;
    let device = open(global)?;
    let networks = load(global, &device, &args.models.models)?;
    let mut tape = Tape::default();
    let usual = networks[0].network.structure.sides().unwrap_or([224; 2]);
    let [h, w] = args.size.map_or(usual, |side| [side; 2]);
    let x = tape.input("picture", Shape::new(1, networks[0].network.structure.colours(), h, w));
    let outputs = networks[0].network.forward(&mut tape, x, BatchNormMode::Frozen, &[], &[])?;
    let shown = args.layer.as_deref().map(|layer| outputs.tap(layer)).transpose()?;
    let mut total = 0;
    println!("{:<32} {:>20} {:>12}", "layer", "shape", "parameters");
    for (name, var) in &outputs.taps {
        let own = outputs.trainable().filter(|parameter| {
            parameter.name.strip_prefix(name.as_str()).is_some_and(|leaf| leaf == ".weight" || leaf == ".bias")
        });
        let parameters: usize = own.map(|parameter| parameter.shape.elements()).sum();
        total += parameters;
        if shown.is_none_or(|shown| shown == *var) {
            let [_, c, h, w] = tape.shape(*var).0;
            println!("{name:<32} {:>20} {parameters:>12}", format!("{c} x {h} x {w}"));
        }
    }
    println!("{total} parameters in all");
    Ok(())
}
