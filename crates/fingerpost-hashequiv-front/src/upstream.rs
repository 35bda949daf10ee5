//! A parent server, asked over BitBake's protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fingerpost_hashequiv::store::{Metadata, OutputRow, Task};
use fingerpost_hashequiv::upstream::Asked;
use fingerpost_hashequiv::{Upstream, UpstreamError};
use fingerpost_hashequiv_client::{AskError, Breaker, ClientOptions, Lane, Mode, Question};
use fingerpost_hashequiv_proto::client::{FullRow, Request, ServerError, request, stream};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};

/// An [`Upstream`] over a few connections that all callers share.
///
/// Questions are sent at once, many at a time, and their answers matched by
/// order. While the upstream is known to be down a question fails at once; it is
/// tried again at most once a second, and only while somebody asks, without
/// making anybody wait. Nothing queues without bound.
pub struct NativeUpstream {
    gets: Vec<Lane>,
    exists: Vec<Lane>,
    rows: Vec<Lane>,
    breaker: Arc<Breaker>,
    next: AtomicUsize,
}

/// How an upstream is asked.
#[derive(Clone, Debug)]
pub struct NativeUpstreamOptions {
    /// The server, the login if it wants one, and TLS. Its waits and tries are
    /// not used.
    pub client: ClientOptions,
    /// How long connecting, or an answer, may take before the upstream counts
    /// as down. Default 2 s.
    pub timeout: Duration,
    /// Connections for each of look-ups and rows; one more is for exists. Default 2.
    pub connections: usize,
}

impl NativeUpstreamOptions {
    /// The defaults for a server.
    pub const fn to(client: ClientOptions) -> Self {
        Self {
            client,
            timeout: Duration::from_secs(2),
            connections: 2,
        }
    }
}

impl NativeUpstream {
    /// Prepares to ask the server; connects with the first question. Must be
    /// called within a tokio runtime.
    pub fn start(options: NativeUpstreamOptions) -> Self {
        let NativeUpstreamOptions {
            mut client,
            timeout,
            connections,
        } = options;
        client.connect_timeout = timeout;
        client.receive_timeout = timeout;
        let breaker = Arc::new(Breaker::new(client.address.to_string()));
        let lanes = |mode, count: usize| {
            let lane = || Lane::start(client.clone(), mode, Arc::clone(&breaker));
            (0..count.max(1)).map(|_| lane()).collect()
        };
        Self {
            gets: lanes(Mode::Gets, connections),
            exists: lanes(Mode::Exists, 1),
            rows: lanes(Mode::Requests, connections),
            breaker,
            next: AtomicUsize::new(0),
        }
    }

    fn lane<'a>(&self, lanes: &'a [Lane]) -> &'a Lane {
        &lanes[self.next.fetch_add(1, Ordering::Relaxed) % lanes.len()]
    }

    async fn row(
        &self,
        request: Request<Option<FullRow>>,
        task: &Task,
    ) -> Result<Option<OutputRow>, UpstreamError> {
        let json = request.json().to_vec();
        let question = Question::one(move |out| {
            out.message(&json);
            true
        });
        let mut answers = self.lane(&self.rows).ask(question).await.map_err(silent)?;
        let text = answers.pop().flatten().unwrap_or_default();
        let row = request.read(&text).map_err(senseless)?;
        row.map(|row| output_row(row, task)).transpose()
    }
}

impl Upstream for NativeUpstream {
    fn is_up(&self) -> bool {
        self.breaker.is_up()
    }

    fn unihashes(&self, tasks: Vec<Task>) -> Asked<'_, Vec<Option<Unihash>>> {
        Box::pin(async move {
            let count = tasks.len();
            let question = Question::many(count, move |index, out| {
                let Task { method, taskhash } = &tasks[index];
                let taskhash = taskhash.to_text();
                let write = |bytes: &mut Vec<u8>, framing| {
                    stream::write_get(bytes, framing, method.as_str(), &taskhash)
                };
                out.write(write).is_ok()
            });
            let answers = self.lane(&self.gets).ask(question).await.map_err(silent)?;
            let read = |line: Option<String>| {
                let line = line.unwrap_or_default();
                let unihash = stream::read_unihash(&line).map_err(senseless)?;
                Ok(unihash.map(Unihash::parse))
            };
            answers.into_iter().map(read).collect()
        })
    }

    fn exist(&self, unihashes: Vec<Unihash>) -> Asked<'_, Vec<bool>> {
        Box::pin(async move {
            let count = unihashes.len();
            let question = Question::many(count, move |index, out| {
                let unihash = unihashes[index].to_text();
                let write =
                    |bytes: &mut Vec<u8>, framing| stream::write_exists(bytes, framing, &unihash);
                out.write(write).is_ok()
            });
            let answers = self
                .lane(&self.exists)
                .ask(question)
                .await
                .map_err(silent)?;
            let read = |line: Option<String>| match line {
                Some(line) => stream::read_exists(&line).map_err(senseless),
                None => Ok(false),
            };
            answers.into_iter().map(read).collect()
        })
    }

    fn output_of_task(&self, task: Task) -> Asked<'_, Option<OutputRow>> {
        Box::pin(async move {
            let request = request::get_all(task.method.as_str(), &task.taskhash.to_text());
            self.row(request, &task).await
        })
    }

    fn output(&self, task: Task, outhash: Outhash) -> Asked<'_, Option<OutputRow>> {
        Box::pin(async move {
            let (outhash, taskhash) = (outhash.to_text(), task.taskhash.to_text());
            let request = request::get_outhash(task.method.as_str(), &outhash, &taskhash, true);
            self.row(request, &task).await
        })
    }
}

fn silent(error: AskError) -> UpstreamError {
    UpstreamError(error.to_string())
}

fn senseless(error: ServerError) -> UpstreamError {
    UpstreamError(error.to_string())
}

/// Makes a row of ours from what another server has; without an outhash it is none.
fn output_row(row: FullRow, task: &Task) -> Result<OutputRow, UpstreamError> {
    let missing = || UpstreamError("a row without taskhash or outhash".to_owned());
    Ok(OutputRow {
        id: row.id.unwrap_or_default(),
        method: row.method.unwrap_or_else(|| task.method.clone()),
        taskhash: row.taskhash.ok_or_else(missing)?,
        outhash: row.outhash.ok_or_else(missing)?,
        created: row.created,
        metadata: Metadata {
            owner: row.owner,
            pn: row.pn,
            pv: row.pv,
            pr: row.pr,
            task: row.task,
        },
        siginfo: row.outhash_siginfo,
        unihash: row
            .unihash
            .map(|unihash| (unihash, row.gc_mark.unwrap_or_default())),
    })
}
