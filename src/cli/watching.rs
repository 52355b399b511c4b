//! Pictures watched while they form: on film, in the terminal, in a file.

use std::path::PathBuf;

use clap::Args;
use entoptic::synthesis::Event;
use entoptic::tensor::Array;

use super::aim::Aim;
use super::film::Film;
use super::making::Making;
use super::preview::Preview;
use super::progress::Watcher;
use super::terminal::ShowArg;

/// How a run is watched.
#[derive(Args, Clone, Default)]
pub struct WatchingArgs {
    /// Beside each frame of the film, what the networks make of it: their logits, the class in red
    #[arg(long)]
    pub film_logits: bool,
    /// Show the first picture in the terminal while it forms; HOW is found out unless it is given
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub preview: Option<ShowArg>,
    /// Show it in a file instead, which is replaced every few steps
    #[arg(long, value_name = "FILE.png")]
    pub preview_file: Option<PathBuf>,
    /// Print progress and results as lines of JSON (docs/json.md)
    #[arg(id = "events", long = "json")]
    pub json: bool,
}

/// All that watch a run.
pub struct Watched<'a> {
    film: Film<'a>,
    preview: Preview<'a>,
    failed: Option<anyhow::Error>,
}

/// Steps between two pictures of a preview.
const PREVIEW_EVERY: usize = 5;

impl<'a> Watched<'a> {
    /// Watches a run whose first picture has an aim. Checks that all can be written before anything slow happens.
    pub fn new(making: &'a Making, aim: &Aim) -> anyhow::Result<Self> {
        Ok(Watched { film: Film::new(making, aim)?, preview: Preview::new(making)?, failed: None })
    }

    /// Steps between two frames, of a run of so many.
    pub fn every(&self, steps: usize, frames: u32) -> Option<usize> {
        match self.film.wanted() {
            true => Some(steps.div_ceil(frames.max(1) as usize)),
            false => self.preview.wanted().then_some(PREVIEW_EVERY),
        }
    }

    /// Shows an event. Whether all went well; if not, the run had better end, and [`Watched::finish`] tells why.
    pub fn event(&mut self, event: &Event, watcher: &Watcher) -> bool {
        match event {
            Event::Frame(pictures) if self.failed.is_none() => {
                let shown = self.show(&pictures.picture(0), watcher);
                self.failed = shown.err();
            }
            Event::Prepared { .. } => self.preview.lines_follow(),
            _ => {}
        }
        self.failed.is_none()
    }

    fn show(&mut self, picture: &Array, watcher: &Watcher) -> anyhow::Result<()> {
        self.film.add(picture)?;
        self.preview.show(picture, watcher, false)
    }

    /// Ends films and previews with the picture that was made.
    pub fn finish(mut self, picture: &Array, watcher: &Watcher) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error.context("pictures are written, their film or preview is not"));
        }
        self.preview.show(picture, watcher, true)?;
        if watcher.stopped() {
            self.film.add(picture)?;
        }
        self.film.finish()
    }
}
