//! One connection: a request at a time, or a stream of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use fingerpost_hashequiv_proto::Framing;
use fingerpost_hashequiv_proto::client::stream::{self, Unaskable};
use fingerpost_hashequiv_proto::client::{
    AnswerInbox, HANDSHAKE, Request, ServerError, StreamOpened, request,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::connect::{ConnectError, connect};
use super::{ClientError, ClientOptions};
use crate::link::{Link, Outgoing};

/// Bytes of requests that are prepared ahead of what the socket takes.
const SEND_AHEAD_BYTES: usize = 64 << 10;

/// Input that counts as progress of an answer: less of it within the receive
/// timeout is as good as nothing.
const PROGRESS_BYTES: usize = 4 << 10;

/// An open connection, logged in.
pub(crate) struct Connection {
    pub(crate) link: Box<dyn Link>,
    pub(crate) inbox: AnswerInbox,
    pub(crate) out: Outgoing,
    mode: Mode,
    receive_timeout: Duration,
}

/// What lines mean now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests and their answers.
    Requests,
    /// Keys and their unihashes.
    Gets,
    /// Unihashes and whether they exist.
    Exists,
    /// Conditions and how many mappings were marked.
    GcMarks,
}

/// How the lines of a stream are written and read.
pub(super) struct Stream<W, R, T> {
    pub(super) mode: Mode,
    pub(super) write: W,
    pub(super) read: R,
    /// The answer to what cannot be asked.
    pub(super) unaskable: fn() -> T,
}

/// Questions, and the answers that are here already.
pub(super) struct Asked<'a, Q, T> {
    pub(super) questions: &'a [Q],
    pub(super) answers: &'a mut Vec<T>,
}

impl Connection {
    /// Connects, logs in and becomes another user, as the options say.
    pub(crate) async fn open(
        options: &ClientOptions,
        give_up: Instant,
    ) -> Result<Self, ClientError> {
        let left = give_up.saturating_duration_since(Instant::now());
        let link = connect(options, options.connect_timeout.min(left))
            .await
            .map_err(|cause| failed(options, cause))?;
        let framing = link.framing();
        let mut connection = Self {
            link,
            inbox: AnswerInbox::new(framing, options.limits),
            out: Outgoing::new(framing),
            mode: Mode::Requests,
            receive_timeout: options.receive_timeout,
        };
        for line in HANDSHAKE {
            connection.out.line(line);
        }
        if let Some(credentials) = &options.credentials {
            let login = request::auth(&credentials.username, &credentials.token);
            connection.call(&login, give_up).await?;
        }
        if let Some(username) = &options.become_user {
            connection
                .call(&request::become_user(username), give_up)
                .await?;
        }
        Ok(connection)
    }

    /// Sends a request and reads its answer. After an error the connection is
    /// of no more use.
    pub(crate) async fn call<A: DeserializeOwned>(
        &mut self,
        request: &Request<A>,
        give_up: Instant,
    ) -> Result<A, ClientError> {
        self.enter(Mode::Requests, give_up).await?;
        self.exchange(request, give_up).await
    }

    /// Leaves the mode that the connection is in, if it is another.
    pub(crate) async fn enter(&mut self, mode: Mode, give_up: Instant) -> Result<(), ClientError> {
        if self.mode == mode {
            return Ok(());
        }
        if self.mode != Mode::Requests {
            self.out.line(stream::END);
            self.answer(give_up, stream::read_end).await?;
            self.mode = Mode::Requests;
        }
        let opening: Request<StreamOpened> = match mode {
            Mode::Requests => return Ok(()),
            Mode::Gets => request::get_stream(),
            Mode::Exists => request::exists_stream(),
            Mode::GcMarks => request::gc_mark_stream(),
        };
        self.exchange(&opening, give_up).await?;
        self.mode = mode;
        Ok(())
    }

    async fn exchange<A: DeserializeOwned>(
        &mut self,
        request: &Request<A>,
        give_up: Instant,
    ) -> Result<A, ClientError> {
        if self.inbox.pending() > 0 {
            return Err(ClientError::Senseless("an answer to nothing".to_owned()));
        }
        self.out.message(request.json());
        self.answer(give_up, |text| request.read(text)).await
    }

    /// Asks what is not answered yet, a window of lines ahead of the answers.
    /// Stays in the stream. After an error the connection is of no more use, but
    /// the answers until then hold.
    pub(super) async fn stream<Q, T, W, R>(
        &mut self,
        stream: &Stream<W, R, T>,
        asked: Asked<'_, Q, T>,
        options: &ClientOptions,
    ) -> Result<(), ClientError>
    where
        W: Fn(&mut Vec<u8>, Framing, &Q) -> Result<(), Unaskable>,
        R: Fn(&str) -> Result<T, ServerError>,
    {
        self.enter(stream.mode, Instant::now() + options.total_time)
            .await?;
        let Asked { questions, answers } = asked;
        // Whether each question that is under way was sent at all.
        let mut under_way = VecDeque::new();
        while answers.len() < questions.len() {
            let mut next = answers.len() + under_way.len();
            while next < questions.len()
                && under_way.len() < options.window_lines.max(1)
                && self.out.pending() < SEND_AHEAD_BYTES
            {
                let written = self
                    .out
                    .write(|out, framing| (stream.write)(out, framing, &questions[next]));
                under_way.push_back(written.is_ok());
                next += 1;
            }
            let was_sent = under_way
                .pop_front()
                .expect("one question at least is under way");
            answers.push(match was_sent {
                true => {
                    self.answer(Instant::now() + options.total_time, &stream.read)
                        .await?
                }
                false => (stream.unaskable)(),
            });
        }
        Ok(())
    }

    /// Looks up in the mode that the connection is in, and waits for the answer: a hash of
    /// zeros, which nobody has.
    pub(crate) async fn prove(&mut self, give_up: Instant) -> Result<(), ClientError> {
        const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let written = match self.mode {
            Mode::Requests => return self.call(&request::ping(), give_up).await.map(drop),
            Mode::GcMarks => return Ok(()),
            Mode::Gets => self
                .out
                .write(|out, framing| stream::write_get(out, framing, "fingerpost", NOBODY)),
            Mode::Exists => self
                .out
                .write(|out, framing| stream::write_exists(out, framing, NOBODY)),
        };
        match written {
            Ok(()) => self.answer(give_up, |_| Ok(())).await,
            Err(Unaskable) => Ok(()),
        }
    }

    /// Waits for the next answer.
    async fn answer<T>(
        &mut self,
        give_up: Instant,
        read: impl FnOnce(&str) -> Result<T, ServerError>,
    ) -> Result<T, ClientError> {
        let mut patience = None;
        loop {
            if let Some(text) = self.inbox.next()? {
                return Ok(read(text)?);
            }
            let patience = patience.get_or_insert_with(|| Patience::new(self));
            let due = patience.until.min(give_up);
            let progress = poll_fn(|cx| self.poll_progress(cx));
            let made = timeout_at(due, progress).await;
            made.map_err(|_| ClientError::Timeout(self.receive_timeout))??;
            patience.renew(self);
        }
    }

    /// Sends and receives what goes; ready when something did.
    pub(crate) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let before = self.out.pending();
        let sending = self.link.poll_send(cx, &mut self.out);
        // A server that refuses closes: its last words are read before we
        // complain that it takes no more.
        match (self.link.poll_receive(cx, &mut self.inbox), sending) {
            (Poll::Ready(Ok(true)), _) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(broken)), _) => Poll::Ready(Err(broken.into())),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(ClientError::Broken(error))),
            (Poll::Ready(Ok(false)), _) => Poll::Ready(Err(ClientError::Closed)),
            (Poll::Pending, _) if self.out.pending() < before => Poll::Ready(Ok(())),
            (Poll::Pending, _) => Poll::Pending,
        }
    }
}

/// How long an answer is still waited for.
struct Patience {
    until: Instant,
    unsent: usize,
    received: usize,
}

impl Patience {
    fn new(connection: &Connection) -> Self {
        Self {
            until: Instant::now() + connection.receive_timeout,
            unsent: connection.out.pending(),
            received: connection.inbox.pending(),
        }
    }

    /// Starts over if there was progress that deserves it.
    fn renew(&mut self, connection: &Connection) {
        let has_sent = connection.out.pending() < self.unsent;
        if has_sent || connection.inbox.pending() >= self.received + PROGRESS_BYTES {
            *self = Self::new(connection);
        }
    }
}

/// Names the server in an error.
fn failed(options: &ClientOptions, cause: ConnectError) -> ClientError {
    ClientError::Connect {
        address: options.address.to_string(),
        cause,
    }
}
