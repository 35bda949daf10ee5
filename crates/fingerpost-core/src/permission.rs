//! Permissions as BitBake's hash equivalence server names them.

use std::fmt;
use std::str::FromStr;

/// One permission. The text form of those that users have is `@read`,
/// `@report`, `@db-admin`, `@user-admin` or `@all`; the others follow from a
/// repository's rules and are never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `@read`: look things up.
    Read,
    /// `@report`: add what a task produced.
    Report,
    /// `@db-admin`: remove rows, collect garbage.
    DbAdmin,
    /// `@user-admin`: manage users.
    UserAdmin,
    /// `@all`: everything above.
    All,
    /// Read the repository that was asked for.
    Pull,
    /// Change the repository that was asked for.
    Push,
}

impl Permission {
    /// Every permission that a user can be given, in the order of the text forms.
    pub const ALL: [Self; 5] = [
        Self::All,
        Self::DbAdmin,
        Self::Read,
        Self::Report,
        Self::UserAdmin,
    ];

    /// Returns the text form, `@read` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "@read",
            Self::Report => "@report",
            Self::DbAdmin => "@db-admin",
            Self::UserAdmin => "@user-admin",
            Self::All => "@all",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission {0:?}; known are @none, @read, @report, @db-admin, @user-admin, @all")]
pub struct ParsePermissionError(pub String);

impl FromStr for Permission {
    type Err = ParsePermissionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| ParsePermissionError(text.to_owned()))
    }
}

/// A set of permissions *as stored*: `@all` is a member of its own and is not
/// expanded until somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet(u8);

impl PermissionSet {
    /// The empty set, `@none`.
    pub const NONE: Self = Self(0);

    /// Builds a set from its members.
    pub const fn of(members: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < members.len() {
            bits |= members[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether `permission` was stored in the set; `@all` implies nothing here.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether the set allows everything in `needed`; `@all` covers all that
    /// a user can be given.
    pub const fn covers(self, needed: Self) -> bool {
        let missing = needed.0 & !self.0;
        missing == 0 || (self.contains(Permission::All) && missing & !Self::GIVEN.0 == 0)
    }

    /// What a user can be given.
    const GIVEN: Self = Self::of(&Permission::ALL);

    /// What both sets allow; `@all` stays `@all` only when both have it.
    pub const fn intersection(self, other: Self) -> Self {
        let both = self.0 & other.0;
        let given = match (
            self.contains(Permission::All),
            other.contains(Permission::All),
        ) {
            (true, false) => other.0 & Self::GIVEN.0,
            (false, true) => self.0 & Self::GIVEN.0,
            _ => 0,
        };
        Self(both | given)
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one permission.
    pub const fn insert(&mut self, permission: Permission) {
        self.0 |= permission.bit();
    }

    /// Lists the members sorted by text, as stored: `["@all"]`.
    pub fn stored(self) -> Vec<&'static str> {
        Permission::ALL
            .into_iter()
            .filter(|permission| self.contains(*permission))
            .map(Permission::as_str)
            .collect()
    }

    /// Lists the members sorted by text with `@all` expanded to all five names.
    pub fn expanded(self) -> Vec<&'static str> {
        if self.contains(Permission::All) {
            Permission::ALL.map(Permission::as_str).to_vec()
        } else {
            self.stored()
        }
    }

    /// Parses names; `@none` is dropped. Returns every unknown name, sorted,
    /// when there is one.
    pub fn parse_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<String>> {
        let mut set = Self::NONE;
        let mut unknown = Vec::new();
        for name in names {
            match name.parse() {
                Ok(permission) => set.insert(permission),
                Err(_) if name == "@none" => {}
                Err(_) => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() {
            return Ok(set);
        }
        unknown.sort();
        unknown.dedup();
        Err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_covers_everything_and_is_shown_plain_or_expanded() {
        let all = PermissionSet::of(&[Permission::All]);
        assert!(all.covers(PermissionSet::of(&[
            Permission::UserAdmin,
            Permission::Read
        ])));
        assert_eq!(all.stored(), ["@all"]);
        assert_eq!(
            all.expanded(),
            ["@all", "@db-admin", "@read", "@report", "@user-admin"]
        );
    }

    #[test]
    fn a_repositorys_rules_are_not_overruled_by_all() {
        let all = PermissionSet::of(&[Permission::All]);
        assert!(!all.covers(PermissionSet::of(&[Permission::Pull])));
        assert!("pull".parse::<Permission>().is_err());
    }

    #[test]
    fn none_is_dropped_and_unknown_names_are_sorted() {
        assert_eq!(
            PermissionSet::parse_names(["@none"]),
            Ok(PermissionSet::NONE)
        );
        assert_eq!(
            PermissionSet::parse_names(["@z", "@read", "@a"]),
            Err(vec!["@a".to_owned(), "@z".to_owned()])
        );
    }

    #[test]
    fn read_and_report_do_not_add_up_to_more() {
        let set = PermissionSet::of(&[Permission::Read, Permission::Report]);
        assert!(set.covers(PermissionSet::of(&[Permission::Report])));
        assert!(!set.covers(PermissionSet::of(&[Permission::DbAdmin])));
    }

    #[test]
    fn an_intersection_allows_what_both_allow() {
        use Permission::{All, Pull, Read, Report, UserAdmin};
        let check = |left: &[Permission], right: &[Permission], expected: &[Permission]| {
            let (left, right) = (PermissionSet::of(left), PermissionSet::of(right));
            assert_eq!(left.intersection(right), PermissionSet::of(expected));
            assert_eq!(right.intersection(left), PermissionSet::of(expected));
        };
        check(&[Read, Report], &[Report, UserAdmin], &[Report]);
        check(&[All], &[Read], &[Read]);
        check(&[All], &[All, Read], &[All]);
        check(&[All], &[Pull], &[]);
        check(&[Read], &[], &[]);
    }
}
