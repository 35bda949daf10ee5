//! The server, asked with a limit on every wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fingerpost_hashequiv_client::{
    AskError, Breaker, Client, ClientOptions, Credentials, Lane, Mode, Question, Trouble,
};
use fingerpost_hashequiv_proto::client::{Request, stream};
use fingerpost_hashequiv_proto::types::Unihash;
use fingerpost_net::Address;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::AgentOptions;
use crate::commands::Caller;

/// Connections for look-ups, and as many for single requests.
const CONNECTIONS: usize = 2;
/// Longest wait for what is neither a look-up nor a report.
const ADMINISTRATION_MAX: Duration = Duration::from_secs(25);

/// A task as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) method: String,
    pub(crate) taskhash: String,
}

/// The server of an agent.
///
/// Look-ups of each kind and reports have breakers of their own: a server may answer the
/// ones and not the others.
pub(crate) struct Server {
    options: ClientOptions,
    gets: Vec<Lane>,
    exists: Lane,
    requests: Vec<Lane>,
    reports: Lane,
    lookups_breaker: Arc<Breaker>,
    reports_breaker: Arc<Breaker>,
    lookup_deadline: Duration,
    report_deadline: Duration,
    next: AtomicUsize,
}

impl Server {
    /// Prepares to ask; connects with the first question. To be called within a runtime.
    pub(crate) fn start(options: &AgentOptions) -> Self {
        let mut client = options.server.clone();
        client.connect_timeout = options.lookup_deadline;
        client.receive_timeout = options.lookup_deadline;
        let address = client.address.to_string();
        let lookups_breaker = Arc::new(Breaker::new(address.clone()));
        let reports_breaker = Arc::new(Breaker::new(address));
        let breaker = || Arc::new(Breaker::new(client.address.to_string()));
        let (exists_breaker, requests_breaker) = (breaker(), breaker());
        let lane = |mode, breaker: &Arc<Breaker>| {
            Lane::start_proving(client.clone(), mode, Arc::clone(breaker))
        };
        let lanes =
            |mode, breaker: &Arc<Breaker>| (0..CONNECTIONS).map(|_| lane(mode, breaker)).collect();
        let mut reporting = client.clone();
        reporting.connect_timeout = options.report_deadline;
        reporting.receive_timeout = options.report_deadline;
        Self {
            gets: lanes(Mode::Gets, &lookups_breaker),
            exists: lane(Mode::Exists, &exists_breaker),
            requests: lanes(Mode::Requests, &requests_breaker),
            reports: Lane::start_proving(reporting, Mode::Requests, Arc::clone(&reports_breaker)),
            options: client,
            lookups_breaker,
            reports_breaker,
            lookup_deadline: options.lookup_deadline,
            report_deadline: options.report_deadline,
            next: AtomicUsize::new(0),
        }
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> &Address {
        &self.options.address
    }

    /// Whether look-ups are asked.
    pub(crate) fn answers(&self) -> bool {
        self.lookups_breaker.is_up()
    }

    /// What is wrong with it, if something is: look-ups go first.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let lookups = self.lookups_breaker.trouble();
        lookups.or_else(|| self.reports_breaker.trouble())
    }

    /// Whether reports are sent.
    pub(crate) fn takes_reports(&self) -> bool {
        self.reports_breaker.is_up()
    }

    fn lane<'a>(&self, lanes: &'a [Lane]) -> &'a Lane {
        &lanes[self.next.fetch_add(1, Ordering::Relaxed) % lanes.len()]
    }

    /// The unihashes of tasks, in order, within the deadline.
    pub(crate) async fn unihashes(
        &self,
        tasks: Arc<[Task]>,
    ) -> Result<Vec<Option<Unihash>>, AskError> {
        let question = || {
            let tasks = Arc::clone(&tasks);
            Question::many(tasks.len(), move |place, out| {
                let Task { method, taskhash } = &tasks[place];
                let write = |bytes: &mut Vec<u8>, framing| {
                    stream::write_get(bytes, framing, method, taskhash)
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
    pub(crate) async fn exist(&self, unihashes: Vec<String>) -> Result<Vec<bool>, AskError> {
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
    pub(crate) async fn read(&self, request: Request<Box<RawValue>>) -> Result<String, AskError> {
        let question = || message(request.clone());
        one(self.within(&self.requests, question).await?)
    }

    /// The JSON of the answer to a report, within the deadline of reports.
    pub(crate) async fn report(&self, request: Request<Box<RawValue>>) -> Result<String, AskError> {
        let asked = timeout(self.report_deadline, self.reports.ask(message(request)));
        one(asked.await.map_err(|_| AskError::late())??)
    }

    /// The user that the agent logs in as.
    pub(crate) const fn own_login(&self) -> Option<&Credentials> {
        self.options.credentials.as_ref()
    }

    /// A client of its own for what a build asks besides look-ups and reports, with the
    /// build's login: what it is refused is nobody else's loss.
    pub(crate) fn client(&self, caller: &Caller) -> Client {
        let mut options = self.options_for_one();
        // A sweep takes as long as it takes; BitBake's clients wait for 30 s.
        options.total_time = ADMINISTRATION_MAX;
        options.receive_timeout = ADMINISTRATION_MAX;
        options.credentials = caller.login.clone();
        options.become_user = caller.becomes.clone();
        Client::new(options)
    }

    /// One try, within the deadline, as nobody.
    pub(crate) fn options_for_one(&self) -> ClientOptions {
        let mut options = self.options.clone();
        options.tries = 1;
        options.total_time = self.lookup_deadline;
        options.credentials = None;
        options.become_user = None;
        options
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
        let asked = timeout(self.lookup_deadline, asked);
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
