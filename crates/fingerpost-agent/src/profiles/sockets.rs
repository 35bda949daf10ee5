//! Who may use a socket of the agent.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use fingerpost_net::{Address, Listener};

use crate::names::Names;

/// The users of a socket, as it was when the agent started.
#[derive(Clone, Debug)]
pub(crate) struct SocketUsers {
    /// Its address, as peers have it.
    listener: String,
    /// Whether the kernel lets only its user and its group connect. A container's user may
    /// have the group by its number, and is in no file of the host.
    is_closed: bool,
    group: Option<u32>,
    members: HashSet<u32>,
}

impl SocketUsers {
    /// Looks at the sockets among `listeners`.
    pub(crate) fn of(listeners: &[Listener], names: &Names) -> Vec<Self> {
        let paths = listeners.iter().filter_map(|one| match one.address() {
            Address::Unix(path) => Some((one.address().to_string(), path)),
            _ => None,
        });
        let look = |(listener, path)| {
            // Of one without a path nothing is known: nobody is let in for it.
            let found = fs::metadata(path).ok();
            let group = found.as_ref().map(|found| found.gid());
            Self {
                listener,
                is_closed: found.is_some_and(|found| found.mode() & WRITE_OF_OTHERS == 0),
                members: group.map_or_else(HashSet::new, |one| names.members(one).collect()),
                group,
            }
        };
        paths.map(look).collect()
    }

    /// Whether peers of this listener came by it.
    pub(super) fn is_of(&self, listener: &str) -> bool {
        self.listener == listener
    }

    /// Whether a peer that is there is one of its users.
    pub(super) fn has(&self, uid: u32, gid: u32) -> bool {
        self.is_closed || self.group == Some(gid) || self.members.contains(&uid)
    }
}

/// Whoever may not write to a socket may not connect.
const WRITE_OF_OTHERS: u32 = 0o002;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use fingerpost_net::{BindOptions, bind};

    use super::*;

    #[test]
    fn everybody_who_came_through_a_closed_socket_is_its_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let address = Address::Unix(path.clone());
        let listeners = [bind(&address, &BindOptions::default()).unwrap()];
        let group = fs::metadata(&path).unwrap().gid();
        let names = Names::of("ann:x:1000:5\n", &format!("socket:x:{group}:ann\n"));
        let users = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            SocketUsers::of(&listeners, &names).remove(0)
        };
        let other = group + 1;
        let closed = users(0o660);
        assert!(closed.is_of(&address.to_string()) && !closed.is_of("127.0.0.1:1"));
        assert!(closed.has(4711, other));
        let open = users(0o666);
        assert!(open.has(4711, group), "by its first group");
        assert!(open.has(1000, other), "by the group's list");
        assert!(!open.has(4711, other));
    }
}
