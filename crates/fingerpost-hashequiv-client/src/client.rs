//! The client: BitBake's protocol over every transport, with every wait bounded.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fingerpost_hashequiv_client::{Client, ClientOptions, request};
//!
//! let mut client = Client::new(ClientOptions::to("127.0.0.1:8686".parse()?));
//! let row = client.call(&request::get("method", "taskhash")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Requests are made by the functions of [`request`], which type their answers.
//! A WebSocket goes through the proxy that `HTTPS_PROXY` names, but for `NO_PROXY`.

mod connect;
mod connection;
mod error;
mod options;
pub(crate) mod tls;
mod tunnel;

use std::time::Duration;

use fingerpost_hashequiv_proto::client::stream;
use fingerpost_hashequiv_proto::client::{Count, ServerError, read_answer};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

pub use connect::ConnectError;
pub use error::ClientError;
pub use fingerpost_hashequiv_proto::client::request::{self, Request};
pub use options::{ClientOptions, Credentials};
pub use tls::{TlsError, tls_config};

pub(crate) use connection::Connection;
pub use connection::Mode;
use connection::{Asked, Stream};

/// A client of one server. Connects when it is first used and again, with login,
/// when the connection is lost; every answer is waited for with a limit, see
/// [`ClientOptions`]. Requests that were sent when a connection was lost are
/// sent again, as the reference client does.
pub struct Client {
    options: ClientOptions,
    connection: Option<Connection>,
}

impl Client {
    /// A client that is not connected yet.
    pub const fn new(options: ClientOptions) -> Self {
        Self {
            options,
            connection: None,
        }
    }

    /// Connects, and logs in if there are credentials. Only needed to learn
    /// early that it fails.
    pub async fn connect(&mut self) -> Result<(), ClientError> {
        let mut tries = Tries::new(&self.options);
        loop {
            match self.connection(&tries).await {
                Ok(_) => return Ok(()),
                Err(error) => tries.failed(error).await?,
            }
        }
    }

    /// Enters a mode before there is anything to ask in it. Only needed to learn early
    /// that it is refused.
    pub async fn enter(&mut self, mode: Mode) -> Result<(), ClientError> {
        let mut tries = Tries::new(&self.options);
        loop {
            let entered = async {
                let give_up = tries.give_up;
                self.connection(&tries).await?.enter(mode, give_up).await
            };
            match entered.await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.connection = None;
                    tries.failed(error).await?;
                }
            }
        }
    }

    /// Whether a connection is open, as far as is known.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Closes the connection. The next call opens another.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Told`] when the server refuses; the connection is closed
    /// then. The others when all tries failed.
    pub async fn call<A: DeserializeOwned>(
        &mut self,
        request: &Request<A>,
    ) -> Result<A, ClientError> {
        let mut tries = Tries::new(&self.options);
        loop {
            let called = async {
                let give_up = tries.give_up;
                self.connection(&tries).await?.call(request, give_up).await
            };
            match called.await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.connection = None;
                    tries.failed(error).await?;
                }
            }
        }
    }

    /// Looks up the unihashes of (method, taskhash) pairs over a get-stream, in
    /// order. A pair that has no form as a stream line is not asked for and
    /// unknown.
    pub async fn unihashes<M, T>(
        &mut self,
        keys: &[(M, T)],
    ) -> Result<Vec<Option<String>>, ClientError>
    where
        M: AsRef<str> + Sync,
        T: AsRef<str> + Sync,
    {
        let stream = Stream {
            mode: Mode::Gets,
            write: |out: &mut Vec<u8>, framing, (method, taskhash): &(M, T)| {
                stream::write_get(out, framing, method.as_ref(), taskhash.as_ref())
            },
            read: |line: &str| Ok(stream::read_unihash(line)?.map(str::to_owned)),
            unaskable: || None,
        };
        self.stream(keys, &stream).await
    }

    /// Asks over an exists-stream whether any task has these unihashes, in
    /// order. A text that has no form as a stream line is not asked for and
    /// does not exist.
    pub async fn exist<U: AsRef<str> + Sync>(
        &mut self,
        unihashes: &[U],
    ) -> Result<Vec<bool>, ClientError> {
        let stream = Stream {
            mode: Mode::Exists,
            write: |out: &mut Vec<u8>, framing, unihash: &U| {
                stream::write_exists(out, framing, unihash.as_ref())
            },
            read: stream::read_exists,
            unaskable: || false,
        };
        self.stream(unihashes, &stream).await
    }

    /// Marks mappings over a gc-mark-stream, each by its own conditions; returns
    /// how many matched, in order. Servers before 2024 do not have it and close.
    pub async fn gc_mark_stream(
        &mut self,
        mark: &str,
        conditions: &[Vec<(String, String)>],
    ) -> Result<Vec<u64>, ClientError> {
        let stream = Stream {
            mode: Mode::GcMarks,
            write: |out: &mut Vec<u8>, framing, conditions: &Vec<(String, String)>| {
                stream::write_gc_mark(out, framing, mark, conditions)
            },
            read: |line: &str| read_answer::<Count>(line).map(|answer| answer.count),
            unaskable: || 0,
        };
        self.stream(conditions, &stream).await
    }

    /// As [`Client::gc_mark_stream`], with lines that somebody else wrote. An empty
    /// line is not sent and marks nothing.
    pub async fn gc_mark_lines(&mut self, lines: &[String]) -> Result<Vec<u64>, ClientError> {
        let stream = Stream {
            mode: Mode::GcMarks,
            write: |out: &mut Vec<u8>, framing, line: &String| {
                stream::write_gc_mark_line(out, framing, line)
            },
            read: |line: &str| read_answer::<Count>(line).map(|answer| answer.count),
            unaskable: || 0,
        };
        self.stream(lines, &stream).await
    }

    async fn stream<Q, T, W, R>(
        &mut self,
        questions: &[Q],
        stream: &Stream<W, R, T>,
    ) -> Result<Vec<T>, ClientError>
    where
        W: Fn(
            &mut Vec<u8>,
            fingerpost_hashequiv_proto::Framing,
            &Q,
        ) -> Result<(), stream::Unaskable>,
        R: Fn(&str) -> Result<T, ServerError>,
    {
        let mut answers = Vec::with_capacity(questions.len());
        let mut tries = Tries::new(&self.options);
        while answers.len() < questions.len() {
            let before = answers.len();
            let asked = async {
                let options = self.options.clone();
                let connection = self.connection(&tries).await?;
                let asked = Asked {
                    questions,
                    answers: &mut answers,
                };
                connection.stream(stream, asked, &options).await
            };
            if let Err(error) = asked.await {
                self.connection = None;
                if answers.len() > before {
                    tries = Tries::new(&self.options);
                }
                tries.failed(error).await?;
            }
        }
        Ok(answers)
    }

    async fn connection(&mut self, tries: &Tries) -> Result<&mut Connection, ClientError> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.options, tries.give_up).await?);
        }
        Ok(self.connection.as_mut().expect("opened above"))
    }
}

/// How often something is still tried.
struct Tries {
    left: u32,
    give_up: Instant,
    pause: Duration,
}

impl Tries {
    fn new(options: &ClientOptions) -> Self {
        Self {
            left: options.tries.max(1),
            give_up: Instant::now() + options.total_time,
            pause: options.retry_pause,
        }
    }

    /// Rests before the next try, or gives the error back if there is none.
    async fn failed(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.left -= 1;
        if !error.is_temporary() || self.left == 0 || Instant::now() + self.pause >= self.give_up {
            return Err(error);
        }
        sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}
