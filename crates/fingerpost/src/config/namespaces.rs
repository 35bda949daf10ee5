//! Namespaces: their checks, and what the service and its doors make of them.

use std::collections::HashMap;

use fingerpost_hashequiv::namespace::{self, DEFAULT_NAMESPACE, NamespaceConfig};
use fingerpost_hashequiv_front::PlacementOptions;

use super::BadConfig;
use super::tree::Config;

/// The name of the listeners of `server.bind`, which no table can have.
pub(crate) const FIRST_LISTENER: &str = "server.bind";

impl Config {
    /// The namespaces as the service takes them.
    pub(crate) fn namespaces(&self) -> Vec<NamespaceConfig> {
        let tables = self.hashequiv.namespaces.iter();
        let namespaces = tables.map(|(name, table)| NamespaceConfig {
            name: name.clone(),
            fallback: table.fallback.clone(),
            anonymous: table.anonymous_permissions.map(|set| set.0),
            members: (!table.members.is_empty()).then(|| table.members.clone()),
        });
        namespaces.collect()
    }

    /// Who works in which of them.
    pub(crate) fn placement(&self) -> PlacementOptions {
        let further = self.server.listeners.iter();
        let further = further.filter_map(|(name, table)| Some((name, table.namespace.as_ref()?)));
        let mut listeners: Vec<(String, String)> = further
            .map(|(name, namespace)| (name.clone(), namespace.clone()))
            .collect();
        if let Some(namespace) = &self.server.namespace {
            listeners.push((FIRST_LISTENER.to_owned(), namespace.clone()));
        }
        PlacementOptions {
            listeners,
            hosts: self.rules(|table| &table.hosts),
            users: self.rules(|table| &table.users),
        }
    }

    fn rules(&self, names: fn(&super::tables::Namespace) -> &Vec<String>) -> Vec<(String, String)> {
        let tables = self.hashequiv.namespaces.iter();
        let rules = tables.flat_map(|(namespace, table)| {
            let names = names(table).iter();
            names.map(move |name| (name.clone(), namespace.clone()))
        });
        rules.collect()
    }

    /// Checks that they fit together, and that whoever is placed somewhere is
    /// placed in one of them.
    pub(super) fn check_namespaces(&self) -> Result<(), BadConfig> {
        let refuse = |why: String| Err(BadConfig(why));
        if let Err(error) = namespace::check(&self.namespaces()) {
            return refuse(format!("hashequiv.namespaces: {error}"));
        }
        let placement = self.placement();
        let is_known =
            |name: &str| name == DEFAULT_NAMESPACE || self.hashequiv.namespaces.contains_key(name);
        for (listener, namespace) in &placement.listeners {
            if !is_known(namespace) {
                let place = match listener.as_str() {
                    FIRST_LISTENER => "server".to_owned(),
                    name => format!("server.listeners.{name}"),
                };
                let why =
                    format!("{place}.namespace: '{namespace}' is none of hashequiv.namespaces");
                return refuse(why);
            }
        }
        for (key, rules) in [("hosts", placement.hosts), ("users", placement.users)] {
            let mut seen = HashMap::new();
            for (name, namespace) in rules {
                if let Some(before) = seen.insert(name.to_ascii_lowercase(), namespace.clone()) {
                    return refuse(format!(
                        "hashequiv.namespaces.{namespace}.{key}: '{name}' is in {before} already"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let config: Config = toml::from_str(text).unwrap();
        config.check_namespaces().map_err(|error| error.to_string())
    }

    #[test]
    fn namespaces_that_fit_are_taken() {
        let text = "[server]\nnamespace = 'main'\n\
                    [server.listeners.old]\nbind = [':1']\nnamespace = 'r1'\n\
                    [hashequiv.namespaces.main]\n\
                    [hashequiv.namespaces.r1]\nfallback = 'main'\nusers = ['bot']\n\
                    hosts = ['r1.example']\nmembers = ['bot']\nanonymous_permissions = ['@read']\n";
        assert_eq!(check(text), Ok(()));
        let config: Config = toml::from_str(text).unwrap();
        let placement = config.placement();
        assert_eq!(placement.listeners.len(), 2);
        assert_eq!(placement.users, [("bot".to_owned(), "r1".to_owned())]);
        let r1 = config.namespaces().pop().unwrap();
        assert_eq!(
            (r1.fallback.as_deref(), r1.members.unwrap().len()),
            (Some("main"), 1)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_key() {
        let refused = |text: &str, words: &str| {
            let error = check(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused(
            "[hashequiv.namespaces.a]\nfallback = 'b'",
            "'a' falls back to 'b'",
        );
        refused("[server]\nnamespace = 'a'", "server.namespace: 'a' is none");
        let listener = "[server.listeners.x]\nbind = [':1']\nnamespace = 'a'";
        refused(listener, "server.listeners.x.namespace: 'a'");
        let twice =
            "[hashequiv.namespaces.a]\nusers = ['x']\n[hashequiv.namespaces.b]\nusers = ['x']";
        refused(twice, "'x' is in a already");
    }
}
