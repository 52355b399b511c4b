//! The picture as it forms: in the terminal, always in the same place, and in a file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use entoptic::picture;
use entoptic::studio::software;
use entoptic::tensor::Array;

use super::cursor;
use super::making::Making;
use super::progress::Watcher;
use super::terminal::{Screen, ShowArg};

/// Between two pictures, at least.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows pictures while they form.
pub struct Preview<'a> {
    place: Option<Place>,
    file: Option<&'a Path>,
    shown: Option<Instant>,
    verbose: bool,
}

/// Where on the screen.
struct Place {
    screen: Screen,
    rows: usize,
    /// Whether the cursor is just below it.
    taken: bool,
}

impl<'a> Preview<'a> {
    /// Where the user wants it, if it is wanted.
    pub fn new(making: &'a Making) -> anyhow::Result<Self> {
        let args = &making.args.watching;
        let screen = args.preview.and_then(Screen::of_stderr);
        if screen.is_none() && args.preview.is_some_and(|how| !matches!(how, ShowArg::None)) {
            making.global.say(format_args!(
                "no preview: standard error is not a terminal that can show it; --preview-file FILE.png writes it to a file"
            ));
        }
        if let Some(file) = &args.preview_file {
            if file.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
                bail!("--preview-file {}: pictures are written as .png", file.display());
            }
            picture::check_writable(file).context("--preview-file")?;
        }
        let place = screen.map(|screen| Place { rows: screen.square(), screen, taken: false });
        Ok(Preview { place, file: args.preview_file.as_deref(), shown: None, verbose: making.global.verbose })
    }

    /// Whether anybody looks.
    pub fn wanted(&self) -> bool {
        self.place.is_some() || self.file.is_some()
    }

    /// Lines are about to be written below the picture: the next one gets a new place, below them.
    pub fn lines_follow(&mut self) {
        if let Some(place) = self.place.as_mut().filter(|_| self.verbose) {
            place.taken = false;
        }
    }

    /// Shows a picture, unless one was shown just before, and this is not the last.
    pub fn show(&mut self, picture: &Array, watcher: &Watcher, last: bool) -> anyhow::Result<()> {
        if !self.wanted() || (!last && self.shown.is_some_and(|shown| shown.elapsed() < PAUSE)) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        if let Some(place) = &mut self.place {
            let text = place.text(picture)?;
            watcher.aside(|| cursor::write(&text));
        }
        if let Some(file) = self.file {
            picture::write_png(file, picture, &[software()]).context("--preview-file")?;
        }
        Ok(())
    }
}

impl Drop for Preview<'_> {
    fn drop(&mut self) {
        cursor::restore();
    }
}

impl Place {
    /// What to write for a picture to replace the one before it. The cursor begins and ends in the line below.
    fn text(&mut self, picture: &Array) -> anyhow::Result<String> {
        let Place { screen, rows, taken } = self;
        let drawn = screen.draw_square(picture, *rows, std::process::id())?;
        // Room is made first: what is drawn then never scrolls, so that the cursor can be put back.
        let room = if std::mem::replace(taken, true) { String::new() } else { "\n".repeat(*rows) };
        let hide = cursor::hide();
        Ok(format!("{hide}{room}\r\x1b[{rows}A\x1b7{drawn}\x1b8\x1b[{rows}B"))
    }
}
