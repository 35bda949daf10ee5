//! Hash equivalence: what BitBake's hash server does, whatever door it is asked
//! through and whatever database lies below.
//!
//! [`HashEquiv`] is the service, [`commands()`] declares what it can be asked,
//! [`Store`] is what it asks of a database, and [`rules`](fingerpost_hashequiv_proto::rules)
//! decides which tasks are equivalent. It knows no socket, no wire format and no TLS: those are the
//! doors' business.

pub mod cache;
pub mod changes;
pub mod copying;
pub mod dump;
pub mod moving;
pub mod paging;
pub mod postgres;
pub mod progress;
pub mod query;
pub mod retention;
pub mod siginfo;
pub mod signed;
pub mod signing;
pub mod sqlite;
pub mod stats;
pub mod store;
pub mod upstream;
pub mod uses;
pub mod watching;

mod backfill;
mod batches;
mod commands;
mod created;
mod database;
mod durations;
mod gauges;
mod listings;
mod lookup;
mod metrics;
pub mod namespace;
mod reporting;
mod service;
mod set;
mod sharded;

pub use cache::MethodWithin;
pub use commands::commands;
pub use database::Database;
pub use durations::{Durations, HotDurations};
pub use metrics::{Metrics, SharedMetrics};
pub use reporting::{ReportAnswer, Reported};
pub use service::{Config, HashEquiv, OpenError};
pub use set::NamespaceSet;
pub use sharded::{HotCounter, Sum};
pub use stats::RequestStats;
pub use store::Store;
pub use upstream::{Upstream, UpstreamError, UpstreamOptions};
