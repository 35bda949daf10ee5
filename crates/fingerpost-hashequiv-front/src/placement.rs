//! Which namespace a caller works in.
//!
//! Choosing one gives no right in it: whoever is placed somewhere may do there what
//! that namespace says.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_hashequiv::{HashEquiv, NamespaceSet};
use fingerpost_net::without_port;

/// What a path begins with that names a namespace.
pub(crate) const PATH_PREFIX: &str = "/ns/";

/// Names and the namespaces that callers who come by them get, unless they name
/// one themselves.
#[derive(Clone, Debug, Default)]
pub struct PlacementOptions {
    /// By the name of the listener.
    pub listeners: Vec<(String, String)>,
    /// By the host that a request of HTTP is for, without its port and final dot.
    pub hosts: Vec<(String, String)>,
    /// By the user who logged in.
    pub users: Vec<(String, String)>,
}

/// A rule places callers in a namespace that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the name of a configured namespace")]
pub struct UnknownNamespace(pub String);

/// Knows where callers work. Cheap to clone.
#[derive(Clone)]
pub struct Placement(Arc<Inner>);

struct Inner {
    set: NamespaceSet,
    listeners: Rules,
    hosts: Rules,
    users: Rules,
}

type Rules = HashMap<Box<str>, Arc<HashEquiv>>;

/// Where a caller works.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) service: Arc<HashEquiv>,
    /// Where they work again as a user who is placed nowhere; `None`: it stays as
    /// it is, whoever logs in.
    unplaced: Option<Arc<HashEquiv>>,
}

impl Placement {
    /// Everybody works in the default namespace of `set`, or where `options` say.
    pub fn new(set: NamespaceSet, options: PlacementOptions) -> Result<Self, UnknownNamespace> {
        let rules = |list: Vec<(String, String)>| {
            let rule = |(name, namespace): (String, String)| match set.find(&namespace) {
                Some(service) => Ok((name.into_boxed_str(), Arc::clone(service))),
                None => Err(UnknownNamespace(namespace)),
            };
            list.into_iter().map(rule).collect::<Result<Rules, _>>()
        };
        let hosts = options.hosts.into_iter();
        let hosts = hosts.map(|(host, namespace)| (bare(&host).to_ascii_lowercase(), namespace));
        Ok(Self(Arc::new(Inner {
            listeners: rules(options.listeners)?,
            hosts: rules(hosts.collect())?,
            users: rules(options.users)?,
            set,
        })))
    }

    /// The namespaces.
    pub(crate) fn set(&self) -> &NamespaceSet {
        &self.0.set
    }

    /// Where the path of a request leads. `None` if it names a namespace that there
    /// is not; what it names itself goes before the listener.
    pub(crate) fn by_path(&self, path: &str, listener: Option<&str>) -> Option<Place> {
        let Some(rest) = path.strip_prefix(PATH_PREFIX) else {
            return Some(self.by_listener(listener));
        };
        let name = rest.split('/').next().unwrap_or_default();
        self.by_name(name)
    }

    /// Where a request of HTTP leads: its path, else its host, with a port or
    /// without, else its listener says so. `None` if the path names a namespace that
    /// there is not.
    pub(crate) fn of_request(
        &self,
        path: &str,
        host: Option<&str>,
        listener: Option<&str>,
    ) -> Option<Place> {
        if path.starts_with(PATH_PREFIX) {
            return self.by_path(path, listener);
        }
        let rule = host.and_then(|host| self.0.hosts.get(&*bare(host).to_ascii_lowercase()));
        Some(rule.map_or_else(|| self.by_listener(listener), chosen))
    }

    /// The namespace of this name.
    fn by_name(&self, name: &str) -> Option<Place> {
        self.0.set.find(name).map(chosen)
    }

    /// Where those work who come by a listener.
    pub(crate) fn by_listener(&self, listener: Option<&str>) -> Place {
        let rule = listener.and_then(|name| self.0.listeners.get(name));
        rule.map_or_else(|| self.unchosen(), chosen)
    }

    /// Where a user works after a login, wherever somebody else was before it.
    pub(crate) fn after_login(&self, place: &Place, user: &str) -> Place {
        let Some(unplaced) = &place.unplaced else {
            return place.clone();
        };
        Place {
            service: Arc::clone(self.0.users.get(user).unwrap_or(unplaced)),
            unplaced: Some(Arc::clone(unplaced)),
        }
    }

    fn unchosen(&self) -> Place {
        let service = self.0.set.default();
        Place {
            service: Arc::clone(service),
            unplaced: Some(Arc::clone(service)),
        }
    }
}

fn chosen(service: &Arc<HashEquiv>) -> Place {
    Place {
        service: Arc::clone(service),
        unplaced: None,
    }
}

/// The name of a host without its port and its final dot; proxies tell a port, too.
fn bare(host: &str) -> &str {
    let host = without_port(host);
    host.strip_suffix('.').unwrap_or(host)
}

impl From<Arc<HashEquiv>> for Placement {
    /// Everybody in one namespace.
    fn from(service: Arc<HashEquiv>) -> Self {
        Self::from(NamespaceSet::from(service))
    }
}

impl From<NamespaceSet> for Placement {
    fn from(set: NamespaceSet) -> Self {
        Self(Arc::new(Inner {
            set,
            listeners: Rules::new(),
            hosts: Rules::new(),
            users: Rules::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_host_is_its_name() {
        for (told, name) in [
            ("farm.example", "farm.example"),
            ("farm.example:8443", "farm.example"),
            ("farm.example.", "farm.example"),
            ("farm.example.:8443", "farm.example"),
            ("[::1]:8686", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(bare(told), name);
        }
    }
}
