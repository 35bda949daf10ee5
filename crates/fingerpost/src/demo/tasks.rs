//! What there is to build. Some tasks are in nearly every build, most in few.

use std::collections::HashSet;

use rand::SeedableRng as _;
use rand::distr::Distribution as _;
use rand::rngs::SmallRng;
use rand_distr::Zipf;
use sha2::{Digest as _, Sha256};

/// How outhashes are made.
pub(super) const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// A task of a build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task {
    pub(super) taskhash: String,
    /// What it will turn out to make.
    pub(super) outhash: String,
    pub(super) recipe: String,
}

/// Draws the tasks of one builder.
pub(super) struct Tasks {
    builder: u16,
    /// How many there are that all builders share.
    shared: u64,
    zipf: Zipf<f64>,
    random: SmallRng,
    /// New ones so far, which nobody else has.
    new: u64,
}

impl Tasks {
    /// Those of a builder that looks up so many in all of its builds.
    pub(super) fn of(builder: u16, lookups: u32) -> anyhow::Result<Self> {
        let shared = (u64::from(lookups) / LOOKUPS_OF_SHARED).max(1);
        Ok(Self {
            builder,
            shared,
            zipf: Zipf::new(shared as f64, 1.0)?,
            random: SmallRng::seed_from_u64(u64::from(builder)),
            new: 0,
        })
    }

    /// The tasks of one build, each of them once.
    pub(super) fn build(&mut self, count: usize) -> Vec<Task> {
        let new = count / NEW_ONE_IN;
        let mut tasks: Vec<_> = (0..new).map(|_| self.new_task()).collect();
        let shared = self.draw(count - new);
        tasks.extend(shared.iter().map(|number| self.shared_task(*number)));
        tasks
    }

    /// Numbers of tasks that all builders share, each of them once.
    fn draw(&mut self, count: usize) -> Vec<u64> {
        let mut drawn = HashSet::with_capacity(count);
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(DRAWS_MAX) {
            if numbers.len() == count {
                break;
            }
            // Ranks are floats counted from one.
            let rank = self.zipf.sample(&mut self.random) as u64;
            let number = rank.clamp(1, self.shared);
            if drawn.insert(number) {
                numbers.push(number);
            }
        }
        let rest = (1..=self.shared).filter(|number| !drawn.contains(number));
        let left = count - numbers.len();
        numbers.extend(rest.take(left));
        numbers
    }

    /// Of some tasks half of the builders have another input that changes nothing, a
    /// comment for example.
    fn shared_task(&self, number: u64) -> Task {
        let comment = match number.is_multiple_of(COMMENTED) {
            true => self.builder % 2,
            false => 0,
        };
        Task {
            taskhash: sha256(&format!("inputs of task {number}, comment {comment}")),
            outhash: sha256(&format!("output of task {number}")),
            recipe: format!("recipe-{}", number / TASKS_OF_RECIPE),
        }
    }

    /// One that somebody works on here.
    fn new_task(&mut self) -> Task {
        self.new += 1;
        let name = format!("builder {}, task {}", self.builder, self.new);
        Task {
            taskhash: sha256(&format!("inputs of {name}")),
            outhash: sha256(&format!("output of {name}")),
            recipe: "recipe-in-work".to_owned(),
        }
    }
}

/// As 64 lower-case hex digits.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Look-ups of a builder for each of the tasks that all share: a farm builds the same again
/// and again.
const LOOKUPS_OF_SHARED: u64 = 4;
/// One task of a build in so many.
const NEW_ONE_IN: usize = 30;
/// Draws for each task, after which those are taken that were not drawn.
const DRAWS_MAX: usize = 20;
/// One task in so many.
const COMMENTED: u64 = 4;
const TASKS_OF_RECIPE: u64 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(tasks: &[Task]) -> HashSet<&str> {
        tasks.iter().map(|task| task.taskhash.as_str()).collect()
    }

    #[test]
    fn a_build_has_each_task_once_and_shares_many() {
        let mut first = Tasks::of(0, 20_000).unwrap();
        let mut second = Tasks::of(1, 20_000).unwrap();
        let (one, other) = (first.build(1000), second.build(1000));
        let (one_hashes, other_hashes) = (hashes(&one), hashes(&other));
        assert_eq!((one_hashes.len(), other_hashes.len()), (1000, 1000));
        let shared = one_hashes.intersection(&other_hashes).count();
        assert!((100..900).contains(&shared), "{shared}");
        let outputs = |tasks: &[Task]| -> HashSet<String> {
            tasks.iter().map(|task| task.outhash.clone()).collect()
        };
        let same_output = outputs(&one).intersection(&outputs(&other)).count();
        assert!(same_output > shared, "comments change taskhashes alone");
    }

    #[test]
    fn some_tasks_of_each_build_are_new() {
        let mut tasks = Tasks::of(0, 20_000).unwrap();
        let (one, other) = (tasks.build(300), tasks.build(300));
        let new = |tasks: &[Task]| -> HashSet<String> {
            let new = tasks.iter().filter(|it| it.recipe == "recipe-in-work");
            new.map(|it| it.taskhash.clone()).collect()
        };
        assert_eq!(new(&one).len(), 10);
        assert!(new(&one).is_disjoint(&new(&other)));
    }

    #[test]
    fn a_build_of_all_there_is_ends() {
        let mut tasks = Tasks::of(0, 80).unwrap();
        assert_eq!(hashes(&tasks.build(20)).len(), 20);
        assert_eq!(tasks.build(0), []);
        assert_eq!(
            tasks.build(100).len(),
            23,
            "3 new ones, and no more than there are"
        );
    }
}
