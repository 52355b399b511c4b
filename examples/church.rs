//! What a network sees in a church: `cargo run --example church` writes church.png, with all that made it inside.

use std::ops::ControlFlow;
use std::path::Path;

use entoptic::device::{AdapterChoice, Device};
use entoptic::picture;
use entoptic::studio::{Aim, Making, Model, Note, Picture, Weights, Wishes};
use entoptic::synthesis::octave::Stream;
use entoptic::synthesis::recipe::Recipe;
use entoptic::synthesis::{Event, run};

fn main() -> entoptic::Result<()> {
    // What the library has to say goes wherever its caller wants it.
    let ear = |note: Note| {
        if let Note::Info(line) | Note::Warning(line) = note {
            eprintln!("{line}");
        }
    };
    let device = Device::open(&AdapterChoice::Best)?;
    let structure = "googlenet".parse().map_err(entoptic::Error::request)?;
    let network = Model::new(Some(structure), Weights::Demo).load(&ear, &device, "0")?;
    let wishes = Wishes { recipe: Some(Recipe::named("demo-quick")?), size: Some(48), ..Wishes::default() };
    let making = Making::new(&ear, &device, vec![&network], wishes)?;

    let (aim, stream) = Aim::raising("logit(church)", &making.networks)?;
    let church = Picture { name: "church".into(), stream: Stream { seed: 0, picture: stream }, aim };
    let job = making.job(std::slice::from_ref(&church), None)?;
    let finished = run(&making.device, &job, &mut |event| {
        if let Event::Progress(progress) = event {
            eprintln!("step {} of {}: loss {:.2}", progress.step, progress.steps, progress.loss[0]);
        }
        ControlFlow::Continue(())
    })?;

    let made = finished.pictures.picture(0);
    let origin = making.origin(&church, 0, making.init(&ear)?, &finished);
    let file = std::env::args().nth(1).unwrap_or_else(|| "church.png".into());
    picture::write_png(Path::new(&file), &made, &origin.texts(&making.recipe, &made))
}
