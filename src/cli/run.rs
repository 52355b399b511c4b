//! Pictures are made: the run, watched, and files with everything that made them inside.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use entoptic::Error;
use entoptic::picture;
use entoptic::studio::Init;
use entoptic::synthesis::{Event, Finished, Job, run};
use entoptic::tensor::Array;

use super::events::print_path;
use super::making::{Making, Picture};
use super::progress::Watcher;
use super::watching::Watched;

impl Making<'_> {
    /// Makes the pictures, writes them and tells where. Where they are to match something, `goal` is what. Returns them as
    /// saved, [N, 3, S, S] with values 0..1.
    pub fn make(&self, pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Array> {
        let outs = self.outs(pictures)?;
        let saved = self.make_at(&outs, pictures, goal)?;
        if !self.global.events {
            outs.iter().try_for_each(|out| print_path(out))?;
        }
        Ok(saved)
    }

    /// [`Making::make`] with a path for each picture that can be written.
    pub fn make_at(&self, outs: &[PathBuf], pictures: &[Picture], goal: Option<&Array>) -> anyhow::Result<Array> {
        let init = self.init()?;
        let mut watched = Watched::new(self, &pictures[0].aim)?;
        let schedule_steps = self.plan.recipe.steps();
        let job =
            Job { frame_every: watched.every(schedule_steps, self.args.frames), ..self.plan.job(pictures, goal)? };
        let mut watcher = Watcher::new(self.global, pictures[0].aim.measured())?;
        self.announce(outs, pictures, &init, schedule_steps);
        let mut kept = None;
        let finished = run(&self.plan.device, &job, &mut |event| {
            if let Event::Kept(so_far) = &event {
                kept = Some((*so_far).clone());
            }
            match watched.event(&event, &watcher) {
                true => watcher.event(event),
                false => ControlFlow::Break(()),
            }
        });
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => return Err(self.failed(error, kept, outs, pictures, &init)),
        };
        self.save(&finished, outs, pictures, &init)?;
        watched.finish(&finished.pictures.picture(0), &watcher)?;
        if watcher.stopped() {
            self.tell(outs, pictures, &finished, None)?;
            bail!("stopped after {} steps; the picture so far is in {}", finished.steps, list(outs));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.global.say(format_args!("{} steps in {seconds:.1} s", finished.steps));
        let mut saved = Array::filled(finished.pictures.shape, 0.0);
        saved.values.clear();
        for out in outs {
            saved.values.extend(picture::read(out)?.values);
        }
        self.tell(outs, pictures, &finished, Some(&saved))?;
        Ok(saved)
    }

    /// The error of a run, once what it had made is written: that is not lost with the rest.
    fn failed(
        &self,
        error: Error,
        kept: Option<Finished>,
        outs: &[PathBuf],
        pictures: &[Picture],
        init: &Init,
    ) -> anyhow::Error {
        let error = match error {
            Error::NotFinite { .. } if !self.global.check_finite => {
                anyhow!("{error}; --check-finite names the layer in which that begins")
            }
            other => other.into(),
        };
        let Some(kept) = kept else { return error };
        match self.save(&kept, outs, pictures, init) {
            Ok(()) => error.context(format!("failed; the picture after {} steps is in {}", kept.steps, list(outs))),
            Err(other) => anyhow!("{error:#}; and then {other:#}"),
        }
    }

    /// Writes the pictures, each whatever becomes of the others.
    fn save(&self, finished: &Finished, outs: &[PathBuf], pictures: &[Picture], init: &Init) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        for (index, (picture, out)) in pictures.iter().zip(outs).enumerate() {
            let made = finished.pictures.picture(index);
            let texts = self.plan.origin(picture, index, init.clone(), finished).texts(&self.plan.recipe, &made);
            let write = |path: &Path| picture::write_png(path, &made, &texts);
            if let Err(error) = write(out) {
                lost.push(match elsewhere(out, write) {
                    Some(kept) => format!("{error}; the picture is in {} instead", kept.display()),
                    // The one error that does not name the file.
                    None if matches!(error, Error::NotFinite { .. }) => {
                        format!("{}: {error}; --check-finite names the layer in which that begins", out.display())
                    }
                    None => error.to_string(),
                });
            }
        }
        if lost.is_empty() { Ok(()) } else { bail!("{}", lost.join("; ")) }
    }

    /// Where the pictures go: one to the file given, several into the folder given. Checked before anything slow happens.
    fn outs(&self, pictures: &[Picture]) -> anyhow::Result<Vec<PathBuf>> {
        let outs: Vec<PathBuf> = match (&self.args.out, pictures) {
            (Some(out), [_]) => vec![out.clone()],
            (None, [picture]) => vec![format!("{}.png", picture.name).into()],
            (folder, _) => {
                let folder = folder.clone().unwrap_or_default();
                if is_png(&folder) && !folder.is_dir() {
                    bail!("--out {}: {} pictures need a folder, not a file", folder.display(), pictures.len());
                }
                if !folder.as_os_str().is_empty() {
                    std::fs::create_dir_all(&folder).with_context(|| format!("making folder {}", folder.display()))?;
                }
                pictures.iter().map(|picture| folder.join(format!("{}.png", picture.name))).collect()
            }
        };
        for out in &outs {
            if !is_png(out) {
                bail!("{}: pictures are written as .png", out.display());
            }
            if self.args.watching.preview_file.as_ref() == Some(out) {
                bail!("--preview-file {}: is where the picture itself goes; name another", out.display());
            }
            picture::check_writable(out)?;
        }
        Ok(outs)
    }
}

/// Writes a file that cannot be written where it should be into a new folder among the system's temporary files.
fn elsewhere(out: &Path, write: impl Fn(&Path) -> entoptic::Result<()>) -> Option<PathBuf> {
    let folder = tempfile::Builder::new().prefix("entoptic-").tempdir().ok()?;
    let path = folder.path().join(out.file_name()?);
    write(&path).ok()?;
    let _ = folder.keep();
    Some(path)
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}
