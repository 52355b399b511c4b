//! `entoptic replay` and `entoptic verify`: a picture made again from what is inside it, and compared.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use entoptic::picture;
use entoptic::studio::{Again, Aim, Design, Origin, Record, Sources, again};
use entoptic::synthesis::Event;

use super::events::print_path;
use super::interrupt::take_over_interrupts;
use super::messages::shown;
use super::networks::open;
use super::options::Global;
use super::progress::Watcher;

#[derive(Args)]
pub struct ReplayArgs {
    /// A picture that Entoptic made
    pub picture: PathBuf,
    /// Picture to write (PNG) [default: its name with -again, in the current folder]
    #[arg(long, short)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub files: FilesArgs,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Pictures that Entoptic made
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub files: FilesArgs,
}

/// Files that a picture was made from.
#[derive(Args)]
pub struct FilesArgs {
    /// Weights that are neither in the program nor in the cache; known by their checksum, may be given again
    #[arg(long, short, value_name = "FILE")]
    pub weights: Vec<PathBuf>,
    /// Picture that it starts from or aims at; known by its checksum, may be given again
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
}

impl FilesArgs {
    fn beside<'a>(&'a self, picture: &'a Path) -> Sources<'a> {
        let beside = picture.parent().unwrap_or(Path::new(""));
        Sources { weights: &self.weights, images: &self.image, beside }
    }
}

pub fn replay(global: &Global, args: ReplayArgs) -> anyhow::Result<()> {
    let record = Record::read(&args.picture)?;
    let out = args.out.unwrap_or_else(|| {
        format!("{}-again.png", args.picture.file_stem().unwrap_or_default().to_string_lossy()).into()
    });
    let same = |path: &Path| path.canonicalize().ok();
    if same(&out).is_some_and(|out| Some(out) == same(&args.picture)) {
        bail!("{}: is the picture itself; name another file (--out)", out.display());
    }
    picture::check_writable(&out)?;
    if !record.is_untouched() {
        global.say(format_args!("{}: was changed after it was made", args.picture.display()));
    }
    let sources = args.files.beside(&args.picture);
    sources.check([&record.origin.design].into_iter())?;
    let device = open(global)?;
    let mut watched = Watched::new(global)?;
    let again = Again::of(&global.ear(), &device, &sources, &record, &mut |aim, event| watched.event(aim, event))
        .with_context(|| args.picture.display().to_string())?;
    picture::write_png(&out, &again.picture, &again.origin.texts(&record.recipe, &again.picture))?;
    let differences = again.origin.place.differences(&record.origin.place);
    if !differences.is_empty() {
        global.say(format_args!("it may differ a little, for it was computed with {}", differences.join(", ")));
    }
    print_path(&out)
}

pub fn verify(global: &Global, args: VerifyArgs) -> anyhow::Result<()> {
    let records = args.pictures.iter().map(|path| Record::read(path)).collect::<Result<Vec<_>, _>>()?;
    args.files.beside(Path::new("")).check(records.iter().map(|record| &record.origin.design))?;
    let mut device = None;
    let mut wrong = 0;
    for (path, record) in args.pictures.iter().zip(&records) {
        let found = if record.is_untouched() {
            let device = match &device {
                Some(device) => device,
                None => device.insert(open(global)?),
            };
            let sources = args.files.beside(path);
            let Origin { design, steps, .. } = &record.origin;
            let steps = *steps;
            let next = Design { seed: design.seed.wrapping_add(1), ..design.clone() };
            let ear = global.ear();
            let mut watched = Watched::new(global)?;
            let mut watch = |aim: &Aim, event: Event| watched.event(aim, event);
            let same = Again::of(&ear, device, &sources, record, &mut watch);
            let found = same.and_then(|same| {
                same.compared(record, || {
                    Ok(again(&ear, device, &sources, (&next, &record.recipe), Some(steps), &mut watch)?.picture)
                })
            });
            found.with_context(|| path.display().to_string())?
        } else {
            Err("was changed after it was made: its pixels and texts are not those of its checksum".into())
        };
        let (Ok(said) | Err(said)) = &found;
        println!("{}", shown(&format!("{}: {said}", path.display())));
        wrong += usize::from(found.is_err());
    }
    ensure!(wrong == 0, "{wrong} of {} do not come out the same", records.len());
    Ok(())
}

/// Shows the runs that make something again, one after another.
struct Watched<'a> {
    global: &'a Global,
    now: Option<(Aim, Watcher<'a>)>,
}

impl<'a> Watched<'a> {
    fn new(global: &'a Global) -> anyhow::Result<Self> {
        take_over_interrupts()?;
        Ok(Watched { global, now: None })
    }

    fn event(&mut self, aim: &Aim, event: Event) -> ControlFlow<()> {
        // Another aim is another run, with a bar of its own.
        if self.now.as_ref().is_none_or(|(other, _)| other != aim) {
            let Ok(watcher) = Watcher::new(self.global, aim.measured()) else { return ControlFlow::Break(()) };
            self.now = Some((aim.clone(), watcher));
        }
        let last = matches!(&event, Event::Progress(progress) if progress.step == progress.steps);
        let go_on = self.now.as_mut().map_or(ControlFlow::Continue(()), |(_, watcher)| watcher.event(event));
        self.now = self.now.take().filter(|_| !last);
        go_on
    }
}
