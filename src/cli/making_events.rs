//! What is told of a making as lines of JSON: what is about to be made, and each picture that is.

use std::path::PathBuf;

use entoptic::classes::ClassList;
use entoptic::studio::{Aim, Init, Loaded, Maker, Place};
use entoptic::synthesis::Finished;
use entoptic::synthesis::octave::Stream;
use entoptic::tensor::Array;
use serde_json::{Value, json};

use super::making::{Making, Picture, largest};

impl Making<'_> {
    /// An event: what is about to be made.
    pub fn announce(&self, outs: &[PathBuf], pictures: &[Picture], init: &Init, steps: usize) {
        let picture = |(picture, out): (&Picture, &PathBuf)| {
            let Stream { seed, picture: stream } = picture.stream;
            json!({ "file": out.display().to_string(), "objective": picture.aim, "seed": seed, "stream": stream })
        };
        let Place { version, adapter, kernels, .. } = Place::of(&self.plan.device);
        let facts = json!({
            "version": version,
            "recipe": self.plan.recipe.name,
            "normalize": self.plan.recipe.normalize,
            "init": init,
            "seed": self.args.seed,
            "steps": steps,
            "networks": self.plan.networks.iter().map(|&loaded| Maker::from(loaded)).collect::<Vec<_>>(),
            "adapter": adapter,
            "kernels": kernels,
            "pictures": pictures.iter().zip(outs).map(picture).collect::<Vec<_>>(),
        });
        self.global.event("start", facts);
    }

    /// An event for each picture that is written, with what each network makes of those `saved`.
    pub fn tell(
        &self,
        outs: &[PathBuf],
        pictures: &[Picture],
        finished: &Finished,
        saved: Option<&Array>,
    ) -> anyhow::Result<()> {
        if !self.global.events {
            return Ok(());
        }
        let judge = |saved| (0..self.plan.networks.len()).map(|index| self.plan.probabilities(index, saved)).collect();
        let found: Vec<Vec<Vec<f32>>> = saved.map_or(Ok(vec![]), judge)?;
        for (n, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let judged = |(loaded, found): (&&Loaded, &Vec<Vec<f32>>)| {
                json!({
                    "network": loaded.network.structure.name(),
                    "classes": classes(&loaded.network.classes, &picture.aim, &found[n]),
                })
            };
            let facts = json!({
                "objective": picture.aim,
                "seed": picture.stream.seed,
                "size": finished.pictures.shape.h(),
                "steps": finished.steps,
                "complete": saved.is_some(),
                "loss": finished.loss.get(n),
                "measured": finished.measured.get(n),
                "probabilities": self.plan.networks.iter().zip(&found).map(judged).collect::<Vec<_>>(),
            });
            self.global.made(out, "picture", facts)?;
        }
        Ok(())
    }
}

/// The likeliest classes, and those aimed at.
fn classes(names: &ClassList, aim: &Aim, probabilities: &[f32]) -> Vec<Value> {
    let mut classes = largest(probabilities, 5);
    for (class, _) in aim.classes() {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    let entry = |class| json!({ "class": class, "name": names.name(class), "probability": probabilities[class] });
    classes.into_iter().map(entry).collect()
}
