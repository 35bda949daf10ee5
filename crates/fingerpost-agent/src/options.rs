//! What may be set about an agent.

use std::path::PathBuf;
use std::time::Duration;

use fingerpost_hashequiv_client::ClientOptions;

use crate::Profiles;

/// How an agent works. [`AgentOptions::to`] has the defaults.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The server, and the login if it wants one. Its waits and tries are not used.
    pub server: ClientOptions,
    /// Longest wait for the server's answer to a batch of look-ups. 2 s.
    pub lookup_deadline: Duration,
    /// Longest wait for the server's answer to a report. 2 s.
    pub report_deadline: Duration,
    /// Bytes of answers in memory. 16 MiB.
    pub memory_bytes: u64,
    /// Whether a build is told when the server refuses its login, which ends it. Off.
    pub strict_auth: bool,
    /// What which builds may do. The agent's own user and root everything, others look up.
    pub profiles: Profiles,
    /// Where reports are kept that the server has not seen.
    pub state: PathBuf,
    /// Bytes of them at most. 256 MiB.
    pub spool_bytes_max: u64,
}

impl AgentOptions {
    /// The defaults for a server, with reports kept in `state`.
    pub fn to(server: ClientOptions, state: PathBuf) -> Self {
        Self {
            server,
            lookup_deadline: Duration::from_secs(2),
            report_deadline: Duration::from_secs(2),
            memory_bytes: 16 << 20,
            strict_auth: false,
            profiles: Profiles::default(),
            state,
            spool_bytes_max: 256 << 20,
        }
    }
}
