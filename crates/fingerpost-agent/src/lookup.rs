//! Look-ups that memory does not answer: in turn by what this host reported, by what is kept
//! on its disk, and by the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::{DeletionEpoch, Said};
use fingerpost_hashequiv_proto::client::{FullRow, SignedRow};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use fingerpost_signatures::Trust;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::knowledge::Whose;
use crate::server::Server;
use crate::shared::Shared;

/// What is said of a task: that it has this unihash, or none; nothing where all are silent.
pub(crate) type Word = Option<Option<Unihash>>;

/// Tasks that are looked up together, and what was said of them up to now.
pub(crate) struct Batch {
    tasks: Vec<Task>,
    said: Vec<Word>,
    pub(crate) by: AnsweredBy,
}

/// Who answered tasks, by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnsweredBy {
    /// Reports of this host that the server has not seen.
    pub(crate) reports: u64,
    /// The snapshot, and what changed since.
    pub(crate) snapshot: u64,
    /// Answers of before on disk.
    pub(crate) store: u64,
    /// Those that the server was asked for, whether it answered or not.
    pub(crate) asked: u64,
}

impl Batch {
    pub(crate) fn new(tasks: Vec<Task>) -> Self {
        Self {
            said: vec![None; tasks.len()],
            tasks,
            by: AnsweredBy::default(),
        }
    }

    /// The tasks of which nothing was said yet.
    pub(crate) fn open(&self) -> Vec<Task> {
        let pairs = self.tasks.iter().zip(&self.said);
        let open = pairs.filter(|(_, said)| said.is_none());
        open.map(|(task, _)| task.clone()).collect()
    }

    /// What is said of those, in the same order. Gives of how many something is.
    pub(crate) fn say(&mut self, words: impl IntoIterator<Item = Word>) -> u64 {
        let open = self.said.iter_mut().filter(|said| said.is_none());
        let mut said = 0;
        for (place, word) in open.zip(words) {
            said += u64::from(word.is_some());
            *place = word;
        }
        said
    }

    /// What was said, in the order of the tasks.
    pub(crate) fn words(self) -> Vec<Word> {
        self.said
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.said.iter().all(Option::is_some)
    }
}

impl Shared {
    /// What is said of tasks, in order, and by whom; `server` is the one as whoever asks sees it.
    pub(crate) async fn ask(&self, server: &Server, tasks: Vec<Task>) -> (Vec<Word>, AnsweredBy) {
        let mut batch = Batch::new(tasks);
        // What this host said of a task holds until the server has heard of it.
        let scope = server.scope(&self.namespace);
        if let Some(local) = self.spool.provisional(&scope, &batch.tasks) {
            let words = local.into_iter().map(|local| local.map(Some));
            batch.by.reports += batch.say(words);
        }
        // What is kept here is good as long as the agent hears of deletions, and better than
        // nothing when nobody answers. It is what everybody is answered.
        let may_know = || server.whose() == Whose::EVERYBODYS;
        let is_kept_first = may_know() && (self.is_current() || !server.answers());
        if is_kept_first {
            let else_answers = server.answers();
            self.look_at_what_is_kept(&mut batch, else_answers).await;
        }
        if !batch.is_answered() {
            let open = batch.open();
            batch.by.asked += open.len() as u64;
            batch.say(self.ask_server(server, open).await);
        }
        if !is_kept_first && may_know() && !batch.is_answered() {
            self.look_at_what_is_kept(&mut batch, false).await;
        }
        let by = batch.by;
        (batch.words(), by)
    }

    async fn ask_server(&self, server: &Server, tasks: Vec<Task>) -> Vec<Word> {
        let tasks: Arc<[Task]> = tasks.into();
        self.figures
            .asked
            .fetch_add(tasks.len() as u64, Ordering::Relaxed);
        let began = Instant::now();
        let judge = self.trust.now();
        let said = match judge.clone().filter(|trust| trust.judges()) {
            Some(trust) => self.ask_and_judge(server, trust, &tasks).await,
            None => server.unihashes(&tasks).await,
        };
        match said {
            Ok(Said { value, epoch }) => {
                self.figures.waited(began.elapsed());
                server.learn(epoch, self.knowledge.heard());
                let whose = server.whose();
                let answers = || tasks.iter().zip(value.iter().map(Option::as_ref));
                self.trust.while_judged_by(judge.as_ref(), || {
                    self.remember(whose, epoch, answers());
                    if whose == Whose::EVERYBODYS {
                        self.keep(epoch, answers());
                    }
                });
                if whose == Whose::EVERYBODYS {
                    self.saw(epoch);
                }
                value.into_iter().map(Some).collect()
            }
            Err(error) => {
                self.figures.gave_tasks_up(tasks.len(), &error);
                vec![None; tasks.len()]
            }
        }
    }

    /// Who follows the namespace hears of an epoch that somebody saw.
    fn saw(&self, epoch: Option<DeletionEpoch>) {
        if let (Some(kept), Some(epoch)) = (&self.kept, epoch) {
            kept.followed.saw(epoch);
        }
    }

    /// The unihashes of rows that somebody signed who is believed.
    async fn ask_and_judge(
        &self,
        server: &Server,
        trust: Arc<Trust>,
        tasks: &Arc<[Task]>,
    ) -> Result<Said<Vec<Option<Unihash>>>, AskError> {
        let Said { value: rows, epoch } = server.signed(tasks).await?;
        let tasks = Arc::clone(tasks);
        // Thousands of signatures take their time.
        let judged = spawn_blocking(move || {
            let judge = |(task, row): (&Task, Option<SignedRow>)| {
                let row = row?;
                let asked = (task.method.as_str(), &*task.taskhash.to_text(), None);
                let (is_hit, word) = trust.judge(asked, &row);
                Some(is_hit.then_some(row.unihash).ok_or(word))
            };
            tasks.iter().zip(rows).map(judge).collect::<Vec<_>>()
        });
        let judged = judged
            .await
            .map_err(|_| AskError::senseless("the agent ends"))?;
        let believed = judged.into_iter().map(|judged| match judged? {
            Ok(unihash) => Some(unihash),
            Err(word) => {
                self.figures.disbelieved(word);
                None
            }
        });
        let value = believed.collect();
        Ok(Said { value, epoch })
    }

    /// Whether the unihash of a row is believed, if it has one.
    pub(crate) async fn believes_row(&self, server: &Server, row: &FullRow) -> bool {
        let Some(unihash) = &row.unihash else {
            return true;
        };
        let (Some(method), Some(taskhash)) = (&row.method, &row.taskhash) else {
            return self.judging().is_none();
        };
        let task = Task {
            method: method.clone(),
            taskhash: taskhash.clone(),
        };
        self.believes(server, task, unihash).await
    }

    /// Whether the unihash of a task is believed: nobody looks at signatures, or the row that is
    /// looked at says the same.
    pub(crate) async fn believes(&self, server: &Server, task: Task, unihash: &Unihash) -> bool {
        let Some(trust) = self.judging() else {
            return true;
        };
        let judged = self.ask_and_judge(server, trust, &[task].into()).await;
        judged.is_ok_and(|said| said.value.first() == Some(&Some(unihash.clone())))
    }

    /// Remembers what the server says. Hashes of another length are asked for each time.
    pub(crate) fn remember<'a>(
        &self,
        whose: Whose,
        of: Option<DeletionEpoch>,
        answers: impl IntoIterator<Item = (&'a Task, Option<&'a Unihash>)>,
    ) {
        let in_bytes = answers.into_iter().filter_map(|(task, unihash)| {
            let taskhash = *task.taskhash.as_bytes()?;
            let unihash = match unihash {
                Some(unihash) => Some(*unihash.as_bytes()?),
                None => None,
            };
            Some((task.method.as_str(), taskhash, unihash))
        });
        self.knowledge.put(whose, of, in_bytes);
    }

    /// Whether unihashes exist; not as far as a silent server says.
    pub(crate) async fn exist(&self, server: &Server, unihashes: Vec<String>) -> Vec<bool> {
        let count = unihashes.len();
        match server.exist(unihashes).await {
            Ok(known) => known,
            Err(error) => {
                self.figures.gave_up("exists-stream", &error);
                vec![false; count]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_next_hears_of_the_rest() {
        let task = |taskhash| Task::parse("m", taskhash);
        let mut batch = Batch::new(["a", "b", "c"].map(task).to_vec());
        assert_eq!(batch.say([None, Some(None), None]), 1);
        assert_eq!(batch.open(), [task("a"), task("c")]);
        let unihash = Some(Unihash::parse("u"));
        batch.say([Some(unihash.clone()), None]);
        assert!(!batch.is_answered());
        batch.say([Some(None)]);
        assert_eq!(batch.said, [Some(unihash), Some(None), Some(None)]);
        assert!(batch.is_answered());
    }
}
