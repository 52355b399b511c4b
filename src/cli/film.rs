//! Films of a run.

use anyhow::bail;
use entoptic::classes::ClassList;
use entoptic::picture;
use entoptic::report::{self, Plot, beside};
use entoptic::studio::Aim;
use entoptic::tensor::Array;
use serde_json::json;

use super::making::Making;

/// All films of a run, which have the same frames.
pub struct Film<'a> {
    making: &'a Making<'a>,
    films: Vec<report::Film>,
    /// Height and width of all frames.
    extent: [usize; 2],
    plots: Option<Plots>,
}

/// What the plots of all frames share.
struct Plots {
    /// Classes in red.
    targets: Vec<usize>,
    /// For each network the least and the greatest logit that its bars have room for.
    ranges: Vec<[f32; 2]>,
}

impl<'a> Film<'a> {
    /// A film at each path that the user gave, of a picture with an aim.
    pub fn new(making: &'a Making, aim: &Aim) -> anyhow::Result<Self> {
        let films: Vec<_> = making.args.film.iter().map(|path| report::Film::create(path)).collect::<Result<_, _>>()?;
        let plots = making.args.watching.film_logits.then(|| Plots {
            targets: aim.classes().iter().map(|(class, _)| *class).collect(),
            ranges: vec![[0.0, 1.0]; making.plan.networks.len()],
        });
        let extent = if films.is_empty() { [0, 0] } else { making.plan.final_extent()? };
        let film = Film { making, films, extent, plots };
        if film.plots.is_some() && !film.wanted() {
            bail!("--film-logits needs a --film");
        }
        Ok(film)
    }

    /// Whether anybody wants frames.
    pub fn wanted(&self) -> bool {
        !self.films.is_empty()
    }

    /// Adds a picture [1, 3, S, S] to all of them.
    pub fn add(&mut self, picture: &Array) -> anyhow::Result<()> {
        if !self.wanted() {
            return Ok(());
        }
        let fits = [picture.shape.h(), picture.shape.w()] == self.extent;
        let fitting = if fits { picture } else { &picture::resize(picture, self.extent) };
        let frame = match &mut self.plots {
            Some(plots) => &plots.beside(self.making, fitting, picture)?,
            None => fitting,
        };
        for film in &mut self.films {
            film.add(frame)?;
        }
        Ok(())
    }

    /// Ends all films and tells where they are.
    pub fn finish(self) -> anyhow::Result<()> {
        for film in self.films {
            let path = film.path().to_owned();
            let frames = film.finish()?;
            if frames > 0 {
                self.making.global.made(&path, "film", json!({ "frames": frames }))?;
            }
        }
        Ok(())
    }
}

impl Plots {
    /// A frame beside what the networks make of the picture that it shows.
    fn beside<'a>(&mut self, making: &'a Making, frame: &Array, picture: &Array) -> anyhow::Result<Array> {
        let mut all = vec![];
        for (index, range) in self.ranges.iter_mut().enumerate() {
            let logits = making.plan.logits_of(index, picture)?.values;
            range[0] = logits.iter().copied().fold(range[0], f32::min);
            range[1] = logits.iter().copied().fold(range[1], f32::max);
            all.push(logits);
        }
        let names = |classes: &'a ClassList| (0..classes.len()).map(|index| classes.name(index)).collect();
        let names: Vec<Vec<&str>> = making.plan.networks.iter().map(|loaded| names(&loaded.network.classes)).collect();
        let plot = |index: usize| Plot {
            title: making.plan.networks[index].network.structure.name(),
            names: &names[index],
            logits: &all[index],
            targets: &self.targets,
            range: self.ranges[index],
        };
        let plots: Vec<Plot> = (0..all.len()).map(plot).collect();
        Ok(beside(frame, &plots))
    }
}
