//! Who may read, pull and push, by the rules of hgweb and by our own.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What somebody wants of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Seeing that it exists: the handshake, an index, the API's own pages.
    Read,
    /// Commands under `ro`.
    Pull,
    /// Commands under `rw`.
    Push,
}

impl Operation {
    /// The reason phrase that hgweb sends with 401, `pull not authorized`.
    pub const fn not_authorized(self) -> &'static str {
        match self {
            Self::Read => "read not authorized",
            Self::Pull => "pull not authorized",
            Self::Push => "push not authorized",
        }
    }
}

/// The outcome of a check. A refusal carries the operation whose rule said no:
/// pulling and pushing need reading first, as in hgweb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Not without a login; with some login it is allowed.
    NeedsLogin(Operation),
    /// Not for this caller; when the caller has no login, not for any login
    /// either. hgweb answers 401 in this case too.
    Denied(Operation),
}

/// Rules of our own configuration for one repository, over the users of
/// the accounts. `*` is everybody, also without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRules {
    /// Who may read and pull; `None` says nothing, an empty list is nobody.
    pub read: Option<Vec<String>>,
    /// Who may push; `None` says nothing, an empty list is nobody.
    pub write: Option<Vec<String>>,
}

/// Every rule that applies to one repository.
///
/// There are the rules of hgweb, once for each reading of the configuration
/// files that counts, and our own. What all of them permit is permitted.
/// Where our own rules say who may write, hgweb's `allow-push` is not needed;
/// where it is there, it narrows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    web: Vec<WebRules>,
    own: Vec<Arc<OwnRules>>,
    /// For each operation, whether any login at all may do it.
    open_to_some_login: [bool; 3],
}

/// The rules of hgweb in one reading of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebRules {
    /// `web.deny_read`.
    pub(super) deny_read: Names,
    /// `web.allow_read`.
    pub(super) allow_read: Names,
    /// `web.allow-pull`.
    pub(super) allow_pull: bool,
    /// `web.deny_push`.
    pub(super) deny_push: Names,
    /// `web.allow-push`; `None` when nothing sets it.
    pub(super) allow_push: Option<Names>,
    /// `web.push_ssl`.
    pub(super) push_tls: bool,
    /// Whether a rule about pushing could not be evaluated, so nobody pushes.
    pub(super) push_unknown: bool,
}

/// A list of users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    names: BTreeSet<String>,
    /// Whether the list is `*` alone: hgweb takes a star among names for the
    /// name of a user.
    everybody: bool,
}

impl Names {
    pub(super) fn new(list: Vec<String>) -> Self {
        Self {
            everybody: list.len() == 1 && list.iter().any(|name| name == "*"),
            names: list.into_iter().collect(),
        }
    }

    /// Whether there is a star among names.
    pub(super) fn has_stray_star(&self) -> bool {
        !self.everybody && self.names.contains("*")
    }

    fn allows(&self, user: Option<&str>) -> bool {
        self.everybody || user.is_some_and(|user| self.names.contains(user))
    }

    /// Whether a list that denies denies `user`. Nobody in particular is
    /// denied by any list. Here a star among names is taken for everybody,
    /// since that was meant and denies more.
    fn denies(&self, user: Option<&str>) -> bool {
        let every_login = self.names.contains("*");
        !self.names.is_empty() && (user.is_none() || every_login || self.allows(user))
    }
}

impl Default for WebRules {
    fn default() -> Self {
        Self {
            deny_read: Names::default(),
            allow_read: Names::default(),
            allow_pull: true,
            deny_push: Names::default(),
            allow_push: None,
            push_tls: true,
            push_unknown: false,
        }
    }
}

impl WebRules {
    fn reads(&self, user: Option<&str>) -> bool {
        let allowed = self.allow_read.names.is_empty() || self.allow_read.allows(user);
        allowed && !self.deny_read.denies(user)
    }

    fn pushes(&self, user: Option<&str>, own_rules_allow: bool) -> bool {
        let allowed = match &self.allow_push {
            Some(names) => names.allows(user),
            None => own_rules_allow,
        };
        allowed && !self.push_unknown && !self.deny_push.denies(user)
    }
}

impl OwnRules {
    fn allow(names: &Option<Vec<String>>, user: Option<&str>) -> Option<bool> {
        let names = names.as_ref()?;
        let named = |name: &String| name == "*" || user.is_some_and(|user| name == user);
        Some(names.iter().any(named))
    }
}

impl Default for AccessRules {
    /// What applies where no file says anything: everybody reads, nobody
    /// pushes.
    fn default() -> Self {
        Self::new(vec![WebRules::default()], Vec::new())
    }
}

impl AccessRules {
    pub(super) fn new(web: Vec<WebRules>, own: Vec<Arc<OwnRules>>) -> Self {
        let mut rules = Self {
            web,
            own,
            open_to_some_login: [false; 3],
        };
        rules.open_to_some_login = OPERATIONS.map(|operation| {
            let mut logins = rules.logins().into_iter();
            logins.any(|login| rules.refused(Some(login), operation).is_none())
        });
        rules
    }

    /// Whether `user` (`None` without a login) may do `operation`.
    pub fn decide(&self, user: Option<&str>, operation: Operation) -> Decision {
        match self.refused(user, operation) {
            None => Decision::Allowed,
            Some(by) if user.is_none() && self.open_to_some_login[operation as usize] => {
                Decision::NeedsLogin(by)
            }
            Some(by) => Decision::Denied(by),
        }
    }

    /// Whether pushing is for connections over TLS only (`web.push_ssl`, which
    /// is on unless a trusted file says otherwise). hgweb answers `403 ssl
    /// required` once reading is permitted and before it asks who is pushing.
    pub fn push_needs_tls(&self) -> bool {
        self.web.iter().any(|web| web.push_tls)
    }

    /// The operation whose rule refuses, if one does.
    fn refused(&self, user: Option<&str>, operation: Operation) -> Option<Operation> {
        let own_read = |own: &Arc<OwnRules>| OwnRules::allow(&own.read, user) != Some(false);
        if !(self.web.iter().all(|web| web.reads(user)) && self.own.iter().all(own_read)) {
            return Some(Operation::Read);
        }
        let permitted = match operation {
            Operation::Read => true,
            Operation::Pull => self.web.iter().all(|web| web.allow_pull),
            Operation::Push => self.pushes(user),
        };
        (!permitted).then_some(operation)
    }

    fn pushes(&self, user: Option<&str>) -> bool {
        let own = self.own.iter();
        let own: Vec<bool> = own
            .filter_map(|own| OwnRules::allow(&own.write, user))
            .collect();
        let all = own.iter().all(|may| *may);
        all && self.web.iter().all(|web| web.pushes(user, !own.is_empty()))
    }

    /// Logins that stand for all: each that a rule names, and one that none
    /// does.
    fn logins(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::from(["\0"]);
        for web in &self.web {
            for list in [&web.deny_read, &web.allow_read, &web.deny_push] {
                names.extend(list.names.iter().map(String::as_str));
            }
            let allow_push = web.allow_push.iter().flat_map(|list| &list.names);
            names.extend(allow_push.map(String::as_str));
        }
        for own in &self.own {
            let lists = own.read.iter().chain(&own.write).flatten();
            names.extend(lists.map(String::as_str));
        }
        names
    }

    /// Who may do `operation`, in words: `everybody`, `nobody`, `every login
    /// but a, b` or a list of logins.
    pub fn describe(&self, operation: Operation) -> String {
        let may = |user| self.refused(user, operation).is_none();
        if may(None) && self.logins().into_iter().all(|login| may(Some(login))) {
            return "everybody".to_owned();
        }
        let named = self
            .logins()
            .into_iter()
            .filter(|login| !["\0", "*"].contains(login));
        let (allowed, denied): (Vec<_>, Vec<_>) = named.partition(|login| may(Some(login)));
        let mut words = match (may(Some("\0")), allowed.is_empty(), denied.is_empty()) {
            (true, _, true) => "every login".to_owned(),
            (true, _, false) => format!("every login but {}", denied.join(", ")),
            (false, true, _) => "nobody".to_owned(),
            (false, false, _) => allowed.join(", "),
        };
        if may(None) {
            words.push_str(", and without a login");
        }
        words
    }
}

const OPERATIONS: [Operation; 3] = [Operation::Read, Operation::Pull, Operation::Push];

#[cfg(test)]
mod tests;
