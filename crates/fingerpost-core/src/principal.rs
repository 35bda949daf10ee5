//! Who is asking, and whether they may.

use std::sync::Arc;

use crate::{Credential, Namespaces, Permission, PermissionSet};

/// What a command needs of its caller.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Every permission that is needed, in the order in which a refusal names them.
    pub needs: &'static [Permission],
    /// Whether a logged-in caller may always use the command on their own
    /// account (the argument's `username` is absent or their own name).
    pub self_service: bool,
}

impl Access {
    /// No permission needed.
    pub const OPEN: Self = Self::needs(&[]);

    /// All of `needs` are needed.
    pub const fn needs(needs: &'static [Permission]) -> Self {
        Self {
            needs,
            self_service: false,
        }
    }

    /// As [`Access::needs`], or one's own account.
    pub const fn needs_or_self(needs: &'static [Permission]) -> Self {
        Self {
            needs,
            self_service: true,
        }
    }
}

/// The caller of a command: anonymous or logged in. Permissions are those of
/// the moment of the login and stay for the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: Option<Arc<str>>,
    own: PermissionSet,
    anonymous: PermissionSet,
    /// Whether the login is the whole user, who may manage their own account.
    whole: bool,
    /// Where `own` holds.
    namespaces: Namespaces,
    /// What was shown last, for the audit log: nothing depends on it.
    credential: Option<Credential>,
}

impl Principal {
    /// Nobody in particular, with the server's anonymous permissions.
    pub const fn anonymous(anonymous: PermissionSet) -> Self {
        Self {
            name: None,
            own: PermissionSet::NONE,
            anonymous,
            whole: false,
            namespaces: Namespaces::All,
            credential: None,
        }
    }

    /// The same connection after a login as `name`. Rights hold where they held
    /// before: whoever shows what is for one namespace stays there. Who becomes
    /// somebody else shows nothing for it, and is still known by what they showed
    /// before.
    pub fn login(&self, name: &str, own: PermissionSet) -> Self {
        Self {
            name: Some(name.into()),
            own,
            anonymous: self.anonymous,
            whole: true,
            namespaces: self.namespaces.clone(),
            credential: self.credential.clone(),
        }
    }

    /// The same connection after somebody showed what lets them act for `name`
    /// with these permissions and no others: no account is their own, or a token
    /// that may only read could fetch one that may do everything.
    pub fn act_for(&self, name: &str, own: PermissionSet) -> Self {
        Self {
            whole: false,
            ..self.login(name, own)
        }
    }

    /// The same caller, whose rights hold in these namespaces.
    #[must_use]
    pub fn within(self, namespaces: Namespaces) -> Self {
        Self { namespaces, ..self }
    }

    /// The same caller, who showed this.
    #[must_use]
    pub fn showing(self, credential: Credential) -> Self {
        Self {
            credential: Some(credential),
            ..self
        }
    }

    /// What the caller showed to log in, if they did.
    pub const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Where the caller's own rights hold.
    pub const fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The same caller in a namespace where anonymous callers may do this, and
    /// where their own rights hold, or not.
    #[must_use]
    pub fn placed(self, anonymous: PermissionSet, holds: bool) -> Self {
        let own = if holds { self.own } else { PermissionSet::NONE };
        Self {
            own,
            anonymous,
            ..self
        }
    }

    /// The login, when there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The login, or `Anonymous user`: the words of a refusal.
    pub fn display_name(&self) -> &str {
        self.name().unwrap_or("Anonymous user")
    }

    /// The user's own permissions, without the anonymous ones.
    pub const fn own_permissions(&self) -> PermissionSet {
        self.own
    }

    /// Whether the anonymous set alone, or the user's set alone, covers
    /// `needs`. The two are not united. Users are those of all namespaces, so
    /// neither anonymous rights nor those that hold in some namespaces only reach
    /// anything that needs `@user-admin`: whoever manages users can make
    /// themselves one who may do everything everywhere.
    pub fn allows(&self, needs: &[Permission]) -> bool {
        let needed = PermissionSet::of(needs);
        let is_of_users = needs.contains(&Permission::UserAdmin);
        let own_reach = !is_of_users || self.namespaces == Namespaces::All;
        (!is_of_users && self.anonymous.covers(needed))
            || (self.name.is_some() && own_reach && self.own.covers(needed))
            || needed.is_empty()
    }

    /// Whether `username` (or no name at all) means the caller's own account;
    /// never after [`Principal::act_for`].
    pub fn is_self(&self, username: Option<&str>) -> bool {
        let is_named = |own: &str| username.is_none_or(|other| other == own);
        self.whole && self.name().is_some_and(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Permission::{DbAdmin, Read, Report, UserAdmin};

    #[test]
    fn anonymous_and_own_rights_are_not_united() {
        let caller = Principal::anonymous(PermissionSet::of(&[Read]))
            .login("bob", PermissionSet::of(&[Report]));
        assert!(caller.allows(&[Read]));
        assert!(caller.allows(&[Report]));
        assert!(!caller.allows(&[Read, Report]));
    }

    #[test]
    fn anonymous_rights_never_manage_users() {
        let caller = Principal::anonymous(PermissionSet::of(&[UserAdmin, DbAdmin]));
        assert!(!caller.allows(&[UserAdmin]));
        assert!(caller.allows(&[DbAdmin]));
    }

    #[test]
    fn rights_in_some_namespaces_never_manage_users() {
        let all = PermissionSet::of(&[Permission::All]);
        let everywhere = Principal::anonymous(PermissionSet::NONE).act_for("bob", all);
        assert!(everywhere.allows(&[UserAdmin]));
        let release = Namespaces::of(Some(vec!["release".to_owned()])).unwrap();
        let there = everywhere.within(release);
        assert!(there.allows(&[Report, DbAdmin]) && !there.allows(&[UserAdmin]));
    }

    #[test]
    fn self_service_needs_a_login() {
        let nobody = Principal::anonymous(PermissionSet::NONE);
        assert!(!nobody.is_self(None));
        let bob = nobody.login("bob", PermissionSet::NONE);
        assert!(bob.is_self(None) && bob.is_self(Some("bob")) && !bob.is_self(Some("eve")));
    }

    #[test]
    fn who_becomes_somebody_else_is_known_by_what_they_showed() {
        let nobody = Principal::anonymous(PermissionSet::NONE);
        assert_eq!(nobody.credential(), None);
        let ann = nobody.login("ann", PermissionSet::NONE);
        let ann = ann.showing(Credential::Password);
        let bob = ann.login("bob", PermissionSet::NONE);
        assert_eq!(bob.credential(), Some(&Credential::Password));
    }

    #[test]
    fn who_acts_for_a_user_does_not_manage_their_account() {
        let nobody = Principal::anonymous(PermissionSet::of(&[Report]));
        let job = nobody.act_for("bob", PermissionSet::of(&[Read]));
        assert!(!job.is_self(None) && !job.is_self(Some("bob")));
        assert_eq!(job.name(), Some("bob"));
        assert!(job.allows(&[Read]) && job.allows(&[Report]));
        assert!(job.login("bob", PermissionSet::NONE).is_self(None));
    }
}
