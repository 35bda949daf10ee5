//! Work of many callers that is done together: what arrives while the last group is under
//! way makes the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use fingerpost_db::postgres::PostgresError;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

type Outcome<A> = Result<A, PostgresError>;

/// Does a group: answers as many of its first questions as it likes, at least one, in
/// order. The others come again.
type Work<Q, A> = dyn Fn(Vec<Arc<Q>>) -> BoxFuture<'static, Outcome<Vec<A>>> + Send + Sync;

/// How much there may be of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits<Q> {
    /// Groups under way at once.
    pub(super) groups: usize,
    /// What a question weighs.
    pub(super) weight: fn(&Q) -> usize,
    /// What a group weighs at most; a heavier question is a group of its own.
    pub(super) group_weight: usize,
    /// What waits weighs at most.
    pub(super) waiting_weight: usize,
}

/// A queue of questions. Clones share it.
pub(super) struct Grouped<Q, A>(Arc<Inner<Q, A>>);

struct Inner<Q, A> {
    limits: Limits<Q>,
    work: Box<Work<Q, A>>,
    queue: Mutex<Queue<Q, A>>,
}

struct Queue<Q, A> {
    waiting: VecDeque<Asked<Q, A>>,
    weight: usize,
    running: usize,
}

struct Asked<Q, A> {
    question: Arc<Q>,
    answer: oneshot::Sender<Outcome<A>>,
}

impl<Q, A> Clone for Grouped<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q: Send + Sync + 'static, A: Send + 'static> Grouped<Q, A> {
    pub(super) fn new<F>(limits: Limits<Q>, work: F) -> Self
    where
        F: Fn(Vec<Arc<Q>>) -> BoxFuture<'static, Outcome<Vec<A>>> + Send + Sync + 'static,
    {
        Self(Arc::new(Inner {
            limits,
            work: Box::new(work),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                weight: 0,
                running: 0,
            }),
        }))
    }

    /// Asks, and waits for the answer. Who drops this is answered nothing, but what was
    /// begun is ended.
    pub(super) async fn ask(&self, question: Q) -> Outcome<A> {
        let (answer, answered) = oneshot::channel();
        let question = Arc::new(question);
        {
            let mut queue = self.0.queue.lock();
            let weight = (self.0.limits.weight)(&question);
            if queue.weight + weight > self.0.limits.waiting_weight && !queue.waiting.is_empty() {
                return Err(PostgresError::Busy);
            }
            queue.weight += weight;
            queue.waiting.push_back(Asked { question, answer });
            if queue.running < self.0.limits.groups {
                queue.running += 1;
                tokio::spawn(run(Arc::clone(&self.0)));
            }
        }
        // The sender goes only with the runtime.
        answered.await.unwrap_or(Err(PostgresError::Closed))
    }

    /// Questions that wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.queue.lock().waiting.len()
    }
}

/// Does groups until nothing waits.
async fn run<Q: Send + Sync + 'static, A: Send + 'static>(inner: Arc<Inner<Q, A>>) {
    loop {
        let group = inner.next();
        if group.is_empty() {
            return;
        }
        let questions = group.iter().map(|one| Arc::clone(&one.question));
        match (inner.work)(questions.collect()).await {
            Ok(answers) => inner.answer(group, answers),
            Err(error) if group.len() > 1 && matches!(error, PostgresError::Refused(_)) => {
                // One of them cannot be done; the others are not to suffer from it.
                inner.each_alone(group).await;
            }
            Err(error) => {
                for one in group {
                    _ = one.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

impl<Q: Send + Sync + 'static, A: Send + 'static> Inner<Q, A> {
    /// The next group. When there is none, this run is over.
    fn next(&self) -> Vec<Asked<Q, A>> {
        let mut queue = self.queue.lock();
        let (mut group, mut weight) = (Vec::new(), 0);
        while let Some(first) = queue.waiting.front() {
            let own = (self.limits.weight)(&first.question);
            if !group.is_empty() && weight + own > self.limits.group_weight {
                break;
            }
            let Some(one) = queue.waiting.pop_front() else {
                break;
            };
            queue.weight = queue.weight.saturating_sub(own);
            if one.answer.is_closed() {
                continue;
            }
            weight += own;
            group.push(one);
        }
        if group.is_empty() {
            queue.running -= 1;
        }
        group
    }

    fn answer(&self, mut group: Vec<Asked<Q, A>>, answers: Vec<A>) {
        let rest = group.split_off(answers.len().clamp(1, group.len()));
        for (one, answer) in group.into_iter().zip(answers) {
            _ = one.answer.send(Ok(answer));
        }
        let mut queue = self.queue.lock();
        for one in rest.into_iter().rev() {
            queue.weight += (self.limits.weight)(&one.question);
            queue.waiting.push_front(one);
        }
    }

    async fn each_alone(&self, group: Vec<Asked<Q, A>>) {
        for one in group {
            let mut outcome = (self.work)(vec![Arc::clone(&one.question)]).await;
            let answer = outcome
                .as_mut()
                .map(Vec::pop)
                .map_err(|error| error.clone())
                .and_then(|answer| answer.ok_or(PostgresError::Rows(0)));
            _ = one.answer.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMITS: Limits<u32> = Limits {
        groups: 1,
        weight: |_| 1,
        group_weight: 10,
        waiting_weight: 100,
    };

    /// Groups that double their numbers, and how many there were.
    fn doubling() -> (Grouped<u32, u32>, Arc<AtomicUsize>) {
        let groups = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&groups);
        let grouped = Grouped::new(LIMITS, move |questions: Vec<Arc<u32>>| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(questions.iter().map(|number| **number * 2).collect())
            })
        });
        (grouped, groups)
    }

    #[tokio::test]
    async fn what_arrives_meanwhile_is_done_together() {
        let (grouped, groups) = doubling();
        let asked = (0..50).map(|number| grouped.ask(number));
        let answers = futures_util::future::join_all(asked).await;
        for (number, answer) in (0..50).zip(answers) {
            assert_eq!(answer.unwrap(), number * 2);
        }
        assert_eq!(groups.load(Ordering::Relaxed), 5);
        assert_eq!(grouped.waiting(), 0);
    }

    #[tokio::test]
    async fn what_a_group_leaves_comes_again_in_order() {
        let grouped = Grouped::new(LIMITS, |questions: Vec<Arc<u32>>| {
            Box::pin(async move { Ok(questions.iter().take(3).map(|one| **one).collect()) })
        });
        let asked = (0..20).map(|number| grouped.ask(number));
        let answers = futures_util::future::join_all(asked).await;
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn too_many_are_refused_and_who_left_is_not_worked_for() {
        let (grouped, groups) = doubling();
        let asked: Vec<_> = (0..101)
            .map(|number| Box::pin(grouped.ask(number)))
            .collect();
        let mut polled = futures_util::future::join_all(asked);
        let first = futures_util::FutureExt::now_or_never(&mut polled);
        assert!(first.is_none());
        let refused = grouped.ask(7).await;
        assert!(matches!(refused, Err(PostgresError::Busy)), "{refused:?}");
        drop(polled);
        // They make room when the next group is made.
        tokio::task::yield_now().await;
        assert_eq!(grouped.waiting(), 0);
        assert_eq!(grouped.ask(4).await.unwrap(), 8);
        assert!(groups.load(Ordering::Relaxed) <= 2);
    }
}
