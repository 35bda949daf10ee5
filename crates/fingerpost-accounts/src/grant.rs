//! What a credential gives.

use std::sync::Arc;

use fingerpost_core::{Credential, Namespaces, PermissionSet, Principal, Timestamp};

/// Who somebody acts for and what they may: the result of a bearer token or of a
/// workload's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user whom the caller acts for.
    pub user: Arc<str>,
    /// What they may do.
    pub permissions: PermissionSet,
    /// Where they may do it.
    pub namespaces: Namespaces,
    /// When it ends, if it does. Connections that outlive a request should look.
    pub until: Option<Timestamp>,
    /// What was shown for it.
    pub credential: Credential,
}

impl Grant {
    /// The caller of a connection that was `before` until now. Its anonymous
    /// rights stay: what anybody may, this caller may too. The caller's own
    /// account is not theirs to manage.
    pub fn principal(&self, before: &Principal) -> Principal {
        let acting = before.act_for(&self.user, self.permissions);
        let acting = acting.within(self.namespaces.clone());
        acting.showing(self.credential.clone())
    }

    /// Whether it holds at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::Permission::{Read, Report};

    use super::*;

    #[test]
    fn a_grant_gives_its_permissions_and_no_account() {
        let grant = Grant {
            user: "ci".into(),
            permissions: PermissionSet::of(&[Report]),
            namespaces: Namespaces::All,
            until: Some(Timestamp(5)),
            credential: Credential::Token("1".into()),
        };
        let caller = grant.principal(&Principal::anonymous(PermissionSet::of(&[Read])));
        assert!(caller.allows(&[Read]) && caller.allows(&[Report]));
        assert!(!caller.is_self(Some("ci")));
        assert_eq!(caller.credential(), Some(&grant.credential));
        assert!(grant.holds_at(Timestamp(4)) && !grant.holds_at(Timestamp(5)));
    }
}
