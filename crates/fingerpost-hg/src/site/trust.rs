//! Whose configuration files may widen access.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

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

    /// Trusts one more user, by name or number; `*` is everybody. Returns
    /// whether the name is known.
    pub(super) fn trust_user(&mut self, name: &str) -> bool {
        Self::add(name, &mut self.everybody, &mut self.users, USERS)
    }

    /// Trusts one more group, by name or number; `*` is everybody.
    pub(super) fn trust_group(&mut self, name: &str) -> bool {
        Self::add(name, &mut self.everybody, &mut self.groups, GROUPS)
    }

    fn add(name: &str, everybody: &mut bool, ids: &mut BTreeSet<u32>, table: &str) -> bool {
        if name == "*" {
            *everybody = true;
            return true;
        }
        let id = name
            .parse()
            .ok()
            .or_else(|| look_up(Path::new(table), name));
        ids.extend(id);
        id.is_some()
    }
}

/// Finds the number of a name in a file of the form of `/etc/passwd`. Users
/// that only a directory service knows have to be given by number.
fn look_up(table: &Path, name: &str) -> Option<u32> {
    let mut text = Vec::new();
    let file = File::open(table).ok()?;
    file.take(TABLE_BYTES_MAX).read_to_end(&mut text).ok()?;
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let known = fields.next()?;
        let id = fields.nth(1)?;
        (known == name.as_bytes()).then(|| std::str::from_utf8(id).ok()?.parse().ok())?
    })
}

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";
const TABLE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_user_and_root_are_trusted() {
        let policy = TrustPolicy::new(1000);
        assert!(policy.trusts(1000, 5) && policy.trusts(0, 5));
        assert!(!policy.trusts(1001, 1000) && !policy.trusts(1001, 0));
    }

    #[test]
    fn users_and_groups_are_added_by_number_or_name() {
        let mut policy = TrustPolicy::new(1000);
        assert!(policy.trust_user("1001") && policy.trust_group("77") && policy.trust_user("root"));
        assert!(policy.trusts(1001, 5) && policy.trusts(1002, 77));
        assert!(!policy.trust_user("no such user") && !policy.trusts(1002, 5));
    }

    #[test]
    fn a_star_trusts_everybody() {
        let mut policy = TrustPolicy::new(1000);
        assert!(policy.trust_group("*"));
        assert!(policy.trusts(4711, 4711));
    }

    #[test]
    fn names_are_looked_up_whole() {
        let table = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            table.path(),
            "hgx:x:1:1::/:\nhg:x:20:30:a:/:\nbad\nodd:x:-1\n",
        )
        .unwrap();
        assert_eq!(look_up(table.path(), "hg"), Some(20));
        assert_eq!(look_up(table.path(), "bad"), None);
        assert_eq!(look_up(table.path(), "odd"), None);
        assert_eq!(look_up(Path::new("/nonexistent/passwd"), "hg"), None);
    }
}
