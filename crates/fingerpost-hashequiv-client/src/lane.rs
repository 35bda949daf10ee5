//! One connection that many callers share.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fingerpost_hashequiv_proto::client::{ServerError, read_answer};
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::breaker::{Admit, Breaker, Trouble};
use crate::client::{ClientError, ClientOptions, Connection, Mode, request};
use crate::link::Outgoing;
use crate::timer::{Timer, earlier};

/// A question was not answered; whoever asked goes on without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The server refused it, with a sentence for people.
    #[error("{0}")]
    Told(String),
    /// The server closed the connection instead of answering.
    #[error("the server closed the connection")]
    Closed,
    /// There was no answer.
    #[error("{0}")]
    Silent(String),
    /// There was none that makes sense, perhaps because of what was asked.
    #[error("{0}")]
    Senseless(String),
    /// The server does not take the login of who asks, with a sentence for people.
    #[error("{0}")]
    Login(String),
}

/// Questions that may wait to be sent.
const QUEUE_MAX: usize = 256;

/// Answers that may be awaited before further questions are sent.
const WINDOW: usize = 10_000;

/// The sending half of a shared connection. Its task ends with it.
pub struct Lane {
    questions: mpsc::Sender<Queued>,
    breaker: Arc<Breaker>,
    timeout: Duration,
}

/// The lines of one caller. Writes those that have a form as lines, one by one.
pub struct Question {
    count: usize,
    write: WriteLine,
}

/// Appends the line with this number, or says that it has no form as one.
type WriteLine = Box<dyn FnMut(usize, &mut Outgoing) -> bool + Send>;

/// The answers in order, `None` for what could not be asked.
pub type Answers = Vec<Option<String>>;
type Reply = oneshot::Sender<Result<Answers, AskError>>;

/// A question on its way to the connection; `None` is a probe.
type Queued = Option<(Question, Reply)>;

impl Question {
    /// `count` lines; `write` appends one of them, or says that it cannot.
    pub fn many(
        count: usize,
        write: impl FnMut(usize, &mut Outgoing) -> bool + Send + 'static,
    ) -> Self {
        Self {
            count,
            write: Box::new(write),
        }
    }

    /// One message.
    pub fn one(mut write: impl FnMut(&mut Outgoing) -> bool + Send + 'static) -> Self {
        Self::many(1, move |_, out| write(out))
    }
}

impl Lane {
    /// Prepares to ask in one mode; connects with the first question. Must be called
    /// within a runtime.
    pub fn start(options: ClientOptions, mode: Mode, breaker: Arc<Breaker>) -> Self {
        Self::with(options, mode, breaker, false)
    }

    /// As [`Lane::start`], but a new connection counts only when a look-up of nothing was
    /// answered on it: a server whose database hangs still shakes hands.
    pub fn start_proving(options: ClientOptions, mode: Mode, breaker: Arc<Breaker>) -> Self {
        Self::with(options, mode, breaker, true)
    }

    fn with(options: ClientOptions, mode: Mode, breaker: Arc<Breaker>, proves: bool) -> Self {
        let (questions, receiver) = mpsc::channel(QUEUE_MAX);
        let timeout = options.receive_timeout;
        let worker = Worker {
            options,
            mode,
            proves,
            breaker: Arc::clone(&breaker),
            questions: receiver,
        };
        tokio::spawn(worker.run());
        Self {
            questions,
            breaker,
            timeout,
        }
    }

    /// Knows whether the server answers.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Asks, and waits for all answers: at most twice the timeout, once for a
    /// connection and once for them.
    pub async fn ask(&self, question: Question) -> Result<Answers, AskError> {
        match self.breaker.admit(Instant::now()) {
            Admit::Ask => {}
            Admit::Refuse => return Err(self.known()),
            Admit::Probe => {
                // A full queue is tried by itself.
                let _ = self.questions.try_send(None);
                return Err(self.known());
            }
        }
        let (reply, answers) = oneshot::channel();
        self.questions
            .try_send(Some((question, reply)))
            .map_err(|_| error("too many questions"))?;
        match timeout(self.timeout * 2, answers).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(_)) => Err(error("the connection's task ended")),
            Err(_) => Err(AskError::late()),
        }
    }

    /// Why nobody is asked.
    fn known(&self) -> AskError {
        match self.breaker.trouble() {
            Some(Trouble {
                why,
                is_refusal: true,
                ..
            }) => AskError::Login(why),
            _ => error("known to be down"),
        }
    }
}

impl AskError {
    /// There was no answer by a deadline.
    pub fn late() -> Self {
        error("no answer in time")
    }

    /// There was none that makes sense, for this reason.
    pub fn senseless(why: impl Into<String>) -> Self {
        Self::Senseless(why.into())
    }
}

fn error(text: impl Into<String>) -> AskError {
    AskError::Silent(text.into())
}

/// The task that owns the connection.
struct Worker {
    options: ClientOptions,
    mode: Mode,
    proves: bool,
    breaker: Arc<Breaker>,
    questions: mpsc::Receiver<Queued>,
}

impl Worker {
    async fn run(mut self) {
        let mut is_probed = false;
        loop {
            let asked = match std::mem::take(&mut is_probed) {
                true => None,
                false => match self.questions.recv().await {
                    Some(asked) => asked,
                    None => return,
                },
            };
            match self.open().await {
                Ok(connection) => is_probed = self.share(connection, asked).await,
                Err(ClientError::Told(why)) => {
                    self.breaker.refuses(Instant::now(), &why);
                    self.refuse(asked, &AskError::Login(why));
                }
                Err(failure) => {
                    let why = with_cause(&failure);
                    self.breaker.down(Instant::now(), &why);
                    self.refuse(asked, &error(why));
                }
            }
        }
    }

    /// Uses a connection as long as it lasts. Gives whether somebody wants to know if the
    /// server answers, which a new connection shows.
    async fn share(&mut self, connection: Connection, first: Queued) -> bool {
        match self.proves {
            true => self.breaker.up(),
            false => self.breaker.connected(),
        }
        let breaker = Arc::clone(&self.breaker);
        let mut shared = Shared::new(connection, breaker, self.options.receive_timeout);
        shared.drops_late = self.proves && self.mode != Mode::Requests;
        if let Some((question, reply)) = first {
            shared.admit(question, reply);
        }
        let lost = poll_fn(|cx| shared.poll(cx, &mut self.questions)).await;
        let is_probed = shared.is_probed;
        self.lose(shared, &lost);
        is_probed
    }

    /// Connects, and makes sure that somebody answers.
    async fn open(&self) -> Result<Connection, ClientError> {
        let give_up = Instant::now() + self.options.connect_timeout;
        let mut connection = Connection::open(&self.options, give_up).await?;
        if self.mode == Mode::Requests {
            connection.call(&request::ping(), give_up).await?;
        }
        connection.enter(self.mode, give_up).await?;
        if self.proves {
            connection.prove(give_up).await?;
        }
        Ok(connection)
    }

    /// Fails a question, and those that queued behind it meanwhile.
    fn refuse(&mut self, first: Queued, why: &AskError) {
        let mut next = Some(first);
        while let Some(asked) = next {
            if let Some((_, reply)) = asked {
                // A caller that has gone is not told.
                let _ = reply.send(Err(why.clone()));
            }
            next = self.questions.try_recv().ok();
        }
    }

    fn lose(&self, shared: Shared, lost: &Lost) {
        let why = match lost {
            Lost::Closed | Lost::Unused => "the connection was closed".to_owned(),
            Lost::Silent => "it does not answer".to_owned(),
            Lost::Failed(failure) => with_cause(failure),
        };
        // A connection that is closed may only mean a restart: whether the
        // server is down shows when the next question connects.
        let is_down = match lost {
            Lost::Unused => false,
            // What was refused is one request, or the login of all.
            Lost::Failed(ClientError::Told(_)) => self.mode != Mode::Requests,
            // A single request may be closed on for what is in it, but not on trial.
            Lost::Closed => {
                let counts = self.proves && self.mode != Mode::Requests || shared.is_trial;
                counts && shared.is_unanswered()
            }
            Lost::Silent | Lost::Failed(_) => true,
        };
        if let Lost::Failed(ClientError::Told(_)) = lost
            && !is_down
        {
            // Whoever refuses a request does answer.
            self.breaker.up();
        }
        if is_down {
            self.breaker.down(Instant::now(), &why);
        }
        let mut waiting = shared.waiting.into_iter();
        if let Lost::Failed(ClientError::Told(told)) = lost
            && let Some(first) = waiting.next()
        {
            // Answers are in order: the first one was refused.
            first.reply(Err(AskError::Told(told.clone())));
        }
        let silence = match lost {
            Lost::Closed => AskError::Closed,
            _ => error(&*why),
        };
        waiting.for_each(|waiting| waiting.reply(Err(silence.clone())));
    }
}

fn with_cause(failure: &ClientError) -> String {
    match std::error::Error::source(failure) {
        Some(cause) => format!("{failure}: {cause}"),
        None => failure.to_string(),
    }
}

/// Why a connection is of no more use.
enum Lost {
    /// The server closed it.
    Closed,
    /// Nobody is left to ask; or somebody wants to know whether the server
    /// answers, which a new connection shows.
    Unused,
    /// Answers are due and nothing comes.
    Silent,
    Failed(ClientError),
}

impl From<ClientError> for Lost {
    fn from(failure: ClientError) -> Self {
        match failure {
            ClientError::Closed => Self::Closed,
            failure => Self::Failed(failure),
        }
    }
}

/// An open connection and who waits for its answers.
struct Shared {
    connection: Connection,
    breaker: Arc<Breaker>,
    /// Whether the next answer shows that the server is back.
    is_trial: bool,
    waiting: VecDeque<Waiting>,
    /// Answers that are awaited.
    awaited: usize,
    silent_since: Option<Instant>,
    /// Whether anything was answered.
    has_answered: bool,
    /// Whether a probe was asked for.
    is_probed: bool,
    /// Whether a caller that waits longer than the timeout has gone, and its lines only
    /// keep those of the others back.
    drops_late: bool,
    timeout: Duration,
    timer: Timer,
}

/// A caller and the answers that are here.
struct Waiting {
    since: Instant,
    /// Whether each line was sent.
    sent: Vec<bool>,
    answers: Answers,
    reply: Reply,
}

impl Shared {
    fn new(connection: Connection, breaker: Arc<Breaker>, timeout: Duration) -> Self {
        Self {
            connection,
            breaker,
            is_trial: false,
            waiting: VecDeque::new(),
            awaited: 0,
            silent_since: None,
            has_answered: false,
            is_probed: false,
            drops_late: false,
            timeout,
            timer: Timer::default(),
        }
    }

    /// Whether somebody waits and nobody was ever answered.
    fn is_unanswered(&self) -> bool {
        !self.has_answered && !self.waiting.is_empty()
    }

    /// Writes a caller's lines.
    fn admit(&mut self, mut question: Question, reply: Reply) {
        let Connection { out, .. } = &mut self.connection;
        let sent: Vec<bool> = (0..question.count)
            .map(|index| (question.write)(index, out))
            .collect();
        if self.awaited == 0 {
            self.silent_since = Some(Instant::now());
        }
        self.is_trial |= !self.breaker.is_up();
        self.awaited += sent.iter().filter(|sent| **sent).count();
        self.waiting.push_back(Waiting {
            since: Instant::now(),
            answers: Vec::with_capacity(sent.len()),
            sent,
            reply,
        });
        self.settle();
    }

    /// Sends questions and hands out answers until the connection is lost.
    fn poll(&mut self, cx: &mut Context<'_>, questions: &mut mpsc::Receiver<Queued>) -> Poll<Lost> {
        loop {
            if self.poll_questions(cx, questions).is_ready() && self.waiting.is_empty() {
                return Poll::Ready(Lost::Unused);
            }
            match self.poll_answers(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(failure.into()),
                Poll::Pending => break,
            }
        }
        let due = self
            .silent_since
            .filter(|_| self.awaited > 0)
            .map(|since| since + self.timeout);
        let first = self.waiting.front().filter(|_| self.drops_late);
        let late = first.map(|first| first.since + self.timeout);
        let due = earlier(due, late);
        self.timer.poll_until(due, cx).map(|()| Lost::Silent)
    }

    /// Takes questions while there is room. Ready on a probe, and when there
    /// will be no more.
    fn poll_questions(
        &mut self,
        cx: &mut Context<'_>,
        questions: &mut mpsc::Receiver<Queued>,
    ) -> Poll<()> {
        while self.awaited < WINDOW {
            match questions.poll_recv(cx) {
                Poll::Ready(Some(Some((question, reply)))) => self.admit(question, reply),
                Poll::Ready(Some(None)) => {
                    self.is_probed = true;
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Sends, receives, and hands out what came; ready when there was progress.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let unsent = self.connection.out.pending();
        let progress = self.connection.poll_progress(cx)?;
        if self.connection.out.pending() < unsent {
            // What it takes is a sign of life too.
            self.silent_since = Some(Instant::now());
        }
        while let Some(text) = self.connection.inbox.next()? {
            let Some(first) = self.waiting.front_mut() else {
                return Poll::Ready(Err(ClientError::Senseless(
                    "an answer to nothing".to_owned(),
                )));
            };
            if let Err(ServerError::Told(told)) = read_answer::<IgnoredAny>(text) {
                return Poll::Ready(Err(ClientError::Told(told)));
            }
            first.answers.push(Some(text.to_owned()));
            self.awaited -= 1;
            self.has_answered = true;
            if std::mem::take(&mut self.is_trial) {
                self.breaker.up();
            }
            self.silent_since = Some(Instant::now());
            self.settle();
        }
        progress.map(Ok)
    }

    /// Skips lines that were not sent, and replies to callers that have all.
    fn settle(&mut self) {
        while let Some(first) = self.waiting.front_mut() {
            while first.sent.get(first.answers.len()) == Some(&false) {
                first.answers.push(None);
            }
            if first.answers.len() < first.sent.len() {
                return;
            }
            if let Some(done) = self.waiting.pop_front() {
                // A caller that has gone is not told.
                let _ = done.reply.send(Ok(done.answers));
            }
        }
    }
}

impl Waiting {
    /// A caller that has gone is not told.
    fn reply(self, reply: Result<Answers, AskError>) {
        let _ = self.reply.send(reply);
    }
}

#[cfg(test)]
mod tests;
