//! The classifiers of a network.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

/// Where logits come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Head {
    /// The classifier at the end.
    #[default]
    Main,
    /// Another one, by its name: what heads there are is the structure's to say.
    Side(&'static str),
}

impl Head {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Head::Main => "main",
            Head::Side(name) => name,
        }
    }

    /// The head of this name, whether or not a network has it.
    pub fn named(name: &str) -> Head {
        /// Names that heads have been asked for by: few, and needed to the end.
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if name == Head::Main.name() {
            return Head::Main;
        }
        let mut names = NAMES.lock().expect("no panic happens while the lock is held");
        let known = names.get(name).copied();
        Head::Side(known.unwrap_or_else(|| {
            let name: &'static str = name.to_owned().leak();
            names.insert(name);
            name
        }))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
