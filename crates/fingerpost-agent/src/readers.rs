//! Builds that may only read. They are told what a build needs to go on, and nothing
//! that they say goes any further.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_net::PeerAddress;
use parking_lot::Mutex;
use serde_json::json;

use crate::commands::{Caller, Reply};
use crate::reporting::Reported;
use crate::shared::Shared;
use fingerpost_hashequiv_proto::types::Task;

/// Users that are remembered as told of in the log.
const TOLD_MAX: usize = 1_000;

/// What is counted of them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// Reports that were answered and forgotten.
    pub(crate) reports: AtomicU64,
    /// Users whose first such report was told of; none: those of TCP.
    told: Mutex<HashSet<Option<u32>>>,
}

impl Readers {
    fn count(&self, caller: &Caller) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        let uid = match caller.peer {
            PeerAddress::Unix { uid, .. } => Some(uid),
            PeerAddress::Tcp(_) | PeerAddress::Unnamed => None,
        };
        let mut told = self.told.lock();
        if told.len() < TOLD_MAX && told.insert(uid) {
            let (peer, profile) = (&caller.peer, &caller.profile.name);
            tracing::warn!(%peer, %profile, "reports of this user are not passed on (profiles)");
        }
    }
}

/// What a build that may not report is told of its report: what this host knows of the
/// task, else what it proposes, as if nobody had said anything else.
pub(crate) fn report(shared: &Shared, caller: &Caller, argument: &str) -> Reply {
    let Ok(reported) = serde_json::from_str::<Reported>(argument) else {
        return Reply::Close;
    };
    shared.figures.readers.count(caller);
    let Reported {
        method,
        taskhash,
        unihash,
        ..
    } = reported;
    let task = [Task::parse(&method, &taskhash)];
    let server = caller.server(shared);
    let scope = server.scope(&shared.namespace);
    let provisional = shared.spool.provisional(&scope, &task);
    let known = provisional
        .and_then(|mut said| said.pop().flatten())
        .or_else(|| shared.remembered(server.whose(), &method, &taskhash));
    let unihash = known.map_or(unihash, |known| known.to_text());
    let row = json!({"taskhash": taskhash, "method": method, "unihash": unihash});
    Reply::Json(row.to_string())
}
