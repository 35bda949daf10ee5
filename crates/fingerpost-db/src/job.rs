//! Jobs with their types erased, as the threads hold them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::DbError;

/// Something that runs after the commit.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// The transaction that a write job runs in. Committing is not the job's
/// business: it returns, and the writer commits it together with others.
pub struct Tx<'a> {
    conn: &'a Connection,
    hooks: &'a mut Vec<Hook>,
}

impl<'a> Tx<'a> {
    pub(crate) const fn new(conn: &'a Connection, hooks: &'a mut Vec<Hook>) -> Self {
        Self { conn, hooks }
    }

    /// The connection, inside of a transaction that holds the write lock.
    pub const fn conn(&self) -> &Connection {
        self.conn
    }

    /// Runs `hook` on the writer's thread after the commit and before anybody
    /// is answered; hooks of one group run in the order of their jobs. It must
    /// be quick and must not wait. It is dropped unrun when the job fails.
    pub fn after_commit(&mut self, hook: Box<dyn FnOnce() + Send>) {
        self.hooks.push(hook);
    }
}

/// A write; may be run again after a rollback.
pub(crate) trait WriteJob: Send {
    /// Runs the job and keeps its result.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError>;
    /// Sends the result of the last run, or the error.
    fn answer(self: Box<Self>, outcome: Result<(), DbError>);
}

/// A read.
pub(crate) trait ReadJob: Send {
    /// Runs the job and sends its result. Returns whether it was good.
    fn run(self: Box<Self>, conn: &Connection) -> bool;
}

/// Where the result of a job arrives.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, DbError>>;

/// Boxes a write job.
pub(crate) fn write_job<T, F>(work: F) -> (Box<dyn WriteJob>, Answer<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job = Write {
        work,
        value: None,
        sender,
    };
    (Box::new(job), receiver)
}

struct Write<T, F> {
    work: F,
    value: Option<T>,
    sender: oneshot::Sender<Result<T, DbError>>,
}

impl<T, F> WriteJob for Write<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.value = Some(guarded(|| (self.work)(tx))?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), DbError>) {
        // The value is there whenever the outcome is good. Whoever asked may be
        // gone: the commit stands all the same.
        let Self { value, sender, .. } = *self;
        let _ = sender.send(outcome.and_then(|()| value.ok_or(DbError::TransactionLost)));
    }
}

/// Boxes a read job; in one snapshot of the file when `snapshot` is set.
pub(crate) fn read_job<T, F>(work: F, snapshot: bool) -> (Box<dyn ReadJob>, Answer<T>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job = Read {
        work,
        snapshot,
        sender,
    };
    (Box::new(job), receiver)
}

struct Read<T, F> {
    work: F,
    snapshot: bool,
    sender: oneshot::Sender<Result<T, DbError>>,
}

impl<T, F> ReadJob for Read<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(self: Box<Self>, conn: &Connection) -> bool {
        // Nobody waits any more: a disconnected client costs nothing.
        if self.sender.is_closed() {
            return true;
        }
        let Self {
            work,
            snapshot,
            sender,
        } = *self;
        let outcome = guarded(|| {
            if snapshot {
                conn.execute_batch("BEGIN")?;
            }
            work(conn)
        });
        if !conn.is_autocommit() {
            // Nothing was written. A failure leaves the transaction open, which
            // the next job with a snapshot would be told.
            let _ = conn.execute_batch("ROLLBACK");
        }
        let good = outcome.is_ok();
        let _ = sender.send(outcome);
        good
    }
}

/// Runs `work`; a panic becomes an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, DbError> {
    // What a panic leaves half done is rolled back with the transaction; the
    // job's own state is dropped or overwritten by its next run.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(DbError::from),
        Err(panic) => Err(DbError::Panicked(panic_text(&*panic))),
    }
}

/// The text of a panic, when it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
