//! What there is to tell of the state.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Figures for the status and for metrics. Totals count from the start of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateFigures {
    /// Reports that the server has not seen.
    pub spooled_reports: u64,
    /// What they count for, bytes.
    pub spooled_bytes: u64,
    /// How long the first of them has waited.
    pub spooled_age: Option<Duration>,
    /// Tasks that have an answer of this host.
    pub provisional: u64,
    /// Reports that were brought to the server later.
    pub delivered_total: u64,
    /// Reports that found the spool full.
    pub spool_refused_total: u64,
    /// Reports that became dead letters.
    pub dead_total: u64,
    /// Whether the database was found damaged. The next start moves it aside.
    pub damaged: bool,
}

/// What is counted.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) delivered: AtomicU64,
    pub(super) spool_refused: AtomicU64,
    pub(super) dead: AtomicU64,
}
