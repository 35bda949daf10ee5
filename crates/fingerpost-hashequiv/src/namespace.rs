//! Namespaces: independent worlds in one database, with a chain for reads.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_core::{Namespaces, PermissionSet};

/// A namespace's number, the same for the life of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub(crate) u32);

impl NamespaceId {
    /// The namespace that BitBake sees when nobody chose another one.
    pub const DEFAULT: Self = Self(1);
}

/// The name of the namespace that is always there.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Namespaces that one server has at most, the default one included.
pub const NAMESPACES_MAX: usize = 64;

/// Bytes of a namespace's name at most.
pub const NAME_BYTES_MAX: usize = Namespaces::NAME_BYTES_MAX;

/// Namespaces that a read looks into at most.
pub const CHAIN_MAX: usize = 8;

/// A namespace and those that its reads fall back to, nearest first. Writes go
/// to the first alone. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    own: NamespaceId,
    further: Arc<[NamespaceId]>,
}

impl Chain {
    /// A namespace that falls back to none.
    pub fn only(own: NamespaceId) -> Self {
        Self::new(own, &[])
    }

    /// `own`, then `further` in this order.
    pub fn new(own: NamespaceId, further: &[NamespaceId]) -> Self {
        Self {
            own,
            further: further.into(),
        }
    }

    /// The namespace itself.
    pub const fn own(&self) -> NamespaceId {
        self.own
    }

    /// Those that its reads fall back to.
    pub fn further(&self) -> &[NamespaceId] {
        &self.further
    }

    /// All of them, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = NamespaceId> {
        std::iter::once(self.own).chain(self.further.iter().copied())
    }
}

/// A namespace as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// Letters, digits, `-`, `_` and `.`; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where a read goes on that found nothing here.
    pub fallback: Option<String>,
    /// What callers without a login may do here; `None`: what they may elsewhere.
    pub anonymous: Option<PermissionSet>,
    /// Users whose permissions hold here; `None`: every user's.
    pub members: Option<Vec<String>>,
}

impl NamespaceConfig {
    /// A namespace for everybody, without a fallback.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fallback: None,
            anonymous: None,
            members: None,
        }
    }
}

/// The configured namespaces do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// The name is empty, too long, or has other characters.
    #[error(
        "'{0}' is no name of a namespace: 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'"
    )]
    Name(String),
    /// Two have the same name.
    #[error("the namespace '{0}' is there twice")]
    Twice(String),
    /// There are more than [`NAMESPACES_MAX`].
    #[error("there are more than {NAMESPACES_MAX} namespaces")]
    TooMany,
    /// A fallback is none of them.
    #[error("the namespace '{0}' falls back to '{1}', which is not configured")]
    UnknownFallback(String, String),
    /// A chain of fallbacks ends in itself or is too long.
    #[error("the namespace '{0}' falls back in a circle, or through more than {CHAIN_MAX} others")]
    Endless(String),
}

/// Checks that `name` can be the name of a namespace.
pub(crate) fn check_name(name: &str) -> Result<(), NamespaceError> {
    match Namespaces::is_name(name) {
        true => Ok(()),
        false => Err(NamespaceError::Name(name.to_owned())),
    }
}

/// The names of a namespace's chain, itself first.
pub(crate) type NameChain = Vec<String>;

/// Checks that namespaces fit together.
pub fn check(configured: &[NamespaceConfig]) -> Result<(), NamespaceError> {
    resolve(configured).map(drop)
}

/// Checks `configured` and resolves every fallback. The default namespace is
/// there whether it is configured or not, and is the first.
pub(crate) fn resolve(configured: &[NamespaceConfig]) -> Result<Vec<NameChain>, NamespaceError> {
    let mut fallbacks: HashMap<&str, Option<&str>> = HashMap::from([(DEFAULT_NAMESPACE, None)]);
    let mut order = vec![DEFAULT_NAMESPACE];
    for (place, namespace) in configured.iter().enumerate() {
        let name = namespace.name.as_str();
        check_name(name)?;
        if configured[..place].iter().any(|other| other.name == name) {
            return Err(NamespaceError::Twice(name.to_owned()));
        }
        if fallbacks
            .insert(name, namespace.fallback.as_deref())
            .is_none()
        {
            order.push(name);
        }
    }
    if order.len() > NAMESPACES_MAX {
        return Err(NamespaceError::TooMany);
    }
    let chains = order.into_iter().map(|name| chain_of(name, &fallbacks));
    chains.collect()
}

fn chain_of(
    name: &str,
    fallbacks: &HashMap<&str, Option<&str>>,
) -> Result<NameChain, NamespaceError> {
    let mut chain = vec![name.to_owned()];
    let mut last = name;
    while let Some(next) = fallbacks.get(last).copied().flatten() {
        if !fallbacks.contains_key(next) {
            return Err(NamespaceError::UnknownFallback(
                last.to_owned(),
                next.to_owned(),
            ));
        }
        if chain.iter().any(|known| known == next) || chain.len() == CHAIN_MAX {
            return Err(NamespaceError::Endless(name.to_owned()));
        }
        chain.push(next.to_owned());
        last = next;
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(list: &[(&str, Option<&str>)]) -> Vec<NamespaceConfig> {
        let one = |&(name, fallback): &(&str, Option<&str>)| NamespaceConfig {
            fallback: fallback.map(str::to_owned),
            ..NamespaceConfig::named(name)
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn chains_follow_the_fallbacks() {
        let list = [("r2", Some("r1")), ("r1", Some("default")), ("lab", None)];
        let chains = resolve(&namespaces(&list)).unwrap();
        let joined: Vec<_> = chains.iter().map(|chain| chain.join(" ")).collect();
        assert_eq!(joined, ["default", "r2 r1 default", "r1 default", "lab"]);
    }

    #[test]
    fn the_default_namespace_may_fall_back_too() {
        let list = [("default", Some("old")), ("old", None)];
        let chains = resolve(&namespaces(&list)).unwrap();
        assert_eq!(chains[0], ["default", "old"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |list: &[(&str, Option<&str>)], wanted: NamespaceError| {
            assert_eq!(resolve(&namespaces(list)), Err(wanted), "{list:?}");
        };
        let text = str::to_owned;
        check(&[("a b", None)], NamespaceError::Name(text("a b")));
        check(&[("", None)], NamespaceError::Name(String::new()));
        check(
            &[("a", None), ("a", None)],
            NamespaceError::Twice(text("a")),
        );
        let unknown = NamespaceError::UnknownFallback(text("a"), text("b"));
        check(&[("a", Some("b"))], unknown);
        let circle = [("a", Some("b")), ("b", Some("a"))];
        check(&circle, NamespaceError::Endless(text("a")));
        check(&[("a", Some("a"))], NamespaceError::Endless(text("a")));
        let names: Vec<String> = (0..NAMESPACES_MAX).map(|n| format!("n{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        check(&many, NamespaceError::TooMany);
        let long: Vec<_> = (0..9)
            .map(|n| (names[n].as_str(), Some(names[n + 1].as_str())))
            .chain([("n9", None)])
            .collect();
        check(&long, NamespaceError::Endless(text("n0")));
    }
}
