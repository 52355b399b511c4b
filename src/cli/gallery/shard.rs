//! Which part of a gallery a process makes: told by the user, or by the job that it is a task of.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Part `index` of `of`, counted from 1: every `of`-th class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub index: usize,
    pub of: usize,
}

impl Shard {
    /// Its share of the classes.
    pub fn share(self, classes: &[usize]) -> Vec<usize> {
        classes.iter().copied().skip(self.index - 1).step_by(self.of).collect()
    }

    /// Name of its folder.
    pub fn folder(self) -> String {
        format!("shard-{:0width$}-of-{}", self.index, self.of, width = self.of.to_string().len())
    }

    /// The part that the environment tells, and what tells it. `shards` is the number of parts where the user gives it.
    pub fn told(
        variable: impl Fn(&str) -> Option<String>,
        shards: Option<u32>,
    ) -> anyhow::Result<Option<(Shard, &'static str)>> {
        let number = |name: &str| -> anyhow::Result<Option<usize>> {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            Ok(Some(text.parse().with_context(|| format!("{name} is \"{text}\", which is no number"))?))
        };
        let shards = shards.map(|shards| shards as usize);
        let (place, counted, by) = if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
            let [first, step] = ["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"].map(number);
            let (first, step) = (first?.unwrap_or(0), step?.unwrap_or(1).max(1));
            let count = number("SLURM_ARRAY_TASK_COUNT")?;
            let Some(place) = id.checked_sub(first).filter(|past| past.is_multiple_of(step)).map(|past| past / step)
            else {
                bail!("the tasks of this Slurm array are not numbered evenly; give --shard I/N");
            };
            (place, count, "the task of the Slurm array")
        } else if let Some(place) = number("JOB_COMPLETION_INDEX")? {
            (place, number("JOB_COMPLETIONS")?, "the index of the Kubernetes job")
        } else if let Some(shards) = shards {
            bail!("--shards {shards}: nothing here tells which of them this is; give --shard I/{shards}");
        } else {
            return Ok(None);
        };
        let of = match (counted, shards) {
            (Some(counted), Some(shards)) if counted != shards => {
                bail!("--shards {shards}: {by} is one of {counted}; leave --shards out, or give --shard I/N")
            }
            (Some(count), _) | (None, Some(count)) => count,
            (None, None) => bail!("{by} says which part this is, and not of how many; give --shards N"),
        };
        if place >= of {
            bail!("{by} is number {} of {of}; give --shard I/N", place + 1);
        }
        Ok(Some((Shard { index: place + 1, of }, by)))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) && of <= 100_000 => Ok(Shard { index, of }),
            _ => Err("a part and their number, 1/4 to 4/4".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)], shards: Option<u32>) -> Result<Option<[usize; 2]>, String> {
        let find =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let told = Shard::told(find, shards).map_err(|error| error.to_string())?;
        Ok(told.map(|(Shard { index, of }, _)| [index, of]))
    }

    #[test]
    fn shards_share_all_classes_and_none_twice() {
        let classes = [3, 5, 8, 13, 21, 34, 55];
        let mut all: Vec<usize> = (1..=3).flat_map(|index| Shard { index, of: 3 }.share(&classes)).collect();
        assert_eq!(Shard { index: 2, of: 3 }.share(&classes), [5, 21]);
        all.sort_unstable();
        assert_eq!(all, classes);
        assert!(Shard { index: 9, of: 9 }.share(&classes).is_empty());
    }

    #[test]
    fn slurm_tells_the_task() {
        let array = |id, min, step, count| {
            told(
                &[
                    ("SLURM_ARRAY_TASK_ID", id),
                    ("SLURM_ARRAY_TASK_MIN", min),
                    ("SLURM_ARRAY_TASK_STEP", step),
                    ("SLURM_ARRAY_TASK_COUNT", count),
                    ("JOB_COMPLETION_INDEX", "7"),
                ],
                None,
            )
        };
        assert_eq!(array("0", "0", "1", "4"), Ok(Some([1, 4])));
        assert_eq!(array("4", "1", "1", "4"), Ok(Some([4, 4])));
        assert_eq!(array("13", "5", "4", "3"), Ok(Some([3, 3])));
        assert!(array("14", "5", "4", "3").expect_err("uneven").contains("give --shard I/N"));
        assert!(array("9", "1", "1", "3").expect_err("a list with gaps").contains("number 9 of 3"));
        assert!(array("x", "1", "1", "3").expect_err("no number").contains("SLURM_ARRAY_TASK_ID is \"x\""));
    }

    #[test]
    fn kubernetes_tells_the_index_and_the_user_or_the_job_their_number() {
        assert_eq!(told(&[("JOB_COMPLETION_INDEX", "0")], Some(3)), Ok(Some([1, 3])));
        assert_eq!(told(&[("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", "3")], None), Ok(Some([3, 3])));
        assert!(told(&[("JOB_COMPLETION_INDEX", "0")], None).expect_err("unknown").contains("give --shards N"));
        let both = told(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "3")], Some(4));
        assert!(both.expect_err("they differ").contains("is one of 3"));
        assert!(told(&[], Some(4)).expect_err("no index").contains("give --shard I/4"));
        assert_eq!(told(&[], None), Ok(None));
    }

    #[test]
    fn parts_are_typed_from_one() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        for text in ["0/3", "4/3", "1/0", "1", "a/b", "1/3/5", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!(Shard { index: 2, of: 16 }.folder(), "shard-02-of-16");
    }
}
