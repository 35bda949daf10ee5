//! What stands on a build host between BitBake and the server.
//!
//! Whatever the server does, a build that asks here is answered within the deadline and
//! is never refused: what is not known by then is "no unihash", and the build goes on.
//!
//! [`Agent`] works by [`AgentOptions`] and tells of itself as [`Status`]; [`cli`] is the
//! program around it, which `fingerpost agent` and the small binary `fingerpost-agent` run.

mod agent;
mod args;
mod asking;
pub mod cli;
mod options;
mod place;
mod serving;
mod settings;
mod status;

pub use agent::Agent;
pub use options::AgentOptions;
pub use status::{BreakerState, HitRatios, ServerStatus, SnapshotStatus, SpoolStatus, Status};
