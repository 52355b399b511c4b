//! How far a run is, for people: a bar on a terminal, some lines elsewhere.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Instant;

use entoptic::device::Plan;
use entoptic::synthesis::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::interrupt::{stopped, take_over_interrupts};
use super::messages::{plain, tell};
use super::options::Global;

/// Watches a run, shows it, and ends it when the user presses Ctrl-C.
pub struct Watcher<'a> {
    global: &'a Global,
    bar: Option<ProgressBar>,
    started: Instant,
    /// Steps done before this program started.
    begun: usize,
    /// Step of the last line, where there is no terminal.
    shown: usize,
    /// What the objective's first number is called.
    measured: &'static str,
}

impl<'a> Watcher<'a> {
    /// Watches a run whose objective's first number is called `measured`.
    pub fn new(global: &'a Global, measured: &'static str) -> anyhow::Result<Self> {
        take_over_interrupts()?;
        Ok(Watcher { global, bar: None, started: Instant::now(), begun: 0, shown: 0, measured })
    }

    /// Whether the user has asked to stop.
    pub fn stopped(&self) -> bool {
        stopped()
    }

    pub fn event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Prepared { size, plan, dispatches, parts } => {
                let parts = if parts > 1 { format!(" in {parts} parts of the batch") } else { String::new() };
                let launches = format!("{dispatches} kernel launches a step{parts}");
                self.explain(|| format!("{size} px: {launches}; {}", memory(plan)));
                self.prepared(size, plan, dispatches);
            }
            Event::Progress(progress) => self.progress(&progress),
            Event::Dead { since, end } => {
                let why = if end.silent { ", whose values are all zero" } else { "" };
                self.warn(&format!(
                    "no gradient has come to the picture since step {since}: it ends at {}{why}; another --init or --seed, or \
                     other weights",
                    end.layer
                ));
            }
            Event::Frame(_) | Event::Kept(_) => {}
        }
        if self.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// An event: what a step at a size takes.
    pub fn prepared(&self, size: usize, plan: &Plan, dispatches: usize) {
        let memory = json!({
            "external": plan.external_bytes,
            "shared": plan.shared_bytes(),
            "unshared": plan.unshared_bytes,
            "constant": plan.constant_bytes,
        });
        self.global.event("prepared", json!({ "size": size, "dispatches": dispatches, "memory": memory }));
    }

    fn progress(&mut self, progress: &Progress) {
        let facts = json!({
            "stage": progress.stage,
            "size": progress.size,
            "loss": progress.loss,
            "measure": self.measured,
            "measured": progress.measured,
        });
        self.advanced(progress.step, progress.steps, facts);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
        let (loss, measured) = (mean(progress.loss), mean(progress.measured));
        let now = format!("loss {loss:.3}, {} {measured:.3}", self.measured);
        self.show(progress.step, progress.steps, &format!(" at {} px", progress.size), &now);
    }

    /// Starts the clock, for a run of which some steps may have been done before.
    pub fn begin(&mut self, step: usize) {
        (self.started, self.begun, self.shown) = (Instant::now(), step, step);
    }

    /// An event: how many steps are done, and facts.
    pub fn advanced(&self, step: usize, steps: usize, mut facts: Value) {
        let seconds = self.started.elapsed().as_secs_f64();
        let left = seconds / (step - self.begun).max(1) as f64 * (steps - step) as f64;
        (facts["step"], facts["steps"]) = (json!(step), json!(steps));
        (facts["seconds"], facts["seconds_left"]) = (json!(seconds), json!(left));
        self.global.event("progress", facts);
    }

    /// How many steps are done and what there is to say of them.
    pub fn show(&mut self, step: usize, steps: usize, place: &str, now: &str) {
        if self.global.quiet {
            return;
        }
        let rate = (step - self.begun) as f64 / self.started.elapsed().as_secs_f64();
        let now = plain(&format!("{rate:.2} steps/s, {now}")).into_owned();
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(steps));
            bar.set_position(step as u64);
            bar.set_message(now);
            if step == steps {
                bar.finish();
            }
        } else if step == steps || step >= self.shown + steps.div_ceil(10) {
            self.shown = step;
            tell(format_args!("step {step}/{steps}{place}: {now}"));
        }
    }

    fn warn(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(plain(&format!("warning: {line}"))),
            None => self.global.warn(format_args!("{line}")),
        }
    }

    /// A line above the progress.
    pub fn say(&self, line: &str) {
        self.aside(|| self.global.say(format_args!("{line}")));
    }

    /// A line for the curious above the progress.
    fn explain(&self, line: impl FnOnce() -> String) {
        self.aside(|| self.global.explain(line));
    }

    /// Does something to the screen while the bar is away.
    pub fn aside(&self, act: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }
}

fn bar(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left");
    ProgressBar::new(steps as u64).with_style(style.expect("the template is valid"))
}

/// Where memory goes, in a line.
pub fn memory(plan: &Plan) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{:.1} MiB of weights and pictures, {:.1} MiB of activations, gradients and scratch at the peak ({:.1} MiB without \
         reuse, {} pieces), {:.1} MiB of constants",
        mib(plan.external_bytes),
        mib(plan.shared_bytes()),
        mib(plan.unshared_bytes),
        plan.slots.len(),
        mib(plan.constant_bytes),
    )
}
