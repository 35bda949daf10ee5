//! Small entries in Valkey, or anything else that speaks Redis' protocol,
//! common to several servers.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryName};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError};
use sha2::{Digest as _, Sha256};

/// What stands before the bytes of an entry: a mark and a digest.
const MARK: &[u8; 4] = b"fpc1";
const HEADER: usize = MARK.len() + 32;

/// How a [`Valkey`] is reached and what it keeps.
#[derive(Clone)]
pub struct ValkeyConfig {
    /// What operators call it: `valkey`.
    pub name: String,
    /// `redis://[user:password@]host[:port][/database]`, or `unix:PATH`.
    pub url: String,
    /// Put before the entry's name. Servers with a common store share it.
    pub prefix: String,
    /// Bytes of the longest entry that is kept; at most 512 MiB, which is what
    /// a value may have.
    pub entry_bytes_max: u64,
    /// How long an entry is kept after it was stored; at least 1 ms.
    pub time_to_live: Duration,
    /// The most that one call takes, whatever the server does.
    pub deadline: Duration,
}

impl Default for ValkeyConfig {
    fn default() -> Self {
        Self {
            name: "valkey".to_owned(),
            url: "redis://127.0.0.1".to_owned(),
            prefix: "fingerpost:".to_owned(),
            entry_bytes_max: 1 << 20,
            time_to_live: Duration::from_secs(7 * 24 * 3600),
            deadline: Duration::from_millis(250),
        }
    }
}

/// Entries as values under `prefix` + 64 hex digits, each with a digest over
/// name and bytes before it: a value that was damaged, or belongs to another
/// key or program, is [`CacherError::Damaged`] and never served.
///
/// One connection carries all calls. A server that was lost is looked for again
/// at the next call, which fails if it takes longer than the deadline.
pub struct Valkey {
    config: ValkeyConfig,
    client: Client,
    line: Mutex<Line>,
}

/// The connection at the moment.
struct Line {
    connection: ConnectionManager,
    since: Instant,
}

impl Valkey {
    /// Prepares the connection and does not wait for it. Call it in a runtime.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong in the configuration; it does not contain
    /// the URL, which may have a password in it.
    pub fn new(config: ValkeyConfig) -> Result<Self, String> {
        if config.time_to_live < Duration::from_millis(1) {
            return Err("the time to live is below a millisecond".to_owned());
        }
        let client = open(&config.url, config.deadline)
            .map_err(|error| format!("the URL of Valkey cannot be used: {}", error.category()))?;
        let line = Line::new(&client, config.deadline)
            .map_err(|error| format!("Valkey cannot be used: {}", error.category()))?;
        Ok(Self {
            config,
            client,
            line: Mutex::new(line),
        })
    }

    /// Removes every entry under the prefix, whoever put it there, and says how
    /// many that were. What is stored meanwhile may stay.
    ///
    /// # Errors
    ///
    /// What the server says, or that it does not answer; a part may be gone.
    pub async fn remove_all(&self) -> Result<u64, CacherError> {
        let pattern = format!("{}{}", escaped(&self.config.prefix), "[0-9a-f]".repeat(64));
        let (mut cursor, mut removed) = (0_u64, 0);
        loop {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(cursor);
            scan.arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = self.ask(&scan).await?;
            if !keys.is_empty() {
                let gone: u64 = self.ask(Cmd::new().arg("UNLINK").arg(keys)).await?;
                removed += gone;
            }
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    fn key(&self, name: &EntryName) -> String {
        format!("{}{}", self.config.prefix, name.to_hex())
    }

    /// One command and its answer within the deadline. The time-outs of the
    /// connection alone would add up, and a full pipeline has none.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacherError> {
        let mut connection = self.line.lock().connection.clone();
        let answer = command.query_async(&mut connection);
        match tokio::time::timeout(self.config.deadline, answer).await {
            Ok(answer) => answer.map_err(|error| self.failure(&error)),
            Err(_) => Err(CacherError::TimedOut(self.config.deadline)),
        }
    }

    fn failure(&self, error: &RedisError) -> CacherError {
        if error.is_timeout() {
            return CacherError::TimedOut(self.config.deadline);
        }
        if error.is_io_error() {
            return CacherError::Io(io::Error::other(error.to_string()));
        }
        // Redis' own words for "no room": maxmemory with noeviction.
        if error.code() == Some("OOM") {
            return CacherError::Full;
        }
        self.line_again();
        CacherError::Other(error.to_string())
    }

    /// Replaces the connection, not too often. The manager does that for what
    /// the network does; a server that refused it with words, because it was
    /// still loading or its password was changed, it never asks again.
    fn line_again(&self) {
        let mut line = self.line.lock();
        if line.since.elapsed() >= LINE_AGAIN_AFTER
            && let Ok(new) = Line::new(&self.client, self.config.deadline)
        {
            *line = new;
        }
    }

    async fn find(&self, name: &EntryName) -> Result<Option<Arc<dyn Content>>, CacherError> {
        // A key that is not there is empty, and one that is not ours may be of
        // any length: no more is fetched than shows that.
        let value_max = self.config.entry_bytes_max.saturating_add(HEADER as u64);
        let mut command = Cmd::new();
        command.arg("GETRANGE").arg(self.key(name));
        command.arg(0).arg(value_max.min(VALUE_MAX));
        let value: Bytes = self.ask(&command).await?;
        if value.is_empty() {
            return Ok(None);
        }
        if value.len() as u64 > value_max {
            return Err(CacherError::Damaged(
                "the value is longer than an entry may be".to_owned(),
            ));
        }
        Ok(Some(Arc::new(unseal(name, &value)?)))
    }

    async fn put(&self, name: &EntryName, content: &dyn Content) -> Result<(), CacherError> {
        let len = content.len();
        if len > self.config.entry_bytes_max {
            return Err(CacherError::Length { len });
        }
        let value = seal(name, content).await?;
        let live = u64::try_from(self.config.time_to_live.as_millis()).unwrap_or(u64::MAX);
        let mut command = Cmd::new();
        command.arg("SET").arg(self.key(name)).arg(value);
        command.arg("PX").arg(live.min(TIME_TO_LIVE_MAX));
        self.ask(&command).await
    }
}

impl Line {
    /// Does not wait for the server.
    fn new(client: &Client, deadline: Duration) -> Result<Self, RedisError> {
        // One attempt a call: the next call is the next attempt.
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(deadline))
            .set_response_timeout(Some(deadline));
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client.clone(), manager)?,
            since: Instant::now(),
        })
    }
}

/// A machine that is gone without a word is found out by the kernel, after some
/// deadlines, and not in the quarter of an hour that TCP is patient by itself.
fn open(url: &str, deadline: Duration) -> Result<Client, RedisError> {
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout((deadline * 4).max(Duration::from_secs(1)));
    let info = url.into_connection_info()?.set_tcp_settings(tcp);
    Client::open(info)
}

/// Keys that the server looks at in one go, some milliseconds at most.
const SCAN_COUNT: usize = 1000;
const LINE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Bytes that a value may have.
const VALUE_MAX: u64 = 512 << 20;
/// Milliseconds; beyond some 290 million years the server's sum overflows.
const TIME_TO_LIVE_MAX: u64 = 1 << 50;

impl Cacher for Valkey {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(self.find(name))
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move { self.put(name, &*content).await })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move { self.ask(Cmd::new().arg("DEL").arg(self.key(name))).await })
    }
}

impl std::fmt::Debug for Valkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(f)
    }
}

impl std::fmt::Debug for ValkeyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the URL, which may have a password in it.
        f.debug_struct("ValkeyConfig")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("entry_bytes_max", &self.entry_bytes_max)
            .field("time_to_live", &self.time_to_live)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A text that stands for itself in a pattern.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn digest(name: &EntryName, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update(bytes);
    hasher.finalize().into()
}

/// Reads a content, which is not long, into a value.
async fn seal(name: &EntryName, content: &dyn Content) -> Result<Vec<u8>, CacherError> {
    let len = content.len();
    let wrong = || CacherError::Damaged("it ends before its length, or behind it".to_owned());
    let size = usize::try_from(len).map_err(|_| CacherError::Length { len })?;
    let mut value = Vec::with_capacity(HEADER + size);
    value.extend_from_slice(MARK);
    value.resize(HEADER, 0);
    while value.len() < HEADER + size {
        let done = value.len() - HEADER;
        let bytes = content.read(done as u64, size - done).await?;
        if bytes.is_empty() || bytes.len() > size - done {
            return Err(wrong());
        }
        value.extend_from_slice(&bytes);
    }
    let digest = digest(name, &value[HEADER..]);
    value[MARK.len()..HEADER].copy_from_slice(&digest);
    Ok(value)
}

/// The bytes of a value, if it is one that [`seal`] made under this name.
fn unseal(name: &EntryName, value: &Bytes) -> Result<Bytes, CacherError> {
    let damaged = |what: &str| CacherError::Damaged(format!("the value {what}"));
    if value.len() < HEADER || !value.starts_with(MARK) {
        return Err(damaged("is not one of ours"));
    }
    let bytes = value.slice(HEADER..);
    if value[MARK.len()..HEADER] != digest(name, &bytes) {
        return Err(damaged("is not what was stored under its key"));
    }
    Ok(bytes)
}
