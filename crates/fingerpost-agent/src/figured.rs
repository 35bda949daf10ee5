//! What an agent tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_signatures::UnixTime;
use tokio::time::Instant;

use crate::namespaces::Namespaces;
use crate::state::State;
use crate::{BreakerState, Counts, FollowedStatus, HitRatios, ServerStatus, SpoolStatus, Status};

impl Namespaces {
    /// How the agent is. Its server is that of builds without a namespace of their own.
    pub(crate) fn status(&self) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = &self.first.figures;
        // In this order the part is no larger than the whole, while both grow.
        let (local, lookups) = (count(&figures.answered_locally), count(&figures.lookups));
        let state = self
            .first
            .spool
            .state()
            .map(State::figures)
            .unwrap_or_default();
        let (snapshot, store) = (count(&figures.by_snapshot), count(&figures.by_store));
        let ratio = |part: u64| (lookups > 0).then(|| part as f64 / lookups as f64);
        Status {
            uptime_seconds: self.started.elapsed().as_secs(),
            server: self.server_status(),
            breaker: match self.first.server.answers() {
                true => BreakerState::Closed,
                false => BreakerState::Open,
            },
            lookups,
            answered_locally: local,
            hit_ratios: HitRatios {
                memory: ratio(local.saturating_sub(snapshot + store)),
                snapshot: ratio(snapshot),
                store: ratio(store),
            },
            seconds_saved: figures.seconds_saved(),
            followed: self.followed_status(),
            spool: SpoolStatus {
                count: state.spooled_reports,
                bytes: state.spooled_bytes,
                oldest_seconds: state.spooled_age.map(|age| age.as_secs()),
            },
            dead_letters: state.dead_total,
            misses_given_up: count(&figures.given_up),
            remembered: self.remembered(),
            counts: Counts {
                requests: count(&figures.requests),
                asked: count(&figures.asked),
                reports: count(&figures.reports),
                delivered: state.delivered_total,
                silent: count(&figures.silent),
                unspooled: count(&figures.unspooled),
                refused: count(&figures.refused),
                logins: count(&figures.logins),
                disbelieved: count(&figures.disbelieved),
                signed: count(&figures.signed),
                not_passed_on: count(&figures.readers.reports),
            },
            ..Status::new()
        }
    }

    /// Answers in memory.
    pub(crate) fn remembered(&self) -> u64 {
        self.all().map(|shared| shared.knowledge.len() as u64).sum()
    }

    /// What is kept of the mappings of builds without a namespace of their own.
    pub(crate) fn followed_status(&self) -> Option<FollowedStatus> {
        let followed = self.first.kept.as_ref()?.followed.status();
        let snapshot = followed.snapshot.as_ref();
        let age = |cut: UnixTime| {
            let now = UnixTime::of(SystemClock.now()).seconds();
            now.saturating_sub(cut.seconds())
        };
        Some(FollowedStatus {
            snapshot: snapshot.map(|snapshot| snapshot.name.clone()),
            snapshot_age_seconds: snapshot.map(|snapshot| age(snapshot.created)),
            snapshot_rows: snapshot.map_or(0, |snapshot| snapshot.rows),
            snapshot_bytes: snapshot.map_or(0, |snapshot| snapshot.bytes),
            changes: followed.changes as u64,
            current_seconds: followed.current.map(|current| current.as_secs()),
            knows_all: followed.knows_all,
            trouble: followed.trouble,
        })
    }

    fn server_status(&self) -> ServerStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let asked = count(&self.first.figures.asked) + count(&self.first.figures.requests);
        let trouble = self.first.server.trouble();
        // Who follows it has asked it, though no build did.
        let followed = self.first.kept.as_ref();
        let up = match asked > 0 || trouble.is_some() {
            true => Some(self.first.server.answers()),
            false => followed.and_then(|kept| kept.followed.was_answered()),
        };
        let standing = self.first.server.standing();
        let since = |since: Instant| {
            let micros = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
            SystemClock.now().minus_micros(micros).to_rfc3339()
        };
        ServerStatus {
            address: self.first.server.address(),
            up,
            takes_reports: self.first.server.takes_reports(),
            since: trouble.as_ref().map(|trouble| since(trouble.since)),
            why: trouble.map(|trouble| trouble.why),
            login_refused: standing.refusal(),
        }
    }
}
