//! Whose configuration files may widen access.

use std::collections::BTreeSet;

/// The owners whose files are trusted: the server's own user, root, and
/// whoever the server's configuration names. As Mercurial's `[trusted]`, but
/// for root, whom Mercurial has to be told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    everybody: bool,
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl TrustPolicy {
    /// Trusts `own_uid`, the user that the server runs as, and root.
    pub fn new(own_uid: u32) -> Self {
        Self {
            everybody: false,
            users: BTreeSet::from([0, own_uid]),
            groups: BTreeSet::new(),
        }
    }

    /// Trusts the user of this process and root.
    pub fn of_this_process() -> Self {
        Self::new(rustix::process::geteuid().as_raw())
    }

    /// Whether a file of this owner and group is trusted.
    pub fn trusts(&self, uid: u32, gid: u32) -> bool {
        self.everybody || self.users.contains(&uid) || self.groups.contains(&gid)
    }
}
