//! Users and groups of the host by name: those of `/etc/passwd` and `/etc/group`. A
//! directory service may be far, and asking it could block.

use std::fs;
use std::path::Path;

/// The texts of the two files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    users: String,
    groups: String,
}

impl Names {
    /// Those of this host. A container may have neither file.
    pub(crate) fn of_host() -> Self {
        Self::read(Path::new(USERS), Path::new(GROUPS))
    }

    fn read(users: &Path, groups: &Path) -> Self {
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        Self {
            users: text(users),
            groups: text(groups),
        }
    }

    /// Those of two such files.
    #[cfg(test)]
    pub(crate) fn of(users: &str, groups: &str) -> Self {
        let (users, groups) = (users.to_owned(), groups.to_owned());
        Self { users, groups }
    }

    /// The number of a user. Lines are `NAME:PASSWORD:NUMBER:GROUP:...`.
    pub(crate) fn user(&self, name: &str) -> Option<u32> {
        number(&self.users, name)
    }

    /// The number of a group. Lines are `NAME:PASSWORD:NUMBER:MEMBERS`.
    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        number(&self.groups, name)
    }

    /// The users that a group lists. Those whose first group it is are not listed there.
    pub(crate) fn members(&self, group: u32) -> impl Iterator<Item = u32> {
        let of_group = self.groups.lines().filter_map(move |line| {
            let mut fields = line.split(':').skip(2);
            let is_it = fields.next()?.parse() == Ok(group);
            fields.next().filter(|_| is_it)
        });
        let names = of_group.flat_map(|members| members.split(','));
        names.filter_map(|name| self.user(name.trim()))
    }
}

fn number(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    })
}

const USERS: &str = "/etc/passwd";
pub(crate) const GROUPS: &str = "/etc/group";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_members_by_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let users = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbad\n";
        fs::write(path("passwd"), users).unwrap();
        let groups = "root:x:0:\nbuilders:x:1005:ann, far,root\nbad\n";
        fs::write(path("group"), groups).unwrap();
        let names = Names::read(&path("passwd"), &path("group"));
        assert_eq!(names.user("ann"), Some(1000));
        assert_eq!(names.user("an"), None);
        assert_eq!(names.user("bad"), None);
        assert_eq!(names.group("builders"), Some(1005));
        // Of `far` nobody here knows the number.
        assert_eq!(names.members(1005).collect::<Vec<_>>(), [1000, 0]);
        assert_eq!(names.members(0).count(), 0);
    }

    #[test]
    fn a_host_without_the_files_has_no_names() {
        let names = Names::read(Path::new("/not/there"), Path::new("/not/there"));
        assert_eq!(names.user("root"), None);
    }
}
