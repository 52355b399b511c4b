//! A folder in which the program runs as a user would run it, and small things to run it on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use entoptic::nets::{Head, Structure};
use entoptic::picture;
use entoptic::tensor::{Array, Shape};
use entoptic::weights::{NamedArray, Precision, write};
use serde_json::Value;
use tempfile::TempDir;

use super::generator::Generator;
use super::reference::structure;

/// A folder that goes away with the test.
pub struct Desk(TempDir);

impl Desk {
    /// An empty one.
    pub fn new() -> Desk {
        Desk(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program in this folder, with arguments that have blanks between them. What the user has fetched is not used, nor
    /// is the job that the tests may run in.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entoptic"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        command.env("XDG_RUNTIME_DIR", self.0.path());
        for variable in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(variable, self.0.path());
        }
        for variable in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"] {
            command.env_remove(variable);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// What it prints, when all goes well.
    #[track_caller]
    pub fn good(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The last line of what it says when it refuses; its exit code is 1.
    #[track_caller]
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.run(&format!("--quiet {arguments}"));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(!said.contains("panicked"), "{arguments}: {said}");
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// Writes a recipe of so many steps at a side.
    pub fn recipe(&self, name: &str, steps: u32, side: u32) {
        let text = format!(
            "name = \"tiny\"\ndescription = \"\"\nnormalize = \"imagenet\"\n[init]\nkind = \"normal\"\nsize = {side}\n\
             mean = 0.5\nstd = 0.05\n[[stage]]\niterations = {steps}\nrate = [0.06, 0.02]\nstep = \"normalized\"\n\
             sigma = [0.8, 0.4]\nclamp = [0.0, 1.0]\n"
        );
        fs::write(self.path(name), text).expect("a recipe");
    }

    /// Writes weights of a narrow ResNet50 with a thousand classes; `edit` may change its tensors.
    pub fn thousand(&self, name: &str, seed: u64, edit: impl FnOnce(&mut BTreeMap<String, Vec<f32>>)) {
        self.narrow(name, (structure("resnet50"), &[]), seed, edit);
    }

    /// The same of any network, with side heads.
    pub fn narrow(
        &self,
        name: &str,
        (architecture, heads): (Structure, &[Head]),
        seed: u64,
        edit: impl FnOnce(&mut BTreeMap<String, Vec<f32>>),
    ) {
        let shapes: BTreeMap<String, Vec<usize>> =
            architecture.tensors(1.0 / 16.0, 1000, heads).expect("any width fits").into_iter().collect();
        let mut state = Generator { seed }.state(architecture.name(), &shapes);
        edit(&mut state);
        let array = |(name, values): (String, Vec<f32>)| NamedArray { shape: shapes[&name].clone(), name, values };
        let arrays: Vec<NamedArray> = state.into_iter().map(array).collect();
        write(&self.path(name), &arrays, &BTreeMap::new(), Precision::F32).expect("room for the weights");
    }

    /// Writes weights of a narrow network that knows some classes by name.
    pub fn known(&self, name: &str, architecture: Structure, seed: u64, classes: &[&str]) {
        let shapes: BTreeMap<String, Vec<usize>> =
            architecture.tensors(1.0 / 16.0, classes.len(), &[]).expect("any width fits").into_iter().collect();
        let state = Generator { seed }.state(architecture.name(), &shapes);
        let array = |(name, values): (String, Vec<f32>)| NamedArray { shape: shapes[&name].clone(), name, values };
        let arrays: Vec<NamedArray> = state.into_iter().map(array).collect();
        let metadata = BTreeMap::from([("classes".to_owned(), classes.join(","))]);
        write(&self.path(name), &arrays, &metadata, Precision::F32).expect("room for the weights");
    }

    /// Writes a picture, with what its file says of the run that made it.
    pub fn picture(&self, name: &str, seed: u64, side: usize, run: Option<Value>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        let pixels = Array::new(Shape::new(1, 3, side, side), Generator { seed }.blocks(1, side));
        let run = run.map(|run| ("entoptic:run".to_owned(), run.to_string()));
        let recipe = run.is_some().then(|| ("entoptic:recipe".to_owned(), "name = \"small\"\n".to_owned()));
        picture::write_png(&path, &pixels, &run.into_iter().chain(recipe).collect::<Vec<_>>()).expect("written");
    }
}

/// UTF-8, which all output is.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The one line that says what is wrong: exit code 1, no panic.
#[track_caller]
pub fn refusal(output: &Output) -> String {
    // A name of a file in it need not be UTF-8.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && !said.contains("panicked"), "{said}");
    errors[0].to_owned()
}

/// The files of a folder with an ending, by name, in the order of the names.
pub fn files(folder: &Path, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let named = entries.map(|entry| entry.expect("an entry").path());
    let wanted = named.filter(|path| path.to_string_lossy().ends_with(ending));
    wanted
        .map(|path| {
            let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("readable"))
        })
        .collect()
}
