//! Stock clients that clone without a pause while something happens to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::clones::Site;
use crate::questions::{Node, Told, ask_inline, filesdata, nodes};

/// Clients at once.
const CLIENTS: usize = 2;
/// Changesets of each other question.
const ASKED: usize = 2;
/// Other questions, again and again.
const QUESTIONS: usize = 6;
/// The longest wait for a single clone, on a machine with other work.
const CLONE_LIMIT: Duration = Duration::from_secs(60);
/// Between other questions: the machine is for the clones.
const PAUSE: Duration = Duration::from_millis(100);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Clients that clone until they are told to stop, or one of them fails; and one of
/// ours that asks for other things, so that there is always something to be stored.
pub(crate) struct Cloning {
    tasks: JoinSet<Result<()>>,
    count: Arc<Mutex<Count>>,
    asked: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
}

#[derive(Default)]
struct Count {
    clones: u64,
    /// How often somebody waited for clones.
    waits: u64,
    /// Clones that began since the last wait did.
    fresh: u64,
}

impl Count {
    fn note(&mut self, began: u64) {
        self.clones += 1;
        self.fresh += u64::from(began == self.waits);
    }
}

impl Cloning {
    pub(crate) async fn begin(site: &Site) -> Result<Self> {
        let mut cloning = Self {
            tasks: JoinSet::new(),
            count: Arc::default(),
            asked: Arc::default(),
            stopping: Arc::default(),
        };
        for _ in 0..CLIENTS {
            let (cloner, count) = (site.cloner(), Arc::clone(&cloning.count));
            let stopping = Arc::clone(&cloning.stopping);
            cloning.tasks.spawn(async move {
                while !stopping.load(Ordering::Relaxed) {
                    let began = count.lock().waits;
                    cloner.clone_all().await?;
                    count.lock().note(began);
                }
                Ok(())
            });
        }
        let questions = Questions::new(site).await?;
        let (asked, stopping) = (Arc::clone(&cloning.asked), Arc::clone(&cloning.stopping));
        cloning
            .tasks
            .spawn(async move { questions.ask(&asked, &stopping).await });
        Ok(cloning)
    }

    /// Waits for so many clones that begin from now on, all of them whole.
    pub(crate) async fn more(&mut self, clones: u64) -> Result<()> {
        {
            let mut count = self.count.lock();
            count.waits += 1;
            count.fresh = 0;
        }
        let began = Instant::now();
        while self.count.lock().fresh < clones {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a client ended");
            }
            let limit = CLONE_LIMIT * u32::try_from(clones + 1)?;
            ensure!(began.elapsed() < limit, "clones take longer than {limit:?}");
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends the clients; how many clones and how many other answers were whole.
    pub(crate) async fn end(mut self) -> Result<(u64, u64)> {
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let clones = self.count.lock().clones;
        Ok((clones, self.asked.load(Ordering::Relaxed)))
    }
}

/// Questions whose answers are known.
struct Questions {
    client: fingerpost_hg_front::client::HgClient,
    changesets: Vec<Node>,
    answers: Vec<Told>,
}

impl Questions {
    async fn new(site: &Site) -> Result<Self> {
        let mut questions = Self {
            client: site.client()?,
            changesets: nodes(site.plan()).await?,
            answers: Vec::new(),
        };
        for first in 0..QUESTIONS.min(questions.changesets.len() - ASKED) {
            let request = filesdata(&questions.changesets[first..first + ASKED], None);
            questions
                .answers
                .push(ask_inline(&questions.client, &request).await?);
        }
        Ok(questions)
    }

    async fn ask(&self, asked: &AtomicU64, stopping: &AtomicBool) -> Result<()> {
        loop {
            for (first, answer) in self.answers.iter().enumerate() {
                if stopping.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let request = filesdata(&self.changesets[first..first + ASKED], None);
                let told = ask_inline(&self.client, &request).await;
                let told = told.context("our client")?;
                ensure!(told.responses == answer.responses, "another answer");
                asked.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
        }
    }
}
