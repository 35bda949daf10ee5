//! What stands on a build host between BitBake and the server.
//!
//! Whatever the server does, a build that asks here is answered within the deadline and
//! is never refused: what is not known by then is "no unihash", and the build goes on.
//!
//! [`Agent`] speaks BitBake's protocol to builds. It remembers what the server said
//! (`knowledge`), asks for the rest with a limit on every wait (`server`), knows what a
//! build can be told when nobody answers (`commands`), and keeps reports for a server that
//! is away (`reporting`, over the [`State`] on disk). `following` keeps a snapshot of the
//! server's mappings and hears of changes. Which build may do what, [`Profiles`]
//! say, by the user who connects. It works by [`AgentOptions`] and
//! tells of itself as [`Status`]; [`cli`] is the program around it, which
//! `fingerpost agent` and the small binary `fingerpost-agent` run.

mod agent;
mod args;
mod asking;
mod believing;
pub mod cli;
mod commands;
mod figured;
mod figures;
mod following;
mod gets;
mod keeping;
mod knowledge;
mod listener;
mod logins;
mod lookup;
mod loopback;
mod marks;
mod metrics;
mod names;
mod namespaces;
mod options;
mod place;
mod profiles;
mod readers;
mod reporting;
mod server;
mod serving;
mod session;
mod settings;
mod shared;
mod signing;
mod spared;
mod state;
mod status;
mod suspects;
#[cfg(test)]
mod testing;
mod wire;

pub use agent::{Agent, StartError};
pub use options::{AgentOptions, SnapshotOptions, TrustOptions};
pub use profiles::{Profile, Profiles};
pub use state::{
    Deliver, Delivered, Known, LocalAnswer, LocalReport, NotDelivered, Replay, Replayed,
    ReportKind, Spooled, State, StateError, StateFigures, StateOptions, Word,
};
pub use status::{
    BreakerState, Counts, FollowedStatus, HitRatios, ServerStatus, SpoolStatus, Status,
};
