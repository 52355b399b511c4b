//! How far a gallery is, for people: a bar on a terminal, a line for each batch elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::options::Global;

pub struct Shown<'a> {
    global: &'a Global,
    bar: Option<ProgressBar>,
    started: Instant,
    /// Pictures of this gallery, and of these those that were there before.
    all: usize,
    before: usize,
    /// Pictures that are made, or have failed.
    done: usize,
}

/// The bar's length.
const PARTS: u64 = 1000;

impl<'a> Shown<'a> {
    pub fn new(global: &'a Global, all: usize, before: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is valid");
        let wanted = !global.quiet && std::io::stderr().is_terminal();
        let bar = wanted.then(|| ProgressBar::new(PARTS).with_style(style));
        Shown { global, bar, started: Instant::now(), all, before, done: before }
    }

    /// Within a batch of so many pictures, of which a share is done, at a step.
    pub fn step(&self, pictures: usize, share: f64, (step, steps): (usize, usize)) {
        let done = self.done as f64 + pictures as f64 * share;
        let facts = json!({
            "all": self.all,
            "done": self.done,
            "batch": pictures,
            "step": step,
            "steps": steps,
            "seconds": self.started.elapsed().as_secs_f64(),
            "seconds_left": self.left(done).map(|left| left.as_secs_f64()),
        });
        self.global.event("progress", facts);
        let Some(bar) = &self.bar else { return };
        bar.set_position((done / self.all as f64 * PARTS as f64) as u64);
        let left = self.left(done).map_or(String::new(), |left| format!(", {} left", HumanDuration(left)));
        bar.set_message(format!("{} of {} pictures, {pictures} at step {step} of {steps}{left}", self.done, self.all));
    }

    /// After a batch of so many pictures.
    pub fn batch(&mut self, pictures: usize) {
        self.done += pictures;
        let each = self.started.elapsed().as_secs_f64() / (self.done - self.before).max(1) as f64;
        let left = match self.left(self.done as f64) {
            Some(left) if self.done < self.all => format!(", {} left", HumanDuration(left)),
            _ => String::new(),
        };
        let line = format!("{} of {} pictures, {each:.2} s each{left}", self.done, self.all);
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None => self.global.say(format_args!("{line}")),
        }
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => self.global.say(format_args!("{line}")),
        }
    }

    /// By what this process has made so far.
    fn left(&self, done: f64) -> Option<Duration> {
        let made = done - self.before as f64;
        let rate = made / self.started.elapsed().as_secs_f64();
        let left = Duration::try_from_secs_f64((self.all as f64 - done).max(0.0) / rate).ok()?;
        (made > 0.0).then_some(left)
    }
}
