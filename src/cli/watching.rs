//! Pictures watched while they form: on film, in the terminal, in a file.

use entoptic::studio::Aim;
use entoptic::synthesis::Event;
use entoptic::tensor::Array;

use super::film::Film;
use super::making::Making;
use super::preview::Preview;
use super::progress::Watcher;

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
