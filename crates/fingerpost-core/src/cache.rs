//! How a command's answer may be remembered.

use sha2::{Digest, Sha256};

/// Whether answers of a command may be remembered, and under which key. There
/// is no default: the author of a command has to choose.
#[derive(Clone, Copy, Debug)]
pub enum CachePolicy {
    /// Never remembered.
    Never {
        /// The reason, a sentence for the documentation.
        why: &'static str,
    },
    /// Remembered under a key that is derived from the command's name, this
    /// version, the normalised arguments and everything in `depends_on`.
    Key {
        /// Raised whenever the meaning or the form of the answer changes.
        version: u32,
        /// The state that the answer depends on; its values go into the key.
        depends_on: &'static [Dependency],
        /// Why these dependencies suffice, a sentence for the documentation.
        why: &'static str,
    },
}

/// A piece of state that goes into a cache key. Invalidation is by changing
/// the key when the state changes; cachers never invalidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// Identity of the database file or repository.
    Incarnation,
    /// The namespace that the caller reads.
    Namespace,
    /// Count of deletions in the namespace: a *found* answer changes only when
    /// rows are deleted.
    DeletionEpoch,
    /// What the caller may see.
    Visibility,
    /// State token of a repository: everything that its mutable answers depend on.
    State,
    /// Count of rewrites of a repository's store (strips, censoring): what a
    /// node names changes with nothing else.
    Generation,
}

impl Dependency {
    /// The word for it in documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incarnation => "incarnation",
            Self::Namespace => "namespace",
            Self::DeletionEpoch => "deletion epoch",
            Self::Visibility => "visibility",
            Self::State => "state token",
            Self::Generation => "generation",
        }
    }
}

/// The SHA-256 digest that names an answer in a cacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Builds a [`CacheKey`] over a canonical encoding: every part is preceded by
/// its length, so no two lists of parts share an encoding.
pub struct KeyHasher(Sha256);

impl KeyHasher {
    /// Raised when the derivation itself changes: it changes every key.
    const GLOBAL_VERSION: u64 = 1;

    /// Starts the key of `command` in `version`.
    pub fn new(command: &str, version: u32) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.0.update(Self::GLOBAL_VERSION.to_be_bytes());
        hasher.part(command.as_bytes());
        hasher.part(&version.to_be_bytes());
        hasher
    }

    /// Adds one part.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    /// Ends the key.
    pub fn finish(self) -> CacheKey {
        CacheKey(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_confuse_the_borders_of_parts() {
        let key = |parts: &[&str]| {
            let mut hasher = KeyHasher::new("get", 1);
            for part in parts {
                hasher.part(part.as_bytes());
            }
            hasher.finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_ne!(
            KeyHasher::new("get", 1).finish(),
            KeyHasher::new("get", 2).finish()
        );
    }
}
