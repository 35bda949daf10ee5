//! Content stores as dispatch sees them: bytes under a name and nothing else.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::CacheKey;

/// A content store. It knows no command and never invalidates: what an answer
/// depends on is in its name, so that an entry is right for as long as it is
/// there, and may be gone at any time.
///
/// A store that fails is worked without; nothing it does may fail a request.
pub trait Cacher: Send + Sync + 'static {
    /// What operators call it: `memory`, `disk`.
    fn name(&self) -> &str;

    /// Finds an entry. What is found can be read although it is removed or
    /// evicted meanwhile, or says by an error that it cannot.
    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>>;

    /// Puts an entry in, whole or not at all. One that is there already stays
    /// as it is or is replaced by the same bytes.
    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>>;

    /// Takes an entry out; says whether it was there.
    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>>;

    /// What it holds at the moment, if it knows without looking far.
    fn usage(&self) -> Option<Usage> {
        None
    }
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes of them, as they count against the store's limit.
    pub bytes: u64,
}

/// Bytes of a known length that can be read from any place.
pub trait Content: Send + Sync {
    /// All of them.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from `offset` on: at least one and at most `max`, none only
    /// behind the end. `max` is not 0.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] instead of bytes that are not those that were
    /// stored.
    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>>;
}

impl fmt::Debug for dyn Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.len())
    }
}

impl Content for Bytes {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let start =
            usize::try_from(offset).map_or(Self::len(self), |start| start.min(Self::len(self)));
        let end = start.saturating_add(max).min(Self::len(self));
        Box::pin(std::future::ready(Ok(self.slice(start..end))))
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CacherError {
    /// The disk or the network.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// What it has is not what was stored.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The entry is longer than it takes, or shorter.
    #[error("{len} bytes are more or less than an entry may have")]
    Length {
        /// The entry's length.
        len: u64,
    },
    /// There is no room, and nothing that may go.
    #[error("full")]
    Full,
    /// It is not asked at the moment, because it failed before.
    #[error("left alone for a while")]
    Suspended,
    /// Anything else that the store said.
    #[error("{0}")]
    Other(String),
}

/// The name of an entry: it tells nothing of what it names to whoever does not
/// know the server's secret, so that it may be part of a URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName([u8; 32]);

impl EntryName {
    /// The bytes of the name.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of the same entry in another form in the same store: all but the
    /// last digit are the same. The twin of the twin is the name itself.
    #[must_use]
    pub const fn twin(mut self) -> Self {
        self.0[31] ^= 1;
        self
    }

    /// Reads [`EntryName::to_hex`].
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.iter().all(is_hex) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to find it by; whole, it may open a public store.
        write!(f, "EntryName({:.12}..)", self.to_hex())
    }
}

/// Gives entries their names, under a secret that servers with common stores
/// share.
#[derive(Clone)]
pub struct EntryNames(Hmac<Sha256>);

impl EntryNames {
    /// Names under this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret may have any length"))
    }

    /// The name of an answer in one of its forms, an encoding for example.
    pub fn name(&self, key: &CacheKey, form: &str) -> EntryName {
        let mut mac = self.0.clone();
        mac.update(key.as_bytes());
        mac.update(form.as_bytes());
        EntryName(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for EntryNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryNames(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyHasher;

    #[test]
    fn names_differ_by_secret_key_and_form() {
        let key = |word: &str| {
            let mut hasher = KeyHasher::new("get", 1);
            hasher.part(word.as_bytes());
            hasher.finish()
        };
        let (one, other) = (EntryNames::new(b"one"), EntryNames::new(b"other"));
        let name = one.name(&key("a"), "identity");
        assert_eq!(name, one.name(&key("a"), "identity"));
        assert_ne!(name, one.name(&key("b"), "identity"));
        assert_ne!(name, one.name(&key("a"), "zlib"));
        assert_ne!(name, other.name(&key("a"), "identity"));
        assert_eq!(EntryName::from_hex(&name.to_hex()), Some(name));
        assert_eq!(name.twin().to_hex()[..63], name.to_hex()[..63]);
        assert_ne!(name.twin(), name);
        assert_eq!(name.twin().twin(), name);
        for wrong in ["", "ab", &"g".repeat(64), &"A".repeat(64)] {
            assert_eq!(EntryName::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_are_read_from_any_place() {
        let content: Arc<dyn Content> = Arc::new(Bytes::from_static(b"abcdef"));
        let read = |offset, max| {
            let mut reading = content.read(offset, max);
            match reading
                .as_mut()
                .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            {
                std::task::Poll::Ready(bytes) => bytes.unwrap(),
                std::task::Poll::Pending => unreachable!("memory does not wait"),
            }
        };
        assert_eq!(read(0, 4), "abcd");
        assert_eq!(read(4, 4), "ef");
        assert_eq!(read(6, 4), "");
        assert_eq!(read(u64::MAX, 4), "");
    }
}
