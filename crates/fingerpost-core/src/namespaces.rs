//! Where rights hold.

use std::sync::Arc;

/// The namespaces that a caller's permissions hold in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one, those too that are made later.
    #[default]
    All,
    /// Those with these names.
    Only(Arc<[String]>),
}

impl Namespaces {
    /// Bytes of one name at most.
    pub const NAME_BYTES_MAX: usize = 64;
    /// Names at most.
    pub const NAMES_MAX: usize = 32;

    /// Those with these names; all of them when there is no list. `None` when the
    /// list is empty or too long, or when a name is no name of a namespace:
    /// letters, digits, `-`, `_` and `.`.
    pub fn of(names: Option<Vec<String>>) -> Option<Self> {
        let Some(names) = names else {
            return Some(Self::All);
        };
        let is_good = (1..=Self::NAMES_MAX).contains(&names.len())
            && names.iter().all(|name| Self::is_name(name));
        is_good.then(|| Self::Only(names.into()))
    }

    /// Whether a text can name a namespace: 1 to [`Self::NAME_BYTES_MAX`] letters,
    /// digits, `-`, `_` and `.`.
    pub fn is_name(name: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=Self::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part)
    }

    /// Whether the namespace with this name is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|known| known == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_all_or_named() {
        let of = |names: &[&str]| {
            Namespaces::of(Some(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert!(Namespaces::of(None).unwrap().contains("any"));
        let some = of(&["release-1.0", "main"]).unwrap();
        assert!(some.contains("main") && !some.contains("release-1"));
        for names in [&[][..], &[""], &["a b"], &["ä"], &["main", "a/b"]] {
            assert_eq!(of(names), None, "{names:?}");
        }
    }
}
