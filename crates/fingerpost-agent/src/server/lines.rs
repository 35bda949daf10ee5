//! A server that is asked over BitBake's protocol, whichever it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fingerpost_hashequiv_client::http::Concern;
use fingerpost_hashequiv_client::{AskError, Breaker, ClientOptions, Lane, Mode, Question};
use fingerpost_hashequiv_proto::client::{Request, stream};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::Deadlines;

/// Connections for look-ups, and as many for single requests.
const CONNECTIONS: usize = 2;

/// Lanes to a server.
///
/// Look-ups of each kind and reports have breakers of their own: a server may answer the
/// ones and not the others.
pub(super) struct Lines {
    gets: Vec<Lane>,
    exists: Lane,
    requests: Vec<Lane>,
    reports: Lane,
    lookups_breaker: Arc<Breaker>,
    reports_breaker: Arc<Breaker>,
    deadlines: Deadlines,
    next: AtomicUsize,
}

impl Lines {
    /// Prepares to ask; connects with the first question. To be called within a runtime.
    pub(super) fn start(options: &ClientOptions, deadlines: Deadlines) -> Self {
        let mut client = options.clone();
        client.connect_timeout = deadlines.lookup;
        client.receive_timeout = deadlines.lookup;
        let mut reporting = client.clone();
        reporting.connect_timeout = deadlines.report;
        reporting.receive_timeout = deadlines.report;
        let breaker = || Arc::new(Breaker::new(client.address.to_string()));
        let (lookups_breaker, reports_breaker) = (breaker(), breaker());
        let (exists_breaker, requests_breaker) = (breaker(), breaker());
        let lane = |mode, breaker: &Arc<Breaker>| {
            Lane::start_proving(client.clone(), mode, Arc::clone(breaker))
        };
        let lanes =
            |mode, breaker: &Arc<Breaker>| (0..CONNECTIONS).map(|_| lane(mode, breaker)).collect();
        Self {
            gets: lanes(Mode::Gets, &lookups_breaker),
            exists: lane(Mode::Exists, &exists_breaker),
            requests: lanes(Mode::Requests, &requests_breaker),
            reports: Lane::start_proving(reporting, Mode::Requests, Arc::clone(&reports_breaker)),
            lookups_breaker,
            reports_breaker,
            deadlines,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn breaker(&self, concern: Concern) -> &Breaker {
        match concern {
            Concern::Lookups => &self.lookups_breaker,
            Concern::Reports => &self.reports_breaker,
        }
    }

    /// Notes that the server is silent, as somebody found who asked it something else.
    pub(super) fn was_silent(&self, why: &str) {
        let lanes = self.gets.iter().chain(&self.requests);
        for lane in lanes.chain([&self.exists, &self.reports]) {
            lane.breaker().down(Instant::now(), why);
        }
    }

    fn lane<'a>(&self, lanes: &'a [Lane]) -> &'a Lane {
        &lanes[self.next.fetch_add(1, Ordering::Relaxed) % lanes.len()]
    }

    /// The unihashes of tasks, in order, within the deadline.
    pub(super) async fn unihashes(
        &self,
        tasks: Arc<[Task]>,
    ) -> Result<Vec<Option<Unihash>>, AskError> {
        let question = || {
            let tasks = Arc::clone(&tasks);
            Question::many(tasks.len(), move |place, out| {
                let Task { method, taskhash } = &tasks[place];
                let (method, taskhash) = (method.as_str(), taskhash.to_text());
                let write = |bytes: &mut Vec<u8>, framing| {
                    stream::write_get(bytes, framing, method, &taskhash)
                };
                out.write(write).is_ok()
            })
        };
        let answers = self.within(&self.gets, question).await?;
        let read = |line: Option<String>| {
            let line = line.unwrap_or_default();
            let unihash = stream::read_unihash(&line).map_err(senseless)?;
            // What is no unihash ends a build that is told it: nothing is known then.
            Ok(unihash.and_then(|text| Unihash::parse_valid(text).ok()))
        };
        answers.into_iter().map(read).collect()
    }

    /// Whether unihashes exist, in order, within the deadline.
    pub(super) async fn exist(&self, unihashes: Vec<String>) -> Result<Vec<bool>, AskError> {
        let unihashes: Arc<[String]> = unihashes.into();
        let question = || {
            let unihashes = Arc::clone(&unihashes);
            Question::many(unihashes.len(), move |place, out| {
                let write = |bytes: &mut Vec<u8>, framing| {
                    stream::write_exists(bytes, framing, &unihashes[place])
                };
                out.write(write).is_ok()
            })
        };
        let lane = std::slice::from_ref(&self.exists);
        let answers = self.within(lane, question).await?;
        let read = |line: Option<String>| match line {
            Some(line) => stream::read_exists(&line).map_err(senseless),
            None => Ok(false),
        };
        answers.into_iter().map(read).collect()
    }

    /// The JSON of the answer to a request that only reads, within the deadline.
    pub(super) async fn read(&self, request: Request<Box<RawValue>>) -> Result<String, AskError> {
        let question = || message(request.clone());
        one(self.within(&self.requests, question).await?)
    }

    /// The JSON of the answer to a report, within the deadline of reports.
    pub(super) async fn report(&self, request: Request<Box<RawValue>>) -> Result<String, AskError> {
        let asked = timeout(self.deadlines.report, self.reports.ask(message(request)));
        one(asked.await.map_err(|_| AskError::late())??)
    }

    /// Asks, and once more if the connection was closed meanwhile: a server that is started
    /// anew closes all of them.
    async fn within(
        &self,
        lanes: &[Lane],
        question: impl Fn() -> Question,
    ) -> Result<Vec<Option<String>>, AskError> {
        let asked = async {
            match self.lane(lanes).ask(question()).await {
                Err(AskError::Closed) => self.lane(lanes).ask(question()).await,
                asked => asked,
            }
        };
        let asked = timeout(self.deadlines.lookup, asked);
        asked.await.map_err(|_| AskError::late())?
    }
}

fn message(request: Request<Box<RawValue>>) -> Question {
    Question::one(move |out| {
        out.message(request.json());
        true
    })
}

fn one(mut answers: Vec<Option<String>>) -> Result<String, AskError> {
    let answer = answers.pop().flatten();
    answer.ok_or_else(|| AskError::senseless("no answer"))
}

fn senseless(error: impl std::fmt::Display) -> AskError {
    AskError::senseless(error.to_string())
}
