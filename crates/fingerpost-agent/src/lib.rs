//! What stands on a build host between BitBake and the server.
//!
//! Whatever the server does, a build that asks here is answered within the deadline and
//! is never refused: what is not known by then is "no unihash", and the build goes on.

mod options;
mod state;

pub use options::AgentOptions;
pub use state::{
    DeletionEpoch, Deliver, Delivered, Known, LocalAnswer, LocalReport, NotDelivered, Replay,
    Replayed, ReportKind, Spooled, State, StateError, StateFigures, StateOptions, Task, Word,
};
