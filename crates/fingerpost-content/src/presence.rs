//! What is known about entries that lie elsewhere.

use std::time::{Duration, Instant};

use fingerpost_core::EntryName;
use quick_cache::sync::Cache;

/// How long an entry that was not there is not looked for again. It is short:
/// another server may be uploading it.
const ABSENCE: Duration = Duration::from_secs(10);

/// Which entries were there when somebody looked or uploaded them, for a time,
/// and for so many entries.
pub(crate) struct Presence {
    ttl: Duration,
    seen: Cache<EntryName, Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    is_there: bool,
    at: Instant,
}

/// What is known about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Present,
    Absent,
    Nothing,
}

impl Presence {
    pub(crate) fn new(ttl: Duration, entries_max: usize) -> Self {
        Self {
            ttl,
            seen: Cache::new(entries_max),
        }
    }

    pub(crate) fn note(&self, name: &EntryName, is_there: bool, now: Instant) {
        self.seen.insert(*name, Seen { is_there, at: now });
    }

    pub(crate) fn known(&self, name: &EntryName, now: Instant) -> Known {
        let Some(seen) = self.seen.get(name) else {
            return Known::Nothing;
        };
        let age = now.saturating_duration_since(seen.at);
        match seen.is_there {
            true if age < self.ttl => Known::Present,
            false if age < self.ttl.min(ABSENCE) => Known::Absent,
            _ => Known::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_ends() {
        let name = EntryName::from_hex(&"ab".repeat(32)).unwrap();
        let start = Instant::now();
        let presence = Presence::new(Duration::from_secs(60), 10);
        let check = |secs: u64, known| {
            let now = start + Duration::from_secs(secs);
            assert_eq!(presence.known(&name, now), known, "after {secs} s");
        };
        check(0, Known::Nothing);
        presence.note(&name, false, start);
        check(9, Known::Absent);
        check(10, Known::Nothing);
        presence.note(&name, true, start);
        check(59, Known::Present);
        check(60, Known::Nothing);
    }
}
