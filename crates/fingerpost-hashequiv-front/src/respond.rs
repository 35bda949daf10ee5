//! From outcomes to bytes and log lines: the one place where a failure becomes
//! an answer.

use std::fmt;
use std::time::Duration;

use fingerpost_core::{Declaration, Encoded, Failure, Permission, Reply, with_causes};
use fingerpost_net::Seldom;

use crate::ended::Ended;
use crate::turn::Caller;
use fingerpost_hashequiv_client::link::Outgoing;

/// Appends the reply of a command. Fails on a redirect and on many objects,
/// which no client of this protocol can take and no command of ours gives.
pub(crate) fn reply(reply: Reply<Encoded>, out: &mut Outgoing) -> Result<(), Failure> {
    match reply {
        Reply::Object(encoded) | Reply::Encoded(encoded) => {
            out.message(&encoded.bytes);
            Ok(())
        }
        Reply::Objects(_) => Err(Failure::internal("many objects in place of one")),
        Reply::Redirect(redirect) => Err(Failure::internal(format!(
            "a redirect to {}",
            redirect.location
        ))),
    }
}

/// Appends what a client is told of a failure before its session ends:
/// refusals. Everything else closes without a word, because clients count on
/// it and a told error fails builds.
pub(crate) fn failure(failure: &Failure, out: &mut Outgoing) {
    if matches!(failure, Failure::Denied { .. } | Failure::Refused { .. }) {
        out.invoke_error(&failure.to_string());
    }
}

/// Log lines that a peer can provoke, each kind held back when it comes too often.
#[derive(Debug)]
pub(crate) struct Log {
    cleaning: Seldom,
    refused: Seldom,
    internal: Seldom,
    limit: Seldom,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            cleaning: Seldom::new(Duration::from_secs(60)),
            refused: Seldom::new(Duration::from_millis(100)),
            internal: Seldom::new(Duration::from_secs(1)),
            limit: Seldom::new(Duration::from_millis(100)),
        }
    }
}

/// `CONNECTION-REQUEST`, both counted from 1.
pub(crate) struct RequestId {
    pub(crate) connection: u64,
    pub(crate) request: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.request)
    }
}

macro_rules! line {
    ($level:ident, $caller:expr, { $($fields:tt)* }, $($text:tt)*) => {
        tracing::$level!(
            request_id = %$caller.request_id(),
            peer = %$caller.peer,
            user = $caller.principal.name(),
            $($fields)*
            $($text)*
        )
    };
}

impl Log {
    /// Notes why a command failed.
    pub(crate) fn failure(&self, failure: &Failure, command: &Declaration, caller: &Caller) {
        let name = command.name;
        match failure {
            Failure::Denied { needs, .. }
                if needs.contains(&Permission::DbAdmin) && caller.principal.name().is_none() =>
            {
                if let Some(held_back) = self.cleaning.now() {
                    line!(warn, caller, { command = name, held_back, },
                        "Denied {name} to an anonymous client; see the key anonymous_permissions");
                }
            }
            Failure::Denied { .. } | Failure::Refused { .. } => {
                if let Some(held_back) = self.refused.now() {
                    line!(info, caller, { command = name, held_back, }, "Refused {name}: {failure}");
                }
            }
            Failure::BadArgument(_) | Failure::Unknown => {
                line!(debug, caller, { command = name, }, "Closed on {name}: {failure}");
            }
            Failure::Internal(cause) | Failure::Unavailable(cause) => {
                if let Some(held_back) = self.internal.now() {
                    let cause = with_causes(&**cause);
                    line!(error, caller, { command = name, held_back, }, "Failed {name}: {cause}");
                }
            }
        }
    }

    /// Notes how a session ended, as loudly as it deserves.
    pub(crate) fn end(&self, ended: &Ended, caller: &Caller) {
        let limit = match ended {
            Ended::OverLimit(limit) => limit.as_str().to_owned(),
            Ended::Misbehaved(misbehaved) if misbehaved.is_limit() => misbehaved.to_string(),
            Ended::Misbehaved(misbehaved) => {
                return line!(debug, caller, {}, "Closed a connection: {misbehaved}");
            }
            Ended::Broken(error) => {
                return line!(debug, caller, {}, "A connection broke: {error}");
            }
            Ended::Goodbye | Ended::PeerClosed | Ended::Drained | Ended::Failed => {
                return line!(trace, caller, {}, "A connection ended");
            }
        };
        if let Some(held_back) = self.limit.now() {
            line!(info, caller, { held_back, }, "Closed a connection: {limit}");
        }
    }
}
