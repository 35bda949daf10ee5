//! The keys that somebody trusts.

mod file;
mod name;
mod text;

use std::fmt;

use crate::{
    Algorithm, Document, KeyId, Reason, Row, Signature, SigningKey, UnixTime, VerifyingKey,
};

pub use file::FileError;
pub use name::KeyName;
pub use text::RingError;

/// Keys of a ring at most.
pub const KEYS_MAX: usize = 256;

/// Bytes of a key ring file at most.
pub const RING_BYTES_MAX: usize = 1 << 18;

/// What a key may do. It goes forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Sign and verify.
    Active,
    /// Verify what was signed, and sign nothing more.
    Retired,
    /// Nothing: what it signed is no longer believed, whatever time it claims.
    Revoked,
}

impl State {
    /// The word in key rings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Retired, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key in a ring. A revoked one need not have its material any more.
#[derive(Clone, Debug)]
pub struct Key {
    id: KeyId,
    algorithm: Algorithm,
    name: KeyName,
    created: UnixTime,
    state: State,
    signing: Option<SigningKey>,
    verifying: Option<VerifyingKey>,
}

impl Key {
    /// An active key that signs and verifies.
    pub fn signing(name: KeyName, created: UnixTime, key: SigningKey) -> Self {
        Self {
            verifying: Some(key.verifying_key()),
            signing: Some(key.clone()),
            ..Self::bare(name, created, key.id(), key.algorithm())
        }
    }

    /// An active key of which only the public half is here.
    pub fn verifying(name: KeyName, created: UnixTime, key: VerifyingKey) -> Self {
        Self {
            verifying: Some(key.clone()),
            ..Self::bare(name, created, key.id(), key.algorithm())
        }
    }

    const fn bare(name: KeyName, created: UnixTime, id: KeyId, algorithm: Algorithm) -> Self {
        Self {
            id,
            algorithm,
            name,
            created,
            state: State::Active,
            signing: None,
            verifying: None,
        }
    }

    /// Its short name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// How it signs.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What people call it.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// When it was made.
    pub const fn created(&self) -> UnixTime {
        self.created
    }

    /// What it may do.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether a secret is here: an Ed25519 seed or a shared secret.
    pub const fn has_secret(&self) -> bool {
        self.signing.is_some()
    }

    /// The public key as base64url; a shared secret has none.
    pub fn public(&self) -> Option<String> {
        let public = self.verifying.as_ref()?.public()?;
        Some(crate::base64url::encode(public))
    }

    /// Whether both would verify the same signatures.
    fn is_same_material(&self, other: &Self) -> bool {
        let secret = |key: &Self| key.signing.as_ref().map(SigningKey::secret);
        secret(self).is_some() && secret(self) == secret(other)
    }
}

/// Whether shared secrets go along with public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Public keys only: what everybody may read.
    Public,
    /// Shared secrets too: for readers who may then sign.
    WithSecrets,
}

/// The keys that somebody trusts, at most [`KEYS_MAX`], without two of one id or
/// name. Its order is that of the file.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key of this id.
    pub fn get(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The key with this id or name, as people type it.
    pub fn find(&self, id_or_name: &str) -> Option<&Key> {
        let named = |key: &&Key| key.name.as_str() == id_or_name;
        let by_id = KeyId::parse(id_or_name).and_then(|id| self.get(id));
        by_id.or_else(|| self.keys.iter().find(named))
    }

    /// Puts a key in. One more than [`KEYS_MAX`], an id or name that is taken, and
    /// a secret that is here under another id are refused.
    pub fn add(&mut self, key: Key) -> Result<(), RingError> {
        if self.keys.len() >= KEYS_MAX {
            return Err(RingError::TooMany);
        }
        let is_twin = |other: &&Key| {
            other.id == key.id || other.name == key.name || other.is_same_material(&key)
        };
        if let Some(other) = self.keys.iter().find(is_twin) {
            return Err(RingError::Duplicate(key.id, other.id));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Moves a key forward to `state`; its own state changes nothing. A revoked
    /// key loses its secret.
    pub fn set_state(&mut self, id: KeyId, state: State) -> Result<(), RingError> {
        let key = self.keys.iter_mut().find(|key| key.id == id);
        let key = key.ok_or(RingError::NoSuchKey(id))?;
        if state < key.state {
            return Err(RingError::Backward(id, key.state, state));
        }
        key.state = state;
        if state == State::Revoked {
            key.signing = None;
            key.verifying.take_if(|key| key.public().is_none());
        }
        Ok(())
    }

    /// The key to sign with: of the active ones whose secret is here the newest,
    /// and of several of that second the last in the file.
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.keys
            .iter()
            .filter(|key| key.state == State::Active && key.has_secret())
            .max_by_key(|key| key.created)
            .and_then(|key| key.signing.as_ref())
    }

    /// The active key of this id, to sign with, if its secret is here.
    pub fn signing_key_of(&self, id: KeyId) -> Option<&SigningKey> {
        let key = self.get(id).filter(|key| key.state == State::Active)?;
        key.signing.as_ref()
    }

    /// The key that made this signature of this row, or why it is not believed.
    pub fn verify(&self, row: &Row, signature: &str) -> Result<KeyId, Reason> {
        self.verify_with(signature, |key, signature| key.verifies(row, signature))
    }

    /// The key that made this signature of this document, or why it is not believed.
    pub fn verify_document(
        &self,
        document: &Document<'_>,
        signature: &str,
    ) -> Result<KeyId, Reason> {
        self.verify_with(signature, |key, signature| {
            key.verifies_document(document, signature)
        })
    }

    fn verify_with(
        &self,
        signature: &str,
        verifies: impl FnOnce(&VerifyingKey, &Signature) -> bool,
    ) -> Result<KeyId, Reason> {
        let signature = Signature::parse(signature).map_err(|_| Reason::Malformed)?;
        let key = self.get(signature.key()).ok_or(Reason::UnknownKey)?;
        if key.state == State::Revoked {
            return Err(Reason::Revoked);
        }
        match &key.verifying {
            Some(verifying) if verifies(verifying, &signature) => Ok(key.id),
            _ => Err(Reason::Mismatch),
        }
    }

    /// What readers need: the keys with their states and without Ed25519 secrets.
    /// Shared secrets are left out, or kept if `sharing` says so.
    pub fn for_readers(&self, sharing: Sharing) -> Self {
        let keep = |key: &&Key| {
            key.algorithm == Algorithm::Ed25519
                || key.state == State::Revoked
                || sharing == Sharing::WithSecrets
        };
        let without_seed = |key: &Key| Key {
            signing: key
                .signing
                .clone()
                .filter(|_| key.algorithm == Algorithm::HmacSha256),
            ..key.clone()
        };
        let keys = self.keys.iter().filter(keep).map(without_seed).collect();
        Self { keys }
    }

    /// Whether a secret is in it, so that nobody else may read its file.
    pub fn has_secrets(&self) -> bool {
        self.keys.iter().any(Key::has_secret)
    }
}

#[cfg(test)]
mod tests;
