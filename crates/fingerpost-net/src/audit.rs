//! The audit log: a JSON line for every change and every denial, of all doors.

mod argument;
mod event;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fingerpost_core::{Clock, Effect, Failure};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use self::argument::{is_shown, summary};
pub use self::event::{AuditOutcome, Ended, Event};
use self::writer::{Message, Target, Writer};

/// Where the audit log goes, and what is in it.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The file, appended to and made with mode 0600. `-`: the log of the server.
    pub file: PathBuf,
    /// Whether reports are in it too.
    pub reports: bool,
}

/// What doors tell. Cheap to clone; the default writes nothing.
///
/// One thread writes, and a bounded queue leads to it. A change waits at most
/// [`QUEUE_WAIT_MAX`] for a place in the queue before it is answered; then its line is
/// lost, counted and logged: whoever fills the disk of the audit log must not stop the
/// builds. Denials, which everybody can provoke, do not wait, and take no more than
/// half of the queue.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Shared>>);

struct Shared {
    sender: mpsc::Sender<Message>,
    reports: bool,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

#[derive(Clone, Debug, Default)]
struct Counters {
    records: Family<OutcomeLabels, Counter>,
    lost: Counter,
    /// Somebody was told of a loss since the last line that was written.
    is_losing: Arc<AtomicBool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl Audit {
    /// Opens the file and starts the writer, which ends when the last clone is gone.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or no thread started.
    pub fn start(options: &AuditOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let target = match options.file.as_os_str() == "-" {
            true => Target::Log,
            false => Target::open(&options.file)?,
        };
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let counters = Counters::default();
        let writer = Writer::new(target, counters.clone());
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(receiver))?;
        Ok(Self(Some(Arc::new(Shared {
            sender,
            reports: options.reports,
            clock,
            counters,
        }))))
    }

    /// Whether anything is written at all.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request of a command with this effect is in the log, and as what.
    /// Denials are, of every command.
    pub fn outcome(&self, effect: Effect, ended: Ended<'_>) -> Option<AuditOutcome> {
        let shared = self.0.as_ref()?;
        let changes = match effect {
            Effect::None => false,
            Effect::Report => shared.reports,
            Effect::Change => true,
        };
        let failure = match ended {
            Ended::Stored => return changes.then_some(AuditOutcome::Done),
            Ended::Unstored => return changes.then_some(AuditOutcome::Unstored),
            Ended::Failed(failure) => failure,
        };
        match failure {
            Failure::Denied { .. } => Some(AuditOutcome::Denied("permission")),
            Failure::Refused { code, .. } if DENIALS.contains(code) => {
                Some(AuditOutcome::Denied(code))
            }
            Failure::Refused { code, .. } => changes.then_some(AuditOutcome::Refused(code)),
            Failure::BadArgument(_) => changes.then_some(AuditOutcome::Refused("bad-argument")),
            Failure::Unknown => changes.then_some(AuditOutcome::Refused("unknown-command")),
            Failure::Internal(_) | Failure::Unavailable(_) => {
                changes.then_some(AuditOutcome::Failed)
            }
        }
    }

    /// Writes a line about `event`. Returns when it is in the queue, or lost.
    pub async fn record(&self, event: &Event<'_>) {
        let Some(shared) = &self.0 else { return };
        let line = Message::Line(event.line(shared.clock.now()));
        let counters = &shared.counters;
        let sent = if event.outcome.is_for_everybody() {
            shared.sender.capacity() > QUEUE_MAX / 2 && shared.sender.try_send(line).is_ok()
        } else {
            let sending = shared.sender.send_timeout(line, QUEUE_WAIT_MAX);
            sending.await.is_ok()
        };
        match sent {
            true => counters.count(event.outcome),
            false => counters.lose(1, "the queue is full"),
        }
    }

    /// As [`Audit::record`], on a thread that may block.
    pub fn record_blocking(&self, event: &Event<'_>, runtime: &tokio::runtime::Handle) {
        if self.is_on() {
            runtime.block_on(self.record(event));
        }
    }

    /// Opens the file again before the next line, as after a rotation. A file that
    /// was moved or removed is noticed without it, within a second of a line.
    pub fn reopen(&self) {
        if let Some(shared) = &self.0 {
            // With a full queue the writer looks soon by itself.
            let _ = shared.sender.try_send(Message::Reopen);
        }
    }

    /// Waits until everything so far is written; `false` if that takes longer than
    /// `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let Some(shared) = &self.0 else { return true };
        let (done, written) = oneshot::channel();
        let flushing = async {
            let sent = shared.sender.send(Message::Flush(done)).await;
            sent.is_ok() && written.await.is_ok()
        };
        timeout(patience, flushing).await.unwrap_or(false)
    }

    /// Adds the counters to `registry`, whose prefix is `fingerpost`.
    pub fn register(&self, registry: &mut Registry) {
        let Some(shared) = &self.0 else { return };
        let registry = registry.sub_registry_with_prefix("audit");
        let records = "Lines of the audit log, by outcome";
        registry.register("records", records, shared.counters.records.clone());
        let lost = "Lines that the audit log lacks, because the queue was full or the file \
                    could not be written";
        registry.register("lost", lost, shared.counters.lost.clone());
    }
}

impl Counters {
    fn count(&self, outcome: AuditOutcome) {
        let outcome = outcome.word();
        self.records.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts lines that are lost, and says so once until a line is written again.
    fn lose(&self, lines: u64, why: &str) {
        self.lost.inc_by(lines);
        if !self.is_losing.swap(true, Ordering::Relaxed) {
            tracing::error!("the audit log loses lines: {why}");
        }
    }

    fn written(&self) {
        if self.is_losing.swap(false, Ordering::Relaxed) {
            let lost = self.lost.get();
            tracing::warn!(lost, "the audit log is written again");
        }
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit")
            .field("is_on", &self.is_on())
            .finish()
    }
}

/// The longest that a change waits for the audit log.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_millis(500);
/// Lines that may wait for the writer; at most 4 KiB each.
const QUEUE_MAX: usize = 4096;
/// Codes of refusals that say who may not, whatever the command changes.
const DENIALS: [&str; 6] = [
    "bad-login",
    "wrong-login",
    "plaintext-login",
    "too-many-failed-logins",
    "rate-limited",
    "read-only",
];

#[cfg(test)]
mod tests;
