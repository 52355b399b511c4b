//! What one network sees in a church and another does not: `cargo run --example two_networks` writes two_networks.png.

use std::ops::ControlFlow;
use std::path::Path;

use entoptic::device::{AdapterChoice, Device};
use entoptic::picture;
use entoptic::studio::{Aim, Making, Model, Picture, Weights, Wishes};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::run;

fn main() -> entoptic::Result<()> {
    let device = Device::open(&AdapterChoice::Best)?;
    // What tells networks of one objective apart is their last argument.
    let load = |(name, id): (&str, &str)| {
        let structure = name.parse().map_err(entoptic::Error::request)?;
        Model::new(Some(structure), Weights::Demo).load(&|_| {}, &device, id)
    };
    let networks = [("googlenet", "0"), ("resnet50", "1")].map(load);
    let networks = networks.into_iter().collect::<entoptic::Result<Vec<_>>>()?;
    let wishes = Wishes { recipe: Some(Recipe::named("demo-quick")?), size: Some(48), ..Wishes::default() };
    let making = Making::new(&|_| {}, &device, networks.iter().collect(), wishes)?;

    let (aim, stream) = Aim::raising("0.logit(church) - 1.logit(church) - 0.001*tv", &making.networks)?;
    let difference = Picture { name: "difference".into(), stream: Stream { seed: 0, picture: stream }, aim };
    let job = making.job(std::slice::from_ref(&difference), None)?;
    let finished = run(&making.device, &job, &mut |_| ControlFlow::Continue(()))?;

    let made = finished.pictures.picture(0);
    for (index, network) in networks.iter().enumerate() {
        let church = network.network.classes.find("church")?;
        let probability = making.probabilities(index, &made)?[0][church];
        println!("{}: probability of church {probability:.3}", network.network.structure);
    }
    let origin = making.origin(&difference, 0, making.init(&|_| {})?, &finished);
    let file = std::env::args().nth(1).unwrap_or_else(|| "two_networks.png".into());
    picture::write_png(Path::new(&file), &made, &origin.texts(&making.recipe, &made))
}
